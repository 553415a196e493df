//! `pysock trust`: the pinned keys of peers.

use std::{collections::BTreeMap, path::Path};

use pysock_std::{
    Error,
    proto::{Name, PublicKey},
    state::{NotPinned, State, StateFile},
};
use serde_json::json;

use crate::{
    args::{Global, Peer, Trust, TrustCommand},
    exit::Stop,
    local::{open, state_path},
    print::{self, fingerprint, tell},
};

/// The most names that an error lists; more help nobody.
const LISTED: usize = 10;

pub(crate) fn trust(global: &Global, options: &Trust) -> Result<(), Stop> {
    let path = state_path(global, options.state.as_ref())?;
    let file = open(&path)?;
    match &options.what {
        TrustCommand::List => list(&file, global.json),
        TrustCommand::Add(peer) => add(&file, peer, global.json),
        TrustCommand::Remove { name } => remove(&file, name, global.json),
        TrustCommand::Replace(peer) => replace(&file, peer, global.json),
    }
}

fn read(file: &StateFile) -> Result<State, Stop> {
    Ok(file.read().map_err(Error::from)?)
}

fn list(file: &StateFile, json: bool) -> Result<(), Stop> {
    let peers = read(file)?.peers;
    if peers.is_empty() {
        tell(&format!("no peer is pinned in {}", file.path().display()));
    }
    for (name, key) in peers {
        let print = fingerprint(&key).to_string();
        match json {
            true => print::out_json(
                &json!({ "name": name.as_str(), "key": key.to_string(), "fingerprint": print }),
            )?,
            false => print::out_line(&format!("{name}  {key}  ({print})"))?,
        }
    }
    Ok(())
}

fn add(file: &StateFile, peer: &Peer, json: bool) -> Result<(), Stop> {
    let Peer { name, key } = *peer;
    let pinned = file.update(|state| {
        let (new, alias) = (state.peer(&name).is_none(), state.peer_label(&key));
        state.pin_peer(name, key).map(|()| (new, alias))
    });
    let (new, alias) = pinned.map_err(Error::from)?.map_err(|why| match why {
        NotPinned::OtherKey(bound) => {
            let (expected, offered) = (Box::new(bound.key), Box::new(key));
            let state = Some(file.path().to_owned());
            Error::PeerKeyChanged { name, expected, offered, state }.into()
        }
        full => Stop::local(full),
    })?;
    if let (true, Some(alias)) = (new, alias) {
        tell(&format!("the same key is pinned as {alias}, too"));
    }
    let print = fingerprint(&key).to_string();
    if json {
        return print::out_json(&json!({
            "pinned": name.as_str(), "key": key.to_string(), "fingerprint": print, "new": new,
        }));
    }
    let done = if new { "pinned" } else { "already pinned:" };
    print::out_line(&format!("{done} {name}, which has the key {key} ({print})"))
}

fn remove(file: &StateFile, name: &Name, json: bool) -> Result<(), Stop> {
    require(file, name)?;
    let removed = file.update(|state| {
        // Another process may have been faster.
        state.forget_peer(name).ok_or_else(|| not_pinned(file.path(), name, &state.peers))
    });
    let key = removed.map_err(Error::from)??;
    let print = fingerprint(&key).to_string();
    match json {
        true => print::out_json(
            &json!({ "removed": name.as_str(), "key": key.to_string(), "fingerprint": print }),
        ),
        false => print::out_line(&format!("removed {name}, which had the key {key} ({print})")),
    }
}

fn replace(file: &StateFile, peer: &Peer, json: bool) -> Result<(), Stop> {
    let Peer { name, key } = peer;
    require(file, name)?;
    let replaced = file.update(|state| {
        state.replace_peer(name, *key).ok_or_else(|| not_pinned(file.path(), name, &state.peers))
    });
    let old = replaced.map_err(Error::from)??;
    let (was, is) = (fingerprint(&old), fingerprint(key));
    if json {
        return print::out_json(&json!({
            "replaced": name.as_str(),
            "old_key": old.to_string(),
            "old_fingerprint": was.to_string(),
            "key": key.to_string(),
            "fingerprint": is.to_string(),
        }));
    }
    if old == *key {
        return print::out_line(&format!("{name} has the key {key} ({is}) already"));
    }
    print::out_line(&format!(
        "replaced the key of {name}\n  old  {old}\n       ({was})\n  new  {key}\n       ({is})"
    ))
}

/// Looked at first: where there is nothing to change, no file comes into being.
fn require(file: &StateFile, name: &Name) -> Result<(), Stop> {
    let peers = read(file)?.peers;
    match peers.contains_key(name) {
        true => Ok(()),
        false => Err(not_pinned(file.path(), name, &peers)),
    }
}

/// Says that a peer is not pinned, and which ones may have been meant.
pub(crate) fn not_pinned(path: &Path, name: &Name, peers: &BTreeMap<Name, PublicKey>) -> Stop {
    let joined = |names: &[&str]| names.join(", ");
    let similar: Vec<&str> = peers
        .keys()
        .map(Name::as_str)
        .filter(|known| alike(known, name.as_str()))
        .take(LISTED)
        .collect();
    let all: Vec<&str> = peers.keys().map(Name::as_str).take(LISTED).collect();
    let hint = match peers.len() {
        0 => "no peer is".to_owned(),
        _ if !similar.is_empty() => format!("did you mean {}?", joined(&similar)),
        n if n <= LISTED => format!("pinned are {}", joined(&all)),
        n => format!("`pysock trust list` shows the {n} that are"),
    };
    Stop::local(format!("{name} is not pinned in {}; {hint}", path.display()))
}

/// Whether one name may be a slip of the hand for the other.
fn alike(a: &str, b: &str) -> bool {
    let part = |long: &str, short: &str| short.len() >= 3 && long.contains(short);
    part(a, b) || part(b, a) || distance(a, b) <= 2.min(a.len().min(b.len()) / 2)
}

/// How many letters have to be inserted, removed or exchanged to come from one to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(from != to)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_alike_and_other_names_are_not() {
        for (a, b, steps) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
        for (a, b) in [("kitchen", "kitchn"), ("kitchen", "kithcen"), ("kitchen", "kitchen-2")] {
            assert!(alike(a, b) && alike(b, a), "{a} {b}");
        }
        for (a, b) in [("kitchen", "cellar"), ("a", "b"), ("ab", "cd"), ("a", "attic")] {
            assert!(!alike(a, b) && !alike(b, a), "{a} {b}");
        }
    }
}
