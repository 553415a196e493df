//! Starting the brokers.

use std::{
    fs, io,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{expert::Files, peer::Peer};

/// How long a broker may take until it listens: so many steps of 50 ms.
const STEPS: usize = 100;

/// Starts a broker on a free port, and gives its process and its address.
pub(crate) fn start(peer: Peer, files: &Files) -> io::Result<(Child, String)> {
    // Free a moment ago; nobody else takes ports here.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let folder = files.0.display();
    let (program, file, text) = match peer {
        Peer::Nats => (
            "nats-server",
            "nats.conf",
            format!(
                "listen: \"127.0.0.1:{port}\"\nwrite_deadline: \"60s\"\nmax_pending: 1073741824\n\
                 max_connections: 20000\ntls {{ cert_file: \"{folder}/server.pem\", \
                 key_file: \"{folder}/server.key\", ca_file: \"{folder}/ca.pem\", verify: true }}\n"
            ),
        ),
        Peer::Mosquitto => (
            "mosquitto",
            "mosquitto.conf",
            format!(
                "listener {port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
                 keyfile {folder}/server.key\nrequire_certificate true\nuse_identity_as_username true\n\
                 tls_version tlsv1.3\nset_tcp_nodelay true\nmax_queued_messages 0\nuser root\n\
                 log_type none\n"
            ),
        ),
        _ => return Err(io::Error::other("this peer is no broker")),
    };
    fs::write(files.path(file), text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(files.path(file));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Debian puts servers where only administrators look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    let missing = |error| io::Error::other(format!("{program}: {error}; see bench/peers"));
    let mut child = command.spawn().map_err(missing)?;
    let address = format!("127.0.0.1:{port}");
    for _ in 0..STEPS {
        if TcpStream::connect(&address).is_ok() {
            return Ok((child, address));
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("{program} ended: {status}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Err(io::Error::other(format!("{program} does not listen")))
}
