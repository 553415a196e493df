//! What the program of a server says: messages, requests, replies.

use serde::Serialize;

use super::{
    Asked, Event, Message, OnEvent, Server,
    event::Stream,
    place::{Answer, failure},
    route::place_of,
};
use crate::{
    client::Why,
    proto::{
        Envelope, Failure, Instant, Kind, Party, PeerId, RequestId,
        registry::Slot,
        router::{Channel, Member, Route},
    },
    value::{self, LONGEST_VALUE, ValueError},
};

/// A request of the program that waits for its reply.
pub(super) struct Pending {
    responder: (Slot, PeerId),
    channel: Channel,
    id: RequestId,
    by: Instant,
}

impl<'m> Server<'m> {
    /// Sends a message to a client on a channel that it has opened. It leaves with the next step of the driver.
    ///
    /// # Errors
    /// [`Failure::NoPeer`] or [`Failure::NotOnChannel`] if it is not there; [`Failure::Busy`] while it has not taken enough
    /// of what was sent to it before; [`Failure::TooLarge`] if it, or the memory of its place, never takes so much at once.
    pub fn send(&mut self, channel: Channel, peer: PeerId, bytes: &[u8]) -> Result<(), Failure> {
        self.put(channel, peer, Kind::Message, bytes).map(drop)
    }

    /// Sends a message to all clients on a channel. Says how many get it: not those that have no room for it now, which are
    /// counted as [`dropped`](Self::dropped).
    pub fn publish(&mut self, channel: Channel, bytes: &[u8]) -> usize {
        let Server { names, channels, places, .. } = self;
        let (mut sent, mut missed) = (0_usize, 0_usize);
        let kind = Kind::Message;
        if let Ok(Route::Members(members)) =
            channels.route_from_server(names, channel, Party::Everyone, kind)
        {
            for Member { slot, local } in members {
                let envelope = Envelope { channel: local, party: Party::Server, kind };
                let place = place_of(places, slot);
                let conn = place.and_then(|place| Some((place.conn.as_mut()?, &mut place.tx)));
                let got = conn.map(|(conn, tx)| conn.send(&mut tx.lend(), &envelope, bytes));
                match got {
                    Some(Ok(())) => sent = sent.saturating_add(1),
                    _ => missed = missed.saturating_add(1),
                }
            }
        }
        self.count_dropped(missed);
        sent
    }

    /// Asks a client, which has to reply within so many milliseconds. The reply is an [`Event::Message`] of kind
    /// [`Kind::Reply`] with the number that this returns; if none comes, [`Event::Failed`] says so.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Failure::TooMany`] while four requests are unanswered.
    pub fn request(
        &mut self,
        channel: Channel,
        peer: PeerId,
        bytes: &[u8],
        within: u64,
    ) -> Result<RequestId, Failure> {
        if self.pending.is_full() {
            return Err(Failure::TooMany);
        }
        self.last_request = self.last_request.wrapping_add(1);
        let id = RequestId(self.last_request);
        let slot = self.put(channel, peer, Kind::Request(id), bytes)?;
        let (responder, by) = ((slot, peer), self.now.after_millis(within));
        let _ = self.pending.push(Pending { responder, channel, id, by });
        Ok(id)
    }

    /// Answers the request that the program is being told of.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Failure::BadDestination`] if it is none, or is answered already. Then the client is told
    /// the reason as soon as the handler returns.
    pub fn reply(&mut self, request: &Message<'_>, bytes: &[u8]) -> Result<(), Failure> {
        let (slot, local, id) = self.current(request)?;
        let said = self.answer(slot, (local, id), bytes);
        self.said(said)
    }

    /// Takes a request over, to [answer](Self::reply_later) it after the handler has returned. `None`: it is none, or is
    /// answered already.
    pub fn defer(&mut self, request: &Message<'_>) -> Option<Asked> {
        let (slot, local, id) = self.current(request).ok()?;
        self.asked_now = None;
        Some(Asked { slot, local, id })
    }

    /// Answers a request of before.
    ///
    /// # Errors
    /// As [`send`](Self::send): [`Failure::NoPeer`] if the connection is over on which it came. While it is [`Failure::Busy`],
    /// the program may try again, or [`fail`](Self::fail) it.
    pub fn reply_later(&mut self, request: &Asked, bytes: &[u8]) -> Result<(), Failure> {
        self.answer(request.slot, (request.local, request.id), bytes)
    }

    /// Says that a request of before gets no reply, and why.
    pub fn fail(&mut self, request: Asked, why: Failure) {
        let Asked { slot, local, id } = request;
        let envelope = Envelope { channel: local, party: Party::Server, kind: Kind::Request(id) };
        if let Some(place) = place_of(self.places, slot) {
            place.answer(Answer::Failed(envelope, why));
        }
    }

    /// Says that the request that the program is being told of gets no reply, and why.
    pub fn decline(&mut self, request: &Message<'_>, why: Failure) {
        if self.current(request).is_ok() {
            // The client hears it when the handler returns.
            self.unanswered = Some(why);
        }
    }

    /// Wants no more of a large message. No further event comes of it.
    pub fn stop(&mut self, stream: Stream, why: Failure) {
        let Some(place) = place_of(self.places, stream.slot) else { return };
        place.stream = place.stream.filter(|open| *open != stream.id);
        if let Some(conn) = &mut place.conn {
            conn.stop(stream.id, why);
        }
    }

    /// Sends a value, encoded by postcard.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ValueError::Value`].
    pub fn send_value<T: Serialize>(
        &mut self,
        channel: Channel,
        peer: PeerId,
        value: &T,
    ) -> Result<(), ValueError<Failure>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.send(channel, peer, value::encode(value, &mut bytes)?)?)
    }

    /// Sends a value to all clients on a channel, encoded by postcard. Says how many get it, as [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`ValueError::Value`].
    pub fn publish_value<T: Serialize>(
        &mut self,
        channel: Channel,
        value: &T,
    ) -> Result<usize, ValueError<Failure>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.publish(channel, value::encode(value, &mut bytes)?))
    }

    /// Answers a request with a value, encoded by postcard.
    ///
    /// # Errors
    /// As [`reply`](Self::reply), and [`ValueError::Value`].
    pub fn reply_value<T: Serialize>(
        &mut self,
        request: &Message<'_>,
        value: &T,
    ) -> Result<(), ValueError<Failure>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.reply(request, value::encode(value, &mut bytes)?)?)
    }

    /// Sends to one client, and says which connection that is.
    fn put(
        &mut self,
        channel: Channel,
        peer: PeerId,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<Slot, Failure> {
        let Server { names, channels, places, .. } = self;
        let to = Party::Peer(peer);
        let Route::Peer { to, .. } = channels.route_from_server(names, channel, to, kind)? else {
            return Err(Failure::BadDestination);
        };
        let envelope = Envelope { channel: to.local, party: Party::Server, kind };
        let place = place_of(places, to.slot).ok_or(Failure::NoPeer)?;
        let conn = place.conn.as_mut().ok_or(Failure::NoPeer)?;
        conn.send(&mut place.tx.lend(), &envelope, bytes).map_err(failure)?;
        Ok(to.slot)
    }

    /// The request that the program is being told of, if it is that one and unanswered.
    fn current(
        &self,
        request: &Message<'_>,
    ) -> Result<(Slot, crate::proto::ChannelId, RequestId), Failure> {
        match (self.asked_now, request.kind) {
            (Some(asked), Kind::Request(id)) if asked.2 == id => Ok(asked),
            _ => Err(Failure::BadDestination),
        }
    }

    /// Notes whether the request that the program is being told of is answered.
    fn said(&mut self, said: Result<(), Failure>) -> Result<(), Failure> {
        match said {
            Ok(()) => self.asked_now = None,
            Err(why) => self.unanswered = Some(why),
        }
        said
    }

    fn answer(
        &mut self,
        slot: Slot,
        (channel, id): (crate::proto::ChannelId, RequestId),
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let envelope = Envelope { channel, party: Party::Server, kind: Kind::Reply(id) };
        let place = place_of(self.places, slot).ok_or(Failure::NoPeer)?;
        let conn = place.conn.as_mut().ok_or(Failure::NoPeer)?;
        conn.send(&mut place.tx.lend(), &envelope, bytes).map_err(failure)
    }

    /// Whether this is the reply to a request of the program; then it waits no more.
    pub(super) fn program_answered(&mut self, slot: Slot, channel: Channel, id: RequestId) -> bool {
        let is_it = |p: &Pending| (p.responder.0, p.channel, p.id) == (slot, channel, id);
        let Some(at) = self.pending.iter().position(is_it) else { return false };
        self.pending.swap_remove(at);
        true
    }

    /// A client says that it does not answer the program.
    pub(super) fn program_failed(
        &mut self,
        slot: Slot,
        (channel, id): (Channel, RequestId),
        why: Failure,
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        let is_it = |p: &Pending| (p.responder.0, p.channel, p.id) == (slot, channel, id);
        self.give_up(&is_it, Why::Failure(why), on_event);
    }

    /// A connection is over: whether its client acted on requests of the program is unknown.
    pub(super) fn lose_requests(&mut self, slot: Slot, on_event: &mut OnEvent<'_, 'm>) {
        self.give_up(&|p| p.responder.0 == slot, Why::Failure(Failure::Unknown), on_event);
    }

    /// Tells of requests of the program that nobody has answered in time.
    pub(super) fn expire(&mut self, on_event: &mut OnEvent<'_, 'm>) {
        let now = self.now;
        self.give_up(&|p| now >= p.by, Why::TimedOut, on_event);
    }

    /// When the first request of the program has waited long enough.
    pub(super) fn requests_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.by).min()
    }

    fn give_up(
        &mut self,
        is_it: &dyn Fn(&Pending) -> bool,
        why: Why,
        on_event: &mut OnEvent<'_, 'm>,
    ) {
        // Once for each: a handler that asks again at once is not heard in the same call.
        for _ in 0..self.pending.len() {
            let Some(at) = self.pending.iter().position(is_it) else { return };
            let Pending { responder: (_, peer), id, .. } = self.pending.swap_remove(at);
            on_event(self, Event::Failed { id, peer, why });
        }
    }
}
