//! Messages that are handed on while they arrive.

use std::sync::Arc;

use pysock_proto::ChannelName;

use crate::{
    Error, Sender,
    message::Path,
    transfer::{Part, Parts},
};

/// A message that may still be arriving. What [`chunk`](Self::chunk) hands out is a *prefix*: authentic and in
/// order, but complete only once it has given `None`.
///
/// What others say on the channel meanwhile waits in its queue. Once that is full, nothing more is read from the
/// connection, the rest of this message included: where a lot comes beside a long message, take the long one in a task of
/// its own and go on listening.
pub struct PrefixMessage {
    path: Arc<Path>,
    parts: Parts,
    complete: bool,
}

impl PrefixMessage {
    pub(super) fn new(path: Arc<Path>, parts: Parts) -> Self {
        PrefixMessage { path, parts, complete: false }
    }

    /// Who sends it.
    pub fn sender(&self) -> &Sender {
        &self.path.sender
    }

    /// The channel it comes by.
    pub fn channel(&self) -> &ChannelName {
        &self.path.channel
    }

    /// Its length in bytes, if the sender declared it; the protocol guarantees it then.
    pub fn length(&self) -> Option<u64> {
        self.parts.length
    }

    /// The next bytes. `None`: the message is complete. The sender gets credit for more once the bytes were taken.
    ///
    /// # Errors
    /// [`Error::Failed`] if it will never be complete: throw away what came of it.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        if self.complete {
            return Ok(None);
        }
        match self.parts.next().await {
            Part::Chunk(chunk) => Ok(Some(chunk.bytes.clone())),
            Part::End => {
                self.complete = true;
                Ok(None)
            }
            Part::Aborted(failure) => Err(Error::Failed { to: "this side".into(), failure }),
        }
    }
}

impl std::fmt::Debug for PrefixMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixMessage")
            .field("sender", self.sender())
            .field("channel", self.channel())
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}
