//! Questions to the server: who is that client?

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU16, Ordering},
    },
};

use pysock_proto::{Find, PeerInfo};
use tokio::sync::oneshot;

use super::shared::{Shared, Status};
use crate::{Error, line::Control};

/// What the server has answered, and on which connection: numbers are good for that one only.
pub(super) struct Answer {
    pub(super) peer: Option<PeerInfo>,
    pub(super) epoch: u32,
}

/// Who waits for an answer on the present connection.
#[derive(Default)]
pub(super) struct Finds {
    waiting: Mutex<HashMap<u16, oneshot::Sender<Answer>>>,
    next: AtomicU16,
}

impl Finds {
    fn lock(&self) -> MutexGuard<'_, HashMap<u16, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A number for a question, unless all are taken, and where its answer will come.
    fn wait(&self) -> Option<(u16, oneshot::Receiver<Answer>)> {
        let (tell, answer) = oneshot::channel();
        let mut waiting = self.lock();
        let query = (0..=u16::MAX)
            .map(|_| self.next.fetch_add(1, Ordering::Relaxed))
            .find(|query| !waiting.contains_key(query))?;
        waiting.insert(query, tell);
        Some((query, answer))
    }

    fn forget(&self, query: u16) {
        self.lock().remove(&query);
    }

    pub(super) fn settle(&self, query: u16, answer: Answer) {
        if let Some(waiting) = self.lock().remove(&query) {
            let _ = waiting.send(answer);
        }
    }

    /// The connection is lost: nobody will answer. Who waits asks again.
    pub(super) fn lose(&self) {
        self.lock().clear();
    }
}

/// The number of a question is free again once nobody waits for its answer.
struct Asking<'a>(&'a Finds, u16);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

impl Shared {
    /// Asks the server for a client; on the next connection again if the present one is lost before the answer.
    pub(super) async fn find(&self, find: Find) -> Result<Answer, Error> {
        let answer = tokio::time::timeout(self.config.timeout, self.ask(find)).await;
        answer.unwrap_or_else(|_| Err(self.unanswered()))
    }

    fn unanswered(&self) -> Error {
        Error::NoReply { to: "the server".into(), timeout: self.config.timeout }
    }

    async fn ask(&self, find: Find) -> Result<Answer, Error> {
        let mut status = self.status.subscribe();
        loop {
            // What is asked while there is no connection is void when there is one.
            let over = match status.wait_for(|now| !matches!(now, Status::Reconnecting(_))).await {
                Ok(now) => matches!(*now, Status::Ended(_)),
                Err(_) => true,
            };
            if over {
                return Err(Error::Disconnected);
            }
            // It does not answer as many others that were asked before, either.
            let (query, answer) = self.finds.wait().ok_or_else(|| self.unanswered())?;
            let _asking = Asking(&self.finds, query);
            self.outbox.line.tell(Control::Find(query, find));
            tokio::select! {
                answer = answer => if let Ok(answer) = answer {
                    return Ok(answer);
                },
                _ = status.wait_for(|now| matches!(now, Status::Ended(_))) => {}
            }
        }
    }
}
