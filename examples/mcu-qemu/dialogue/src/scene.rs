//! Who takes part: the board in its emulator, the server, and desktop clients.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{Outcome, SOON, process::Process};

/// Programs and files of one run.
pub struct Scene {
    pub board: String,
    firmware: PathBuf,
    pysock: PathBuf,
    pub folder: PathBuf,
    /// Of the server that was started last.
    port: Cell<Option<u16>>,
}

/// A server that listens.
pub struct Server {
    pub process: Process,
    pub port: u16,
}

impl Scene {
    pub fn new(board: &str, firmware: PathBuf, pysock: PathBuf, folder: PathBuf) -> Self {
        Scene { board: board.to_owned(), firmware, pysock, folder, port: Cell::new(None) }
    }

    /// The firmware, with whatever flash there is.
    pub fn board(&self, seed: u64, port: u16) -> Outcome<Process> {
        let arguments = format!("enable=on,target=native,arg=fw,arg=port={port},arg=seed={seed}");
        let mut command = Command::new("qemu-system-arm");
        command.args(["-M", &self.board, "-kernel"]).arg(&self.firmware);
        command.args(["-nographic", "-monitor", "none", "-serial", "null"]);
        command.args(["-nic", "user,ipv6=off", "-semihosting-config", &arguments]);
        // There the firmware finds its flash.
        Process::start("the firmware", command.stdin(Stdio::null()).current_dir(&self.folder))
    }

    /// A server with the configuration of this name. Port 0: whichever is free.
    pub fn server(&self, name: &str, port: u16) -> Outcome<Server> {
        let mut command = self.pysock(name, "serve");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--channel", "readings"]);
        let mut process = Process::start("the server", &mut command)?;
        let address = process.expect("listening on 127.0.0.1:", SOON)?;
        let port = address.parse().map_err(|_| format!("not a port: {address:?}\n"))?;
        self.port.set(Some(port));
        Ok(Server { process, port })
    }

    /// The public key of a configuration, which is created if there is none.
    pub fn public_key(&self, name: &str) -> Outcome<String> {
        let yaml = self.yaml(name);
        if !yaml.exists() {
            // An empty configuration will do; its key is in a file beside it.
            fs::write(&yaml, "").map_err(|error| format!("{}: {error}\n", yaml.display()))?;
            let mut command = Command::new(&self.pysock);
            run(command.arg("keygen").arg("-o").arg(yaml.with_extension("key")))?;
        }
        run(Command::new(&self.pysock).arg("pubkey").arg(&yaml))
    }

    /// Asks as the desktop client of this name.
    pub fn ask(&self, name: &str, what: &[&str]) -> Outcome<String> {
        run(self.client(name, "request")?.args(["--timeout", "10"]).args(what))
    }

    /// A command of the owner, end to end.
    pub fn command(&self, what: &str) -> Outcome<()> {
        let reply = self.ask("owner", &["--to", "thermometer", what])?;
        crate::same("the reply to a command", &reply, "done")
    }

    /// A large message of the owner, end to end. It is done when the device has confirmed that it got everything.
    pub fn upload(&self, bytes: &[u8]) -> Outcome<()> {
        let path = self.folder.join("upload");
        let written = fs::write(&path, bytes).and_then(|()| fs::File::open(&path));
        let file = written.map_err(|error| format!("{}: {error}\n", path.display()))?;
        let mut command = self.client("owner", "send")?;
        command.args(["--to", "thermometer", "-"]).stdin(Stdio::from(file));
        run(&mut command).map(|_| ())
    }

    /// A desktop client that goes to the server.
    fn client(&self, name: &str, what: &str) -> Outcome<Command> {
        let port = self.port.get().ok_or("there is no server yet\n")?;
        let mut command = self.pysock(name, what);
        command.args(["--name", name, "--server", &format!("localhost:{port}")]);
        Ok(command)
    }

    fn pysock(&self, name: &str, what: &str) -> Command {
        let mut command = Command::new(&self.pysock);
        command.arg(what).arg("--config").arg(self.yaml(name)).stdin(Stdio::null());
        command
    }

    fn yaml(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("yaml")
    }
}

/// Runs a program to its end and gives what it prints.
fn run(command: &mut Command) -> Outcome<String> {
    Process::start("pysock", command)?.result(Duration::from_secs(60))
}

/// Fletcher's checksum of 32 bits over bytes: that every byte came, and in order.
pub fn fletcher(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (0, 0);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_535;
        b = (b + a) % 65_535;
    }
    b << 16 | a
}
