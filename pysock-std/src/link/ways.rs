//! Where messages go and come from: the other side of a connection, or through it another client. Whatever moves
//! messages is written once, for both.

use std::collections::VecDeque;

use pysock_proto::{
    Connection, Envelope, Failure, PeerId, PeerInfo, PeerTx, SendError, StreamId, TxBuf,
};

use super::C;
use crate::payload::Packed;

/// The way out.
pub(crate) trait Out {
    fn send(&mut self, envelope: &Envelope, bytes: &[u8]) -> Result<(), SendError>;
    /// Several, one after the other. Says how many went, and why not all.
    fn send_block(
        &mut self,
        envelope: &Envelope,
        packed: &Packed,
    ) -> (usize, Result<(), SendError>) {
        for (sent, bytes) in packed.block().iter().enumerate() {
            if let Err(error) = self.send(envelope, bytes) {
                return (sent, Err(error));
            }
        }
        (packed.count(), Ok(()))
    }
    fn send_failed(&mut self, envelope: &Envelope, why: Failure) -> Result<(), SendError>;
    fn begin(&mut self, envelope: &Envelope, length: Option<u64>) -> Result<StreamId, SendError>;
    fn chunk(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, SendError>;
    fn end(&mut self, stream: StreamId) -> Result<(), SendError>;
    fn abort(&mut self, stream: StreamId, why: Failure) -> Result<(), SendError>;
    /// Longest message that need not be streamed, in bytes.
    fn longest_message(&mut self) -> usize;
    /// Whether the receiver takes large messages at all.
    fn takes_streams(&self) -> bool;
    /// Tells the receiver who a peer is, unless it remembers.
    fn announce(&mut self, peer: &PeerInfo) -> Result<(), SendError>;
}

/// The way in, as far as what arrives has to be answered.
pub(crate) trait In {
    fn consumed(&mut self, stream: StreamId, bytes: usize);
    fn stop(&mut self, stream: StreamId, why: Failure);
}

/// The other side of a connection.
pub(super) struct Direct<'a> {
    pub(super) conn: &'a mut Connection<C>,
    pub(super) tx: &'a mut TxBuf<Vec<u8>>,
    /// The peers announced to the receiver, as it remembers them: the latest last.
    pub(super) announced: &'a mut VecDeque<PeerId>,
}

impl Out for Direct<'_> {
    fn send(&mut self, envelope: &Envelope, bytes: &[u8]) -> Result<(), SendError> {
        self.conn.send(&mut self.tx.lend(), envelope, bytes)
    }

    fn send_block(
        &mut self,
        envelope: &Envelope,
        packed: &Packed,
    ) -> (usize, Result<(), SendError>) {
        self.conn.send_block(&mut self.tx.lend(), envelope, packed.block())
    }

    fn send_failed(&mut self, envelope: &Envelope, why: Failure) -> Result<(), SendError> {
        self.conn.send_failed(&mut self.tx.lend(), envelope, why)
    }

    fn begin(&mut self, envelope: &Envelope, length: Option<u64>) -> Result<StreamId, SendError> {
        self.conn.begin(&mut self.tx.lend(), envelope, length)
    }

    fn chunk(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, SendError> {
        self.conn.chunk(&mut self.tx.lend(), stream, bytes)
    }

    fn end(&mut self, stream: StreamId) -> Result<(), SendError> {
        self.conn.end(&mut self.tx.lend(), stream)
    }

    fn abort(&mut self, stream: StreamId, why: Failure) -> Result<(), SendError> {
        self.conn.abort(&mut self.tx.lend(), stream, why)
    }

    fn longest_message(&mut self) -> usize {
        self.conn.longest_message(&self.tx.lend())
    }

    fn takes_streams(&self) -> bool {
        self.conn.remote_limits().is_none_or(|limits| limits.streams > 0)
    }

    fn announce(&mut self, peer: &PeerInfo) -> Result<(), SendError> {
        if self.announced.contains(&peer.id) {
            return Ok(());
        }
        self.conn.announce(&mut self.tx.lend(), peer)?;
        self.announced.push_back(peer.id);
        let remembered = self.conn.remote_limits().map_or(1, |limits| limits.peers);
        if self.announced.len() > usize::from(remembered) {
            self.announced.pop_front();
        }
        Ok(())
    }
}

impl In for Connection<C> {
    fn consumed(&mut self, stream: StreamId, bytes: usize) {
        Connection::consumed(self, stream, bytes);
    }

    fn stop(&mut self, stream: StreamId, why: Failure) {
        Connection::stop(self, stream, why);
    }
}

/// Another client, end to end.
impl Out for PeerTx<'_, '_, C> {
    fn send(&mut self, envelope: &Envelope, bytes: &[u8]) -> Result<(), SendError> {
        PeerTx::send(self, envelope.channel.0, envelope.kind, bytes)
    }

    fn send_failed(&mut self, envelope: &Envelope, why: Failure) -> Result<(), SendError> {
        PeerTx::send_failed(self, envelope.channel.0, envelope.kind, why)
    }

    fn begin(&mut self, envelope: &Envelope, length: Option<u64>) -> Result<StreamId, SendError> {
        PeerTx::begin(self, envelope.channel.0, envelope.kind, length)
    }

    fn chunk(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, SendError> {
        PeerTx::chunk(self, stream, bytes)
    }

    fn end(&mut self, stream: StreamId) -> Result<(), SendError> {
        PeerTx::end(self, stream)
    }

    fn abort(&mut self, stream: StreamId, why: Failure) -> Result<(), SendError> {
        PeerTx::abort(self, stream, why)
    }

    fn longest_message(&mut self) -> usize {
        PeerTx::longest_message(self)
    }

    fn takes_streams(&self) -> bool {
        PeerTx::takes_streams(self)
    }

    /// A session has no sender but its other side.
    fn announce(&mut self, _: &PeerInfo) -> Result<(), SendError> {
        Ok(())
    }
}
