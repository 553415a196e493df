//! Message brokers that people install, reached by clients written for speed.
//!
//! A client here is as expert as the bare ones: TLS by rustls, many messages for each write, all of a read handled
//! before the next one. The broker is configured to authenticate clients by certificate and to drop nothing. An echo
//! is a message on a subject to which its sender has subscribed; the end of a stream is a ping that comes back.

mod broker;
mod client;
mod protocol;

pub(crate) use broker::start;
pub(crate) use client::run as client;
