//! What errors say: to whoever reads a log, and to the other side.

use std::{collections::BTreeSet, fmt::Display};

use pysock_proto::{
    Alert, ChannelId, CloseReason, Failure, NameError, PeerError, PeerId, PeerRefusal, PublicKey,
    Refusal,
    flash::{Fault, KeyStoreError},
    registry::BindError,
    router::{FixedRouter, JoinError, Router},
    store::{Fixed, Full},
};

/// Each says something of its own, which fits behind a colon and into a sentence.
fn say_something<E: Display>(errors: impl IntoIterator<Item = E>) {
    let mut said = BTreeSet::new();
    for error in errors {
        let text = error.to_string();
        let first = text.chars().next().expect("it says nothing");
        assert!(!first.is_uppercase() && !text.ends_with('.') && !text.contains("  "), "{text}");
        assert!(said.insert(text.clone()), "{text}: it is said of two errors");
    }
    assert!(said.len() > 1);
}

#[test]
fn every_error_says_something_of_its_own() {
    let codes = 0..=u8::MAX;
    say_something(codes.clone().map(Refusal::from_code));
    say_something(codes.clone().map(CloseReason::from_code));
    say_something(codes.clone().map(Failure::from_code));
    say_something(codes.clone().map(Alert::from_code));
    say_something(codes.clone().map(PeerRefusal::from_code));
    say_something(codes.map(|code| PeerError::Refused(PeerRefusal::from_code(code))));
    let names = ["", "A b", "ä", &"n".repeat(33)];
    let name_errors = names.map(|name| name.parse::<pysock_proto::Name>().unwrap_err());
    assert_eq!(name_errors[0], NameError::Empty);
    say_something([name_errors[0], name_errors[1], name_errors[3]]);
    assert_eq!(Full.to_string(), "the storage is full");
    say_something([
        BindError::NameTaken(PeerId(7)),
        BindError::KeyHasName(PeerId(7)),
        BindError::Full,
    ]);
    say_something([
        JoinError::NoChannel,
        JoinError::AlreadyOpen(ChannelId(7)),
        JoinError::NumberInUse,
        JoinError::TooMany,
        JoinError::Full,
    ]);
    let mut router: FixedRouter<1, 1> = Router::new(1, Fixed::new(), Fixed::new(), Fixed::new());
    let name = "a".parse().unwrap();
    router.create(&name).unwrap();
    let twice = router.create(&name).unwrap_err();
    say_something([twice, router.create(&"b".parse().unwrap()).unwrap_err()]);
    say_something([
        KeyStoreError::Flash(Fault::NotAligned),
        KeyStoreError::Flash(Fault::OutOfBounds),
        KeyStoreError::Flash(Fault::Other),
        KeyStoreError::WornOut,
        KeyStoreError::Region,
        KeyStoreError::Empty,
        KeyStoreError::AlreadyProvisioned,
        KeyStoreError::Corrupt { at: 4096 },
        KeyStoreError::NewerFormat { version: 2 },
        KeyStoreError::OtherGeometry,
        KeyStoreError::OtherKey(PublicKey([7; 32])),
        KeyStoreError::Full,
        KeyStoreError::Entropy,
    ]);
}

#[test]
fn every_code_means_one_thing() {
    for code in 0..=u8::MAX {
        assert_eq!(Refusal::from_code(code).code(), code);
        assert_eq!(CloseReason::from_code(code).code(), code);
        assert_eq!(Failure::from_code(code).code(), code);
        assert_eq!(Alert::from_code(code).code(), code);
        assert_eq!(PeerRefusal::from_code(code).code(), code);
    }
}
