//! `frames`: an open connection gets frames that a fuzzer makes up, with every seal right. Each kind is reached in each
//! state, while this side sends, streams, asks and answers too. What it may hear, and how much it may owe, is in [`Watch`].

pub mod script;
mod watch;

use pysock_proto::{
    ChannelId, CloseReason, Envelope, Error, Failure, Find, Kind, Limits, MIN_TRANSMIT, Party,
    PeerId, PeerInfo, PublicKey, RequestId, StreamId,
};

use self::{
    script::{Move, Script},
    watch::Watch,
};
use crate::{
    crypto::Null,
    end::{End, Setup, name},
    input::Input,
};

/// What a connection may have to write without having been told to: two records, for what joins one and for the rest.
const OWED: usize = MIN_TRANSMIT - 256 + 2 * 18;

/// Limits worth trying: few streams or many, a small window, records of any length.
pub fn limits(input: &mut Input<'_>) -> Limits {
    Limits {
        record: input.pick(&[256, 512, 2_000]),
        streams: input.below(5) as u8,
        window: input.pick(&[256, 300, 1_024]),
        idle_secs: input.pick(&[1, 60]),
        peers: 4,
    }
}

/// Frames to a connection that is open.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let is_server = input.flag();
    let setup = Setup {
        client: limits(&mut input),
        server: limits(&mut input),
        transmit: 4_096,
        ..Setup::new(Limits::SMALL)
    };
    let (client, server) = setup.open::<Null>();
    let mut end = if is_server { server } else { client };
    let mut game = Game { watch: Watch::new(is_server, *end.conn.limits()), sent: false };
    let mut script = Script::new(input, usize::from(end.conn.limits().record));
    let mut result = Ok(());
    while let Some(step) = script.next() {
        result = match step {
            Move::Record(wire) => {
                let watch = &mut game.watch;
                end.feed(&wire, |event, _| watch.hears(&event))
            }
            Move::Later(millis) => {
                end.later(millis);
                Ok(())
            }
            Move::Act(what) => {
                game.acts(&mut end, what, &mut script.input);
                Ok(())
            }
            Move::Flush => game.flush(&mut end),
        };
        if result.is_err() || end.conn.is_over() {
            break;
        }
    }
    if result.is_ok() {
        result = game.flush(&mut end);
    }
    if result.is_err() {
        // Nothing is heard any more, and one word of farewell at most is said.
        let heard = end.feed(&[0; 40], |event, _| panic!("after an error: {event:?}"));
        assert!(matches!(heard, Ok(()) | Err(Error::Ended)), "{heard:?}");
        let word = end.flushed().unwrap_or_default();
        assert!(game.sent || word.len() <= OWED, "{} bytes of farewell", word.len());
        assert!(end.conn.is_over(), "an error has to end it");
    }
    if end.conn.is_over() {
        end.assert_stays_over();
    }
}

struct Game {
    watch: Watch,
    /// This side has put something into the buffer since the last flush.
    sent: bool,
}

impl Game {
    fn flush(&mut self, end: &mut End<Null>) -> Result<(), Error> {
        let written = end.flushed()?.len();
        assert!(self.sent || written <= OWED, "{written} bytes were owed");
        self.sent = false;
        if let Some(deadline) = end.conn.deadline() {
            assert!(deadline > end.now, "a deadline that a flush does not move");
        }
        Ok(())
    }

    /// One of the things that a program does with an open connection.
    fn acts(&mut self, end: &mut End<Null>, what: u8, input: &mut Input<'_>) {
        let arg = input.byte();
        let stream = StreamId(arg & 7);
        let envelope = Envelope {
            channel: ChannelId(u16::from(arg & 3)),
            party: [Party::Server, Party::Everyone, Party::Peer(PeerId(5))][usize::from(arg) % 3],
            kind: [Kind::Message, Kind::Request(RequestId(9)), Kind::Reply(RequestId(9))]
                [usize::from(arg / 16) % 3],
        };
        let info = PeerInfo { id: PeerId(arg.into()), key: PublicKey([arg; 32]), name: name("p") };
        let (conn, mut tx) = (&mut end.conn, end.tx.lend());
        let bytes = [arg; 300];
        let bytes = &bytes[..usize::from(arg)];
        let watch = &mut self.watch;
        // Misuse is part of the game: what is refused changes nothing.
        let sent = match what % 16 {
            0 => conn.send(&mut tx, &envelope, bytes).is_ok(),
            1 => {
                let length = (arg & 1 == 1).then_some(u64::from(arg));
                let begun = conn.begin(&mut tx, &envelope, length);
                begun.is_ok_and(|stream| watch.sends(stream))
            }
            2 => conn.chunk(&mut tx, stream, bytes).is_ok(),
            3 => conn.end(&mut tx, stream).is_ok_and(|()| watch.sent(stream)),
            4 => {
                let aborted = conn.abort(&mut tx, stream, Failure::TooLarge);
                aborted.is_ok_and(|()| watch.sent(stream))
            }
            5 => {
                let n = watch.consumes(stream, usize::from(input.byte()) * 4);
                conn.consumed(stream, n);
                false
            }
            6 => {
                conn.stop(stream, Failure::TooLarge);
                watch.stops(stream, conn.is_open());
                false
            }
            7 => {
                let asked = conn.open_channel(&mut tx, &"a/b".parse().expect("a channel"));
                asked.is_ok_and(|_| watch.asks())
            }
            8 => {
                let asked = conn.find(&mut tx, 3, &Find::Name(name("swat")));
                asked.is_ok_and(|()| watch.asks())
            }
            9 => {
                let result = if arg & 1 == 0 { Ok(()) } else { Err(Failure::NoChannel) };
                let answered = conn.answer_open(&mut tx, ChannelId(0), result);
                answered.is_ok_and(|()| watch.answers())
            }
            10 => {
                let answered = conn.answer_find(&mut tx, 3, (arg & 1 == 0).then_some(&info));
                answered.is_ok_and(|()| watch.answers())
            }
            11 => conn.announce(&mut tx, &info).is_ok(),
            12 => {
                let unit = pysock_proto::Unit::Record;
                conn.relay(&mut tx, PeerId(arg.into()), unit, bytes).is_ok()
            }
            13 => conn.send_failed(&mut tx, &envelope, Failure::NotOnChannel).is_ok(),
            14 => conn.leave_channel(&mut tx, ChannelId(arg.into())).is_ok(),
            _ => {
                conn.close(CloseReason::Done);
                assert!(!conn.is_open(), "what is closing takes nothing more");
                false
            }
        };
        assert!(!sent || end.conn.is_open(), "sent through what is not open");
        self.sent |= sent;
    }
}
