//! pysock under Embassy: the part to copy.
//!
//! ```text
//!  measure ──READINGS──▶ ┌────────┐ events ▶ Thermometer::hear
//!                        │ client │                │ answers
//!  network ◀──TcpSocket─▶└────────┘ ◀──────────────┘
//! ```

use core::net::SocketAddrV4;

use defmt::{Display2Format, info, warn};
use embassy_futures::select::{Either, select};
use embassy_net::{Stack, tcp::TcpSocket};
use embassy_sync::{blocking_mutex::raw::ThreadModeRawMutex, channel::Channel};
use embassy_time::{Duration, Timer, with_timeout};
use pysock_embedded::{
    AsyncClock, Client, Event, Memory, NoEntropy, Setup, io_async,
    proto::{Identity as _, Instant, Keypair, PublicKey, RustCrypto},
};
use static_cell::ConstStaticCell;

use crate::{
    board::Random,
    thermometer::{Reading, Thermometer},
};

/// Where the server is: `PYSOCK_SERVER` when this is compiled.
const SERVER: &str = match option_env!("PYSOCK_SERVER") {
    Some(address) => address,
    None => "192.168.1.2:1234",
};
/// The server's key, if `PYSOCK_SERVER_KEY` said so when this was compiled. Otherwise the blue button decides.
const SERVER_KEY: Option<&str> = option_env!("PYSOCK_SERVER_KEY");
/// What a device is called whose keys do not say so. A server lets only one have it.
const NAME: &str = "thermometer";
/// How long TCP may take to connect, or to hear that something has arrived.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the last words may take, before the socket is dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// From those who measure to the client.
pub static READINGS: Channel<ThreadModeRawMutex, Reading, 4> = Channel::new();

// Messages of up to 490 bytes, one channel, sessions with four clients.
static MEMORY: ConstStaticCell<Memory<514, 1024, 1, 4>> = ConstStaticCell::new(Memory::new());
// TCP keeps what was not acknowledged, so these bound the speed, not the length of messages.
static RECEIVED: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
static SENT: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);

/// Talks with the server for as long as it wants to hear from this device.
#[embassy_executor::task]
pub async fn client(stack: Stack<'static>, mut thermometer: Thermometer, mut random: Random) {
    let secret = defmt::unwrap!(thermometer.keys.identity().ok(), "the keys cannot be read");
    let identity = Keypair::<RustCrypto>::new(secret);
    let name = defmt::unwrap!(NAME.parse().ok(), "the name breaks the rules");
    let setup = Setup {
        name: thermometer.keys.name().ok().flatten().unwrap_or(name),
        server: thermometer.server(SERVER_KEY.map(key)),
        identity: &identity,
        entropy: &mut random,
        psk: None,
    };
    info!("this is {}", Display2Format(&identity.public()));
    let mut client = MEMORY.take().client(setup);
    match run(stack, &mut client, &mut thermometer).await {
        Ok(()) => info!("the server wants no more of this device until it is reset"),
        // Every key from here on might be guessed.
        Err(NoEntropy) => defmt::panic!("the random generator does not work"),
    }
}

fn key(text: &str) -> PublicKey {
    defmt::unwrap!(text.parse().ok(), "PYSOCK_SERVER_KEY is not a key: pysock1…")
}

/// Connects, again and again.
async fn run(
    stack: Stack<'static>,
    client: &mut Client<'_>,
    thermometer: &mut Thermometer,
) -> Result<(), NoEntropy> {
    let server: SocketAddrV4 = defmt::unwrap!(SERVER.parse().ok(), "PYSOCK_SERVER: 1.2.3.4:5");
    let (received, sent) = (RECEIVED.take(), SENT.take());
    let mut clock = Clock;
    // The client knows when it is time: at once, or later the more often it went wrong; and whether at all.
    while let Some(at) = client.connect_at() {
        clock.sleep_until(at).await;
        stack.wait_config_up().await;
        info!("connecting to {}", SERVER);
        client.begin(clock.now())?;
        let mut socket = TcpSocket::new(stack, received, sent);
        socket.set_timeout(Some(TCP_TIMEOUT));
        if socket.connect(server).await.is_ok() {
            serve(client, &mut socket, thermometer).await?;
        } else {
            client.unreachable(clock.now(), &mut |client, event| thermometer.hear(client, event));
        }
        // A farewell is in the socket's memory by now, and dropping the socket would throw it away.
        socket.close();
        let _ = with_timeout(FAREWELL, socket.flush()).await;
    }
    Ok(())
}

/// Serves one connection to its end.
async fn serve(
    client: &mut Client<'_>,
    socket: &mut TcpSocket<'_>,
    thermometer: &mut Thermometer,
) -> Result<(), NoEntropy> {
    let (mut from_server, mut to_server) = socket.split();
    let mut clock = Clock;
    loop {
        let mut on_event =
            |client: &mut Client<'_>, event: Event<'_>| thermometer.hear(client, event);
        let listening =
            io_async::listen(client, &mut from_server, &mut to_server, &mut clock, &mut on_event);
        // Nothing is lost when one of the two comes first and the other is dropped.
        match select(listening, READINGS.receive()).await {
            Either::First(over) => return over,
            Either::Second(reading) => thermometer.report(client, reading),
        }
    }
}

/// Embassy's time.
struct Clock;

impl AsyncClock for Clock {
    fn now(&mut self) -> Instant {
        Instant::from_millis(embassy_time::Instant::now().as_millis())
    }

    async fn sleep_until(&mut self, until: Instant) {
        Timer::at(embassy_time::Instant::from_millis(until.as_millis())).await;
    }
}

/// Says what did not work, and goes on.
pub fn log<E: core::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(why) = result {
        warn!("{}: {}", what, Display2Format(&why));
    }
}
