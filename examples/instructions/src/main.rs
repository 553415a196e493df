//! Instructions of handshakes and messages, counted by valgrind: the same each time, where a clock is not.
//!
//! ```text
//! pysock-instructions [--record]       counts, prints the table, and fails if pysock's own part has grown
//! pysock-instructions work PROVIDER    what is counted; the program runs itself so, under callgrind
//! ```
//!
//! AWS-LC and RustCrypto choose their code by the processor, so their columns are shown and bind nobody. What is held is the
//! column without primitives, for that is pysock's own code.

mod count;
mod none;
mod pair;
mod table;
mod work;

use std::{error::Error, process::ExitCode};

use pysock_proto::{RustCrypto, Suite};
use pysock_std::crypto::Native;

/// The exit status of `work` where the processor does not have the suite.
pub(crate) const NO_SUITE: u8 = 3;

/// Does everything that is counted. `false`: this computer does not have the suite.
type Work = fn() -> bool;

/// What stands behind the core, by name.
pub(crate) const PROVIDERS: [(&str, Work); 4] = [
    ("none", || work::all::<none::NoCrypto>(Suite::ChaChaPoly)),
    ("RustCrypto ChaChaPoly", || work::all::<RustCrypto>(Suite::ChaChaPoly)),
    ("AWS-LC ChaChaPoly", || work::all::<Native>(Suite::ChaChaPoly)),
    ("AWS-LC AESGCM", || work::all::<Native>(Suite::AesGcm)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => judge(false),
        ["--record"] => judge(true),
        ["work", provider] => return work(provider),
        _ => Err("the first lines of its source say how it is called".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(provider: &str) -> ExitCode {
    match PROVIDERS.iter().find(|(name, _)| *name == provider) {
        Some((_, work)) if work() => ExitCode::SUCCESS,
        _ => ExitCode::from(NO_SUITE),
    }
}

fn judge(record: bool) -> Result<bool, Box<dyn Error>> {
    let columns = PROVIDERS.iter().map(|(name, _)| count::count(name));
    table::judge(&columns.collect::<Result<Vec<_>, _>>()?, record)
}
