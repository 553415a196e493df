//! `pysock provision`: the key range of a device's flash, made on the desktop.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use pysock_std::{
    Error,
    config::new_secret_key,
    proto::{
        PublicKey, SecretKey,
        flash::{Entry, Image, KeyStoreError, KnownServer, Want},
    },
};
use serde_json::{Value, json};
use zeroize::Zeroize;

use crate::{
    args::{Global, Provision},
    exit::Stop,
    keys::{create, object, public, secret_of},
    print::{self, fingerprint, tell},
};

/// The slot of the server that a device has only one of.
const SLOT: u8 = 0;
/// No image is larger.
const LARGEST: u64 = 16 << 20;
/// Every unit that there is. An image says which one it has.
const UNITS: [u32; 4] = [4, 8, 16, 32];

/// The bytes of an image. They hold a secret: wiped when dropped.
struct Bytes(Vec<u8>);

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

pub(crate) fn provision(global: &Global, options: &Provision) -> Result<(), Stop> {
    if let Some(path) = &options.show {
        return show(global, path);
    }
    // Clap has seen to it.
    let path = options.output.as_deref().ok_or_else(|| Stop::usage("give a file with --output"))?;
    let place = path.display();
    if !options.force && path.symlink_metadata().is_ok() {
        return Err(Stop::local(format!(
            "{place} exists already, and may hold the only copy of an identity; give another name, or --force to \
             replace it"
        )));
    }
    let secret = match &options.key {
        Some(path) => secret_of(path)?,
        None => new_secret_key().map_err(Error::from)?,
    };
    let own = public(secret.clone());
    check(options, &own)?;
    let mut bytes = Bytes(vec![0; options.size as usize]);
    fill(&mut bytes.0, options, &secret).map_err(|error| refused(options, error))?;
    write(path, &bytes.0, options.force)?;
    tell(&format!(
        "wrote an image of {} bytes to {place}. Program it at the offset of the key range, on this device alone. It \
         holds the secret key: keep it private, and remove it when that is done",
        options.size
    ));
    match global.json {
        true => print::out_json(&described(options, &own)),
        false => {
            print::out_line(&format!("public key   {own}\nfingerprint  {}", fingerprint(&own)))
        }
    }
}

/// Refuses what contradicts itself.
fn check(options: &Provision, own: &PublicKey) -> Result<(), Stop> {
    if options.server.as_ref() == Some(own) {
        return Err(Stop::usage(
            "the server has the key of the device itself; each needs a key of its own",
        ));
    }
    for (n, (label, key)) in options.peers.iter().enumerate() {
        if key == own {
            return Err(Stop::usage(format!(
                "{label} has the key of the device itself; each needs a key of its own"
            )));
        }
        let earlier = options.peers.iter().take(n).find(|(other, _)| other == label);
        if earlier.is_some_and(|(_, other)| other != key) {
            return Err(Stop::usage(format!(
                "two keys are given for {label}; give each peer a label of its own"
            )));
        }
    }
    Ok(())
}

fn fill(bytes: &mut [u8], options: &Provision, secret: &SecretKey) -> Result<(), KeyStoreError> {
    let Provision { unit, page, .. } = *options;
    let mut image = Image::provision(bytes, unit, page, secret, options.name.as_ref())?;
    if let Some(key) = options.server {
        // Which suites it has, the device learns when it connects.
        image.run(Want::Set(Entry::Server(SLOT, KnownServer::new(key, &[]))))?;
    }
    for (label, key) in &options.peers {
        image.run(Want::Set(Entry::Peer(*label, *key)))?;
    }
    Ok(())
}

fn refused(options: &Provision, error: KeyStoreError) -> Stop {
    let Provision { size, page, unit, .. } = options;
    match error {
        KeyStoreError::Region => Stop::usage(format!(
            "--size {size} does not suit --page {page} and --unit {unit}: {error}"
        )),
        KeyStoreError::Full => Stop::usage(format!(
            "there is no room for {} peers in {size} bytes: give fewer of them, or a larger --size",
            options.peers.len()
        )),
        error => Stop::local(error),
    }
}

/// Writes the image: to a new file, or as a whole instead of an old one.
fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Stop> {
    if !force {
        return create(path, bytes);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    create(temporary, bytes)?;
    fs::rename(temporary, path).map_err(|error| {
        // Half of the way is of no use, and would be in the way of the next attempt.
        let _ = fs::remove_file(temporary);
        Stop::local(format!("cannot replace {}: {error}", path.display()))
    })
}

fn described(options: &Provision, own: &PublicKey) -> Value {
    let mut object = object(own);
    object["name"] = options.name.map(|name| name.as_str().to_owned()).into();
    object["size"] = options.size.into();
    object["unit"] = options.unit.max(UNITS[0]).into();
    object
}

fn show(global: &Global, path: &Path) -> Result<(), Stop> {
    let place = path.display();
    let cannot = |why: &dyn std::fmt::Display| Stop::local(format!("cannot show {place}: {why}"));
    let mut bytes = Bytes(Vec::new());
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes.0).map_err(|e| cannot(&e))?;
    let len = bytes.0.len();
    if len as u64 > LARGEST {
        return Err(cannot(&"it is too large to be an image"));
    }
    // What is written for another unit says so. Pages leave no trace.
    let unit = UNITS.into_iter().find(|unit| {
        let opened = Image::open(&mut bytes.0, *unit, 1);
        !matches!(opened.map(drop), Err(KeyStoreError::OtherGeometry | KeyStoreError::Region))
    });
    let unit = unit.ok_or_else(|| {
        let lengths = "it is as long as the range for keys, and a part of it, or it with more around it, is none";
        cannot(&format!("{len} bytes are not the length of this image: {lengths}"))
    })?;
    let mut image = Image::open(&mut bytes.0, unit, 1).map_err(|error| match error {
        KeyStoreError::Empty => {
            cannot(&"it is erased, or provisioning it was cut short: there is no key in it")
        }
        KeyStoreError::Corrupt { at } => {
            cannot(&format!("it is damaged at {at:#x}, or holds something else; make a new one"))
        }
        error => cannot(&error),
    })?;
    let mut entries = Vec::new();
    while let Some(entry) =
        image.run(Want::Number(entries.len())).map_err(|error| cannot(&error))?
    {
        entries.push(entry);
    }
    // Identity, name, servers, peers; the image may have them in any order.
    entries.sort_by_key(|entry| match entry {
        Entry::Identity(_) => (0, 0, None),
        Entry::OwnName(_) => (1, 0, None),
        Entry::Server(slot, _) => (2, *slot, None),
        entry => (3, 0, entry.name().copied()),
    });
    if !global.json {
        print::out_line(&format!("image        {len} bytes, units of {unit}"))?;
    }
    entries.iter().try_for_each(|entry| line(entry, global.json))
}

/// What may be known of an entry, on one line.
fn line(entry: &Entry, json: bool) -> Result<(), Stop> {
    let (kind, name, key) = match entry {
        Entry::Identity(secret) => ("identity", String::new(), Some(public(secret.clone()))),
        Entry::OwnName(name) => ("name", name.to_string(), None),
        Entry::Server(slot, server) => ("server", slot.to_string(), Some(server.key)),
        Entry::Peer(label, key) => ("peer", label.to_string(), Some(*key)),
        // Said of what is not there any more.
        Entry::NoServer(_) | Entry::NoPeer(_) => return Ok(()),
    };
    if json {
        let mut shown = key.as_ref().map_or_else(|| json!({}), object);
        shown["kind"] = kind.into();
        if !name.is_empty() {
            shown["name"] = name.into();
        }
        return print::out_json(&shown);
    }
    match (kind, key) {
        ("identity", Some(key)) => {
            print::out_line(&format!("public key   {key}\nfingerprint  {}", fingerprint(&key)))
        }
        (_, Some(key)) => {
            print::out_line(&format!("{kind:<12} {name}  {key}  ({})", fingerprint(&key)))
        }
        (_, None) => print::out_line(&format!("{kind:<12} {name}")),
    }
}
