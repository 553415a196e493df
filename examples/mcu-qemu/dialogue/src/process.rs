//! A program that runs beside this one, and what it prints.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// A running program. It ends with this value.
pub struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<(Source, String)>,
    /// All that it has printed and that was read here.
    log: Vec<(Source, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Output,
    Errors,
}

impl Process {
    /// Starts it.
    pub fn start(name: &'static str, command: &mut Command) -> Outcome<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let (to, lines) = channel();
        read(child.stdout.take(), Source::Output, to.clone());
        read(child.stderr.take(), Source::Errors, to);
        Ok(Process { name, child, lines, log: vec![] })
    }

    /// Waits for a line that contains `what`, and returns what stands behind that. Lines before it are passed over.
    pub fn expect(&mut self, what: &str, within: Duration) -> Outcome<String> {
        let by = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(by.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.1.split_once(what).map(|(_, rest)| rest.trim().to_owned());
                    self.log.push(line);
                    if let Some(rest) = found {
                        return Ok(rest);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("did not print {what:?} in {within:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure(&format!("ended without printing {what:?}")));
                }
            }
        }
    }

    /// Ends it at once, as a loss of power does.
    pub fn cut(mut self) -> Outcome<()> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Waits for its end.
    pub fn ends(&mut self, within: Duration) -> Outcome<ExitStatus> {
        let by = Instant::now() + within;
        // The end of its output is the sign; what is left of it goes to the log.
        loop {
            match self.lines.recv_timeout(by.saturating_duration_since(Instant::now())) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("did not end in {within:?}")));
                }
            }
        }
        self.child.wait().map_err(|error| error.to_string())
    }

    /// Waits for its end, which has to be a good one, and gives what it has printed on its standard output.
    pub fn result(mut self, within: Duration) -> Outcome<String> {
        if !self.ends(within)?.success() {
            return Err(self.failure("failed"));
        }
        let output = self.log.iter().filter(|(source, _)| *source == Source::Output);
        let lines: Vec<&str> = output.map(|(_, line)| line.as_str()).collect();
        Ok(lines.join("\n").trim().to_owned())
    }

    /// Whether it has printed `what` after its last line with `mark`.
    pub fn has_printed_since(&self, mark: &str, what: &str) -> bool {
        let later = self.log.iter().rev().take_while(|(_, line)| !line.contains(mark));
        later.into_iter().any(|(_, line)| line.contains(what))
    }

    fn failure(&self, what: &str) -> String {
        let log: String = self.log.iter().map(|(_, line)| format!("    | {line}\n")).collect();
        format!("{} {what}; it has printed:\n{log}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only what this program has started; it may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: Option<impl Read + Send + 'static>, source: Source, to: Sender<(Source, String)>) {
    let Some(from) = from else { return };
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if to.send((source, line)).is_err() {
                return;
            }
        }
    });
}
