//! `pysock keygen`, `pubkey` and `psk`: keys.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read, Write},
    path::Path,
};

use pysock_std::{
    Error,
    config::new_secret_key,
    proto::{Identity, Keypair, Psk, PublicKey, RustCrypto, SecretKey},
};
use serde_json::{Value, json};

use crate::{
    args::{Global, Keygen, Pubkey},
    exit::Stop,
    print::{self, fingerprint, tell},
};

/// Nobody writes a mebibyte of configuration.
const LARGEST: u64 = 1 << 20;

pub(crate) fn public(key: SecretKey) -> PublicKey {
    Keypair::<RustCrypto>::new(key).public()
}

pub(crate) fn keygen(global: &Global, options: &Keygen) -> Result<(), Stop> {
    let secret = new_secret_key().map_err(Error::from)?;
    let public = public(secret.clone());
    let text = secret.to_text();
    let file = format!("# public key: {public}\n{}\n", text.expose());
    let Some(path) = &options.output else {
        tell(&format!("public key {public}"));
        return match global.json {
            true => {
                let public = public.to_string();
                print::out_json(&json!({ "secret_key": text.expose(), "public_key": public }))
            }
            false => print::out(file.as_bytes()),
        };
    };
    create(path, file.as_bytes())?;
    tell(&format!("wrote a new secret key to {}, public key {public}", path.display()));
    Ok(())
}

/// Writes a file that only its owner can read, and never over another one.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let place = path.display();
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Stop::local(format!(
            "{place} exists already, and a key is never overwritten; give another name"
        )),
        _ => Stop::local(format!("cannot create {place}: {error}")),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // A part of a key is of no use, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        Stop::local(format!("cannot write {place}: {error}"))
    })
}

pub(crate) fn pubkey(global: &Global, options: &Pubkey) -> Result<(), Stop> {
    let key = match options.file.as_deref().filter(|path| *path != Path::new("-")) {
        None => find(&read(std::io::stdin(), "stdin")?, either)
            .ok_or_else(|| Stop::local("there is no key on stdin; give a YAML or key file"))?,
        Some(path) => of_file(path, either)?,
    };
    match (global.json, options.fingerprint) {
        (true, _) => print::out_json(&object(&key)),
        (false, true) => print::out_line(&fingerprint(&key).to_string()),
        (false, false) => print::out_line(&key.to_string()),
    }
}

/// A key for programs.
pub(crate) fn object(key: &PublicKey) -> Value {
    json!({ "public_key": key.to_string(), "fingerprint": fingerprint(key).to_string() })
}

/// The secret key in a file, or in the key file beside a YAML without one; `-` is stdin.
pub(crate) fn secret_of(path: &Path) -> Result<SecretKey, Stop> {
    if path != Path::new("-") {
        return of_file(path, secret);
    }
    find(&read(std::io::stdin(), "stdin")?, secret)
        .ok_or_else(|| Stop::local("there is no secret key on stdin; give a YAML or key file"))
}

fn secret(text: &str) -> Option<SecretKey> {
    text.parse().ok()
}

/// The public key that is written there, or belongs to the secret one that is.
fn either(text: &str) -> Option<PublicKey> {
    secret(text).map(public).or_else(|| text.parse().ok())
}

/// The key in a file, or in the key file beside a YAML without one.
fn of_file<T>(path: &Path, kind: fn(&str) -> Option<T>) -> Result<T, Stop> {
    let place = path.display();
    let text_of = |path: &Path| {
        let place = path.display().to_string();
        let file = std::fs::File::open(path);
        read(file.map_err(|e| Stop::local(format!("cannot open {place}: {e}")))?, &place)
    };
    if let Some(key) = find(&text_of(path)?, kind) {
        return Ok(key);
    }
    let beside = path.with_extension("key");
    if beside != path
        && beside.exists()
        && let Some(key) = find(&text_of(&beside)?, kind)
    {
        return Ok(key);
    }
    Err(Stop::local(format!(
        "there is no key in {place}; a key file or a YAML file with `key:` has one"
    )))
}

fn read(from: impl Read, place: &str) -> Result<String, Stop> {
    let mut text = String::new();
    let read = from.take(LARGEST).read_to_string(&mut text);
    read.map_err(|e| Stop::local(format!("cannot read {place}: {e}")))?;
    Ok(text)
}

/// The first line that is a key, or says `key: …`.
fn find<T>(text: &str, kind: fn(&str) -> Option<T>) -> Option<T> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix("key:").unwrap_or(line);
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        kind(value)
    })
}

pub(crate) fn psk() -> Result<(), Stop> {
    let trouble = |e| Stop::local(format!("no random numbers for a new key: {e}"));
    let (mut hint, mut secret) = ([0; 8], [0; 32]);
    getrandom::fill(&mut hint).and_then(|()| getrandom::fill(&mut secret)).map_err(trouble)?;
    print::out_line(Psk::new(hint, secret).to_text().expose())
}
