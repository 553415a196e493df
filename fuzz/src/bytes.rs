//! `server_bytes` and `client_bytes`: whatever bytes arrive, and in whatever pieces, nothing panics or hangs, nobody gets in
//! who should not, and what is over stays over.
//!
//! With real primitives bytes die at the first tag; with none they get past every one of them, into all that a handshake
//! carries; with toys in between, a forged tag matters, and the fuzzer is fast.

use pysock_proto::{Crypto, Error, Event, Limits, Psk, RustCrypto, Suite};

use crate::{
    crypto::{Null, Toy},
    end::{Decisions, End, Setup},
    input::Input,
};

/// The bytes of a client that a server gets.
pub fn server(data: &[u8]) {
    run(data, true);
}

/// The bytes of a server that a client gets.
pub fn client(data: &[u8]) {
    run(data, false);
}

fn run(data: &[u8], to_server: bool) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => play::<RustCrypto>(&mut input, to_server, true),
        1 => play::<Null>(&mut input, to_server, false),
        _ => play::<Toy>(&mut input, to_server, true),
    }
}

/// What the victim has been asked.
#[derive(Default)]
struct Asked {
    verify: bool,
    psk: bool,
    admission: bool,
    /// The client at the door has proven a pre-shared key, as far as the primitives prove anything.
    with_psk: bool,
}

/// `proves`: a tag that fits says that its maker has the key.
fn play<C: Crypto>(input: &mut Input<'_>, to_server: bool, proves: bool) {
    let psk = || Psk::new([7; 8], [8; 32]);
    let bits = input.byte();
    let bit = |n: u8| bits >> n & 1 == 1;
    let setup = Setup {
        pinned: bit(0),
        diagnoses: bit(1),
        psk: bit(2).then(psk),
        psk_required: bit(3),
        suite: if bit(4) && has_aes::<C>() { Suite::AesGcm } else { Suite::ChaChaPoly },
        ..Setup::new(Limits::SMALL)
    };
    let decisions = Decisions { admits: bit(5), accepts: bit(6), psk: bit(7).then(psk) };
    let honest = input.below(4);

    let (mut client, mut server) = (setup.client::<C>(), setup.server::<C>());
    let (victim, other) =
        if to_server { (&mut server, &mut client) } else { (&mut client, &mut server) };
    let mut asked = Asked::default();
    // Flights of an honest other side before the junk.
    for _ in 0..honest {
        let (first, second) =
            if to_server { (&mut *other, &mut *victim) } else { (&mut *victim, &mut *other) };
        let Ok(flight) = turn(first, &[], &decisions, &mut asked) else { return };
        let Ok(reply) = turn(second, &flight, &decisions, &mut asked) else { return };
        if turn(first, &reply, &decisions, &mut asked).is_err() {
            return;
        }
    }
    let mut result = Ok(());
    while !input.is_empty() && result.is_ok() {
        let n = usize::from(input.word());
        victim.later(u64::from(input.byte()) * 16);
        let piece = input.bytes(n % 2048);
        result = turn(victim, piece, &decisions, &mut asked).map(|_| ());
    }

    if to_server {
        assert!(!victim.conn.is_open() || decisions.admits, "let in without a decision");
        let without = setup.psk_required && asked.admission && !asked.with_psk;
        assert!(!without, "at the door without the pre-shared key that is required");
        let unknown = asked.with_psk && decisions.psk.is_none();
        assert!(!(proves && unknown), "a key that nobody has was proven");
    } else {
        assert!(!asked.verify || !setup.pinned, "asked about a key although one is pinned");
        let open = victim.conn.is_open();
        assert!(
            !open || setup.pinned || decisions.accepts,
            "open with a server that was not accepted"
        );
        assert!(!open || !setup.diagnoses || setup.pinned, "a diagnosis opens nothing");
    }
    // Whose other side broke a rule is over once it has said so.
    let _ = victim.flush();
    let _ = victim.wire();
    assert!(result.is_ok() || victim.conn.is_over(), "an error has to end it: {result:?}");
    let _ = victim.conn.end_of_input();
    if victim.conn.is_over() {
        victim.assert_stays_over();
    }
}

/// Whether these primitives have the other suite.
fn has_aes<C: Crypto>() -> bool {
    C::suites().contains(&(Suite::AesGcm as u8))
}

/// Feeds one piece, takes every decision, and gives what there is to send.
fn turn<C: Crypto>(
    end: &mut End<C>,
    piece: &[u8],
    decisions: &Decisions,
    asked: &mut Asked,
) -> Result<Vec<u8>, Error> {
    let fed = end.feed(piece, |event, half| {
        match &event {
            Event::Verify(_) => asked.verify = true,
            Event::PskWanted(_) => asked.psk = true,
            Event::Admission(admission) => {
                asked.admission = true;
                asked.with_psk |= admission.psk_hint().is_some();
            }
            _ => {}
        }
        decisions.take(event, half);
    });
    fed?;
    end.flushed()
}
