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
use crate::{
    Error,
    line::{Control, Line},
};

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

    fn is_waiting(&self, query: u16) -> bool {
        self.lock().contains_key(&query)
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

/// Once nobody waits for the answer to a question, it need not be asked, and its number is free again.
struct Asking<'a> {
    finds: &'a Finds,
    line: &'a Line,
    query: u16,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // One that is answered was asked. As long as its number is taken, it is no other's.
        if self.finds.is_waiting(self.query) {
            self.line.withdraw(self.query);
        }
        self.finds.forget(self.query);
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
            let line = &self.outbox.line;
            let _asking = Asking { finds: &self.finds, line, query };
            line.tell(Control::Find(query, find));
            tokio::select! {
                answer = answer => if let Ok(answer) = answer {
                    return Ok(answer);
                },
                _ = status.wait_for(|now| matches!(now, Status::Ended(_))) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientConfig, new_secret_key};

    #[tokio::test(start_paused = true)]
    async fn questions_whose_answers_nobody_waits_for_are_not_kept() {
        let config = ClientConfig::new(new_secret_key().unwrap());
        let (name, server) = ("a".parse().unwrap(), ("localhost".into(), 0));
        let known = (None, Vec::new());
        let shared = Shared::new(config, name, server, None, known, (None, None)).unwrap();
        shared.status.send_replace(Status::Connected);
        let find = Find::Name("b".parse().unwrap());
        // As long as the connection lives, and its server never answers.
        for _ in 0..100 {
            let found = shared.find(find).await;
            assert!(matches!(found, Err(Error::NoReply { .. })));
        }
        let kept = std::iter::from_fn(|| shared.outbox.line.next()).count();
        assert_eq!(kept, 0);
    }
}
