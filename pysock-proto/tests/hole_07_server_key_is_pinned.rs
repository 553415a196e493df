//! Hole 7: the seed never authenticated its server and never remembered it.

mod sim;

use pysock_proto::{Alert, Error, Event, Expect, Identity, Psk};
use sim::{Setup, agree, hostile::Raw, keypair, server_key};

#[test]
fn a_server_with_another_key_cannot_answer_a_pinned_client() {
    let other = keypair(99).public();
    let setup = Setup::default();
    // The honest server under another key: it cannot even read the first message.
    let (mut client, mut server) = (setup.client_expecting(Expect::Pinned(&other)), setup.server());
    let first = client.flushed().unwrap();
    assert_eq!(server.feed(&first, 9, |_, _| ()), Err(Error::Handshake));
    let answer = server.flushed().unwrap();
    assert_eq!(client.feed(&answer, 9, |_, _| ()), Err(Error::Alert(Alert::Failed)));
    assert_eq!(client.flushed(), Ok(vec![]), "and never learns the client's key");
}

#[test]
fn an_impostor_that_plays_xx_or_guesses_to_a_pinned_client_fails() {
    let setup = Setup { pinned: true, ..Setup::default() };
    // A valid second message of XX, where XK is expected.
    let mut raw = Raw::new(false, 1, None);
    let mut client = setup.client();
    let wire = client.flushed().unwrap();
    let mut ephemeral_only = &sim::hostile::framed(&wire[18..50])[..];
    raw.read(&mut ephemeral_only);
    let second = raw.message(&sim::hostile::hello(&setup.server_limits, None));
    assert_eq!(client.feed(&second, 9, |e, _| panic!("{e:?}")), Err(Error::Handshake));
    assert!(client.conn.is_over());
    assert_eq!(client.flushed(), Ok(vec![]));
}

#[test]
fn a_pinned_client_asks_nobody_and_first_contact_always_asks() {
    for pinned in [false, true] {
        let setup = Setup { pinned, ..Setup::default() };
        let (mut client, mut server) = (setup.client(), setup.server());
        let mut asked = 0;
        for _ in 0..3 {
            client.pump(&mut server, usize::MAX, agree).unwrap();
            server
                .pump(&mut client, usize::MAX, |event, end| {
                    if let Event::Verify(verify) = &event {
                        assert_eq!(verify.key(), &server_key());
                        asked += 1;
                    }
                    agree(event, end);
                })
                .unwrap();
        }
        assert_eq!(asked, u32::from(!pinned));
        assert_eq!(client.conn.remote(), Some(server_key()));
    }
}

#[test]
fn the_prelude_cannot_be_changed_on_the_way() {
    let psk = Psk::new([3; 8], [4; 32]);
    for (pinned, psk) in [(false, None), (true, None), (true, Some(psk))] {
        let setup = Setup { pinned, psk: psk.clone(), ..Setup::default() };
        let mut client = setup.client();
        let mut first = client.flushed().unwrap();
        // Any hint is a legal prelude; a changed one still breaks the handshake.
        if psk.is_some() {
            first[15] ^= 1;
        } else {
            first[6] ^= 3;
        }
        let mut server = setup.server();
        let got = server.feed(&first, usize::MAX, |event, end| {
            if let Event::PskWanted(request) = event {
                let env = end.env;
                end.conn.provide_psk(request, psk.as_ref(), &env).unwrap();
            }
        });
        assert!(matches!(got, Err(Error::HandshakeLength(_) | Error::Handshake)), "{got:?}");
    }
}
