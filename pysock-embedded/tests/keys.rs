//! The key store: what it keeps, what it refuses, what it costs.

mod nor;

use nor::{Change, Model, Nor, SECRET, Tear, Worn, change, long, name};
use pysock_embedded::{
    Entropy, NoEntropy,
    keys::{Entry, Fault, KeyStore, KeyStoreError, KnownServer, MAX_PEERS, MAX_SERVERS},
    proto::{
        PublicKey, SecretKey,
        flash::{Image, Want},
    },
};

const A: PublicKey = PublicKey([1; 32]);
const B: PublicKey = PublicKey([2; 32]);

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let mut flash = Nor::<4, 4096>::new(2);
    let mut store = flash.provision().unwrap();
    store.pin_server(7, A, &[1, 2]).unwrap();
    store.pin_peer(&name("kitchen"), B).unwrap();
    store.pin_peer(&name("cellar"), B).unwrap();
    let mut store = flash.open().unwrap();
    assert_eq!(store.identity().unwrap(), SecretKey::from_bytes(SECRET));
    assert_eq!(store.name(), Ok(Some(name("sensor-7"))));
    let known = store.server(7).unwrap().unwrap();
    assert_eq!((known.key, known.suites()), (A, &[1, 2][..]));
    assert_eq!(store.server(8), Ok(None));
    assert_eq!(store.peer(&name("kitchen")), Ok(Some(B)));
    assert_eq!(store.peer(&name("attic")), Ok(None));
    assert_eq!(store.peer_label(&B), Ok(Some(name("cellar"))));
    assert_eq!(store.forget_peer(&name("cellar")), Ok(Some(B)));
    assert_eq!(store.forget_peer(&name("cellar")), Ok(None));
    assert_eq!(store.peer_label(&B), Ok(Some(name("kitchen"))));
    assert_eq!(store.forget_server(7), Ok(Some(A)));
    assert_eq!(format!("{store:?}"), "KeyStore(…)");
    assert_eq!(flash.open().unwrap().server(7), Ok(None));
}

#[test]
fn a_pin_is_never_replaced_by_another_key() {
    let mut flash = Nor::<4, 4096>::new(2);
    let mut store = flash.provision().unwrap();
    store.pin_server(0, A, &[1]).unwrap();
    store.pin_peer(&name("kitchen"), A).unwrap();
    assert_eq!(store.pin_server(0, B, &[1]), Err(KeyStoreError::OtherKey(A)));
    assert_eq!(store.pin_peer(&name("kitchen"), B), Err(KeyStoreError::OtherKey(A)));
    store.pin_server(0, A, &[1, 2]).unwrap();
    assert_eq!(store.server(0).unwrap().unwrap().suites(), [1, 2]);
}

#[test]
fn the_first_boot_makes_a_key_and_later_ones_keep_it() {
    struct Source(Result<[u8; 32], NoEntropy>);
    impl Entropy for Source {
        fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
            self.0.map(|random| *bytes = random)
        }
    }
    let mut flash = Nor::<4, 4096>::new(2);
    let mut boot = |source| {
        KeyStore::open_or_provision(&mut flash, 0..8192, &mut Source(source), None)
            .and_then(|mut store| store.identity())
    };
    assert_eq!(boot(Err(NoEntropy)), Err(KeyStoreError::Entropy));
    assert_eq!(boot(Ok([0; 32])), Err(KeyStoreError::Entropy), "a stuck generator");
    let random: [u8; 32] = core::array::from_fn(|i| i as u8);
    let key = SecretKey::from_bytes(random);
    assert_eq!(boot(Ok(random)), Ok(key.clone()));
    assert_eq!(boot(Err(NoEntropy)), Ok(key), "no randomness is needed any more");
    assert_eq!(flash.provision().map(drop), Err(KeyStoreError::AlreadyProvisioned));
}

#[test]
fn a_range_has_to_fit_the_flash() {
    let mut flash = Nor::<4, 1024>::new(8);
    let mut open = |range| KeyStore::open(&mut flash, range).map(drop);
    #[expect(clippy::reversed_empty_ranges, reason = "a mistake to be refused")]
    for range in [0..1024, 0..3072, 0..0, 2048..0, 512..2560, 6144..10240, 0..u32::MAX] {
        assert_eq!(open(range.clone()), Err(KeyStoreError::Region), "{range:?}");
    }
    assert_eq!(open(2048..4096), Err(KeyStoreError::Empty));
    let mut tiny = Nor::<4, 256>::new(2);
    assert_eq!(tiny.open().map(drop), Err(KeyStoreError::Region));
}

#[test]
fn what_is_beside_the_range_is_left_alone() {
    let mut flash = Nor::<4, 512>::new(6);
    flash.bytes[..1024].fill(0x11);
    flash.bytes[2048..].fill(0x22);
    let secret = SecretKey::from_bytes(SECRET);
    let mut store = KeyStore::provision(&mut flash, 1024..2048, &secret, None).unwrap();
    for n in 0..200 {
        change(&mut store, &Change::Pin(0, 1, vec![n])).unwrap();
    }
    assert!(flash.bytes[..1024].iter().all(|byte| *byte == 0x11));
    assert!(flash.bytes[2048..].iter().all(|byte| *byte == 0x22));
    assert_eq!(flash.erased.iter().filter(|times| **times > 0).count(), 2);
}

/// Stores in several situations, with what they hold, and what they would hold had the last change not been cut.
fn stores() -> Vec<(Nor<4, 512>, [Model; 2])> {
    let mut flash = Nor::<4, 512>::new(2);
    flash.provision().unwrap();
    let mut model = Model::provisioned();
    let mut stores = vec![(flash.clone(), [model.clone(), model.clone()])];
    for n in 0..14 {
        let step = match n % 3 {
            0 => Change::PinPeer(long(0), 1),
            1 => Change::Pin(0, 1, vec![n]),
            _ => Change::ForgetPeer(long(0)),
        };
        change(&mut flash.open().unwrap(), &step).unwrap();
        model.change(&step);
        if n % 4 == 0 {
            stores.push((flash.clone(), [model.clone(), model.clone()]));
        }
    }
    assert!(flash.erased.iter().sum::<u32>() > 1);
    // One that was cut short, and one with an unfinished move.
    for cut in [3, 20] {
        for n in 0..3 {
            let mut flash = flash.clone();
            let step = Change::Name(format!("n{n}"));
            flash.cut = Some((cut, Tear::Some));
            let _ = change(&mut flash.open().unwrap(), &step);
            flash.restart();
            let found = Model::of(&mut flash.open().unwrap(), &[long(0)]).unwrap();
            let mut wanted = found.clone();
            wanted.change(&step);
            stores.push((flash, [found, wanted]));
        }
    }
    stores
}

#[test]
fn a_flipped_bit_is_refused_or_does_not_matter() {
    let (mut refused, mut harmless) = (0, 0);
    for (flash, models) in stores() {
        for bit in 0..8 * flash.bytes.len() {
            let mut damaged = flash.clone();
            damaged.bytes[bit / 8] ^= 1 << (bit % 8);
            let before = damaged.bytes.clone();
            let read = damaged.open().and_then(|mut store| Model::of(&mut store, &[long(0)]));
            match read {
                Ok(found) => assert!(models.contains(&found), "bit {bit:#x}: {found:?}"),
                Err(KeyStoreError::Corrupt { .. }) => {
                    refused += 1;
                    assert!(damaged.bytes == before, "it was left as it is");
                    let again = damaged.provision().map(drop);
                    assert!(matches!(again, Err(KeyStoreError::Corrupt { .. })));
                    continue;
                }
                Err(error) => panic!("{error} by bit {bit:#x}"),
            }
            harmless += 1;
        }
    }
    assert!(refused > 10_000 && harmless > 10_000, "{refused} {harmless}");
}

#[test]
fn overwritten_bytes_are_refused_or_do_not_matter() {
    for (mut flash, models) in stores() {
        for _ in 0..300 {
            let mut damaged = flash.clone();
            let [high, low, len, kind] = [(); 4].map(|()| flash.random());
            let at = usize::from(u16::from_be_bytes([high, low])) % 1024;
            for byte in damaged.bytes.iter_mut().skip(at).take(usize::from(len) + 1) {
                *byte = if kind < 128 { 0 } else { flash.random() & 0x7f };
            }
            match damaged.open().and_then(|mut store| Model::of(&mut store, &[long(0)])) {
                Ok(found) => assert!(models.contains(&found), "{found:?}"),
                Err(error) => assert!(matches!(error, KeyStoreError::Corrupt { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn only_erased_flash_is_empty() {
    let open = |bytes: &dyn Fn(usize) -> u8| {
        let mut flash = Nor::<4, 1024>::new(4);
        flash.bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = bytes(i));
        flash.open().map(drop)
    };
    assert_eq!(open(&|_| 0xff), Err(KeyStoreError::Empty));
    let corrupt = |at| Err(KeyStoreError::Corrupt { at });
    assert_eq!(open(&|_| 0), corrupt(0));
    assert_eq!(open(&|i| b"Hello, World!"[i % 13]), corrupt(0));
    assert!(
        matches!(open(&|i| if i < 40 { 0xff } else { 0x55 }), Err(e) if e != KeyStoreError::Empty)
    );
    // Noticed within 128 bytes of it.
    assert_eq!(open(&|i| if i == 4000 { 0xfe } else { 0xff }), corrupt(3996));
    // The live half is erased by something else: the half that was given up tells that there was a store.
    let mut flash = Nor::<4, 1024>::new(2);
    flash.provision().unwrap();
    while flash.erased[1] == 0 {
        let suites = flash.writes as u16;
        change(&mut flash.open().unwrap(), &Change::Pin(0, 1, suites.to_be_bytes().to_vec()))
            .unwrap();
    }
    flash.bytes[1024..].fill(0xff);
    assert_eq!(flash.open().map(drop), corrupt(1024));
}

#[test]
fn a_store_without_an_identity_is_damaged() {
    let mut flash = Nor::<4, 1024>::new(4);
    flash.provision().unwrap();
    let find = |text: &[u8]| flash.bytes.windows(text.len()).position(|at| at == text).unwrap();
    let (identity, own_name) = (find(&SECRET) - 8, find(b"sensor-7") - 8);
    assert!(identity < own_name);
    // Nothing but the name is left, each entry as it was written.
    flash.bytes.copy_within(own_name..own_name + 16, identity);
    flash.bytes[identity + 16..own_name + 16].fill(0xff);
    assert_eq!(flash.open().map(drop), Err(KeyStoreError::Corrupt { at: 0 }));
}

#[test]
fn other_formats_and_layouts_are_told_apart_from_damage() {
    let mut flash = Nor::<4, 1024>::new(4);
    flash.provision().unwrap();
    assert_eq!(KeyStore::open(&mut flash, 0..2048).map(drop), Err(KeyStoreError::OtherGeometry));
    let mut wider = Nor::<8, 1024>::new(4);
    wider.bytes.clone_from(&flash.bytes);
    assert_eq!(wider.open().map(drop), Err(KeyStoreError::OtherGeometry));
    // Header bytes 4 and 6 are the version, and nothing yet.
    for (at, byte, error) in [
        (4, 2, KeyStoreError::NewerFormat { version: 2 }),
        (4, 0, KeyStoreError::Corrupt { at: 0 }),
        (6, 1, KeyStoreError::Corrupt { at: 0 }),
    ] {
        let mut flash = flash.clone();
        flash.bytes[at] = byte;
        let crc = !flash.bytes[..16].iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0xedb8_8320 * (c & 1)))
        });
        flash.bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(flash.open().map(drop), Err(error));
    }
}

#[test]
fn worn_flash_keeps_the_old_state() {
    for (worn, error) in [
        (Worn::Noticed, KeyStoreError::Flash(Fault::Other)),
        (Worn::Unnoticed, KeyStoreError::WornOut),
    ] {
        for (mut flash, [model, _]) in stores() {
            flash.worn = Some(worn);
            let mut store = flash.open().unwrap();
            assert_eq!(store.pin_server(5, A, &[]), Err(error));
            assert_eq!(store.set_name(&name("other")), Err(error));
            assert_eq!(Model::of(&mut store, &[long(0)]).as_ref(), Ok(&model));
            assert_eq!(Model::of(&mut flash.open().unwrap(), &[long(0)]).as_ref(), Ok(&model));
        }
    }
    let mut flash = Nor::<4, 512>::new(2);
    flash.worn = Some(Worn::Unnoticed);
    assert_eq!(flash.provision().map(drop), Err(KeyStoreError::WornOut));
}

#[test]
fn what_is_stored_already_is_not_written_again() {
    let mut flash = Nor::<4, 4096>::new(2);
    let steps = [Change::Pin(0, 1, vec![1]), Change::PinPeer(long(0), 1), Change::Name(long(1))];
    let mut store = flash.provision().unwrap();
    steps.iter().for_each(|step| change(&mut store, step).unwrap());
    let writes = flash.writes;
    let mut store = flash.open().unwrap();
    steps.iter().for_each(|step| change(&mut store, step).unwrap());
    assert_eq!(store.forget_peer(&name("nobody")), Ok(None));
    assert_eq!(flash.writes, writes);
}

#[test]
fn wear_is_spread_and_bounded() {
    let mut flash = Nor::<4, 4096>::new(2);
    let mut store = flash.provision().unwrap();
    // As full as it may be: the worst case.
    let mut peers = 0;
    while store.pin_peer(&name(&long(peers)), A).is_ok() {
        peers += 1;
    }
    assert_eq!(peers, 25);
    let before = flash.erased.clone();
    let mut store = flash.open().unwrap();
    for n in 0..5_000 {
        let label = name(&long(n % 25));
        store.forget_peer(&label).unwrap();
        store.pin_peer(&label, A).unwrap();
    }
    let erased: Vec<_> = flash.erased.iter().zip(before).map(|(now, then)| now - then).collect();
    assert!(erased[0].abs_diff(erased[1]) <= 1, "{erased:?}");
    assert!(erased.iter().all(|times| *times <= 10_000 / 50), "{erased:?}");
}

#[test]
fn a_full_store_says_so_and_can_always_forget() {
    let mut flash = Nor::<32, 512>::new(2);
    let mut store = flash.provision().unwrap();
    assert_eq!(store.pin_server(0, A, &[1]), Err(KeyStoreError::Full), "the smallest of all");
    assert_eq!(store.identity().unwrap().expose(), &SECRET);

    let mut flash = Nor::<4, 512>::new(2);
    let mut store = flash.provision().unwrap();
    store.pin_peer(&name(&long(0)), A).unwrap();
    store.pin_peer(&name(&long(1)), A).unwrap();
    assert_eq!(store.pin_peer(&name(&long(2)), A), Err(KeyStoreError::Full));
    for _ in 0..100 {
        assert_eq!(store.forget_peer(&name(&long(0))), Ok(Some(A)));
        store.pin_peer(&name(&long(0)), A).unwrap();
    }

    let mut flash = Nor::<4, 131_072>::new(2);
    let mut store = flash.provision().unwrap();
    let peers = (0..).take_while(|n| store.pin_peer(&name(&long(*n)), A).is_ok()).count();
    let servers = (0..).take_while(|n| store.pin_server(*n, A, &[]).is_ok()).count();
    assert_eq!((peers, servers), (MAX_PEERS, MAX_SERVERS));
    store.pin_server(0, A, &[1]).unwrap();
    drop(store);
    assert!(flash.open().unwrap().peer(&name(&long(MAX_PEERS - 1))).unwrap().is_some());
}

#[test]
fn an_image_is_what_a_device_writes_and_reads() {
    fn same<const UNIT: u32, const W: usize>() {
        let mut bytes = vec![0; 8192];
        let mut flash = Nor::<W, 4096>::new(2);
        let secret = SecretKey::from_bytes(SECRET);
        let mut made =
            Image::provision(&mut bytes, UNIT, 4096, &secret, Some(&name("sensor-7"))).unwrap();
        let mut written = flash.provision().unwrap();
        let peer = PublicKey([4; 32]);
        made.run(Want::Set(Entry::Server(1, KnownServer::new(A, &[1])))).unwrap();
        made.run(Want::Set(Entry::Peer(name(&long(3)), peer))).unwrap();
        written.pin_server(1, A, &[1]).unwrap();
        written.pin_peer(&name(&long(3)), peer).unwrap();
        // Until one half is full, and the other is erased and written.
        for n in 0..200 {
            let suites = [n];
            made.run(Want::Set(Entry::Server(1, KnownServer::new(A, &suites)))).unwrap();
            written.pin_server(1, A, &suites).unwrap();
        }
        assert!(bytes == flash.bytes);
        let mut device = Nor::<W, 4096>::new(2);
        device.bytes = bytes;
        assert_eq!(device.open().unwrap().server(1).unwrap().unwrap().key, A);
    }
    same::<1, 1>();
    same::<4, 1>();
    same::<4, 4>();
    same::<8, 8>();
    same::<16, 16>();
    same::<32, 32>();
}

#[test]
fn the_entries_can_be_listed_and_the_identity_is_not_replaced() {
    let mut flash = Nor::<4, 4096>::new(2);
    let mut store = flash.provision().unwrap();
    store.pin_server(0, A, &[1]).unwrap();
    store.pin_peer(&name("kitchen"), B).unwrap();
    store.forget_server(0).unwrap();
    let mut entries: Vec<_> = (0..).map_while(|n| store.entry(n).unwrap()).collect();
    entries.sort_by_key(|entry| format!("{entry:?}"));
    let secret = SecretKey::from_bytes(SECRET);
    let others = [Entry::OwnName(name("sensor-7")), Entry::Peer(name("kitchen"), B)];
    assert_eq!(entries[0], Entry::Identity(secret));
    assert_eq!(entries[1..], others);
    assert_eq!(format!("{:?}", entries[0]), "Identity(SecretKey(…))");

    let mut bytes = flash.bytes.clone();
    let mut image = Image::open(&mut bytes, 4, 4096).unwrap();
    let other = Entry::Identity(SecretKey::from_bytes([1; 32]));
    assert_eq!(image.run(Want::Set(other)), Err(KeyStoreError::AlreadyProvisioned));
    assert!(bytes == flash.bytes);
}
