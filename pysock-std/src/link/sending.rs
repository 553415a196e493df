//! From the outbox into records: what is urgent first, then large messages, sealed records of clients and the queue of
//! messages, by turns.

use std::collections::VecDeque;

use pysock_proto::{Connection, PeerId, SendError, TxBuf};

use super::{C, messages::Messages, ways::Direct};
use crate::{line::Control, outbox::Outbox};

/// Messages, or records, that go before others have their turn.
pub(super) const TURN: usize = 16;

/// How far a filling came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filled {
    /// Everything that can go is in the buffer.
    All,
    /// The buffer is full and more could go.
    Full,
}

/// What takes turns, so that nothing is held up by a lot of something else.
#[derive(Clone, Copy, Default)]
enum Lane {
    #[default]
    Large,
    Records,
    Messages,
}

/// How many lanes there are.
const LANES: usize = 3;

impl Lane {
    fn next(self) -> Self {
        match self {
            Lane::Large => Lane::Records,
            Lane::Records => Lane::Messages,
            Lane::Messages => Lane::Large,
        }
    }
}

/// What became of a turn.
pub(crate) struct Turn {
    /// Something went.
    pub(crate) moved: bool,
    pub(crate) filled: Filled,
}

/// What one connection is sending.
#[derive(Default)]
pub(crate) struct Sending {
    /// Whose turn it is.
    lane: Lane,
    pub(super) messages: Messages,
    /// The peers announced to the receiver, as it remembers them: the latest last.
    pub(super) announced: VecDeque<PeerId>,
    /// What found no room; on the heap, since most connections never have any.
    control: Option<Box<Control>>,
}

impl Sending {
    /// Nothing was begun that is not over.
    pub(super) fn is_idle(&self) -> bool {
        self.control.is_none() && self.messages.is_idle()
    }

    /// Moves as much as there is room for into `tx`.
    pub(super) fn fill(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        if self.urgent(conn, tx, outbox) == Filled::Full {
            return Filled::Full;
        }
        if self.control.is_some() && self.awaits_channel(outbox) {
            // What a client has queued may be for such a channel, and sent before it would be sent on none.
            return Filled::All;
        }
        let mut idle = 0;
        while idle < LANES {
            let Turn { moved, filled } = match self.lane {
                Lane::Large => self
                    .messages
                    .large(&mut Direct { conn, tx, announced: &mut self.announced }, outbox),
                Lane::Records => self.records(conn, tx, outbox),
                Lane::Messages => self
                    .messages
                    .queued(&mut Direct { conn, tx, announced: &mut self.announced }, outbox),
            };
            // Who has found no room at all has the next turn, too.
            if moved || filled == Filled::All {
                self.lane = self.lane.next();
            }
            if filled == Filled::Full {
                return Filled::Full;
            }
            idle = if moved { 0 } else { idle + 1 };
        }
        Filled::All
    }

    /// Whether a channel is still to be asked for, once earlier questions are answered.
    fn awaits_channel(&self, outbox: &Outbox) -> bool {
        matches!(self.control.as_deref(), Some(Control::OpenChannel(_)))
            || outbox.line.awaits_channel()
    }

    /// Moves questions and answers. They are few, by the protocol's own limits.
    pub(super) fn control(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
        mut inward: impl FnMut(Control, &mut Connection<C>),
    ) -> Filled {
        loop {
            let next = self.control.take().or_else(|| outbox.line.next().map(Box::new));
            let Some(control) = next else { return Filled::All };
            let mut tx = tx.lend();
            let sent = match &*control {
                Control::AnswerOpen(id, result) => conn.answer_open(&mut tx, *id, *result),
                Control::AnswerFind(query, peer) => {
                    conn.answer_find(&mut tx, *query, peer.as_ref())
                }
                Control::OpenChannel(name) => conn.open_channel(&mut tx, name).map(drop),
                Control::LeaveChannel(id) => conn.leave_channel(&mut tx, *id),
                Control::Find(query, find) => conn.find(&mut tx, *query, find),
                Control::Consumed { .. } | Control::Stop { .. } => {
                    inward(*control, conn);
                    continue;
                }
            };
            match sent {
                Err(SendError::Full(_)) => {
                    self.control = Some(control);
                    return Filled::Full;
                }
                // Goes on once an answer has arrived.
                Err(SendError::Questions) => {
                    self.control = Some(control);
                    return Filled::All;
                }
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "a control frame was not sent"),
            }
        }
    }
}
