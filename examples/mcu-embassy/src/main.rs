//! A thermometer on a board with Ethernet: it sends readings to a pysock server, and whoever was paired with it at the blue
//! button may ask it and switch its lamp, end to end.
//!
//! [`client`] is the part to copy: pysock under Embassy, on whatever chip. [`board`] is what belongs to this chip.
#![no_std]
#![no_main]

mod board;
mod client;
mod thermometer;

use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_net::{Config, StackResources};
use embassy_time::{Duration, Ticker};
use panic_probe as _;
use static_cell::ConstStaticCell;

use crate::{
    board::{Board, Ethernet, Sensor},
    thermometer::Thermometer,
};

/// How often the temperature is measured.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

// DHCP, and the connection to the server. In a `static`, not by way of the stack, as everything large here.
static SOCKETS: ConstStaticCell<StackResources<2>> = ConstStaticCell::new(StackResources::new());

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let Board { ethernet, mut random, sensor, flash, lamp, button } = board::start();
    // What is missing here does not come by trying again: without keys or randomness this device must not talk to anyone.
    let seed = defmt::unwrap!(random.word(), "the random generator does not work");
    let (stack, network_runner) =
        embassy_net::new(ethernet, Config::dhcpv4(Default::default()), SOCKETS.take(), seed);
    spawner.spawn(defmt::unwrap!(network(network_runner)));
    spawner.spawn(defmt::unwrap!(measure(sensor)));

    let keys = match board::open_keys(flash, &mut random) {
        Ok(keys) => keys,
        Err(why) => defmt::panic!("{}", defmt::Display2Format(&why)),
    };
    let thermometer = Thermometer::new(keys, lamp, button);
    spawner.spawn(defmt::unwrap!(client::client(stack, thermometer, random)));
}

/// The TCP/IP stack.
#[embassy_executor::task]
async fn network(mut runner: embassy_net::Runner<'static, Ethernet>) -> ! {
    runner.run().await
}

/// Measures, whether or not there is a connection.
#[embassy_executor::task]
async fn measure(mut sensor: Sensor) -> ! {
    let mut ticker = Ticker::every(MEASURED_EVERY);
    loop {
        let reading = sensor.read();
        // While the client is busy connecting, the newest reading is the one to keep.
        if client::READINGS.try_send(reading).is_err() {
            let _ = client::READINGS.try_receive();
            let _ = client::READINGS.try_send(reading);
        }
        ticker.next().await;
    }
}
