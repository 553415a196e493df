//! Other clients, end to end, without `async`.

use std::time::Duration;

use pysock_proto::PeerInfo;

use super::{
    Client, Listening, Message, Messages, TimedOut, listen_timeout, listening, wait, waiting,
};
use crate::{Data, Error, Target, client};

/// Where messages of other clients arrive. Comes from [`Client::listen_peers`]; dropping it stops listening.
#[derive(Debug)]
pub struct PeerListener {
    inner: client::PeerListener,
}

/// Something that another client has sent, or that became of the session with it.
#[derive(Debug)]
pub enum PeerNews {
    /// A message, whole. Its sender has proven its key.
    Message(Message),
    /// Everything else.
    Session(client::PeerNews),
}

impl Client {
    waiting! {
        /// Makes an end-to-end session with another client, or says who it is with if there is one: after this, the
        /// server passes on what it cannot read. See [`crate::Client::handshake`].
        ///
        /// # Errors
        /// [`Error::Failed`] if no such client is connected; [`Error::PeerKeyChanged`] with both fingerprints;
        /// [`Error::UnknownPeer`]; [`Error::Peer`] if it does not want a session or does not answer.
        fn handshake(client: impl Into<Target>) -> Result<PeerInfo, Error>;

        /// Sends to another client, end to end. Makes a session first if there is none. Waits while the queue to that
        /// client is full, and through reconnects.
        ///
        /// # Errors
        /// As [`handshake`](Self::handshake).
        fn send_to_client(client: impl Into<Target>, data: impl Into<Data>) -> Result<(), Error>;

        /// As [`send_to_client`](Self::send_to_client) for each of `messages`, in order, and much cheaper where they are
        /// small and many.
        ///
        /// # Errors
        /// As [`send_to_client`](Self::send_to_client). Those before may have been sent.
        fn send_many_to_client(client: impl Into<Target>, messages: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), Error>;
    }

    /// Asks another client, end to end, and waits for its reply, 10 seconds at most.
    ///
    /// # Errors
    /// As [`handshake`](Self::handshake); [`Error::Failed`], [`Error::NoReply`], [`Error::OutcomeUnknown`].
    pub fn request_client(
        &self,
        client: impl Into<Target>,
        data: impl Into<Data>,
    ) -> Result<Message, Error> {
        wait(self.inner.request_client(client, data)).map(Message)
    }

    /// Listens to what other clients send to this one, end to end. Call it before others may send: what arrives while
    /// nobody listens is thrown away.
    ///
    /// # Errors
    /// [`Error::ChannelExists`] while there is another listener.
    pub fn listen_peers(&self) -> Result<PeerListener, Error> {
        Ok(PeerListener { inner: self.inner.listen_peers()? })
    }

    /// The clients with which there is an end-to-end session now.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner.peers()
    }
}

listening!(PeerListener, "the client is over");

impl PeerListener {
    /// The next message, or what became of a session. `None`: the client is over.
    pub fn next_news(&mut self) -> Option<PeerNews> {
        Some(match wait(self.inner.next())? {
            client::PeerNews::Message(message) => PeerNews::Message(Message(message)),
            news => PeerNews::Session(news),
        })
    }
}
