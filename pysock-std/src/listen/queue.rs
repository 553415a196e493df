//! A queue of bounded size with one taker: what waits for the program.
//!
//! Its bound is soft: what arrives is always taken in, and whoever brings it over the bound has to wait before it brings
//! more. So nothing is ever held in between, and the excess is at most one item for each that brings any.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
};

use tokio::sync::Notify;

struct State<T> {
    /// What waits, each with what it costs.
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// The taker, if it waits.
    taker: Option<Waker>,
    /// Nothing more will come.
    ended: bool,
    /// Nobody takes anything any more.
    abandoned: bool,
}

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    room: Notify,
}

/// Whether there is room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Left,
    /// Whoever has brought this waits until [`Queue::room`] says so.
    Full,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let (items, bytes, taker) = (VecDeque::new(), 0, None);
        let state = State { items, bytes, taker, ended: false, abandoned: false };
        Arc::new(Queue { state: Mutex::new(state), capacity: capacity.max(1), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Takes in what costs so many bytes. Without a taker it is dropped.
    pub(super) fn push(&self, cost: usize, item: T) -> Room {
        let mut state = self.lock();
        if state.abandoned {
            drop(state);
            drop(item);
            return Room::Left;
        }
        state.items.push_back((cost, item));
        state.bytes = state.bytes.saturating_add(cost);
        let room = if state.bytes > self.capacity { Room::Full } else { Room::Left };
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
        room
    }

    /// Takes it in if there is room at once.
    pub(super) fn try_push(&self, cost: usize, item: T) {
        if self.lock().bytes.saturating_add(cost) <= self.capacity {
            self.push(cost, item);
        }
    }

    /// Waits until half of it is free, or nobody takes anything any more: a little room would be full at once.
    pub(super) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let state = self.lock();
                if state.bytes <= self.capacity / 2 || state.abandoned {
                    return;
                }
            }
            room.await;
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Nobody takes anything any more: what waits is dropped, and so will be what comes.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        // An item that is dropped may have something to say, and not under the lock.
        drop(items);
        self.room.notify_waiters();
    }

    /// The next item. `None`: there will be none. Nothing is lost if this is dropped.
    pub(super) async fn next(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.lock();
            if let Some((cost, item)) = state.items.pop_front() {
                let before = state.bytes;
                state.bytes = before.saturating_sub(cost);
                let half = self.capacity / 2;
                let freed = before > half && state.bytes <= half;
                drop(state);
                if freed {
                    self.room.notify_waiters();
                }
                return Poll::Ready(Some(item));
            }
            if state.ended {
                return Poll::Ready(None);
            }
            match &mut state.taker {
                Some(taker) => taker.clone_from(cx.waker()),
                taker => *taker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::pin, task::Context};

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn who_brings_too_much_waits_until_half_is_free() {
        let queue = Queue::new(100);
        assert_eq!(queue.push(60, 1), Room::Left);
        assert_eq!(queue.push(60, 2), Room::Full);
        assert!(!is_ready(queue.room()));
        queue.try_push(1, 9);
        assert_eq!(queue.next().await, Some(1));
        assert!(!is_ready(queue.room()), "60 of 100");
        let waits = queue.room();
        assert_eq!(queue.next().await, Some(2));
        waits.await;
        queue.end();
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn what_nobody_takes_holds_up_nobody() {
        let queue = Queue::new(10);
        let dropped = Arc::new(());
        assert_eq!(queue.push(20, dropped.clone()), Room::Full);
        queue.abandon();
        queue.room().await;
        assert_eq!(queue.push(20, dropped.clone()), Room::Left);
        assert_eq!(Arc::strong_count(&dropped), 1);
    }

    #[tokio::test]
    async fn the_taker_is_woken() {
        let queue = Queue::new(10);
        let taking = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.next().await, queue.next().await) }
        });
        tokio::task::yield_now().await;
        queue.push(1, 7);
        tokio::task::yield_now().await;
        queue.end();
        assert_eq!(taking.await.unwrap(), (Some(7), None));
    }
}
