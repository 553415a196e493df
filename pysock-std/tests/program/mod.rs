//! The `pysock` program as a process, with its lines read as they come.
#![allow(unreachable_pub, dead_code, reason = "shared by tests that are crates of their own")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Nothing here takes nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn pysock(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pysock"));
    command.args(args).current_dir(folder).env_remove("PYSOCK_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that goes on running. Killed when dropped.
pub struct Running {
    pub child: Child,
    pub stdout: Receiver<String>,
    pub stderr: Receiver<String>,
}

pub fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(from).lines();
        while let Some(Ok(line)) = lines.next() {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

impl Running {
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = pysock(folder, args).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// The next line of stdout.
    pub fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line of stdout")
    }

    /// The first line of stderr that contains `text`.
    pub fn says(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.stderr.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {text:?} on stderr, only {seen:#?}"),
            }
        }
    }

    /// Waits for the end; the code.
    pub fn end(mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        for output in [&self.stdout, &self.stderr] {
            loop {
                match output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(_) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
                }
            }
        }
        // Its outputs are closed: it is ending.
        self.child.wait().unwrap().code().expect("an exit code")
    }

    /// Asks it to end, politely.
    #[cfg(unix)]
    pub fn terminate(self) -> i32 {
        self.signal("-TERM");
        self.end()
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a process that ran to its end.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

pub fn run(folder: &Path, args: &[&str]) -> Ran {
    run_with(folder, args, None)
}

pub fn run_with(folder: &Path, args: &[&str], stdin: Option<Vec<u8>>) -> Ran {
    let mut command = pysock(folder, args);
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let (Some(data), Some(mut to)) = (stdin, child.stdin.take()) {
        // A program that gives up reads no further.
        thread::spawn(move || to.write_all(&data));
    }
    let (tell, read) = mpsc::channel();
    let all = |mut from: Box<dyn Read + Send>| {
        let tell = tell.clone();
        thread::spawn(move || {
            let mut data = Vec::new();
            from.read_to_end(&mut data).unwrap();
            drop(tell);
            data
        })
    };
    let stdout = all(Box::new(child.stdout.take().unwrap()));
    let stderr = all(Box::new(child.stderr.take().unwrap()));
    drop(tell);
    // Nobody ever says anything: the channel closes when both outputs have ended.
    let ended = read.recv_timeout(PATIENCE);
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended {
        let _ = child.kill();
        panic!("{args:?} does not end");
    }
    let _: Result<(), _> = ended;
    let code = child.wait().unwrap().code().expect("an exit code");
    let stderr = String::from_utf8(stderr.join().unwrap()).unwrap();
    Ran { code, stdout: stdout.join().unwrap(), stderr }
}

/// The arguments in a line that an error shows, as a shell would split it. Quotes are all that occurs.
pub fn told(ran: &Ran, command: &str) -> Vec<String> {
    let start = ran.stderr.find(command).unwrap_or_else(|| panic!("no {command:?}: {ran:?}"));
    let line = ran.stderr[start..].lines().next().unwrap();
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.trim().chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.split_off(1)
}

/// A server, and where it listens.
pub fn serve(folder: &Path, args: &[&str]) -> (Running, String) {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
    all.extend(args);
    let server = Running::start(folder, &all);
    let address = server.says("listening on ").rsplit_once(' ').unwrap().1.to_owned();
    (server, address)
}

/// A server with one channel in a folder of its own.
pub fn serve_test(folder: &TempDir) -> (Running, String) {
    serve(folder.path(), &["--channel", "test"])
}

/// Arguments of a client with a configuration of its own, by its name.
pub fn client<'a>(name: &'a str, config: &'a str, address: &'a str) -> [&'a str; 6] {
    ["--server", address, "--name", name, "--config", config]
}

pub fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

pub fn listen(folder: &TempDir, name: &str, address: &str, more: &[&str]) -> Running {
    let config = format!("{name}.yaml");
    let args = with(&["listen", "test"], &client(name, &config, address));
    let running = Running::start(folder.path(), &with(&args, more));
    running.says("is listening on test");
    running
}
