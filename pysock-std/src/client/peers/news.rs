//! What a program hears of other clients.

use pysock_proto::{CloseReason, PeerInfo};

use crate::{
    Message, Messages, PrefixMessage, Sender,
    listen::{Prefixes, Reports},
};

/// Something that another client has sent, or that became of the session with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerNews {
    /// A message, whole. Its sender has proven its key.
    Message(Message),
    /// There is a session: what is sent from now on, nobody on the way can read.
    Opened {
        /// With whom.
        peer: PeerInfo,
        /// Nothing is left of an earlier session: the other side has started anew, or the two had lost each other in the middle of
        /// a handshake.
        fresh: bool,
    },
    /// The other side has closed the session.
    Closed {
        /// Which one.
        peer: PeerInfo,
        /// Why.
        why: CloseReason,
    },
    /// So many messages of this client were lost before the next one.
    Lost {
        /// Whose.
        from: Sender,
        /// How many.
        messages: u32,
    },
    /// So many of the latest messages to this client were lost.
    Undelivered {
        /// Whom they were for.
        to: PeerInfo,
        /// How many.
        messages: u32,
    },
    /// The session with this client has begun anew: of so many of the latest messages to it nobody knows whether they arrived.
    Unknown {
        /// Whom they were for.
        to: PeerInfo,
        /// How many.
        messages: u32,
    },
    /// Somebody wanted a session and was turned away. Says why, with fingerprints if a key has changed.
    TurnedAway {
        /// Who, as the server says.
        peer: PeerInfo,
        /// In words.
        why: String,
    },
}

/// Where messages of other clients arrive. Comes from [`Client::listen_peers`](super::super::Client::listen_peers);
/// dropping it stops listening.
pub struct PeerListener {
    pub(super) queue: Reports,
}

impl PeerListener {
    /// The next message from any client. News of other kinds are skipped; [`next`](Self::next) has them. `None`: the
    /// client is over.
    pub async fn listen(&mut self) -> Option<Message> {
        loop {
            match self.next().await? {
                PeerNews::Message(message) => return Some(message),
                news => tracing::debug!(?news, "news of a peer"),
            }
        }
    }

    /// The next messages of one client, as they came together: much cheaper than [`listen`](Self::listen) where small
    /// ones arrive in great numbers. News of other kinds are skipped. `None`: the client is over.
    pub async fn listen_many(&mut self) -> Option<Messages> {
        loop {
            match self.queue.next_many().await? {
                Ok(messages) => return Some(messages),
                Err(news) => tracing::debug!(?news, "news of a peer"),
            }
        }
    }

    /// Calls `function` with every message, until the client is over.
    pub async fn listen_with(&mut self, mut function: impl AsyncFnMut(Message)) {
        while let Some(message) = self.listen().await {
            function(message).await;
        }
    }

    /// The next message, or what became of a session. `None`: the client is over.
    pub async fn next(&mut self) -> Option<PeerNews> {
        self.queue.next().await
    }
}

impl std::fmt::Debug for PeerListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerListener")
    }
}

/// Where messages of other clients arrive that are handed on while they do. Comes from
/// [`Client::listen_peer_prefixes`](super::super::Client::listen_peer_prefixes); dropping it stops listening.
pub struct PeerPrefixListener {
    pub(super) queue: Prefixes,
}

impl PeerPrefixListener {
    /// The next message, which may still be arriving. `None`: the client is over.
    pub async fn listen(&mut self) -> Option<PrefixMessage> {
        self.queue.next().await
    }
}

impl std::fmt::Debug for PeerPrefixListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerPrefixListener")
    }
}
