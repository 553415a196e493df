//! From a path to a configuration: which files there are, who may read them, and whose key counts.

use std::path::{Path, PathBuf};

use pysock_proto::{Identity, Keypair, Psk, RustCrypto, SecretKey};

use super::{
    ConfigError, new_secret_key,
    rule::Parsed,
    table::{Options, Table},
    yaml,
};
use crate::file;

/// Nobody writes a mebibyte of configuration.
const LARGEST_YAML: u64 = 1 << 20;
const LARGEST_KEY: u64 = 4096;

pub(super) const SECRET_KEY: Parsed<SecretKey> =
    Parsed::new("a secret key, `PYSOCK-SECRET-KEY-1…`; without `key:` a new one is made");
pub(super) const PSK: Parsed<Psk> = Parsed::new("a pre-shared key, `PYSOCK-PSK-1…`");

/// A configuration that has a file.
pub(super) trait File: Table + Sized {
    /// The YAML of a new file, with `{public}` and `{secret}` for the keys.
    const TEMPLATE: &'static str;

    fn start(key: SecretKey) -> Self;
    fn key(&mut self) -> &mut SecretKey;
    fn state(&mut self) -> &mut Option<PathBuf>;
    fn check(&self) -> Result<(), ConfigError>;
}

pub(super) fn load<C: File>(path: &Path) -> Result<C, ConfigError> {
    let (key_path, state_path) = (path.with_extension("key"), path.with_extension("state"));
    if path == key_path || path == state_path {
        return Err(ConfigError::FileName { path: path.to_owned() });
    }
    let mut kept = read_key(&key_path)?;
    let contents = loop {
        match file::read(path, LARGEST_YAML)? {
            Some(contents) => break contents,
            None => {
                // A key that is kept beside is the identity, even if the YAML went missing.
                let key = kept.clone().map_or_else(new_secret_key, Ok)?;
                file::create(path, &filled(C::TEMPLATE, &key))?;
                // Ours, or that of another process which was faster: read it either way.
            }
        }
    };
    // Stands for no key: it leaves this function replaced, or not at all.
    let mut config = C::start(SecretKey::from_bytes([0; 32]));
    let seen = yaml::parse(path, &contents.text, Options(&mut config))?;
    if seen.contains(&"key") || seen.contains(&"psk") {
        contents.require_private()?;
    }
    if !seen.contains(&"key") {
        while kept.is_none() {
            file::create(&key_path, &filled(KEY_FILE, &new_secret_key()?))?;
            kept = read_key(&key_path)?;
        }
    }
    match kept {
        Some(kept) if !seen.contains(&"key") => *config.key() = kept,
        Some(kept) if kept != *config.key() => {
            return Err(ConfigError::TwoKeys { yaml: path.to_owned(), key_file: key_path });
        }
        _ => {}
    }
    let state = config.state();
    *state = Some(match (state.take(), path.parent()) {
        (Some(state), Some(folder)) => folder.join(state),
        _ => state_path,
    });
    // What is left to check are options that do not go together: they have no single place.
    config.check().map_err(|wrong| {
        let report = format!("{wrong}\n --> {}", path.display());
        ConfigError::Yaml { path: path.to_owned(), line: 0, column: 0, report }
    })?;
    Ok(config)
}

/// A key file: comments, and one secret key.
const KEY_FILE: &str = "\
# The secret key that belongs to the YAML file beside this one. Who has it is you: keep it private.
# public key: {public}
{secret}
";

fn filled(template: &str, key: &SecretKey) -> String {
    let public = Keypair::<RustCrypto>::new(key.clone()).public().to_string();
    template.replace("{public}", &public).replace("{secret}", key.to_text().expose())
}

fn read_key(path: &Path) -> Result<Option<SecretKey>, ConfigError> {
    let Some(contents) = file::read(path, LARGEST_KEY)? else {
        return Ok(None);
    };
    contents.require_private()?;
    let wrong = |what: String| ConfigError::KeyFile { path: path.to_owned(), what };
    let mut keys = contents
        .text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (at, text) = keys.next().ok_or_else(|| wrong("there is no key in it".to_owned()))?;
    if let Some((at, _)) = keys.next() {
        return Err(wrong(format!("line {at} holds something after the key")));
    }
    text.parse().map(Some).map_err(|e| wrong(format!("line {at} is {e}")))
}
