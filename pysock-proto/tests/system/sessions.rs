//! A client's sessions with others, of which the ledger keeps account.

use pysock_proto::{
    CloseReason, Env, Instant, Kind, PeerInfo, PublicKey, SendError, Unit,
    crypto::Crypto,
    peer::{Acquaintance, PeerEvent},
};

use super::{Shared, client::Client};
use crate::sim::peers::Heard;

impl<K: Crypto> Client<K> {
    fn now_env(&self, sh: &Shared) -> Env<'_> {
        Env { now: Instant::from_millis(sh.now), identity: &self.key }
    }

    /// What the sessions have to say without anything having arrived.
    pub fn poll(&mut self, sh: &mut Shared) {
        while let Some((key, event)) = self.peers.poll(Instant::from_millis(sh.now)) {
            self.hear(&key, event, sh);
        }
    }

    /// A unit has arrived.
    pub fn session(&mut self, from: &PeerInfo, unit: Unit, bytes: &mut [u8], sh: &mut Shared) {
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        let mut incoming = self.peers.receive(from, unit, bytes, &env);
        while let Some(event) = self.peers.next(&mut incoming) {
            self.hear(&from.key, event, sh);
        }
    }

    fn hear(&mut self, key: &PublicKey, event: PeerEvent<'_>, sh: &mut Shared) {
        let from = sh.client(key);
        let by = Instant::from_millis(sh.now + 3_000);
        let mut piece = None;
        let heard = match event {
            PeerEvent::Greeting(greeting) => {
                let proven = greeting.is_proven();
                let e = self.ephemeral();
                self.peers.answer(greeting, e, by).unwrap();
                Heard::Greeted { proven }
            }
            PeerEvent::Verify(verify) => {
                let (proven, env) = (*verify.key(), self.now_env(sh));
                assert_eq!(proven, *key);
                let env = Env { identity: &super::client::keypair::<K>(self.at), ..env };
                self.peers.accept(verify, &env).unwrap();
                Heard::Verify(proven)
            }
            PeerEvent::Offered(key) => Heard::Offered(key),
            PeerEvent::Open { fresh } => {
                // Only now, as a program does that keeps keys of those with whom it has had a session.
                self.accepted.insert(from);
                self.shut.remove(&from);
                Heard::Open { fresh }
            }
            PeerEvent::Wanted => {
                let id = self.peers.get(key).unwrap().id().unwrap();
                self.begin(&PeerInfo { id, key: *key, name: sh.name(from) }, from, sh);
                Heard::Wanted
            }
            PeerEvent::Patience => Heard::Patience,
            PeerEvent::Failed(why) => Heard::Failed(why),
            PeerEvent::OtherKey(key) => Heard::OtherKey(key),
            PeerEvent::Message { channel, kind, bytes } => {
                assert!(!self.shut.contains(&from), "{} hears {from} behind its close", self.at);
                Heard::Message(channel, kind, bytes.to_vec())
            }
            PeerEvent::Begin { stream, .. } => Heard::Stream(format!("Begin {stream:?}")),
            PeerEvent::Chunk { stream, bytes } => {
                piece = Some(bytes.to_vec());
                self.peers.consumed(key, stream, bytes.len());
                Heard::Stream(format!("Chunk {stream:?}"))
            }
            PeerEvent::End(stream) => Heard::Stream(format!("End {stream:?}")),
            PeerEvent::Aborted { stream, .. } => Heard::Stream(format!("Aborted {stream:?}")),
            PeerEvent::Credit(stream) => Heard::Stream(format!("Credit {stream:?}")),
            PeerEvent::Reset => Heard::Reset,
            PeerEvent::Lost(n) => Heard::Lost(n),
            PeerEvent::Undelivered(n) => Heard::Undelivered(n),
            PeerEvent::Unknown(n) => Heard::Unknown(n),
            PeerEvent::Closed(why) => {
                self.shut.insert(from);
                Heard::Closed(why)
            }
            PeerEvent::Unanswered => {
                self.shut.insert(from);
                Heard::Unanswered
            }
            other => panic!("nobody does that here: {other:?}"),
        };
        self.ledger(from, heard, piece, sh);
    }

    pub fn ledger(&mut self, from: usize, heard: Heard, piece: Option<Vec<u8>>, sh: &mut Shared) {
        let what = match &heard {
            Heard::Message(..) => 1,
            Heard::Open { .. } => 2,
            Heard::Stream(_) => 3,
            Heard::Lost(_) => 4,
            Heard::Undelivered(_) => 5,
            Heard::Unknown(_) => 6,
            _ => 0,
        };
        sh.count[what] += 1;
        sh.note("heard", (self.at * 100 + from) as u64, what as u64);
        if sh.verbose {
            eprintln!("         {} of {from}: {heard:.60?}", self.at);
        }
        sh.ledger.hear(self.at, from, heard, piece);
        assert!(self.peers.sessions().len() <= self.friends.len(), "sessions with strangers");
    }

    fn begin(&mut self, peer: &PeerInfo, other: usize, sh: &Shared) {
        let how = match self.accepted.contains(&other) {
            true => Acquaintance::Known,
            false => Acquaintance::New,
        };
        let (e, by) = (self.ephemeral(), Instant::from_millis(sh.now + 3_000));
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        // There may be one under way, or no room just now; then it is wanted again.
        let _ = self.peers.handshake(peer, how, e, by, &env);
    }

    pub fn is_open(&self, other: usize, sh: &Shared) -> bool {
        self.peers.get(&sh.keys[other]).is_some_and(|peer| peer.is_open())
    }

    /// Looks that there is a session with a friend, or will be.
    pub fn befriend(&mut self, other: usize, sh: &Shared) {
        if !self.welcome || self.is_open(other, sh) {
            return;
        }
        let known = self.peers.get(&sh.keys[other]);
        match self.found.get(&other).copied() {
            Some(info) if known.is_none() => {
                self.begin(&info, other, sh);
                // Its number may be another one by now.
                self.found.remove(&other);
            }
            _ => self.look_for(other, sh),
        }
    }

    /// A handshake that nothing needs: what is under way goes on in another session.
    pub fn renew(&mut self, other: usize, sh: &Shared) {
        let id = self.peers.get(&sh.keys[other]).filter(|peer| peer.is_open()).and_then(|p| p.id());
        if let Some(id) = id {
            self.begin(&PeerInfo { id, key: sh.keys[other], name: sh.name(other) }, other, sh);
        }
    }

    pub fn say_to(&mut self, other: usize, len: usize, sh: &mut Shared) {
        let Some(end) = &mut self.end else { return };
        let was_open = self.peers.get(&sh.keys[other]).is_some_and(|peer| peer.is_open());
        let (sender, message) = sh.ledger.message(self.at, other, len);
        let tx = &mut end.tx.lend();
        let to = end.conn.to_peer(tx, &mut self.peers, &sh.keys[other]);
        match to.and_then(|mut to| to.send(0, Kind::Message, &message)) {
            Ok(()) => {
                assert!(was_open);
                sender.sent += 1;
            }
            Err(SendError::NotOpen | SendError::Full(_) | SendError::TooLong(_)) => {}
            Err(why) => panic!("{why}"),
        }
    }

    pub fn stream_to(&mut self, other: usize, len: usize, sh: &mut Shared) {
        let Some(end) = &mut self.end else { return };
        let (sender, message) = sh.ledger.message(self.at, other, len);
        let tx = &mut end.tx.lend();
        let to = end.conn.to_peer(tx, &mut self.peers, &sh.keys[other]);
        match to.and_then(|mut to| to.begin(0, Kind::Message, Some(message.len() as u64))) {
            Ok(stream) => {
                sender.sent += 1;
                sender.streams.push((stream, message, 0));
            }
            Err(SendError::NotOpen | SendError::Full(_) | SendError::Streams) => {}
            Err(why) => panic!("{why}"),
        }
    }

    /// What has begun goes on.
    pub fn go_on(&mut self, other: usize, sh: &mut Shared) {
        let Some(end) = &mut self.end else { return };
        let sender = sh.ledger.sender(self.at, other);
        sender.streams.retain_mut(|(stream, message, at)| {
            let tx = &mut end.tx.lend();
            let to = end.conn.to_peer(tx, &mut self.peers, &sh.keys[other]);
            let Ok(mut to) = to else { return true };
            while *at < message.len() {
                match to.chunk(*stream, &message[*at..]) {
                    Ok(n) => *at += n,
                    Err(SendError::NoCredit | SendError::Full(_) | SendError::NotOpen) => {
                        return true;
                    }
                    Err(why) => panic!("{why}"),
                }
            }
            to.end(*stream).is_err()
        });
    }

    pub fn close_session(&mut self, other: usize, sh: &mut Shared) {
        let env = Env { now: Instant::from_millis(sh.now), identity: &self.key };
        self.peers.close(&sh.keys[other], CloseReason::Done, &env);
        if let Some(end) = &mut self.end {
            let tx = &mut end.tx.lend();
            let closed = end.conn.to_peer(tx, &mut self.peers, &sh.keys[other]);
            assert!(
                matches!(closed, Err(SendError::NotOpen)),
                "sends in a session that it has closed"
            );
        }
    }
}
