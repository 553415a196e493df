//! `chunking`: the pieces in which bytes arrive, and whether messages are taken one by one or in blocks, change nothing: not
//! the events, not the error, and during a handshake not the answers.

use pysock_proto::{Env, Error, Event, Limits};

use crate::{
    crypto::Null,
    end::{Decisions, End, Setup},
    frames::{
        limits,
        script::{Move, Script},
    },
    input::Input,
};

/// Everything that can be observed.
#[derive(Debug, PartialEq, Default)]
struct Seen {
    events: Vec<String>,
    error: Option<Error>,
    /// Of the handshake. An open connection packs what it owes as it comes.
    answers: Vec<u8>,
    over: bool,
}

/// The same to three ends: at once, in pieces, and in pieces with blocks.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let from_the_start = input.flag();
    let is_server = input.flag();
    let setup = Setup {
        client: limits(&mut input),
        server: limits(&mut input),
        transmit: 4_096,
        ..Setup::new(Limits::SMALL)
    };
    let cuts: Vec<usize> = (0..input.below(8)).map(|_| usize::from(input.byte())).collect();
    let end = || -> End<Null> {
        let (client, server) =
            if from_the_start { (setup.client(), setup.server()) } else { setup.open() };
        if is_server { server } else { client }
    };

    let mut wire = vec![];
    if from_the_start {
        // An honest beginning, as far as the input says, and then whatever it is.
        let (mut client, mut server) = (setup.client::<Null>(), setup.server::<Null>());
        let all = conversation(&mut client, &mut server, is_server);
        let honest = usize::from(input.word()).min(all.len());
        wire.extend(&all[..honest]);
        if input.flag() {
            wire.extend(input.rest());
        }
    }
    let limit = usize::from(if is_server { setup.server.record } else { setup.client.record });
    let records = Script::new(input, limit).filter_map(|step| match step {
        Move::Record(record) => Some(record),
        _ => None,
    });
    wire.extend(records.flatten());

    let whole = observe(end(), &wire, &[], false);
    let pieces = observe(end(), &wire, &cuts, false);
    assert_eq!(whole, pieces, "in pieces of {cuts:?}");
    let blocks = observe(end(), &wire, &cuts, true);
    assert_eq!(whole, blocks, "in blocks, in pieces of {cuts:?}");
}

/// What one side of an honest handshake hears.
fn conversation(client: &mut End<Null>, server: &mut End<Null>, to_server: bool) -> Vec<u8> {
    let decisions = Decisions::default();
    let mut heard = vec![];
    for _ in 0..3 {
        let flight = client.flushed().expect("an honest handshake");
        server.feed(&flight, |event, half| decisions.take(event, half)).expect("likewise");
        let reply = server.flushed().expect("likewise");
        client.feed(&reply, |event, half| decisions.take(event, half)).expect("likewise");
        heard.extend(if to_server { flight } else { reply });
    }
    heard
}

fn observe(mut end: End<Null>, wire: &[u8], cuts: &[usize], blocks: bool) -> Seen {
    let mut seen = Seen::default();
    let mut lengths = cuts.iter().copied().cycle();
    let mut rest = wire;
    while !rest.is_empty() && seen.error.is_none() && !end.conn.is_over() {
        let n = lengths.next().unwrap_or(usize::MAX).max(1).min(rest.len());
        let (piece, behind) = rest.split_at(n);
        rest = behind;
        seen.error = feed(&mut end, piece, blocks, &mut seen).err();
    }
    let _ = end.flush();
    seen.over = end.conn.is_over();
    seen
}

fn feed(end: &mut End<Null>, mut piece: &[u8], blocks: bool, seen: &mut Seen) -> Result<(), Error> {
    let decisions = Decisions::default();
    loop {
        let space = end.rx.space();
        let n = piece.len().min(space.len());
        space[..n].copy_from_slice(&piece[..n]);
        piece = &piece[n..];
        end.rx.filled(n);
        let env = Env { now: end.now, identity: &end.key };
        let mut rx = end.rx.lend();
        while let Some(event) = end.conn.receive(&mut rx, &env)? {
            let envelope = match &event {
                Event::Handled => continue,
                Event::Message { envelope, .. } => Some(*envelope),
                _ => None,
            };
            seen.events.push(format!("{event:?}"));
            let mut half = crate::end::Half { conn: &mut end.conn, tx: end.tx.lend(), env };
            decisions.take(event, &mut half);
            let Some(envelope) = envelope.filter(|_| blocks) else { continue };
            let (block, count) = end.conn.receive_block(&mut rx, &envelope)?;
            assert_eq!(block.iter().count(), count, "a block of another length than it says");
            for bytes in block.iter() {
                seen.events.push(format!("{:?}", Event::Message { envelope, bytes }));
            }
        }
        let mut answered = false;
        if !end.conn.is_open() {
            end.flush()?;
            let answer = end.wire();
            answered = !answer.is_empty();
            seen.answers.extend(answer);
        }
        // Behind an answer, what was there already is read on.
        if (piece.is_empty() && !answered) || end.conn.is_over() {
            return Ok(());
        }
        if piece.is_empty() || answered {
            continue;
        }
        assert!(!end.rx.space().is_empty(), "stuck with a full buffer");
    }
}
