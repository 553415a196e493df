//! One step of one place: what has arrived, what is due, what goes out.

use core::mem;

use super::{
    Event, OnEvent, Server,
    event::Stream,
    place::{Answer, Seat},
};
use crate::{
    client::Ended,
    proto::{
        self, Admission, ChannelId, ChannelName, CloseReason, Failure, Find, PeerId, PeerInfo,
        Refusal, RxBuf,
        registry::{Claim, Entry, Slot},
        router::JoinError,
    },
};

impl<'m> Server<'m> {
    /// Driver: deals with what [`filled`](Self::filled) has brought to a place and with what is due there, and calls
    /// `on_event` for each thing that happened. The work is bounded by what one receive buffer can hold.
    pub fn process(&mut self, at: usize, now: proto::Instant, on_event: &mut OnEvent<'_, 'm>) {
        self.now = now;
        self.expire(on_event);
        let Some(place) = self.place(at) else { return };
        // An answer that is out makes way for what has arrived since.
        place.pay(now);
        // The events borrow the memory, and the handler the server: for the time being the memory is ours.
        let mut rx = mem::replace(&mut place.rx, RxBuf::new(&mut []));
        self.receive(at, &mut rx, on_event);
        if let Some(place) = self.place(at) {
            place.rx = rx;
        }
        self.flush(at);
    }

    fn flush(&mut self, at: usize) {
        let (env, now) = (self.env(), self.now);
        let Some(place) = self.place(at) else { return };
        place.pay(now);
        let Some(conn) = &mut place.conn else { return };
        if let Err(why) = conn.flush(&mut place.tx.lend(), &env) {
            place.ends(Ended::Failed(why));
        }
    }

    fn receive(&mut self, at: usize, rx: &mut RxBuf<&'m mut [u8]>, on_event: &mut OnEvent<'_, 'm>) {
        let env = self.env();
        let mut view = rx.lend();
        // A connection that is over has nothing more to say, and who does not take its answers is not heard.
        while let Some(place) = self.place(at).filter(|place| place.owed.is_none())
            && let Some(conn) = place.conn.as_mut().filter(|conn| !conn.is_over())
        {
            match conn.receive(&mut view, &env) {
                Ok(Some(event)) => self.hear(at, event, on_event),
                Ok(None) => break,
                Err(why) => place.ends(Ended::Failed(why)),
            }
        }
    }

    fn hear(&mut self, at: usize, event: proto::Event<'_>, on_event: &mut OnEvent<'_, 'm>) {
        let (env, psk) = (self.env(), self.setup.psk);
        let Some(place) = self.place(at) else { return };
        match event {
            proto::Event::PskWanted(request) => {
                let psk = psk.filter(|psk| psk.hint() == request.hint());
                if let Some(conn) = &mut place.conn
                    && let Err(why) = conn.provide_psk(request, psk, &env)
                {
                    place.ends(Ended::Failed(why));
                }
            }
            proto::Event::Admission(admission) => self.decide(at, admission, on_event),
            proto::Event::Closed(why) => {
                place.ends(Ended::Closed(why));
                if let Some(conn) = &mut place.conn {
                    conn.close(CloseReason::Done);
                }
            }
            // The client is in, or nothing of the following could come.
            event => {
                if let Some(client) = place.client {
                    self.hear_client((at, client), event, on_event);
                }
            }
        }
    }

    fn hear_client(
        &mut self,
        (at, client): (usize, PeerInfo),
        event: proto::Event<'_>,
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let Some(place) = self.place(at) else { return };
        let slot = place.slot;
        let of = |id| Stream { slot, id };
        let event = match event {
            proto::Event::Open { id, name } => {
                return self.open_channel((at, client), (id, &name), on_event);
            }
            proto::Event::Left(id) => {
                self.channels.leave(slot, id);
                return;
            }
            proto::Event::Find { query, find } => return self.find(at, query, &find),
            proto::Event::Message { envelope, bytes } => {
                return self.message((at, client), envelope, bytes, on_event);
            }
            proto::Event::Failed { envelope, failure } => {
                return self.declined(at, &envelope, failure, on_event);
            }
            proto::Event::Relay { peer, unit, bytes } => {
                return self.relay((at, client), peer, unit, bytes);
            }
            proto::Event::Begin { stream, envelope, length } => {
                match self.begin_stream((at, client), stream, &envelope, on_event) {
                    Some(channel) => {
                        Event::Begin { stream: of(stream), sender: client, channel, length }
                    }
                    None => return,
                }
            }
            proto::Event::Chunk { stream, bytes } => {
                on_event(self, Event::Chunk { stream: of(stream), bytes });
                let place = self.place(at).filter(|place| place.slot == slot);
                if let Some(conn) = place.and_then(|place| place.conn.as_mut()) {
                    conn.consumed(stream, bytes.len());
                }
                return;
            }
            proto::Event::End(stream) => {
                place.stream = None;
                Event::End(of(stream))
            }
            proto::Event::Aborted { stream, failure } => {
                place.stream = None;
                Event::Aborted { stream: of(stream), failure }
            }
            // Of later versions, or only a sign of life.
            _ => return,
        };
        on_event(self, event);
    }

    /// Whether a stranger may come in, who has proven its key.
    fn decide(&mut self, at: usize, admission: Admission, on_event: &mut OnEvent<'_, 'm>) {
        let (env, key, name) = (self.env(), *admission.key(), *admission.name());
        let was_in = self.names.by_key(&key).is_some_and(|entry| entry.slot().is_some());
        // One place is always left for the door, and for those who come back.
        let is_full = self.names.count_online() >= self.places.len().saturating_sub(1);
        let claim = match () {
            () if self.is_closing => Err(Refusal::ShuttingDown),
            () if is_full && !was_in => Err(Refusal::Full),
            () => self.names.claim(&key, &name),
        };
        let claimed = claim.as_ref().is_ok_and(Claim::must_persist);
        let Some(place) = self.places.get_mut(at).and_then(Seat::place_mut) else { return };
        let Some(conn) = &mut place.conn else { return };
        let admitted = match claim.and_then(|claim| self.names.confirm(claim, place.slot)) {
            Ok(admitted) => admitted,
            Err(why) => {
                match conn.refuse(admission, why, &env) {
                    Ok(()) => place.ends(Ended::Refused(why)),
                    Err(why) => place.ends(Ended::Failed(why)),
                }
                on_event(self, Event::TurnedAway { key, why });
                return;
            }
        };
        let peer = PeerInfo { id: admitted.peer, key, name };
        if let Err(why) = conn.admit(admission, peer.id, &env) {
            place.ends(Ended::Failed(why));
            self.names.offline(peer.id, place.slot);
        } else {
            place.client = Some(peer);
        }
        if let Some(older) = admitted.replaced {
            self.replace(older, at);
        }
        if self.is_active_client(at, peer.id) {
            on_event(self, Event::Joined { peer, claimed, again: was_in });
        }
    }

    /// A client has come again: its connection before is not active any more.
    fn replace(&mut self, older: Slot, at: usize) {
        self.channels.drop_slot(older);
        let Some(old) = self.at(older) else { return };
        self.inherit(old, at);
        if let Some(place) = self.place(old) {
            if let Some(conn) = &mut place.conn {
                conn.close(CloseReason::Replaced);
            }
            place.ends(Ended::Closed(CloseReason::Replaced));
        }
    }

    fn open_channel(
        &mut self,
        (at, peer): (usize, PeerInfo),
        (id, name): (ChannelId, &ChannelName),
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let is_active = self.is_active_client(at, peer.id);
        let Some(place) = self.places.get_mut(at).and_then(Seat::place_mut) else { return };
        let joined = match is_active {
            true => self.channels.join(place.slot, id, name),
            // Replaced: it would stay there for ever.
            false => Err(JoinError::NoChannel),
        };
        let result = joined.map_err(|why| match why {
            JoinError::NoChannel => Failure::NoChannel,
            JoinError::AlreadyOpen(_) => Failure::AlreadyOpen,
            _ => Failure::TooMany,
        });
        place.answer(Answer::Opened(id, result.map(drop)));
        if let Ok(channel) = result {
            on_event(self, Event::OnChannel { peer, channel });
        }
    }

    fn find(&mut self, at: usize, query: u16, find: &Find) {
        let entry = match find {
            Find::Name(name) => self.names.by_name(name),
            Find::Key(key) => self.names.by_key(key),
            Find::After(peer) => self.names.next_online_after(*peer),
        };
        let entry = entry.filter(|entry| entry.slot().is_some() && self.setup.directory);
        let found = entry.map(info);
        if let Some(place) = self.place(at) {
            place.answer(Answer::Found(query, found));
        }
    }

    /// Whether the connection at this place is the one that counts for its client.
    pub(super) fn is_active_client(&self, at: usize, peer: PeerId) -> bool {
        let slot = self.places.get(at).and_then(Seat::place).map(|place| place.slot);
        slot.is_some() && self.names.get(peer).and_then(Entry::slot) == slot
    }
}

/// What others may know of a client.
pub(super) fn info(entry: &Entry) -> PeerInfo {
    PeerInfo { id: entry.peer(), key: *entry.key(), name: *entry.name() }
}
