//! Where messages wait for the program: one bounded queue for each channel.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use pysock_proto::{ChannelName, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    Error, Message, Sender,
    client::{PeerNews, groups::GroupNews},
    link::{Destination, Verdict, WINDOW},
    transfer::{self, Origin, Part, Parts},
};

/// What a waiting message costs beyond its data, in bytes.
const OVERHEAD: usize = 256;

/// The connection's end of a channel's queue.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Inner>);

struct Inner {
    waiting: Waiting,
    room: Arc<Semaphore>,
    capacity: u32,
    /// What found no room yet, with its cost, in order.
    held: Mutex<VecDeque<(u32, Item)>>,
}

enum Waiting {
    /// Messages are delivered whole.
    Whole(mpsc::UnboundedSender<Message>),
    /// Messages are handed on while they arrive.
    Prefixes(mpsc::UnboundedSender<PrefixMessage>),
    /// Messages of other clients are delivered whole, among news of their sessions.
    Reports(mpsc::UnboundedSender<Report>),
    /// What is said in a group, among news of it. Each holds its share of the room.
    Group(mpsc::UnboundedSender<(GroupNews, OwnedSemaphorePermit)>),
}

/// The program's end of a queue with whole messages.
pub(crate) struct Queue {
    messages: mpsc::UnboundedReceiver<Message>,
}

/// The program's end of a queue with messages that are still arriving.
pub(crate) struct Prefixes {
    messages: mpsc::UnboundedReceiver<PrefixMessage>,
}

/// News with their share of the queue. That of a message is in the message.
type Report = (PeerNews, Option<OwnedSemaphorePermit>);

/// The program's end of a queue with messages and news of other clients.
pub(crate) struct Reports {
    reports: mpsc::UnboundedReceiver<Report>,
}

/// The program's end of a queue with messages to a group and news of it.
pub(crate) struct GroupQueue {
    news: mpsc::UnboundedReceiver<(GroupNews, OwnedSemaphorePermit)>,
}

fn sink(waiting: Waiting, capacity: usize) -> Sink {
    let capacity = u32::try_from(capacity).unwrap_or(u32::MAX).max(1);
    // A semaphore of tokio takes less than a usize holds, and a queue far less than that.
    let room = Arc::new(Semaphore::new((capacity as usize).min(Semaphore::MAX_PERMITS)));
    Sink(Arc::new(Inner { waiting, room, capacity, held: Mutex::default() }))
}

/// A queue in which messages of at most `capacity` bytes together wait.
pub(crate) fn whole(capacity: usize) -> (Sink, Queue) {
    let (queue, messages) = mpsc::unbounded_channel();
    (sink(Waiting::Whole(queue), capacity), Queue { messages })
}

/// A queue of messages that are still arriving, each counted with what can have arrived of it.
pub(crate) fn prefixes(capacity: usize) -> (Sink, Prefixes) {
    let (queue, messages) = mpsc::unbounded_channel();
    (sink(Waiting::Prefixes(queue), capacity), Prefixes { messages })
}

/// A queue of messages and news of other clients.
pub(crate) fn reports(capacity: usize) -> (Sink, Reports) {
    let (queue, reports) = mpsc::unbounded_channel();
    (sink(Waiting::Reports(queue), capacity), Reports { reports })
}

/// A queue of messages to a group and news of it.
pub(crate) fn groups(capacity: usize) -> (Sink, GroupQueue) {
    let (queue, news) = mpsc::unbounded_channel();
    (sink(Waiting::Group(queue), capacity), GroupQueue { news })
}

/// What waits in a queue.
enum Item {
    Message(Message),
    Prefix(PrefixMessage),
    Report(PeerNews),
    Group(GroupNews),
}

impl Sink {
    /// Whether nobody can listen any more.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.0.waiting {
            Waiting::Whole(queue) => queue.is_closed(),
            Waiting::Prefixes(queue) => queue.is_closed(),
            Waiting::Reports(queue) => queue.is_closed(),
            Waiting::Group(queue) => queue.is_closed(),
        }
    }

    /// Delivers news of another client to a listener that takes them.
    pub(crate) fn report(&self, news: PeerNews) -> Verdict {
        match &self.0.waiting {
            Waiting::Reports(_) => self.enqueue(0, Item::Report(news)),
            _ => Verdict::Go,
        }
    }

    /// Delivers news to a listener that takes them, if there is room at once.
    pub(crate) fn mention(&self, news: PeerNews) {
        if let Waiting::Reports(queue) = &self.0.waiting
            && let Ok(share) = self.0.room.clone().try_acquire_many_owned(OVERHEAD as u32)
        {
            let _ = queue.send((news, Some(share)));
        }
    }

    /// Delivers what was said in a group, or became of it.
    pub(crate) fn group(&self, news: GroupNews) -> Verdict {
        match self.is_closed() {
            true => Verdict::Go,
            false => self.enqueue(news.size(), Item::Group(news)),
        }
    }

    /// Queues an item behind everything that came before it.
    fn enqueue(&self, bytes: usize, item: Item) -> Verdict {
        let cost = bytes.saturating_add(OVERHEAD).min(self.0.capacity as usize) as u32;
        let mut held = self.held();
        if held.is_empty()
            && let Ok(share) = self.0.room.clone().try_acquire_many_owned(cost)
        {
            self.send(item, share);
            return Verdict::Go;
        }
        held.push_back((cost, item));
        drop(held);
        let sink = self.clone();
        Verdict::Wait(Box::pin(async move { sink.release().await }))
    }

    /// Queues what is held as there is room. Whoever waits does it for all.
    async fn release(&self) {
        // Half of the queue has to be free before reading goes on, or every single message would wake us.
        let mut spare = self.0.capacity / 2;
        loop {
            let Some(cost) = self.held().front().map(|(cost, _)| *cost) else { return };
            let want = cost.saturating_add(spare).min(self.0.capacity);
            let share = tokio::select! {
                share = self.0.room.clone().acquire_many_owned(want) => share.ok(),
                () = self.closed() => None,
            };
            let mut held = self.held();
            let Some(mut share) = share else {
                // Without a listener it is dropped, and a request is answered with a failure.
                held.clear();
                return;
            };
            // Somebody else may have released it meanwhile.
            if let Some((cost, item)) = held.pop_front() {
                match share.split(cost as usize) {
                    Some(share) => self.send(item, share),
                    None => held.push_front((cost, item)),
                }
            }
            spare = 0;
        }
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<(u32, Item)>> {
        self.0.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Hands an item to the program with its share of the room, which it holds until it is dropped.
    fn send(&self, item: Item, share: OwnedSemaphorePermit) {
        // Without a listener it is dropped, and a request is answered with a failure.
        match (&self.0.waiting, item) {
            (Waiting::Whole(queue), Item::Message(mut message)) => {
                message.share = Some(share);
                let _ = queue.send(message);
            }
            (Waiting::Reports(queue), Item::Message(mut message)) => {
                message.share = Some(share);
                let _ = queue.send((PeerNews::Message(message), None));
            }
            (Waiting::Prefixes(queue), Item::Prefix(mut message)) => {
                message.share = Some(share);
                let _ = queue.send(message);
            }
            (Waiting::Reports(queue), Item::Report(news)) => {
                let _ = queue.send((news, Some(share)));
            }
            (Waiting::Group(queue), Item::Group(news)) => {
                let _ = queue.send((news, share));
            }
            _ => {}
        }
    }

    async fn closed(&self) {
        match &self.0.waiting {
            Waiting::Whole(queue) => queue.closed().await,
            Waiting::Prefixes(queue) => queue.closed().await,
            Waiting::Reports(queue) => queue.closed().await,
            Waiting::Group(queue) => queue.closed().await,
        }
    }

    /// Delivers a message, or says that reading has to wait until there is room.
    pub(crate) fn deliver(&self, message: Message) -> Verdict {
        let bytes = message.data.len();
        match &self.0.waiting {
            Waiting::Whole(_) | Waiting::Reports(_) => self.enqueue(bytes, Item::Message(message)),
            // What is said in a group comes with more: see `group`.
            Waiting::Group(_) => Verdict::Go,
            Waiting::Prefixes(_) => {
                // It came in one piece: nothing is missing of it.
                let mut ends = transfer::parts(Some(bytes as u64), None, [None]);
                let Some((to, parts)) = ends.pop() else { return Verdict::Go };
                to.send(Part::Chunk(transfer::Chunk::local(message.data.clone())));
                to.send(Part::End);
                let prefix = PrefixMessage::new(message.sender.clone(), &message.channel, parts);
                self.enqueue(bytes, Item::Prefix(prefix))
            }
        }
    }

    /// What becomes of a large message that begins; `limit` is for one that is delivered whole.
    pub(crate) fn begin(
        &self,
        sender: Sender,
        channel: &ChannelName,
        length: Option<u64>,
        origin: Origin,
        limit: usize,
    ) -> (Destination, Verdict) {
        let Waiting::Prefixes(queue) = &self.0.waiting else {
            return (Destination::Collect { limit }, Verdict::Go);
        };
        let mut ends = transfer::parts(length, Some(origin), [None]);
        match ends.pop() {
            Some((to, parts)) if !queue.is_closed() => {
                let prefix = PrefixMessage::new(sender, channel, parts);
                let verdict = self.enqueue(WINDOW as usize, Item::Prefix(prefix));
                (Destination::Forward(vec![to]), verdict)
            }
            _ => (Destination::Refuse(Failure::NoChannel), Verdict::Go),
        }
    }
}

impl Queue {
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}

impl Reports {
    pub(crate) async fn next(&mut self) -> Option<PeerNews> {
        self.reports.recv().await.map(|(news, _)| news)
    }
}

impl GroupQueue {
    pub(crate) async fn next(&mut self) -> Option<GroupNews> {
        let (mut news, share) = self.news.recv().await?;
        if let GroupNews::Message(message) = &mut news {
            message.message.share = Some(share);
        }
        Some(news)
    }
}

impl Prefixes {
    pub(crate) async fn next(&mut self) -> Option<PrefixMessage> {
        self.messages.recv().await
    }
}

/// A message that may still be arriving. What [`chunk`](Self::chunk) hands out is a *prefix*: authentic and in
/// order, but complete only once it has given `None`.
pub struct PrefixMessage {
    sender: Sender,
    channel: ChannelName,
    parts: Parts,
    complete: bool,
    /// Its share of the queue it waited in.
    share: Option<OwnedSemaphorePermit>,
}

impl PrefixMessage {
    fn new(sender: Sender, channel: &ChannelName, parts: Parts) -> Self {
        PrefixMessage { sender, channel: *channel, parts, complete: false, share: None }
    }

    /// Who sends it.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The channel it comes by.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Its length in bytes, if the sender declared it; the protocol guarantees it then.
    pub fn length(&self) -> Option<u64> {
        self.parts.length
    }

    /// The next bytes. `None`: the message is complete. The sender gets credit for more once the bytes were taken.
    ///
    /// # Errors
    /// [`Error::Failed`] if it will never be complete: throw away what came of it.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        if self.complete {
            return Ok(None);
        }
        // Reading has begun: from here on its own credit bounds it.
        self.share = None;
        match self.parts.next().await {
            Part::Chunk(chunk) => Ok(Some(chunk.bytes.clone())),
            Part::End => {
                self.complete = true;
                Ok(None)
            }
            Part::Aborted(failure) => Err(Error::Failed { to: "this side".into(), failure }),
        }
    }
}

impl std::fmt::Debug for PrefixMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixMessage")
            .field("sender", &self.sender)
            .field("channel", &self.channel)
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}
