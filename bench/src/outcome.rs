//! What one measurement found, and how a client process says it to the one that started it.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::meter;

/// A measurement.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Outcome {
    /// Messages, connections, or KiB for each connection.
    pub(crate) count: f64,
    pub(crate) seconds: f64,
    /// Processor time of the two sides, in seconds.
    pub(crate) server_cpu: f64,
    pub(crate) client_cpu: f64,
}

impl Outcome {
    /// Said on standard output.
    pub(crate) fn line(&self) -> String {
        let Outcome { count, seconds, server_cpu, client_cpu } = self;
        format!("RESULT {count} {seconds} {server_cpu} {client_cpu}")
    }

    /// Heard from standard output.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
        let mut fields = line.split(' ').map(str::parse::<f64>);
        let mut next = || fields.next()?.ok();
        let (count, seconds, server_cpu, client_cpu) = (next()?, next()?, next()?, next()?);
        Some(Outcome { count, seconds, server_cpu, client_cpu })
    }
}

/// Measures from [`start`](Self::start) on.
pub(crate) struct Stopwatch {
    server: u32,
    begun: Instant,
    until: Instant,
    cpu: (f64, f64),
}

impl Stopwatch {
    pub(crate) fn start(server: u32, duration: Duration) -> Self {
        let cpu = (meter::cpu(server), meter::cpu(std::process::id()));
        let begun = Instant::now();
        Stopwatch { server, begun, until: begun + duration, cpu }
    }

    /// Whether nothing new is to be begun.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// So much was done.
    pub(crate) fn stop(&self, count: u64) -> io::Result<Outcome> {
        if count == 0 {
            return Err(io::Error::other("nothing was done"));
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        Ok(Outcome {
            count: count as f64,
            seconds,
            server_cpu: meter::cpu(self.server) - self.cpu.0,
            client_cpu: meter::cpu(std::process::id()) - self.cpu.1,
        })
    }
}
