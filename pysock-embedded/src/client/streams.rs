//! Messages larger than a record: sent in parts, and received in parts, without being whole anywhere here.

use super::{Address, Client, Stream, verbs::DIRECT};
use crate::proto::{Failure, Kind, SendError};

impl Client<'_> {
    /// Begins a message larger than a record, of `length` bytes if that is known.
    ///
    /// # Errors
    /// [`SendError::NotOpen`]; [`SendError::Streams`] while the receiver takes no further one; [`SendError::Full`].
    pub fn begin_stream(
        &mut self,
        to: impl Into<Address>,
        kind: Kind,
        length: Option<u64>,
    ) -> Result<Stream, SendError> {
        let connection = self.connection;
        let (peer, id) = match to.into() {
            Address::Peer(key) => {
                (Some(key), self.in_session(&key, |to| to.begin(DIRECT, kind, length))?)
            }
            to => {
                let envelope = self.envelope(to, kind)?;
                let (conn, tx) = self.open()?;
                let begun = conn.begin(&mut tx.lend(), &envelope, length);
                (None, self.noted(begun)?)
            }
        };
        // Those of a session may outlive the connection, and are called as its events call them.
        let connection = if peer.is_some() { 0 } else { connection };
        Ok(Stream { peer, id, connection })
    }

    /// Sends as much of `bytes` as credit and room allow now, and returns how much that was: at least one byte, unless there
    /// is none.
    ///
    /// # Errors
    /// [`SendError::NoCredit`] until [`Event::Credit`](super::Event::Credit); [`SendError::Full`] until
    /// [`Event::Room`](super::Event::Room); [`SendError::StreamLength`]; [`SendError::NoStream`] once it is over.
    pub fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, SendError> {
        match self.live(stream)?.peer {
            Some(key) => self.in_session(&key, |to| to.chunk(stream.id, bytes)),
            None => {
                let (conn, tx) = self.open()?;
                let sent = conn.chunk(&mut tx.lend(), stream.id, bytes);
                self.noted(sent)
            }
        }
    }

    /// Ends a stream: the message is complete.
    ///
    /// # Errors
    /// [`SendError::StreamLength`] if less than the declared length was sent; otherwise as [`chunk`](Self::chunk).
    pub fn end(&mut self, stream: Stream) -> Result<(), SendError> {
        match self.live(stream)?.peer {
            Some(key) => self.in_session(&key, |to| to.end(stream.id)),
            None => {
                let (conn, tx) = self.open()?;
                let sent = conn.end(&mut tx.lend(), stream.id);
                self.noted(sent)
            }
        }
    }

    /// Gives a stream up: the receiver throws away what it has of the message.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub fn abort(&mut self, stream: Stream, why: Failure) -> Result<(), SendError> {
        match self.live(stream)?.peer {
            Some(key) => self.in_session(&key, |to| to.abort(stream.id, why)),
            None => {
                let (conn, tx) = self.open()?;
                let sent = conn.abort(&mut tx.lend(), stream.id, why);
                self.noted(sent)
            }
        }
    }

    /// Wants no more of a stream that is being received. No further event comes of it.
    pub fn stop(&mut self, stream: Stream, why: Failure) {
        match (stream.peer, &mut self.state.conn) {
            (Some(key), _) => self.sessions.stop(&key, stream.id, why),
            (None, Some(conn)) if stream.connection == self.connection => conn.stop(stream.id, why),
            _ => {}
        }
    }

    /// Streams through the server end with the connection; those in a session may outlive it.
    fn live(&self, stream: Stream) -> Result<Stream, SendError> {
        if stream.peer.is_none() && stream.connection != self.connection {
            return Err(SendError::NoStream);
        }
        Ok(stream)
    }
}
