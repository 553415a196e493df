//! `pysock peers`: who is connected, as the server says, beside what this program knows itself.

use pysock_std::{
    Error,
    proto::{Name, PeerInfo, PublicKey},
    state::State,
};
use serde_json::json;

use crate::{
    args::{Global, Peers},
    exit::Stop,
    join::{self, Stay},
    local::{open, state_path},
    print,
};

/// What this program knows about a peer that the server shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// It is this program.
    Own,
    /// The key is pinned, under this label.
    Pinned(Name),
    /// Neither key nor name is pinned.
    New,
    /// Another key is pinned under the name.
    Changed(PublicKey),
}

impl Known {
    fn of(peer: &PeerInfo, own: &PublicKey, state: &State) -> Self {
        match state.peer(&peer.name) {
            _ if peer.key == *own => Known::Own,
            Some(key) if key == peer.key => Known::Pinned(peer.name),
            Some(key) => Known::Changed(key),
            None => state.peer_label(&peer.key).map_or(Known::New, Known::Pinned),
        }
    }
}

pub(crate) async fn peers(global: &Global, options: Peers) -> Result<(), Stop> {
    let mut to = options.to;
    to.server = options.address.or(to.server);
    let client = join::connect(global, &to, Stay::Once).await?;
    let everyone = match client.clients().await {
        Ok(everyone) => everyone,
        Err(error) => return Err(join::give_up(client, error, "the server").await),
    };
    let own = client.public_key();
    let _ = client.close().await;
    let path = state_path(global, None)?;
    let state = open(&path)?.read().map_err(Error::from)?;
    if everyone.is_empty() {
        print::tell("the server does not say who is connected (`directory: false`)");
    }
    for peer in &everyone {
        let known = Known::of(peer, &own, &state);
        show(peer, known, global.json)?;
        if let Known::Changed(expected) = known {
            let (expected, offered) = (Box::new(expected), Box::new(peer.key));
            let state = Some(path.clone());
            let error = Error::PeerKeyChanged { name: peer.name, expected, offered, state };
            print::tell(&error.to_string());
        }
    }
    Ok(())
}

fn show(peer: &PeerInfo, known: Known, json: bool) -> Result<(), Stop> {
    let PeerInfo { id, key, name } = peer;
    let print = print::fingerprint(key);
    if json {
        let (trust, label, expected) = match known {
            Known::Own => ("self", None, None),
            Known::Pinned(label) => ("pinned", Some(label.to_string()), None),
            Known::New => ("new", None, None),
            Known::Changed(expected) => ("changed", None, Some(expected.to_string())),
        };
        return print::out_json(&json!({
            "name": name.as_str(),
            "number": id.0,
            "key": key.to_string(),
            "fingerprint": print.to_string(),
            "trust": trust,
            "label": label,
            "expected_key": expected,
        }));
    }
    let note = match known {
        Known::Own => "this program".to_owned(),
        Known::Pinned(label) if label == *name => "pinned".to_owned(),
        Known::Pinned(label) => format!("pinned as {label}"),
        Known::New => "new".to_owned(),
        Known::Changed(_) => "KEY CHANGED".to_owned(),
    };
    print::out_line(&format!("{name:<32}  {id:>5}  {print}  {note}", id = id.0))
}

#[cfg(test)]
mod tests {
    use pysock_std::proto::PeerId;

    use super::*;

    #[test]
    fn the_name_decides_first_and_the_key_after_it() {
        let (own, a, b) = (PublicKey([0; 32]), PublicKey([1; 32]), PublicKey([2; 32]));
        let name = |text: &str| text.parse::<Name>().unwrap();
        let mut state = State::default();
        state.pin_peer(name("a"), a).unwrap();
        state.pin_peer(name("b"), b).unwrap();
        for (shown, key, known) in [
            ("a", a, Known::Pinned(name("a"))),
            ("c", a, Known::Pinned(name("a"))),
            ("c", PublicKey([3; 32]), Known::New),
            ("a", PublicKey([3; 32]), Known::Changed(a)),
            // Both are pinned, and the server has swapped them.
            ("a", b, Known::Changed(a)),
            ("a", own, Known::Own),
        ] {
            let peer = PeerInfo { id: PeerId(1), key, name: name(shown) };
            assert_eq!(Known::of(&peer, &own, &state), known, "{shown} {key}");
        }
    }
}
