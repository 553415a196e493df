//! What belongs to the chip: a NUCLEO-F429ZI. To move to another board, replace this file.

use embassy_futures::block_on;
use embassy_stm32::{
    Config, Peri,
    adc::{Adc, SampleTime, Temperature},
    bind_interrupts, eth,
    flash::{Bank2Region1, Blocking, Flash},
    gpio::{Input, Level, Output, Pull, Speed},
    peripherals, rcc, rng,
    time::Hertz,
    uid::uid,
};
use pysock_embedded::{
    Entropy, NoEntropy,
    keys::{KeyStore, KeyStoreError},
};
use static_cell::ConstStaticCell;

use crate::thermometer::Reading;

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    HASH_RNG => rng::InterruptHandler<peripherals::RNG>;
});

/// The network driver.
pub type Ethernet = eth::Ethernet<
    'static,
    peripherals::ETH,
    eth::GenericPhy<eth::Sma<'static, peripherals::ETH_SMA>>,
>;

/// The flash that holds the keys: the small sectors of bank 2. Its driver blocks, so that the handler of events, which is no
/// future, can use it. A pin takes a millisecond, and a second only where a sector has to be erased: at the first boot, and
/// once in many pins.
pub type KeyFlash = Bank2Region1<'static, Blocking>;
/// The keys in it.
pub type Keys = KeyStore<KeyFlash>;

/// What the board offers.
pub struct Board {
    pub ethernet: Ethernet,
    pub random: Random,
    pub sensor: Sensor,
    pub flash: KeyFlash,
    /// The green one.
    pub lamp: Output<'static>,
    /// The blue one; high while it is held.
    pub button: Input<'static>,
}

static PACKETS: ConstStaticCell<eth::PacketQueue<4, 4>> =
    ConstStaticCell::new(eth::PacketQueue::new());

/// Sets the clocks and the pins.
pub fn start() -> Board {
    let mut config = Config::default();
    // The clock of the debugger next to the chip. 8 MHz / 4 · 168 = 336 MHz: half of it for the core, a seventh, which has to
    // be 48 MHz or a little less, for the random generator.
    config.rcc.hse = Some(rcc::Hse { freq: Hertz(8_000_000), mode: rcc::HseMode::Bypass });
    config.rcc.pll_src = rcc::PllSource::HSE;
    config.rcc.pll = Some(rcc::Pll {
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL168,
        divp: Some(rcc::PllPDiv::DIV2),
        divq: Some(rcc::PllQDiv::DIV7),
        divr: None,
    });
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV1;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV4;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    let p = embassy_stm32::init(config);

    let ethernet = eth::Ethernet::new(
        PACKETS.take(),
        p.ETH,
        Interrupts,
        p.PA1,
        p.PA7,
        p.PC4,
        p.PC5,
        p.PG13,
        p.PB13,
        p.PG11,
        mac_address(),
        p.ETH_SMA,
        p.PA2,
        p.PC1,
    );
    Board {
        ethernet,
        random: Random(rng::Rng::new(p.RNG, Interrupts)),
        sensor: Sensor::new(p.ADC1),
        flash: Flash::new_blocking(p.FLASH).into_blocking_regions().bank2_region1,
        lamp: Output::new(p.PB0, Level::Low, Speed::Low),
        button: Input::new(p.PC13, Pull::Down),
    }
}

/// Different on every board, and from the range that anybody may use.
fn mac_address() -> [u8; 6] {
    let mut mac = [0x02_u8, 0, 0, 0, 0, 0];
    // Where on which wafer the chip was, and which lot it is of.
    for (at, byte) in uid().into_iter().enumerate() {
        let to = &mut mac[1 + at % 5];
        *to = to.rotate_left(3) ^ byte;
    }
    mac
}

/// Opens the keys; the first boot makes them.
///
/// # Errors
/// See [`KeyStoreError`]. None of them is a reason to erase anything without being asked.
pub fn open_keys(flash: KeyFlash, random: &mut Random) -> Result<Keys, KeyStoreError> {
    // Two halves of one sector each.
    KeyStore::open_or_provision(flash, 0..2 * 16 * 1024, random, None)
}

/// The random generator of the chip.
pub struct Random(rng::Rng<'static, peripherals::RNG>);

impl Random {
    /// For what has to differ, and need not be secret.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn word(&mut self) -> Result<u64, NoEntropy> {
        let mut bytes = [0; 32];
        self.fill(&mut bytes)?;
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8; 32]) -> Result<(), NoEntropy> {
        // The driver's `fill_bytes` never fails, but tries for ever; the async one reports what the generator's health checks
        // have found. Its wait is a microsecond a word. What they find may be a mishap, so it gets another try, and not more.
        let mut attempt = || block_on(self.0.async_fill_bytes(bytes));
        attempt().or_else(|_| attempt()).map_err(|_| NoEntropy)
    }
}

/// The thermometer inside the chip. It is good to a few degrees, and always there.
pub struct Sensor {
    adc: Adc<'static, peripherals::ADC1>,
    channel: Temperature,
}

impl Sensor {
    fn new(adc: Peri<'static, peripherals::ADC1>) -> Self {
        let adc = Adc::new(adc);
        let channel = adc.enable_temperature();
        Sensor { adc, channel }
    }

    /// The temperature now.
    pub fn read(&mut self) -> Reading {
        let raw = self.adc.blocking_read(&mut self.channel, SampleTime::CYCLES480);
        // 3.3 V are 4096 steps. The data sheet: 0.76 V at 25 °C, and 2.5 mV for each degree.
        let microvolts = i32::from(raw) * 3300 / 4096 * 1000;
        Reading { millicelsius: 25_000 + (microvolts - 760_000) * 2 / 5 }
    }
}
