//! A channel as a client sees it.

use std::{sync::Arc, time::Duration};

use pysock_proto::{ChannelName, Party};

use super::{channels::Number, shared::Shared};
use crate::{
    Data, Error, Message, Messages, PrefixMessage, StreamWriter, Target,
    listen::{Prefixes, Whole},
    message::Address,
    server::REPLY_WITHIN,
};

/// A channel of a client, with its listener. Dropping it only stops listening: what arrives then is thrown away, and
/// sending by name goes on. Messages to the server go by [`send`](Self::send), to others by
/// [`send_to`](Self::send_to) and [`publish`](Self::publish).
pub struct Channel {
    pub(super) name: ChannelName,
    pub(super) number: Number,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Whole,
}

impl Channel {
    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The next message from the server or another client. `None`: the client is over.
    pub async fn listen(&mut self) -> Option<Message> {
        self.queue.next().await
    }

    /// The next messages of one sender, as they came together: much cheaper than [`listen`](Self::listen) where small
    /// ones arrive in great numbers.
    pub async fn listen_many(&mut self) -> Option<Messages> {
        self.queue.next_many().await
    }

    /// Calls `function` with every message, until the client is over.
    pub async fn listen_with(&mut self, mut function: impl AsyncFnMut(Message)) {
        while let Some(message) = self.listen().await {
            function(message).await;
        }
    }

    /// Sends to the server. Waits while the queue is full, and through a reconnect.
    ///
    /// Delivery is at most once: what was under way when a connection broke is lost.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over.
    pub async fn send(&self, data: impl Into<Data>) -> Result<(), Error> {
        self.shared.send(self.number.id(), &Target(Address::Server), data.into()).await
    }

    /// Sends to another client on the channel, through the server, which can read it.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no such client. What goes wrong later is in
    /// [`Client::failures`](super::Client::failures).
    pub async fn send_to(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<(), Error> {
        self.shared.send(self.number.id(), &client.into(), data.into()).await
    }

    /// Sends to every other client on the channel. The server's own listener is not among them.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over.
    pub async fn publish(&self, data: impl Into<Data>) -> Result<(), Error> {
        self.shared.publish(self.number.id(), data.into()).await
    }

    /// As [`send`](Self::send) for each of `messages`, in order, and much cheaper where they are small and many.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over. Those before may have been sent.
    pub async fn send_many(
        &self,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        self.shared.send_many(self.number.id(), &Target(Address::Server), messages).await
    }

    /// As [`send_to`](Self::send_to) for each of `messages`, in order, and much cheaper where they are small and many.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to). Those before may have been sent.
    pub async fn send_many_to(
        &self,
        client: impl Into<Target>,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        self.shared.send_many(self.number.id(), &client.into(), messages).await
    }

    /// As [`publish`](Self::publish) for each of `messages`, in order, and much cheaper where they are small and many.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over. Those before may have been sent.
    pub async fn publish_many(
        &self,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        self.shared.publish_many(self.number.id(), messages).await
    }

    /// Asks the server and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request(&self, data: impl Into<Data>) -> Result<Message, Error> {
        self.request_from(Target(Address::Server), data).await
    }

    /// Asks another client and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request_from(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        self.request_within(REPLY_WITHIN, client, data).await
    }

    /// Asks the server or another client and waits for the reply.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub async fn request_within(
        &self,
        timeout: Duration,
        target: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        self.shared.request(timeout, self.number.id(), &target.into(), data.into()).await
    }

    /// Begins a message to the server that is written bit by bit; `length` in bytes if it is known.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over.
    pub async fn stream(&self, length: Option<u64>) -> Result<StreamWriter, Error> {
        self.shared.stream(self.number.id(), &Target(Address::Server), length).await
    }

    /// Begins a message to another client that is written bit by bit.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no such client.
    pub async fn stream_to(
        &self,
        client: impl Into<Target>,
        length: Option<u64>,
    ) -> Result<StreamWriter, Error> {
        self.shared.stream(self.number.id(), &client.into(), length).await
    }

    /// Begins a message to every other client on the channel that is written bit by bit. The slowest sets the pace.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the client is over.
    pub async fn publish_stream(&self, length: Option<u64>) -> Result<StreamWriter, Error> {
        let epoch = self.shared.outbox.epoch();
        let to = "everyone".into();
        self.shared.stream_party(self.number.id(), Party::Everyone, epoch, to, length).await
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.channels.drop_sink(&self.number);
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.name).finish()
    }
}

/// A channel of a client whose messages are handed on while they arrive.
pub struct PrefixChannel {
    pub(super) name: ChannelName,
    pub(super) number: Number,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Prefixes,
}

impl PrefixChannel {
    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The next message, which may still be arriving. `None`: the client is over.
    pub async fn listen(&mut self) -> Option<PrefixMessage> {
        self.queue.next().await
    }
}

impl Drop for PrefixChannel {
    fn drop(&mut self) {
        self.shared.channels.drop_sink(&self.number);
    }
}

impl std::fmt::Debug for PrefixChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrefixChannel").field(&self.name).finish()
    }
}
