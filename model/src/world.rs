//! Two clients and a server that passes on what it likes. Each action is one step of somebody, and what one step leads
//! to is always the same: so a list of actions is a state.

use std::collections::VecDeque;

use pysock_proto::{Instant, PeerId, PeerInfo, Unit, crypto::Crypto};

use crate::{
    client::{Client, Heard},
    ledger::Ledger,
    rules::Rules,
};

/// What the server has for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parcel {
    /// A unit, with its stamp, for this number.
    Unit(PeerInfo, PeerId, Unit, Vec<u8>),
    /// The other client is at this number now.
    Named(PeerInfo),
    /// What was for this number could not be passed on.
    Failed(PeerId),
}

/// One step. The number is a client's: whose step it is, or whom a parcel is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Action {
    /// The program wants a session, or a new one.
    Open(usize),
    /// The program sends a message.
    Send(usize),
    /// The program closes the session.
    Close(usize),
    /// The first parcel arrives.
    Deliver(usize),
    /// The first parcel is lost.
    Drop(usize),
    /// The first parcel arrives, and the server keeps a copy.
    Copy(usize),
    /// The server keeps the first parcel back.
    Hold(usize),
    /// What the server has kept arrives.
    Release(usize, usize),
    /// The program starts anew. Whether what the server has for it is for the new connection, too.
    Restart(usize, bool),
    /// The client has another connection. Likewise.
    Reconnect(usize, bool),
    /// Time passes until the next deadline of either.
    Tick,
}

/// What both sides are left with when nothing more can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Each hears what the other says.
    Same,
    /// Both know that there is no session.
    Nothing,
    /// Anything else.
    Differ,
}

pub(crate) struct World<C: Crypto> {
    pub(crate) clients: [Client<C>; 2],
    /// What is under way to each, in order.
    pub(crate) queues: [VecDeque<Parcel>; 2],
    /// What the server has kept for each.
    pub(crate) kept: [Vec<Parcel>; 2],
    pub(crate) now: Instant,
    /// Of what each sends.
    pub(crate) ledgers: [Ledger; 2],
    /// Clients have the same number on every connection, for their names are bound.
    bound: bool,
    /// A promise that was not kept.
    pub(crate) broken: Option<&'static str>,
    pub(crate) resumed: bool,
    /// Something was heard that nobody hears unless something is in the way.
    pub(crate) troubled: bool,
}

/// Deadlines that are farther off are those of sessions that work.
const SOON_MILLIS: u64 = 200_000;

impl<C: Crypto> World<C> {
    pub(crate) fn new(rules: Rules, bound: bool) -> Self {
        let now = Instant::from_millis(1_000_000);
        World {
            clients: [0, 1].map(|at| Client::new(at, rules, now)),
            queues: Default::default(),
            kept: Default::default(),
            now,
            ledgers: Default::default(),
            bound,
            broken: None,
            resumed: false,
            troubled: false,
        }
    }

    /// Takes a step. `false`: it is none.
    pub(crate) fn act(&mut self, action: Action) -> bool {
        let now = self.now;
        match action {
            Action::Open(at) => {
                if !self.clients[at].open(now) {
                    return false;
                }
                self.turn(at);
            }
            Action::Send(at) => return self.send(at),
            Action::Close(at) => {
                self.clients[at].close(now);
                self.turn(at);
            }
            Action::Deliver(to) | Action::Copy(to) => {
                let Some(parcel) = self.queues[to].pop_front() else { return false };
                if action == Action::Copy(to) {
                    self.kept[to].push(parcel.clone());
                }
                self.deliver(to, parcel);
            }
            Action::Drop(to) => return self.queues[to].pop_front().is_some(),
            Action::Hold(to) => {
                let Some(parcel) = self.queues[to].pop_front() else { return false };
                self.kept[to].push(parcel);
            }
            Action::Release(to, which) => {
                let parcel = self.kept[to].remove(which);
                self.deliver(to, parcel);
            }
            Action::Restart(at, keeps) => {
                self.ledgers[at].sender_restarts();
                self.ledgers[1 - at].receiver_restarts();
                let (id, other) = self.connects(at, keeps);
                self.clients[at].restart(id, &other, now);
                self.turn(at);
            }
            Action::Reconnect(at, keeps) => {
                let (id, other) = self.connects(at, keeps);
                self.clients[at].reconnect(id, &other, now);
                self.turn(at);
            }
            Action::Tick => return self.tick(),
        }
        true
    }

    fn send(&mut self, at: usize) -> bool {
        if !self.clients[at].is_open() {
            return false;
        }
        let text = self.ledgers[at].send(at);
        self.clients[at].send(&text, self.now);
        self.turn(at);
        true
    }

    /// A new connection: the client's number, and whom the server names to it.
    fn connects(&mut self, at: usize, keeps: bool) -> (PeerId, PeerInfo) {
        let own = self.clients[at].info;
        let id = if self.bound { own.id } else { PeerId(own.id.0 + 2) };
        // What the server itself had to say on the old connection is gone with it.
        self.queues[at].retain(|parcel| keeps && matches!(parcel, Parcel::Unit(..)));
        self.queues[1 - at].push_back(Parcel::Named(PeerInfo { id, ..own }));
        (id, self.clients[1 - at].info)
    }

    fn deliver(&mut self, to: usize, parcel: Parcel) {
        let now = self.now;
        let client = &mut self.clients[to];
        match parcel {
            Parcel::Unit(stamp, number, ..) if number != client.info.id => {
                // The sender may have another connection by now, too.
                if self.clients[1 - to].info.id == stamp.id {
                    self.queues[1 - to].push_back(Parcel::Failed(number));
                }
                return;
            }
            Parcel::Unit(stamp, _, unit, bytes) => client.receive(&stamp, unit, &bytes, now),
            Parcel::Named(other) => client.named(&other, now),
            Parcel::Failed(id) => client.unreachable(id, now),
        }
        self.turn(to);
    }

    /// A client does what it has to do, and what it says is under way.
    fn turn(&mut self, at: usize) {
        let units = self.clients[at].turn(self.now);
        let stamp = self.clients[at].info;
        let parcels =
            units.into_iter().map(|(to, unit, bytes)| Parcel::Unit(stamp, to, unit, bytes));
        self.queues[1 - at].extend(parcels);
        for heard in std::mem::take(&mut self.clients[at].heard) {
            let result = self.ledgers[at]
                .sender_hears(&heard)
                .and(self.ledgers[1 - at].receiver_hears(1 - at, &heard));
            self.broken = self.broken.or(result.err());
            match heard {
                Heard::Open { fresh: false } => self.resumed = true,
                Heard::Protocol => self.broken = Some("an honest client is taken to break a rule"),
                Heard::Wanted | Heard::Failed | Heard::Lost(_) => self.troubled = true,
                _ => {}
            }
        }
    }

    /// The next deadline that is not far off.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = self.clients.iter().filter_map(Client::deadline).min()?;
        (first.as_millis() < self.now.as_millis() + SOON_MILLIS).then_some(first)
    }

    fn tick(&mut self) -> bool {
        let Some(deadline) = self.deadline() else { return false };
        self.now = self.now.max(deadline);
        for at in [0, 1] {
            self.clients[at].wakes(self.now);
            self.turn(at);
        }
        if self.clients.iter().filter_map(Client::deadline).any(|at| at <= self.now) {
            self.broken = Some("a deadline that has passed is due again: it would never sleep");
        }
        true
    }

    /// Whether what comes next to a client is a unit: the server's own words it does not hold back.
    pub(crate) fn is_unit_next(&self, to: usize) -> bool {
        matches!(self.queues[to].front(), Some(Parcel::Unit(..)))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// An honest server from now on, and as much time as anybody wants.
    fn calm(&mut self) -> bool {
        for _ in 0..300 {
            for to in [0, 1] {
                while let Some(parcel) = self.queues[to].pop_front() {
                    self.deliver(to, parcel);
                }
            }
            if self.is_quiet() && !self.tick() {
                return true;
            }
        }
        self.broken = self.broken.or(Some("with an honest server they never come to rest"));
        false
    }

    /// Both say something as long as they believe that somebody hears it.
    pub(crate) fn settle(&mut self) -> End {
        for _ in 0..4 {
            if !self.calm() {
                return End::Differ;
            }
            let before = [0, 1].map(|at| self.ledgers[at].arrived());
            let said = [0, 1].map(|at| self.send(at));
            if !self.calm() {
                return End::Differ;
            }
            let heard = [0, 1].map(|at| self.ledgers[at].arrived() > before[at]);
            let end = match (said, heard) {
                ([true, true], [true, true]) => End::Same,
                ([false, false], _) if !self.clients.iter().any(Client::is_open) => End::Nothing,
                _ => continue,
            };
            let balance = self.ledgers[0].balance().and(self.ledgers[1].balance());
            self.broken = self.broken.or(balance.err());
            return end;
        }
        End::Differ
    }
}
