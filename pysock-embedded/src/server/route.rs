//! Where what a client says goes: to the program, to another client, to everyone on a channel.

use super::{
    Event, Message, Names, OnEvent, Server,
    place::{Answer, Open, Place, Seat},
};
use crate::proto::{
    ChannelId, Envelope, Failure, Kind, Party, PeerId, PeerInfo, RequestId, StreamId, Unit,
    registry::{Entry, Slot},
    router::{Channel, Member, Route, Sender},
};

/// The place that a connection has.
pub(super) fn place_of<'a, 'm>(
    places: &'a mut [Seat<'m>],
    slot: Slot,
) -> Option<&'a mut Place<'m>> {
    places
        .iter_mut()
        .filter_map(Seat::place_mut)
        .find(|place| place.slot == slot && place.conn.is_some())
}

/// Sends what a client says to a client, if there is room for it now.
fn deliver(
    (names, places): (&Names<'_>, &mut [Seat<'_>]),
    from: (usize, &PeerInfo),
    to: Member,
    kind: Kind,
    bytes: &[u8],
) -> Result<(), Failure> {
    let place = place_of(places, to.slot).ok_or(Failure::NoPeer)?;
    let envelope = Envelope { channel: to.local, party: Party::Peer(from.1.id), kind };
    let known = |peer| names.get(peer).is_some();
    place.put(from, bytes.len(), |conn, tx| conn.send(&mut tx.lend(), &envelope, bytes), known)
}

impl<'m> Server<'m> {
    /// Routes a message of `client`.
    pub(super) fn message(
        &mut self,
        (at, client): (usize, PeerInfo),
        envelope: Envelope,
        bytes: &[u8],
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let Some(slot) = self.place(at).map(|place| place.slot) else { return };
        let sender = Sender { slot, peer: client.id };
        let Envelope { channel: local, party, kind } = envelope;
        let channel = self.channels.resolve(slot, local);
        let Server { names, channels, places, .. } = self;
        let mut send = |to: Member| deliver((names, places), (at, &client), to, kind, bytes);
        let sent = match channels.route(names, sender, local, party, kind) {
            Ok(Route::Server(channel)) => {
                return self.tell_program((at, client), (local, channel), kind, bytes, on_event);
            }
            Ok(Route::Members(members)) => {
                let missed = members.map(&mut send).filter(Result::is_err).count();
                return self.count_dropped(missed);
            }
            Ok(Route::Peer { peer, to }) => match (kind, channel) {
                (Kind::Reply(id), Some(channel)) => {
                    return self.pass_reply(slot, (channel, id), peer, |server, open| {
                        let to = Member { slot: to.slot, local: open.local };
                        deliver((&server.names, server.places), (at, &client), to, kind, bytes)
                    });
                }
                (Kind::Request(id), Some(channel)) => send(to).map(|()| {
                    let responder = (to.slot, peer);
                    let open = Open { responder, channel, id, local, failed: None };
                    if let Some(place) = self.place(at) {
                        place.asks(open);
                    }
                }),
                _ => send(to),
            },
            Err(why) => Err(why),
        };
        if let Err(why) = sent {
            self.refuse(at, envelope, why);
        }
    }

    /// Says why something was not routed. A reply that nobody waits for is nobody's business.
    fn refuse(&mut self, at: usize, envelope: Envelope, why: Failure) {
        let Some(place) = self.place(at) else { return };
        if !matches!(envelope.kind, Kind::Reply(_)) {
            place.answer(Answer::Failed(envelope, why));
        }
        if matches!(why, Failure::Busy) {
            self.count_dropped(1);
        }
    }

    /// Passes on the one answer of a responder to a request of `requester`. If that fails, the request has failed.
    fn pass_reply(
        &mut self,
        slot: Slot,
        (channel, id): (Channel, RequestId),
        requester: PeerId,
        pass: impl FnOnce(&mut Self, &Open) -> Result<(), Failure>,
    ) {
        let Some(active) = self.names.get(requester).and_then(Entry::slot) else { return };
        let asked = place_of(self.places, active).and_then(|to| to.answered(slot, channel, id));
        let Some(open) = asked else { return };
        if let Err(why) = pass(self, &open)
            && let Some(place) = place_of(self.places, active)
        {
            place.fails(open, why);
        }
    }

    /// A client says that it will not answer a request.
    pub(super) fn declined(
        &mut self,
        at: usize,
        envelope: &Envelope,
        why: Failure,
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let Some(slot) = self.place(at).map(|place| place.slot) else { return };
        let Kind::Request(id) = envelope.kind else { return };
        let Some(channel) = self.channels.resolve(slot, envelope.channel) else { return };
        match envelope.party {
            Party::Server => self.program_failed(slot, (channel, id), why, on_event),
            Party::Peer(requester) => {
                self.pass_reply(slot, (channel, id), requester, |_, _| Err(why));
            }
            Party::Everyone => {}
        }
    }

    /// A message to the program.
    fn tell_program(
        &mut self,
        (at, sender): (usize, PeerInfo),
        (local, channel): (ChannelId, Channel),
        kind: Kind,
        bytes: &[u8],
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let Some(slot) = self.place(at).map(|place| place.slot) else { return };
        match kind {
            Kind::Message => {}
            // A reply that nobody waits for any more, or never did, is none.
            Kind::Reply(id) if !self.program_answered(slot, channel, id) => return,
            Kind::Reply(_) => {}
            Kind::Request(id) => self.asked_now = Some((slot, local, id)),
        }
        on_event(self, Event::Message(Message { sender, channel, kind, bytes }));
        // Exactly one answer, whatever the program did.
        if let Some((_, channel, _)) = self.asked_now.take() {
            let why = self.unanswered.take().unwrap_or(Failure::NoResponder);
            let request = Envelope { channel, party: Party::Server, kind };
            if let Some(place) = self.place(at).filter(|place| place.slot == slot) {
                place.answer(Answer::Failed(request, why));
            }
        }
        self.unanswered = None;
    }

    /// A large message begins. `Some`: to the program, on that channel. Otherwise it is stopped: to pass it on, this server
    /// would have to hold parts of it for a receiver that is slower than the sender.
    pub(super) fn begin_stream(
        &mut self,
        (at, client): (usize, PeerInfo),
        stream: StreamId,
        envelope: &Envelope,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Option<Channel> {
        let slot = self.place(at)?.slot;
        let sender = Sender { slot, peer: client.id };
        let Envelope { channel: local, party, kind } = *envelope;
        let why = match self.channels.route(&self.names, sender, local, party, kind) {
            Ok(Route::Server(channel)) if kind == Kind::Message => {
                self.place(at)?.stream = Some(stream);
                return Some(channel);
            }
            Ok(_) => Failure::TooLarge,
            Err(why) => why,
        };
        // Who waits for a reply that is too large hears so. A request is answered by the stop.
        if let (Kind::Reply(id), Some(channel)) = (kind, self.channels.resolve(slot, local)) {
            match party {
                Party::Peer(requester) => {
                    self.pass_reply(slot, (channel, id), requester, |_, _| Err(why));
                }
                _ => self.program_failed(slot, (channel, id), why, on_event),
            }
        }
        self.place(at)?.conn.as_mut()?.stop(stream, why);
        None
    }

    /// Passes on what `client` has sealed for `peer`, unread. The source is what this server knows.
    pub(super) fn relay(
        &mut self,
        (at, client): (usize, PeerInfo),
        peer: PeerId,
        unit: Unit,
        bytes: &[u8],
    ) {
        // A connection that was replaced needs no answer.
        if !self.is_active_client(at, client.id) {
            return;
        }
        let now = self.now;
        let Err(why) = self.try_relay((at, client), peer, unit, bytes) else { return };
        if matches!(why, Failure::Busy) {
            self.count_dropped(1);
        }
        if let Some(place) = self.place(at) {
            place.relay_failed(peer, why, now);
        }
    }

    fn try_relay(
        &mut self,
        (at, client): (usize, PeerInfo),
        peer: PeerId,
        unit: Unit,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        if peer == client.id {
            return Err(Failure::BadDestination);
        }
        let absent = if self.names.has_given(peer) { Failure::Gone } else { Failure::NoPeer };
        let slot = self.names.get(peer).and_then(Entry::slot).ok_or(absent)?;
        let to = self.at(slot).ok_or(Failure::Gone)?;
        // From now on each hears when the other leaves.
        self.partners(at, to);
        let Server { names, places, .. } = self;
        let place = places.get_mut(to).and_then(Seat::place_mut).ok_or(Failure::Gone)?;
        place.put(
            (at, &client),
            bytes.len(),
            |conn, tx| conn.relay(&mut tx.lend(), client.id, unit, bytes),
            |peer| names.get(peer).is_some(),
        )
    }

    fn partners(&mut self, one: usize, other: usize) {
        for (at, partner) in [(one, other), (other, one)] {
            if let Some(place) = self.place(at) {
                place.partners |= bit(partner);
            }
        }
    }

    /// A newer connection of a client has the partners of the one before.
    pub(super) fn inherit(&mut self, old: usize, new: usize) {
        let Some(partners) = self.place(old).map(|place| core::mem::take(&mut place.partners))
        else {
            return;
        };
        for at in (0..self.places.len()).filter(|at| partners & bit(*at) != 0) {
            self.partners(new, at);
        }
        self.places
            .iter_mut()
            .filter_map(Seat::place_mut)
            .for_each(|place| place.partners &= !bit(old));
    }

    /// The connection at a place is over: says so to those who exchanged units with it, and to those who wait for an
    /// answer from it.
    pub(super) fn part(&mut self, at: usize, slot: Slot, client: &PeerInfo, is_offline: bool) {
        let now = self.now;
        let partners = self.place(at).map_or(0, |place| place.partners);
        for (other, seat) in self.places.iter_mut().enumerate() {
            let Some(place) = seat.place_mut() else { continue };
            if is_offline && partners & bit(other) != 0 {
                place.relay_failed(client.id, Failure::Gone, now);
            }
            place.partners &= !bit(at);
            for open in place.asking.iter_mut().filter(|open| open.responder.0 == slot) {
                open.failed.get_or_insert(Failure::Unknown);
            }
        }
    }
}

/// A place in a set of places. There are 32 at most.
fn bit(at: usize) -> u32 {
    u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or(0)
}
