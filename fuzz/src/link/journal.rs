//! What one side has said, and how much of it the other has heard.

use pysock_proto::{Error, Event, StreamId};

/// In one direction.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// As the events they should be, and to which stream they belong.
    said: Vec<(String, Option<StreamId>)>,
    heard: usize,
    /// Begun, and not yet ended, as the receiver sees it; with the bytes it holds.
    held: [Option<usize>; 4],
    /// Streams of which the receiver wants nothing more.
    stopped: [bool; 4],
    closed: bool,
    number: u32,
    /// Why the sender gave up.
    pub(super) broken: Option<Error>,
}

/// The stream that an event is about.
fn stream_of(event: &Event<'_>) -> Option<StreamId> {
    match event {
        Event::Begin { stream, .. }
        | Event::Chunk { stream, .. }
        | Event::Aborted { stream, .. } => Some(*stream),
        Event::End(stream) => Some(*stream),
        _ => None,
    }
}

impl Journal {
    /// Something to say that nothing else is like.
    pub(super) fn text(&mut self, len: usize) -> Vec<u8> {
        self.number += 1;
        let number = self.number.to_be_bytes();
        (0..len).map(|at| number[at % 4] ^ (at / 4) as u8).collect()
    }

    pub(super) fn says(&mut self, event: &Event<'_>) {
        self.said.push((format!("{event:?}"), stream_of(event)));
    }

    /// Holds it against what was said.
    pub(super) fn hears(&mut self, event: &Event<'_>) {
        assert!(!self.closed, "after the close: {event:?}");
        match event {
            Event::Handled | Event::Credit(_) | Event::Stopped { .. } => return,
            Event::Closed(_) => {
                self.closed = true;
                // All before it has been read.
                self.skip_stopped(None);
                return;
            }
            _ => {}
        }
        let heard = format!("{event:?}");
        self.skip_stopped(Some(&heard));
        let said = self.said.get(self.heard).map(|(said, _)| said.as_str());
        assert_eq!(
            Some(heard.as_str()),
            said,
            "heard is not what was said as number {}",
            self.heard
        );
        self.heard += 1;
        let at = |stream: &StreamId| usize::from(stream.0);
        match event {
            Event::Begin { stream, .. } => {
                self.stopped[at(stream)] = false;
                self.held[at(stream)] = Some(0);
            }
            Event::Chunk { stream, bytes } => {
                assert!(!self.stopped[at(stream)], "of a stream that was stopped");
                if let Some(held) = &mut self.held[at(stream)] {
                    *held += bytes.len();
                }
            }
            Event::End(stream) | Event::Aborted { stream, .. } => self.held[at(stream)] = None,
            _ => {}
        }
    }

    /// What was under way when the receiver stopped a stream is not heard, up to where it begins anew.
    fn skip_stopped(&mut self, heard: Option<&str>) {
        while let Some((said, Some(stream))) = self.said.get(self.heard) {
            let under_way = self.stopped[usize::from(stream.0)] && !said.starts_with("Begin");
            if !under_way || Some(said.as_str()) == heard {
                break;
            }
            self.heard += 1;
        }
    }

    /// The receiver has dealt with what it holds.
    pub(super) fn consumes(&mut self, stream: StreamId) -> usize {
        self.held[usize::from(stream.0)].as_mut().map_or(0, std::mem::take)
    }

    /// The receiver wants no more.
    pub(super) fn stops(&mut self, stream: StreamId) -> bool {
        let at = usize::from(stream.0);
        let was = self.held[at].take().is_some();
        self.stopped[at] |= was;
        was
    }

    /// The sender has heard that.
    pub(super) fn halted(&mut self, stream: StreamId) {
        assert!(self.stopped[usize::from(stream.0)], "nobody has stopped {stream}");
    }

    pub(super) fn was_closed(&self) -> bool {
        self.closed
    }

    /// Whether all that was said was heard.
    pub(super) fn is_complete(&self) -> bool {
        let mut rest = self.said[self.heard..].iter();
        rest.all(|(_, stream)| stream.is_some_and(|stream| self.stopped[usize::from(stream.0)]))
    }
}
