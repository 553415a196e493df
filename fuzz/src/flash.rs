//! `flash`: the key log of a device. Any bytes can be in the flash, and power can fail within any write: what is read is
//! what was stored before or after, never something else, and a store that opens goes on working.

use pysock_proto::{
    Name, PublicKey, SecretKey,
    flash::{
        Entry, Fault, Image, KeyStoreError, KnownServer, Log, MAX_SERVERS, Region, Step, Subject,
        Task, Want,
    },
};

use crate::{end::name, input::Input};

const PAGE: u32 = 512;
const NAMES: [&str; 5] = ["a", "bob", "sensor-7", "0.0", "x-x-x-x-x-x-x-x"];

/// Every subject that the game can have.
fn subjects() -> Vec<Subject> {
    let mut all = vec![Subject::Identity, Subject::OwnName];
    all.extend((0..MAX_SERVERS as u8).map(Subject::Server));
    all.extend(NAMES.map(|text| Subject::Peer(name(text))));
    all
}

/// First byte: arbitrary bytes in the flash, or operations with failing power.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let unit = input.pick(&[1, 4, 8, 16, 32]);
    if input.flag() { anything(&mut input, unit) } else { Device::new(unit).lives(&mut input) }
}

/// Whatever is in the flash: opened, read, and written again elsewhere, it says the same.
fn anything(input: &mut Input<'_>, unit: u32) {
    let mut bytes = vec![0xff; 2 * PAGE as usize];
    let whole = input.flag();
    if whole {
        // A store that was one, and then some of its bytes are others.
        let secret = SecretKey::from_bytes([5; 32]);
        let mut image = Image::provision(&mut bytes, unit, PAGE, &secret, Some(&name("sensor")))
            .expect("it fits");
        for _ in 0..input.below(12) {
            if let Some(entry) = entry(input) {
                let _ = image.run(Want::Set(entry));
            }
        }
        while !input.is_empty() {
            let at = usize::from(input.word()) % bytes.len();
            let n = input.below(8);
            for (to, from) in bytes[at..].iter_mut().zip(input.bytes(n)) {
                *to = *from;
            }
        }
    } else {
        for (to, from) in bytes.iter_mut().zip(input.rest()) {
            *to = *from;
        }
    }
    let Ok(mut image) = Image::open(&mut bytes, unit, PAGE) else { return };
    let read = |image: &mut Image<'_>| -> Result<Vec<Entry>, KeyStoreError> {
        let mut all = vec![];
        for subject in subjects() {
            all.extend(image.run(Want::Get(subject))?);
        }
        Ok(all)
    };
    let Ok(all) = read(&mut image) else { return };
    let [Entry::Identity(secret), rest @ ..] = &all[..] else {
        panic!("a store without an identity opens")
    };
    let own = rest.iter().find_map(|entry| match entry {
        Entry::OwnName(own) => Some(*own),
        _ => None,
    });
    let mut other = vec![0; 2 * PAGE as usize];
    let mut copy = Image::provision(&mut other, unit, PAGE, secret, own.as_ref()).expect("it fits");
    for entry in rest {
        let written = copy.run(Want::Set(entry.clone()));
        assert!(matches!(written, Ok(_) | Err(KeyStoreError::Full)), "{written:?}");
        if written.is_err() {
            return;
        }
    }
    assert!(read(&mut copy).expect("it was just written") == all, "written again, it is another");
}

fn peer_name(n: u8) -> Name {
    name(NAMES[usize::from(n) % NAMES.len()])
}

fn entry(input: &mut Input<'_>) -> Option<Entry> {
    let (kind, n) = (input.byte(), input.byte());
    let key = PublicKey([n & 0x7f; 32]);
    Some(match kind % 4 {
        0 => Entry::OwnName(peer_name(n)),
        1 => Entry::Server(n % 8, KnownServer::new(key, &[1, 2][..usize::from(n >> 7) + 1])),
        _ => Entry::Peer(peer_name(n >> 4), key),
    })
}

/// Flash whose power can fail, and what its owner believes to be in it.
struct Device {
    bytes: Vec<u8>,
    unit: u32,
    /// By subject. Before provisioning there is none.
    known: Option<Vec<Entry>>,
    /// Everything is read again after this operation: after each, most of the time would go there.
    looks: bool,
}

impl Device {
    fn new(unit: u32) -> Self {
        Device { bytes: vec![0xff; 2 * PAGE as usize], unit, known: None, looks: true }
    }

    fn lives(&mut self, input: &mut Input<'_>) {
        let mut log = self.log();
        // Some hundred go round the two pages often enough.
        for at in 0..250 {
            if input.is_empty() {
                break;
            }
            self.looks = at % 4 == 0;
            let op = input.byte();
            // Power fails after so many bytes were written; erasing a page counts as one.
            let power = if op & 0x80 == 0 { usize::MAX } else { usize::from(input.byte()) };
            let secret = SecretKey::from_bytes([op & 0x7f; 32]);
            if op & 7 == 0 {
                let own = Some(peer_name(input.byte())).filter(|_| op & 8 == 8);
                self.provisions(&mut log, &secret, own, power);
                continue;
            }
            let mut after = self.known.clone().unwrap_or_default();
            let want = match op & 7 {
                3 => {
                    log = self.log();
                    Want::Open
                }
                what => {
                    let new = match what {
                        1 => Some(Entry::NoServer(input.byte() % 8)),
                        2 => Some(Entry::NoPeer(peer_name(input.byte()))),
                        _ => entry(input),
                    };
                    let Some(new) = new else { continue };
                    let pinned = self.pinned(&new);
                    after.retain(|entry| entry.subject() != new.subject());
                    after.extend(Some(new.clone()).filter(|new| !new.removes()));
                    if let Some(pinned) = pinned {
                        // Nothing may replace a pin, whatever happens to the power.
                        let result = self.run(&mut log, &Want::Set(new), power);
                        if let Some(result) = &result {
                            assert_eq!(*result, Err(KeyStoreError::OtherKey(pinned)));
                        }
                        let after = self.known.clone().unwrap_or_default();
                        self.concludes(&mut log, result, after);
                        continue;
                    }
                    Want::Set(new)
                }
            };
            let result = self.run(&mut log, &want, power);
            self.concludes(&mut log, result, after);
        }
        let mut log = self.log();
        self.looks = true;
        self.agrees(&mut log);
    }

    fn log(&self) -> Log {
        Log::new(Region::new(0..2 * PAGE, self.unit, PAGE))
    }

    /// The key that is pinned where this entry wants to put another.
    fn pinned(&self, new: &Entry) -> Option<PublicKey> {
        let known = self.known.as_ref()?.iter().find(|known| known.subject() == new.subject())?;
        match (known, new) {
            (Entry::Server(_, old), Entry::Server(_, new)) => {
                Some(old.key).filter(|k| *k != new.key)
            }
            (Entry::Peer(_, old), Entry::Peer(_, new)) => Some(*old).filter(|key| key != new),
            _ => None,
        }
    }

    fn provisions(&mut self, log: &mut Log, secret: &SecretKey, own: Option<Name>, power: usize) {
        let result = self.run(log, &Want::Provision(secret, own.as_ref()), power);
        if let Some(known) = self.known.clone() {
            let refused = Some(Err(KeyStoreError::AlreadyProvisioned));
            assert!(result.is_none() || result == refused, "provisioned twice: {result:?}");
            return self.concludes(log, result, known);
        }
        let mut after = vec![Entry::Identity(secret.clone())];
        after.extend(own.map(Entry::OwnName));
        if result.is_none() {
            // Cut short, it has not happened, or it has.
            *log = self.log();
            if self.run(log, &Want::Open, usize::MAX).is_some_and(|opened| opened.is_ok()) {
                self.known = Some(after);
            }
            return self.agrees(log);
        }
        self.concludes(log, result, after);
    }

    /// What is stored now, by what an operation said: `None` if power failed.
    fn concludes(
        &mut self,
        log: &mut Log,
        result: Option<Result<Option<Entry>, KeyStoreError>>,
        after: Vec<Entry>,
    ) {
        match result {
            Some(Ok(_)) => self.known = Some(after),
            Some(Err(why)) => {
                let harmless = matches!(
                    why,
                    KeyStoreError::Full
                        | KeyStoreError::Empty
                        | KeyStoreError::AlreadyProvisioned
                        | KeyStoreError::OtherKey(_)
                );
                assert!(harmless, "nothing was damaged: {why}");
                assert!(why != KeyStoreError::Empty || self.known.is_none(), "it is gone");
            }
            None => {
                *log = self.log();
                let Some(before) = self.known.clone() else { return };
                self.opens(log);
                let stored = self.reads(log);
                let (old, new) = (sorted(&before), sorted(&after));
                assert!(stored == old || stored == new, "neither what was nor what should be");
                self.known = Some(stored);
            }
        }
        self.agrees(log);
    }

    fn opens(&mut self, log: &mut Log) {
        let opened = self.run(log, &Want::Open, usize::MAX).expect("there is power");
        assert!(opened.is_ok(), "does not open after a loss of power: {opened:?}");
    }

    fn reads(&mut self, log: &mut Log) -> Vec<Entry> {
        let mut all = vec![];
        for subject in subjects() {
            let found = self.run(log, &Want::Get(subject), usize::MAX).expect("there is power");
            all.extend(found.expect("it opened"));
        }
        sorted(&all)
    }

    fn agrees(&mut self, log: &mut Log) {
        if let Some(known) = self.known.clone().filter(|_| self.looks) {
            assert!(self.reads(log) == sorted(&known), "what is stored is not what was said");
        }
    }

    /// Performs a task. `None` if power fails on the way.
    fn run(
        &mut self,
        log: &mut Log,
        want: &Want<'_>,
        mut power: usize,
    ) -> Option<Result<Option<Entry>, KeyStoreError>> {
        let mut task = Task::new(log, want);
        let mut last = Ok(());
        for _ in 0..10_000 {
            last = match task.step(last) {
                Step::Read { at, to } => {
                    let from = self.bytes.get(at as usize..at as usize + to.len());
                    from.map(|from| to.copy_from_slice(from)).ok_or(Fault::OutOfBounds)
                }
                Step::Write { at, bytes } => {
                    let n = bytes.len().min(power);
                    power -= n;
                    let to = &mut self.bytes[at as usize..at as usize + bytes.len()];
                    assert!(to.iter().all(|byte| *byte == 0xff), "written twice between erasures");
                    to[..n].copy_from_slice(&bytes[..n]);
                    if n < bytes.len() {
                        return None;
                    }
                    Ok(())
                }
                Step::Erase { from, to } => {
                    if power == 0 {
                        return None;
                    }
                    power -= 1;
                    self.bytes[from as usize..to as usize].fill(0xff);
                    Ok(())
                }
                Step::Done => return Some(task.answer()),
            };
        }
        panic!("a task that never ends");
    }
}

fn sorted(entries: &[Entry]) -> Vec<Entry> {
    let rank = |entry: &Entry| match entry.subject() {
        Subject::Identity => (0, 0, String::new()),
        Subject::OwnName => (1, 0, String::new()),
        Subject::Server(slot) => (2, slot, String::new()),
        Subject::Peer(name) => (3, 0, name.to_string()),
    };
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(rank);
    sorted
}
