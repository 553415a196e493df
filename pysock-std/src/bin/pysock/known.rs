//! `pysock known` and `pysock forget`: what is remembered.

use pysock_std::{Error, proto::PublicKey, state::server_id};
use serde_json::json;

use crate::{
    args::{Forget, Global, Known},
    exit::Stop,
    local::{open, state_path},
    print::{self, fingerprint},
};

pub(crate) fn known(global: &Global, options: &Known) -> Result<(), Stop> {
    let path = state_path(global, options.state.as_ref())?;
    let state = open(&path)?.read().map_err(Error::from)?;
    let servers = state.servers.iter().map(|(address, known)| ("server", &**address, known.key));
    let names = state.names.iter().map(|(name, binding)| ("name", name.as_str(), binding.key));
    let peers = state.peers.iter().map(|(name, key)| ("peer", name.as_str(), *key));
    let all: Vec<(&str, &str, PublicKey)> = servers.chain(names).chain(peers).collect();
    if all.is_empty() {
        print::tell(&format!("nothing is remembered in {}", path.display()));
    }
    for (kind, name, key) in all {
        let print = fingerprint(&key).to_string();
        match global.json {
            true => print::out_json(
                &json!({ "kind": kind, "name": name, "key": key.to_string(), "fingerprint": print }),
            )?,
            false => print::out_line(&format!("{kind:<6} {name}  {key}  ({print})"))?,
        }
    }
    Ok(())
}

pub(crate) fn forget(global: &Global, options: &Forget) -> Result<(), Stop> {
    let path = state_path(global, options.state.as_ref())?;
    let id = server_id(&options.address.host, options.address.port_or_default());
    let file = open(&path)?;
    let nothing = |known: Vec<String>| {
        let known = match known.is_empty() {
            true => "it remembers no server".to_owned(),
            false => format!("it remembers {}", known.join(", ")),
        };
        Stop::local(format!("{} does not remember {id}; {known}", path.display()))
    };
    // Looked at first: where there is nothing to forget, no file comes into being.
    let state = file.read().map_err(Error::from)?;
    if !state.servers.contains_key(&id) {
        return Err(nothing(state.servers.into_keys().collect()));
    }
    let removed = file.update(|state| state.servers.remove(&id)).map_err(Error::from)?;
    // Another process may have been faster.
    let key = removed.ok_or_else(|| nothing(Vec::new()))?.key;
    let print = fingerprint(&key);
    match global.json {
        true => print::out_json(
            &json!({ "forgot": id, "key": key.to_string(), "fingerprint": print.to_string() }),
        ),
        false => print::out_line(&format!("forgot {id}, which had the key {key} ({print})")),
    }
}
