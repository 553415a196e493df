//! Who is compared.

use clap::ValueEnum;

/// A way to do the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// pysock, public API, each side on a current-thread runtime, with the suite that two desktops agree on: AES-GCM.
    Pysock,
    /// The same with the suite that microcontrollers have, too.
    PysockChacha,
    /// The same on tokio's default runtime.
    PysockThreads,
    /// The same, the server's connections shared out over two threads.
    PysockShards,
    /// pysock's layer between clients, for the relay.
    PysockEndToEnd,
    /// tokio without encryption.
    Plain,
    /// tokio-rustls, TLS 1.3, AES-128-GCM.
    TlsAes,
    /// tokio-rustls, TLS 1.3, ChaCha20-Poly1305.
    TlsChacha,
    /// tokio and snow with ring, many messages in a record.
    Noise,
    /// tokio and snow with ring, one record for each message.
    NoiseEach,
    /// nats-server, TLS with client certificates.
    Nats,
    /// mosquitto, TLS with client certificates, QoS 0.
    Mosquitto,
    /// libzmq, CURVE.
    Zmq,
}

impl Peer {
    /// The name on the command line.
    pub(crate) fn id(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The name in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Peer::Pysock => "pysock",
            Peer::PysockChacha => "pysock ChaCha",
            Peer::PysockThreads => "pysock, multi-thread",
            Peer::PysockShards => "pysock, sharded",
            Peer::PysockEndToEnd => "pysock, end to end",
            Peer::Plain => "plain expert",
            Peer::TlsAes => "expert TLS AES",
            Peer::TlsChacha => "expert TLS ChaCha",
            Peer::Noise => "expert Noise",
            Peer::NoiseEach => "Noise, record per message",
            Peer::Nats => "NATS + TLS",
            Peer::Mosquitto => "mosquitto + TLS",
            Peer::Zmq => "libzmq CURVE",
        }
    }

    pub(crate) fn is_pysock(self) -> bool {
        matches!(
            self,
            Peer::Pysock
                | Peer::PysockChacha
                | Peer::PysockThreads
                | Peer::PysockShards
                | Peer::PysockEndToEnd
        )
    }

    /// Written for this comparison on bare tokio.
    pub(crate) fn is_expert(self) -> bool {
        matches!(self, Peer::Plain | Peer::TlsAes | Peer::TlsChacha | Peer::Noise | Peer::NoiseEach)
    }
}
