//! What a program that stays tells of itself, and when it ends.

use pysock_std::client::Status;
#[cfg(unix)]
use tokio::signal::unix;
#[cfg(windows)]
use tokio::signal::windows;

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

/// Ctrl-C, or the polite signal to end. One that comes while the program does something else is kept for the next wait.
pub(crate) struct Ending {
    /// Made by the first wait: until then Ctrl-C ends the program at once, whatever it asks or tries.
    interrupt: Option<Interrupt>,
    #[cfg(unix)]
    terminate: unix::Signal,
}

#[cfg(unix)]
type Interrupt = unix::Signal;
#[cfg(windows)]
type Interrupt = windows::CtrlC;

fn interrupt() -> std::io::Result<Interrupt> {
    #[cfg(unix)]
    return unix::signal(unix::SignalKind::interrupt());
    #[cfg(windows)]
    return windows::ctrl_c();
}

impl Ending {
    pub(crate) fn new() -> Result<Self, Stop> {
        Ok(Ending {
            interrupt: None,
            #[cfg(unix)]
            terminate: unix::signal(unix::SignalKind::terminate())
                .map_err(|e| Stop::local(format!("cannot wait for signals: {e}")))?,
        })
    }

    /// Waits until the program is to end.
    pub(crate) async fn wait(&mut self) {
        if self.interrupt.is_none() {
            self.interrupt = interrupt().ok();
        }
        // What cannot be waited for ends the program by itself.
        let interrupted = async {
            match &mut self.interrupt {
                Some(interrupt) => interrupt.recv().await,
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = interrupted => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        let _ = interrupted.await;
    }
}
