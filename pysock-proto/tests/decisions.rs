//! Decisions fail closed: dropped, late, or made for somebody else, they reject.

mod sim;

use pysock_proto::{
    Admission, Alert, CloseReason, Error, Event, Expect, Instant, MIN_TRANSMIT, PeerId, Psk,
    PskRequest, Refusal, Verify,
};
use sim::{
    End, HANDSHAKE_BY, Setup, agree, client_key,
    hostile::{frame, hello, kind, prelude},
    server_key, to_server,
};

fn verify_of(client: &mut End, second: &[u8]) -> Verify {
    let mut got = None;
    client
        .feed_once(second, |event, _| match event {
            Event::Verify(verify) => got = Some(verify),
            other => panic!("{other:?}"),
        })
        .unwrap();
    got.unwrap()
}

fn admission_of(server: &mut End, third: &[u8]) -> Admission {
    let mut got = None;
    server
        .feed_once(third, |event, _| match event {
            Event::Admission(admission) => got = Some(admission),
            other => panic!("{other:?}"),
        })
        .unwrap();
    got.unwrap()
}

/// A server that was asked for an admission, what it was asked, and its client.
fn asked(setup: &Setup) -> (End, End, Admission) {
    let (mut client, mut server) = (setup.client(), setup.server());
    client.pump(&mut server, usize::MAX, agree).unwrap();
    server.pump(&mut client, usize::MAX, agree).unwrap();
    let third = client.flushed().unwrap();
    let admission = admission_of(&mut server, &third);
    (client, server, admission)
}

#[test]
fn a_dropped_verify_never_reveals_the_clients_key() {
    let setup = Setup::default();
    let (mut raw, mut client) = setup.raw_server();
    let verify = verify_of(&mut client, &raw.message(&hello(&setup.server_limits, None)));
    assert_eq!(verify.key(), &server_key());
    drop(verify);
    assert_eq!(client.flushed(), Ok(vec![]), "message 3 waits for the decision");
    assert_eq!(client.conn.deadline().map(|d| d.as_millis()), Some(HANDSHAKE_BY));
    assert_eq!(client.feed(b"x", 1, |_, _| ()), Err(Error::Rejected));
    assert_eq!(client.flushed(), Ok(vec![]));
    assert!(client.conn.is_over());
}

#[test]
fn a_dropped_admission_ends_it_and_early_data_is_never_seen() {
    let (mut client, mut server, admission) = asked(&Setup::default());
    client.conn.send(&mut client.tx.lend(), &to_server(0), b"early").unwrap();
    let early = client.flushed().unwrap();
    drop(admission);
    assert!(!server.conn.is_open() && server.conn.remote().is_none());
    let got = server.feed(&early, usize::MAX, |event, _| panic!("{event:?}"));
    assert_eq!(got, Err(Error::Rejected));
    // The client learns in clear text that it failed, though it awaits a record by now.
    let word = server.flushed().unwrap();
    for chunk in [1, 9] {
        let (_, mut client) = Setup::default().hostile_server();
        assert_eq!(client.feed(&word, chunk, |_, _| ()), Err(Error::Alert(Alert::Failed)));
        assert_eq!(client.flushed(), Ok(vec![]), "and has nobody to answer");
        assert!(client.conn.is_over());
    }
}

#[test]
fn once_welcome_an_alert_in_clear_text_is_only_a_bad_record() {
    let (mut client, _) = Setup::default().open();
    let got = client.feed(&[0, 1, Alert::Failed.code()], 3, |_, _| ());
    assert_eq!(got, Err(Error::RecordLength(1)));
}

#[test]
fn early_data_is_read_after_the_admission_and_behind_the_welcome() {
    let (mut client, mut server, admission) = asked(&Setup::default());
    client.conn.send(&mut client.tx.lend(), &to_server(0), b"early").unwrap();
    let early = client.flushed().unwrap();
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    server.conn.admit(admission, PeerId(9), &env).unwrap();
    let mut heard = vec![];
    server
        .feed(&early, usize::MAX, |event, end| {
            if let Event::Message { envelope, bytes } = event {
                heard.push(bytes.to_vec());
                end.conn.send(&mut end.tx, &envelope, b"reply before any flush").unwrap();
            }
        })
        .unwrap();
    assert_eq!(heard, [b"early"]);
    let mut seen = vec![];
    server
        .pump(&mut client, usize::MAX, |event, _| match event {
            Event::Welcome { id, suites } => {
                assert_eq!((id, suites), (PeerId(9), &[1][..]));
                seen.push("welcome");
            }
            Event::Message { .. } => seen.push("message"),
            _ => {}
        })
        .unwrap();
    assert_eq!(seen, ["welcome", "message"]);
}

#[test]
fn a_decision_of_another_connection_is_refused() {
    let setup = Setup::default();
    let (mut raw, mut client) = setup.raw_server();
    let second = raw.message(&hello(&setup.server_limits, None));
    let (mut other_client, mut other_server) = (setup.client(), setup.server());
    let foreign = {
        other_client.pump(&mut other_server, usize::MAX, agree).unwrap();
        let wire = other_server.flushed().unwrap();
        verify_of(&mut other_client, &wire)
    };
    let own = verify_of(&mut client, &second);
    assert_eq!(own.key(), foreign.key(), "the key alone does not tell them apart");
    assert_eq!(client.conn.accept(foreign), Err(Error::Rejected));
    assert_eq!(client.conn.accept(own), Err(Error::Rejected));
    assert_eq!(client.flushed(), Ok(vec![]));

    let (_, mut server, _own) = asked(&setup);
    let (mut raw, mut other) = setup.raw_client();
    let foreign = admission_of(&mut other, &raw.message(&hello(&setup.client_limits, Some("a"))));
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    assert_eq!(server.conn.admit(foreign, PeerId(1), &env), Err(Error::Rejected));
    assert!(server.conn.is_over() && !server.conn.is_open());
}

fn psk_request(server: &mut End, psk: &Psk) -> PskRequest {
    let mut got = None;
    server
        .feed_once(&prelude(1, Some(psk.hint())), |event, _| match event {
            Event::PskWanted(request) => got = Some(request),
            other => panic!("{other:?}"),
        })
        .unwrap();
    got.unwrap()
}

#[test]
fn a_dropped_or_foreign_psk_request_rejects() {
    let psk = Psk::new([3; 8], [4; 32]);
    let mut server = Setup::default().server();
    let request = psk_request(&mut server, &psk);
    assert_eq!(request.hint(), [3; 8]);
    drop(request);
    assert_eq!(server.feed(&[0], 1, |_, _| ()), Err(Error::Rejected));

    let setup =
        pysock_proto::ServerSetup { limits: pysock_proto::Limits::SMALL, psk_required: false };
    let by = Instant::from_millis(HANDSHAKE_BY);
    let mut other = Setup::default().server();
    other.conn = pysock_proto::Connection::server(
        &setup,
        pysock_proto::Ephemeral::new::<sim::C>([103; 32]),
        by,
    );
    let foreign = psk_request(&mut other, &psk);
    let mut server = Setup::default().server();
    let _own = psk_request(&mut server, &psk);
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    assert_eq!(server.conn.provide_psk(foreign, Some(&psk), &env), Err(Error::Rejected));
    assert!(server.conn.is_over());
}

#[test]
fn what_is_decided_too_late_decides_nothing() {
    let (_client, mut server, admission) = asked(&Setup::default());
    server.now = Instant::from_millis(HANDSHAKE_BY);
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    let late = server.conn.admit(admission, PeerId(9), &env);
    assert_eq!(late, Err(Error::HandshakeTimeout));
    assert!(server.conn.is_over());

    let psk = Psk::new([3; 8], [4; 32]);
    let mut server = Setup::default().server();
    let request = psk_request(&mut server, &psk);
    server.now = Instant::from_millis(HANDSHAKE_BY);
    assert_eq!(server.flush(), Err(Error::HandshakeTimeout));
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    assert_eq!(server.conn.provide_psk(request, Some(&psk), &env), Err(Error::Rejected));
    assert_eq!(server.flushed(), Ok(vec![]));
}

#[test]
fn right_wrong_and_unknown_psk() {
    let psk = Psk::new([3; 8], [4; 32]);
    for pinned in [false, true] {
        let setup = Setup { psk: Some(psk.clone()), pinned, ..Setup::default() };
        let attempt = |known: Option<&Psk>| {
            let (mut client, mut server) = (setup.client(), setup.server());
            let first = client.flushed().unwrap();
            let result = server.feed(&first, 5, |event, end| {
                if let Event::PskWanted(request) = event {
                    let env = end.env;
                    end.conn.provide_psk(request, known, &env).unwrap();
                }
            });
            let answer = server.flushed().unwrap();
            let heard = client.feed(&answer, usize::MAX, agree);
            (result, answer, heard)
        };
        let (result, answer, heard) = attempt(Some(&psk));
        assert_eq!((result, heard), (Ok(()), Ok(())));
        assert!(answer.len() > 3);
        // A wrong key and an unknown hint: one error, one answer, byte for byte.
        let wrong = attempt(Some(&Psk::new([3; 8], [5; 32])));
        let refused = Err(Error::Handshake);
        let alert = vec![0, 1, Alert::Failed.code()];
        assert_eq!(wrong, (refused, alert, Err(Error::Alert(Alert::Failed))));
        assert_eq!(attempt(None), wrong);
    }
}

#[test]
fn a_proven_psk_is_named_to_the_policy() {
    let psk = Psk::new([3; 8], [4; 32]);
    let setup = Setup { psk: Some(psk), psk_required: true, ..Setup::default() };
    let (mut raw, mut server) = setup.raw_client();
    let admission =
        admission_of(&mut server, &raw.message(&hello(&setup.client_limits, Some("guest"))));
    assert_eq!(admission.psk_hint(), Some([3; 8]));
    assert_eq!((admission.key(), admission.name().as_str()), (&client_key(), "guest"));
    assert_eq!(admission.limits(), &setup.client_limits);
}

#[test]
fn a_refused_client_learns_why_and_nothing_follows() {
    for why in [Refusal::NameTaken, Refusal::Full, Refusal::Other(0x93)] {
        let (mut client, mut server, admission) = asked(&Setup::default());
        let env = pysock_proto::Env { now: server.now, identity: &server.key };
        server.conn.refuse(admission, why, &env).unwrap();
        assert!(!server.conn.is_open());
        let mut heard = vec![];
        server
            .pump(&mut client, 3, |event, _| match event {
                Event::Refused(why) => heard.push(why),
                other => panic!("{other:?}"),
            })
            .unwrap();
        assert_eq!(heard, [why]);
        assert!(server.conn.is_over());
        assert_eq!(client.conn.end_of_input(), Ok(()), "authenticated, so no truncation");
        assert_eq!(client.flushed(), Ok(vec![]));
        assert!(client.conn.is_over());
    }
}

#[test]
fn a_refusal_that_finds_no_room_is_not_lost() {
    let (_, mut server, admission) = asked(&Setup::default());
    server.tx = pysock_proto::TxBuf::new(vec![0; MIN_TRANSMIT]);
    let env = pysock_proto::Env { now: server.now, identity: &server.key };
    server.conn.refuse(admission, Refusal::Full, &env).unwrap();
    let (rest, mut small) = (server.tx, pysock_proto::TxBuf::new(vec![0; 10]));
    assert_eq!(
        server.conn.flush(&mut small.lend(), &env),
        Err(Error::BufferTooSmall(MIN_TRANSMIT as u16))
    );
    assert!(rest.is_empty());
}

#[test]
fn diagnosis_shows_the_key_and_never_sends_its_own() {
    let setup = Setup::default();
    let (mut client, mut server) = (setup.client_expecting(Expect::Diagnose), setup.server());
    client.pump(&mut server, usize::MAX, |_, _| ()).unwrap();
    let mut offered = None;
    server
        .pump(&mut client, 10, |event, _| match event {
            Event::Offered(key) => offered = Some(key),
            other => panic!("{other:?}"),
        })
        .unwrap_or_else(|error| assert_eq!(error, Error::Ended));
    assert_eq!(offered, Some(server_key()));
    assert!(client.conn.is_over());
    assert_eq!(client.flushed(), Ok(vec![]), "no message 3");
}

#[test]
fn a_closed_handshake_says_nothing_and_answers_nothing() {
    let (_, mut client) = Setup::default().raw_server();
    client.conn.close(CloseReason::Done);
    assert!(client.conn.is_over());
    assert_eq!(client.flushed(), Ok(vec![]));
    assert_eq!(client.feed(&frame(kind::CLOSE, &[0]), 9, |_, _| ()), Err(Error::Ended));
}
