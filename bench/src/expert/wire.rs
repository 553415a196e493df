//! A connection of whichever kind: bytes in, bytes out.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{
    frame::{self, CHUNK, Inbox},
    noise::Noise,
    tls::{self, Files},
};
use crate::peer::Peer;

/// An open connection.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Noise(Box<Noise>),
}

/// How connections of one peer are opened. Configurations are made once.
pub(super) enum Kind {
    Plain,
    Accept(tokio_rustls::TlsAcceptor),
    Connect(tokio_rustls::TlsConnector),
    Noise { keys: super::noise::Keys, each: bool },
}

impl Kind {
    pub(super) fn server(peer: Peer, files: &Files) -> io::Result<Self> {
        Self::new(peer, files, |files, peer| Ok(Kind::Accept(tls::acceptor(files, peer)?)))
    }

    pub(super) fn client(peer: Peer, files: &Files) -> io::Result<Self> {
        Self::new(peer, files, |files, peer| Ok(Kind::Connect(tls::connector(files, peer)?)))
    }

    fn new(
        peer: Peer,
        files: &Files,
        tls: impl FnOnce(&Files, Peer) -> io::Result<Self>,
    ) -> io::Result<Self> {
        match peer {
            Peer::Plain => Ok(Kind::Plain),
            Peer::Noise | Peer::NoiseEach => {
                let keys = super::noise::Keys::load(files)?;
                Ok(Kind::Noise { keys, each: peer == Peer::NoiseEach })
            }
            peer => tls(files, peer),
        }
    }

    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        match self {
            Kind::Plain => Ok(Wire::Plain(socket)),
            Kind::Accept(tls) => Ok(Wire::Tls(Box::new(tls.accept(socket).await?.into()))),
            Kind::Connect(_) => Err(io::Error::other("clients do not accept")),
            Kind::Noise { keys, each } => {
                Ok(Wire::Noise(Box::new(Noise::accept(socket, keys, *each).await?)))
            }
        }
    }

    pub(super) async fn connect(&self, address: &str) -> io::Result<Wire> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        match self {
            Kind::Plain => Ok(Wire::Plain(socket)),
            Kind::Connect(tls) => {
                Ok(Wire::Tls(Box::new(tls.connect(tls::name()?, socket).await?.into())))
            }
            Kind::Accept(_) => Err(io::Error::other("servers do not connect")),
            Kind::Noise { keys, each } => {
                Ok(Wire::Noise(Box::new(Noise::connect(socket, keys, *each).await?)))
            }
        }
    }
}

impl Wire {
    /// Reads what is there, at least something. `false`: the other side is gone.
    pub(super) async fn read(&mut self, inbox: &mut Inbox) -> io::Result<bool> {
        let count = match self {
            Wire::Plain(socket) => socket.read(inbox.space()).await?,
            Wire::Tls(stream) => stream.read(inbox.space()).await?,
            Wire::Noise(noise) => return noise.read(inbox).await,
        };
        inbox.filled(count);
        Ok(count > 0)
    }

    /// Writes all of it, and leaves nothing in between.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Wire::Noise(noise) => noise.write(bytes).await,
        }
    }

    /// Sends one message, large ones without a copy.
    pub(super) async fn message(&mut self, out: &mut Vec<u8>, payload: &[u8]) -> io::Result<()> {
        if payload.len() < CHUNK {
            frame::push(out, payload);
            return if out.len() >= CHUNK { self.flush(out).await } else { Ok(()) };
        }
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.flush(out).await?;
        self.write(payload).await
    }

    /// Sends what has been put together.
    pub(super) async fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() {
            self.write(out).await?;
            out.clear();
        }
        Ok(())
    }

    /// Owns no memory until something arrives. Only after everything that came was read.
    pub(super) async fn rest(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.readable().await,
            Wire::Tls(stream) => stream.get_ref().0.readable().await,
            Wire::Noise(noise) => noise.rest().await,
        }
    }

    /// One whole message.
    pub(super) async fn receive(&mut self, inbox: &mut Inbox) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = inbox.next()? {
                return Ok(message.to_vec());
            }
            if !self.read(inbox).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
