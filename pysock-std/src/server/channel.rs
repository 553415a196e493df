//! A channel as the program of a server sees it.

use std::sync::Arc;

use pysock_proto::ChannelName;

use super::hub::Hub;
use crate::{
    Data, Error, Message, Messages, PrefixMessage, Target,
    listen::{Prefixes, Whole},
};

/// A channel of a server, with its listener.
pub struct Channel {
    name: ChannelName,
    hub: Arc<Hub>,
    queue: Whole,
}

impl Channel {
    pub(super) fn new(name: ChannelName, hub: Arc<Hub>, queue: Whole) -> Self {
        Channel { name, hub, queue }
    }

    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The next message that a client sends to the server. `None`: the server is gone.
    pub async fn listen(&mut self) -> Option<Message> {
        self.queue.next().await
    }

    /// The next messages of one sender, as they came together: much cheaper than [`listen`](Self::listen) where small
    /// ones arrive in great numbers.
    pub async fn listen_many(&mut self) -> Option<Messages> {
        self.queue.next_many().await
    }

    /// Calls `function` with every message, as long as the server is there.
    pub async fn listen_with(&mut self, mut function: impl AsyncFnMut(Message)) {
        while let Some(message) = self.listen().await {
            function(message).await;
        }
    }

    /// As [`Server::send`](super::Server::send) on this channel.
    ///
    /// # Errors
    /// [`Error::Failed`] if the client is not connected or not on the channel.
    pub async fn send(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<(), Error> {
        self.hub.send(&self.name, &client.into(), data.into()).await
    }

    /// As [`send`](Self::send) for each of `messages`, in order, and much cheaper where they are small and many.
    ///
    /// # Errors
    /// As [`send`](Self::send). Those before may have been sent.
    pub async fn send_many(
        &self,
        client: impl Into<Target>,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<(), Error> {
        self.hub.send_many(&self.name, &client.into(), messages).await
    }

    /// As [`publish`](Self::publish) for each of `messages`, in order, and much cheaper where they are small and many.
    ///
    /// # Errors
    /// None while the server is there.
    pub async fn publish_many(
        &self,
        messages: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<usize, Error> {
        self.hub.publish_many(&self.name, messages).await
    }

    /// As [`Server::publish`](super::Server::publish) on this channel.
    ///
    /// # Errors
    /// None while the server is there.
    pub async fn publish(&self, data: impl Into<Data>) -> Result<usize, Error> {
        self.hub.publish(&self.name, data.into()).await
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.name).finish()
    }
}

/// A channel of a server whose messages are handed on while they arrive.
pub struct PrefixChannel {
    name: ChannelName,
    queue: Prefixes,
}

impl PrefixChannel {
    pub(super) fn new(name: ChannelName, queue: Prefixes) -> Self {
        PrefixChannel { name, queue }
    }

    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The next message, which may still be arriving. `None`: the server is gone.
    pub async fn listen(&mut self) -> Option<PrefixMessage> {
        self.queue.next().await
    }
}

impl std::fmt::Debug for PrefixChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrefixChannel").field(&self.name).finish()
    }
}
