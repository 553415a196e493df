//! Waiting for the reply to a request.

use std::{future::Future, time::Duration};

use pysock_proto::Failure;

use crate::{Error, Message, Target, outbox::Gone, reply::Waiting};

/// Sends a request, then waits for its outcome; `timeout` covers both.
pub(crate) async fn await_reply(
    sent: impl Future<Output = Result<(), Gone>>,
    mut waiting: Waiting<'_>,
    timeout: Duration,
    target: &Target,
) -> Result<Message, Error> {
    let to = || target.to_string();
    let outcome = async {
        sent.await.map_err(|_| Error::Failed { to: to(), failure: Failure::NoPeer })?;
        match (&mut waiting.outcome).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(Failure::Unknown)) | Err(_) => Err(Error::OutcomeUnknown { to: to() }),
            Ok(Err(failure)) => Err(Error::Failed { to: to(), failure }),
        }
    };
    match tokio::time::timeout(timeout, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::NoReply { to: to(), timeout }),
    }
}
