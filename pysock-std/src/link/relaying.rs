//! Sealed units of two clients, from the outbox into records. They have no channel, so no large message holds them up.

use pysock_proto::{Connection, Failure, SendError, TxBuf};
use tokio::time::Instant;

use super::{
    C,
    sending::{Filled, Sending, TURN, Turn},
    ways::{Direct, Out},
};
use crate::{
    outbox::{Outbox, record_cost},
    relay::{Sealed, take_first},
};

impl Sending {
    /// Moves what goes ahead of everything else: notices and handshakes. They are few.
    pub(super) fn urgent(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Filled {
        while let Some(notice) = outbox.lock().notices.unsaid() {
            match conn.relay_failed(&mut tx.lend(), notice.peer, notice.why) {
                Err(SendError::Full(_)) => return Filled::Full,
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "a notice was not sent"),
            }
            notice.said(Instant::now());
        }
        loop {
            let Some(handshake) = outbox.lock().handshakes.pop() else { return Filled::All };
            if let Err(handshake) = self.relay(handshake, conn, tx) {
                outbox.lock().handshakes.put_back(handshake);
                return Filled::Full;
            }
        }
    }

    /// Moves some records, in the order in which they came.
    pub(super) fn records(
        &mut self,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
        outbox: &Outbox,
    ) -> Turn {
        for n in 0..TURN {
            let moved = n > 0;
            // A record that overtakes a handshake of its session would be lost.
            if self.urgent(conn, tx, outbox) == Filled::Full {
                return Turn { moved, filled: Filled::Full };
            }
            let Some(record) = take_first(&mut outbox.lock().records) else {
                return Turn { moved, filled: Filled::All };
            };
            let cost = record_cost(&record);
            if let Err(record) = self.relay(record, conn, tx) {
                outbox.lock().records.push_front(record);
                return Turn { moved, filled: Filled::Full };
            }
            outbox.settle(cost);
        }
        Turn { moved: true, filled: Filled::All }
    }

    /// Sends one unit, or tells its sender why not. Gives it back if there is no room for it now.
    fn relay(
        &mut self,
        unit: Sealed,
        conn: &mut Connection<C>,
        tx: &mut TxBuf<Vec<u8>>,
    ) -> Result<(), Sealed> {
        let announced = Direct { conn, tx, announced: &mut self.announced }.announce(&unit.from);
        match announced
            .and_then(|()| conn.relay(&mut tx.lend(), unit.from.id, unit.unit, &unit.bytes))
        {
            Ok(()) => {}
            Err(SendError::Full(_)) => return Err(unit),
            Err(SendError::TooLong(_)) => unit.fail(Failure::TooLarge),
            Err(error) => {
                tracing::debug!(%error, "a sealed unit was not sent");
                unit.fail(Failure::Gone);
            }
        }
        Ok(())
    }
}
