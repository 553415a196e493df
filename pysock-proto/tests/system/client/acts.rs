//! What a client does outside of sessions when its turn comes.

use std::collections::BTreeSet;

use pysock_proto::{
    ChannelId, CloseReason, Envelope, Find, Kind, Party, RequestId, SendError, crypto::Crypto,
};

use super::{CHANNELS, Client, EVERYONE, SERVER, Shared};

impl<K: Crypto> Client<K> {
    fn place(&self, sh: &mut Shared) -> Option<(ChannelId, usize)> {
        let on: Vec<_> =
            (0..self.channels.len()).filter(|c| self.channels[*c].1 == Some(true)).collect();
        let held = |c: &usize| !self.streams.iter().any(|(_, on, ..)| usize::from(on.0) == *c);
        let on: Vec<_> = on.into_iter().filter(held).collect();
        let c = *on.get(sh.chance.below(on.len().max(1)))?;
        Some((ChannelId(c as u16), self.channels[c].0))
    }

    /// Something outside of sessions.
    pub fn act(&mut self, sh: &mut Shared) {
        if !self.welcome || self.closing {
            return;
        }
        if !self.end.as_ref().is_some_and(|end| end.conn.is_open()) {
            return;
        }
        match sh.chance.below(20) {
            0 => self.open(sh),
            1 if sh.chance.one_in(4) => {
                let Some((id, which)) = self.place(sh) else { return };
                // Only once nobody is asked there.
                if self.requests.values().any(|(_, on)| *on == id) {
                    return;
                }
                let end = self.end.as_mut().unwrap();
                if end.conn.leave_channel(&mut end.tx.lend(), id).is_ok() {
                    self.channels[usize::from(id.0)].1 = Some(false);
                    sh.presence[self.at].1[which] = false;
                    sh.accounts.left(self.at, which);
                }
            }
            2 | 3 => {
                let other = sh.chance.below(sh.n);
                self.look_for(other, sh);
            }
            4 => self.stream(sh),
            _ => self.say(sh),
        }
    }

    pub(super) fn open(&mut self, sh: &mut Shared) {
        let which = sh.chance.below(3);
        let Some(end) = &mut self.end else { return };
        let on = self.channels.iter().any(|(c, on)| *c == which && *on != Some(false));
        if on || self.questions >= 8 {
            return;
        }
        let name = CHANNELS[which].parse().unwrap();
        if end.conn.open_channel(&mut end.tx.lend(), &name).is_ok() {
            self.channels.push((which, None));
            self.questions += 1;
        }
    }

    pub fn look_for(&mut self, other: usize, sh: &Shared) {
        let Some(end) = &mut self.end else { return };
        if self.questions < 8 && self.welcome {
            let find = Find::Key(sh.keys[other]);
            if end.conn.find(&mut end.tx.lend(), other as u16, &find).is_ok() {
                self.questions += 1;
            }
        }
    }

    fn say(&mut self, sh: &mut Shared) {
        let Some((id, which)) = self.place(sh) else { return };
        let friend = sh.chance.below(sh.n);
        let (to, party) = match sh.chance.below(4) {
            0 => (SERVER, Party::Server),
            1 => (EVERYONE, Party::Everyone),
            _ => match self.found.get(&friend) {
                Some(info) => (friend, Party::Peer(info.id)),
                None => return,
            },
        };
        let asks = to != EVERYONE && to != self.at && sh.chance.one_in(3);
        let kind = if asks { Kind::Request(RequestId(self.next_request)) } else { Kind::Message };
        let len = sh.chance.below(150);
        let message = sh.accounts.message(self.at, to, which, len);
        let envelope = Envelope { channel: id, party, kind };
        let end = self.end.as_mut().unwrap();
        match end.conn.send(&mut end.tx.lend(), &envelope, &message) {
            Ok(()) => {}
            Err(SendError::Full(_)) => return,
            Err(why) => panic!("{why}"),
        }
        let link = end.link;
        let mut get: BTreeSet<usize> = match to {
            EVERYONE => (0..sh.n).filter(|c| *c != self.at && sh.present(*c, which)).collect(),
            SERVER => [SERVER].into(),
            // Who is not there gets nothing, and this side may hear so.
            one => [one].into_iter().filter(|one| sh.present(*one, which)).collect(),
        };
        if sh.is_cut(link) {
            get.clear();
        }
        sh.accounts.sent(self.at, which, get);
        if asks {
            self.requests.insert(self.next_request, (party, id));
            self.next_request += 1;
        }
    }

    fn stream(&mut self, sh: &mut Shared) {
        let Some((id, which)) = self.place(sh) else { return };
        let len = sh.chance.below(3_000);
        let declared = sh.chance.one_in(2);
        let message = sh.accounts.message(self.at, SERVER, which, len);
        let envelope = Envelope { channel: id, party: Party::Server, kind: Kind::Message };
        let end = self.end.as_mut().unwrap();
        let length = declared.then_some(message.len() as u64);
        let begun = end.conn.begin(&mut end.tx.lend(), &envelope, length);
        let Ok(stream) = begun else { return };
        let to: BTreeSet<_> = if sh.is_cut(end.link) { [].into() } else { [SERVER].into() };
        sh.accounts.sent(self.at, which, to);
        self.streams.push((stream, id, message, 0));
    }

    /// Closes its connection in peace; whatever it tries to send from now on is refused.
    pub fn close(&mut self, sh: &mut Shared) {
        let Some(end) = &mut self.end else { return };
        if end.conn.is_over() || self.closing {
            return;
        }
        end.conn.close(CloseReason::Done);
        self.closing = true;
        for (_, _, text, _) in std::mem::take(&mut self.streams) {
            // It has no end: it is no message.
            sh.accounts.gives_up(self.at, &text, SERVER, false);
        }
        sh.accounts.closes(self.at);
        sh.presence[self.at] = (None, [false; 3]);
        let envelope =
            Envelope { channel: ChannelId(0), party: Party::Server, kind: Kind::Message };
        let sent = end.conn.send(&mut end.tx.lend(), &envelope, b"too late");
        assert_eq!(sent, Err(SendError::NotOpen));
    }
}
