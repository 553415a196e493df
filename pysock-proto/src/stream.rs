//! Messages larger than a record: which are open in each direction, and how much credit they have.
//!
//! The sender numbers its streams 0 to the receiver's announced number, exclusive. A stream begins with the
//! receiver's announced window as credit; the receiver grants more as it consumes. After `End` or
//! `Abort` the number is free again once the receiver has said `Done`, so that no late `Credit` or `Stop` can
//! hit the next stream of the same number.

use crate::{
    error::{Failure, FrameError, SendError},
    id::StreamId,
    limits::{Limits, MAX_STREAMS},
    wire::{
        Writer,
        frame::{Frame, types},
    },
};

const COUNT: usize = MAX_STREAMS as usize;
/// Stands for a length that was not declared.
const UNDECLARED: u64 = u64::MAX;

/// A stream that this side sends.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Outbound {
    #[default]
    Free,
    Open {
        credit: u32,
        left: u64,
    },
    /// The receiver wants no more, and we owe it an `Abort`.
    Stopped,
    /// Ended or aborted; the receiver has not said `Done` yet.
    Ending,
}

/// A stream that this side receives.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Inbound {
    #[default]
    Free,
    /// `allowance` is what the sender may still send, `owed` what was consumed and not yet granted again.
    Open { left: u64, allowance: u32, owed: u32 },
    /// We want no more. What is under way is thrown away until the sender ends or aborts.
    Stopped { failure: Failure, told: bool },
    /// Over; we owe a `Done`.
    Over,
}

/// All streams of one connection, or of one session between clients. Small enough to be part of its state. What this
/// side announced (`window`: the credit of each stream it receives) is lent per call.
#[derive(Default)]
pub(crate) struct Streams {
    outbound: [Outbound; COUNT],
    inbound: [Inbound; COUNT],
}

impl Owed {
    /// The frame's type and body.
    pub(crate) fn frame(self) -> (u8, Writer<5>) {
        let mut out = Writer::new();
        let kind = match self {
            Owed::Abort(id) => {
                out.put(&[id.0, Failure::Cancelled.code()]);
                types::ABORT
            }
            Owed::Stop(id, why) => {
                out.put(&[id.0, why.code()]);
                types::STOP
            }
            Owed::Done(id) => {
                out.put(&[id.0]);
                types::DONE
            }
            Owed::Credit(id, bytes) => {
                out.put(&[id.0]).put(&bytes.to_be_bytes());
                types::CREDIT
            }
        };
        (kind, out)
    }
}

/// A control frame that a stream owes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owed {
    Abort(StreamId),
    Stop(StreamId, Failure),
    Credit(StreamId, u32),
    Done(StreamId),
}

fn ids() -> impl Iterator<Item = StreamId> {
    (0..MAX_STREAMS).map(StreamId)
}

/// The bytes of a declared length that are left after `n` more.
fn after(left: u64, n: usize) -> Option<u64> {
    if left == UNDECLARED { Some(UNDECLARED) } else { left.checked_sub(n as u64) }
}

impl Streams {
    /// A frame has arrived at a side that announced `ours`. `true`: the application hears of it, as of every frame that
    /// belongs to no stream.
    pub(crate) fn act(&mut self, frame: &Frame<'_>, ours: &Limits) -> Result<bool, FrameError> {
        match *frame {
            Frame::Begin { stream, length, .. } => self.begun(stream, length, ours).map(|()| true),
            Frame::Chunk { stream, bytes } => self.chunk(stream, bytes.len()),
            Frame::End(stream) => self.end(stream),
            Frame::Abort { stream, .. } => self.abort(stream),
            Frame::Stop { stream, .. } => self.stopped(stream),
            Frame::Credit { stream, bytes } => self.credited(stream, bytes),
            Frame::Done(stream) => self.done(stream).map(|()| false),
            _ => Ok(true),
        }
    }

    // Sending.

    /// A free number among the first `taken` that the receiver takes.
    pub(crate) fn free(&self, taken: u8) -> Result<StreamId, SendError> {
        let mut free = ids().take(taken.into()).zip(&self.outbound);
        free.find(|(_, s)| **s == Outbound::Free).map(|(id, _)| id).ok_or(SendError::Streams)
    }

    pub(crate) fn begin(&mut self, id: StreamId, length: Option<u64>, window: u32) {
        if let Some(slot) = self.outbound.get_mut(usize::from(id.0)) {
            *slot = Outbound::Open { credit: window, left: length.unwrap_or(UNDECLARED) };
        }
    }

    /// How many of `wanted` bytes may be sent now.
    pub(crate) fn sendable(&self, id: StreamId, wanted: usize) -> Result<usize, SendError> {
        let Some(&Outbound::Open { credit, left }) = self.outbound.get(usize::from(id.0)) else {
            return Err(SendError::NoStream);
        };
        if after(left, wanted).is_none() {
            return Err(SendError::StreamLength);
        }
        match wanted.min(credit as usize) {
            0 if wanted > 0 => Err(SendError::NoCredit),
            n => Ok(n),
        }
    }

    /// Counts `n` bytes as sent.
    pub(crate) fn sent(&mut self, id: StreamId, n: usize) {
        if let Some(Outbound::Open { credit, left }) = self.outbound.get_mut(usize::from(id.0)) {
            *credit = credit.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            *left = after(*left, n).unwrap_or(0);
        }
    }

    /// Whether the stream may end here: all that was declared is sent.
    pub(crate) fn may_end(&self, id: StreamId) -> Result<(), SendError> {
        match self.outbound.get(usize::from(id.0)) {
            Some(Outbound::Open { left: 0 | UNDECLARED, .. }) => Ok(()),
            Some(Outbound::Open { .. }) => Err(SendError::StreamLength),
            _ => Err(SendError::NoStream),
        }
    }

    pub(crate) fn is_sending(&self, id: StreamId) -> bool {
        matches!(self.outbound.get(usize::from(id.0)), Some(Outbound::Open { .. }))
    }

    pub(crate) fn ended(&mut self, id: StreamId) {
        if let Some(slot) = self.outbound.get_mut(usize::from(id.0)) {
            *slot = Outbound::Ending;
        }
    }

    fn outbound(&mut self, id: StreamId) -> Result<&mut Outbound, FrameError> {
        match self.outbound.get_mut(usize::from(id.0)) {
            Some(Outbound::Free) | None => Err(FrameError::Stream),
            Some(slot) => Ok(slot),
        }
    }

    /// `Credit` arrived. `true` if the stream can use it.
    fn credited(&mut self, id: StreamId, bytes: u32) -> Result<bool, FrameError> {
        let Outbound::Open { credit, .. } = self.outbound(id)? else { return Ok(false) };
        *credit = credit.saturating_add(bytes);
        Ok(true)
    }

    /// `Stop` arrived. `true` if the stream was still open.
    fn stopped(&mut self, id: StreamId) -> Result<bool, FrameError> {
        let slot = self.outbound(id)?;
        let was_open = matches!(slot, Outbound::Open { .. });
        if was_open {
            *slot = Outbound::Stopped;
        }
        Ok(was_open)
    }

    /// `Done` arrived.
    fn done(&mut self, id: StreamId) -> Result<(), FrameError> {
        match self.outbound(id)? {
            slot @ Outbound::Ending => *slot = Outbound::Free,
            _ => return Err(FrameError::Stream),
        }
        Ok(())
    }

    /// How many messages were sent to their end, and the receiver has not said that they are done.
    pub(crate) fn unconfirmed(&self) -> u32 {
        let ending = self.outbound.iter().filter(|slot| **slot == Outbound::Ending);
        u32::try_from(ending.count()).unwrap_or(u32::MAX)
    }

    // Receiving.

    /// How many messages have begun to arrive, are wanted, and not complete.
    pub(crate) fn receiving(&self) -> u32 {
        let open = self.inbound.iter().filter(|slot| matches!(slot, Inbound::Open { .. }));
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    }

    fn inbound(&mut self, id: StreamId) -> Result<&mut Inbound, FrameError> {
        self.inbound.get_mut(usize::from(id.0)).ok_or(FrameError::Stream)
    }

    /// `Begin` arrived.
    fn begun(
        &mut self,
        id: StreamId,
        length: Option<u64>,
        ours: &Limits,
    ) -> Result<(), FrameError> {
        let slot = self.inbound(id)?;
        if *slot != Inbound::Free || id.0 >= ours.streams {
            return Err(FrameError::Stream);
        }
        let left = length.unwrap_or(UNDECLARED);
        *slot = Inbound::Open { left, allowance: ours.window, owed: 0 };
        Ok(())
    }

    /// `Chunk` arrived. `false` if the stream was stopped here; the sender could not know yet.
    fn chunk(&mut self, id: StreamId, n: usize) -> Result<bool, FrameError> {
        match self.inbound(id)? {
            Inbound::Open { left, allowance, .. } => {
                *left = after(*left, n).ok_or(FrameError::StreamLength)?;
                let n = u32::try_from(n).map_err(|_| FrameError::Credit)?;
                *allowance = allowance.checked_sub(n).ok_or(FrameError::Credit)?;
                Ok(true)
            }
            Inbound::Stopped { .. } => Ok(false),
            Inbound::Free | Inbound::Over => Err(FrameError::Stream),
        }
    }

    /// `End` arrived. `true` if the message is complete, `false` if it was stopped here.
    fn end(&mut self, id: StreamId) -> Result<bool, FrameError> {
        let slot = self.inbound(id)?;
        let complete = match slot {
            Inbound::Open { left: 0 | UNDECLARED, .. } => true,
            Inbound::Open { .. } => return Err(FrameError::StreamLength),
            Inbound::Stopped { .. } => false,
            Inbound::Free | Inbound::Over => return Err(FrameError::Stream),
        };
        *slot = Inbound::Over;
        Ok(complete)
    }

    /// `Abort` arrived. `true` if the receiver had not stopped it itself.
    fn abort(&mut self, id: StreamId) -> Result<bool, FrameError> {
        let slot = self.inbound(id)?;
        let news = match slot {
            Inbound::Open { .. } => true,
            Inbound::Stopped { .. } => false,
            Inbound::Free | Inbound::Over => return Err(FrameError::Stream),
        };
        *slot = Inbound::Over;
        Ok(news)
    }

    /// The application has consumed `n` bytes. More than arrived counts as what arrived.
    pub(crate) fn consumed(&mut self, id: StreamId, n: usize, window: u32) {
        if let Ok(Inbound::Open { allowance, owed, .. }) = self.inbound(id) {
            let unconsumed = window.saturating_sub(*allowance).saturating_sub(*owed);
            let n = u32::try_from(n).unwrap_or(u32::MAX).min(unconsumed);
            *owed = owed.saturating_add(n);
        }
    }

    /// The application wants no more of it.
    pub(crate) fn stop(&mut self, id: StreamId, failure: Failure) {
        if let Ok(slot @ Inbound::Open { .. }) = self.inbound(id) {
            *slot = Inbound::Stopped { failure, told: false };
        }
    }

    /// The next control frame that is due. [`paid`](Self::paid) takes it off the list.
    pub(crate) fn owed(&self, window: u32) -> Option<Owed> {
        let mut slots = ids().zip(self.outbound.iter().zip(&self.inbound));
        slots.find_map(|(id, (outbound, inbound))| {
            if *outbound == Outbound::Stopped {
                return Some(Owed::Abort(id));
            }
            match *inbound {
                // Half a window at a time, so that credit costs little and never runs out needlessly.
                Inbound::Open { owed, .. } if owed > 0 && owed >= window / 2 => {
                    Some(Owed::Credit(id, owed))
                }
                Inbound::Stopped { failure, told: false } => Some(Owed::Stop(id, failure)),
                Inbound::Over => Some(Owed::Done(id)),
                _ => None,
            }
        })
    }

    /// The frame was written.
    pub(crate) fn paid(&mut self, owed: Owed) {
        match owed {
            Owed::Abort(id) => self.ended(id),
            Owed::Done(id) => {
                if let Ok(slot) = self.inbound(id) {
                    *slot = Inbound::Free;
                }
            }
            Owed::Stop(id, _) => {
                if let Ok(Inbound::Stopped { told, .. }) = self.inbound(id) {
                    *told = true;
                }
            }
            Owed::Credit(id, n) => {
                if let Ok(Inbound::Open { allowance, owed, .. }) = self.inbound(id) {
                    *owed = owed.saturating_sub(n);
                    *allowance = allowance.saturating_add(n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: StreamId = StreamId(1);
    const WINDOW: u32 = 100;
    const OURS: Limits = Limits { window: WINDOW, ..Limits::DESKTOP };

    fn receiving(length: Option<u64>) -> Streams {
        let mut streams = Streams::default();
        streams.begun(S, length, &OURS).unwrap();
        streams
    }

    #[test]
    fn a_sender_that_exceeds_its_credit_is_caught() {
        let mut streams = receiving(None);
        assert_eq!(streams.chunk(S, 100), Ok(true));
        assert_eq!(streams.chunk(S, 1), Err(FrameError::Credit));
    }

    #[test]
    fn consuming_grants_half_a_window_at_a_time_and_never_more_than_arrived() {
        let mut streams = receiving(None);
        streams.chunk(S, 60).unwrap();
        streams.consumed(S, 49, WINDOW);
        assert_eq!(streams.owed(WINDOW), None);
        streams.consumed(S, 1_000_000, WINDOW);
        let owed = streams.owed(WINDOW).unwrap();
        assert_eq!(owed, Owed::Credit(S, 60));
        streams.paid(owed);
        assert_eq!(streams.owed(WINDOW), None);
        assert_eq!(streams.chunk(S, 100), Ok(true));
        assert_eq!(streams.chunk(S, 1), Err(FrameError::Credit));
    }

    #[test]
    fn a_wrong_length_is_caught_both_ways() {
        let mut streams = receiving(Some(10));
        assert_eq!(streams.chunk(S, 11), Err(FrameError::StreamLength));
        let mut streams = receiving(Some(10));
        streams.chunk(S, 9).unwrap();
        assert_eq!(streams.end(S), Err(FrameError::StreamLength));
        let mut streams = Streams::default();
        streams.begin(S, Some(10), WINDOW);
        assert_eq!(streams.sendable(S, 11), Err(SendError::StreamLength));
        assert_eq!(streams.may_end(S), Err(SendError::StreamLength));
        streams.sent(S, 10);
        assert_eq!(streams.may_end(S), Ok(()));
    }

    #[test]
    fn a_number_is_free_only_after_done() {
        let mut streams = Streams::default();
        for n in 0..MAX_STREAMS {
            let id = streams.free(MAX_STREAMS).unwrap();
            assert_eq!(id, StreamId(n));
            streams.begin(id, None, WINDOW);
        }
        assert_eq!(streams.free(MAX_STREAMS), Err(SendError::Streams));
        assert_eq!(streams.done(S), Err(FrameError::Stream), "not ended yet");
        streams.ended(S);
        assert_eq!(streams.credited(S, 5), Ok(false), "late credit hits nothing");
        assert_eq!(streams.stopped(S), Ok(false), "a late stop hits nothing");
        streams.done(S).unwrap();
        assert_eq!(streams.free(MAX_STREAMS), Ok(S));
        assert_eq!(streams.credited(S, 5), Err(FrameError::Stream));
    }

    #[test]
    fn a_stopped_stream_discards_what_is_under_way() {
        let mut streams = receiving(None);
        streams.stop(S, Failure::TooLarge);
        let owed = streams.owed(WINDOW).unwrap();
        assert_eq!(owed, Owed::Stop(S, Failure::TooLarge));
        streams.paid(owed);
        assert_eq!(streams.owed(WINDOW), None);
        assert_eq!(streams.chunk(S, 5000), Ok(false));
        assert_eq!(streams.abort(S), Ok(false));
        streams.paid(streams.owed(WINDOW).unwrap());
        assert_eq!(streams.chunk(S, 1), Err(FrameError::Stream));
        assert!(streams.begun(S, None, &OURS).is_ok());
    }

    #[test]
    fn more_streams_than_announced_are_refused() {
        let one = Limits { streams: 1, ..OURS };
        let mut streams = Streams::default();
        assert_eq!(streams.begun(StreamId(1), None, &one), Err(FrameError::Stream));
        assert_eq!(streams.begun(StreamId(200), None, &one), Err(FrameError::Stream));
        assert!(streams.begun(StreamId(0), None, &one).is_ok());
        assert_eq!(streams.begun(StreamId(0), None, &one), Err(FrameError::Stream));
    }
}
