//! The two processes of a soak: started, watched and ended here.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{Soak, memory::Memory};
use crate::meter;

/// Between two samples; every tenth is shown.
const SAMPLE: Duration = Duration::from_secs(1);
const SHOWN: usize = 10;
/// How long connecting, and then what is still under way, may take.
const PREPARING: Duration = Duration::from_secs(180);

/// A process that does not outlive this one.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It is this program's own child; there is nothing to save in it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(role: &str, soak: &Soak, more: &[&str]) -> io::Result<(Owned, BufReader<ChildStdout>)> {
    let mut command = Command::new(env::current_exe()?);
    command.args([role, "--minutes", &soak.minutes.to_string()]);
    command.args(["--clients", &soak.clients.to_string(), "--rate", &soak.rate.to_string()]);
    let mut child = command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    Ok((Owned(child), BufReader::new(output)))
}

/// A server, its clients, and what becomes of them.
pub(super) fn run(soak: &Soak) -> io::Result<ExitCode> {
    let (server, mut output) = start("soak-server", soak, &[])?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let ("READY", Some(address), Some(key)) =
        (words.next().unwrap_or_default(), words.next(), words.next())
    else {
        return Err(io::Error::other("the server did not start"));
    };
    let more = ["--address", address, "--key", key];
    let (mut clients, output) = start("soak-clients", soak, &more)?;
    let (heard, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = heard.send(line);
        }
    });
    let Ok("STARTED") = lines.recv_timeout(PREPARING).as_deref() else {
        return Err(io::Error::other("the clients did not get ready"));
    };
    let pids = (server.0.id(), clients.0.id());
    let (of_server, of_clients) = watch(soak.duration(), pids, &mut clients)?;
    let until = Instant::now() + PREPARING;
    let status = loop {
        if let Some(status) = clients.0.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            return Err(io::Error::other("the clients did not come to an end"));
        }
        thread::sleep(Duration::from_millis(50));
    };
    // Until the clients' output has ended.
    for line in lines {
        println!("{line}");
    }
    let (text, flat) = of_server.verdict("the server's memory, last quarter to second");
    println!("{text}\n{}", of_clients.verdict("the clients'").0);
    let well = flat && status.success();
    println!("{}", if well { "PASSED" } else { "FAILED" });
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes samples of both, until the time is over or the clients are.
fn watch(
    duration: Duration,
    (server, client): (u32, u32),
    clients: &mut Owned,
) -> io::Result<(Memory, Memory)> {
    let (mut of_server, mut of_clients) = (Memory::default(), Memory::default());
    let begun = Instant::now();
    let mut cpu = meter::cpu(server);
    while begun.elapsed() + SAMPLE <= duration && clients.0.try_wait()?.is_none() {
        thread::sleep(SAMPLE);
        let (Ok(one), Ok(other)) = (meter::rss(server), meter::rss(client)) else { break };
        of_server.0.push(one);
        of_clients.0.push(other);
        if of_server.0.len().is_multiple_of(SHOWN) {
            let (before, load) = (cpu, SAMPLE.as_secs_f64() * SHOWN as f64);
            cpu = meter::cpu(server);
            eprintln!(
                "{:>6.0} s  server {:>8.0} KiB, {:>3.0} % of a core  clients {:>8.0} KiB",
                begun.elapsed().as_secs_f64(),
                one,
                (cpu - before) / load * 100.0,
                other
            );
        }
    }
    Ok((of_server, of_clients))
}
