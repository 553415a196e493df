//! A server over TCP sockets of `smoltcp`.

use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::tcp,
};

use super::Socket;
use crate::{
    entropy::NoEntropy,
    link::{Step, serve},
    proto::Instant,
    server::{OnEvent, Server},
};

/// Listens on sockets, one for each [place](Server::places) of a server, and serves whoever comes.
///
/// ```
/// use pysock_embedded::{
///     NoEntropy,
///     proto::{Failure, Instant, Kind},
///     server::{Event, Server},
///     smoltcp::TcpServer,
/// };
/// use smoltcp::{
///     iface::{Interface, SocketHandle, SocketSet},
///     phy::Device,
/// };
///
/// fn run<'m>(
///     server: &mut Server<'m>,
///     (interface, device): (&mut Interface, &mut impl Device),
///     (sockets, listening): (&mut SocketSet<'_>, &[SocketHandle]),
///     mut now: impl FnMut() -> Instant,
///     mut wait: impl FnMut(Option<Instant>),
/// ) -> Result<(), NoEntropy> {
///     let Ok(test) = server.create_channel("test") else { return Ok(()) };
///     let link = TcpServer::new(1234);
///     loop {
///         let at = smoltcp::time::Instant::from_millis(now().as_millis() as i64);
///         interface.poll(at, device, sockets);
///         let moved = link.turn(server, sockets, listening, now(), &mut |server, event| match event {
///             Event::Message(message) if matches!(message.kind, Kind::Request(_)) => {
///                 // If that fails, the client is told why.
///                 let _ = server.reply(&message, b"21.5");
///             }
///             Event::Message(message) => {
///                 let said = server.send(test, message.sender.id, b"Hello From Server");
///                 if said == Err(Failure::Busy) {
///                     // It does not take what it gets as fast as it asks for it.
///                 }
///             }
///             Event::Joined { .. } => {
///                 server.publish(test, b"somebody has come");
///             }
///             _ => {}
///         })?;
///         if !moved {
///             let stack = interface.poll_at(at, sockets).map(|at| Instant::from_millis(at.total_millis() as u64));
///             wait([stack, server.deadline()].into_iter().flatten().min());
///         }
/// #       return Ok(());
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TcpServer {
    port: u16,
}

impl TcpServer {
    /// On this port, which is not 0.
    pub const fn new(port: u16) -> Self {
        TcpServer { port }
    }

    /// One step of each socket: listens, or reads once, deals with it, writes once. Waits for nothing. `false`: there is nothing
    /// to do before the interface has something, or [`Server::deadline`].
    ///
    /// `listening` are TCP sockets of `sockets`, as many as the server has places, in the same order each time. Poll the
    /// interface before it, and once more afterwards if it says `true`.
    ///
    /// # Errors
    /// There is no randomness. That is fatal: do not go on with this server.
    pub fn turn<'m>(
        &self,
        server: &mut Server<'m>,
        sockets: &mut SocketSet<'_>,
        listening: &[SocketHandle],
        now: Instant,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<bool, NoEntropy> {
        let mut moved = false;
        for (at, handle) in listening.iter().take(server.places()).enumerate() {
            let socket = sockets.get_mut::<tcp::Socket>(*handle);
            moved |= self.one(server, at, socket, now, on_event)?;
        }
        Ok(moved)
    }

    fn one<'m>(
        &self,
        server: &mut Server<'m>,
        at: usize,
        socket: &mut tcp::Socket<'_>,
        now: Instant,
        on_event: &mut OnEvent<'_, 'm>,
    ) -> Result<bool, NoEntropy> {
        if server.is_active(at) {
            let step = match server.is_overdue(at, now) {
                true => Step::Over,
                false => serve((server, at), &mut Socket(socket), now, on_event),
            };
            if step == Step::Over {
                match server.is_over(at) {
                    // What was written last still gets out.
                    true => socket.close(),
                    false => socket.abort(),
                }
                server.lost(at, now, on_event);
            }
            return Ok(step != Step::Idle);
        }
        let moved = match socket.state() {
            tcp::State::Listen => {
                server.vacate(at);
                false
            }
            // The word to the other end that all is over waits until its address on the wire is known.
            tcp::State::Closed
                if socket.remote_endpoint().is_some() && !server.is_overdue(at, now) =>
            {
                false
            }
            tcp::State::Closed | tcp::State::TimeWait => {
                // Whoever was here has said goodbye: the wait for what is late would only keep others out.
                socket.abort();
                let _ = socket.listen(self.port);
                server.vacate(at);
                false
            }
            _ if server.is_overdue(at, now) => {
                socket.abort();
                server.lost(at, now, on_event);
                true
            }
            _ if server.is_leaving(at) => {
                // What still comes is read, or its end would never arrive.
                socket.recv(|bytes| (bytes.len(), bytes.len())).is_ok_and(|n| n > 0)
            }
            _ if socket.can_recv() => {
                server.begin(at, now)?;
                true
            }
            tcp::State::SynReceived | tcp::State::Established => {
                server.knock(at, now);
                false
            }
            // It has gone without a word.
            _ => {
                socket.abort();
                server.lost(at, now, on_event);
                true
            }
        };
        Ok(moved)
    }
}
