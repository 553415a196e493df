//! What an open connection may tell its program, and what not.

use pysock_proto::{Event, Limits, MAX_QUESTIONS, Party, StreamId};

/// A large message that arrives.
#[derive(Default)]
struct Incoming {
    declared: Option<u64>,
    got: u64,
    /// Not yet consumed.
    held: usize,
}

/// Holds every event against what came before.
pub(super) struct Watch {
    is_server: bool,
    limits: Limits,
    incoming: [Option<Incoming>; 8],
    /// Streams that this side sends.
    outgoing: [bool; 8],
    questions: u8,
    closed: bool,
}

impl Watch {
    pub(super) fn new(is_server: bool, limits: Limits) -> Self {
        let incoming = Default::default();
        Watch { is_server, limits, incoming, outgoing: [false; 8], questions: 0, closed: false }
    }

    fn slot(&mut self, stream: StreamId) -> &mut Option<Incoming> {
        assert!(stream.0 < self.limits.streams, "{stream} of {}", self.limits.streams);
        &mut self.incoming[usize::from(stream.0)]
    }

    pub(super) fn hears(&mut self, event: &Event<'_>) {
        assert!(!self.closed, "after its close: {event:?}");
        let only =
            |server: bool| assert_eq!(self.is_server, server, "not for this side: {event:?}");
        match event {
            Event::PskWanted(_)
            | Event::Verify(_)
            | Event::Offered(_)
            | Event::Admission(_)
            | Event::Welcome { .. }
            | Event::Refused(_) => panic!("in an open connection: {event:?}"),
            Event::Open { .. } | Event::Find { .. } => {
                only(true);
                self.questions += 1;
                assert!(self.questions <= MAX_QUESTIONS);
            }
            Event::Opened { .. } | Event::Found { .. } => {
                only(false);
                self.questions = self.questions.checked_sub(1).expect("an answer to a question");
            }
            Event::Left(_) => only(true),
            Event::Peer(_) | Event::RelayFailed { .. } => only(false),
            Event::Message { envelope, bytes } => {
                assert!(self.is_server || envelope.party != Party::Everyone, "a source of all");
                assert!(bytes.len() < usize::from(self.limits.record));
            }
            Event::Begin { stream, envelope, length } => {
                assert!(self.is_server || envelope.party != Party::Everyone, "a source of all");
                let new = Incoming { declared: *length, ..Incoming::default() };
                assert!(self.slot(*stream).replace(new).is_none(), "{stream} begins twice");
            }
            Event::Chunk { stream, bytes } => {
                let window = self.limits.window as usize;
                let slot = self.slot(*stream).as_mut().expect("a stream that has begun");
                assert!(!bytes.is_empty(), "a chunk of nothing");
                slot.got += bytes.len() as u64;
                slot.held += bytes.len();
                assert!(slot.held <= window, "{} bytes without credit", slot.held - window);
                assert!(slot.declared.is_none_or(|all| slot.got <= all), "more than declared");
            }
            Event::End(stream) => {
                let slot = self.slot(*stream).take().expect("a stream that has begun");
                assert!(slot.declared.is_none_or(|all| slot.got == all), "less than declared");
            }
            Event::Aborted { stream, .. } => {
                assert!(self.slot(*stream).take().is_some(), "what has not begun");
            }
            Event::Stopped { stream, .. } => {
                assert!(std::mem::take(&mut self.outgoing[usize::from(stream.0)]), "{stream}");
            }
            Event::Credit(stream) => assert!(self.outgoing[usize::from(stream.0)], "{stream}"),
            Event::Closed(_) => self.closed = true,
            _ => {}
        }
    }

    pub(super) fn sends(&mut self, stream: StreamId) -> bool {
        assert!(!std::mem::replace(&mut self.outgoing[usize::from(stream.0)], true));
        true
    }

    pub(super) fn sent(&mut self, stream: StreamId) -> bool {
        assert!(std::mem::take(&mut self.outgoing[usize::from(stream.0)]));
        true
    }

    pub(super) fn asks(&mut self) -> bool {
        self.questions += 1;
        assert!(!self.is_server && self.questions <= MAX_QUESTIONS);
        true
    }

    pub(super) fn answers(&mut self) -> bool {
        assert!(self.is_server);
        self.questions = self.questions.checked_sub(1).expect("an answer to a question");
        true
    }

    /// How much of what is held can be consumed.
    pub(super) fn consumes(&mut self, stream: StreamId, n: usize) -> usize {
        let Some(slot) = &mut self.incoming[usize::from(stream.0)] else { return 0 };
        let n = n.min(slot.held);
        slot.held -= n;
        n
    }

    /// Nothing more is heard of a stream that this side has stopped.
    pub(super) fn stops(&mut self, stream: StreamId, open: bool) {
        if open {
            self.incoming[usize::from(stream.0)] = None;
        }
    }
}
