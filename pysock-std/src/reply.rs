//! Replies: one for each request, or a failure if the program drops it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use pysock_proto::{Envelope, Failure, Kind, Party, RequestId};
use tokio::sync::oneshot;

use crate::{
    Data, Error, Message,
    outbox::{Body, Outbox, Outgoing, Report},
};

/// The right to answer one request.
pub(crate) struct Replier {
    outbox: Arc<Outbox>,
    /// As the request came in: its party is the requester.
    request: Envelope,
    epoch: u32,
    answered: bool,
}

impl Replier {
    /// For a message that came in on the connection of `outbox`, if it is a request.
    pub(crate) fn to(outbox: &Arc<Outbox>, envelope: &Envelope) -> Option<Self> {
        let Kind::Request(_) = envelope.kind else { return None };
        let (outbox, request) = (outbox.clone(), *envelope);
        Some(Replier { epoch: outbox.epoch(), outbox, request, answered: false })
    }

    pub(crate) async fn reply(mut self, data: Data) -> Result<(), Error> {
        let Kind::Request(id) = self.request.kind else { return Err(Error::NoRequest) };
        let reply = Outgoing {
            envelope: Envelope { kind: Kind::Reply(id), ..self.request },
            from: None,
            body: Body::Whole(data.0),
            epoch: self.epoch,
            report: Report::Nobody,
        };
        let pushed = self.outbox.push(reply).await;
        // Not before: whoever gives up waiting for room has not answered.
        self.answered = true;
        pushed.map_err(|_| Error::Disconnected)
    }
}

impl Replier {
    /// Answers with something small, without waiting.
    pub(crate) fn reply_now(mut self, data: &'static [u8]) {
        self.answered = true;
        let Kind::Request(id) = self.request.kind else { return };
        let body = Body::Whole(bytes::Bytes::from_static(data));
        let envelope = Envelope { kind: Kind::Reply(id), ..self.request };
        let (from, epoch, report) = (None, self.epoch, Report::Nobody);
        let _ = self.outbox.push_small(Outgoing { envelope, from, body, epoch, report });
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        if !self.answered {
            let failed = Outgoing::failed(self.request, Failure::NoResponder);
            // If even that has no room, the requester hears nothing.
            let _ = self.outbox.push_small(Outgoing { epoch: self.epoch, ..failed });
        }
    }
}

/// How a request ended.
pub(crate) type Outcome = Result<Message, Failure>;

/// Who has to answer: a request's number alone proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// On a server the connection on which it was asked: its client may have come again on another. 0 on a client, which has
    /// but one.
    pub(crate) connection: u32,
    pub(crate) responder: Party,
    /// A number of the channel that fits the side: the connection's on a client, the server's own on a server.
    pub(crate) channel: u32,
    pub(crate) id: RequestId,
}

/// The requests of a program that wait for their replies.
pub(crate) struct Requests {
    next: AtomicU32,
    waiting: Mutex<HashMap<Asked, oneshot::Sender<Outcome>>>,
}

/// A request that waits; forgotten when dropped, so that a late reply finds nobody.
pub(crate) struct Waiting<'a> {
    requests: &'a Requests,
    asked: Asked,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.asked);
    }
}

impl Default for Requests {
    fn default() -> Self {
        // Somewhere else in every run: a late reply to the run before must not fit a request of this one.
        let start = crate::link::random().map_or(0, u32::from_le_bytes);
        Requests { next: AtomicU32::new(start), waiting: Mutex::default() }
    }
}

impl Requests {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Asked, oneshot::Sender<Outcome>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn ask(&self, connection: u32, responder: Party, channel: u32) -> Waiting<'_> {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let asked = Asked { connection, responder, channel, id };
        let (tell, outcome) = oneshot::channel();
        self.lock().insert(asked, tell);
        Waiting { requests: self, asked, outcome }
    }

    /// Whether somebody still waits for that reply.
    pub(crate) fn waits_for(&self, asked: &Asked) -> bool {
        self.lock().contains_key(asked)
    }

    /// Hands an outcome to whoever waits for it. `false`: nobody does, or not from there.
    pub(crate) fn settle(&self, asked: Asked, outcome: Outcome) -> bool {
        match self.lock().remove(&asked) {
            Some(tell) => tell.send(outcome).is_ok(),
            None => false,
        }
    }

    /// Nobody knows any more what became of the requests for which `lost` says so.
    pub(crate) fn lose(&self, lost: impl Fn(&Asked) -> bool) {
        let mut waiting = self.lock();
        let gone: Vec<Asked> = waiting.keys().copied().filter(|asked| lost(asked)).collect();
        for asked in gone {
            if let Some(tell) = waiting.remove(&asked) {
                let _ = tell.send(Err(Failure::Unknown));
            }
        }
    }
}

impl Waiting<'_> {
    pub(crate) fn id(&self) -> RequestId {
        self.asked.id
    }
}
