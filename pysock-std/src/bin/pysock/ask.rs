//! Asking a person about the key of another client.

use std::{
    io::{BufRead, IsTerminal},
    sync::Mutex,
};

use pysock_std::proto::{Name, PublicKey};

use crate::print::{fingerprint, tell};

/// Shows both fingerprints, and asks.
pub(crate) fn question(own: &PublicKey, name: &Name, key: &PublicKey) {
    tell(&format!(
        "the key of {name} is not known; only the server says that it is {name}'s.\n  \
         {name}'s key   {key}\n  \
         fingerprint  {}\n  \
         your own     {}\n\
         Compare both aloud with {name}, by voice or in person, not through this server. Is it the right one, to be \
         remembered (yes/no)?",
        fingerprint(key),
        fingerprint(own),
    ));
}

/// What was answered, if it was one of the two.
pub(crate) fn answer(line: &[u8]) -> Option<bool> {
    let line = line.trim_ascii();
    match () {
        () if line.eq_ignore_ascii_case(b"yes") => Some(true),
        () if line.eq_ignore_ascii_case(b"no") => Some(false),
        () => None,
    }
}

/// Asks at the terminal, one question after the other. Without one the answer is no; the error says what to do.
pub(crate) fn at_terminal(own: &PublicKey, name: &Name, key: &PublicKey) -> bool {
    static ONE: Mutex<()> = Mutex::new(());
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    question(own, name, key);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && answer(line.as_bytes()) == Some(true)
}
