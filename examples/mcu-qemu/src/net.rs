//! TCP/IP over the controller.

use pysock_proto::Instant;
use smoltcp::{
    iface::{
        Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
        SocketStorage,
    },
    socket::tcp,
    time,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address},
};

use crate::{device::Device, nic::MAC};

/// The address of the board in QEMU's user network.
pub const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
/// The gateway, which also is the loopback of the host.
pub const HOST: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

/// Frames that one poll takes in at most: whoever floods the board gets its attention, but not all of it.
const BURST: usize = 8;

/// The network of the board: an interface and its sockets, whose memory the caller lends.
pub struct Net {
    /// The interface.
    pub interface: Interface,
    /// Its sockets.
    pub sockets: SocketSet<'static>,
}

impl Net {
    /// Sets the interface up. `random` makes the sequence numbers of TCP hard to guess.
    pub fn new(
        device: &mut Device,
        sockets: &'static mut [SocketStorage<'static>],
        random: u64,
        now: Instant,
    ) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        config.random_seed = random;
        let mut interface = Interface::new(config, device, time(now));
        // There is room for one of each, by default.
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(ADDRESS.into(), 24));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(HOST);
        Net { interface, sockets: SocketSet::new(sockets) }
    }

    /// Adds a TCP socket with these buffers. Panics if there is no room for another.
    pub fn add_tcp(
        &mut self,
        received: &'static mut [u8],
        to_send: &'static mut [u8],
    ) -> SocketHandle {
        let received = tcp::SocketBuffer::new(received);
        let to_send = tcp::SocketBuffer::new(to_send);
        self.sockets.add(tcp::Socket::new(received, to_send))
    }

    /// A TCP socket.
    pub fn tcp(&mut self, socket: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(socket)
    }

    /// Connects to a port of the host.
    ///
    /// # Errors
    /// The socket is in use, or a port is 0.
    pub fn connect(
        &mut self,
        socket: SocketHandle,
        port: u16,
        local_port: u16,
    ) -> Result<(), tcp::ConnectError> {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(socket);
        socket.connect(self.interface.context(), (IpAddress::Ipv4(HOST), port), local_port)
    }

    /// Takes in what has arrived and sends what is due: bounded work. Whether a socket may have something new.
    pub fn poll(&mut self, device: &mut Device, now: Instant) -> bool {
        let (now, mut news) = (time(now), false);
        for _ in 0..BURST {
            match self.interface.poll_ingress_single(now, device, &mut self.sockets) {
                PollIngressSingleResult::None => break,
                PollIngressSingleResult::PacketProcessed => {}
                PollIngressSingleResult::SocketStateChanged => news = true,
            }
        }
        news | (self.interface.poll_egress(now, device, &mut self.sockets)
            == PollResult::SocketStateChanged)
    }

    /// When to poll again at the latest, if no frame arrives before.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(time(now), &self.sockets)?;
        // What is due was due at the beginning of time.
        Some(Instant::from_millis(at.total_millis().try_into().unwrap_or(0)))
    }
}

fn time(at: Instant) -> time::Instant {
    time::Instant::from_millis(i64::try_from(at.as_millis()).unwrap_or(i64::MAX))
}
