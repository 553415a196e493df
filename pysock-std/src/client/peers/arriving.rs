//! What other clients say, and where it goes: to groups, to the program, to whoever waits for a reply.

use std::sync::Arc;

use bytes::Bytes;
use pysock_proto::{
    ChannelId, Envelope, Failure, Kind, Party, PeerInfo, StreamId, group::HEADER, peer::channel,
};

use super::{
    book::Entry,
    lane::PeerIn,
    task::{PeerTask, all},
};
use crate::{
    Message, Sender,
    config::Trust,
    link::{Destination, Verdict},
    message::{Path, Source},
    payload::Payload,
    reply::{Asked, Replier},
};

impl PeerTask {
    pub(super) fn message(
        &mut self,
        peer: &PeerInfo,
        about: u16,
        kind: Kind,
        payload: Payload,
    ) -> Verdict {
        let Some(lane) = self.lanes.get(&peer.key) else { return Verdict::Go };
        let envelope = envelope(about, kind);
        // Unless the program takes it, a request is answered with a failure as this is dropped.
        let replier = Replier::to(&lane.entry.outbox, &envelope);
        match (about, kind, replier) {
            (channel::GROUP, Kind::Message, _) => {
                let is_alone = matches!(payload, Payload::One(_));
                let verdicts = payload.into_messages().map(|bytes| {
                    // Each waits in the queue of its group, and counts there for itself: it must not hold the memory
                    // of its neighbours, which may go to other groups or nowhere.
                    let bytes = if is_alone { bytes } else { Bytes::copy_from_slice(&bytes) };
                    // Programs do not see by which channel it came.
                    self.shared.groups.message(peer, self.shared.book.direct, &bytes)
                });
                all(verdicts)
            }
            (channel::GROUP_CONTROL, Kind::Request(_), Some(replier)) => match payload {
                Payload::One(bytes) => self.shared.group_control(peer, bytes, replier),
                Payload::Many(_) => Verdict::Go,
            },
            (_, _, replier) => self.direct(peer, about, kind, payload, replier),
        }
    }

    /// A message to this client alone, or a reply.
    fn direct(
        &mut self,
        peer: &PeerInfo,
        about: u16,
        kind: Kind,
        payload: Payload,
        replier: Option<Replier>,
    ) -> Verdict {
        let Some(lane) = self.lanes.get(&peer.key) else { return Verdict::Go };
        let channel = self.shared.book.direct;
        let path = Arc::new(Path { sender: sender(peer), channel });
        if let (Kind::Reply(id), Payload::One(bytes)) = (kind, &payload) {
            let message = Message::new(path, bytes.clone(), None);
            let asked =
                Asked { connection: 0, responder: Party::Server, channel: about.into(), id };
            if !lane.entry.requests.settle(asked, Ok(message)) {
                tracing::debug!(peer = %peer.name, "a reply to no request");
            }
            return Verdict::Go;
        }
        match self.shared.book.sink() {
            Some(sink) if about == channel::DIRECT && self.may_talk(&lane.entry) => {
                sink.deliver(path, payload, replier)
            }
            _ => {
                tracing::debug!(peer = %peer.name, about, "nobody listens");
                Verdict::Go
            }
        }
    }

    /// Whether a client may send directly: one that is not pinned is here only for a group.
    fn may_talk(&self, entry: &Arc<Entry>) -> bool {
        if entry.is_pinned() {
            return true;
        }
        if self.shared.config.peers != Trust::AcceptNew {
            return false;
        }
        entry.set_pinned();
        let (shared, PeerInfo { name, key, .. }) = (self.shared.clone(), entry.info());
        tokio::spawn(async move {
            if let Err(why) = shared.judge(name, key).await {
                tracing::warn!(peer = %name, ?why, "not pinned");
            }
        });
        true
    }

    pub(super) fn begin(
        &mut self,
        peer: &PeerInfo,
        stream: StreamId,
        envelope: Envelope,
        length: Option<u64>,
    ) -> Verdict {
        let Some(lane) = self.lanes.get(&peer.key) else { return Verdict::Go };
        let direct = envelope.channel.0 == channel::DIRECT;
        let nobody = match envelope.kind {
            Kind::Reply(_) => false,
            _ if direct => !self.may_talk(&lane.entry),
            // Control is short, and who is in no group of ours has nothing to say to it.
            Kind::Message if envelope.channel.0 == channel::GROUP => {
                !self.shared.is_member(&peer.key)
            }
            _ => true,
        };
        let Some(lane) = self.lanes.get_mut(&peer.key) else { return Verdict::Go };
        // A group's message is that long with its header.
        let limit = self.shared.config.max_message.saturating_add(if direct { 0 } else { HEADER });
        let origin = lane.receiving.origin(stream);
        let (to, verdict) = match (envelope.kind, self.shared.book.sink()) {
            _ if nobody => (Destination::Refuse(Failure::NoResponder), Verdict::Go),
            (Kind::Message, Some(sink)) if direct => {
                let path = Path { sender: sender(peer), channel: self.shared.book.direct };
                sink.begin(Arc::new(path), length, origin, limit)
            }
            (Kind::Message | Kind::Request(_), None) if direct => {
                (Destination::Refuse(Failure::NoResponder), Verdict::Go)
            }
            // Requests and replies are delivered whole.
            _ => (Destination::Collect { limit, path: None }, Verdict::Go),
        };
        let input = &mut PeerIn { core: &mut self.core, key: peer.key };
        lane.receiving.begin(stream, envelope, length, to, input);
        verdict
    }
}

pub(super) fn envelope(channel: u16, kind: Kind) -> Envelope {
    Envelope { channel: ChannelId(channel), party: Party::Server, kind }
}

pub(super) fn sender(peer: &PeerInfo) -> Sender {
    Sender(Source::Proven(Arc::new(*peer)))
}
