//! Large messages on their way through this process, in parts.
//!
//! The parts go from whoever produces them (a connection that receives a stream, or a program) to one or
//! more consumers (connections that send it on, or a program). Memory stays bounded by credit: a producer on the
//! network gets its credit back only when the last consumer is done with a part.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use bytes::Bytes;
use pysock_proto::{Failure, StreamId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    Data, Error,
    line::{Control, Line},
};

/// Which stream of which connection the parts come from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) line: Weak<Line>,
    pub(crate) stream: StreamId,
    /// Tells streams apart that had the same number one after the other.
    pub(crate) turn: u64,
}

impl Origin {
    fn tell(&self, control: Control) {
        if let Some(line) = self.line.upgrade() {
            line.tell(control);
        }
    }
}

/// Gives credit back to the sender once the last copy is dropped.
struct Grant {
    origin: Origin,
    bytes: usize,
    /// Counts the parts that are with consumers.
    counted: Option<Arc<()>>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        // Counted out first: whoever hears of the credit looks at the count.
        self.counted = None;
        let Origin { stream, turn, .. } = self.origin;
        self.origin.tell(Control::Consumed { stream, turn, bytes: self.bytes });
    }
}

/// A part of a large message.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// Gives something back when the last copy is dropped: credit to a sender, or room to a writer.
    _held: Option<Arc<dyn Send + Sync>>,
}

impl Chunk {
    /// A part that came from the network.
    pub(crate) fn received(bytes: Bytes, origin: Origin, counted: Arc<()>) -> Self {
        let grant = Grant { origin, bytes: bytes.len(), counted: Some(counted) };
        Chunk { bytes, _held: Some(Arc::new(grant)) }
    }

    /// A part that this program made.
    pub(crate) fn local(bytes: Bytes) -> Self {
        Chunk { bytes, _held: None }
    }
}

/// What a consumer gets, in order. A channel that ends without `End` was cut.
pub(crate) enum Part {
    Chunk(Chunk),
    End,
    Aborted(Failure),
}

/// Why a consumer wants no more; 0: it does.
#[derive(Default)]
struct Verdict(AtomicU8);

/// All consumers of one stream together: when the last is gone, its sender is told.
struct Consumers {
    origin: Option<Origin>,
    verdict: Verdict,
    /// One of them has sent it on to its end.
    sent: AtomicBool,
}

impl Consumers {
    fn new(origin: Option<Origin>) -> Arc<Self> {
        let (verdict, sent) = (Verdict::default(), AtomicBool::new(false));
        Arc::new(Consumers { origin, verdict, sent })
    }

    /// Why they want no more of it.
    fn why(&self) -> Failure {
        match self.verdict.0.load(Ordering::Acquire) {
            0 => Failure::Cancelled,
            code => Failure::from_code(code),
        }
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        if let Some(origin) = &self.origin {
            let Origin { stream, turn, .. } = *origin;
            let why = self.why();
            // If the stream has ended meanwhile, its turn is over and this means nothing.
            origin.tell(Control::Stop { stream, turn, why });
        }
    }
}

/// The consumer's end.
pub(crate) struct Parts {
    parts: mpsc::UnboundedReceiver<Part>,
    /// In bytes, if the sender declared it.
    pub(crate) length: Option<u64>,
    /// Others get it, too, and are held up by whoever takes it slowly.
    pub(crate) published: bool,
    consumers: Arc<Consumers>,
}

/// The producer's end towards one consumer.
pub(crate) struct PartsSender {
    parts: mpsc::UnboundedSender<Part>,
    /// The connection that has to be woken to send them on.
    wake: Option<Arc<Line>>,
}

/// Makes the ends for one consumer for each of `wakes`.
pub(crate) fn parts(
    length: Option<u64>,
    origin: Option<Origin>,
    wakes: impl IntoIterator<Item = Option<Arc<Line>>>,
) -> Vec<(PartsSender, Parts)> {
    let consumers = Consumers::new(origin);
    let ends = wakes.into_iter().map(|wake| {
        let (sender, receiver) = mpsc::unbounded_channel();
        let consumers = consumers.clone();
        let parts = Parts { parts: receiver, length, published: false, consumers };
        (PartsSender { parts: sender, wake }, parts)
    });
    ends.collect()
}

impl Parts {
    pub(crate) fn try_next(&mut self) -> Option<Part> {
        match self.parts.try_recv() {
            Ok(part) => Some(part),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => {
                Some(Part::Aborted(Failure::Incomplete))
            }
        }
    }

    /// Nothing is there, and the end has not come: its source has to go on.
    pub(crate) fn is_starved(&self) -> bool {
        self.parts.is_empty() && !self.parts.is_closed()
    }

    pub(crate) async fn next(&mut self) -> Part {
        self.parts.recv().await.unwrap_or(Part::Aborted(Failure::Incomplete))
    }

    /// All of it was sent on.
    pub(crate) fn sent(&self) {
        self.consumers.sent.store(true, Ordering::Release);
    }

    /// Wants no more of it.
    pub(crate) fn refuse(self, why: Failure) {
        self.consumers.verdict.0.store(why.code(), Ordering::Release);
    }
}

impl PartsSender {
    /// `false`: the consumer is gone.
    pub(crate) fn send(&self, part: Part) -> bool {
        let sent = self.parts.send(part).is_ok();
        if let Some(line) = &self.wake {
            line.wake();
        }
        sent
    }

    pub(crate) async fn closed(&self) {
        self.parts.closed().await;
    }
}

impl Drop for PartsSender {
    fn drop(&mut self) {
        // Whoever sends the parts on has to notice that no more come.
        if let Some(line) = &self.wake {
            line.wake();
        }
    }
}

/// Parts that a program has written and that wait for the network.
const WRITTEN_AHEAD: usize = 8;

/// A large message that the program writes bit by bit.
///
/// Dropping it without [`finish`](Self::finish) aborts it: the receiver throws away what it has.
pub struct StreamWriter {
    to: PartsSender,
    room: Arc<Semaphore>,
    target: String,
    consumers: Arc<Consumers>,
    finished: bool,
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.to.send(Part::Aborted(Failure::Cancelled));
        }
    }
}

/// A part holds its place among those written ahead until it is sent.
struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Makes both ends of a message that the program writes.
pub(crate) fn writer(
    length: Option<u64>,
    target: String,
    wake: Arc<Line>,
) -> (StreamWriter, Parts) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let consumers = Consumers::new(None);
    let parts = Parts { parts: receiver, length, published: false, consumers: consumers.clone() };
    let to = PartsSender { parts: sender, wake: Some(wake) };
    let room = Arc::new(Semaphore::new(WRITTEN_AHEAD));
    (StreamWriter { to, room, target, consumers, finished: false }, parts)
}

impl StreamWriter {
    /// Writes the next bytes; waits while the receiver is behind.
    ///
    /// # Errors
    /// [`Error::Failed`] if the receiver wants no more or is gone.
    pub async fn write(&mut self, data: impl Into<Data>) -> Result<(), Error> {
        let place = tokio::select! {
            place = self.room.clone().acquire_owned() => place.map_err(|_| self.refused())?,
            () = self.to.closed() => return Err(self.refused()),
        };
        let chunk = Chunk { bytes: data.into().0, _held: Some(Arc::new(Place(place))) };
        if self.to.send(Part::Chunk(chunk)) { Ok(()) } else { Err(self.refused()) }
    }

    /// Ends the message, and waits until all of it has been handed to the connection. The receiver takes it for
    /// complete only now.
    ///
    /// # Errors
    /// [`Error::Failed`] if the receiver wants no more or is gone.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.finished = true;
        if !self.to.send(Part::End) {
            return Err(self.refused());
        }
        self.to.closed().await;
        if self.consumers.sent.load(Ordering::Acquire) { Ok(()) } else { Err(self.refused()) }
    }

    fn refused(&self) -> Error {
        Error::Failed { to: self.target.clone(), failure: self.consumers.why() }
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter").field("to", &self.target).finish_non_exhaustive()
    }
}
