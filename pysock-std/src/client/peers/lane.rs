//! What goes to and comes from one other client.

use std::sync::Arc;

use pysock_proto::{Connection, Failure, PublicKey, StreamId, TxBuf};

use super::{book::Entry, task::Core};
use crate::{
    line::Control,
    link::{C, Filled, In, Messages, Receiving, Turn},
};

/// What goes to and comes from one client.
pub(super) struct Lane {
    pub(super) entry: Arc<Entry>,
    pub(super) messages: Messages,
    pub(super) receiving: Receiving,
}

/// Credit for one client's streams.
pub(super) struct PeerIn<'a> {
    pub(super) core: &'a mut Core,
    pub(super) key: PublicKey,
}

impl In for PeerIn<'_> {
    fn consumed(&mut self, stream: StreamId, bytes: usize) {
        self.core.consumed(&self.key, stream, bytes);
    }

    fn stop(&mut self, stream: StreamId, why: Failure) {
        self.core.stop(&self.key, stream, why);
    }
}

impl Lane {
    pub(super) fn is_idle(&self) -> bool {
        self.messages.is_idle() && self.entry.outbox.lock().is_empty()
    }

    /// Whoever takes large messages part by part has come further.
    pub(super) fn listen_to_consumers(&mut self, input: &mut PeerIn<'_>) {
        while let Some(control) = self.entry.outbox.line.next() {
            match control {
                Control::Consumed { stream, turn, bytes } => {
                    self.receiving.consumed((stream, turn), bytes, input);
                }
                Control::Stop { stream, turn, why } => {
                    self.receiving.stop((stream, turn), why, input);
                }
                _ => {}
            }
        }
    }

    /// Moves what is queued, large messages and others by turns.
    pub(super) fn fill(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        core: &mut Core,
        key: &PublicKey,
    ) -> Filled {
        if self.is_idle() {
            return Filled::All;
        }
        let mut tx = tx.lend();
        let Ok(mut out) = conn.to_peer(&mut tx, core, key) else { return Filled::All };
        let outbox = &*self.entry.outbox;
        loop {
            let Turn { moved: large, filled } = self.messages.large(&mut out, outbox);
            if filled == Filled::Full {
                return Filled::Full;
            }
            let Turn { moved, filled } = self.messages.queued(&mut out, outbox);
            if filled == Filled::Full {
                return Filled::Full;
            }
            if !large && !moved {
                return Filled::All;
            }
        }
    }

    /// Large messages under way, in both directions, are lost.
    pub(super) fn reset(&mut self) {
        self.messages.give_back(&self.entry.outbox);
        self.receiving.reset();
    }
}
