//! Two pipes between a client and its server: bytes take their time, arrive in pieces of any size, stand still, are cut
//! off anywhere; and what one side learns of that the other need not learn.

use std::collections::VecDeque;

use crate::sim::chance::Chance;

/// From client to server, and back.
pub const UP: usize = 0;
pub const DOWN: usize = 1;

#[derive(Default)]
struct Pipe {
    /// When each piece arrives; never earlier than the one before it.
    flying: VecDeque<(u64, Vec<u8>)>,
    arrived: VecDeque<u8>,
    /// Nothing written from now on arrives; as much as the room takes is swallowed without a word.
    dead: bool,
    swallowed: usize,
    /// When the reader learns that nothing more comes.
    end: Option<u64>,
    /// The writer had more than there was room for.
    wants: bool,
}

pub struct Link {
    pipes: [Pipe; 2],
    room: usize,
    pub latency: u64,
    pub jitter: u64,
    still_until: u64,
    /// Something was done to it, so that its ends may fail.
    pub faulty: bool,
    /// Bytes were altered: its ends may fail in any way.
    pub altered: bool,
    /// Nothing arrives any more, in one direction at least.
    pub cut: bool,
    /// Which ends have let go of it.
    pub left: [bool; 2],
}

impl Pipe {
    fn len(&self) -> usize {
        self.flying.iter().map(|(_, piece)| piece.len()).sum::<usize>() + self.arrived.len()
    }

    fn cut(&mut self, chance: &mut Chance, end: Option<u64>) {
        if self.dead {
            self.end = self.end.or(end);
            return;
        }
        let flying = self.flying.iter().map(|(_, piece)| piece.len()).sum::<usize>();
        let mut keep = chance.below(flying + 1);
        for (_, piece) in &mut self.flying {
            piece.truncate(keep);
            keep -= piece.len();
        }
        self.flying.retain(|(_, piece)| !piece.is_empty());
        (self.dead, self.end) = (true, end);
    }
}

impl Link {
    pub fn new(chance: &mut Chance) -> Self {
        Link {
            pipes: Default::default(),
            room: [600, 2_000, 16_000][chance.below(3)],
            latency: chance.below(80) as u64,
            jitter: [1, 20, 200][chance.below(3)],
            still_until: 0,
            faulty: false,
            altered: false,
            cut: false,
            left: [false; 2],
        }
    }

    /// How much of it is on its way now.
    pub fn write(&mut self, way: usize, bytes: &[u8], now: u64, chance: &mut Chance) -> usize {
        let (latency, jitter) = (self.latency, self.jitter);
        let pipe = &mut self.pipes[way];
        let free = self.room.saturating_sub(pipe.len() + pipe.swallowed);
        let n = bytes.len().min(free);
        pipe.wants = n < bytes.len();
        if pipe.dead {
            pipe.swallowed += n;
            return n;
        }
        let mut rest = &bytes[..n];
        while !rest.is_empty() {
            let most = if chance.one_in(4) { rest.len().min(7) } else { rest.len() };
            let (piece, later) = rest.split_at(1 + chance.below(most));
            let at = now + latency + chance.below(jitter as usize) as u64;
            let at = pipe.flying.back().map_or(at, |(before, _)| at.max(*before));
            pipe.flying.push_back((at, piece.to_vec()));
            rest = later;
        }
        n
    }

    fn arrive(&mut self, way: usize, now: u64) {
        if now < self.still_until {
            return;
        }
        let pipe = &mut self.pipes[way];
        while pipe.flying.front().is_some_and(|(at, _)| *at <= now) {
            pipe.arrived.extend(pipe.flying.pop_front().unwrap().1);
        }
    }

    /// Reads at most what `to` takes, in any split.
    pub fn read(&mut self, way: usize, to: &mut [u8], now: u64, chance: &mut Chance) -> usize {
        self.arrive(way, now);
        let pipe = &mut self.pipes[way];
        let most = to.len().min(pipe.arrived.len());
        if most == 0 {
            return 0;
        }
        let n = if chance.one_in(3) { 1 + chance.below(most) } else { most };
        for (to, byte) in to.iter_mut().zip(pipe.arrived.drain(..n)) {
            *to = byte;
        }
        n
    }

    /// The writer can go on; says so once.
    pub fn takes_more(&mut self, way: usize) -> bool {
        let pipe = &mut self.pipes[way];
        let more = pipe.wants && pipe.len() + pipe.swallowed < self.room;
        pipe.wants &= !more;
        more
    }

    pub fn is_at_end(&self, way: usize, now: u64) -> bool {
        let pipe = &self.pipes[way];
        pipe.end.is_some_and(|at| at <= now) && pipe.len() == 0 && now >= self.still_until
    }

    /// When the reader has something to do next; `reads` is whether it takes bytes at all.
    pub fn next(&self, way: usize, reads: bool) -> Option<u64> {
        let pipe = &self.pipes[way];
        if !reads || self.left[1 - way] {
            return None;
        }
        let bytes =
            if pipe.arrived.is_empty() { pipe.flying.front().map(|(at, _)| *at) } else { Some(0) };
        let end = pipe.end.filter(|_| pipe.len() == 0);
        bytes.or(end).map(|at| at.max(self.still_until))
    }

    pub fn is_slow(&self) -> bool {
        self.room < 16_000
    }

    pub fn moves(&self, now: u64) -> bool {
        now >= self.still_until
    }

    pub fn stands_still(&mut self, until: u64) {
        self.still_until = self.still_until.max(until);
        self.faulty = true;
    }

    /// Both directions end at any byte; `told` says which reader learns of it.
    pub fn cut(&mut self, told: [bool; 2], now: u64, chance: &mut Chance) {
        (self.faulty, self.cut) = (true, true);
        for (pipe, told) in self.pipes.iter_mut().zip(told) {
            let at = now + self.latency + chance.below(self.jitter as usize) as u64;
            pipe.cut(chance, told.then_some(at));
        }
    }

    /// One end is done: what it has written still arrives, then the end; what the other writes vanishes.
    pub fn leave(&mut self, side: usize, now: u64) {
        self.left[side] = true;
        let pipe = &mut self.pipes[side];
        if !pipe.dead {
            (pipe.dead, pipe.end) = (true, Some(now + self.latency + self.jitter));
        }
        let other = &mut self.pipes[1 - side];
        other.dead = true;
        other.flying.clear();
        other.arrived.clear();
    }

    /// One bit of what is on its way becomes another; says whether there was anything.
    pub fn alter(&mut self, way: usize, chance: &mut Chance) -> bool {
        let pieces = &mut self.pipes[way].flying;
        if pieces.is_empty() {
            return false;
        }
        let at = chance.below(pieces.len());
        let piece = &mut pieces[at].1;
        let at = chance.below(piece.len());
        piece[at] ^= 1 << chance.below(8);
        (self.faulty, self.altered) = (true, true);
        true
    }
}
