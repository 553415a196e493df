//! Noise XK by snow with ring: records of at most 64 KiB behind a 2-byte length.

use std::{fs, io};

use snow::{Builder, HandshakeState, TransportState, params::NoiseParams};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{frame::Inbox, tls::Files};

const PATTERN: &str = "Noise_XK_25519_ChaChaPoly_BLAKE2s";
const TAG: usize = 16;
/// What fits into a record.
const MOST: usize = 65_535 - TAG;

/// The static keys of both sides. The client's process knows the server's private one; it is a benchmark.
pub(super) struct Keys {
    server: (Vec<u8>, Vec<u8>),
    client: Vec<u8>,
    params: NoiseParams,
}

impl Keys {
    pub(super) fn create(files: &Files) -> io::Result<()> {
        let params: NoiseParams = PATTERN.parse().map_err(io::Error::other)?;
        for side in ["server", "client"] {
            let pair = Builder::new(params.clone()).generate_keypair().map_err(io::Error::other)?;
            fs::write(files.path(&format!("{side}.noise")), [pair.private, pair.public].concat())?;
        }
        Ok(())
    }

    pub(super) fn load(files: &Files) -> io::Result<Self> {
        let mut server = fs::read(files.path("server.noise"))?;
        let mut client = fs::read(files.path("client.noise"))?;
        let public = server.split_off(32);
        client.truncate(32);
        let params = PATTERN.parse().map_err(io::Error::other)?;
        Ok(Keys { server: (server, public), client, params })
    }
}

/// An open connection.
pub(super) struct Noise {
    socket: TcpStream,
    state: TransportState,
    /// One record for each message instead of as many as fit.
    each: bool,
    raw: Vec<u8>,
    start: usize,
    end: usize,
    sealed: Vec<u8>,
}

impl Noise {
    pub(super) async fn accept(socket: TcpStream, keys: &Keys, each: bool) -> io::Result<Self> {
        let state = Builder::new(keys.params.clone())
            .local_private_key(&keys.server.0)
            .and_then(Builder::build_responder);
        Self::shake(socket, state.map_err(io::Error::other)?, each).await
    }

    pub(super) async fn connect(socket: TcpStream, keys: &Keys, each: bool) -> io::Result<Self> {
        let state = Builder::new(keys.params.clone())
            .local_private_key(&keys.client)
            .and_then(|builder| builder.remote_public_key(&keys.server.1))
            .and_then(Builder::build_initiator);
        Self::shake(socket, state.map_err(io::Error::other)?, each).await
    }

    async fn shake(
        mut socket: TcpStream,
        mut state: HandshakeState,
        each: bool,
    ) -> io::Result<Self> {
        let mut buffer = [0; 256];
        while !state.is_handshake_finished() {
            if state.is_my_turn() {
                let count = state.write_message(&[], &mut buffer[2..]).map_err(io::Error::other)?;
                buffer[..2].copy_from_slice(&(count as u16).to_le_bytes());
                socket.write_all(&buffer[..count + 2]).await?;
            } else {
                let count = usize::from(socket.read_u16_le().await?);
                let message =
                    buffer.get_mut(..count).ok_or_else(|| io::Error::other("too long"))?;
                socket.read_exact(message).await?;
                state.read_message(message, &mut []).map_err(io::Error::other)?;
            }
        }
        let state = state.into_transport_mode().map_err(io::Error::other)?;
        let (raw, sealed) = (Vec::new(), Vec::new());
        Ok(Noise { socket, state, each, raw, start: 0, end: 0, sealed })
    }

    /// Gives memory back until something arrives.
    pub(super) async fn rest(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            (self.raw, self.sealed) = (Vec::new(), Vec::new());
            self.socket.readable().await?;
        }
        Ok(())
    }

    /// Opens every record that is there.
    pub(super) async fn read(&mut self, inbox: &mut Inbox) -> io::Result<bool> {
        loop {
            let mut opened = false;
            while let Some(head) = self.raw[self.start..self.end].first_chunk::<2>() {
                let from = self.start + 2;
                let to = from + usize::from(u16::from_le_bytes(*head));
                if to > self.end {
                    break;
                }
                let opens = self.state.read_message(&self.raw[from..to], inbox.space());
                inbox.filled(opens.map_err(io::Error::other)?);
                self.start = to;
                opened = true;
            }
            if opened {
                return Ok(true);
            }
            self.socket.readable().await?;
            self.raw.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.raw.resize(2 * 65_537, 0);
            match self.socket.read(&mut self.raw[self.end..]).await? {
                0 => return Ok(false),
                count => self.end += count,
            }
        }
    }

    /// Seals all of it, and writes all records at once.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.sealed.clear();
        while !bytes.is_empty() {
            let most = match (self.each, bytes.first_chunk::<4>()) {
                (true, Some(head)) => (u32::from_le_bytes(*head) as usize).saturating_add(4),
                _ => MOST,
            };
            let (piece, rest) = bytes.split_at(most.min(MOST).min(bytes.len()));
            let at = self.sealed.len();
            self.sealed.resize(at + 2 + piece.len() + TAG, 0);
            let (head, body) = self.sealed[at..].split_at_mut(2);
            head.copy_from_slice(&((piece.len() + TAG) as u16).to_le_bytes());
            self.state.write_message(piece, body).map_err(io::Error::other)?;
            bytes = rest;
        }
        self.socket.write_all(&self.sealed).await
    }
}
