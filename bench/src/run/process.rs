//! Processes of a measurement: started here, bounded in time, ended here.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{expert::Files, outcome::Outcome, peer::Peer, product, work::Row};

/// How long clients may take beyond the time of the measurement: connecting thousands takes a while.
const PREPARING: Duration = Duration::from_secs(60);

/// What a context of libzmq has room for, less some for its own use.
const ZMQ_SOCKETS: usize = 1010;

/// A server that listens.
pub(crate) struct Server {
    child: Child,
    address: String,
    key: String,
}

/// A role of this program.
fn role(name: &str, row: &Row, peer: Peer, files: &Files) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(name).args(["--peer", &peer.id(), "--row", row.id]).arg("--folder").arg(&files.0);
    Ok(command)
}

impl Server {
    pub(crate) fn start(row: &Row, peer: Peer, files: &Files) -> io::Result<Self> {
        if matches!(peer, Peer::Nats | Peer::Mosquitto) {
            let (child, address) = product::start(peer, files)?;
            return Ok(Server { child, address, key: String::new() });
        }
        if peer == Peer::Zmq && !cfg!(feature = "zmq") {
            return Err(io::Error::other("not built in: --features zmq, with libzmq installed"));
        }
        if peer == Peer::Zmq && row.work.connections() > ZMQ_SOCKETS {
            return Err(io::Error::other("a context of libzmq has no room for so many sockets"));
        }
        let mut command = role("server", row, peer, files)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let mut server = Server { child, address: String::new(), key: String::new() };
        let mut line = String::new();
        if let Some(output) = output {
            // A server that fails ends, and so does the line.
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut words = line.split_whitespace();
        if words.next() != Some("READY") {
            return Err(io::Error::other("the server did not start"));
        }
        server.address = words.next().unwrap_or_default().to_owned();
        server.key = words.next().unwrap_or_default().to_owned();
        Ok(server)
    }

    /// Lets the clients of this server do the work, once.
    pub(crate) fn client(
        &self,
        row: &Row,
        peer: Peer,
        duration: Duration,
        files: &Files,
    ) -> io::Result<Outcome> {
        let mut command = role("client", row, peer, files)?;
        command.args(["--address", &self.address, "--key", &self.key]);
        command.args(["--server", &self.child.id().to_string()]);
        command.args(["--millis", &duration.as_millis().to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let until = Instant::now() + duration + PREPARING;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= until {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("the clients did not come to an end"));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let mut output = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut output)?;
        }
        let outcome = Outcome::parse(&output).filter(|_| status.success());
        outcome.ok_or_else(|| io::Error::other("the clients failed"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is this program's own child; there is nothing to save in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
