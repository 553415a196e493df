//! Somebody on the path who wants both sides to use another cipher suite than they would, and peers that answer with one that was
//! not asked for.

mod both;
mod sim;

use both::Both;
use pysock_proto::{Alert, Error, Event, Expect, Identity, Psk, RustCrypto, Suite, crypto::Crypto};
use sim::{End, Setup, agree, keypair, server_key};

const BOTH: [Suite; 2] = [Suite::AesGcm, Suite::ChaChaPoly];

/// First contact, known, and known with a pre-shared key; for each suite.
fn setups() -> Vec<Setup> {
    let psk = || Psk::new([3; 8], [4; 32]);
    let ways = [(false, None), (true, None), (true, Some(psk())), (false, Some(psk()))];
    let of =
        |suite| ways.clone().map(|(pinned, psk)| Setup { suite, pinned, psk, ..Setup::default() });
    BOTH.into_iter().flat_map(of).collect()
}

fn client<K: Crypto>(setup: &Setup) -> End<K> {
    let key = server_key();
    setup.client_with(if setup.pinned { Expect::Pinned(&key) } else { Expect::Unknown })
}

/// Feeds a server that knows the pre-shared key.
fn feed_server<K: Crypto>(server: &mut End<K>, setup: &Setup, wire: &[u8]) -> Result<(), Error> {
    server.feed(wire, usize::MAX, |event, end| match event {
        Event::PskWanted(request) => {
            let env = end.env;
            end.conn.provide_psk(request, setup.psk.as_ref(), &env).unwrap();
        }
        event => agree(event, end),
    })
}

#[test]
fn without_an_attack_either_suite_carries_a_conversation() {
    for setup in setups() {
        let (mut a, mut b) = (client::<Both>(&setup), setup.server_with::<Both>());
        let mut listed = vec![];
        for _ in 0..3 {
            let wire = a.flushed().unwrap();
            feed_server(&mut b, &setup, &wire).unwrap();
            let handle = |event: Event<'_>, end: &mut sim::Half<'_, Both>| {
                if let Event::Welcome { suites, .. } = event {
                    listed = suites.to_vec();
                }
                agree(event, end);
            };
            b.pump(&mut a, usize::MAX, handle).unwrap();
        }
        assert_eq!(listed, [2, 1], "the server's, best first");
        let name = "news".parse().unwrap();
        a.conn.open_channel(&mut a.tx.lend(), &name).unwrap();
        let mut opened = false;
        let see = |event: Event<'_>, _: &mut sim::Half<'_, Both>| {
            opened |= matches!(event, Event::Open { .. });
        };
        a.pump(&mut b, usize::MAX, see).unwrap();
        assert!(opened);
    }
}

#[test]
fn a_rewritten_suite_ends_the_handshake_before_the_client_shows_itself() {
    for setup in setups() {
        let other = if setup.suite == Suite::AesGcm { Suite::ChaChaPoly } else { Suite::AesGcm };
        let (mut a, mut b) = (client::<Both>(&setup), setup.server_with::<Both>());
        let mut first = a.flushed().unwrap();
        assert_eq!(first[5], setup.suite as u8);
        first[5] = other as u8;
        let heard = feed_server(&mut b, &setup, &first);
        if setup.pinned || setup.psk.is_some() {
            assert_eq!(heard, Err(Error::Handshake), "message 1 is sealed for another prelude");
            let answer = b.flushed().unwrap();
            assert_eq!(answer, [0, 1, Alert::Failed.code()]);
            assert_eq!(a.feed(&answer, 99, agree), Err(Error::Alert(Alert::Failed)));
        } else {
            // Nothing in the first message of XX is sealed; the second is, and the client notices.
            heard.unwrap();
            let answer = b.flushed().unwrap();
            let got = a.feed(&answer, usize::MAX, |event, _| panic!("{event:?}"));
            assert_eq!(got, Err(Error::Handshake));
        }
        assert!(a.conn.is_over());
        assert_eq!(a.flushed().unwrap(), [], "neither key nor name");
    }
}

#[test]
fn a_server_that_answers_with_a_suite_of_its_own_choice_is_refused() {
    // It rewrites the suite in what it received itself: it is the pinned server, and knows every secret of its own.
    for suite in BOTH {
        let setup = Setup { suite, ..Setup::default() };
        let other = if suite == Suite::AesGcm { Suite::ChaChaPoly } else { Suite::AesGcm };
        let (mut a, mut b) = (client::<Both>(&setup), setup.server_with::<Both>());
        assert_eq!(b.key.public(), keypair(2).public());
        let mut first = a.flushed().unwrap();
        first[5] = other as u8;
        feed_server(&mut b, &setup, &first).unwrap();
        assert_eq!(a.feed(&b.flushed().unwrap(), 7, agree), Err(Error::Handshake));
    }
}

#[test]
fn a_suite_that_the_server_lacks_or_that_is_unknown_is_refused_in_clear_text() {
    let setup = Setup { suite: Suite::AesGcm, ..Setup::default() };
    let first = client::<Both>(&setup).flushed().unwrap();
    for suite in [0, 2, 3, 0x80, 0xff] {
        let mut first = first.clone();
        first[5] = suite;
        let mut server = setup.server_with::<RustCrypto>();
        assert_eq!(server.feed(&first, 1, agree), Err(Error::Suite(suite)));
        assert_eq!(server.flushed().unwrap(), [0, 1, Alert::Suite.code()]);
        assert!(server.conn.is_over());
    }
    for suite in [0, 3, 0x80, 0xff] {
        let mut first = first.clone();
        first[5] = suite;
        let mut server = setup.server_with::<Both>();
        assert_eq!(server.feed(&first, 1, agree), Err(Error::Suite(suite)));
    }
}

#[test]
fn an_alert_forged_by_anybody_ends_this_connection_and_says_so() {
    for setup in setups() {
        let mut a = client::<Both>(&setup);
        a.flushed().unwrap();
        let got = a.feed(&[0, 1, Alert::Suite.code()], 1, |event, _| panic!("{event:?}"));
        // What to do next is the caller's decision; this connection will never do anything else.
        assert_eq!(got, Err(Error::Alert(Alert::Suite)));
        assert!(a.conn.is_over());
        assert_eq!(a.flushed().unwrap(), []);
    }
}

#[test]
fn suites_cannot_be_stripped_from_the_welcome() {
    let through = |setup: &Setup, at: Option<usize>| {
        let (mut a, mut b) = (client::<Both>(setup), setup.server_with::<Both>());
        feed_server(&mut b, setup, &a.flushed().unwrap()).unwrap();
        b.pump(&mut a, usize::MAX, agree).unwrap();
        feed_server(&mut b, setup, &a.flushed().unwrap()).unwrap();
        let mut welcome = b.flushed().unwrap();
        if let Some(at) = at {
            welcome[at] ^= 1;
        }
        let mut heard = vec![];
        let got = a.feed(&welcome, usize::MAX, |event, _| {
            if let Event::Welcome { suites, .. } = event {
                heard.push(suites.to_vec());
            }
        });
        (welcome.len(), got, heard)
    };
    for suite in BOTH {
        let setup = Setup { suite, pinned: true, ..Setup::default() };
        let (len, got, heard) = through(&setup, None);
        assert_eq!((got, heard), (Ok(()), vec![vec![2, 1]]));
        for at in 2..len {
            let (_, got, heard) = through(&setup, Some(at));
            assert!(got.is_err() && heard.is_empty(), "byte {at}: {got:?}");
        }
    }
}

#[test]
fn primitives_without_the_suite_neither_seal_nor_open_with_it() {
    let setup = Setup { suite: Suite::AesGcm, pinned: true, ..Setup::default() };
    let (mut a, mut b) = (client::<RustCrypto>(&setup), setup.server_with::<Both>());
    let first = a.flushed().unwrap();
    assert_eq!(b.feed(&first, usize::MAX, agree), Err(Error::Handshake));
    let setup = Setup { pinned: false, ..setup };
    let (mut a, mut b) = (client::<RustCrypto>(&setup), setup.server_with::<Both>());
    b.feed(&a.flushed().unwrap(), usize::MAX, agree).unwrap();
    assert_eq!(a.feed(&b.flushed().unwrap(), usize::MAX, agree), Err(Error::Handshake));
    assert_eq!(a.flushed().unwrap(), []);
}
