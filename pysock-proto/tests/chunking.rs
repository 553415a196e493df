//! The pieces in which bytes arrive change nothing: not the events, not the answers, not the errors.

mod sim;

use proptest::{collection::vec, prelude::*};
use pysock_proto::{Error, Event};
use sim::{
    End, Setup, agree,
    hostile::{begin, frame, hello, kind, prelude},
};

/// Everything that can be observed of an end that is fed `wire`, cut at `cuts`.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<String>,
    result: Result<(), Error>,
    answers: Vec<u8>,
    over: bool,
}

fn feed(end: &mut End, wire: &[u8], cuts: &[usize]) -> Seen {
    let (mut events, mut result, mut at) = (vec![], Ok(()), 0);
    let mut answers = vec![];
    for to in cuts.iter().copied().chain([wire.len()]) {
        let piece = &wire[at..to.max(at)];
        at = to.max(at);
        result = end.feed(piece, usize::MAX, |event, end| match event {
            Event::Handled => {}
            other => {
                events.push(format!("{other:?}"));
                agree(other, end);
            }
        });
        // A handshake waits for its answers; an open connection would pack them differently.
        if !end.conn.is_open() {
            answers.extend(end.flushed().unwrap());
        }
        if result.is_err() || end.conn.is_over() {
            break;
        }
    }
    Seen { events, result, answers, over: end.conn.is_over() }
}

/// A client's side of a session, from the prelude on, with a random tail of sealed frames.
fn session(frames: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let setup = Setup::default();
    let (mut raw, _) = setup.raw_client();
    let mut first = sim::hostile::Raw::new(true, 1, None);
    let opening = [prelude(1, None), first.message(&[])].concat();
    let mut rest = raw.message(&hello(&setup.client_limits, Some("shikhar")));
    let mut hostile = raw.open();
    let text = [begin(0, 5), frame(kind::CHUNK, b"\0ab"), frame(kind::CHUNK, b"\0cde")].concat();
    rest.extend(hostile.record(&text));
    rest.extend(
        hostile.record(&[frame(kind::END, &[0]), frame(kind::MESSAGE, b"\0\0hi")].concat()),
    );
    for (kind, body) in frames {
        rest.extend(hostile.record(&frame(*kind, body)));
    }
    (opening, rest)
}

fn run(frames: &[(u8, Vec<u8>)], cuts: &[prop::sample::Index]) -> [Seen; 2] {
    let (opening, rest) = session(frames);
    let mut server = Setup::default().server();
    [opening, rest].map(|wire| {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        feed(&mut server, &wire, &cuts)
    })
}

#[test]
fn byte_by_byte_is_like_all_at_once() {
    let (opening, rest) = session(&[(kind::CLOSE, vec![0])]);
    let (mut slow, mut fast) = (Setup::default().server(), Setup::default().server());
    for wire in [opening, rest] {
        let every: Vec<usize> = (0..wire.len()).collect();
        assert_eq!(feed(&mut slow, &wire, &every), feed(&mut fast, &wire, &[]));
    }
    assert!(fast.conn.end_of_input().is_ok());
}

#[test]
fn the_session_says_what_it_should() {
    let [opening, rest] = run(&[(kind::CLOSE, vec![1])], &[]);
    assert_eq!((opening.events.len(), opening.result, opening.over), (0, Ok(()), false));
    assert!(opening.answers.len() > 97, "message 2");
    let starts = ["Admission", "Begin", "Chunk", "Chunk", "End", "Message", "Closed(Kicked)"];
    assert_eq!(rest.events.len(), starts.len(), "{:?}", rest.events);
    for (event, start) in rest.events.iter().zip(starts) {
        assert!(event.starts_with(start), "{event}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cuts_give_the_same(
        frames in vec((0u8..0x28, vec(0u8..4, 0..20)), 0..10),
        cuts in vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let (whole, cut) = (run(&frames, &[]), run(&frames, &cuts));
        for (whole, cut) in whole.into_iter().zip(cut) {
            prop_assert_eq!((whole.events, whole.result), (cut.events, cut.result));
        }
    }
}
