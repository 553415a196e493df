//! The command line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what this program is for")]

use std::{io, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum as _};

use crate::{
    constant_time,
    expert::Files,
    meter,
    peer::Peer,
    report,
    roles::{self, Side},
    run::{self, Plan},
    soak::{self, Soak},
    work::{ROWS, Row, find},
};

const EXAMPLES: &str = "Examples:
  bench list
  bench run --quick
  bench run stream-64 relay-64 --peer pysock --peer tls-aes
  bench run --long --reps 7 --record
  bench soak --minutes 20
  bench constant-time";

/// Measures pysock and what else could do its work, side by side.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says which rows and peers there are.
    List,
    /// Measures.
    #[command(after_help = EXAMPLES)]
    Run {
        /// Rows to measure; all but the long ones if none is named.
        rows: Vec<String>,
        /// Peers to measure; may be repeated; all if none is named.
        #[arg(long = "peer", value_name = "PEER")]
        peers: Vec<Peer>,
        /// 0.2 seconds instead of one for each measurement.
        #[arg(long)]
        quick: bool,
        /// The rows with ten thousand connections, too.
        #[arg(long)]
        long: bool,
        /// How often to go round.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
        reps: u16,
        /// Write docs/PERFORMANCE.md and docs/performance.svg.
        #[arg(long)]
        record: bool,
    },
    /// Lets 1 000 clients of pysock do everything at once for a while: checks every message, and that memory is flat.
    Soak(Soak),
    /// Looks whether comparing secrets takes as long wherever they differ.
    ConstantTime,
    /// One side of a soak.
    #[command(hide = true)]
    SoakServer(soak::Part),
    /// The other side.
    #[command(hide = true)]
    SoakClients(soak::Part),
    /// One side of a measurement.
    #[command(hide = true)]
    Server(Side),
    /// The other side.
    #[command(hide = true)]
    Client(Side),
}

pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List => {
            list();
            Ok(())
        }
        Command::Run { rows, peers, quick, long, reps, record } => {
            let duration = Duration::from_millis(if quick { 200 } else { 1000 });
            chosen(&rows, long).and_then(|rows| {
                let peers = if peers.is_empty() { Peer::value_variants().to_vec() } else { peers };
                measure(&Plan { rows, peers, reps: usize::from(reps), duration }, record)
            })
        }
        Command::Soak(soak) => match soak::run(&soak) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::ConstantTime => {
            constant_time::run();
            Ok(())
        }
        Command::SoakServer(part) => soak::server(&part),
        Command::SoakClients(part) => soak::clients(&part),
        Command::Server(side) => roles::server(&side),
        Command::Client(side) => roles::client(&side),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("Rows:");
    for row in ROWS {
        let long = if row.long { " (only if named, or with --long)" } else { "" };
        println!("  {:<18}{}{long}", row.id, row.title);
    }
    println!("\nPeers:");
    for peer in Peer::value_variants() {
        println!("  {:<20}{}", peer.id(), peer.title());
    }
}

fn chosen(names: &[String], long: bool) -> io::Result<Vec<&'static Row>> {
    let named = |id: &String| {
        find(id).ok_or_else(|| io::Error::other(format!("there is no row {id}: see `bench list`")))
    };
    match names {
        [] => Ok(run::usual_rows(long)),
        names => names.iter().map(named).collect(),
    }
}

fn measure(plan: &Plan, record: bool) -> io::Result<()> {
    // Brokers inherit it.
    meter::raise_file_limit()?;
    let folder = tempfile::tempdir()?;
    let files = Files(folder.path().to_owned());
    files.create()?;
    let mut all = Vec::new();
    for row in &plan.rows {
        let measured = run::row(row, plan, &files);
        print!("{}", report::text(&measured));
        all.push(measured);
    }
    print!("{}", report::goals(&all));
    if record {
        report::record(&all, plan)?;
    }
    Ok(())
}
