//! What this device does with what it hears, and whom it trusts.

use defmt::{Debug2Format, Display2Format, info, warn};
use embassy_stm32::gpio::{Input, Output};
use pysock_embedded::{
    Address, Channel, Client, Event, Message,
    proto::{Failure, Kind, PeerInfo, PeerRefusal, PublicKey, peer::PeerEvent},
};
use serde::Serialize;

use crate::{board::Keys, client::log};

/// The channel for readings.
const CHANNEL: &str = "readings";
/// Where the server's pin is among the keys.
const SERVER_SLOT: u8 = 0;

/// What is measured. On the server: the same with `Deserialize`, and `message.value::<Reading>()`.
#[derive(Clone, Copy, Serialize)]
pub struct Reading {
    /// Thousandths of a degree.
    pub millicelsius: i32,
}

/// The device.
pub struct Thermometer {
    /// Its identity, and whom it trusts.
    pub keys: Keys,
    lamp: Output<'static>,
    /// Held: whoever comes now is trusted from now on.
    button: Input<'static>,
    channel: Option<Channel>,
    latest: Option<Reading>,
    /// The same, until it is sent.
    unsent: Option<Reading>,
}

impl Thermometer {
    /// A device that has measured nothing.
    pub fn new(keys: Keys, lamp: Output<'static>, button: Input<'static>) -> Self {
        Thermometer { keys, lamp, button, channel: None, latest: None, unsent: None }
    }

    /// The server to talk to: the pinned one; on the first boot, the one the firmware was built for.
    pub fn server(&mut self, built_for: Option<PublicKey>) -> Option<PublicKey> {
        // Keys that cannot be read are no reason to trust a stranger.
        let pinned = defmt::unwrap!(self.keys.server(SERVER_SLOT).ok(), "the keys cannot be read");
        pinned.map(|known| known.key).or(built_for)
    }

    /// A reading to send, as soon as there is somebody to send it to.
    pub fn report(&mut self, client: &mut Client<'_>, reading: Reading) {
        (self.latest, self.unsent) = (Some(reading), Some(reading));
        self.catch_up(client);
    }

    fn catch_up(&mut self, client: &mut Client<'_>) {
        if let (Some(channel), Some(reading)) = (self.channel, self.unsent) {
            match client.send_value(channel, &reading) {
                Ok(()) => self.unsent = None,
                Err(why) => warn!("a reading has to wait: {}", Display2Format(&why)),
            }
        }
    }

    /// Something has happened.
    pub fn hear(&mut self, client: &mut Client<'_>, event: Event<'_>) {
        match event {
            // Without an answer the connection ends, and the next one asks again.
            Event::Verify(verify) if self.button.is_high() => {
                log("the server is not accepted", client.accept(verify));
            }
            Event::Verify(verify) => {
                let key = Display2Format(verify.key());
                info!("hold the button to trust the server that has {}", key);
            }
            Event::Connected { server, suites } => {
                info!("connected");
                log("the server is not pinned", self.keys.pin_server(SERVER_SLOT, server, suites));
                log("there is no channel", client.create_channel(CHANNEL).map(|_| ()));
            }
            Event::Channel { channel, result } => {
                self.channel = result.is_ok().then_some(channel);
                log("readings are not wanted", result);
                self.catch_up(client);
            }
            Event::Room => self.catch_up(client),
            Event::Message(message) => self.listen(client, &message),
            // Nothing that anyone has to say to a thermometer is that long.
            Event::Begin { stream, .. } => client.stop(stream, Failure::TooLarge),
            Event::Peer { peer, event } => self.meet(client, &peer, event),
            Event::Disconnected { why, again } => {
                self.channel = None;
                info!("no connection: {}; trying again: {}", Display2Format(&why), again);
            }
            event => info!("{}", Debug2Format(&event)),
        }
    }

    fn listen(&mut self, client: &mut Client<'_>, message: &Message<'_>) {
        match (message.from, message.kind, message.bytes) {
            // Whoever can reach this device may ask how warm it is.
            (_, Kind::Request(_), _) => match &self.latest {
                Some(reading) => log("no answer", client.reply_value(message, reading)),
                None => log("no answer", client.fail(message, Failure::Busy)),
            },
            // Only those who were paired have a session, and so may switch something.
            (Address::Peer(_), Kind::Message, b"on") => self.lamp.set_high(),
            (Address::Peer(_), Kind::Message, b"off") => self.lamp.set_low(),
            (from, ..) => warn!("nothing to do with a message from {}", Debug2Format(&from)),
        }
    }

    /// About the session with another client.
    fn meet(&mut self, client: &mut Client<'_>, peer: &PeerInfo, event: PeerEvent<'_>) {
        match event {
            PeerEvent::Greeting(greeting) if self.lets_in(greeting.key()) => {
                log("no session", client.answer(greeting));
            }
            PeerEvent::Greeting(greeting) => {
                info!("hold the button to pair with {}", Display2Format(&peer.name));
                client.refuse(greeting, PeerRefusal::NotTrusted);
            }
            PeerEvent::Verify(verify) if self.lets_in(verify.key()) => {
                log("no session", client.accept_peer(verify));
            }
            PeerEvent::Verify(verify) => client.deny_peer(verify, PeerRefusal::NotTrusted),
            // Pinned only now: before, it might have been a recording of somebody who was here long ago.
            PeerEvent::Open { .. } if !self.trusts(&peer.key) => {
                let pinned = self.keys.pin_peer(&peer.name, peer.key);
                info!("paired with {}: {}", Display2Format(&peer.name), pinned.is_ok());
                if pinned.is_err() {
                    client.close_peer(&peer.key);
                }
            }
            event => info!("{}: {}", Display2Format(&peer.name), Debug2Format(&event)),
        }
    }

    /// Whoever is pinned, and whoever comes while the button is held.
    fn lets_in(&mut self, key: &PublicKey) -> bool {
        self.trusts(key) || self.button.is_high()
    }

    /// Whether this key is pinned. If the flash cannot be read, no key is.
    fn trusts(&mut self, key: &PublicKey) -> bool {
        matches!(self.keys.peer_label(key), Ok(Some(_)))
    }
}
