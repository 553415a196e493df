//! What a program sends by channels: to the server, and through it to others.

use std::{sync::Arc, time::Duration};

use pysock_proto::{ChannelId, Envelope, Kind, Party};

use super::shared::Shared;
use crate::{
    Data, Error, Message, StreamWriter, Target, outbox::Body, payload, transfer, wait::await_reply,
};

impl Shared {
    pub(super) async fn send(
        self: &Arc<Self>,
        channel: ChannelId,
        target: &Target,
        data: Data,
    ) -> Result<(), Error> {
        let (party, epoch) = self.resolve(target).await?;
        let envelope = Envelope { channel, party, kind: Kind::Message };
        self.push(envelope, epoch, Body::Whole(data.0)).await
    }

    pub(super) async fn publish(
        self: &Arc<Self>,
        channel: ChannelId,
        data: Data,
    ) -> Result<(), Error> {
        let envelope = Envelope { channel, party: Party::Everyone, kind: Kind::Message };
        self.push(envelope, self.outbox.epoch(), Body::Whole(data.0)).await
    }

    pub(super) async fn send_many(
        self: &Arc<Self>,
        channel: ChannelId,
        target: &Target,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        let (party, epoch) = self.resolve(target).await?;
        let envelope = Envelope { channel, party, kind: Kind::Message };
        for payload in payload::pack(envelope, messages) {
            self.push(envelope, epoch, payload.into()).await?;
        }
        Ok(())
    }

    pub(super) async fn publish_many(
        self: &Arc<Self>,
        channel: ChannelId,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        let envelope = Envelope { channel, party: Party::Everyone, kind: Kind::Message };
        for payload in payload::pack(envelope, messages) {
            self.push(envelope, self.outbox.epoch(), payload.into()).await?;
        }
        Ok(())
    }

    pub(super) async fn push(
        self: &Arc<Self>,
        envelope: Envelope,
        epoch: u32,
        body: Body,
    ) -> Result<(), Error> {
        let item = self.outgoing(envelope, epoch, body);
        self.outbox.push(item).await.map_err(|_| Error::Disconnected)
    }

    pub(super) async fn stream(
        self: &Arc<Self>,
        channel: ChannelId,
        target: &Target,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        let (party, epoch) = self.resolve(target).await?;
        self.stream_party(channel, party, epoch, target.to_string(), length).await
    }

    pub(super) async fn stream_party(
        self: &Arc<Self>,
        channel: ChannelId,
        party: Party,
        epoch: u32,
        to: String,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        let envelope = Envelope { channel, party, kind: Kind::Message };
        let (writer, parts) = transfer::writer(length, to, self.outbox.line.clone());
        self.push(envelope, epoch, Body::Parts(parts)).await?;
        Ok(writer)
    }

    pub(super) async fn request(
        self: &Arc<Self>,
        timeout: Duration,
        channel: ChannelId,
        target: &Target,
        data: Data,
    ) -> Result<Message, Error> {
        let begun = tokio::time::Instant::now();
        let (party, epoch) = match tokio::time::timeout(timeout, self.resolve(target)).await {
            Ok(found) => found?,
            Err(_) => return Err(Error::NoReply { to: target.to_string(), timeout }),
        };
        let timeout = timeout.saturating_sub(begun.elapsed());
        let waiting = self.requests.ask(0, party, channel.0.into());
        let envelope = Envelope { channel, party, kind: Kind::Request(waiting.id()) };
        let item = self.outgoing(envelope, epoch, Body::Whole(data.0));
        await_reply(self.outbox.push(item), waiting, timeout, target).await
    }
}
