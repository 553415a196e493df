//! `pysock`: servers, messages and keys from the command line.
//!
//! Data goes to stdout, talk to stderr; what others send is never printed raw. See `pysock --help`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program for the command line talks to people")]

mod args;
mod ask;
mod chat;
mod exit;
mod fingerprint;
mod input;
mod join;
mod keys;
mod known;
mod listen;
mod local;
mod news;
mod peers;
mod print;
mod provision;
mod raw;
mod request;
mod send;
mod serve;
mod status;
mod trust;

use args::{Command, Global};
use clap::Parser as _;
use exit::{Exit, Stop};
use tracing_subscriber::filter::LevelFilter;

fn main() {
    let args = args::Args::parse();
    let exit = match run(args) {
        Ok(()) => Exit::Done,
        Err(Stop { exit, text }) => {
            if !text.is_empty() {
                print::tell(&text);
            }
            exit
        }
    };
    // Whatever still reads a terminal must not hold up the end.
    std::process::exit(exit as i32)
}

fn run(args: args::Args) -> Result<(), Stop> {
    let global = args.global;
    match args.command {
        Command::Keygen(options) => keys::keygen(&global, &options),
        Command::Pubkey(options) => keys::pubkey(&global, &options),
        Command::Psk => keys::psk(),
        Command::Provision(options) => provision::provision(&global, &options),
        Command::Known(options) => known::known(&global, &options),
        Command::Forget(options) => known::forget(&global, &options),
        Command::Fingerprint(options) => fingerprint::fingerprint(&global, &options),
        Command::Trust(options) => trust::trust(&global, &options),
        Command::Serve(options) => wait(serve::serve(&global, options)),
        Command::Listen(options) => wait(listen::listen(&global, options)),
        Command::Send(options) => wait(send::send(&global, options)),
        Command::Request(options) => wait(request::request(&global, options)),
        Command::Chat(options) => wait(chat::chat(&global, options)),
        Command::Clients(options) => wait(request::clients(&global, &options)),
        Command::Peers(options) => wait(peers::peers(&global, options)),
    }
}

fn wait(work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Stop::local(format!("cannot start: {e}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Writes the log to stderr, as much as the command line and the configuration ask for.
fn log(global: &Global, debug: bool) {
    let level = match global.verbose {
        _ if debug => LevelFilter::DEBUG,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    // A second one is never set.
    let _ = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}
