//! A network in memory: hosts with a TCP/IP stack each, a switch between them that may lose frames, and a clock that jumps to
//! the next moment at which something is to be done. Nothing sleeps, and every loop has an end.
#![allow(dead_code, reason = "not every test uses all of it")]

mod words;

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use pysock_embedded::{
    Client, Entropy, Event, Memory, NoEntropy, Setup,
    proto::{Instant, Keypair, Name, Psk, PublicKey, RustCrypto, SecretKey},
    server::{self, Admit, Channel, Server, ServerMemory},
    smoltcp::{TcpClient, TcpServer},
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage},
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    socket::tcp,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint},
};

use words::{decide, heard, told};

pub(crate) const PORT: u16 = 1234;
/// The channel `test` as the server knows it: the first that it makes.
pub(crate) const TEST: Channel = Channel(0);
/// The server's place in the network.
pub(crate) const SERVER: usize = 0;
const MTU: usize = 1514;

/// Frames on their way to one host.
type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// A small generator of numbers that look random (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Randomness for the tests, which repeats.
pub(crate) struct Seeded(Random);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        bytes.chunks_mut(8).for_each(|eight| eight.copy_from_slice(&self.0.next().to_le_bytes()));
        Ok(())
    }
}

pub(crate) fn entropy(seed: u64) -> &'static mut Seeded {
    leak(Seeded(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
}

pub(crate) fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}

pub(crate) fn keypair(n: u8) -> &'static Keypair<RustCrypto> {
    leak(Keypair::new(SecretKey::from_bytes([n; 32])))
}

pub(crate) fn key(n: u8) -> PublicKey {
    use pysock_embedded::proto::Identity;
    keypair(n).public()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A host's end of the cable.
struct Port {
    arrived: Queue,
    sent: Queue,
}

struct Arrived(Vec<u8>);
struct Sending<'a>(&'a Queue);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived, Sending<'_>)> {
        let frame = self.arrived.borrow_mut().pop_front()?;
        Some((Arrived(frame), Sending(&self.sent)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending<'_>> {
        Some(Sending(&self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// A host: its stack and its sockets.
pub(crate) struct Host {
    interface: Interface,
    port: Port,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) handles: Vec<SocketHandle>,
}

fn mac(n: usize) -> EthernetAddress {
    EthernetAddress([2, 0, 0, 0, 0, n as u8 + 1])
}

fn address(n: usize) -> IpAddress {
    IpAddress::v4(10, 0, 0, n as u8 + 1)
}

fn stamp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_millis(now.as_millis() as i64)
}

impl Host {
    fn new(n: usize, sockets: usize) -> Self {
        let mut port = Port { arrived: Queue::default(), sent: Queue::default() };
        let mut config = Config::new(HardwareAddress::Ethernet(mac(n)));
        config.random_seed = n as u64 + 1;
        let start = smoltcp::time::Instant::from_millis(0);
        let mut interface = Interface::new(config, &mut port, start);
        interface.update_ip_addrs(|all| all.push(IpCidr::new(address(n), 24)).unwrap());
        let storage = (0..sockets).map(|_| SocketStorage::EMPTY).collect::<Vec<_>>().leak();
        let mut set = SocketSet::new(&mut *storage);
        let buffer = |n: usize| tcp::SocketBuffer::new(Box::leak(vec![0; n].into_boxed_slice()));
        let handles =
            (0..sockets).map(|_| set.add(tcp::Socket::new(buffer(1024), buffer(1024)))).collect();
        Host { interface, port, sockets: set, handles }
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(stamp(now), &mut self.port, &mut self.sockets);
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(stamp(now), &self.sockets)?;
        Some(Instant::from_millis(at.total_millis().max(0) as u64))
    }

    /// Opens a connection to the server that is no pysock.
    pub(crate) fn connect(&mut self, port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handles[0]);
        let server = IpEndpoint::new(address(SERVER), PORT);
        socket.connect(self.interface.context(), server, port).unwrap();
    }

    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket>(self.handles[0])
    }
}

/// What the program of a client does with an event, beside writing it down.
pub(crate) type Program = Box<dyn FnMut(&mut Client<'static>, &Event<'_>)>;
/// The same for a server.
pub(crate) type ServerProgram = Box<dyn FnMut(&mut Server<'static>, &server::Event<'_>)>;

/// A client on a host.
pub(crate) struct Gadget {
    pub(crate) host: Host,
    pub(crate) client: Client<'static>,
    link: TcpClient,
    pub(crate) log: Vec<String>,
    pub(crate) program: Program,
    /// Whether its stack runs, and its program does not.
    pub(crate) is_deaf: bool,
    /// Whether it is switched on.
    pub(crate) is_on: bool,
}

impl Gadget {
    /// The stack does its part, and the client nothing.
    pub(crate) fn poll_only(&mut self, now: Instant) {
        self.host.poll(now);
    }
}

/// The server on its host.
pub(crate) struct Central {
    pub(crate) host: Host,
    pub(crate) server: Server<'static>,
    link: TcpServer,
    pub(crate) log: Vec<String>,
    pub(crate) program: ServerProgram,
}

/// Everything.
pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) central: Central,
    pub(crate) devices: Vec<Gadget>,
    /// Hosts that are no pysock.
    pub(crate) strangers: Vec<Host>,
    random: Random,
    /// Of a thousand frames, so many are lost.
    pub(crate) loss: u64,
    pub(crate) frames: u64,
}

/// Four clients, and one at the door.
pub(crate) type FourClients = ServerMemory<'static, 5, 514, 1024, 2, 10, 8>;

pub(crate) struct Options {
    pub(crate) admit: Admit<'static>,
    pub(crate) psk: Option<&'static Psk>,
    pub(crate) directory: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { admit: Admit::Open, psk: None, directory: true }
    }
}

/// The server's key is this.
pub(crate) const SERVER_KEY: u8 = 200;

impl Lan {
    pub(crate) fn new(options: Options) -> Self {
        let setup = server::Setup {
            identity: keypair(SERVER_KEY),
            entropy: entropy(1),
            psk: options.psk,
            admit: options.admit,
            directory: options.directory,
        };
        let server = leak(FourClients::new()).server(setup).unwrap();
        let mut central = Central {
            host: Host::new(SERVER, server.places()),
            server,
            link: TcpServer::new(PORT),
            log: Vec::new(),
            program: Box::new(|_, _| {}),
        };
        central.server.create_channel("test").unwrap();
        let (devices, strangers) = (Vec::new(), Vec::new());
        let (now, random) = (Instant::from_millis(1), Random(0x5eed));
        Lan { now, central, devices, strangers, random, loss: 0, frames: 0 }
    }

    /// With clients `a`, `b`, … on channel `test`, which know the server's key. Their own are 1, 2, …
    pub(crate) fn with_clients(options: Options, clients: usize) -> Self {
        let mut lan = Lan::new(options);
        for n in 0..clients {
            lan.add_client(n, Some(key(SERVER_KEY)), None);
        }
        lan
    }

    /// Four clients, all of them in.
    pub(crate) fn four() -> Self {
        let mut lan = Lan::with_clients(Options::default(), 4);
        lan.all_connected();
        lan
    }

    /// The channel `test` as a client knows it.
    pub(crate) fn channel(&mut self, device: usize) -> pysock_embedded::Channel {
        self.devices[device].client.create_channel("test").unwrap()
    }

    /// A client on a host of its own, and where it is among the devices.
    pub(crate) fn add_client(
        &mut self,
        n: usize,
        pin: Option<PublicKey>,
        psk: Option<&'static Psk>,
    ) -> usize {
        let called = char::from(b'a' + n as u8).to_string();
        let setup = Setup {
            name: name(&called),
            identity: keypair(n as u8 + 1),
            entropy: entropy(100 + self.devices.len() as u64),
            server: pin,
            psk,
        };
        let client = leak(Memory::<514, 1024, 2, 2>::new()).client(setup);
        self.plug_in(client)
    }

    /// A client that takes records of 256 bytes only.
    pub(crate) fn add_small_client(&mut self, n: usize) -> usize {
        let called = char::from(b'a' + n as u8).to_string();
        let setup = Setup {
            name: name(&called),
            identity: keypair(n as u8 + 1),
            entropy: entropy(100 + self.devices.len() as u64),
            server: Some(key(SERVER_KEY)),
            psk: None,
        };
        let client = leak(Memory::<258, 1024, 2, 2>::new()).client(setup);
        self.plug_in(client)
    }

    fn plug_in(&mut self, mut client: Client<'static>) -> usize {
        client.create_channel("test").unwrap();
        let host = Host::new(1 + self.devices.len() + self.strangers.len(), 1);
        let server = IpEndpoint::new(address(SERVER), PORT);
        let link = TcpClient::new(server, 50_000);
        let (log, program): (_, Program) = (Vec::new(), Box::new(|_, _| {}));
        self.devices.push(Gadget { host, client, link, log, program, is_deaf: false, is_on: true });
        self.devices.len() - 1
    }

    /// A host that is no pysock.
    pub(crate) fn add_stranger(&mut self) -> usize {
        let host = Host::new(1 + self.devices.len() + self.strangers.len(), 1);
        self.strangers.push(host);
        self.strangers.len() - 1
    }

    fn hosts(&mut self) -> impl Iterator<Item = &mut Host> {
        let devices = self.devices.iter_mut().filter(|device| device.is_on);
        std::iter::once(&mut self.central.host)
            .chain(devices.map(|device| &mut device.host))
            .chain(&mut self.strangers)
    }

    /// Carries frames to where they belong. Says whether there were any.
    fn switch(&mut self) -> bool {
        let mut frames = Vec::new();
        for host in self.hosts() {
            frames.extend(host.port.sent.borrow_mut().drain(..));
        }
        self.frames += frames.len() as u64;
        let any = !frames.is_empty();
        for frame in frames {
            if self.random.next() % 1000 < self.loss {
                continue;
            }
            let to = EthernetAddress::from_bytes(&frame[..6]);
            let from = EthernetAddress::from_bytes(&frame[6..12]);
            for host in self.hosts() {
                let own = host.interface.hardware_addr().ethernet_or_panic();
                if own != from && (to.is_broadcast() || to == own) {
                    host.port.arrived.borrow_mut().push_back(frame.clone());
                }
            }
        }
        any
    }

    /// One round: every host does what it can do now. Says whether anything moved.
    pub(crate) fn round(&mut self) -> bool {
        let now = self.now;
        self.hosts().for_each(|host| host.poll(now));
        let mut moved = false;
        let Central { host, server, link, log, program } = &mut self.central;
        let mut on_event = |server: &mut Server<'static>, event: server::Event<'_>| {
            log.push(told(&event));
            program(server, &event);
        };
        moved |= link.turn(server, &mut host.sockets, &host.handles, now, &mut on_event).unwrap();
        for device in self.devices.iter_mut().filter(|device| device.is_on && !device.is_deaf) {
            let Gadget { host, client, link, log, program, .. } = device;
            let mut on_event = |client: &mut Client<'static>, event: Event<'_>| {
                log.push(heard(&event));
                program(client, &event);
                decide(client, event);
            };
            let Host { interface, sockets, handles, .. } = host;
            let socket = sockets.get_mut::<tcp::Socket>(handles[0]);
            moved |= link.turn(client, socket, interface.context(), now, &mut on_event).unwrap();
        }
        self.hosts().for_each(|host| host.poll(now));
        self.switch() | moved
    }

    /// Goes on until `is_done`, or until `millis` have passed on the clock of the network. Says whether it is done.
    pub(crate) fn until(&mut self, millis: u64, mut is_done: impl FnMut(&mut Lan) -> bool) -> bool {
        let end = self.now.after_millis(millis);
        for _ in 0..200_000 {
            if is_done(self) {
                return true;
            }
            if self.round() {
                continue;
            }
            let now = self.now;
            let next = self.next();
            if next.is_none_or(|at| at > end) {
                self.now = end;
                self.round();
                return is_done(self);
            }
            self.now = next.unwrap_or(now).max(now.after_millis(1));
        }
        panic!("it does not come to rest");
    }

    /// Goes on for so long.
    pub(crate) fn run(&mut self, millis: u64) {
        self.until(millis, |_| false);
    }

    /// When the next thing is to be done.
    fn next(&mut self) -> Option<Instant> {
        let now = self.now;
        let of_hosts = self.hosts().filter_map(|host| host.deadline(now)).min();
        let on = self.devices.iter().filter(|device| device.is_on);
        let of_clients = on.filter_map(|device| device.client.deadline()).min();
        [of_hosts, of_clients, self.central.server.deadline()].into_iter().flatten().min()
    }

    /// Until all clients are on their channel.
    pub(crate) fn all_connected(&mut self) {
        let all = |lan: &mut Lan| {
            lan.devices.iter().all(|device| device.log.iter().any(|line| line == "channel ok"))
        };
        assert!(self.until(60_000, all), "{:?}", self.logs());
    }

    pub(crate) fn logs(&self) -> Vec<&[String]> {
        std::iter::once(&self.central.log[..])
            .chain(self.devices.iter().map(|device| &device.log[..]))
            .collect()
    }

    /// Whether a client has written this down.
    pub(crate) fn has(&self, device: usize, line: &str) -> bool {
        self.devices[device].log.iter().any(|it| it == line)
    }

    /// Whether the server has written this down.
    pub(crate) fn server_has(&self, line: &str) -> bool {
        self.central.log.iter().any(|it| it == line)
    }

    pub(crate) fn count(&self, device: usize, line: &str) -> usize {
        self.devices[device].log.iter().filter(|it| *it == line).count()
    }

    /// Where a client is sent something by others: its number at the server.
    pub(crate) fn number(&self, called: &str) -> pysock_embedded::proto::PeerId {
        let mut clients = self.central.server.clients();
        clients.find(|peer| peer.name.as_str() == called).expect("it is connected").id
    }

    /// The device loses its power, and everything in its stack with it.
    pub(crate) fn pull_the_plug(&mut self, device: usize) {
        self.devices[device].is_on = false;
        self.devices[device].host.socket().abort();
        // What it would still say is lost with it.
        self.devices[device].host.poll(self.now);
        self.devices[device].host.port.sent.borrow_mut().clear();
    }
}

trait Ethernet {
    fn ethernet_or_panic(&self) -> EthernetAddress;
}

impl Ethernet for HardwareAddress {
    fn ethernet_or_panic(&self) -> EthernetAddress {
        match self {
            HardwareAddress::Ethernet(address) => *address,
        }
    }
}
