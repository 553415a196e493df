//! The last word of a side that cannot say anything better: one code in clear text, as a message of length 1, which no
//! handshake message or record has.

use crate::{
    buffer::{Rx, Tx},
    error::{Alert, Error},
};

/// The length that announces an alert.
const LENGTH: u16 = 1;

/// What a server says in clear text when it gives up for this reason; to what is not pysock it says nothing.
pub(super) fn about(error: Error) -> Option<Alert> {
    match error {
        Error::NotPysock | Error::HandshakeTimeout | Error::Truncated => None,
        Error::Version(_) => Some(Alert::Version),
        Error::Suite(_) => Some(Alert::Suite),
        Error::Pattern(_) | Error::Flags(_) => Some(Alert::Pattern),
        Error::PskRequired => Some(Alert::Psk),
        _ => Some(Alert::Failed),
    }
}

/// Appends an alert, if there is room; it is only a courtesy.
pub(super) fn write(tx: &mut Tx<'_>, why: Alert) {
    if tx.is_foreign(0) {
        return;
    }
    tx.compact();
    let bytes = why.to_wire();
    if let Some(to) = tx.behind(bytes.len()) {
        to.copy_from_slice(&bytes);
        tx.sealed_more(bytes.len());
    }
}

/// Whether an alert is at the front, in place of a handshake message or of the server's first record.
pub(super) fn is_next(rx: &Rx<'_>) -> bool {
    rx.announced().is_some_and(|(len, _)| len == LENGTH)
}

/// That alert, once it is complete.
pub(super) fn read(rx: &Rx<'_>) -> Option<Alert> {
    match (rx.announced(), rx.bytes()) {
        (Some((LENGTH, true)), [_, _, code, ..]) => Some(Alert::from_code(*code)),
        _ => None,
    }
}
