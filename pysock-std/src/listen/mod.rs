//! Where messages wait for the program: one bounded queue for each channel.

mod prefix;
mod queue;

use std::sync::Arc;

use bytes::Bytes;
use pysock_proto::Failure;

pub use prefix::PrefixMessage;
use queue::{Queue, Room};

use crate::{
    Message, Messages,
    client::{PeerNews, groups::GroupNews},
    link::{Destination, Verdict, WINDOW},
    message::Path,
    payload::Payload,
    reply::Replier,
    transfer::{self, Chunk, Origin, Part},
};

/// What a waiting item costs beyond its data, in bytes.
const OVERHEAD: usize = 128;

/// The connection's end of a channel's queue. What waits when the last one is dropped still goes to the program.
#[derive(Clone)]
pub(crate) struct Sink(Arc<End>);

enum End {
    /// Messages are delivered whole.
    Whole(Arc<Queue<Messages>>),
    /// Messages are handed on while they arrive.
    Prefixes(Arc<Queue<PrefixMessage>>),
    /// Messages of other clients are delivered whole, among news of their sessions.
    Reports(Arc<Queue<Report>>),
    /// What is said in a group, among news of it.
    Group(Arc<Queue<GroupNews>>),
}

/// Runs `$body` with the queue, whatever waits in it.
macro_rules! with {
    ($sink:expr, $queue:ident => $body:expr) => {
        match $sink {
            End::Whole($queue) => $body,
            End::Prefixes($queue) => $body,
            End::Reports($queue) => $body,
            End::Group($queue) => $body,
        }
    };
}

impl Drop for End {
    fn drop(&mut self) {
        with!(self, queue => queue.end());
    }
}

/// Something of other clients.
enum Report {
    Messages(Messages),
    News(PeerNews),
}

/// The program's end of a queue. Dropping it drops what waits.
struct Taker<T>(Arc<Queue<T>>);

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The program's end of a queue with whole messages.
pub(crate) struct Whole {
    queue: Taker<Messages>,
    /// Taken out, and not given to the program yet.
    begun: Option<Messages>,
}

/// The program's end of a queue with messages that are still arriving.
pub(crate) struct Prefixes(Taker<PrefixMessage>);

/// The program's end of a queue with messages and news of other clients.
pub(crate) struct Reports {
    queue: Taker<Report>,
    begun: Option<Messages>,
}

/// The program's end of a queue with messages to a group and news of it.
pub(crate) struct GroupQueue(Taker<GroupNews>);

/// A queue in which messages of about `capacity` bytes together wait.
pub(crate) fn whole(capacity: usize) -> (Sink, Whole) {
    let queue = Queue::new(capacity);
    let taker = Whole { queue: Taker(queue.clone()), begun: None };
    (Sink(Arc::new(End::Whole(queue))), taker)
}

/// A queue of messages that are still arriving, each counted with what can have arrived of it.
pub(crate) fn prefixes(capacity: usize) -> (Sink, Prefixes) {
    let queue = Queue::new(capacity);
    let taker = Prefixes(Taker(queue.clone()));
    (Sink(Arc::new(End::Prefixes(queue))), taker)
}

/// A queue of messages and news of other clients.
pub(crate) fn reports(capacity: usize) -> (Sink, Reports) {
    let queue = Queue::new(capacity);
    let taker = Reports { queue: Taker(queue.clone()), begun: None };
    (Sink(Arc::new(End::Reports(queue))), taker)
}

/// A queue of messages to a group and news of it.
pub(crate) fn groups(capacity: usize) -> (Sink, GroupQueue) {
    let queue = Queue::new(capacity);
    let taker = GroupQueue(Taker(queue.clone()));
    (Sink(Arc::new(End::Group(queue))), taker)
}

impl Sink {
    /// Whether nobody can listen any more.
    pub(crate) fn is_closed(&self) -> bool {
        with!(&*self.0, queue => queue.is_abandoned())
    }

    /// Delivers news of another client to a listener that takes them.
    pub(crate) fn report(&self, news: PeerNews) -> Verdict {
        match &*self.0 {
            End::Reports(queue) => self.judge(queue.push(OVERHEAD, Report::News(news))),
            _ => Verdict::Go,
        }
    }

    /// Delivers news to a listener that takes them, if there is room at once.
    pub(crate) fn mention(&self, news: PeerNews) {
        if let End::Reports(queue) = &*self.0 {
            queue.try_push(OVERHEAD, Report::News(news));
        }
    }

    /// Delivers what was said in a group, or became of it.
    pub(crate) fn group(&self, news: GroupNews) -> Verdict {
        match &*self.0 {
            End::Group(queue) => {
                let cost = news.size().saturating_add(OVERHEAD);
                self.judge(queue.push(cost, news))
            }
            _ => Verdict::Go,
        }
    }

    /// Delivers messages that came one way, or says that reading has to wait until there is room. Without a listener
    /// they are dropped, and a request is answered with a failure.
    pub(crate) fn deliver(
        &self,
        path: Arc<Path>,
        payload: Payload,
        replier: Option<Replier>,
    ) -> Verdict {
        let cost = payload.size().saturating_add(OVERHEAD);
        match &*self.0 {
            End::Whole(queue) => {
                self.judge(queue.push(cost, Messages::new(path, payload, replier)))
            }
            End::Reports(queue) => {
                let messages = Messages::new(path, payload, replier);
                self.judge(queue.push(cost, Report::Messages(messages)))
            }
            End::Prefixes(queue) => {
                let mut room = Room::Left;
                for bytes in payload.into_messages() {
                    let cost = bytes.len().saturating_add(OVERHEAD);
                    if let Some(prefix) = complete(&path, bytes)
                        && queue.push(cost, prefix) == Room::Full
                    {
                        room = Room::Full;
                    }
                }
                self.judge(room)
            }
            // What is said in a group comes with more: see `group`.
            End::Group(_) => Verdict::Go,
        }
    }

    /// What becomes of a large message that begins; `limit` is for one that is delivered whole.
    pub(crate) fn begin(
        &self,
        path: Arc<Path>,
        length: Option<u64>,
        origin: Origin,
        limit: usize,
    ) -> (Destination, Verdict) {
        let End::Prefixes(queue) = &*self.0 else {
            return (Destination::Collect { limit, path: Some(path) }, Verdict::Go);
        };
        match transfer::parts(length, Some(origin), [None]).pop() {
            Some((to, parts)) if !queue.is_abandoned() => {
                let room = queue.push(WINDOW as usize, PrefixMessage::new(path, parts));
                (Destination::Forward(vec![to]), self.judge(room))
            }
            _ => (Destination::Refuse(Failure::NoChannel), Verdict::Go),
        }
    }

    fn judge(&self, room: Room) -> Verdict {
        match room {
            Room::Left => Verdict::Go,
            Room::Full => {
                let sink = self.clone();
                Verdict::Wait(Box::pin(async move { with!(&*sink.0, queue => queue.room().await) }))
            }
        }
    }
}

/// A message that came in one piece, for whoever takes messages while they arrive: nothing is missing of it.
fn complete(path: &Arc<Path>, bytes: Bytes) -> Option<PrefixMessage> {
    let (to, parts) = transfer::parts(Some(bytes.len() as u64), None, [None]).pop()?;
    to.send(Part::Chunk(Chunk::local(bytes)));
    to.send(Part::End);
    Some(PrefixMessage::new(path.clone(), parts))
}

impl Whole {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.begun.as_mut().and_then(Iterator::next) {
                return Some(message);
            }
            self.begun = Some(self.queue.0.next().await?);
        }
    }

    /// The next messages, as they came together.
    pub(crate) async fn next_many(&mut self) -> Option<Messages> {
        match self.begun.take().filter(|begun| begun.len() > 0) {
            Some(begun) => Some(begun),
            None => self.queue.0.next().await,
        }
    }
}

impl Reports {
    /// The next message or news.
    pub(crate) async fn next(&mut self) -> Option<PeerNews> {
        loop {
            if let Some(message) = self.begun.as_mut().and_then(Iterator::next) {
                return Some(PeerNews::Message(message));
            }
            match self.queue.0.next().await? {
                Report::Messages(messages) => self.begun = Some(messages),
                Report::News(news) => return Some(news),
            }
        }
    }

    /// The next messages, as they came together, or news.
    pub(crate) async fn next_many(&mut self) -> Option<Result<Messages, PeerNews>> {
        if let Some(begun) = self.begun.take().filter(|begun| begun.len() > 0) {
            return Some(Ok(begun));
        }
        Some(match self.queue.0.next().await? {
            Report::Messages(messages) => Ok(messages),
            Report::News(news) => Err(news),
        })
    }
}

impl GroupQueue {
    pub(crate) async fn next(&mut self) -> Option<GroupNews> {
        self.0.0.next().await
    }
}

impl Prefixes {
    pub(crate) async fn next(&mut self) -> Option<PrefixMessage> {
        self.0.0.next().await
    }
}
