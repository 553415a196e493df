//! What the `pysock` program provisions, a device's key store opens.
#![cfg(feature = "cli")]

mod program;

#[path = "../../pysock-embedded/tests/nor/mod.rs"]
mod nor;

use nor::{Nor, name};
use program::run;
use pysock_embedded::{
    keys::{KeyStore, KeyStoreError},
    proto::{Identity, Keypair, PublicKey, RustCrypto, SecretKey},
};

const SERVER: PublicKey = PublicKey([3; 32]);
const PEERS: [(&str, PublicKey); 2] =
    [("cellar", PublicKey([4; 32])), ("kitchen", PublicKey([5; 32]))];

/// All that a device reads of its keys.
type Read = (SecretKey, Option<String>, Option<PublicKey>, [Option<PublicKey>; 2]);

fn read<const W: usize>(flash: &mut Nor<W, 4096>) -> Result<Read, KeyStoreError> {
    let range = flash.range();
    let mut store = KeyStore::open(flash, range)?;
    let own = store.name()?.map(|name| name.to_string());
    let server = store.server(0)?.map(|known| known.key);
    let peers = [store.peer(&name(PEERS[0].0))?, store.peer(&name(PEERS[1].0))?];
    Ok((store.identity()?, own, server, peers))
}

fn provisioned<const W: usize>() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = PEERS.map(|(label, key)| format!("{label}={key}"));
    let (server, unit) = (SERVER.to_string(), W.to_string());
    let made = run(
        folder.path(),
        &[
            ["provision", "-o", "a.img", "--name", "sensor-7", "--server", &server],
            ["--peer", &one, "--peer", &two, "--unit", &unit, "--json"],
        ]
        .concat(),
    )
    .code(0);
    let mut flash = Nor::<W, 4096>::new(2);
    flash.bytes = std::fs::read(folder.path().join("a.img")).unwrap();
    let good = read(&mut flash).unwrap();
    let public = Keypair::<RustCrypto>::new(good.0.clone()).public();
    assert!(made.text().contains(&public.to_string()), "{made:?}");
    let peers = PEERS.map(|(_, key)| Some(key));
    assert_eq!(good, (good.0.clone(), Some("sensor-7".to_owned()), Some(SERVER), peers));

    // What is used is at the beginning; of the rest, a bit in every byte.
    let (mut refused, mut harmless) = (0, 0);
    for at in 0..flash.bytes.len() {
        for bit in (0..8).filter(|bit| at < 512 || *bit == at % 8) {
            flash.bytes[at] ^= 1 << bit;
            match read(&mut flash) {
                Err(KeyStoreError::Corrupt { .. }) => refused += 1,
                read => {
                    assert_eq!(read.as_ref(), Ok(&good), "bit {bit} of byte {at}");
                    harmless += 1;
                }
            }
            flash.bytes[at] ^= 1 << bit;
        }
    }
    assert!(refused > 1000 && harmless > 100, "{refused} {harmless}");

    // The device goes on from there.
    let range = flash.range();
    let mut store = KeyStore::open(&mut flash, range).unwrap();
    store.pin_server(0, SERVER, &[1]).unwrap();
    store.pin_peer(&name("attic"), PublicKey([6; 32])).unwrap();
    assert_eq!(read(&mut flash).unwrap(), good);
}

#[test]
fn a_device_opens_what_the_program_provisions_and_refuses_damage() {
    provisioned::<4>();
    provisioned::<32>();
}
