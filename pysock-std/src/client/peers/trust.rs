//! Whose key is the right one: pins, and what the configuration says about keys without one.

use std::sync::Arc;

use pysock_proto::{Name, PeerInfo, PublicKey};

use super::book::{Why, locked};
use crate::{
    client::shared::Shared,
    config::Trust,
    state::{NotPinned, State},
};

/// What the pins say about a key that goes under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Pinned,
    /// Another key is pinned under this name.
    Changed(PublicKey),
    New,
}

fn standing(state: &State, name: &Name, key: &PublicKey) -> Standing {
    match state.peer(name) {
        Some(pinned) if pinned == *key => Standing::Pinned,
        Some(other) => Standing::Changed(other),
        // A key that is known under another label is known.
        None if state.peer_label(key).is_some() => Standing::Pinned,
        None => Standing::New,
    }
}

impl Shared {
    /// Everything pinned at this moment: a `pysock trust` elsewhere counts at once.
    pub(super) async fn pins(&self) -> Result<State, Why> {
        let Some(file) = self.state.clone() else {
            return Ok(State { peers: locked(&self.book.pins).clone(), ..State::default() });
        };
        let read = tokio::task::spawn_blocking(move || file.read());
        match read.await {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(error)) => Err(Why::State(error.to_string().into())),
            Err(error) => Err(Why::State(error.to_string().into())),
        }
    }

    pub(super) async fn standing(&self, name: &Name, key: &PublicKey) -> Result<Standing, Why> {
        Ok(standing(&self.pins().await?, name, key))
    }

    /// Whether there may be a session with whoever has this key; a group of both is enough. Says whether the key is
    /// pinned.
    pub(super) async fn admit(&self, name: Name, key: PublicKey) -> Result<bool, Why> {
        match self.vouched(&name, &key).await? {
            Standing::Changed(expected) => Err(Why::Changed { expected, offered: key }),
            Standing::Pinned => Ok(true),
            Standing::New if self.is_member(&key) => Ok(false),
            Standing::New => self.judge(name, key).await.map(|()| true),
        }
    }

    /// As [`standing`](Self::standing), also under the names that groups have for this key.
    pub(super) async fn vouched(&self, name: &Name, key: &PublicKey) -> Result<Standing, Why> {
        let pins = self.pins().await?;
        let names = self.groups.names_of(key);
        let mut standings = names.iter().chain([name]).map(|name| standing(&pins, name, key));
        // Another key under one of the names outweighs the rest.
        let changed = standings.clone().find(|s| matches!(s, Standing::Changed(_)));
        Ok(changed.or_else(|| standings.next()).unwrap_or(Standing::New))
    }

    /// Whether this key is pinned, under this name or another.
    pub(in crate::client) async fn is_pinned(&self, peer: &PeerInfo) -> bool {
        matches!(self.standing(&peer.name, &peer.key).await, Ok(Standing::Pinned))
    }

    /// Whether `key`, which its owner has proven, may go under `name`. A new one that is accepted is pinned before
    /// this returns.
    pub(super) async fn judge(&self, name: Name, key: PublicKey) -> Result<(), Why> {
        match self.standing(&name, &key).await? {
            Standing::Pinned => return Ok(()),
            Standing::Changed(expected) => return Err(Why::Changed { expected, offered: key }),
            Standing::New => {}
        }
        let accepted = match (self.config.peers, &self.book.ask) {
            (Trust::AcceptNew, _) => true,
            (Trust::Ask, Some(ask)) => {
                let ask = Arc::clone(ask);
                // A person may take their time; other tasks go on.
                let answer = tokio::task::spawn_blocking(move || ask(&name, &key));
                answer.await.unwrap_or(false)
            }
            (Trust::Pin | Trust::Ask, _) => false,
        };
        if accepted { self.pin(name, key).await } else { Err(Why::Unknown(key)) }
    }

    async fn pin(&self, name: Name, key: PublicKey) -> Result<(), Why> {
        let pinned = match self.state.clone() {
            None => {
                let mut state =
                    State { peers: locked(&self.book.pins).clone(), ..State::default() };
                let pinned = state.pin_peer(name, key);
                *locked(&self.book.pins) = state.peers;
                pinned
            }
            Some(file) => {
                let stored =
                    tokio::task::spawn_blocking(move || file.update(|s| s.pin_peer(name, key)));
                match stored.await {
                    Ok(Ok(pinned)) => pinned,
                    Ok(Err(error)) => return Err(Why::State(error.to_string().into())),
                    Err(error) => return Err(Why::State(error.to_string().into())),
                }
            }
        };
        match pinned {
            Ok(()) => Ok(()),
            // Somebody else was faster, with another key.
            Err(NotPinned::OtherKey(other)) => {
                Err(Why::Changed { expected: other.key, offered: key })
            }
            Err(error) => Err(Why::State(error.to_string().into())),
        }
    }
}
