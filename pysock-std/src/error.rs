//! What can go wrong for a program that uses pysock, in sentences that say what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use pysock_proto::{
    Alert, CloseReason, Failure, Fingerprint, GroupError, Name, NameError, PeerError, PublicKey,
    Refusal, RustCrypto,
};

use crate::{config::ConfigError, file, state::StateError};

/// Why an operation failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What has to be remembered could not be read or stored.
    #[error(transparent)]
    State(#[from] StateError),
    /// The operating system gave no randomness; without it there are no keys.
    #[error("the operating system gave no randomness: {0}")]
    Entropy(String),
    /// The server cannot listen there.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where it should have listened.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server cannot start the threads that its configuration asks for.
    #[error("cannot start a thread for connections: {0}; `threads: 0` needs none")]
    Threads(io::Error),
    /// Nothing answers at the server's address.
    #[error("cannot reach {address}: {source}; is the server running?")]
    Connect {
        /// Where the client tried to connect.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Connecting and the handshake together took longer than allowed.
    #[error("{address} did not complete the handshake within {} s", .timeout.as_secs_f64())]
    Timeout {
        /// Where the client tried to connect.
        address: String,
        /// How long it tried.
        timeout: Duration,
    },
    /// The handshake with the server failed, without proof of who caused it.
    #[error("the handshake with {address} failed: {source}")]
    Handshake {
        /// The server's address.
        address: String,
        /// Precisely why.
        source: pysock_proto::Error,
    },
    /// The server answers with another key than the one remembered or configured. Either it was set up anew,
    /// or somebody else answers in its place.
    #[error(
        "{}\nEither the server was set up anew, or somebody else is answering in its place. Nothing was sent to it.\n\
         If you have checked the new key with the server's operator: {remedy}",
        changed(address, expected, offered.as_deref())
    )]
    ServerKeyChanged {
        /// The server's address.
        address: String,
        /// The key that was remembered or configured.
        expected: Box<PublicKey>,
        /// The key that answers now, if it could be found out.
        offered: Option<Box<PublicKey>>,
        /// What to do if the change is intended.
        remedy: String,
    },
    /// Nothing is known about the server's key, and the trust policy does not accept unknown ones.
    #[error(
        "{}; compare it with the server's operator, then set \
         `server_key: {key}` in the configuration, or `trust: accept-new`",
        unknown(address, key)
    )]
    UnknownServer {
        /// The server's address.
        address: String,
        /// The key that it has.
        key: Box<PublicKey>,
    },
    /// A peer has another key than the one pinned under its name. Either it was installed anew, or the server or
    /// somebody else pretends to be it.
    #[error(
        "{}\nThis may be an attack: the server, or somebody through it, pretends to be {name}. Or {name} was \
         installed anew. Nothing was sent to the new key, and the old one stays pinned.\n\
         Compare the fingerprints with {name} by voice or in person, not through this server; \
         `pysock fingerprint` shows {name} its own. Only if the offered one is right, {}",
        changed(name.as_str(), expected, Some(offered)),
        replace_remedy(name, offered, state.as_deref())
    )]
    PeerKeyChanged {
        /// The name it is pinned under.
        name: Name,
        /// The key that is pinned.
        expected: Box<PublicKey>,
        /// The key that goes under this name now.
        offered: Box<PublicKey>,
        /// The file in which it is pinned; `None`: only as long as the program runs.
        state: Option<PathBuf>,
    },
    /// Nothing is known about a peer's key, and the policy for peers does not accept unknown ones, or nobody has
    /// said yes.
    #[error(
        "{}; only the server says that it is {name}'s. Compare the fingerprint with {name} by voice or in person, \
         not through this server, then {}\n\nor set `peers: accept-new` in the configuration",
        unknown(name.as_str(), key),
        add_remedy(name, key, state.as_deref())
    )]
    UnknownPeer {
        /// What the server calls it.
        name: Name,
        /// The key that the server says it has.
        key: Box<PublicKey>,
        /// The file to pin it in; `None`: the program has none.
        state: Option<PathBuf>,
    },
    /// There is no end-to-end session with another client.
    #[error("no end-to-end session with {name}: {source}")]
    Peer {
        /// What it is called.
        name: Name,
        /// Precisely why.
        source: PeerError,
    },
    /// The server has named one key as another client's, and the other side has proven a different one.
    #[error(
        "the server says that {name} has the key {named}, but who answers has the key {proven} (fingerprints {} and \
         {}). Somebody on the way, the server or the other client, is lying. Nothing was sent to it",
        Fingerprint::of::<RustCrypto>(named),
        Fingerprint::of::<RustCrypto>(proven)
    )]
    KeySwapped {
        /// What it is called.
        name: Name,
        /// The key that the server has named.
        named: Box<PublicKey>,
        /// The key that was proven.
        proven: Box<PublicKey>,
    },
    /// The server is no client: there is no end-to-end session with it.
    #[error("the server is no client: send to it on a channel")]
    NoPeers,
    /// The server itself, authenticated, does not let this client in.
    #[error("the server refused {name:?}: {reason}{}", refusal_hint(*reason))]
    Refused {
        /// The name that the client asked for.
        name: String,
        /// Why.
        reason: Refusal,
    },
    /// The server closed the connection, authenticated.
    #[error("the server closed the connection: {0}")]
    Closed(CloseReason),
    /// The client or server was closed on this side, or the connection is lost and not to be made anew.
    #[error("the connection is closed")]
    Disconnected,
    /// A message or request did not get through.
    #[error("{to} did not get it: {failure}")]
    Failed {
        /// Whom it was for.
        to: String,
        /// Why.
        failure: Failure,
    },
    /// No reply came in time. Whether the request was acted upon is unknown.
    #[error("no reply from {to} within {} s; whether it acted on the request is unknown", .timeout.as_secs_f64())]
    NoReply {
        /// Who was asked.
        to: String,
        /// How long it had.
        timeout: Duration,
    },
    /// The connection was lost before the reply came. Whether the request was acted upon is unknown.
    #[error(
        "the connection was lost before the reply came; whether {to} acted on the request is unknown"
    )]
    OutcomeUnknown {
        /// Who was asked.
        to: String,
    },
    /// A group does not allow it, or not to this client.
    #[error("the group {label}: {source}")]
    Group {
        /// What the group is called.
        label: Name,
        /// Precisely why.
        source: GroupError,
    },
    /// A client that was invited to a group does not join it.
    #[error("{name} does not join the group")]
    Declined {
        /// What it is called.
        name: Name,
    },
    /// The channel was created before.
    #[error("the channel {0:?} was created before; there is one listener for each")]
    ChannelExists(String),
    /// The server does not have the channel, or this client has not opened it.
    #[error(
        "there is no channel {0:?}; the server has to create it, and then the client to open it"
    )]
    NoChannel(String),
    /// A name breaks the rules.
    #[error("{name:?} is no name: {source}")]
    Name {
        /// The text.
        name: String,
        /// Which rule it breaks.
        source: NameError,
    },
    /// The message is larger than this side or the other takes.
    #[error(
        "a message of {size} bytes is larger than the {limit} allowed; stream it, or raise `max_message`"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The message does not hold what was expected.
    #[error("the message does not hold what was expected: {0}")]
    Value(String),
    /// The message was no request, or was answered already.
    #[error("this message asks for no reply")]
    NoRequest,
    /// A file could not be used.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// As it is shown: what `main` returns is printed so, and whoever runs a program should read the sentence that says what
/// to do.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fingerprint by which people compare a key.
pub(crate) fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::of::<crate::link::C>(key)
}

/// How the errors about unknown keys begin.
fn unknown(who: &str, key: &PublicKey) -> String {
    format!("the key of {who} is not known: {key} ({})", fingerprint(key))
}

/// How the errors about changed keys begin: both keys, one below the other.
fn changed(who: &str, expected: &PublicKey, offered: Option<&PublicKey>) -> String {
    let shown = |key: &PublicKey| format!("{key}\n           ({})", fingerprint(key));
    let expected = shown(expected);
    let offered =
        offered.map_or_else(|| "unknown (it answers no first contact either)".into(), shown);
    format!("THE KEY OF {who} HAS CHANGED.\n  expected {expected}\n  offered  {offered}")
}

/// The command that pins a peer, to be pasted into a shell.
fn trust_line(verb: &str, name: &Name, key: &PublicKey, state: Option<&Path>) -> String {
    let file = state.map_or_else(|| "FILE".into(), file::shell_quoted);
    // A name may begin like an option.
    match name.as_str().starts_with('-') {
        true => format!("pysock trust {verb} --state {file} -- {name} {key}"),
        false => format!("pysock trust {verb} {name} {key} --state {file}"),
    }
}

/// What to do if the key of an unknown peer is right.
fn add_remedy(name: &Name, key: &PublicKey, state: Option<&Path>) -> String {
    let line = trust_line("add", name, key, state);
    let run =
        if state.is_some() { "run" } else { "set `state: FILE` in the configuration, and run" };
    format!("{run}\n\n    {line}")
}

/// What to do if the new key of a peer is right.
fn replace_remedy(name: &Name, key: &PublicKey, state: Option<&Path>) -> String {
    match state {
        Some(_) => format!("run\n\n    {}", trust_line("replace", name, key, state)),
        None => "restart the program, which remembers no peers beyond its end".into(),
    }
}

fn refusal_hint(reason: Refusal) -> &'static str {
    match reason {
        Refusal::NameTaken => "; choose another name, or use the key that owns it",
        Refusal::KeyHasName => {
            "; connect under that name (`name`), or with another key (another configuration)"
        }
        Refusal::NotAllowed => "; ask the server's operator to add your public key",
        Refusal::NotInvited => "; ask the server's operator for a `psk`",
        _ if reason.is_temporary() => "; trying again later may help",
        _ => "",
    }
}

impl Error {
    /// Whether the same attempt may succeed later: nothing authenticated says otherwise.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Timeout { .. } => true,
            Error::Handshake { source, .. } => !matches!(
                source,
                pysock_proto::Error::Rejected
                    | pysock_proto::Error::Alert(Alert::Version | Alert::Suite | Alert::Pattern)
            ),
            Error::Refused { reason, .. } => reason.is_temporary(),
            Error::Closed(reason) => reason.is_temporary(),
            // Without proof of who answers, it may be gone as it came; the pin stays what it is.
            Error::ServerKeyChanged { .. } | Error::PeerKeyChanged { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: PublicKey = PublicKey([1; 32]);
    const NEW: PublicKey = PublicKey([2; 32]);

    fn peer_changed(name: &str, state: Option<&str>) -> Error {
        Error::PeerKeyChanged {
            name: name.parse().unwrap(),
            expected: Box::new(OLD),
            offered: Box::new(NEW),
            state: state.map(PathBuf::from),
        }
    }

    fn unknown_peer(name: &str, state: Option<&str>) -> Error {
        let (name, key) = (name.parse().unwrap(), Box::new(NEW));
        Error::UnknownPeer { name, key, state: state.map(PathBuf::from) }
    }

    #[track_caller]
    fn says(error: &Error, texts: &[&str]) {
        let said = error.to_string();
        assert_eq!(said, format!("{error:?}"), "what `main` returns is printed so");
        for text in texts {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
    }

    #[test]
    fn a_changed_peer_key_shows_both_keys_and_the_only_way_to_accept_it() {
        let error = peer_changed("kitchen", Some("a folder/client.state"));
        let (old, new) = (fingerprint(&OLD).to_string(), fingerprint(&NEW).to_string());
        let line =
            format!("\n    pysock trust replace kitchen {NEW} --state 'a folder/client.state'");
        says(
            &error,
            &[
                "THE KEY OF kitchen HAS CHANGED.\n",
                &format!("expected {OLD}\n           ({old})\n"),
                &format!("offered  {NEW}\n           ({new})\n"),
                "may be an attack: the server, or somebody through it, pretends to be kitchen",
                "installed anew",
                "by voice",
                "the old one stays pinned",
            ],
        );
        assert!(error.to_string().ends_with(&line), "{error}");
        assert!(error.is_temporary(), "the real one may come back, the pin stays what it is");
        let nowhere = peer_changed("kitchen", None);
        says(&nowhere, &[&old, &new, "restart the program"]);
        assert!(!nowhere.to_string().contains("pysock trust"), "{nowhere}");
    }

    #[test]
    fn an_unknown_peer_is_shown_with_the_command_that_pins_it() {
        let error = unknown_peer("kitchen", Some("/var/client.state"));
        let line = format!("\n    pysock trust add kitchen {NEW} --state /var/client.state\n");
        let print = fingerprint(&NEW).to_string();
        says(
            &error,
            &[&format!("the key of kitchen is not known: {NEW} ({print})"), "by voice", &line],
        );
        says(&error, &["only the server says that it is kitchen's", "`peers: accept-new`"]);
        assert!(!error.is_temporary(), "somebody has to decide");
        let nowhere = unknown_peer("kitchen", None);
        let line = format!("pysock trust add kitchen {NEW} --state FILE");
        says(&nowhere, &["set `state: FILE` in the configuration", &line]);
    }

    #[test]
    fn a_name_that_begins_like_an_option_is_told_apart_from_one() {
        let line = format!("pysock trust replace --state s -- -v {NEW}");
        says(&peer_changed("-v", Some("s")), &[&line]);
        let line = format!("pysock trust add --state s -- --json {NEW}");
        says(&unknown_peer("--json", Some("s")), &[&line]);
    }

    #[test]
    fn a_changed_server_key_looks_like_that_of_a_peer() {
        let shown = |offered| {
            let (address, expected) = ("example.org:1234".into(), Box::new(OLD));
            let remedy = "forget it".into();
            Error::ServerKeyChanged { address, expected, offered, remedy }.to_string()
        };
        let text = shown(Some(Box::new(NEW)));
        let (old, new) = (fingerprint(&OLD), fingerprint(&NEW));
        let keys = format!(
            "expected {OLD}\n           ({old})\n  offered  {NEW}\n           ({new})\nEither the server"
        );
        assert!(text.starts_with("THE KEY OF example.org:1234 HAS CHANGED.\n  expected"), "{text}");
        assert!(text.contains(&keys) && text.ends_with(": forget it"), "{text}");
        assert!(shown(None).contains("offered  unknown (it answers no first contact"), "{text}");
    }
}
