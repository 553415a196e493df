//! Noise §5.3 `HandshakeState`: runs the tokens of a pattern over lent bytes.

use super::{CipherState, Pattern, Role, SymmetricState, pattern::Token};
use crate::{
    crypto::{Crypto, Ephemeral, Identity, Suite, TAG},
    error::Error,
    key::{PublicKey, wipe},
};

/// Length of a public key, in bytes.
const KEY: usize = 32;

/// What both sides have to agree on before the first message.
pub(crate) struct Setup<'a> {
    pub(crate) role: Role,
    pub(crate) pattern: Pattern,
    pub(crate) suite: Suite,
    /// The parts of the prologue, hashed one after the other as if they were one.
    pub(crate) prologue: [&'a [u8]; 2],
    /// The static keys that the pattern knows beforehand (Noise §7.2 pre-messages), own and other's alike: XK the
    /// responder's, KK both.
    pub(crate) initiator: Option<&'a PublicKey>,
    pub(crate) responder: Option<&'a PublicKey>,
    pub(crate) psk: Option<&'a [u8; 32]>,
}

/// A handshake under way. Everything secret in it is wiped when it is dropped.
pub(crate) struct HandshakeState {
    symmetric: SymmetricState,
    e: Ephemeral,
    re: [u8; KEY],
    rs: [u8; KEY],
    role: Role,
    pattern: Pattern,
    psk: bool,
    step: u8,
}

impl HandshakeState {
    /// `Initialize`. With a pre-shared key its token `psk0` comes first, so it is mixed in here.
    pub(crate) fn new<C: Crypto>(setup: &Setup<'_>, e: Ephemeral) -> Self {
        let psk = setup.psk.is_some();
        let mut symmetric = SymmetricState::new::<C>(setup.suite, setup.pattern.name(psk));
        symmetric.mix_prologue::<C>(setup.prologue);
        let mut rs = [0; KEY];
        for (owner, key) in [(Role::Initiator, setup.initiator), (Role::Responder, setup.responder)]
        {
            if let Some(key) = key {
                symmetric.mix_hash::<C>(key.as_bytes());
                if owner != setup.role {
                    rs = key.0;
                }
            }
        }
        if let Some(psk) = setup.psk {
            symmetric.mix_key_and_hash::<C>(psk);
        }
        let (role, pattern) = (setup.role, setup.pattern);
        HandshakeState { symmetric, e, re: [0; KEY], rs, role, pattern, psk, step: 0 }
    }

    /// Whether the next message comes from the other side.
    pub(crate) fn reads_next(&self) -> bool {
        (self.role == Role::Initiator) == (self.step == 1)
    }

    /// Whether all messages are done.
    pub(crate) fn is_complete(&self) -> bool {
        self.step == self.pattern.messages()
    }

    /// A responder's entropy, once it has decided to answer; until then it has none.
    pub(crate) fn supply(&mut self, e: Ephemeral) {
        self.e = e;
    }

    /// The ephemeral key once more, to write the same first message again and nothing else.
    pub(crate) fn same_ephemeral(&self) -> Ephemeral {
        Ephemeral { secret: self.e.secret, public: self.e.public }
    }

    /// The initiator's ephemeral public key, whichever side this is.
    pub(crate) fn initiators(&self) -> &[u8; KEY] {
        match self.role {
            Role::Initiator => &self.e.public,
            Role::Responder => &self.re,
        }
    }

    /// The number of the next message: 0, 1 or 2.
    pub(crate) fn step(&self) -> u8 {
        self.step
    }

    /// The other side's static key, once it was received (or, in XK, known beforehand).
    pub(crate) fn remote(&self) -> PublicKey {
        PublicKey(self.rs)
    }

    /// The handshake hash.
    pub(crate) fn hash(&self) -> &[u8; 32] {
        self.symmetric.hash()
    }

    /// Bytes that the next message has on top of its payload.
    pub(crate) fn overhead(&self) -> usize {
        let (mut bytes, mut keyed) = (0usize, self.symmetric.has_key());
        for token in self.pattern.tokens(self.step) {
            match token {
                Token::E => bytes = bytes.saturating_add(KEY),
                Token::S => bytes = bytes.saturating_add(if keyed { KEY + TAG } else { KEY }),
                Token::Ee | Token::Es | Token::Se | Token::Ss => keyed = true,
            }
        }
        if keyed { bytes.saturating_add(TAG) } else { bytes }
    }

    /// `WriteMessage` into `out`, whose length is exactly overhead plus payload.
    pub(crate) fn write<C: Crypto>(
        &mut self,
        identity: &dyn Identity,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let wrong = Error::HandshakeLength(0);
        if out.len() != self.overhead().saturating_add(payload.len()) {
            return Err(wrong);
        }
        let mut rest = out;
        for token in self.pattern.tokens(self.step) {
            match token {
                Token::E => {
                    let to = rest.split_off_mut(..KEY).ok_or(wrong)?;
                    to.copy_from_slice(&self.e.public);
                    self.mix_ephemeral::<C>(to);
                }
                Token::S => {
                    let len = if self.symmetric.has_key() { KEY + TAG } else { KEY };
                    let to = rest.split_off_mut(..len).ok_or(wrong)?;
                    to.get_mut(..KEY).ok_or(wrong)?.copy_from_slice(&identity.public().0);
                    self.symmetric.encrypt_and_hash::<C>(to);
                }
                dh => self.mix_dh::<C>(*dh, identity)?,
            }
        }
        rest.get_mut(..payload.len()).ok_or(wrong)?.copy_from_slice(payload);
        self.symmetric.encrypt_and_hash::<C>(rest);
        self.step = self.step.saturating_add(1);
        Ok(())
    }

    /// `ReadMessage` in place. Returns the payload.
    pub(crate) fn read<'m, C: Crypto>(
        &mut self,
        identity: &dyn Identity,
        message: &'m mut [u8],
    ) -> Result<&'m mut [u8], Error> {
        let wrong = Error::HandshakeLength(u16::try_from(message.len()).unwrap_or(u16::MAX));
        let mut rest = message;
        for token in self.pattern.tokens(self.step) {
            match token {
                Token::E => {
                    let from = rest.split_off_mut(..KEY).ok_or(wrong)?;
                    self.re.copy_from_slice(from);
                    self.mix_ephemeral::<C>(from);
                }
                Token::S => {
                    let len = if self.symmetric.has_key() { KEY + TAG } else { KEY };
                    let from = rest.split_off_mut(..len).ok_or(wrong)?;
                    let key =
                        self.symmetric.decrypt_and_hash::<C>(from).map_err(|_| Error::Handshake)?;
                    self.rs.copy_from_slice(key);
                    if !self.remote().is_canonical() {
                        return Err(Error::KeyEncoding);
                    }
                }
                dh => self.mix_dh::<C>(*dh, identity)?,
            }
        }
        let payload = self.symmetric.decrypt_and_hash::<C>(rest).map_err(|_| Error::Handshake)?;
        self.step = self.step.saturating_add(1);
        Ok(payload)
    }

    /// `Split`: the ciphers for sending and for receiving, as this side sees them.
    pub(crate) fn split<C: Crypto>(&self) -> (CipherState, CipherState) {
        let [mut outgoing, mut incoming] = self.keys::<C>();
        let ciphers = (CipherState::new(outgoing), CipherState::new(incoming));
        wipe(&mut outgoing);
        wipe(&mut incoming);
        ciphers
    }

    /// `Split` for a transport with explicit nonces (Noise §11.4): the raw keys for sending and for receiving.
    pub(crate) fn keys<C: Crypto>(&self) -> [[u8; 32]; 2] {
        let mut keys = self.symmetric.split::<C>();
        if self.role == Role::Responder {
            keys.reverse();
        }
        keys
    }

    /// Token `e`; in a psk handshake the public key is also mixed into the key (§9.2).
    fn mix_ephemeral<C: Crypto>(&mut self, public: &[u8]) {
        self.symmetric.mix_hash::<C>(public);
        if self.psk {
            self.symmetric.mix_key::<C>(public);
        }
    }

    /// Tokens `ee`, `es`, `se`, `ss`: the letters name the initiator's key first.
    fn mix_dh<C: Crypto>(&mut self, token: Token, identity: &dyn Identity) -> Result<(), Error> {
        let (re, rs) = (PublicKey(self.re), PublicKey(self.rs));
        let shared = match (token, self.role) {
            (Token::Ee, _) => C::dh(&self.e.secret, &re.0),
            (Token::Es, Role::Initiator) | (Token::Se, Role::Responder) => {
                C::dh(&self.e.secret, &rs.0)
            }
            (Token::Ss, _) => identity.dh(&rs),
            _ => identity.dh(&re),
        };
        let mut shared = shared.map_err(|_| Error::LowOrder)?;
        self.symmetric.mix_key::<C>(&shared);
        wipe(&mut shared);
        Ok(())
    }
}
