//! The same verbs without `async`: every call returns when it is done.
//!
//! ```no_run
//! use pysock_std::{Error, blocking::Server};
//!
//! fn main() -> Result<(), Error> {
//!     let server = Server::from_yaml("server.yaml")?.bind("localhost:1234")?;
//!     let mut test = server.create_channel("test")?;
//!     for message in &mut test {
//!         println!("{}: {:?}", message.sender(), message.data());
//!         let sent = server.send("test", message.sender(), "Hello From Server");
//!         sent.unwrap_or_else(|error| println!("{error}"));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! One thread in the background does the network for all blocking servers and clients of a process. It starts with
//! the first of them and runs none of the program's code. A call waits on the thread that makes it, so calls from
//! several threads do not wait for each other, and a call from inside an async runtime works. It stops whatever
//! else that runtime would run on the same thread, though: there, the asynchronous types are the better choice.
//!
//! A server that should use more than one processor, or that listens to very many channels, is better off with
//! the asynchronous types, too.

mod client;
mod peers;
mod runtime;
mod server;

use std::{fmt, ops::Deref, time::Duration};

pub use client::{Channel as ClientChannel, Client, ClientBuilder};
pub use peers::{PeerListener, PeerNews};
use runtime::wait;
pub use server::{Channel as ServerChannel, Server, ServerBuilder};

use crate::{Data, Error};

/// A message that arrived, whole. Everything that can be read of it is that of [`crate::Message`].
#[derive(Debug)]
pub struct Message(crate::Message);

impl Message {
    /// Answers a request, once.
    ///
    /// # Errors
    /// [`Error::NoRequest`] if it is none or was answered; [`Error::Disconnected`] if the connection is gone.
    pub fn reply(&mut self, data: impl Into<Data>) -> Result<(), Error> {
        wait(self.0.reply(data))
    }
}

impl Deref for Message {
    type Target = crate::Message;

    fn deref(&self) -> &crate::Message {
        &self.0
    }
}

/// Messages of one sender that arrived together; as an iterator it gives each as a [`Message`]. Everything that can be read
/// of them is that of [`crate::Messages`].
#[derive(Debug)]
pub struct Messages(crate::Messages);

impl Deref for Messages {
    type Target = crate::Messages;

    fn deref(&self) -> &crate::Messages {
        &self.0
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.0.next().map(Message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Messages {}

/// No message came within the time given. The next may still come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no message came within the time given")
    }
}

impl std::error::Error for TimedOut {}

/// Declares methods that do what the asynchronous ones of the same name do, and wait for it.
macro_rules! waiting {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $kind),*) -> $result {
            wait(self.inner.$name($($arg),*))
        }
    )+};
}

/// Declares how messages are listened to.
macro_rules! listening {
    ($listener:ident, $over:literal) => {
        impl $listener {
            #[doc = concat!("Waits for the next message. `None`: ", $over, ".")]
            pub fn listen(&mut self) -> Option<Message> {
                wait(self.inner.listen()).map(Message)
            }

            /// Waits for the next messages of one sender, as they came together: much cheaper than
            /// [`listen`](Self::listen) where small ones arrive in great numbers.
            #[doc = concat!("`None`: ", $over, ".")]
            pub fn listen_many(&mut self) -> Option<Messages> {
                wait(self.inner.listen_many()).map(Messages)
            }

            #[doc = concat!("Waits for the next message, for `timeout` at most. `Ok(None)`: ", $over, ".")]
            ///
            /// # Errors
            /// [`TimedOut`] if none came in time.
            pub fn listen_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, TimedOut> {
                listen_timeout(timeout, self.inner.listen())
            }

            #[doc = concat!("Calls `function` with every message, until ", $over, ".")]
            pub fn listen_with(&mut self, function: impl FnMut(Message)) {
                self.into_iter().for_each(function);
            }
        }

        #[doc = concat!("Every message as it comes, until ", $over, ".")]
        impl<'c> IntoIterator for &'c mut $listener {
            type Item = Message;
            type IntoIter = Listening<'c, $listener>;

            fn into_iter(self) -> Self::IntoIter {
                Listening(self)
            }
        }

        impl Iterator for Listening<'_, $listener> {
            type Item = Message;

            fn next(&mut self) -> Option<Message> {
                self.0.listen()
            }
        }
    };
}
use {listening, waiting};

/// The messages of a listener, one after the other. Waits for each.
#[derive(Debug)]
pub struct Listening<'c, C>(&'c mut C);

fn listen_timeout(
    timeout: Duration,
    next: impl Future<Output = Option<crate::Message>>,
) -> Result<Option<Message>, TimedOut> {
    // Made inside, where the runtime is there for its timer.
    let next = wait(async { tokio::time::timeout(timeout, next).await });
    next.map(|message| message.map(Message)).map_err(|_| TimedOut)
}
