//! Everything that can happen during a chat, in one place to wait for.

use std::{
    io::{BufRead, Read},
    thread,
};

use pysock_std::{
    Bytes, Client,
    client::{PeerListener, PeerNews, Status},
    proto::{Name, PublicKey},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{exit::Stop, status::Ending};

/// A line that is longer is sent in pieces of so many bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// Lines that wait to be looked at; then reading waits.
const LINES: usize = 64;

/// Whether a key is the right one. Dropped, the answer is no.
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) key: PublicKey,
    answer: oneshot::Sender<bool>,
}

impl Question {
    pub(super) fn answer(self, yes: bool) {
        // Whoever asked may have given up.
        let _ = self.answer.send(yes);
    }
}

/// Where the connection puts its questions.
pub(super) type Questions = mpsc::UnboundedSender<Question>;

/// Asks, and waits for the answer. Blocks.
pub(super) fn ask(questions: &Questions, name: Name, key: PublicKey) -> bool {
    let (answer, answered) = oneshot::channel();
    questions.send(Question { name, key, answer }).is_ok()
        && answered.blocking_recv().unwrap_or(false)
}

pub(super) enum Happening {
    Line(Bytes),
    EndOfInput,
    News(PeerNews),
    Asked(Question),
    Status(Status),
    /// Somebody wants the program to end.
    Interrupted,
    /// The client is over.
    Over,
}

pub(super) struct Events {
    lines: mpsc::Receiver<Bytes>,
    /// The end of input was told.
    silent: bool,
    news: PeerListener,
    questions: mpsc::UnboundedReceiver<Question>,
    status: watch::Receiver<Status>,
    ending: Ending,
}

impl Events {
    pub(super) fn of(
        client: &Client,
        questions: mpsc::UnboundedReceiver<Question>,
        ending: Ending,
    ) -> Result<Self, Stop> {
        let (news, status) = (client.listen_peers()?, client.status());
        Ok(Events { lines: read_lines(), silent: false, news, questions, status, ending })
    }

    /// What happens next. Nothing is lost if the wait for it is given up.
    pub(super) async fn next(&mut self) -> Happening {
        tokio::select! {
            line = self.lines.recv(), if !self.silent => match line {
                Some(line) => Happening::Line(line),
                None => {
                    self.silent = true;
                    Happening::EndOfInput
                }
            },
            news = self.news.next() => news.map_or(Happening::Over, Happening::News),
            Some(question) = self.questions.recv() => Happening::Asked(question),
            Ok(()) = self.status.changed() => {
                Happening::Status(self.status.borrow_and_update().clone())
            }
            () = self.ending.wait() => Happening::Interrupted,
        }
    }

    /// A line that was typed before now.
    pub(super) fn line_before(&mut self) -> Option<Bytes> {
        self.lines.try_recv().ok()
    }

    pub(super) async fn interrupted(&mut self) {
        self.ending.wait().await;
    }
}

/// Reads stdin on a thread of its own, which ends with the program: nothing interrupts the reading of a terminal.
fn read_lines() -> mpsc::Receiver<Bytes> {
    let (tell, lines) = mpsc::channel(LINES);
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            // What cannot be read is the end.
            match (&mut stdin).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            if line.ends_with(b"\n") {
                line.pop();
            }
            if line.ends_with(b"\r") {
                line.pop();
            }
            if tell.blocking_send(line.into()).is_err() {
                return;
            }
        }
    });
    lines
}
