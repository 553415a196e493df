//! What the program of a server sends: to one client, or to all on a channel.

use std::{sync::Arc, time::Duration};

use pysock_proto::{ChannelId, ChannelName, Envelope, Failure, Kind, Party};

use super::{
    hub::{Hub, Session},
    session,
};
use crate::{
    Data, Error, Message, StreamWriter, Target,
    link::Verdict,
    outbox::{Body, Outgoing, Report},
    payload::{self, Payload},
    transfer,
    wait::await_reply,
};

/// What the program's messages look like to a client, whatever their channel is called there.
const FROM_SERVER: Envelope =
    Envelope { channel: ChannelId(0), party: Party::Server, kind: Kind::Message };

impl Hub {
    fn outgoing(envelope: Envelope, body: Body) -> Outgoing {
        let report = Report::Log(envelope);
        Outgoing { envelope, from: None, body, epoch: 0, report }
    }

    /// One client on a channel, and how it is reached.
    fn one(
        &self,
        channel: &ChannelName,
        target: &Target,
        kind: Kind,
    ) -> Result<(Arc<Session>, Envelope, u32), Error> {
        let peer = self.resolve(target)?;
        let failed = |failure| Error::Failed { to: target.to_string(), failure };
        let routed = self.route_from_program(channel, Party::Peer(peer), kind).map_err(failed)?;
        let (number, mut sessions) = routed;
        let (session, local) = sessions.pop().ok_or_else(|| failed(Failure::NoPeer))?;
        // To the client, the other end is the server.
        Ok((session, Envelope { channel: local, party: Party::Server, kind }, number.0))
    }

    pub(crate) async fn send(
        &self,
        channel: &ChannelName,
        target: &Target,
        data: Data,
    ) -> Result<(), Error> {
        self.send_all(channel, target, [Payload::One(data.0)]).await
    }

    pub(crate) async fn send_many(
        &self,
        channel: &ChannelName,
        target: &Target,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        self.send_all(channel, target, payload::pack(FROM_SERVER, messages)).await
    }

    async fn send_all(
        &self,
        channel: &ChannelName,
        target: &Target,
        payloads: impl IntoIterator<Item = Payload>,
    ) -> Result<(), Error> {
        let (session, envelope, _) = self.one(channel, target, Kind::Message)?;
        for payload in payloads {
            let failure = Failure::NoPeer;
            let gone = |_| Error::Failed { to: target.to_string(), failure };
            session.outbox.push(Self::outgoing(envelope, payload.into())).await.map_err(gone)?;
        }
        Ok(())
    }

    pub(crate) async fn publish(&self, channel: &ChannelName, data: Data) -> Result<usize, Error> {
        self.publish_all(channel, [Payload::One(data.0)]).await
    }

    pub(crate) async fn publish_many(
        &self,
        channel: &ChannelName,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<usize, Error> {
        self.publish_all(channel, payload::pack(FROM_SERVER, messages)).await
    }

    async fn publish_all(
        &self,
        channel: &ChannelName,
        payloads: impl IntoIterator<Item = Payload>,
    ) -> Result<usize, Error> {
        let routed = self.route_from_program(channel, Party::Everyone, Kind::Message);
        let (_, sessions) = routed.map_err(|_| Error::NoChannel(channel.as_str().into()))?;
        let count = sessions.len();
        for payload in payloads {
            let items = sessions.iter().map(|(session, local)| {
                let (channel, party, kind) = (*local, Party::Server, Kind::Message);
                let envelope = Envelope { channel, party, kind };
                (session.outbox.clone(), Self::outgoing(envelope, payload.clone().into()))
            });
            if let Verdict::Wait(full) = session::spread(items) {
                full.await;
            }
        }
        Ok(count)
    }

    pub(crate) async fn stream(
        &self,
        channel: &ChannelName,
        target: &Target,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        let (session, envelope, _) = self.one(channel, target, Kind::Message)?;
        let (writer, parts) =
            transfer::writer(length, target.to_string(), session.outbox.line.clone());
        let item = Self::outgoing(envelope, Body::Parts(parts));
        session.outbox.push(item).await.map_err(|_| Error::Disconnected)?;
        Ok(writer)
    }

    pub(crate) async fn request(
        &self,
        timeout: Duration,
        channel: &ChannelName,
        target: &Target,
        data: Data,
    ) -> Result<Message, Error> {
        let (session, envelope, number) = self.one(channel, target, Kind::Message)?;
        let responder = Party::Peer(session.peer.id);
        let waiting = self.requests.ask(session.slot.0, responder, number);
        let envelope = Envelope { kind: Kind::Request(waiting.id()), ..envelope };
        let item = Self::outgoing(envelope, Body::Whole(data.0));
        await_reply(session.outbox.push(item), waiting, timeout, target).await
    }
}
