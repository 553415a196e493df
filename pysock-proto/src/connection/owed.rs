//! What a connection owes the other side: bounded, and written by `flush` into room that nothing else takes.

use crate::{
    buffer::Tx,
    crypto::Crypto,
    error::{CloseReason, Refusal, SendError},
    id::PeerId,
    limits::MAX_STREAMS,
    record::{CONTROL_ROOM, LENGTH, Sealer},
    stream::Streams,
    wire::{
        control,
        frame::{HEADER, types},
    },
};

/// Single frames that are due. Each can be due once; of several pings the latest is answered.
#[derive(Default)]
pub(super) struct Owed {
    pub(super) welcome: Option<PeerId>,
    pub(super) refused: Option<Refusal>,
    pub(super) pong: Option<[u8; 4]>,
    pub(super) ping: Option<[u8; 4]>,
    pub(super) close: Option<CloseReason>,
}

/// The most that can be due at once: welcome or refused, pong, ping, close; per stream and direction one frame.
const MOST: usize = (HEADER + 6 + control::MAX_SUITES)
    + 2 * (HEADER + 4)
    + (HEADER + 1)
    + MAX_STREAMS as usize * ((HEADER + 2) + (HEADER + 5));

// Two records in the worst case: what joins the open one, and one more with the rest.
const _: () = assert!(MOST + LENGTH + crate::crypto::TAG <= CONTROL_ROOM);

impl Owed {
    /// Whether the decision about a client is due.
    pub(super) fn owes_admission(&self) -> bool {
        self.welcome.is_some() || self.refused.is_some()
    }

    /// Writes that decision.
    pub(super) fn pay_admission<C: Crypto>(
        &mut self,
        sealer: &mut Sealer,
        tx: &mut Tx<'_>,
    ) -> Result<(), SendError> {
        let mut put = |kind, body: &[u8]| sealer.frame::<C>(tx, kind, [body, &[]], 0);
        if let Some(id) = self.welcome {
            let all = C::suites();
            let suites = all.get(..control::MAX_SUITES).unwrap_or(all);
            let body = control::encode_welcome(id, suites);
            put(types::WELCOME, body.as_slice())?;
            self.welcome = None;
        }
        if let Some(why) = self.refused {
            put(types::REFUSED, &[why.code()])?;
            self.refused = None;
        }
        Ok(())
    }

    /// Writes what is due, in this order, as far as there is room. What was written is no longer due.
    pub(super) fn pay<C: Crypto>(
        &mut self,
        sealer: &mut Sealer,
        (streams, window): (&mut Streams, u32),
        tx: &mut Tx<'_>,
    ) -> Result<(), SendError> {
        let mut put = |kind, body: &[u8]| sealer.frame::<C>(tx, kind, [body, &[]], 0);
        if let Some(echo) = self.pong {
            put(types::PONG, &echo)?;
            self.pong = None;
        }
        if let Some(number) = self.ping {
            put(types::PING, &number)?;
            self.ping = None;
        }
        while let Some(owed) = streams.owed(window) {
            let (kind, body) = owed.frame();
            put(kind, body.as_slice())?;
            streams.paid(owed);
        }
        // Last: nothing may follow it.
        if let Some(why) = self.close {
            put(types::CLOSE, &[why.code()])?;
            self.close = None;
        }
        Ok(())
    }
}
