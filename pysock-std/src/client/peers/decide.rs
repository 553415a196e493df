//! Decisions about other clients: who gets a session, and whose key is right. They look at the disk or ask a person, so
//! they are taken beside the connection's task, which is told what came of them.

use std::sync::Arc;

use pysock_proto::{
    Env, PeerInfo, PeerRefusal,
    peer::{Greeting, PeerVerify},
};

use super::{
    book::{Entry, Order, Why},
    task::PeerTask,
    trust::Standing,
};
use crate::config::Trust;

/// How long a person may take to decide about a key, in milliseconds.
const DECISION_MILLIS: u64 = 110_000;

impl PeerTask {
    /// Somebody wants a session.
    pub(super) fn greeted(&mut self, peer: PeerInfo, greeting: Greeting, env: &Env<'_>) {
        let entry = self.shared.book.get(&peer.key);
        // Under another name than the one it was accepted with, it might be taken for somebody else.
        let same = |entry: &Arc<Entry>| entry.is_pinned() && entry.info().name == peer.name;
        let known = entry.as_ref().is_some_and(same) || self.shared.is_member(&peer.key);
        if known && self.core.get(&peer.key).is_some() && self.shared.book.entry(&peer).is_ok() {
            // It was accepted before, and only its owner can use this key.
            self.obey(Order::Answer(greeting), env);
            return;
        }
        if greeting.is_proven() && self.shared.config.peers == Trust::Ask {
            self.core.hold_greeting(&greeting, env.now.after_millis(DECISION_MILLIS), env);
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let allowed = match greeting.is_proven() {
                true => shared.admit(peer.name, peer.key).await,
                // The key is judged once it is proven; here only what can be said for certain.
                false => match (shared.vouched(&peer.name, &peer.key).await, shared.config.peers) {
                    (Ok(Standing::Changed(expected)), _) => {
                        Err(Why::Changed { expected, offered: peer.key })
                    }
                    (Ok(Standing::New), Trust::Pin) if !shared.is_member(&peer.key) => {
                        Err(Why::Unknown(peer.key))
                    }
                    (standing, _) => standing.map(|_| false),
                },
            };
            match allowed.and_then(|pinned| shared.book.enter(&peer, pinned)) {
                Ok(()) => shared.book.order(Order::Answer(greeting)),
                Err(why) => {
                    // First of all the other side: a program that hears of it may end at once.
                    shared.book.order(Order::Refuse(greeting, PeerRefusal::NotTrusted));
                    shared.turned_away(peer, why);
                }
            }
        });
    }

    /// Somebody has proven a key.
    pub(super) fn verify(&mut self, peer: PeerInfo, verify: PeerVerify, env: &Env<'_>) {
        // As both it and the server say: the handshake has compared.
        let peer = PeerInfo { name: *verify.name(), ..peer };
        if self.shared.config.peers == Trust::Ask {
            self.core.hold_verify(&verify, env.now.after_millis(DECISION_MILLIS), env);
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let judged = shared.admit(peer.name, *verify.key()).await;
            match judged.and_then(|pinned| shared.book.enter(&peer, pinned)) {
                Ok(()) => shared.book.order(Order::Accept(verify)),
                Err(why) => {
                    // As above.
                    shared.book.order(Order::Deny(verify, PeerRefusal::NotTrusted));
                    if let Some(entry) = shared.book.get(&peer.key) {
                        entry.fails(why.clone());
                    }
                    shared.turned_away(peer, why);
                }
            }
        });
    }
}
