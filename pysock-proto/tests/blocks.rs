//! Blocks are a faster way to the same: what is sent as one is byte for byte what its messages are one by one, and what is
//! taken as one is what `receive` gives one event for each.

mod sim;

use pysock_proto::{
    Block, ChannelId, Env, Envelope, Event, Kind, Limits, Party, PeerId, RequestId, SendError,
};
use sim::{End, Setup, chance::Chance};

/// What has arrived: which way, and what.
type Heard = Vec<(Envelope, Vec<u8>)>;

fn setup() -> Setup {
    let limits = Limits { record: 600, ..Limits::DESKTOP };
    Setup { client_limits: limits, server_limits: limits, transmit: 4_000, ..Setup::default() }
}

fn way(chance: &mut Chance) -> Envelope {
    let party = match chance.below(3) {
        0 => Party::Server,
        1 => Party::Everyone,
        _ => Party::Peer(PeerId(chance.below(2) as u32 + 1)),
    };
    let kind = match chance.below(5) {
        0 => Kind::Request(RequestId(chance.below(3) as u32)),
        _ => Kind::Message,
    };
    Envelope { channel: ChannelId(chance.below(2) as u16), party, kind }
}

/// The messages as a block, whose header bytes stand for nothing.
fn packed(header: usize, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![];
    for message in messages {
        let (start, len) = Block::begin(header, message).unwrap();
        bytes.extend_from_slice(&start[..len]);
        bytes.extend_from_slice(message);
    }
    bytes
}

/// Sends them one by one, and gives what goes to the other side.
fn one_by_one(end: &mut End, envelope: &Envelope, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = vec![];
    for message in messages {
        while let Err(error) = end.conn.send(&mut end.tx.lend(), envelope, message) {
            assert!(matches!(error, SendError::Full(_)), "{error}");
            wire.extend(end.flushed().unwrap());
        }
    }
    wire
}

/// Sends them as a block.
fn as_block(end: &mut End, envelope: &Envelope, bytes: &[u8], header: usize) -> Vec<u8> {
    let (mut wire, mut rest) = (vec![], Block::new(bytes, header));
    loop {
        let (sent, result) = end.conn.send_block(&mut end.tx.lend(), envelope, rest);
        rest = rest.skip(sent);
        match result {
            Ok(()) => return wire,
            Err(SendError::Full(_)) => wire.extend(end.flushed().unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Feeds bytes; takes blocks where there are any, if `blocks`.
fn receive(end: &mut End, mut wire: &[u8], blocks: bool) -> Heard {
    let mut heard = vec![];
    while !wire.is_empty() {
        let space = end.rx.space();
        let n = wire.len().min(space.len());
        space[..n].copy_from_slice(&wire[..n]);
        wire = &wire[n..];
        end.rx.filled(n);
        let env = Env { now: end.now, identity: &end.key };
        let mut rx = end.rx.lend();
        while let Some(event) = end.conn.receive(&mut rx, &env).unwrap() {
            let Event::Message { envelope, bytes } = event else { continue };
            heard.push((envelope, bytes.to_vec()));
            if blocks {
                let (block, count) = end.conn.receive_block(&mut rx, &envelope).unwrap();
                assert_eq!(block.iter().count(), count);
                heard.extend(block.iter().map(|message| (envelope, message.to_vec())));
            }
        }
    }
    heard
}

#[test]
fn a_block_is_its_messages_to_the_byte_and_to_the_event() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let (mut plain, mut blocks) = (setup().open(), setup().open());
        let mut expected = vec![];
        let (mut wires, mut longest) = ((vec![], vec![]), 0);
        for _ in 0..30 {
            let envelope = way(&mut chance);
            let count = [0, 1, 3, 40][chance.below(4)];
            let messages: Vec<Vec<u8>> =
                (0..count).map(|n| vec![n as u8; chance.below(200)]).collect();
            longest = longest.max(count);
            // Not always the header that fits: then it is slower, and the same.
            let header =
                if chance.one_in(4) { chance.below(11) } else { Block::header_of(&envelope) };
            let bytes = packed(header, &messages);
            wires.0.extend(one_by_one(&mut plain.0, &envelope, &messages));
            wires.1.extend(as_block(&mut blocks.0, &envelope, &bytes, header));
            if chance.one_in(3) {
                wires.0.extend(plain.0.flushed().unwrap());
                wires.1.extend(blocks.0.flushed().unwrap());
            }
            expected.extend(messages.into_iter().map(|message| (envelope, message)));
        }
        wires.0.extend(plain.0.flushed().unwrap());
        wires.1.extend(blocks.0.flushed().unwrap());
        assert!(longest > 1 && wires.0 == wires.1, "seed {seed}: other bytes");
        assert_eq!(receive(&mut plain.1, &wires.0, false), expected, "seed {seed}");
        assert_eq!(receive(&mut blocks.1, &wires.1, true), expected, "seed {seed}");
    }
}

#[test]
fn nothing_is_taken_as_a_block_that_receive_would_not_give() {
    let (mut client, mut server) = setup().open();
    let everyone = Envelope { party: Party::Everyone, ..sim::to_server(0) };
    for _ in 0..3 {
        server.conn.send(&mut server.tx.lend(), &everyone, b"to everyone").unwrap();
    }
    let wire = server.flushed().unwrap();
    client.rx.space()[..wire.len()].copy_from_slice(&wire);
    client.rx.filled(wire.len());
    let env = Env { now: client.now, identity: &client.key };
    let mut rx = client.rx.lend();
    // A source is never everyone: whoever asks for such frames gets none, and `receive` says what is wrong.
    assert_eq!(client.conn.receive_block(&mut rx, &everyone).unwrap().1, 0);
    assert!(client.conn.receive(&mut rx, &env).is_err());
    assert_eq!(client.conn.receive_block(&mut rx, &everyone).unwrap().1, 0, "it is over");
}

#[test]
fn a_block_of_any_bytes_is_read_and_sent_without_harm() {
    for seed in 0..2_000 {
        let mut chance = Chance(seed);
        let bytes: Vec<u8> = (0..chance.below(80))
            .map(|_| [0, 0, 0, 1, 2, 9, chance.next() as u8][chance.below(7)])
            .collect();
        let header = chance.below(12);
        let block = Block::new(&bytes, header);
        let messages: Vec<&[u8]> = block.iter().collect();
        assert_eq!(block.skip(messages.len()).iter().count(), 0);
        assert!(messages.iter().map(|m| m.len() + header + 3).sum::<usize>() <= bytes.len());
    }
    assert!(Block::begin(11, b"").is_none(), "no envelope is so long");
    assert!(Block::begin(2, &[0; 65_534]).is_none());
}
