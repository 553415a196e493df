//! Where a fuzzer begins: honest conversations, every kind of frame, files as pysock writes them, and operations in a mixture.
//! `cargo run --no-default-features --example seeds` writes them into `corpus/`.

use pysock_proto::{
    Crypto, Identity, Keypair, Limits, Psk, PublicKey, RustCrypto, SecretKey, Suite,
};

use crate::{
    crypto::{Null, Toy},
    end::{Decisions, Setup, name, server_key},
    frames::script::{ACT, FLUSH, LATER, RAW, RECORD},
};

/// A seed: of which target, what it is called, and what it is.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = vec![];
    for to_server in [true, false] {
        let target = if to_server { "server_bytes" } else { "client_bytes" };
        for bits in [0xe0, 0xe1, 0xe2, 0xec, 0xed, 0xf1, 0x44, 0x20] {
            let mut add = |kind: u8, what: &str, pieces: Vec<Vec<u8>>| {
                let head = vec![kind, bits, 0];
                seeds.push((
                    target,
                    format!("{what}-{bits:02x}"),
                    [head, packed(&pieces)].concat(),
                ));
            };
            add(0, "real", conversation::<RustCrypto>(bits, to_server));
            add(1, "null", conversation::<Null>(bits, to_server));
            add(2, "toy", conversation::<Toy>(bits, to_server));
        }
    }
    // The role, and limits for both sides.
    for (role, heard) in [(1, from_client()), (0, from_server())] {
        let head = [&[role][..], &[1, 4, 2, 1, 1, 4, 2, 1]].concat();
        let all: Vec<u8> = heard.iter().flat_map(|(kind, body)| frame(*kind, body)).collect();
        seeds.push(("frames", format!("all-{role}"), [&head[..], &all].concat()));
        let acts: Vec<u8> = (0..15).flat_map(|act| [ACT, act, 20, FLUSH]).collect();
        seeds.push(("frames", format!("acts-{role}"), [&head[..], &acts].concat()));
        for (at, (kind, body)) in heard.iter().enumerate() {
            let each = [&frame(*kind, body)[..], &[RECORD, FLUSH, LATER, 4]].concat();
            let both = [&head[..], &each, &each].concat();
            seeds.push(("frames", format!("{at:02}-{kind:02x}-{role}"), both));
        }
        let head = [&[0, role][..], &[1, 4, 2, 1, 1, 4, 2, 1], &[3, 1, 30, 200]].concat();
        seeds.push(("chunking", format!("all-{role}"), [&head[..], &all].concat()));
        let hi = frame(0x10, b"\0\0hi");
        let alike =
            [&hi[..], &hi, &hi, &frame(0x15, b"\0\0\0\0\0\x05\0\0\0\x07request"), &hi].concat();
        seeds.push(("chunking", format!("alike-{role}"), [&head[..], &alike].concat()));
        let start =
            [&[1, role][..], &[1, 4, 2, 1, 1, 4, 2, 1], &[2, 7, 100], &[0xff, 0xff, 0]].concat();
        seeds.push(("chunking", format!("start-{role}"), [&start[..], &alike].concat()));
        let raw = [&[RAW, 4, 0x10, 0, 9, 1][..], &[RECORD]].concat();
        seeds.push((
            "frames",
            format!("raw-{role}"),
            [&[role, 0, 0, 0, 0, 0, 0, 0, 0][..], &raw].concat(),
        ));
    }
    for target in ["link", "peers", "registry", "router", "groups", "flash"] {
        for seed in 0..6 {
            seeds.push((
                target,
                format!("mixture-{seed}"),
                mixture(seed, 100 + 60 * seed as usize),
            ));
        }
    }
    files(&mut seeds);
    seeds
}

/// Bytes that look like none in particular, the same each time.
fn mixture(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    (0..n + 20).map(|_| next()).skip(20).collect()
}

fn packed(pieces: &[Vec<u8>]) -> Vec<u8> {
    let pieces = pieces.iter().filter(|piece| !piece.is_empty());
    pieces.flat_map(|p| [&(p.len() as u16).to_le_bytes()[..], &[0], p].concat()).collect()
}

/// What one side hears in an honest conversation, set up as a target does with these bits.
fn conversation<C: Crypto>(bits: u8, to_server: bool) -> Vec<Vec<u8>> {
    let bit = |n: u8| bits >> n & 1 == 1;
    let psk = || Psk::new([7; 8], [8; 32]);
    let aes = bit(4) && C::suites().contains(&(Suite::AesGcm as u8));
    let setup = Setup {
        pinned: bit(0),
        diagnoses: bit(1),
        psk: bit(2).then(psk),
        psk_required: bit(3),
        suite: if aes { Suite::AesGcm } else { Suite::ChaChaPoly },
        ..Setup::new(Limits::SMALL)
    };
    let decisions = Decisions { admits: bit(5), accepts: bit(6), psk: bit(7).then(psk) };
    let (mut client, mut server) = (setup.client::<C>(), setup.server::<C>());
    let mut heard = vec![];
    for _ in 0..4 {
        let flight = client.flushed().unwrap_or_default();
        let _ = server.feed(&flight, |event, half| decisions.take(event, half));
        let reply = server.flushed().unwrap_or_default();
        let _ = client.feed(&reply, |event, half| decisions.take(event, half));
        heard.push(if to_server { flight } else { reply });
        let to = crate::seeds::to_server();
        let _ = client.conn.send(&mut client.tx.lend(), &to, b"Hello, World!");
        let _ = server.conn.send(&mut server.tx.lend(), &to, b"Hello From Server");
    }
    heard
}

fn to_server() -> pysock_proto::Envelope {
    use pysock_proto::{ChannelId, Envelope, Kind, Party};
    Envelope { channel: ChannelId(0), party: Party::Server, kind: Kind::Message }
}

/// As a script has it.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, body.len() as u8], body].concat()
}

/// A type and a body, both as on the wire.
type Frame = (u8, Vec<u8>);

/// What both sides may say.
fn from_both() -> Vec<Frame> {
    let begin = |stream: u8, length: u64| [&[stream][..], &[0; 11], &length.to_be_bytes()].concat();
    vec![
        (0x04, vec![1, 2, 3, 4]),
        (0x05, vec![1, 2, 3, 4]),
        (0x10, b"\0\0one way".to_vec()),
        (0x11, b"\0\0\0\0\0\x05request".to_vec()),
        (0x12, b"\0\0\0\0\0\x05reply".to_vec()),
        (0x14, b"\0\0\0\0\0\x01to a peer".to_vec()),
        (0x15, b"\0\0\0\0\0\x01\0\0\0\x05request".to_vec()),
        (0x18, [&[0; 11][..], &[1]].concat()),
        (0x20, begin(0, 5)),
        (0x21, b"\0ab".to_vec()),
        (0x21, b"\0cde".to_vec()),
        (0x22, vec![0]),
        (0x20, begin(1, u64::MAX)),
        (0x21, b"\x01some".to_vec()),
        (0x23, vec![1, 1]),
        (0x24, vec![0, 1]),
        (0x25, vec![0, 0, 0, 0, 9]),
        (0x26, vec![0]),
        (0x30, b"\0\0\0\x05\x01handshake".to_vec()),
        (0x31, b"\0\0\0\x05\0\0\0\x01record with a tag at its end".to_vec()),
        (0x90, b"skipped".to_vec()),
        (0x03, vec![0]),
    ]
}

fn from_client() -> Vec<Frame> {
    let mut all = vec![
        (0x06, b"\0\x03a/b".to_vec()),
        (0x08, vec![0]),
        (0x09, b"\x07\0\x04swat".to_vec()),
        (0x09, [&[7, 1][..], &[9; 32]].concat()),
        (0x09, vec![7, 2, 0]),
    ];
    all.extend(from_both());
    all
}

fn from_server() -> Vec<Frame> {
    let info = [&[5][..], &[9; 32], b"\x04swat"].concat();
    let mut all = vec![
        (0x01, vec![7, 1, 1]),
        (0x02, vec![1]),
        (0x07, vec![0, 0]),
        (0x0a, [&[7, 1][..], &info].concat()),
        (0x0a, vec![7, 0]),
        (0x0b, info),
        (0x32, vec![0, 0, 0, 5, 1]),
    ];
    all.extend(from_both());
    all
}

fn files(seeds: &mut Vec<Seed>) {
    let secret = SecretKey::from_bytes([5; 32]);
    let (secret_text, psk_text) = (secret.to_text(), Psk::new([7; 8], [8; 32]).to_text());
    let public = Keypair::<RustCrypto>::new(secret).public();
    let (secret, psk) = (secret_text.expose(), psk_text.expose());
    let mut add = |kind: u8, what: &str, text: String| {
        seeds.push(("files", what.into(), [&[kind][..], text.as_bytes()].concat()));
    };
    let server = format!(
        "# a server\nkey: {secret}\npsk: {psk}\nport: 1234\nnames: open\nqueue:\n  bytes: 2048\n  full: block\n  patience: 1.5\n"
    );
    let client = format!(
        "key: {secret}\nname: shikhar\nserver: localhost\nport: 1234\ntrust: pin\nserver_key: {public}\nsuite: aes-gcm\nreconnect: false\n"
    );
    add(0, "server", server.replace(psk, "none"));
    add(0, "server-secrets", server);
    add(0, "server-flow", format!("{{key: {secret}, port: 0x10}}"));
    add(0, "server-mistyped", format!("key: {}Q\n", &secret[..60]));
    add(1, "client", client);
    add(1, "client-short", format!("key: \"{secret}\"\ntimeout: 5\npeers: ask\n"));
    add(1, "client-psk", format!("psk: {psk}\nmax_message: 65536\n"));
    let other = PublicKey([9; 32]);
    for (what, text) in [
        ("public", public.to_string()),
        ("secret", secret.to_owned()),
        ("psk", psk.to_owned()),
        ("name", name("sensor-7.kitchen_2").to_string()),
        ("channel", "house/kitchen".to_owned()),
        ("upper", public.to_string().to_uppercase()),
    ] {
        add(2, what, text);
    }
    let state = format!(
        "pysock-state 1\nserver localhost:1234 {other} 0102\nserver [::1]:9 {other} -\nname kitchen {other} 1764000000\npeer cellar {other}\ninvitation 0123456789abcdef {other}\n"
    );
    add(3, "state-cut", state.clone());
    add(4, "state", state);
    add(4, "state-newer", "pysock-state 2\n".to_owned());
    add(4, "state-empty", "pysock-state 1\n".to_owned());
}

/// What a fuzzer may put in, as libFuzzer reads it.
pub fn dictionary() -> String {
    let mut lines = vec![
        "# Made by the example `seeds`: frames, the prelude, and words of the files.".to_owned(),
    ];
    let mut entry = |bytes: &[u8]| {
        let text = bytes.iter().map(|byte| match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        let line = format!("\"{}\"", text.collect::<String>());
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for (kind, body) in from_client().into_iter().chain(from_server()) {
        entry(&frame(kind, &body));
    }
    for order in [&[RECORD][..], &[RECORD, FLUSH], &[LATER, 4], &[ACT, 1, 0], &[ACT, 5, 0, 255]] {
        entry(order);
    }
    for pattern in [1, 2] {
        entry(&[&b"PYSK"[..], &[1, 1, pattern, 0], &[0; 8]].concat());
        entry(&[&b"PYSK"[..], &[1, 2, pattern, 1], &[7; 8]].concat());
    }
    entry(server_key::<RustCrypto>().as_bytes());
    for word in [
        "PYSOCK-SECRET-KEY-1",
        "PYSOCK-PSK-1",
        "pysock1",
        "key: ",
        "psk: ",
        "port: ",
        "name: ",
        "names: ",
        "server: ",
        "server_key: ",
        "trust: ",
        "suite: ",
        "peers: ",
        "timeout: ",
        "queue:\n  ",
        "bytes: ",
        "full: ",
        "patience: ",
        "pysock-state 1\n",
        "peer ",
        "invitation ",
        "end ",
        "aes-gcm",
        "accept-new",
        "pysk\x01",
    ] {
        entry(word.as_bytes());
    }
    lines.push(String::new());
    lines.join("\n")
}
