//! What only a server does. A connection reaches it through its [`Role`], where [`Connection::server`] alone puts it: a
//! program without a server links none of it, which saves a client's flash 2 KiB.
//!
//! [`Connection::server`]: super::Connection::server

use super::{
    Event, Phase, PskRequest, alert,
    handshake::{Handshake, bind},
    open::Open,
    owed::Owed,
};
use crate::{
    buffer::{Rx, Tx},
    crypto::{Crypto, Env, Ephemeral},
    error::{Alert, Error, FrameError, SendError},
    key::{Psk, wipe},
    limits::MAX_QUESTIONS,
    noise::{self, Pattern, Setup},
    record::Sealer,
    wire::{
        control,
        frame::types,
        prelude::{self, PROLOGUE, Prelude},
    },
};

/// Which side of the connection this is.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Client,
    Server(&'static Serving),
}

impl Role {
    pub(super) fn is_server(self) -> bool {
        matches!(self, Role::Server(_))
    }
}

/// The operations of a server.
pub(super) struct Serving {
    /// Reads the prelude, behind which the handshake begins.
    pub(super) greeted:
        fn(&mut Phase, &mut Rx<'_>, &Env<'_>) -> Result<Option<Event<'static>>, Error>,
    /// Reads the payload of message 3, which asks for admission.
    pub(super) admission: fn(&mut Handshake, &[u8]) -> Result<Event<'static>, Error>,
    /// Writes the decision about it.
    pub(super) decided: fn(&mut Owed, &mut Sealer, &mut Tx<'_>) -> Result<(), SendError>,
    /// Reads a frame that only clients send.
    pub(super) asked: fn(&mut Open, u8, &[u8]) -> Result<Event<'static>, FrameError>,
    /// Finds the last word after an error, and writes it.
    pub(super) alert: fn(Error) -> Option<Alert>,
    pub(super) alerted: fn(&mut Tx<'_>, Alert),
}

impl Serving {
    pub(super) const fn new<C: Crypto>() -> Self {
        Serving {
            greeted: greeted::<C>,
            admission: Handshake::admission,
            decided: Owed::pay_admission::<C>,
            asked,
            alert: alert::about,
            alerted: alert::write,
        }
    }
}

fn greeted<C: Crypto>(
    phase: &mut Phase,
    rx: &mut Rx<'_>,
    env: &Env<'_>,
) -> Result<Option<Event<'static>>, Error> {
    let Phase::Await(wait) = phase else { return Ok(None) };
    Ok(match wait.receive::<C>(rx)? {
        Awaited::More => None,
        Awaited::Psk(request) => Some(Event::PskWanted(request)),
        Awaited::Start(prelude) => {
            *phase = Phase::Handshake(wait.start::<C>(prelude, None, env));
            Some(Event::Handled)
        }
    })
}

fn asked(open: &mut Open, kind: u8, body: &[u8]) -> Result<Event<'static>, FrameError> {
    let event = match kind {
        types::LEAVE => return Ok(Event::Left(control::decode_leave(body)?)),
        types::FIND => {
            let (query, find) = control::decode_find(body)?;
            Event::Find { query, find }
        }
        _ => {
            let (id, name) = control::decode_open(body)?;
            if u32::from(id.0) != open.next_channel {
                return Err(FrameError::Channel);
            }
            open.next_channel = open.next_channel.saturating_add(1);
            Event::Open { id, name }
        }
    };
    open.questions = open.questions.saturating_add(1);
    if open.questions > MAX_QUESTIONS { Err(FrameError::Questions) } else { Ok(event) }
}

/// A server that waits for a client's prelude.
pub(super) struct Await {
    ephemeral: Ephemeral,
    psk_required: bool,
    /// The prelude, while the pre-shared key is looked for.
    asked: Option<Prelude>,
}

/// What came of the bytes so far.
enum Awaited {
    More,
    Psk(PskRequest),
    /// [`Await::start`] goes on with it.
    Start(Prelude),
}

impl Await {
    pub(super) fn new(ephemeral: Ephemeral, psk_required: bool) -> Self {
        Await { ephemeral, psk_required, asked: None }
    }

    fn receive<C: Crypto>(&mut self, rx: &mut Rx<'_>) -> Result<Awaited, Error> {
        if self.asked.is_some() {
            // The request was dropped: there is no key to go on with.
            return Err(Error::Rejected);
        }
        let Some(prelude) = Prelude::parse::<C>(rx.bytes())? else { return Ok(Awaited::More) };
        rx.take(prelude::LEN);
        match prelude.psk_hint {
            None if self.psk_required => Err(Error::PskRequired),
            None => Ok(Awaited::Start(prelude)),
            Some(hint) => {
                self.asked = Some(prelude);
                Ok(Awaited::Psk(PskRequest { hint, bind: bind(&self.ephemeral.public) }))
            }
        }
    }

    pub(super) fn start_with_psk<C: Crypto>(
        &mut self,
        request: &PskRequest,
        psk: Option<&Psk>,
        env: &Env<'_>,
    ) -> Result<Handshake, Error> {
        let prelude = self.asked.take().ok_or(Error::Rejected)?;
        if request.bind != bind(&self.ephemeral.public) || prelude.psk_hint != Some(request.hint) {
            return Err(Error::Rejected);
        }
        // Without the key, one that nobody knows: the client's first message then fails like with a wrong one.
        let mut nobodys = C::hash(&[b"pysock/1 no psk", &self.ephemeral.secret]);
        let handshake = self.start::<C>(prelude, Some(psk.map_or(&nobodys, Psk::expose)), env);
        wipe(&mut nobodys);
        Ok(handshake)
    }

    fn start<C: Crypto>(
        &mut self,
        prelude: Prelude,
        psk: Option<&[u8; 32]>,
        env: &Env<'_>,
    ) -> Handshake {
        let own = env.identity.public();
        let setup = Setup {
            role: noise::Role::Responder,
            pattern: prelude.pattern,
            suite: prelude.suite,
            prologue: [PROLOGUE, &prelude.to_bytes()],
            initiator: None,
            responder: (prelude.pattern == Pattern::XK).then_some(&own),
            psk,
        };
        Handshake::new::<C>(&setup, self.ephemeral.take(), prelude, None)
    }
}
