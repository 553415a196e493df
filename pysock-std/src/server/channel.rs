//! A channel as the program of a server sees it.

use std::sync::Arc;

use pysock_proto::ChannelName;

use super::hub::Hub;
use crate::{
    Data, Error, Message, PrefixMessage, Target,
    listen::{Prefixes, Queue},
};

/// A channel of a server, with its listener.
pub struct Channel {
    name: ChannelName,
    hub: Arc<Hub>,
    queue: Queue,
}

impl Channel {
    pub(super) fn new(name: ChannelName, hub: Arc<Hub>, queue: Queue) -> Self {
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
