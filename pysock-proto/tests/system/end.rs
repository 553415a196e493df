//! One end of a link: a connection with its memory, and events that own what they say, so that whoever hears of one is
//! free to act.

use pysock_proto::{
    Admission, ChannelId, ChannelName, CloseReason, Connection, Env, Envelope, Error, Event,
    Failure, Find, Limits, PeerId, PeerInfo, Refusal, RxBuf, StreamId, TxBuf, Unit, Verify,
    crypto::Crypto,
};

use super::Shared;

/// What [`Event`] says, owned.
pub enum Got {
    Nothing,
    Verify(Verify),
    Admission(Admission),
    Welcome(PeerId),
    Refused(Refusal),
    Open(ChannelId, ChannelName),
    Opened(ChannelId, Result<(), Failure>),
    Left(ChannelId),
    Find(u16, Find),
    Found(u16, Option<PeerInfo>),
    Peer(PeerInfo),
    Message(Envelope, Vec<u8>),
    Failed(Envelope, Failure),
    Begin(StreamId, Envelope),
    Chunk(StreamId, Vec<u8>),
    End(StreamId),
    Relay(PeerId, Unit, Vec<u8>),
    RelayFailed(PeerId, Failure),
    Closed(CloseReason),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Verify(verify) => Got::Verify(verify),
            Event::Admission(admission) => Got::Admission(admission),
            Event::Welcome { id, .. } => Got::Welcome(id),
            Event::Refused(why) => Got::Refused(why),
            Event::Open { id, name } => Got::Open(id, name),
            Event::Opened { id, result } => Got::Opened(id, result),
            Event::Left(id) => Got::Left(id),
            Event::Find { query, find } => Got::Find(query, find),
            Event::Found { query, peer } => Got::Found(query, peer),
            Event::Peer(info) => Got::Peer(info),
            Event::Message { envelope, bytes } => Got::Message(envelope, bytes.to_vec()),
            Event::Failed { envelope, failure } => Got::Failed(envelope, failure),
            Event::Begin { stream, envelope, .. } => Got::Begin(stream, envelope),
            Event::Chunk { stream, bytes } => Got::Chunk(stream, bytes.to_vec()),
            Event::End(stream) => Got::End(stream),
            Event::Relay { peer, unit, bytes } => Got::Relay(peer, unit, bytes.to_vec()),
            Event::RelayFailed { peer, failure } => Got::RelayFailed(peer, failure),
            Event::Closed(why) => Got::Closed(why),
            // A pre-shared key is named only by a prelude that was altered: without an answer the handshake ends.
            Event::PskWanted(_) | Event::Handled | Event::Credit(_) => Got::Nothing,
            other => panic!("nobody does that here: {other:?}"),
        }
    }
}

pub struct End<K: Crypto> {
    pub conn: Connection<K>,
    rx: RxBuf<Vec<u8>>,
    pub tx: TxBuf<Vec<u8>>,
    pub link: u32,
    pub side: usize,
    /// Why it has failed.
    pub failed: Option<Error>,
    /// The other side has closed or refused: no event may follow.
    pub deaf: bool,
    /// Bytes that have left, and decisions about time that were taken.
    pub written: u64,
    /// When it is let go although not everything could be written.
    pub until: Option<u64>,
}

impl<K: Crypto> End<K> {
    pub fn new(
        conn: Connection<K>,
        limits: Limits,
        transmit: usize,
        link: u32,
        side: usize,
    ) -> Self {
        let rx = RxBuf::new(vec![0; usize::from(limits.record) + 2]);
        let (tx, failed) = (TxBuf::new(vec![0; transmit]), None);
        End { conn, rx, tx, link, side, failed, deaf: false, written: 0, until: None }
    }

    /// An end that failed for a reason that nobody has given it is a defect.
    pub fn fails(&mut self, why: Error, sh: &mut Shared) {
        // Behind much on a slow link, a close and its answer may take longer than anybody waits.
        let rough = sh.rough || sh.links.values().any(|link| link.is_slow());
        let link = sh.link(self.link);
        let may = match why {
            _ if link.altered => true,
            Error::Truncated | Error::Silent | Error::HandshakeTimeout => link.faulty,
            // A server may hold up reading for somebody else's sake.
            Error::CloseTimeout => rough || link.faulty,
            _ => false,
        };
        assert!(may, "an end of link {} failed: {why}", self.link);
        sh.note("fails", self.link.into(), self.side as u64);
        self.failed = self.failed.or(Some(why));
    }

    /// The next event, reading as much as that takes. `None`: there is nothing more to read now.
    pub fn next(&mut self, env: &Env<'_>, sh: &mut Shared) -> Option<Got> {
        loop {
            if !self.reads() {
                return None;
            }
            match self.conn.receive(&mut self.rx.lend(), env).map(|event| event.map(Got::from)) {
                Ok(Some(got)) => {
                    assert!(!self.deaf || matches!(got, Got::Nothing), "heard behind a close");
                    self.deaf |= matches!(got, Got::Closed(_) | Got::Refused(_));
                    return Some(got);
                }
                Ok(None) => {}
                Err(why) => {
                    self.fails(why, sh);
                    let again = self.conn.receive(&mut self.rx.lend(), env);
                    let ended = matches!(again, Err(Error::Ended));
                    assert!(ended || !self.conn.is_over(), "it goes on after its end");
                    return None;
                }
            }
            self.push(env, sh);
            if !self.reads() {
                return None;
            }
            let (now, way) = (sh.now, 1 - self.side);
            let link = sh.links.get_mut(&self.link).unwrap();
            let n = link.read(way, self.rx.space(), now, &mut sh.chance);
            self.rx.filled(n);
            if n == 0 {
                if link.is_at_end(way, now)
                    && let Err(why) = self.conn.end_of_input()
                {
                    self.fails(why, sh);
                }
                return None;
            }
        }
    }

    /// Flushes and writes as long as there is room; says how many bytes that was.
    pub fn push(&mut self, env: &Env<'_>, sh: &mut Shared) -> usize {
        let mut all = 0;
        loop {
            if let Err(why) = self.conn.flush(&mut self.tx.lend(), env) {
                self.fails(why, sh);
            }
            let sealed = self.tx.sealed();
            if sealed.is_empty() {
                break;
            }
            let link = sh.links.get_mut(&self.link).unwrap();
            let n = link.write(self.side, sealed, sh.now, &mut sh.chance);
            self.tx.written(n);
            (all, self.written) = (all + n, self.written + n as u64);
            if n == 0 {
                break;
            }
        }
        sh.note("writes", self.link.into(), all as u64);
        if self.conn.is_over() && self.until.is_none() {
            self.until = Some(sh.now + 5_000);
        }
        all
    }

    /// Everything is said, or can no longer be.
    pub fn is_done(&self, now: u64) -> bool {
        let said = self.tx.sealed().is_empty();
        (self.conn.is_over() || self.failed.is_some())
            && (said || self.until.is_some_and(|at| at <= now))
    }

    pub fn reads(&self) -> bool {
        !self.conn.is_over() && self.failed.is_none()
    }

    pub fn is_over(&self) -> bool {
        self.conn.is_over()
    }

    pub fn is_blocked(&self) -> bool {
        !self.tx.sealed().is_empty()
    }

    pub fn deadline(&self) -> Option<u64> {
        let own = self.conn.deadline().map(|at| at.as_millis());
        if self.conn.is_over() { self.until } else { own }
    }

    /// Woken between two deadlines while nothing arrives, it has nothing to do.
    pub fn probe(&mut self, env: &Env<'_>) {
        if self.is_blocked() || self.conn.is_over() {
            return;
        }
        let before = self.conn.deadline();
        assert_eq!(self.conn.flush(&mut self.tx.lend(), env), Ok(()), "failed before its deadline");
        assert!(self.tx.sealed().is_empty(), "something was due before the deadline {before:?}");
        assert_eq!(self.conn.deadline(), before, "the deadline moves by itself");
    }
}
