//! What a program that stays tells of itself, and when it ends.

use pysock_std::client::Status;

use crate::{exit::Stop, print::tell};

/// Says when the connection breaks and is there again.
pub(crate) fn tell_status(status: &Status) {
    match status {
        Status::Connected => tell("connected again"),
        Status::Reconnecting(why) => tell(&format!("{why}\nconnecting again")),
        // The end says why by itself.
        _ => {}
    }
}

/// Ctrl-C, or the polite signal to end.
pub(crate) struct Ending {
    /// Kept, so that one that comes while nobody waits is not lost.
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Ending {
    pub(crate) fn new() -> Result<Self, Stop> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let heard = |kind| {
                signal(kind).map_err(|e| Stop::local(format!("cannot wait for signals: {e}")))
            };
            let interrupt = heard(SignalKind::interrupt())?;
            Ok(Ending { interrupt, terminate: heard(SignalKind::terminate())? })
        }
        #[cfg(not(unix))]
        Ok(Ending {})
    }

    /// Waits until the program is to end.
    pub(crate) async fn wait(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
