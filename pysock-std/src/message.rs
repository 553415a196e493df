//! Messages as programs see them: data, who sent it, whom to send it to.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pysock_proto::{ChannelName, Name, PeerInfo, PublicKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, payload::Payload, reply::Replier};

/// What a message says. Made from text, bytes, or with [`Data::value`] from any serializable type.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Data(pub(crate) Bytes);

impl Data {
    /// Encodes a value with postcard, the same on desktops and microcontrollers.
    ///
    /// # Errors
    /// [`Error::Value`] if the type cannot be encoded.
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let bytes = postcard::to_allocvec(value).map_err(|e| Error::Value(e.to_string()))?;
        Ok(Data(bytes.into()))
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Data(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Data(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Data {
    fn from(bytes: &[u8; N]) -> Self {
        Data(Bytes::copy_from_slice(bytes))
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Data(text.into())
    }
}

impl From<&String> for Data {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Data(bytes.into())
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Data(bytes)
    }
}

/// Who sent a message: a name with the key it is bound to; the key is the identity. For what came through a channel
/// the *server* says so, who authenticated every client; for what came end to end the sender has
/// [proven](Self::is_proven) it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender(pub(crate) Source);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Server(PublicKey),
    Peer(Arc<PeerInfo>),
    /// It has proven its key to this program itself.
    Proven(Arc<PeerInfo>),
}

impl Sender {
    /// The name; a server has none.
    pub fn name(&self) -> Option<&Name> {
        match &self.0 {
            Source::Server(_) => None,
            Source::Peer(peer) | Source::Proven(peer) => Some(&peer.name),
        }
    }

    /// The identity.
    pub fn key(&self) -> &PublicKey {
        match &self.0 {
            Source::Server(key) => key,
            Source::Peer(peer) | Source::Proven(peer) => &peer.key,
        }
    }

    /// Whether it has proven its key to this program itself, end to end. Otherwise the server vouches for it.
    pub fn is_proven(&self) -> bool {
        matches!(self.0, Source::Proven(_))
    }

    /// Whether it is the server itself.
    pub fn is_server(&self) -> bool {
        matches!(self.0, Source::Server(_))
    }
}

/// The name, or `server`.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name().map_or("server", |name| name.as_str()))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({self}, {})", self.key())
    }
}

/// Whom to send to: a name, a key (also in its text form `pysock1…`), or the sender of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target(pub(crate) Address);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    Text(String),
    Key(PublicKey),
    Peer(Arc<PeerInfo>),
    Server,
}

impl Target {
    /// The server itself.
    pub const SERVER: Target = Target(Address::Server);
}

/// A client's name, or its key in text form.
impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(key) => Target(Address::Key(key)),
            Err(_) => Target(Address::Text(text.into())),
        }
    }
}

impl From<&String> for Target {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&Name> for Target {
    fn from(name: &Name) -> Self {
        Target(Address::Text(name.as_str().into()))
    }
}

impl From<PublicKey> for Target {
    fn from(key: PublicKey) -> Self {
        Target(Address::Key(key))
    }
}

impl From<&Sender> for Target {
    fn from(sender: &Sender) -> Self {
        Target(match &sender.0 {
            Source::Server(_) => Address::Server,
            Source::Peer(peer) | Source::Proven(peer) => Address::Peer(peer.clone()),
        })
    }
}

impl From<&PeerInfo> for Target {
    fn from(peer: &PeerInfo) -> Self {
        Target(Address::Peer(Arc::new(*peer)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Text(text) => fmt::Debug::fmt(text, f),
            Address::Key(key) => fmt::Display::fmt(key, f),
            Address::Peer(peer) => fmt::Debug::fmt(peer.name.as_str(), f),
            Address::Server => f.write_str("the server"),
        }
    }
}

/// A message that arrived, whole.
pub struct Message {
    path: Arc<Path>,
    data: Bytes,
    replier: Option<Replier>,
}

/// Which way a message came. Shared by those that came together.
pub(crate) struct Path {
    pub(crate) sender: Sender,
    pub(crate) channel: ChannelName,
}

impl Message {
    pub(crate) fn new(path: Arc<Path>, data: Bytes, replier: Option<Replier>) -> Self {
        Message { path, data, replier }
    }

    /// Who sent it.
    pub fn sender(&self) -> &Sender {
        &self.path.sender
    }

    /// The channel it came by.
    pub fn channel(&self) -> &ChannelName {
        &self.path.channel
    }

    /// What it says.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// What it says, as text.
    ///
    /// # Errors
    /// [`Error::Value`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.data).map_err(|e| Error::Value(format!("not text: {e}")))
    }

    /// What it says, decoded with postcard (see [`Data::value`]).
    ///
    /// # Errors
    /// [`Error::Value`] if it is no such value, or has bytes left over.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match postcard::take_from_bytes(&self.data) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(Error::Value(format!("{} bytes too many", rest.len()))),
            Err(e) => Err(Error::Value(e.to_string())),
        }
    }

    /// Whether the sender waits for a reply. A request that is dropped without one is answered with a failure.
    pub fn is_request(&self) -> bool {
        self.replier.is_some()
    }

    /// Answers a request, once.
    ///
    /// # Errors
    /// [`Error::NoRequest`] if it is none or was answered; [`Error::Disconnected`] if the connection is gone.
    pub async fn reply(&mut self, data: impl Into<Data>) -> Result<(), Error> {
        let replier = self.replier.take().ok_or(Error::NoRequest)?;
        replier.reply(data.into()).await
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sender", self.sender())
            .field("channel", self.channel())
            .field("bytes", &self.data.len())
            .field("request", &self.is_request())
            .finish_non_exhaustive()
    }
}

/// Messages of one sender on one channel that arrived together: one or more, in order.
///
/// Where there are many small ones, going through them by [`iter`](Self::iter) costs a fraction of receiving them one by
/// one. As an iterator it gives each as a [`Message`]. A request always comes alone, and can be answered only as a
/// `Message`.
pub struct Messages {
    path: Arc<Path>,
    payload: Payload,
    replier: Option<Replier>,
}

impl Messages {
    pub(crate) fn new(path: Arc<Path>, payload: Payload, replier: Option<Replier>) -> Self {
        Messages { path, payload, replier }
    }

    /// Who sent them.
    pub fn sender(&self) -> &Sender {
        &self.path.sender
    }

    /// The channel they came by.
    pub fn channel(&self) -> &ChannelName {
        &self.path.channel
    }

    /// Whether it is a request: its sender waits for a reply. Dropped without one it is answered with a failure.
    pub fn is_request(&self) -> bool {
        self.replier.is_some()
    }

    /// What they say.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.payload.iter()
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let data = self.payload.pop()?;
        Some(Message { path: self.path.clone(), data, replier: self.replier.take() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.payload.count();
        (count, Some(count))
    }
}

impl ExactSizeIterator for Messages {}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("sender", self.sender())
            .field("channel", self.channel())
            .field("messages", &self.payload.count())
            .field("request", &self.is_request())
            .finish_non_exhaustive()
    }
}
