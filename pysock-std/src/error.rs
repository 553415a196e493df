//! What can go wrong for a program that uses pysock, in sentences that say what to do.

use std::{io, path::PathBuf, time::Duration};

use pysock_proto::{Alert, CloseReason, Failure, Fingerprint, NameError, PublicKey, Refusal};

use crate::{config::ConfigError, state::StateError};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
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
        "THE KEY OF {address} HAS CHANGED.\n  expected {expected}\n           ({})\n  offered  {}\n\
         Either the server was set up anew, or somebody else is answering in its place. Nothing was sent to it.\n\
         If you have checked the new key with the server's operator: {remedy}",
        fingerprint(expected),
        offered_text(offered)
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
        "the key of {address} is not known: {key} ({}); compare it with the server's operator, then set \
         `server_key: {key}` in the configuration, or `trust: accept-new`",
        fingerprint(key)
    )]
    UnknownServer {
        /// The server's address.
        address: String,
        /// The key that it has.
        key: Box<PublicKey>,
    },
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
    /// The channel was created before.
    #[error("the channel {0:?} was created before; there is one listener for each")]
    ChannelExists(String),
    /// The server does not have the channel.
    #[error("the server has no channel {0:?}; the server has to create it first")]
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

/// The fingerprint by which people compare a key.
pub(crate) fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::of::<crate::link::C>(key)
}

fn offered_text(offered: &Option<Box<PublicKey>>) -> String {
    match offered {
        Some(key) => format!("{key}\n           ({})", fingerprint(key)),
        None => "unknown (it answers no first contact either)".into(),
    }
}

fn refusal_hint(reason: Refusal) -> &'static str {
    match reason {
        Refusal::NameTaken => "; choose another name, or use the key that owns it",
        Refusal::KeyHasName => "; connect under that name",
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
            Error::ServerKeyChanged { .. } => true,
            _ => false,
        }
    }
}
