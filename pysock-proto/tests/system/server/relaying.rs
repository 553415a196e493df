//! What a server passes on between clients besides messages: sealed units, and that a request will get no answer.

use std::collections::BTreeSet;

use pysock_proto::{
    Envelope, Failure, Kind, Party, PeerId, RequestId, Unit,
    crypto::Crypto,
    registry::{Entry, Slot},
    router::Channel,
};

use super::{Asked, HANDSHAKES, LONG, Out, Server, Shared};

impl<K: Crypto> Server<K> {
    /// A client declines a request.
    pub(super) fn declined(
        &mut self,
        slot: u32,
        envelope: Envelope,
        why: Failure,
        others: &mut BTreeSet<u32>,
    ) {
        let (Party::Peer(id), Kind::Request(RequestId(n))) = (envelope.party, envelope.kind) else {
            panic!("a client fails nothing else");
        };
        let own = self.conns[&slot].sender.unwrap().0.peer;
        let Some(channel) = self.router.resolve(Slot(slot), envelope.channel) else { return };
        let Some(Slot(other)) = self.registry.get(id).and_then(Entry::slot) else { return };
        if !self.pending.remove(&(other, slot, channel.0, n)) {
            return;
        }
        let Some(local) = self.router.local(Slot(other), channel) else { return };
        let envelope = Envelope { channel: local, party: Party::Peer(own), kind: envelope.kind };
        let to = self.conns.get_mut(&other).unwrap();
        to.outbox.push_back(Out::Failed(envelope, why));
        others.insert(other);
    }

    pub(super) fn relay(
        &mut self,
        slot: u32,
        peer: PeerId,
        unit: Unit,
        bytes: Vec<u8>,
        sh: &mut Shared,
        others: &mut BTreeSet<u32>,
    ) {
        let (sender, from) = self.conns[&slot].sender.unwrap();
        if self.registry.get(sender.peer).and_then(Entry::slot) != Some(Slot(slot)) {
            return;
        }
        let other = self.registry.get(peer).and_then(Entry::slot);
        let Some(Slot(other)) = other.filter(|_| peer != sender.peer) else {
            let given = self.registry.has_given(peer);
            let why = if given { Failure::Gone } else { Failure::NoPeer };
            return self.relay_failed(slot, peer, why, sh);
        };
        let to = self.conns.get_mut(&other).unwrap();
        to.partners.insert(slot);
        let copies =
            if self.sloppy && !sh.healing { [0, 2, 1][sh.chance.below(60).min(2)] } else { 1 };
        let takes = to.end.conn.remote_limits().map_or(0, |l| usize::from(l.record) - 23);
        let full = match unit {
            Unit::Handshake => to.handshakes.len() >= HANDSHAKES,
            Unit::Record => to.outbox.len() >= LONG && self.drops,
        };
        if full || bytes.len() > takes {
            if unit == Unit::Record || bytes.len() > takes {
                let why = if full { Failure::Busy } else { Failure::TooLarge };
                self.relay_failed(slot, peer, why, sh);
            }
            return;
        }
        for _ in 0..copies {
            let out = Out::Unit { from, unit, bytes: bytes.clone() };
            match unit {
                Unit::Handshake => to.handshakes.push_back(out),
                Unit::Record => to.outbox.push_back(out),
            }
        }
        assert!(to.outbox.len() <= 4 * LONG, "a queue without a bound");
        let long = to.outbox.len() >= LONG;
        others.insert(other);
        let conn = self.conns.get_mut(&slot).unwrap();
        conn.partners.insert(other);
        if long && !self.drops {
            conn.waits_for = Some(other);
        }
    }

    pub(super) fn relay_failed(&mut self, slot: u32, peer: PeerId, why: Failure, sh: &Shared) {
        let conn = self.conns.get_mut(&slot).unwrap();
        let said = conn.said.entry((peer.0, why.code())).or_default();
        if *said == 0 || sh.now >= *said + 1_000 {
            *said = sh.now;
            conn.outbox.push_back(Out::RelayFailed(peer, why));
        }
    }

    /// Requests that `responder` will not answer any more.
    pub(super) fn forgets(
        &mut self,
        responder: PeerId,
        is_it: impl Fn(&Asked) -> bool,
        why: Failure,
        others: &mut BTreeSet<u32>,
    ) {
        let asked: Vec<Asked> = self.pending.iter().filter(|key| is_it(key)).copied().collect();
        for key in asked {
            self.pending.remove(&key);
            let (requester, _, channel, id) = key;
            let Some(to) = self.conns.get_mut(&requester) else { continue };
            // Who has left the channel has given up its requests there.
            let Some(local) = self.router.local(Slot(requester), Channel(channel)) else {
                continue;
            };
            let (party, kind) = (Party::Peer(responder), Kind::Request(RequestId(id)));
            let envelope = Envelope { channel: local, party, kind };
            to.outbox.push_back(Out::Failed(envelope, why));
            others.insert(requester);
        }
    }
}
