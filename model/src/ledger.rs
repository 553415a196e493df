//! What became of messages, in one direction: the promises of the protocol, kept apart from the code that keeps them.

use crate::client::Heard;

/// Messages from one client to the other. Each says its number, which goes on over restarts.
#[derive(Clone, Default, Debug, Hash)]
pub(crate) struct Ledger {
    /// Ever, and before the sender forgot.
    sent: u32,
    forgotten: u32,
    /// The highest number that has arrived.
    last: u32,
    arrived: u32,
    /// Of those that the sender remembers.
    arrived_now: u32,
    lost: u32,
    undelivered: u32,
    unknown: u32,
    /// A side has forgotten: reports are not complete any more.
    restarted: bool,
}

impl Ledger {
    /// The next message.
    pub(crate) fn send(&mut self, from: usize) -> [u8; 2] {
        self.sent += 1;
        [from as u8, self.sent as u8]
    }

    /// The sender has restarted: it will hear nothing of what it sent.
    pub(crate) fn sender_restarts(&mut self) {
        self.forgotten = self.sent;
        (self.arrived_now, self.undelivered, self.unknown) = (0, 0, 0);
        self.restarted = true;
    }

    pub(crate) fn receiver_restarts(&mut self) {
        self.restarted = true;
    }

    /// What the receiver has heard.
    pub(crate) fn receiver_hears(
        &mut self,
        from: usize,
        heard: &Heard,
    ) -> Result<(), &'static str> {
        match heard {
            Heard::Message(text) => {
                let &[who, number] = text.as_slice() else { return Err("an altered message") };
                let number = u32::from(number);
                if usize::from(who) != from || number > self.sent {
                    return Err("a message that nobody has sent");
                }
                if number <= self.last {
                    return Err("a message twice, or out of order");
                }
                self.last = number;
                self.arrived += 1;
                self.arrived_now += u32::from(number > self.forgotten);
            }
            Heard::Lost(n) => self.lost += n,
            _ => {}
        }
        self.is_possible()
    }

    /// What the sender has heard.
    pub(crate) fn sender_hears(&mut self, heard: &Heard) -> Result<(), &'static str> {
        match heard {
            Heard::Undelivered(n) => self.undelivered += n,
            Heard::Unknown(n) => self.unknown += n,
            _ => {}
        }
        self.is_possible()
    }

    fn is_possible(&self) -> Result<(), &'static str> {
        if self.arrived + self.lost > self.sent {
            return Err("more is Lost than was sent");
        }
        if self.arrived_now + self.undelivered > self.sent - self.forgotten {
            return Err("a message is Undelivered that has arrived");
        }
        Ok(())
    }

    /// Nothing is under way any more.
    pub(crate) fn balance(&self) -> Result<(), &'static str> {
        let missing = self.sent - self.forgotten - self.arrived_now;
        if missing > self.undelivered + self.unknown {
            return Err("the sender was not told that a message is missing");
        }
        if !self.restarted && self.unknown == 0 && self.lost != self.undelivered {
            return Err("the two sides were told different figures");
        }
        Ok(())
    }

    pub(crate) fn arrived(&self) -> u32 {
        self.arrived
    }

    pub(crate) fn has_reported(&self) -> bool {
        self.lost > 0 && self.undelivered > 0
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown > 0
    }
}
