//! `pysock fingerprint`: a key as people compare it.

use pysock_std::{
    Error,
    proto::{Name, PublicKey},
};

use crate::{
    args::{Fingerprint, Global},
    exit::Stop,
    keys,
    local::{open, own_key, state_path},
    print, trust,
};

pub(crate) fn fingerprint(global: &Global, options: &Fingerprint) -> Result<(), Stop> {
    let (name, key) = match &options.of {
        None => (None, own_key(global)?),
        Some(of) => find(global, options, of)?,
    };
    if global.json {
        let mut object = keys::object(&key);
        if let Some(name) = name {
            object["name"] = name.as_str().into();
        }
        return print::out_json(&object);
    }
    if let Some(name) = name {
        print::out_line(&format!("peer         {name}"))?;
    }
    print::out_line(&format!("public key   {key}\nfingerprint  {}", print::fingerprint(&key)))
}

/// The peer that is called so, or has this key: its label if it is pinned, and its key.
fn find(
    global: &Global,
    options: &Fingerprint,
    of: &str,
) -> Result<(Option<Name>, PublicKey), Stop> {
    let path = state_path(global, options.state.as_ref())?;
    let state = open(&path)?.read().map_err(Error::from)?;
    // A key is longer than any name.
    if let Ok(key) = of.parse() {
        return Ok((state.peer_label(&key), key));
    }
    let name = of.parse().map_err(Stop::usage)?;
    let key = state.peer(&name).ok_or_else(|| trust::not_pinned(&path, &name, &state.peers))?;
    Ok((Some(name), key))
}
