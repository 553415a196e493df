//! A place for one connection: its memory, and what the server has to remember of it.

use core::mem;

use crate::{
    client::Ended,
    proto::{
        ChannelId, Connection, Envelope, Failure, Instant, Kind, MIN_RECORD, MIN_TRANSMIT, Party,
        PeerId, PeerInfo, RequestId, RustCrypto, RxBuf, SendError, StreamId, TxBuf, registry::Slot,
        router::Channel,
    },
};

/// Requests of one client that may wait for the answers of others. The oldest are forgotten first, so that one that is never
/// answered costs its own requester something and nobody else.
const ASKING: usize = 8;
/// Notices about units that were not passed on. Who causes more hears of these.
const NOTICES: usize = 8;
/// How long such a notice is not repeated, in milliseconds.
const NOTICE_ONCE_IN: u64 = 1_000;

/// Places that a server may have.
pub(super) const MOST_PLACES: usize = 32;
/// What the core keeps for itself in a transmit buffer.
const RESERVED: usize = MIN_TRANSMIT - MIN_RECORD as usize;
/// What a message costs in the memory of its receiver beside its text, roughly.
const OVERHEAD: usize = 16;

/// Who is, or was, at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Free,
    /// A link is there since then, and has brought nothing yet.
    Knocking(Instant),
    /// There is a connection; its link is there since then.
    Connected(Instant),
    /// The connection is over since then, and the link is not.
    Leaving(Instant),
}

/// A request of the client here that another one has to answer.
pub(super) struct Open {
    pub(super) responder: (Slot, PeerId),
    pub(super) channel: Channel,
    pub(super) id: RequestId,
    /// What the requester calls the channel.
    pub(super) local: ChannelId,
    /// It has failed, and there was no room yet to say so.
    pub(super) failed: Option<Failure>,
}

/// That a unit for a peer was not passed on.
struct Notice {
    peer: PeerId,
    why: Failure,
    /// When it was sent, if it was.
    said: Option<Instant>,
}

/// A number that this connection was told the meaning of, and how many it had been told by then.
pub(super) struct Announced {
    peer: PeerId,
    at: u32,
}

/// An answer to what the client here has sent, for which there was no room yet. Until it is out, nothing more of the client is
/// read: who does not take its answers asks no more questions.
pub(super) enum Answer {
    Failed(Envelope, Failure),
    Opened(ChannelId, Result<(), Failure>),
    Found(u16, Option<PeerInfo>),
}

pub(super) struct Place<'m> {
    pub(super) stage: Stage,
    pub(super) conn: Option<Connection<RustCrypto>>,
    pub(super) rx: RxBuf<&'m mut [u8]>,
    pub(super) tx: TxBuf<&'m mut [u8]>,
    /// The number of the connection, not used before.
    pub(super) slot: Slot,
    /// The client, once it is in.
    pub(super) client: Option<PeerInfo>,
    announced: &'m mut heapless::VecView<Announced>,
    /// How many announcements there were.
    announcements: u32,
    pub(super) asking: heapless::Deque<Open, ASKING>,
    /// The places with which sealed units were exchanged, one bit each.
    pub(super) partners: u32,
    notices: heapless::Vec<Notice, NOTICES>,
    pub(super) owed: Option<Answer>,
    /// The large message that the program is getting. There is one at a time.
    pub(super) stream: Option<StreamId>,
    /// How many bytes of the clients at each place are still to be written here, roughly.
    waiting: [u16; MOST_PLACES],
    pub(super) ended: Option<Ended>,
}

/// Where a place will be. Zero before, so that unused memory is no part of a program's image.
#[repr(u8)]
#[expect(clippy::large_enum_variant, reason = "it is memory for the larger one")]
pub(super) enum Seat<'m> {
    Empty = 0,
    Ready(Place<'m>) = 1,
}

impl<'m> Seat<'m> {
    pub(super) const fn place(&self) -> Option<&Place<'m>> {
        match self {
            Seat::Ready(place) => Some(place),
            Seat::Empty => None,
        }
    }

    pub(super) const fn place_mut(&mut self) -> Option<&mut Place<'m>> {
        match self {
            Seat::Ready(place) => Some(place),
            Seat::Empty => None,
        }
    }
}

impl<'m> Place<'m> {
    pub(super) fn new(
        rx: RxBuf<&'m mut [u8]>,
        tx: TxBuf<&'m mut [u8]>,
        announced: &'m mut heapless::VecView<Announced>,
    ) -> Self {
        Place {
            stage: Stage::Free,
            conn: None,
            rx,
            tx,
            slot: Slot(0),
            client: None,
            announced,
            announcements: 0,
            asking: heapless::Deque::new(),
            partners: 0,
            notices: heapless::Vec::new(),
            owed: None,
            stream: None,
            waiting: [0; MOST_PLACES],
            ended: None,
        }
    }

    /// Nothing of one connection is left for the next.
    pub(super) fn clear(&mut self) {
        self.conn = None;
        let rx = mem::replace(&mut self.rx, RxBuf::new(&mut []));
        let tx = mem::replace(&mut self.tx, TxBuf::new(&mut []));
        (self.rx, self.tx) = (RxBuf::new(rx.into_inner()), TxBuf::new(tx.into_inner()));
        self.client = None;
        self.announced.clear();
        self.announcements = 0;
        self.asking.clear();
        self.partners = 0;
        self.notices.clear();
        self.waiting.fill(0);
        (self.owed, self.stream, self.ended) = (None, None, None);
    }

    /// Remembers why the connection is over; what is said first counts.
    pub(super) fn ends(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    /// Sends `len` bytes that `from` says, after saying who that is if the client does not know it any more.
    pub(super) fn put(
        &mut self,
        (at, from): (usize, &PeerInfo),
        len: usize,
        send: impl FnOnce(
            &mut Connection<RustCrypto>,
            &mut TxBuf<&'m mut [u8]>,
        ) -> Result<(), SendError>,
        is_known: impl Fn(PeerId) -> bool,
    ) -> Result<(), Failure> {
        let cost = len.saturating_add(OVERHEAD);
        if !self.has_share(at, cost) {
            return Err(Failure::Busy);
        }
        self.announce(from, is_known).map_err(failure)?;
        let conn = self.conn.as_mut().ok_or(Failure::NoPeer)?;
        send(conn, &mut self.tx).map_err(failure)?;
        if let Some(waiting) = self.waiting.get_mut(at) {
            *waiting = waiting.saturating_add(u16::try_from(cost).unwrap_or(u16::MAX));
        }
        Ok(())
    }

    /// Whether the client at another place may take so many more bytes of the memory here. One client may have half of it, all
    /// together three quarters: the rest is for the program, so that no flood keeps a client from its answers. Where nothing
    /// waits, a single message may have all of it.
    fn has_share(&self, at: usize, cost: usize) -> bool {
        let all: usize = self.waiting.iter().map(|waiting| usize::from(*waiting)).sum();
        let of_one = self.waiting.get(at).copied().unwrap_or(0).into();
        let room = self.tx.capacity().saturating_sub(RESERVED);
        let fits = |waiting: usize, most: usize| waiting.saturating_add(cost) <= most;
        let quarter = room / 4;
        all == 0
            || (fits(all, quarter.saturating_mul(3))
                && (of_one == 0 || fits(of_one, quarter.saturating_mul(2))))
    }

    /// So many bytes were written: of each client's in proportion, since they lie mixed.
    pub(super) fn written(&mut self, n: usize) {
        self.tx.written(n);
        if self.tx.is_empty() {
            self.waiting.fill(0);
            return;
        }
        let all: u32 = self.waiting.iter().map(|waiting| u32::from(*waiting)).sum();
        let left = all.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
        for waiting in &mut self.waiting {
            let share = u32::from(*waiting).saturating_mul(left).checked_div(all).unwrap_or(0);
            // Not more than before.
            *waiting = u16::try_from(share).unwrap_or(*waiting);
        }
    }

    /// Says whom a number stands for, unless the client has it in its list of the latest. Numbers are never given again, so those that
    /// the registry does not know any more need not be remembered, and there is room for those that it does.
    fn announce(
        &mut self,
        from: &PeerInfo,
        is_known: impl Fn(PeerId) -> bool,
    ) -> Result<(), SendError> {
        let conn = self.conn.as_mut().ok_or(SendError::NotOpen)?;
        let most = conn.remote_limits().map_or(1, |limits| u32::from(limits.peers));
        let now = self.announcements;
        self.announced.retain(|known| now.wrapping_sub(known.at) < most && is_known(known.peer));
        if self.announced.iter().any(|known| known.peer == from.id) {
            return Ok(());
        }
        conn.announce(&mut self.tx.lend(), from)?;
        self.announcements = now.wrapping_add(1);
        let _ = self.announced.push(Announced { peer: from.id, at: self.announcements });
        Ok(())
    }

    /// Answers what the client here has sent, now or as soon as there is room.
    pub(super) fn answer(&mut self, answer: Answer) {
        if !self.try_answer(&answer) {
            self.owed = Some(answer);
        }
    }

    /// `false`: there is no room now.
    fn try_answer(&mut self, answer: &Answer) -> bool {
        let Some(conn) = &mut self.conn else { return true };
        let tx = &mut self.tx.lend();
        let said = match answer {
            Answer::Failed(envelope, why) => conn.send_failed(tx, envelope, *why),
            Answer::Opened(id, result) => conn.answer_open(tx, *id, *result),
            Answer::Found(query, peer) => conn.answer_find(tx, *query, peer.as_ref()),
        };
        // On a connection that is going, nobody waits for it.
        !matches!(said, Err(SendError::Full(_)))
    }

    /// Notes a request that was passed on.
    pub(super) fn asks(&mut self, open: Open) {
        if self.asking.is_full() {
            self.asking.pop_front();
        }
        // There is room now.
        let _ = self.asking.push_back(open);
    }

    /// Takes a request off the books: there is an answer from its responder.
    pub(super) fn answered(
        &mut self,
        responder: Slot,
        channel: Channel,
        id: RequestId,
    ) -> Option<Open> {
        let is_it = |open: &Open| {
            open.responder.0 == responder
                && open.channel == channel
                && open.id == id
                && open.failed.is_none()
        };
        self.take(is_it)
    }

    fn take(&mut self, is_it: impl Fn(&Open) -> bool) -> Option<Open> {
        let mut found = None;
        // Once round: those that stay keep their order.
        for _ in 0..self.asking.len() {
            let Some(open) = self.asking.pop_front() else { break };
            if found.is_none() && is_it(&open) {
                found = Some(open);
            } else {
                let _ = self.asking.push_back(open);
            }
        }
        found
    }

    /// A request of the client here has failed: says so, now or as soon as there is room.
    pub(super) fn fails(&mut self, open: Open, why: Failure) {
        let Some(conn) = &mut self.conn else { return };
        let said = conn.send_failed(&mut self.tx.lend(), &open.envelope(), why);
        if matches!(said, Err(SendError::Full(_))) {
            self.asks(Open { failed: Some(why), ..open });
        }
    }

    /// A unit for `peer` was not passed on. The same is said once a second, however often it happens.
    pub(super) fn relay_failed(&mut self, peer: PeerId, why: Failure, now: Instant) {
        let is_recent = |at: Instant| now < at.after_millis(NOTICE_ONCE_IN);
        self.notices.retain(|notice| notice.said.is_none_or(is_recent));
        if self.notices.iter().any(|notice| (notice.peer, notice.why) == (peer, why)) {
            return;
        }
        let _ = self.notices.push(Notice { peer, why, said: None });
    }

    /// Says what there was no room for before.
    pub(super) fn pay(&mut self, now: Instant) {
        if let Some(answer) = self.owed.take() {
            self.answer(answer);
        }
        for _ in 0..self.asking.len() {
            let Some(open) = self.take(|open| open.failed.is_some()) else { break };
            let why = open.failed.unwrap_or(Failure::Unknown);
            self.fails(open, why);
        }
        let Some(conn) = &mut self.conn else { return };
        for notice in self.notices.iter_mut().filter(|notice| notice.said.is_none()) {
            match conn.relay_failed(&mut self.tx.lend(), notice.peer, notice.why) {
                Err(SendError::Full(_)) => break,
                _ => notice.said = Some(now),
            }
        }
    }
}

impl Open {
    /// The request, as its requester knows it.
    fn envelope(&self) -> Envelope {
        let (party, kind) = (Party::Peer(self.responder.1), Kind::Request(self.id));
        Envelope { channel: self.local, party, kind }
    }
}

/// What the sender of a message is told that could not be written for its receiver.
pub(super) fn failure(why: SendError) -> Failure {
    match why {
        SendError::TooLong(_) => Failure::TooLarge,
        SendError::NotOpen => Failure::NoPeer,
        _ => Failure::Busy,
    }
}
