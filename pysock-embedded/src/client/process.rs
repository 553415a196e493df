//! One step: what has arrived, what is due, what goes out.

use core::mem;

use super::{Address, Client, Ended, Event, FAREWELL_MILLIS, Message, OnEvent, Stream, Why};
use crate::{
    entropy::NoEntropy,
    proto::{self, CloseReason, Envelope, Kind, Party, PeerId, PeerInfo, RxBuf},
};

impl<'m> Client<'m> {
    /// Driver: deals with what [`filled`](Self::filled) has brought and with what is due, and calls `on_event` for each thing
    /// that happened. The work is bounded by what the receive buffer can hold.
    ///
    /// # Errors
    /// There is no randomness. That is fatal: do not go on with this client.
    pub fn process(
        &mut self,
        now: proto::Instant,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        self.now = now;
        let is_written = self.tx.is_empty();
        // Whoever keeps this client busy with what it answers must not keep its own affairs from the room for sending.
        self.flush_sessions();
        self.open_channels();
        self.ask();
        // The events borrow the memory, and the handler the client: for the time being the memory is ours.
        let mut rx = mem::replace(&mut self.rx, RxBuf::new(&mut []));
        let received = self.receive(&mut rx, on_event);
        self.rx = rx;
        received?;
        self.expire(on_event);
        if is_written && self.is_connected() && mem::take(&mut self.turned_away) {
            on_event(self, Event::Room);
        }
        if self.is_connected() {
            self.tend_sessions(on_event)?;
            self.open_channels();
            self.ask();
        }
        self.state.requests.start(now);
        self.flush();
        self.part();
        Ok(())
    }

    /// Seals what the program has sent, so that it can be written. [`process`](Self::process) does it, too.
    pub fn flush(&mut self) {
        let env = self.env();
        self.flush_sessions();
        let Some(conn) = &mut self.state.conn else { return };
        if let Err(why) = conn.flush(&mut self.tx.lend(), &env) {
            // Its time is over: nobody takes what is left.
            self.unwrite();
            self.ends(Ended::Failed(why));
        }
    }

    /// Seals what sessions owe.
    pub(super) fn flush_sessions(&mut self) {
        let env = self.env();
        let Some(conn) = &mut self.state.conn else { return };
        // What finds no room stays due.
        let _ = conn.flush_peers(&mut self.tx.lend(), &mut self.sessions, &env);
    }

    /// The last words of a connection may take some time to be written, and no more: the way may be blocked for good.
    fn part(&mut self) {
        if !self.is_over() {
            return;
        }
        let by = *self.farewell_by.get_or_insert(self.now.after_millis(FAREWELL_MILLIS));
        if self.now >= by {
            self.unwrite();
        }
    }

    // Apart, or its events would take their room on the stack while the rest of the step runs.
    #[inline(never)]
    fn receive(
        &mut self,
        rx: &mut RxBuf<&'m mut [u8]>,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        let env = self.env();
        let mut view = rx.lend();
        // A connection that is over has nothing more to say.
        while let Some(conn) = self.state.conn.as_mut().filter(|conn| !conn.is_over()) {
            match conn.receive(&mut view, &env) {
                Ok(Some(event)) => self.hear(event, on_event)?,
                Ok(None) => break,
                Err(why) => self.ends(Ended::Failed(why)),
            }
        }
        Ok(())
    }

    /// Remembers why the connection is over; what is said first counts.
    pub(super) fn ends(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    fn hear(
        &mut self,
        event: proto::Event<'_>,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        match event {
            proto::Event::Verify(verify) => on_event(self, Event::Verify(verify)),
            proto::Event::Offered(key) if Some(key) != self.server => {
                self.ends(Ended::OtherKey(key));
            }
            // It has the right key: what failed before was something else.
            proto::Event::Offered(_) => self.ends(Ended::Failed(proto::Error::Handshake)),
            proto::Event::Welcome { suites, .. } => {
                let Some(server) = self.state.conn.as_ref().and_then(|conn| conn.remote()) else {
                    return Ok(());
                };
                self.retry.failures = 0;
                self.sessions.reconnected();
                self.look_for_sessions();
                on_event(self, Event::Connected { server, suites });
            }
            proto::Event::Refused(why) => self.ends(Ended::Refused(why)),
            proto::Event::Closed(why) => {
                self.ends(Ended::Closed(why));
                if let Some(conn) = &mut self.state.conn {
                    conn.close(CloseReason::Done);
                }
            }
            proto::Event::Opened { id, result } => {
                if let Some(channel) = self.opened_channel(id, result) {
                    on_event(self, Event::Channel { channel, result });
                }
            }
            proto::Event::Peer(peer) => self.announced(peer),
            proto::Event::Found { query, peer } => self.found(query, peer, on_event)?,
            proto::Event::Message { envelope, bytes } => {
                let Some(from) = self.source(&envelope) else { return Ok(()) };
                // A reply that nobody waits for any more, or never did, is none.
                if matches!(envelope.kind, Kind::Reply(_))
                    && !self.state.requests.answered(envelope.kind, from)
                {
                    return Ok(());
                }
                let (sender, kind) = (self.sender(&envelope), envelope.kind);
                on_event(self, Event::Message(Message { from, sender, kind, bytes }));
            }
            proto::Event::Failed { envelope, failure } => {
                let Some(to) = self.source(&envelope) else { return Ok(()) };
                let kind = envelope.kind;
                if matches!(kind, Kind::Request(_)) && !self.state.requests.answered(kind, to) {
                    return Ok(());
                }
                on_event(self, Event::Failed { to, kind, why: Why::Failure(failure) });
            }
            proto::Event::Relay { peer, unit, bytes } => {
                if let Some(peer) = self.known(peer) {
                    self.relayed(&peer, unit, bytes, on_event)?;
                }
            }
            proto::Event::RelayFailed { peer, failure } => self.gone(peer, failure, on_event),
            event => self.hear_stream(event, on_event),
        }
        Ok(())
    }

    fn hear_stream(&mut self, event: proto::Event<'_>, on_event: &mut OnEvent<'_, 'm>) {
        let connection = self.connection;
        let of = |id| Stream { peer: None, id, connection };
        let event = match event {
            proto::Event::Begin { stream, envelope, length } => {
                let Some(from) = self.source(&envelope) else { return };
                if matches!(envelope.kind, Kind::Reply(_))
                    && !self.state.requests.answered(envelope.kind, from)
                {
                    return self.stop(of(stream), proto::Failure::Cancelled);
                }
                Event::Begin { stream: of(stream), from, kind: envelope.kind, length }
            }
            proto::Event::Chunk { stream, bytes } => {
                on_event(self, Event::Chunk { stream: of(stream), bytes });
                if let Some(conn) = &mut self.state.conn {
                    conn.consumed(stream, bytes.len());
                }
                return;
            }
            proto::Event::End(stream) => Event::End(of(stream)),
            proto::Event::Aborted { stream, failure } => {
                Event::Aborted { stream: of(stream), failure }
            }
            proto::Event::Stopped { stream, failure } => {
                Event::Stopped { stream: of(stream), failure }
            }
            proto::Event::Credit(stream) => Event::Credit(of(stream)),
            // Of later versions, or only a sign of life.
            _ => return,
        };
        on_event(self, event);
    }

    /// Where a message of the server comes from, or where one went that failed.
    fn source(&self, envelope: &Envelope) -> Option<Address> {
        let channel = self.channel_of(envelope.channel)?;
        Some(match envelope.party {
            Party::Server => Address::Server(channel),
            Party::Everyone => Address::Everyone(channel),
            Party::Peer(id) => Address::Client(channel, id),
        })
    }

    fn sender(&self, envelope: &Envelope) -> Option<PeerInfo> {
        match envelope.party {
            Party::Peer(id) => self.known(id),
            _ => None,
        }
    }

    /// Whom the server has called so.
    pub(super) fn known(&self, id: PeerId) -> Option<PeerInfo> {
        self.state.senders.iter().find(|peer| peer.id == id).copied()
    }

    fn announced(&mut self, peer: PeerInfo) {
        // A number that is in the list already keeps its place, and the newest announcement counts.
        match self.state.senders.iter_mut().find(|known| known.id == peer.id) {
            Some(known) => *known = peer,
            None => {
                if self.state.senders.is_full() {
                    self.state.senders.pop_front();
                }
                let _ = self.state.senders.push_back(peer);
            }
        }
        self.sessions.named(&peer);
        self.refresh(&peer);
    }
}
