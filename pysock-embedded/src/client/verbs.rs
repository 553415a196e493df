//! What a program says: messages, requests, replies.

use serde::Serialize;

use super::{Address, Client, Message};
use crate::{
    proto::{
        Envelope, Failure, Kind, Party, PeerTx, PublicKey, RequestId, RustCrypto, SendError,
        peer::channel,
    },
    value::{self, LONGEST_VALUE, ValueError},
};

/// What messages between two clients are about, beside groups.
pub(super) const DIRECT: u16 = channel::DIRECT;

impl Client<'_> {
    /// Sends a message, whole: to the server's program if `to` is a [`Channel`](super::Channel), to another client end to
    /// end if it is a key. It leaves with the next step of the driver.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] while the channel or the session is not open; [`SendError::Full`] until
    /// [`Event::Room`](super::Event::Room); [`SendError::TooLong`] if it has to be a [stream](Self::begin_stream).
    pub fn send(&mut self, to: impl Into<Address>, bytes: &[u8]) -> Result<(), SendError> {
        self.put(to.into(), Kind::Message, bytes)
    }

    /// Sends a message to the owner of a key, end to end. There has to be a session: see [`handshake`](Self::handshake).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_to_client(&mut self, key: &PublicKey, bytes: &[u8]) -> Result<(), SendError> {
        self.put(Address::Peer(*key), Kind::Message, bytes)
    }

    /// Asks for a reply, which has to come within so many milliseconds. It is an [`Event::Message`](super::Event::Message)
    /// of kind [`Kind::Reply`] with the number that this returns; if none comes, [`Event::Failed`](super::Event::Failed)
    /// says so.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::Questions`] while four requests are unanswered.
    pub fn request(
        &mut self,
        to: impl Into<Address>,
        bytes: &[u8],
        within: u64,
    ) -> Result<RequestId, SendError> {
        let (to, id) = (to.into(), self.state.requests.next()?);
        self.put(to, Kind::Request(id), bytes)?;
        self.state.requests.sent(id, to, within);
        Ok(id)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::Role`] if it was none.
    pub fn reply(&mut self, request: &Message<'_>, bytes: &[u8]) -> Result<(), SendError> {
        let Kind::Request(id) = request.kind else { return Err(SendError::Role) };
        self.put(request.from, Kind::Reply(id), bytes)
    }

    /// Says that a request gets no reply, and why.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn fail(&mut self, request: &Message<'_>, why: Failure) -> Result<(), SendError> {
        let Kind::Request(_) = request.kind else { return Err(SendError::Role) };
        match request.from {
            Address::Peer(key) => {
                self.in_session(&key, |to| to.send_failed(DIRECT, request.kind, why))
            }
            from => {
                let envelope = self.envelope(from, request.kind)?;
                let (conn, tx) = self.open()?;
                let sent = conn.send_failed(&mut tx.lend(), &envelope, why);
                self.noted(sent)
            }
        }
    }

    /// Sends a value, encoded by postcard.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ValueError::Value`].
    pub fn send_value<T: Serialize>(
        &mut self,
        to: impl Into<Address>,
        value: &T,
    ) -> Result<(), ValueError<SendError>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.send(to, value::encode(value, &mut bytes)?)?)
    }

    /// Asks with a value, encoded by postcard.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`ValueError::Value`].
    pub fn request_value<T: Serialize>(
        &mut self,
        to: impl Into<Address>,
        value: &T,
        within: u64,
    ) -> Result<RequestId, ValueError<SendError>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.request(to, value::encode(value, &mut bytes)?, within)?)
    }

    /// Answers a request with a value, encoded by postcard.
    ///
    /// # Errors
    /// As [`reply`](Self::reply), and [`ValueError::Value`].
    pub fn reply_value<T: Serialize>(
        &mut self,
        request: &Message<'_>,
        value: &T,
    ) -> Result<(), ValueError<SendError>> {
        let mut bytes = [0; LONGEST_VALUE];
        Ok(self.reply(request, value::encode(value, &mut bytes)?)?)
    }

    fn put(&mut self, to: Address, kind: Kind, bytes: &[u8]) -> Result<(), SendError> {
        if let Address::Peer(key) = to {
            return self.in_session(&key, |to| to.send(DIRECT, kind, bytes));
        }
        let envelope = self.envelope(to, kind)?;
        let (conn, tx) = self.open()?;
        let sent = conn.send(&mut tx.lend(), &envelope, bytes);
        self.noted(sent)
    }

    /// What stands on the outside of a message through the server.
    pub(super) fn envelope(&self, to: Address, kind: Kind) -> Result<Envelope, SendError> {
        let (channel, party) = match to {
            Address::Server(channel) => (channel, Party::Server),
            Address::Everyone(channel) => (channel, Party::Everyone),
            Address::Client(channel, id) => (channel, Party::Peer(id)),
            Address::Peer(_) => return Err(SendError::Role),
        };
        Ok(Envelope { channel: self.channel_id(channel)?, party, kind })
    }

    /// Says something in the session with the owner of a key.
    pub(super) fn in_session<T>(
        &mut self,
        key: &PublicKey,
        say: impl FnOnce(&mut PeerTx<'_, '_, RustCrypto>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let conn = self.state.conn.as_mut().ok_or(SendError::NotOpen)?;
        let said = say(&mut conn.to_peer(&mut self.tx.lend(), &mut self.sessions, key)?);
        self.noted(said)
    }
}
