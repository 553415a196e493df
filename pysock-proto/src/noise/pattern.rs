//! Handshake patterns as data: Noise §7.

/// Who sends the first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// What a message carries or mixes in, in order (Noise §7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    E,
    S,
    Ee,
    Es,
    Se,
    Ss,
}

/// A fundamental pattern. The discriminant is its byte on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Pattern {
    /// First contact: both static keys travel.
    XX = 1,
    /// The initiator knows the responder's static key.
    XK = 2,
    /// Both know each other's static keys: only between clients.
    KK = 3,
}

impl Pattern {
    /// The pattern of an outer handshake that `byte` names in a prelude.
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Pattern::XX),
            2 => Some(Pattern::XK),
            _ => None,
        }
    }

    /// How many messages it has.
    pub(super) const fn messages(self) -> u8 {
        match self {
            Pattern::XX | Pattern::XK => 3,
            Pattern::KK => 2,
        }
    }

    /// The name as it stands in the protocol name (Noise §8).
    pub(super) const fn name(self, psk: bool) -> &'static [u8] {
        match (self, psk) {
            (Pattern::XX, false) => b"XX",
            (Pattern::XX, true) => b"XXpsk0",
            (Pattern::XK, false) => b"XK",
            (Pattern::XK, true) => b"XKpsk0",
            (Pattern::KK, false) => b"KK",
            (Pattern::KK, true) => b"KKpsk0",
        }
    }

    /// The tokens of message `step`, counted from 0; empty once the handshake is complete.
    pub(super) const fn tokens(self, step: u8) -> &'static [Token] {
        use Token::{E, Ee, Es, S, Se, Ss};
        match (self, step) {
            (Pattern::XX, 0) => &[E],
            (Pattern::XX, 1) => &[E, Ee, S, Es],
            (Pattern::XK, 0) => &[E, Es],
            (Pattern::XK, 1) => &[E, Ee],
            (Pattern::XX | Pattern::XK, 2) => &[S, Se],
            (Pattern::KK, 0) => &[E, Es, Ss],
            (Pattern::KK, 1) => &[E, Ee, Se],
            _ => &[],
        }
    }
}
