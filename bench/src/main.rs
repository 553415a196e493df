//! The same work, done by pysock and by what else could do it, measured side by side.
//!
//! `bench run` starts a server and its clients, each in a process of its own, over TCP on the loopback interface, for
//! each row and each peer by turns; `bench list` says which there are. `bench soak` lets pysock alone do everything at
//! once for a long time, and checks every message.

mod cli;
mod constant_time;
mod expert;
mod meter;
mod outcome;
mod peer;
mod product;
mod pysock;
mod report;
mod roles;
mod run;
mod soak;
mod work;
#[cfg(feature = "zmq")]
mod zeromq;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
