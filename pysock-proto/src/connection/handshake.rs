//! The opening of a connection: prelude, three handshake messages, and the decisions between them.

use super::{Admission, ClientSetup, Event, Expect, Verify, alert, open::Open, serving::Role};
use crate::{
    buffer::{Rx, Tx},
    crypto::{Crypto, Env, Ephemeral, TAG},
    error::Error,
    id::Name,
    key::Psk,
    limits::Limits,
    noise::{self, HandshakeState, Pattern, Setup},
    record::LENGTH,
    time::Instant,
    wire::{
        hello,
        prelude::{PROLOGUE, Prelude},
    },
};

/// Longest handshake message of the classical suites, in bytes. Checked before anything is buffered.
const LONGEST: usize = 256;

/// Which decision the caller has to take before the handshake goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undecided {
    Nothing,
    /// The key of the other side.
    Key,
}

/// A handshake under way, on either side.
pub(super) struct Handshake {
    noise: HandshakeState,
    prelude: Prelude,
    /// What only a client needs.
    client: Option<ClientPart>,
    undecided: Undecided,
    theirs: Limits,
}

pub(super) struct ClientPart {
    name: Name,
    prelude_sent: bool,
    diagnose: bool,
}

/// The first bytes of a hash, to tell handshakes apart.
pub(super) fn bind(hash: &[u8; 32]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    [a, b, c, d, e, f, g, h]
}

impl Handshake {
    pub(super) fn new<C: Crypto>(
        setup: &Setup<'_>,
        ephemeral: Ephemeral,
        prelude: Prelude,
        client: Option<ClientPart>,
    ) -> Self {
        let noise = HandshakeState::new::<C>(setup, ephemeral);
        let (undecided, theirs) = (Undecided::Nothing, Limits::SMALL);
        Handshake { noise, prelude, client, undecided, theirs }
    }

    pub(super) fn client<C: Crypto>(setup: &ClientSetup<'_>, ephemeral: Ephemeral) -> Self {
        let (pattern, responder) = match setup.expect {
            Expect::Pinned(key) => (Pattern::XK, Some(key)),
            Expect::Unknown | Expect::Diagnose => (Pattern::XX, None),
        };
        let prelude = Prelude { suite: setup.suite, pattern, psk_hint: setup.psk.map(Psk::hint) };
        let noise_setup = Setup {
            role: noise::Role::Initiator,
            pattern,
            suite: setup.suite,
            prologue: [PROLOGUE, &prelude.to_bytes()],
            initiator: None,
            responder,
            psk: setup.psk.map(Psk::expose),
        };
        let diagnose = matches!(setup.expect, Expect::Diagnose);
        let client = ClientPart { name: *setup.name, prelude_sent: false, diagnose };
        Self::new::<C>(&noise_setup, ephemeral, prelude, Some(client))
    }

    fn is_server(&self) -> bool {
        self.client.is_none()
    }

    /// Reads the next handshake message, if it is our turn to read and all of it is there.
    pub(super) fn receive<'b, C: Crypto>(
        &mut self,
        rx: &mut Rx<'b>,
        role: Role,
        env: &Env<'_>,
    ) -> Result<Option<Event<'b>>, Error> {
        if self.undecided != Undecided::Nothing {
            return Err(Error::Rejected);
        }
        if self.noise.is_complete() || !self.noise.reads_next() {
            return Ok(None);
        }
        let Some((len, complete)) = rx.announced() else { return Ok(None) };
        let is_alert = !self.is_server() && alert::is_next(rx);
        if !is_alert && !self.fits(len) {
            return Err(Error::HandshakeLength(len));
        }
        rx.can_hold(len)?;
        if !complete {
            return Ok(None);
        }
        if let (true, Some(why)) = (is_alert, alert::read(rx)) {
            return Err(Error::Alert(why));
        }
        rx.take(LENGTH);
        let message = rx.take(len.into()).ok_or(Error::HandshakeLength(len))?;
        let payload = self.noise.read::<C>(env.identity, message)?;
        let Some(client) = &self.client else {
            return match role {
                Role::Server(serving) if self.noise.is_complete() => {
                    (serving.admission)(self, payload).map(Some)
                }
                _ => Ok(Some(Event::Handled)),
            };
        };
        self.theirs = hello::of_server(payload)?;
        let (key, bind) = (self.noise.remote(), bind(self.noise.hash()));
        if client.diagnose {
            return Ok(Some(Event::Offered(key)));
        }
        if self.prelude.pattern == Pattern::XX {
            self.undecided = Undecided::Key;
            return Ok(Some(Event::Verify(Verify { key, bind })));
        }
        Ok(Some(Event::Handled))
    }

    /// Message 3 is complete, with this payload: the server's caller has to decide.
    pub(super) fn admission(&mut self, payload: &[u8]) -> Result<Event<'static>, Error> {
        let (limits, name) = hello::of_client(payload)?;
        self.theirs = limits;
        self.undecided = Undecided::Key;
        let (key, bind) = (self.noise.remote(), bind(self.noise.hash()));
        let psk_hint = self.prelude.psk_hint;
        Ok(Event::Admission(Admission { key, name, limits, psk_hint, bind }))
    }

    /// Whether the next message can have this length. Message 1 carries nothing, the others at least limits.
    fn fits(&self, len: u16) -> bool {
        let (len, overhead) = (usize::from(len), self.noise.overhead());
        match self.noise.step() {
            0 => len == overhead,
            _ => len > overhead && len <= LONGEST,
        }
    }

    /// Writes the next message, if it is our turn. `true`: the handshake is complete, and this side may go on.
    pub(super) fn flush<C: Crypto>(
        &mut self,
        tx: &mut Tx<'_>,
        limits: &Limits,
        env: &Env<'_>,
    ) -> Result<bool, Error> {
        if self.undecided != Undecided::Nothing || self.noise.reads_next() {
            return Ok(false);
        }
        let name = self.client.as_ref().map(|client| &client.name);
        let payload = match self.noise.step() {
            0 => None,
            _ => Some(hello::encode(limits, name)),
        };
        let payload = payload.as_ref().map_or(&[][..], |p| p.as_slice());
        let prelude = match &self.client {
            Some(client) if !client.prelude_sent => Some(self.prelude.to_bytes()),
            _ => None,
        };
        let prelude = prelude.as_ref().map_or(&[][..], |p| &p[..]);
        let len = self.noise.overhead().saturating_add(payload.len());
        let all = prelude.len().saturating_add(LENGTH).saturating_add(len);
        if tx.is_foreign(0) {
            return Err(Error::WrongBuffer);
        }
        tx.compact();
        if all > tx.capacity() {
            return Err(Error::BufferTooSmall(u16::try_from(all).unwrap_or(u16::MAX)));
        }
        let Some(to) = tx.behind(all) else { return Ok(false) };
        let wrong = Error::HandshakeLength(0);
        let (to_prelude, to) = to.split_at_mut_checked(prelude.len()).ok_or(wrong)?;
        to_prelude.copy_from_slice(prelude);
        let (to_length, to) = to.split_first_chunk_mut::<LENGTH>().ok_or(wrong)?;
        *to_length = u16::try_from(len).map_err(|_| wrong)?.to_be_bytes();
        self.noise.write::<C>(env.identity, payload, to)?;
        tx.sealed_more(all);
        if let Some(client) = &mut self.client {
            client.prelude_sent = true;
        }
        Ok(self.noise.is_complete())
    }

    /// Takes the client's decision, if it is about this handshake.
    pub(super) fn accept(&mut self, verify: &Verify) -> bool {
        let ours = self.undecided == Undecided::Key
            && !self.is_server()
            && verify.bind == bind(self.noise.hash());
        if ours {
            self.undecided = Undecided::Nothing;
        }
        ours
    }

    /// Whether the server's decision is about this handshake.
    pub(super) fn is_decided_by(&self, admission: &Admission) -> bool {
        self.undecided == Undecided::Key
            && self.is_server()
            && admission.bind == bind(self.noise.hash())
    }

    /// What follows a complete handshake.
    #[inline(never)] // As part of its caller it would take 0.2 KiB more flash.
    pub(super) fn open<C: Crypto>(&self, role: Role, ours: &Limits, now: Instant) -> Open {
        let (outgoing, incoming) = self.noise.split::<C>();
        let [a, b, c, d, ..] = *self.noise.hash();
        Open::new(
            role,
            self.prelude.suite,
            (outgoing, incoming),
            // Never 0, which marks memory that belongs to nobody.
            u32::from_be_bytes([a, b, c, d]).max(1),
            self.noise.remote(),
            (ours, &self.theirs),
            now,
        )
    }
}

const _: () = assert!(hello::MAX + 32 + TAG + TAG <= LONGEST);
