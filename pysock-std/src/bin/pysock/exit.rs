//! How the program ends.

use std::fmt::Display;

use pysock_std::{Error, proto::PeerError};

/// Exit codes. They are part of the interface, and `pysock --help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It was done.
    Done = 0,
    /// Something failed here: a file, the configuration, the operating system.
    Local = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The server cannot be reached, or the connection broke. Trying again may help.
    Unreachable = 3,
    /// The server refused, or it or a peer is not the one that is known. Trying again does not help.
    Refused = 4,
    /// What was to be sent did not get through, or no reply came.
    Undelivered = 5,
}

/// The codes as `--help` shows them.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done
  1  something failed here: a file, the configuration, the system
  2  the command line makes no sense
  3  the server cannot be reached, or the connection broke; trying again may help
  4  the server refused, or a key is unknown or has changed; trying again does not help
  5  it was not delivered, or no reply came";

/// Why the program ends early: a code for scripts, a sentence for people.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Stop {
    pub(crate) fn new(exit: Exit, text: impl Display) -> Self {
        Stop { exit, text: text.to_string() }
    }

    /// Something failed on this side.
    pub(crate) fn local(text: impl Display) -> Self {
        Self::new(Exit::Local, text)
    }

    pub(crate) fn usage(text: impl Display) -> Self {
        Self::new(Exit::Usage, text)
    }
}

/// What scripts need to know about an error.
pub(crate) fn exit_of(error: &Error) -> Exit {
    match error {
        Error::ServerKeyChanged { .. }
        | Error::UnknownServer { .. }
        | Error::PeerKeyChanged { .. }
        | Error::UnknownPeer { .. }
        | Error::KeySwapped { .. }
        | Error::Refused { .. } => Exit::Refused,
        Error::Peer { source, .. } => match source {
            PeerError::Refused(why) if !why.is_temporary() => Exit::Refused,
            PeerError::NeedXx
            | PeerError::Handshake
            | PeerError::Name
            | PeerError::Protocol(..)
            | PeerError::Own => Exit::Refused,
            _ => Exit::Undelivered,
        },
        Error::Handshake { .. } | Error::Closed(_) if !error.is_temporary() => Exit::Refused,
        Error::Connect { .. }
        | Error::Timeout { .. }
        | Error::Handshake { .. }
        | Error::Closed(_)
        | Error::Disconnected => Exit::Unreachable,
        Error::Failed { .. }
        | Error::NoReply { .. }
        | Error::OutcomeUnknown { .. }
        | Error::NoChannel(_)
        | Error::TooLarge { .. } => Exit::Undelivered,
        _ => Exit::Local,
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::new(exit_of(&error), error)
    }
}
