//! A whole server on a chip: TCP/IP, four clients and one at the door, and everything that a server does. The network
//! interface is a register, so that the optimizer knows nothing of what comes from there.
#![no_std]
#![no_main]

use core::{
    cell::UnsafeCell,
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
};

use board::{Register, Size, Slot, sizes};
use pysock_embedded::{
    Entropy, NoEntropy,
    proto::{Failure, Instant, Keypair, Kind, Name, Psk, PublicKey, RustCrypto, SecretKey},
    server::{Admit, Asked, Event, Server, ServerMemory, Setup},
    smoltcp::TcpServer,
};
use smoltcp::{
    iface::{Config, Interface, SocketSet, SocketStorage},
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    socket::tcp,
    wire::{EthernetAddress, IpCidr, Ipv4Address},
};

/// Four clients and one at the door.
const PLACES: usize = 5;
type Memory = ServerMemory<'static, PLACES, 514, 1024, 2, 10, 8>;

const MTU: usize = 1514;
/// A socket of a client: a segment each way, more or less.
const SOCKET_RECEIVE: usize = 768;
const SOCKET_SEND: usize = 1024;

// SAFETY: the section exists for this table alone; it is kept in the file and never loaded.
#[unsafe(link_section = ".pysock_sizes")]
#[used]
static SIZES: [Size; 4] = sizes! {
    "ServerMemory, 4 clients" Memory,
    "Server beside it" Server<'static>,
    "smoltcp's memory, 5 sockets" Network,
    "smoltcp's Interface" Interface,
};

/// What smoltcp gets.
struct Network {
    receive: [[u8; SOCKET_RECEIVE]; PLACES],
    send: [[u8; SOCKET_SEND]; PLACES],
    arrived: [u8; MTU],
    leaving: [u8; MTU],
}

static KEY: Slot<Keypair<RustCrypto>> = Slot::new();
static PSK: Slot<Psk> = Slot::new();
static CHIP: Slot<Chip> = Slot::new();
static SOCKETS: Slot<[SocketStorage<'static>; PLACES]> = Slot::new();
static LIST: Slot<[(Name, PublicKey); 2]> = Slot::new();
static MEMORY: Once<Memory> = Once::new(Memory::new());
static NETWORK: Once<Network> = Once::new(Network {
    receive: [[0; SOCKET_RECEIVE]; PLACES],
    send: [[0; SOCKET_SEND]; PLACES],
    arrived: [0; MTU],
    leaving: [0; MTU],
});

/// A value that is there from the beginning, handed out once.
struct Once<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: `taken` lets exactly one caller reach the value, whatever its thread. There are no threads here at all; a value
// that may not change them would find none to change to.
unsafe impl<T> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new(value: T) -> Self {
        Once { value: UnsafeCell::new(value), taken: AtomicBool::new(false) }
    }

    #[expect(clippy::mut_from_ref, reason = "handed out once")]
    fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: only the first caller comes here, so this is the only reference that ever exists.
        Some(unsafe { &mut *self.value.get() })
    }
}

struct Chip;

impl Entropy for Chip {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        *bytes = board::bytes(Register::Random);
        if board::read(Register::Wish) == 0 { Err(NoEntropy) } else { Ok(()) }
    }
}

/// The network interface: one frame each way.
struct Interfaces {
    arrived: &'static mut [u8; MTU],
    leaving: &'static mut [u8; MTU],
}

struct Arrived<'a>(&'a [u8]);
struct Leaving<'a>(&'a mut [u8; MTU]);

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Some(frame) = self.0.get_mut(..len) else { return f(&mut []) };
        let result = f(frame);
        board::send(frame);
        result
    }
}

impl Device for Interfaces {
    type RxToken<'a> = Arrived<'a>;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived<'_>, Leaving<'_>)> {
        let n = board::receive(self.arrived);
        let frame = self.arrived.get(..n).filter(|frame| !frame.is_empty())?;
        Some((Arrived(frame), Leaving(self.leaving)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_>> {
        Some(Leaving(self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    black_box(run());
    board::halt()
}

fn stamp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_millis(now.as_millis() as i64)
}

fn run() -> Option<()> {
    let identity = KEY.fill(Keypair::new(SecretKey::from_bytes(board::bytes(Register::Stored))))?;
    let psk = Psk::new(board::bytes(Register::Stored), board::bytes(Register::Stored));
    let psk = PSK.fill(psk)?;
    let name = |text: [u8; 8]| Name::from_bytes(&text).ok();
    let first = (name(board::bytes(Register::Stored))?, PublicKey(board::bytes(Register::Stored)));
    let second = (name(board::bytes(Register::Stored))?, PublicKey(board::bytes(Register::Stored)));
    let list = LIST.fill([first, second])?;
    let setup = Setup {
        identity,
        entropy: CHIP.fill(Chip)?,
        psk: (board::read(Register::Wish) == 1).then_some(psk),
        admit: match board::read(Register::Wish) {
            0 => Admit::Open,
            1 => Admit::ClaimOnce,
            _ => Admit::List(list),
        },
        directory: board::read(Register::Wish) == 1,
    };
    let mut server = MEMORY.take()?.server(setup).ok()?;
    let test = server.create_channel("test").ok()?;

    let Network { receive, send, arrived, leaving } = NETWORK.take()?;
    let mut device = Interfaces { arrived, leaving };
    let mut config = Config::new(EthernetAddress(board::bytes(Register::Stored)).into());
    config.random_seed = u64::from(board::read(Register::Random));
    let mut interface = Interface::new(config, &mut device, stamp(board::now()));
    let own = Ipv4Address::from_octets(board::bytes(Register::Stored));
    interface.update_ip_addrs(|all| {
        let _ = all.push(IpCidr::new(own.into(), 24));
    });
    let mut sockets = SocketSet::new(&mut SOCKETS.fill([SocketStorage::EMPTY; PLACES])?[..]);
    let mut buffers = receive.iter_mut().zip(send);
    let listening = [(); PLACES].map(|()| {
        let (receive, send) = match buffers.next() {
            Some((receive, send)) => (&mut receive[..], &mut send[..]),
            None => (&mut [][..], &mut [][..]),
        };
        let (receive, send) = (tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send));
        sockets.add(tcp::Socket::new(receive, send))
    });

    let link = TcpServer::new(1234);
    let mut asked: Option<Asked> = None;
    loop {
        let now = board::now();
        interface.poll(stamp(now), &mut device, &mut sockets);
        let mut on_event = |server: &mut Server<'static>, event: Event<'_>| match event {
            Event::Message(message) => {
                board::show(message.sender.name.as_str().as_bytes());
                board::show(message.bytes);
                let done = match (message.kind, board::read(Register::Wish)) {
                    (Kind::Request(_), 0) => server.reply(&message, b"21.5"),
                    (Kind::Request(_), 1) => {
                        server.decline(&message, Failure::NoResponder);
                        Ok(())
                    }
                    (Kind::Request(_), _) => {
                        asked = server.defer(&message);
                        Ok(())
                    }
                    _ => server.send(test, message.sender.id, b"Hello From Server"),
                };
                board::write(Register::Show, u32::from(done.is_ok()));
            }
            Event::Joined { peer, .. } => {
                board::show(peer.key.as_bytes());
                board::write(Register::Show, server.publish(test, b"somebody has come") as u32);
            }
            Event::Chunk { bytes, .. } => board::show(bytes),
            // Whatever it carries counts as used.
            other => {
                black_box(&other);
            }
        };
        let moved = link.turn(&mut server, &mut sockets, &listening, now, &mut on_event).ok()?;
        wish(&mut server, test, &mut asked);
        if !moved {
            let stack = interface.poll_at(stamp(now), &sockets);
            let stack = stack.map(|at| Instant::from_millis(at.total_millis() as u64));
            board::sleep([stack, server.deadline()].into_iter().flatten().min());
        }
    }
}

/// What the user wants of the program.
fn wish(
    server: &mut Server<'static>,
    test: pysock_embedded::server::Channel,
    asked: &mut Option<Asked>,
) {
    let peer = server.clients().next().map(|peer| peer.id);
    let done = match (board::read(Register::Wish), peer, asked.take()) {
        (1, Some(peer), _) => server.request(test, peer, b"how are you", 1_000).map(drop),
        (2, Some(peer), _) => {
            server.send_value(test, peer, &board::read(Register::Stored)).map_err(|_| Failure::Busy)
        }
        (3, Some(peer), _) => {
            server.kick(peer);
            Ok(())
        }
        (4, ..) => {
            server.close();
            Ok(())
        }
        (5, _, Some(asked)) => server.reply_later(&asked, b"at last"),
        (_, _, Some(asked)) => {
            server.fail(asked, Failure::Cancelled);
            Ok(())
        }
        _ => Ok(()),
    };
    board::write(Register::Show, u32::from(done.is_ok()));
}
