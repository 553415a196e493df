//! What each side can take, announced inside the handshake and obeyed by the other.

/// Smallest record limit that may be announced, in bytes of ciphertext.
pub const MIN_RECORD: u16 = 256;
/// Large messages that one direction of a connection can have under way at most.
pub const MAX_STREAMS: u8 = 4;
/// Questions (channels to open, peers to find) that a client may have unanswered at most.
pub const MAX_QUESTIONS: u8 = 8;
/// How long a side that has sent its close waits for the answer, in milliseconds.
pub(crate) const CLOSE_MILLIS: u64 = 5_000;

/// What one side takes. Announced once, in the handshake; the other side never sends more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest record, in bytes of ciphertext with its tag: 256–65 535. The receive buffer needs two more.
    pub record: u16,
    /// Seconds of silence after which this side gives the connection up: 1–65 535. The smaller of both counts.
    pub idle_secs: u16,
    /// Bytes of one large message that may be under way before the receiver has consumed them.
    pub window: u32,
    /// Large messages under way at once towards this side: 0–4; 0 takes none.
    pub streams: u8,
    /// Senders that this side remembers: 1–255. A server announces a sender again once it has
    /// announced this many others since.
    pub peers: u8,
}

impl Limits {
    /// For a desktop: records of 16 KiB, a minute of silence, 256 KiB per large message.
    pub const DESKTOP: Limits =
        Limits { record: 16_384, idle_secs: 60, window: 262_144, streams: MAX_STREAMS, peers: 64 };

    /// For a microcontroller: records of 512 bytes, a minute of silence, one large message at a time.
    pub const SMALL: Limits =
        Limits { record: 512, idle_secs: 60, window: 1_024, streams: 1, peers: 4 };

    /// Whether every figure is in its range.
    pub const fn is_valid(&self) -> bool {
        self.record >= MIN_RECORD && self.idle_secs >= 1 && self.peers >= 1
            // Where streams are taken at all, a window of less than one small record would crawl.
            && (self.streams == 0 || self.window >= MIN_RECORD as u32)
    }

    /// The figures brought into their ranges.
    #[must_use]
    pub fn clamped(self) -> Self {
        Limits {
            record: self.record.max(MIN_RECORD),
            idle_secs: self.idle_secs.max(1),
            window: self.window.max(MIN_RECORD.into()),
            streams: self.streams.min(MAX_STREAMS),
            peers: self.peers.max(1),
        }
    }
}
