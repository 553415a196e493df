//! A computer in the place of a board: what a firmware gets from its chip, the examples get from here.

mod flash;

pub use flash::FileFlash;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use pysock_embedded::{Clock, Entropy, NoEntropy, proto};

/// A socket of this computer in the place of a Wi-Fi module: it says whether it is ready, as `embedded-io` wants it.
#[derive(Debug)]
pub struct Module(TcpStream);

impl Module {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// The operating system does not let it be polled.
    pub fn new(socket: TcpStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Module(socket))
    }
}

impl embedded_io::ErrorType for Module {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Read for Module {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, embedded_io::ErrorKind> {
        self.0.read(space).map_err(|error| error.kind().into())
    }
}

impl embedded_io::ReadReady for Module {
    fn read_ready(&mut self) -> Result<bool, embedded_io::ErrorKind> {
        match self.0.peek(&mut [0]).map_err(|error| error.kind()) {
            Ok(_) => Ok(true),
            Err(ErrorKind::WouldBlock) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl embedded_io::Write for Module {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, embedded_io::ErrorKind> {
        // There is no way to ask whether it would wait; a client writes little.
        let wrote = self.0.set_nonblocking(false).and_then(|()| self.0.write(bytes));
        self.0.set_nonblocking(true).and(wrote).map_err(|error| error.kind().into())
    }

    fn flush(&mut self) -> Result<(), embedded_io::ErrorKind> {
        Ok(())
    }
}

impl embedded_io::WriteReady for Module {
    fn write_ready(&mut self) -> Result<bool, embedded_io::ErrorKind> {
        Ok(true)
    }
}

/// The computer's clock in the place of a chip's.
#[derive(Debug)]
pub struct Uptime(Instant);

impl Default for Uptime {
    fn default() -> Self {
        Uptime(Instant::now())
    }
}

impl Clock for Uptime {
    fn now(&mut self) -> proto::Instant {
        proto::Instant::from_millis(self.0.elapsed().as_millis() as u64)
    }

    fn idle(&mut self, until: Option<proto::Instant>) {
        // A chip would wait for the interrupt of its module.
        let left = until.map_or(1, |at| at.millis_since(self.now()));
        thread::sleep(Duration::from_millis(left.min(1)));
    }
}

/// The computer's random generator in the place of a chip's.
#[derive(Debug)]
pub struct System;

impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        getrandom::fill(bytes).map_err(|_| NoEntropy)
    }
}
