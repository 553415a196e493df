//! A client over a TCP socket of `smoltcp`, polled from a bare loop; a server over several is [`TcpServer`].
//!
//! ```
//! use pysock_embedded::{Client, Event, NoEntropy, proto::Instant, smoltcp::TcpClient};
//! use smoltcp::{
//!     iface::{Interface, SocketHandle, SocketSet},
//!     phy::Device,
//!     socket::tcp,
//!     wire::IpEndpoint,
//! };
//!
//! fn run<'m>(
//!     client: &mut Client<'m>,
//!     (server, local_port): (IpEndpoint, u16),
//!     (interface, device): (&mut Interface, &mut impl Device),
//!     (sockets, socket): (&mut SocketSet<'_>, SocketHandle),
//!     mut now: impl FnMut() -> Instant,
//!     mut wait: impl FnMut(Option<Instant>),
//! ) -> Result<(), NoEntropy> {
//!     let mut link = TcpClient::new(server, local_port);
//!     loop {
//!         let at = smoltcp::time::Instant::from_millis(now().as_millis() as i64);
//!         interface.poll(at, device, sockets);
//!         let socket = sockets.get_mut::<tcp::Socket>(socket);
//!         let moved = link.turn(client, socket, interface.context(), now(), &mut |client, event| {
//!             if let Event::Message(message) = event {
//!                 let _ = client.reply(&message, b"21.5");
//!             }
//!         })?;
//!         if !moved {
//!             let stack = interface.poll_at(at, sockets).map(|at| Instant::from_millis(at.total_millis() as u64));
//!             wait([stack, client.deadline()].into_iter().flatten().min());
//!         }
//! #       return Ok(());
//!     }
//! }
//! ```

mod server;

pub use server::TcpServer;

use smoltcp::{iface::Context, socket::tcp, wire::IpEndpoint};

use crate::{
    client::{Client, OnEvent},
    entropy::NoEntropy,
    link::{Cut, Link, Step, step},
    proto::Instant,
};

/// The first port of the range for connections that are made (RFC 6335 §6).
const DYNAMIC: u16 = 49_152;

/// Connects a socket to the server, serves the client over it, and connects again when that is due.
#[derive(Debug)]
pub struct TcpClient {
    server: IpEndpoint,
    /// The port of the next connection on this side: another one each time, so that the server does not take it for the last.
    port: u16,
}

impl TcpClient {
    /// For the server at this address. `local_port` is the first port to use on this side, from 49 152 on; a random one spares
    /// a device that was reset the wait for its earlier connection to be forgotten.
    pub fn new(server: IpEndpoint, local_port: u16) -> Self {
        TcpClient { server, port: local_port.max(DYNAMIC) }
    }

    /// One step: connects if that is due, or reads once, deals with it, writes once. Waits for nothing. `false`: there is
    /// nothing to do before the interface has something, or [`Client::deadline`].
    ///
    /// Poll the interface before it, and once more afterwards if it says `true`.
    ///
    /// # Errors
    /// There is no randomness. That is fatal: do not go on with this client.
    pub fn turn<'m>(
        &mut self,
        client: &mut Client<'m>,
        socket: &mut tcp::Socket<'_>,
        context: &mut Context,
        now: Instant,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<bool, NoEntropy> {
        if !client.is_active() {
            // Requests in sessions wait for their replies meanwhile.
            client.process(now, on_event)?;
            let is_due = client.connect_at().is_some_and(|at| now >= at);
            match is_due {
                // The other end did not close its side of the last connection.
                true if socket.is_open() => socket.abort(),
                true => self.connect(client, socket, context, now, on_event)?,
                false => {}
            }
            return Ok(is_due);
        }
        Ok(match step(client, &mut Socket(socket), now, on_event)? {
            Step::Moved => true,
            Step::Idle => false,
            Step::Over => {
                match client.is_over() {
                    // What was written last still gets out.
                    true => socket.close(),
                    false => socket.abort(),
                }
                client.lost(now, on_event);
                true
            }
        })
    }

    fn connect<'m>(
        &mut self,
        client: &mut Client<'m>,
        socket: &mut tcp::Socket<'_>,
        context: &mut Context,
        now: Instant,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<(), NoEntropy> {
        client.begin(now)?;
        let port = self.port;
        self.port = port.checked_add(1).unwrap_or(DYNAMIC);
        if socket.connect(context, self.server, port).is_err() {
            client.unreachable(now, on_event);
        }
        Ok(())
    }
}

/// A socket that is connecting, connected, or was.
struct Socket<'s, 'b>(&'s mut tcp::Socket<'b>);

impl Link for Socket<'_, '_> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Cut> {
        match self.0.recv_slice(space) {
            Ok(n) => Ok(n),
            // Before the connection there is nothing to read.
            Err(tcp::RecvError::InvalidState) if is_opening(self.0) => Ok(0),
            Err(_) => Err(Cut),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Cut> {
        match self.0.send_slice(bytes) {
            Ok(n) => Ok(n),
            Err(_) if is_opening(self.0) || bytes.is_empty() => Ok(0),
            Err(_) => Err(Cut),
        }
    }
}

fn is_opening(socket: &tcp::Socket<'_>) -> bool {
    matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived)
}
