//! An authenticated peer that breaks the rules: every frame that may not come is fatal, and says which rule it broke.

mod sim;

use pysock_proto::{Error, Event, FrameError, Limits};
use sim::{
    End, Setup,
    hostile::{Hostile, begin, frame, kind, welcome},
};

fn setup() -> Setup {
    let limits = Limits { record: 512, streams: 2, window: 256, ..Limits::DESKTOP };
    Setup { client_limits: limits, server_limits: limits, ..Setup::default() }
}

/// Feeds one record with this plain text; a fatal error has to be followed by a sealed close, and nothing after it.
fn judge((hostile, end): &mut (Hostile, End), text: &[u8]) -> Result<Vec<String>, Error> {
    let mut events = vec![];
    let record = hostile.record(text);
    let result = end.feed(&record, usize::MAX, |event, _| events.push(format!("{event:?}")));
    if result.is_err() {
        let frames = hostile.frames(&end.flushed().unwrap());
        let close = Some(&(kind::CLOSE, vec![3]));
        assert_eq!(frames.last(), close, "the reason on the wire is coarse");
        assert!(end.conn.is_over());
    }
    result.map(|()| events)
}

fn to_server(text: &[u8]) -> Result<Vec<String>, Error> {
    judge(&mut setup().hostile_client(), text)
}

fn to_client(text: &[u8]) -> Result<Vec<String>, Error> {
    judge(&mut setup().hostile_server_welcomed(), text)
}

#[test]
fn unknown_types_are_fatal_unless_ignorable() {
    for kind in (0x0c..=0x0f)
        .chain([0x00, 0x13, 0x17])
        .chain(0x19..=0x1f)
        .chain(0x27..=0x2f)
        .chain(0x33..=0x7f)
    {
        let wrong = Err(Error::Frame(kind, FrameError::Unknown));
        assert_eq!(to_server(&frame(kind, &[0; 40])), wrong);
    }
    let all: Vec<u8> = (0x80..=0xff).flat_map(|kind| frame(kind, b"")).collect();
    assert_eq!(to_server(&all), Ok(vec!["Handled".into()]));
    assert_eq!(to_client(&frame(0xff, &[1; 300])), Ok(vec!["Handled".into()]));
}

#[test]
fn frames_cut_short_or_longer_than_their_record_are_fatal() {
    for text in [&[0x80, 0, 1][..], &[0x80, 0xff, 0xff, 1, 2, 3], &[0x80, 0, 5, 1, 2, 3, 4]] {
        assert_eq!(to_server(text), Err(Error::Frame(0x80, FrameError::Length)));
    }
    // A stump of a header behind a good frame: the good one still arrives.
    for stump in [&[0x10][..], &[0x10, 0]] {
        let text = [&frame(kind::MESSAGE, b"\0\0hi"), stump].concat();
        assert_eq!(to_server(&text), Err(Error::Frame(0x10, FrameError::Length)));
    }
}

#[test]
fn malformed_bodies_are_fatal() {
    let bodies: [(u8, &[u8]); 29] = [
        (kind::MESSAGE, b"\0"),
        (0x14, b"\0\0\0\0\0"),
        (0x11, b"\0\0\0\0\0"),
        (0x16, b"\0\0\0\0\0\x07\0\0\0"),
        (kind::FAILED, b"\0\0\0\0\0\0\0\0\0\0\0"),
        (kind::FAILED, b"\x03\0\0\0\0\0\0\0\0\0\0\x01"),
        (kind::CLOSE, b""),
        (kind::PING, b"abc"),
        (kind::OPEN, b""),
        (kind::OPEN, b"\0\x05abc"),
        (kind::OPEN, b"\0\x00"),
        (kind::OPEN, b"\0\x03A b"),
        (kind::OPEN, b"\0\x02\xff\xfe"),
        (kind::OPEN, b"\xff\xff\xff\xff\x7f\x01a"),
        (kind::LEAVE, b""),
        (kind::FIND, b"\0"),
        (kind::FIND, b"\0\x03\0"),
        (kind::FIND, b"\0\0\x01A"),
        (kind::FIND, b"\0\x01only-a-few-bytes"),
        (kind::BEGIN, b"\0\0\0\0"),
        (kind::CHUNK, b"\0"),
        (kind::END, b""),
        (kind::END, b"\0\0"),
        (kind::CREDIT, b"\0\0\0\x01"),
        (kind::DONE, b"\0\0"),
        (kind::RELAY_HANDSHAKE, b"\0\0\0"),
        (kind::RELAY_HANDSHAKE, b"\0\0\0\x07"),
        (kind::RELAY_RECORD, b"\0\0\0\x07"),
        (kind::RELAY_RECORD, b"\xff\xff\xff\xffsealed"),
    ];
    for (kind, body) in bodies {
        let got = to_server(&frame(kind, body));
        assert_eq!(got, Err(Error::Frame(kind, FrameError::Body)), "{body:?}");
    }
    // Everyone is no source.
    let from_everyone = frame(0x14, b"\0\0\xff\xff\xff\xffhi");
    assert_eq!(to_client(&from_everyone), Err(Error::Frame(0x14, FrameError::Body)));
    assert!(to_server(&from_everyone).is_ok());
    // Bytes behind the known fields of a control frame are room for later versions.
    assert_eq!(to_server(&frame(kind::LEAVE, b"\x05new")), Ok(vec!["Left(ChannelId(5))".into()]));
}

#[test]
fn frames_of_the_other_role_are_fatal() {
    let peer = [&[9][..], &[5; 32], b"\x01n"].concat();
    for (kind, body) in [(kind::OPENED, &[0, 0][..]), (kind::FOUND, &[0, 0]), (kind::PEER, &peer)] {
        assert_eq!(to_server(&frame(kind, body)), Err(Error::Frame(kind, FrameError::Role)));
    }
    let find = [0, 2, 0];
    for (kind, body) in [(kind::OPEN, &b"\0\x01a"[..]), (kind::LEAVE, &[0]), (kind::FIND, &find)] {
        assert_eq!(to_client(&frame(kind, body)), Err(Error::Frame(kind, FrameError::Role)));
    }
    for (kind, body) in [(kind::WELCOME, &[7, 0][..]), (kind::REFUSED, &[1])] {
        let wrong = Err(Error::Frame(kind, FrameError::Admission));
        assert_eq!(to_server(&frame(kind, body)), wrong);
        assert_eq!(to_client(&frame(kind, body)), wrong, "twice");
    }
    assert_eq!(
        to_client(&frame(kind::OPENED, &[0, 0])),
        Err(Error::Frame(kind::OPENED, FrameError::Questions)),
        "an answer to no question"
    );
}

#[test]
fn nothing_comes_before_the_welcome() {
    let data = frame(kind::MESSAGE, b"\0\0hi");
    let early: [(u8, Vec<u8>); 5] = [
        (kind::MESSAGE, data.clone()),
        (kind::PING, frame(kind::PING, b"abcd")),
        (kind::CLOSE, frame(kind::CLOSE, &[0])),
        (kind::RELAY_RECORD, frame(kind::RELAY_RECORD, b"\0\0\0\x07sealed")),
        (kind::MESSAGE, [data, welcome()].concat()),
    ];
    for (kind, text) in early {
        let got = judge(&mut setup().hostile_server(), &text);
        assert_eq!(got, Err(Error::Frame(kind, FrameError::Admission)));
    }
    let skipped = judge(&mut setup().hostile_server(), &frame(0x90, b"from the future"));
    assert_eq!(skipped.unwrap(), ["Handled"], "what can be ignored may come any time");
    for id in [&[0][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let text = frame(kind::WELCOME, &[id, &[0]].concat());
        let got = judge(&mut setup().hostile_server(), &text);
        assert_eq!(got, Err(Error::Frame(kind::WELCOME, FrameError::Body)), "no peer's number");
    }
}

#[test]
fn nothing_behind_a_close_or_refusal_is_acted_on() {
    let data = frame(kind::MESSAGE, b"\0\0hi");
    let text = [&data[..], &frame(kind::CLOSE, &[1]), &data, b"rubbish"].concat();
    let events = to_server(&text).unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1], "Closed(Kicked)");
    let text = [&frame(kind::REFUSED, &[0x80])[..], &welcome(), &data].concat();
    let events = judge(&mut setup().hostile_server(), &text).unwrap();
    assert_eq!(events, ["Refused(Full)"]);
}

#[test]
fn questions_are_bounded_and_channels_come_in_order() {
    let open = |id: u8| frame(kind::OPEN, &[id, 1, b'a']);
    let text: Vec<u8> = (0..8).flat_map(open).collect();
    let mut pair = setup().hostile_client();
    assert_eq!(judge(&mut pair, &text).unwrap().len(), 8);
    let wrong = Err(Error::Frame(kind::FIND, FrameError::Questions));
    assert_eq!(judge(&mut pair, &frame(kind::FIND, &[0, 2, 0])), wrong);
    for ids in [&[1][..], &[0, 0], &[0, 2], &[0, 1, 2, 1]] {
        let text: Vec<u8> = ids.iter().flat_map(|id| open(*id)).collect();
        let wrong = Err(Error::Frame(kind::OPEN, FrameError::Channel));
        assert_eq!(to_server(&text), wrong, "{ids:?}");
    }
}

#[test]
fn every_rule_of_streams_is_enforced() {
    let chunk = |id: u8, n: usize| frame(kind::CHUNK, &[&[id][..], &vec![7; n]].concat());
    let (end, abort) = (|id| frame(kind::END, &[id]), |id| frame(kind::ABORT, &[id, 8]));
    let unknown = u64::MAX;
    let (stream, credit, length) =
        (FrameError::Stream, FrameError::Credit, FrameError::StreamLength);
    let cases: Vec<(Vec<Vec<u8>>, u8, FrameError)> = vec![
        (vec![begin(2, 1)], kind::BEGIN, stream),
        (vec![begin(255, 1)], kind::BEGIN, stream),
        (vec![begin(0, 1), begin(0, 1)], kind::BEGIN, stream),
        // Ended, but this side has not said so yet: the number is not free.
        (vec![begin(0, 0), end(0), begin(0, 1)], kind::BEGIN, stream),
        (vec![chunk(0, 1)], kind::CHUNK, stream),
        (vec![chunk(255, 1)], kind::CHUNK, stream),
        (vec![begin(0, unknown), end(0), chunk(0, 1)], kind::CHUNK, stream),
        (vec![begin(0, unknown), chunk(0, 256), chunk(0, 1)], kind::CHUNK, credit),
        (vec![begin(0, unknown), chunk(0, 257)], kind::CHUNK, credit),
        (vec![begin(0, 3), chunk(0, 4)], kind::CHUNK, length),
        (vec![begin(0, 3), chunk(0, 2), end(0)], kind::END, length),
        (vec![begin(0, 3), end(0)], kind::END, length),
        (vec![end(1)], kind::END, stream),
        (vec![begin(0, 0), end(0), end(0)], kind::END, stream),
        (vec![abort(0)], kind::ABORT, stream),
        (vec![begin(0, 0), abort(0), abort(0)], kind::ABORT, stream),
        // About streams that this side never sent.
        (vec![frame(kind::STOP, &[0, 1])], kind::STOP, stream),
        (vec![frame(kind::CREDIT, &[0, 0, 0, 0, 1])], kind::CREDIT, stream),
        (vec![frame(kind::DONE, &[0])], kind::DONE, stream),
        (vec![frame(kind::DONE, &[200])], kind::DONE, stream),
    ];
    for (n, (frames, kind, why)) in cases.into_iter().enumerate() {
        let wrong = Err(Error::Frame(kind, why));
        assert_eq!(to_server(&frames.concat()), wrong, "case {n}");
        assert_eq!(to_client(&frames.concat()), wrong, "case {n}");
    }
}

#[test]
fn a_server_that_takes_no_streams_refuses_the_first() {
    let none = Limits { streams: 0, ..Limits::DESKTOP };
    let mut pair = Setup { server_limits: none, ..Setup::default() }.hostile_client();
    let wrong = Err(Error::Frame(kind::BEGIN, FrameError::Stream));
    assert_eq!(judge(&mut pair, &begin(0, 1)), wrong);
}

#[test]
fn a_done_for_a_stream_that_goes_on_is_fatal_and_credit_cannot_overflow() {
    let (mut hostile, mut server) = setup().hostile_client();
    let stream = server.conn.begin(&mut server.tx.lend(), &sim::to_server(0), None).unwrap();
    hostile.frames(&server.flushed().unwrap());
    let most = frame(kind::CREDIT, &[stream.0, 0xff, 0xff, 0xff, 0xff]);
    let mut pair = (hostile, server);
    assert_eq!(judge(&mut pair, &[most.clone(), most].concat()).unwrap().len(), 2);
    assert!(pair.1.conn.chunk(&mut pair.1.tx.lend(), stream, &[0; 400]).is_ok());
    let done = frame(kind::DONE, &[stream.0]);
    assert_eq!(judge(&mut pair, &done), Err(Error::Frame(kind::DONE, FrameError::Stream)));
}

#[test]
fn a_stopped_stream_is_over_for_the_sender_at_once() {
    let (mut hostile, mut server) = setup().hostile_client();
    let stream = server.conn.begin(&mut server.tx.lend(), &sim::to_server(0), None).unwrap();
    hostile.frames(&server.flushed().unwrap());
    let stop = frame(kind::STOP, &[stream.0, 4]);
    let mut pair = (hostile, server);
    let events = judge(&mut pair, &[stop.clone(), stop].concat()).unwrap();
    assert_eq!(events.len(), 2, "said once, then only handled: {events:?}");
    let (hostile, server) = &mut pair;
    let refused = server.conn.chunk(&mut server.tx.lend(), stream, b"x");
    assert_eq!(refused, Err(pysock_proto::SendError::NoStream));
    let frames = hostile.frames(&server.flushed().unwrap());
    assert_eq!(frames, [(kind::ABORT, vec![stream.0, 8])]);
    let events = judge(&mut pair, &frame(kind::DONE, &[stream.0])).unwrap();
    assert_eq!(events, ["Handled"]);
    let server = &mut pair.1;
    let again = server.conn.begin(&mut server.tx.lend(), &sim::to_server(0), None);
    assert_eq!(again, Ok(stream), "the number is free");
}

#[test]
fn messages_bigger_than_announced_are_judged_at_their_header() {
    let (_, mut server) = setup().hostile_client();
    for len in [0u16, 1, 18, 513, 65_535] {
        let mut fresh = setup().hostile_client().1;
        let got = fresh.feed(&len.to_be_bytes(), 2, |event, _| panic!("{event:?}"));
        assert_eq!(got, Err(Error::RecordLength(len)));
    }
    assert_eq!(server.feed(&512u16.to_be_bytes(), 1, |_: Event<'_>, _| ()), Ok(()));
    assert_eq!(to_server(&frame(0xff, b"")), Ok(vec!["Handled".into()]), "the shortest: 19");
}
