//! `pysock chat`: two people, end to end, line by line.

mod events;

use std::{collections::VecDeque, pin::Pin, time::Duration};

use events::{Events, Happening, Question};
use pysock_std::{
    Bytes, Client, Error, Message,
    client::PeerNews,
    proto::{Failure, PeerInfo, PublicKey},
};
use tokio::sync::mpsc;

use crate::{
    args::{self, Global},
    ask,
    exit::{Exit, Stop, exit_of},
    join::{self, Stay},
    local,
    news::tell_news,
    print::{self, fingerprint, line, tell},
    status::{Ending, tell_status},
};

/// The first and the longest wait before somebody who is not there is looked for again.
const FIRST_SEARCH: Duration = Duration::from_millis(200);
const LONGEST_SEARCH: Duration = Duration::from_secs(2);
const LEAVE: &[u8] = b"/quit";

pub(crate) async fn chat(global: &Global, options: args::Chat) -> Result<(), Stop> {
    let ending = Ending::new()?;
    let mut to = options.to;
    to.server = options.address.or(to.server);
    let (questions, asked) = mpsc::unbounded_channel();
    let ask_peer = move |_: &PublicKey, name: &_, key: &_| events::ask(&questions, *name, *key);
    let client = join::connect_asking(global, &to, Stay::Reconnect, ask_peer).await?;
    let mut chat = Chat {
        events: Events::of(&client, asked, ending)?,
        called: options.with.clone(),
        with: options.with,
        own: client.public_key(),
        json: global.json,
        typed: VecDeque::new(),
        ended: false,
        question: None,
        there: false,
        lost: false,
    };
    let end = match chat.meet(&client).await {
        Ok(Some((peer, told))) => {
            chat.head(global, &peer)?;
            chat.talk(&client, peer, told).await
        }
        Ok(None) => Ok(()),
        Err(end) => Err(end),
    };
    let (to, lost) = (chat.called.clone(), chat.lost || !chat.typed.is_empty());
    match end {
        Ok(()) if lost => {
            tokio::select! {
                _ = client.close() => {}
                () = chat.events.interrupted() => {}
            }
            Err(Stop::new(Exit::Undelivered, format!("not everything got to {to}")))
        }
        // What was typed last still goes out, unless somebody is in a hurry.
        Ok(()) => tokio::select! {
            closed = client.close() => closed.map_err(|error| join::named(error, &to)),
            () = chat.events.interrupted() => Ok(()),
        },
        Err(End::Left) => {
            let _ = client.close().await;
            Ok(())
        }
        Err(End::Failed(error)) => Err(join::give_up(client, error, &to).await),
        Err(End::Stopped(stop)) => {
            let _ = client.close().await;
            Err(stop)
        }
    }
}

/// Why a chat ends before the end of input.
enum End {
    /// Somebody wants it to.
    Left,
    Failed(Error),
    Stopped(Stop),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        End::Stopped(stop)
    }
}

struct Chat {
    events: Events,
    /// Name or key, as the command line says.
    with: String,
    /// What it is called here.
    called: String,
    own: PublicKey,
    json: bool,
    /// Lines that are still to be sent.
    typed: VecDeque<Bytes>,
    /// There will be no further line.
    ended: bool,
    question: Option<Question>,
    /// The other one is there, as far as is known.
    there: bool,
    /// Something that was typed did not get through.
    lost: bool,
}

type Sending<'c> = Pin<Box<dyn Future<Output = (Bytes, Result<(), Error>)> + 'c>>;

impl Chat {
    /// Waits until there is a session, and says whether that was news. `None`: there is nothing to say, nor will there be.
    async fn meet(&mut self, client: &Client) -> Result<Option<(PeerInfo, bool)>, End> {
        let (with, mut waits) = (self.with.clone(), None);
        loop {
            let pause = waits;
            let attempt = async {
                if let Some(wait) = pause {
                    tokio::time::sleep(wait).await;
                }
                client.handshake(with.as_str()).await
            };
            tokio::pin!(attempt);
            let outcome = loop {
                let happening = tokio::select! {
                    outcome = &mut attempt => break outcome,
                    happening = self.events.next() => happening,
                };
                // Whoever comes by itself has been judged as strictly.
                if let Some(peer) = self.before(happening)? {
                    return Ok(Some((peer, true)));
                }
                if self.ended && self.typed.is_empty() {
                    return Ok(None);
                }
            };
            match outcome {
                Ok(peer) => return Ok(Some((peer, false))),
                Err(error) if !is_absence(&error) => return Err(End::Failed(error)),
                Err(_) if waits.is_none() => {
                    tell(&format!("{with} is not there yet; waiting, Ctrl-C leaves"));
                }
                Err(_) => {}
            }
            let longer = |wait: Duration| (wait * 2).min(LONGEST_SEARCH);
            waits = Some(waits.map_or(FIRST_SEARCH, longer));
        }
    }

    /// What happens before there is a session; and with whom there is one now.
    fn before(&mut self, happening: Happening) -> Result<Option<PeerInfo>, End> {
        match happening {
            Happening::Line(text) if text.trim_ascii() == LEAVE => Err(End::Left),
            Happening::News(PeerNews::Opened { peer, .. }) if self.is_other(&peer) => {
                Ok(Some(peer))
            }
            // It will have gone by the time that a handshake of this side could find out.
            Happening::News(PeerNews::TurnedAway { peer, why }) if self.is_other(&peer) => {
                Err(Stop::new(Exit::Refused, why).into())
            }
            happening => self.happened(happening).map(|()| None),
        }
    }

    /// What is the same at all times.
    fn happened(&mut self, happening: Happening) -> Result<(), End> {
        match happening {
            Happening::Line(text) => self.typed(text),
            Happening::EndOfInput => {
                self.ended = true;
                if let Some(question) = self.question.take() {
                    question.answer(false);
                }
            }
            Happening::Asked(question) => self.asked(question),
            Happening::Status(status) => tell_status(&status),
            Happening::News(PeerNews::Message(message)) => self.hear(None, &message)?,
            Happening::News(news) => {
                tell_news(&news);
            }
            Happening::Interrupted => return Err(End::Left),
            Happening::Over => return Err(End::Failed(Error::Disconnected)),
        }
        Ok(())
    }

    fn typed(&mut self, text: Bytes) {
        let Some(question) = self.question.take() else {
            self.typed.push_back(text);
            return;
        };
        match ask::answer(&text) {
            Some(yes) => question.answer(yes),
            None => {
                tell("please answer yes or no");
                self.question = Some(question);
            }
        }
    }

    fn asked(&mut self, question: Question) {
        let (name, key) = (&question.name, &question.key);
        if *name.as_str() != self.with && key.to_string() != self.with {
            tell(&format!("{name}, which is not known, wants to talk, too, and was told no"));
            return;
        }
        // Answers come after their question: what was typed before is meant for the other side.
        while let Some(text) = self.events.line_before() {
            self.typed.push_back(text);
        }
        if self.ended {
            return;
        }
        ask::question(&self.own, name, key);
        self.question = Some(question);
    }

    fn is_other(&self, peer: &PeerInfo) -> bool {
        peer.name.as_str() == self.with || peer.key.to_string() == self.with
    }

    /// Who is who, for comparing.
    fn head(&mut self, global: &Global, peer: &PeerInfo) -> Result<(), Stop> {
        let state = local::open(&local::state_path(global, None)?)?.read().map_err(Error::from)?;
        let label = state.peer_label(&peer.key).filter(|label| *label != peer.name);
        let known = label.map(|label| format!("  (known here as {label})")).unwrap_or_default();
        let (own, other) = (fingerprint(&self.own), fingerprint(&peer.key));
        if self.with == peer.key.to_string() {
            peer.name.as_str().clone_into(&mut self.called);
        }
        let name = self.called.as_str();
        let width = name.len().max("you".len());
        tell(&format!(
            "end to end with {name}; the server cannot read it\n  \
             {you:width$}  {own}\n  \
             {name:width$}  {other}{known}\n\
             Read them to each other aloud, by voice or in person: whoever reads out something else is not who you \
             think.\n\
             Each line you type is sent; /quit leaves.",
            you = "you",
        ));
        Ok(())
    }

    /// Talks until the end of input. `told`: the news of the session have been heard.
    async fn talk(&mut self, client: &Client, peer: PeerInfo, told: bool) -> Result<(), End> {
        self.there = true;
        let mut first = !told;
        let mut sending: Option<Sending<'_>> = None;
        loop {
            if sending.is_none() {
                match self.typed.pop_front() {
                    // By key: no other client gets it that may come under the name.
                    Some(text) => {
                        sending = Some(Box::pin(async move {
                            let sent = client.send_to_client(peer.key, text.clone()).await;
                            (text, sent)
                        }));
                    }
                    None if self.ended => return Ok(()),
                    None => {}
                }
            }
            let happening = match &mut sending {
                None => self.events.next().await,
                Some(send) => tokio::select! {
                    (text, sent) = send => {
                        sending = None;
                        self.sent(&text, sent)?;
                        continue;
                    }
                    happening = self.events.next() => happening,
                },
            };
            match happening {
                Happening::Line(_) if self.ended => {}
                Happening::Line(text) if text.trim_ascii() == LEAVE => {
                    self.ended = true;
                }
                Happening::News(PeerNews::Message(message)) => {
                    self.hear(Some(&peer), &message)?;
                }
                Happening::News(PeerNews::Opened { peer: who, fresh }) if who.key == peer.key => {
                    match (std::mem::take(&mut first), self.there, fresh) {
                        (true, ..) => {}
                        (false, false, _) => tell(&format!("{} is back", self.called)),
                        (false, true, true) => tell(&format!("{} has started anew", self.called)),
                        (false, true, false) => {}
                    }
                    self.there = true;
                }
                Happening::News(PeerNews::Closed { peer: who, .. }) if who.key == peer.key => {
                    self.gone();
                }
                Happening::News(news) if tell_news(&news) => {
                    self.lost = true;
                    // It is told, and need not be told again at the end.
                    client.failures();
                }
                Happening::News(_) => {}
                happening => self.happened(happening)?,
            }
        }
    }

    fn gone(&mut self) {
        if std::mem::take(&mut self.there) {
            tell(&format!("{} has left", self.called));
        }
    }

    /// What became of a line.
    fn sent(&mut self, text: &[u8], sent: Result<(), Error>) -> Result<(), End> {
        let Err(error) = sent else { return Ok(()) };
        if !is_absence(&error) {
            return Err(End::Failed(error));
        }
        self.lost = true;
        self.gone();
        tell(&format!("not sent, {} is not there: {}", self.called, line(text)));
        Ok(())
    }

    /// Shows what the other side says; and, elsewhere, that somebody else says something.
    fn hear(&self, peer: Option<&PeerInfo>, message: &Message) -> Result<(), Stop> {
        let sender = message.sender();
        if peer.is_some_and(|peer| peer.key == *sender.key()) {
            return print::chat(&self.called, message, self.json);
        }
        let print = fingerprint(sender.key());
        tell(&format!("{sender}, fingerprint {print}, says: {}", line(message.data())));
        Ok(())
    }
}

/// Whether the other side is just not there, and may come.
fn is_absence(error: &Error) -> bool {
    match error {
        Error::Failed { failure, .. } => {
            matches!(failure, Failure::NoPeer | Failure::Gone | Failure::Busy)
        }
        Error::Peer { .. } => exit_of(error) == Exit::Undelivered,
        _ => false,
    }
}
