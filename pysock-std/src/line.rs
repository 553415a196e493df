//! What a connection's task is told besides messages: questions, answers, and news of its streams.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use pysock_proto::{ChannelId, ChannelName, Failure, Find, PeerInfo, StreamId};

/// What the connection itself has to do. Bounded by the protocol, and questions by those who wait for their answers, so it
/// needs no limit here.
pub(crate) enum Control {
    AnswerOpen(ChannelId, Result<(), Failure>),
    AnswerFind(u16, Option<PeerInfo>),
    OpenChannel(ChannelName),
    LeaveChannel(ChannelId),
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

/// Wakes the task. What it was rung for is remembered until the task looks.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
}

impl Bell {
    fn sleeper(&self) -> MutexGuard<'_, Option<Waker>> {
        self.sleeper.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn ring(&self) {
        // Who rings for what is not looked at yet need not wake anybody again.
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(sleeper) = self.sleeper().take()
        {
            sleeper.wake();
        }
    }

    fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        match &mut *self.sleeper() {
            Some(sleeper) => sleeper.clone_from(cx.waker()),
            sleeper => *sleeper = Some(cx.waker().clone()),
        }
        // Looked at last: who rings meanwhile finds whom to wake.
        if self.rung.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
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
        self.bell.ring();
    }

    /// Whether the task was woken since [`was_rung`](Self::was_rung).
    pub(crate) fn poll_woken(&self, cx: &Context<'_>) -> Poll<()> {
        self.bell.poll_rung(cx)
    }

    /// Until the task is woken. One wake-up is kept for a task that is busy.
    pub(crate) async fn woken(&self) {
        poll_fn(|cx| self.poll_woken(cx)).await;
        self.was_rung();
    }

    /// Whether the task was woken since this was asked last. It looks around afterwards, so that it misses nothing.
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

    /// Whether a channel is still to be asked for.
    pub(crate) fn awaits_channel(&self) -> bool {
        self.lock().iter().any(|control| matches!(control, Control::OpenChannel(_)))
    }

    /// Nobody waits any more for the answer to this question: it is not asked, if it has not been.
    pub(crate) fn withdraw(&self, query: u16) {
        let is_it =
            |control: &Control| matches!(control, Control::Find(asked, _) if *asked == query);
        self.lock().retain(|control| !is_it(control));
    }

    /// What was told before is void.
    pub(crate) fn restart(&self, control: impl IntoIterator<Item = Control>) {
        *self.lock() = control.into_iter().collect();
    }
}
