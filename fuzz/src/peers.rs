//! `peers`: two or three clients with sessions of their own, through a server that does what it likes with their units. Nothing
//! is delivered twice, altered, out of order or as somebody else's; and once the server is honest again, all come to rest,
//! have sessions and hear each other.

mod ledger;
mod world;

use pysock_proto::{CloseReason, Env, Kind, Limits, Unit, peer::Acquaintance};

use self::world::{Parcel, World};
use crate::input::Input;

/// Operations of the clients and of the server.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let n = 2 + input.below(2);
    let limits = Limits {
        record: input.pick(&[256, 512, 1_024]),
        idle_secs: u16::MAX,
        window: input.pick(&[512, 4_096]),
        streams: input.below(5) as u8,
        ..Limits::DESKTOP
    };
    let mut game = Game { world: World::new(n, limits), transit: vec![] };
    if input.flag() {
        for a in 0..n {
            for b in a + 1..n {
                game.world.calls(a, b, Acquaintance::New);
                game.world.settle();
            }
        }
    }
    // Later ones would only repeat what the earlier ones did, and take their time.
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        game.step(&mut input);
    }
    game.world.heals();
}

struct Game {
    world: World,
    transit: Vec<Parcel>,
}

impl Game {
    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let who = input.byte();
        let n = self.world.clients.len();
        let a = usize::from(who) % n;
        let b = (a + 1 + usize::from(who >> 4) % (n - 1)) % n;
        match op % 24 {
            0..=3 => self.world.sends(a, b, usize::from(input.byte()) * 3),
            4 => self.world.begins(a, b, usize::from(input.byte()) * 12, input.flag()),
            5 | 6 => self.world.goes_on(a, b),
            7..=10 => {
                let parcels = self.world.collect(a);
                self.transit.extend(parcels);
            }
            11..=14 => {
                for _ in 0..=input.below(6) {
                    if !self.transit.is_empty() {
                        let first = self.transit.remove(0);
                        self.world.deliver(&first);
                    }
                }
            }
            15 | 16 => self.mischief(input),
            17 => {
                let jumps = [50, 130, 1_000, 4_000, 70_000, 3_700_000];
                self.world.later(input.pick(&jumps));
            }
            18 => self.world.calls(a, b, Acquaintance::Known),
            19 => self.world.calls(a, b, Acquaintance::New),
            20 => {
                // What the server makes up itself.
                let unit = if input.flag() { Unit::Handshake } else { Unit::Record };
                let n = input.below(64);
                let bytes = input.bytes(n).to_vec();
                self.world.deliver(&Parcel { from: a, to: b, unit, bytes });
            }
            21 => self.world.reconnects(a),
            22 => self.world.restarts(a),
            _ => {
                let key = self.world.clients[b].info.key;
                let client = &mut self.world.clients[a];
                let env = Env { now: client.end.now, identity: &client.end.key };
                client.peers.close(&key, CloseReason::Done, &env);
            }
        }
        self.transit.truncate(200);
    }

    /// What the server makes of a unit on its way, or of one that it has kept.
    fn mischief(&mut self, input: &mut Input<'_>) {
        let (what, at, how) = (input.below(8), usize::from(input.byte()), input.byte());
        if self.transit.is_empty() {
            return;
        }
        let at = at % self.transit.len();
        let mut parcel = self.transit.remove(at);
        match what {
            0 => return,
            1 => self.world.deliver(&parcel.clone()),
            2 => return self.transit.push(parcel),
            3 => {
                let at = usize::from(how >> 3) * 5 % parcel.bytes.len().max(1);
                if let Some(byte) = parcel.bytes.get_mut(at) {
                    *byte ^= 1 << (how & 7);
                }
            }
            4 => parcel.bytes.truncate(usize::from(how)),
            5 => (parcel.from, parcel.to) = (parcel.to, parcel.from),
            6 => parcel.from = usize::from(how) % self.world.clients.len(),
            _ => {
                let kept = &self.world.seen;
                let old = kept[usize::from(how) % kept.len()].clone();
                self.world.deliver(&old);
            }
        }
        self.world.deliver(&parcel);
    }
}

/// A message of the game.
const KIND: Kind = Kind::Message;
