//! The channels of a client, and the numbers that they have on its connection.
//!
//! Every Open uses a number up, also one that is refused (PROTOCOL 12). Each new connection asks for the same channels in the
//! same order, so that numbers stay what they are and what is queued arrives where it was meant to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use pysock_proto::{ChannelId, ChannelName, Failure};
use tokio::sync::watch;

use super::shared::Shared;
use crate::{Error, line::Control, listen::Sink};

/// How long to wait before asking again for a channel that the server had and has not: it may just have begun anew. The
/// wait doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How far the opening of a channel has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    Asked,
    Open,
    Refused(Failure),
}

/// The number that a channel has now.
#[derive(Clone)]
pub(super) struct Number(Arc<AtomicU16>);

impl Number {
    pub(super) fn id(&self) -> ChannelId {
        ChannelId(self.0.load(Ordering::Acquire))
    }
}

/// What a number stands for.
struct Entry {
    name: ChannelName,
    /// `None` once nobody can listen any more.
    sink: Option<Sink>,
    opening: watch::Sender<Opening>,
    number: Number,
    /// The server has had it: if it has not any more, it is asked again, after so long.
    again: Option<Duration>,
    /// The number is used up, and stands for no channel any more.
    over: bool,
}

/// What the numbers stand for.
#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    /// There will be no further connection.
    ended: bool,
}

impl Table {
    fn get_mut(&mut self, id: ChannelId) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(id.0))
    }
}

#[derive(Default)]
pub(super) struct Channels(Mutex<Table>);

impl Channels {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Calls `restart` with what a new connection has to ask for. Nothing is added meanwhile.
    pub(super) fn all<T>(&self, restart: impl FnOnce(Vec<Control>) -> T) -> T {
        let table = self.lock();
        let mut controls = Vec::with_capacity(table.entries.len());
        for (entry, id) in table.entries.iter().zip(0..=u16::MAX) {
            controls.push(Control::OpenChannel(entry.name));
            if entry.over {
                controls.push(Control::LeaveChannel(ChannelId(id)));
            }
        }
        restart(controls)
    }

    /// There will be no further connection.
    pub(super) fn end(&self) {
        let mut table = self.lock();
        table.ended = true;
        for entry in &mut table.entries {
            entry.sink = None;
            entry.opening.send_replace(Opening::Refused(Failure::NoPeer));
        }
    }

    /// The open channel of that name.
    pub(super) fn find(&self, name: &ChannelName) -> Result<ChannelId, Error> {
        let table = self.lock();
        let is_it =
            |entry: &&Entry| entry.name == *name && *entry.opening.borrow() == Opening::Open;
        let entry = table.entries.iter().rfind(is_it);
        entry.map(|entry| entry.number.id()).ok_or_else(|| no_channel(name))
    }

    pub(super) fn name(&self, id: ChannelId) -> Option<ChannelName> {
        self.lock().entries.get(usize::from(id.0)).map(|entry| entry.name)
    }

    /// Where the program listens to a channel, if it does.
    pub(super) fn sink(&self, id: ChannelId) -> Option<Sink> {
        self.lock().entries.get(usize::from(id.0))?.sink.clone()
    }

    /// The listener of a channel is gone. Sending goes on.
    pub(super) fn drop_sink(&self, number: &Number) {
        let mut table = self.lock();
        if let Some(entry) = table.get_mut(number.id()) {
            entry.sink = None;
        }
    }
}

impl Shared {
    /// Adds a channel and asks the server for it. Numbers and questions stay in step under the lock.
    pub(super) fn add_channel(
        &self,
        name: ChannelName,
        sink: Sink,
    ) -> Result<(Number, watch::Receiver<Opening>), Error> {
        let mut table = self.channels.lock();
        if table.ended {
            return Err(Error::Disconnected);
        }
        if let Some(entry) =
            table.entries.iter_mut().find(|entry| entry.name == name && !entry.over)
        {
            // It is open still, or asked for, only nobody has listened.
            if entry.sink.is_some() {
                return Err(Error::ChannelExists(name.as_str().into()));
            }
            entry.sink = Some(sink);
            let (number, opened) = (entry.number.clone(), entry.opening.subscribe());
            let is_refused = matches!(*opened.borrow(), Opening::Refused(_));
            if is_refused {
                self.ask_again(&mut table, number.id());
            }
            return Ok((number, opened));
        }
        let id = u16::try_from(table.entries.len()).map_err(|_| no_channel(&name))?;
        let (opening, opened) = watch::channel(Opening::Asked);
        let number = Number(Arc::new(id.into()));
        let sink = Some(sink);
        let entry = Entry { name, sink, opening, number: number.clone(), again: None, over: false };
        table.entries.push(entry);
        self.outbox.line.tell(Control::OpenChannel(name));
        Ok((number, opened))
    }

    /// The server has answered.
    pub(super) fn opened(self: &Arc<Self>, id: ChannelId, result: Result<(), Failure>) {
        let mut table = self.channels.lock();
        let Some(entry) = table.get_mut(id).filter(|entry| !entry.over) else {
            return;
        };
        match (result, entry.again) {
            (Ok(()), _) => {
                entry.again = Some(FIRST_WAIT);
                entry.opening.send_replace(Opening::Open);
            }
            (Err(why @ Failure::NoChannel), Some(wait)) => {
                tracing::warn!(channel = %entry.name, "the server does not have it any more: asking again");
                entry.again = Some(LONGEST_WAIT.min(wait * 2));
                entry.opening.send_replace(Opening::Refused(why));
                let (shared, epoch) = (Arc::downgrade(self), self.outbox.epoch());
                tokio::spawn(ask_later(shared, id, epoch, wait));
            }
            (Err(why), _) => {
                entry.sink = None;
                entry.over = true;
                entry.opening.send_replace(Opening::Refused(why));
            }
        }
    }

    /// Asks for a channel under a new number.
    fn ask_again(&self, table: &mut Table, id: ChannelId) {
        let next = u16::try_from(table.entries.len());
        let Some(old) = table.get_mut(id).filter(|entry| !entry.over) else {
            return;
        };
        old.over = true;
        let sink = old.sink.take();
        let Ok(next) = next else { return };
        let opening = std::mem::replace(&mut old.opening, watch::Sender::new(Opening::Asked));
        opening.send_replace(Opening::Asked);
        let (name, number, again) = (old.name, old.number.clone(), old.again);
        number.0.store(next, Ordering::Release);
        table.entries.push(Entry { name, sink, opening, number, again, over: false });
        self.outbox.line.tell(Control::OpenChannel(name));
    }
}

/// Asks again after a while, unless a new connection has done so.
async fn ask_later(shared: Weak<Shared>, id: ChannelId, epoch: u32, wait: Duration) {
    tokio::time::sleep(wait).await;
    if let Some(shared) = shared.upgrade() {
        let mut table = shared.channels.lock();
        if shared.outbox.epoch() == epoch && !table.ended {
            shared.ask_again(&mut table, id);
        }
    }
}

fn no_channel(name: &ChannelName) -> Error {
    Error::NoChannel(name.as_str().into())
}
