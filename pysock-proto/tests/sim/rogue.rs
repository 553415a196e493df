//! A client that has a genuine session and breaks its rules, or a server that plays a client: Noise from another
//! implementation, and frames by hand.

use pysock_proto::{PublicKey, Unit};
use snow::{Builder, HandshakeState, StatelessTransportState};

use super::peers::{Parcel, World};

/// A session of the client at `at` with the one at `to`, whose own code has no part in it.
pub struct Rogue {
    pub at: usize,
    pub to: usize,
    keys: StatelessTransportState,
    pub label: u8,
    pub sent: u32,
}

/// What a handshake carries.
pub fn hello(name: &str, expected: &str) -> Vec<u8> {
    let mut hello = vec![];
    hello.extend(1_000u16.to_be_bytes());
    hello.extend(4_096u32.to_be_bytes());
    // Streams, label, flags, no session before.
    hello.extend([4, 0, 0]);
    hello.extend([0; 8]);
    for name in [name, expected] {
        hello.push(name.len() as u8);
        hello.extend(name.as_bytes());
    }
    hello
}

/// XX by the one with the key `own`, with an ephemeral key of its choice.
pub fn xx_with(own: u8, ephemeral: &[u8; 32]) -> HandshakeState {
    let params = "Noise_XX_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
    let builder = Builder::new(params).prologue(b"pysock/1 inner\x01\x01").unwrap();
    let own = [own; 32];
    let builder = builder.local_private_key(&own).unwrap();
    builder.fixed_ephemeral_key_for_testing_only(ephemeral).build_initiator().unwrap()
}

pub fn noise(pattern: &str, own: u8, other: Option<&PublicKey>, initiator: bool) -> HandshakeState {
    let prologue: &[u8] = match pattern {
        "KK" => b"pysock/1 inner\x01\x03",
        _ => b"pysock/1 inner\x01\x01",
    };
    let params = format!("Noise_{pattern}_25519_ChaChaPoly_BLAKE2s").parse().unwrap();
    let own = [own; 32];
    let mut builder = Builder::new(params).prologue(prologue).unwrap();
    builder = builder.local_private_key(&own).unwrap();
    if let Some(PublicKey(key)) = other {
        builder = builder.remote_public_key(key).unwrap();
    }
    if initiator { builder.build_initiator() } else { builder.build_responder() }.unwrap()
}

/// A handshake message as a unit; `attempt` is known from the first one.
pub fn unit(step: u8, attempt: &[u8], message: &[u8]) -> Vec<u8> {
    [&[step], &attempt[..4], message].concat()
}

impl Rogue {
    /// A session by KK. Nothing was sent in it yet.
    pub fn new(world: &mut World, at: usize, to: usize) -> Self {
        let (mine, theirs) = (world.clients[at].info, world.clients[to].info);
        let mut noise = noise("KK", 50 + at as u8, Some(&theirs.key), true);
        let mut buffer = [0; 300];
        let hello = hello(mine.name.as_str(), theirs.name.as_str());
        let n = noise.write_message(&hello, &mut buffer).unwrap();
        let bytes = unit(0x01, &buffer[..4], &buffer[..n]);
        world.deliver(&Parcel { from: at, to, unit: Unit::Handshake, bytes });
        let answer = world.collect(to).into_iter().find(|parcel| parcel.bytes[0] == 0x02).unwrap();
        noise.read_message(&answer.bytes[5..], &mut buffer).unwrap();
        Rogue::after(noise, at, to, buffer[7])
    }

    /// What follows a handshake.
    pub fn after(noise: HandshakeState, at: usize, to: usize, label: u8) -> Self {
        Rogue { at, to, keys: noise.into_stateless_transport_mode().unwrap(), label, sent: 0 }
    }

    /// A record with any text.
    pub fn text(&mut self, text: &[u8]) -> Parcel {
        let mut sealed = vec![0; text.len() + 16];
        self.keys.write_message(self.sent.into(), text, &mut sealed).unwrap();
        let mut bytes = self.sent.to_be_bytes().to_vec();
        bytes[0] = self.label;
        bytes.extend(sealed);
        self.sent += 1;
        Parcel { from: self.at, to: self.to, unit: Unit::Record, bytes }
    }

    /// The first record: nothing was sent before.
    pub fn first(&mut self, world: &mut World) {
        let parcel = self.text(&[0; 8]);
        world.deliver(&parcel);
    }

    /// A record with frames, behind `number` messages.
    pub fn frames(&mut self, number: u32, frames: &[(u8, &[u8])]) -> Parcel {
        let mut text = number.to_be_bytes().to_vec();
        for (kind, body) in frames {
            text.push(*kind);
            text.extend((body.len() as u16).to_be_bytes());
            text.extend(*body);
        }
        self.text(&text)
    }
}
