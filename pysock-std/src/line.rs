//! What a connection's task is told besides messages: questions, answers, and news of its streams.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use pysock_proto::{ChannelId, ChannelName, Failure, Find, PeerInfo, StreamId};
use tokio::sync::Notify;

/// What the connection itself has to do; bounded by the protocol, so it needs no limit here.
pub(crate) enum Control {
    AnswerOpen(ChannelId, Result<(), Failure>),
    AnswerFind(u16, Option<PeerInfo>),
    OpenChannel(ChannelName),
    Find(u16, Find),
    /// So many bytes of an incoming stream are dealt with.
    Consumed {
        stream: StreamId,
        turn: u64,
        bytes: usize,
    },
    /// Nobody wants the rest of an incoming stream.
    Stop {
        stream: StreamId,
        turn: u64,
        why: Failure,
    },
}

/// Wakes the task, and says whether there was a reason to.
#[derive(Default)]
struct Bell {
    notify: Notify,
    rung: AtomicBool,
}

/// The way to the task of one connection.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<VecDeque<Control>>,
    bell: Arc<Bell>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Control>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Another line to the same task.
    pub(crate) fn beside(&self) -> Line {
        Line { waiting: Mutex::default(), bell: self.bell.clone() }
    }

    /// Wakes the task: there is something to do, here or elsewhere.
    pub(crate) fn wake(&self) {
        self.bell.rung.store(true, Ordering::Release);
        self.bell.notify.notify_one();
    }

    /// Until the task is woken. One wake-up is kept for a task that is busy.
    pub(crate) async fn woken(&self) {
        self.bell.notify.notified().await;
    }

    /// Whether anything was queued since this was asked last. The task looks afterwards, so that it misses nothing.
    pub(crate) fn was_rung(&self) -> bool {
        self.bell.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn tell(&self, control: Control) {
        self.lock().push_back(control);
        self.wake();
    }

    pub(crate) fn next(&self) -> Option<Control> {
        self.lock().pop_front()
    }

    /// What was told before is void.
    pub(crate) fn restart(&self, control: impl IntoIterator<Item = Control>) {
        *self.lock() = control.into_iter().collect();
    }
}
