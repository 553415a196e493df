//! Connecting: TCP, handshake, trust, admission; all of it within one timeout.

use std::sync::Arc;

use pysock_proto::{
    Alert, ClientSetup, Connection, Error as Ended, Event, Expect, PublicKey, Refusal, Suite,
    Verify,
};
use tokio::net::TcpStream;

use super::shared::Shared;
use crate::{
    Error,
    config::Trust,
    link::{self, Link},
};

/// What a client hears on its way in.
enum Step {
    Verify(Verify),
    Offered(PublicKey),
    Welcome(Vec<u8>),
    Refused(Refusal),
}

impl Shared {
    /// One attempt to get in. What is learned about the server's key is stored before this returns.
    pub(super) async fn connect(&self) -> Result<Link, Error> {
        let timeout = self.config.timeout;
        let attempt = tokio::time::timeout(timeout, self.attempt());
        attempt.await.unwrap_or_else(|_| Err(Error::Timeout { address: self.address(), timeout }))
    }

    async fn attempt(&self) -> Result<Link, Error> {
        let refused = Ended::Alert(Alert::Suite);
        let first = self.suites.best();
        if let Some(link) = self.enter(first, None).await? {
            return Ok(link);
        }
        // Nothing proves that the server has said so: an equal may take the suite's place, once, and all else stays.
        let instead =
            self.suites.instead_of(first).ok_or_else(|| self.handshake_failed(refused))?;
        let address = self.address();
        if self.suites.is_listed(first) {
            tracing::warn!(%address, refused = ?first, ?instead, "the server has offered this cipher suite before, and \
                 now something in its place refuses it without proof; trying its equal");
        } else {
            tracing::info!(%address, refused = ?first, ?instead, "the cipher suite is refused; trying its equal");
        }
        self.enter(instead, Some(first)).await?.ok_or_else(|| self.handshake_failed(refused))
    }

    /// Tries to get in with one suite, perhaps `instead` of another. `None`: this one is not supported there, says an alert in
    /// place of the server's first message; after that message it would only be a handshake that failed.
    async fn enter(&self, suite: Suite, instead: Option<Suite>) -> Result<Option<Link>, Error> {
        let pinned = self.pinned();
        let expect = pinned.as_ref().map_or(Expect::Unknown, Expect::Pinned);
        let mut link = self.dial(suite, expect).await?;
        let mut answered = false;
        loop {
            match self.step(&mut link, &mut answered).await {
                Ok(Step::Verify(verify)) => {
                    self.trust(verify.key()).await?;
                    let accepted = link.conn.accept(verify);
                    accepted.map_err(|source| self.handshake_failed(source))?;
                }
                Ok(Step::Welcome(listed)) => {
                    self.check_refusal(instead, &listed);
                    let changed = self.suites.learn(suite, &listed);
                    match pinned {
                        None => self.remember(&link, listed).await?,
                        Some(key) if changed => self.remember_suites(key, listed).await,
                        Some(_) => {}
                    }
                    return Ok(Some(link));
                }
                Ok(Step::Refused(reason)) => {
                    return Err(Error::Refused { name: self.name.as_str().into(), reason });
                }
                Ok(Step::Offered(_)) => {}
                Err(Ended::Alert(Alert::Suite)) if !answered => return Ok(None),
                Err(source) => {
                    link.farewell();
                    return Err(match pinned {
                        Some(expected) => self.diagnose(suite, source, expected).await,
                        None => self.handshake_failed(source),
                    });
                }
            }
        }
    }

    /// Now that the server has proven itself: was it the one that refused a suite before?
    fn check_refusal(&self, refused: Option<Suite>, listed: &[u8]) {
        if let Some(refused) = refused.filter(|suite| listed.contains(&(*suite as u8))) {
            let address = self.address();
            tracing::warn!(%address, ?refused, "somebody on the way to the server has refused a cipher suite in its \
                 name: the server itself supports it. This connection uses its equal");
        }
    }

    fn handshake_failed(&self, source: Ended) -> Error {
        Error::Handshake { address: self.address(), source }
    }

    /// A fresh connection over a fresh socket.
    async fn dial(&self, suite: Suite, expect: Expect<'_>) -> Result<Link, Error> {
        let unreachable = |source| Error::Connect { address: self.address(), source };
        let socket =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let setup = ClientSetup {
            name: &self.name,
            limits: self.limits(),
            expect,
            psk: self.config.psk.as_ref(),
            suite,
        };
        let by = self.clock.now().after_millis(self.config.timeout.as_millis() as u64);
        let conn = Connection::client(&setup, link::ephemeral()?, by);
        Ok(Link::new(socket, conn, self.identity.clone(), self.clock))
    }

    /// Until there is something to decide. `answered`: something that the server has sealed has come.
    async fn step(&self, link: &mut Link, answered: &mut bool) -> Result<Step, Ended> {
        let step = link.until(|event, _, _| {
            *answered = true;
            Ok(match event {
                Event::Verify(verify) => Some(Step::Verify(verify)),
                Event::Offered(key) => Some(Step::Offered(key)),
                Event::Welcome { suites, .. } => Some(Step::Welcome(suites.to_vec())),
                Event::Refused(why) => Some(Step::Refused(why)),
                _ => None,
            })
        });
        step.await
    }

    /// May this server be trusted, although nothing is known about it?
    async fn trust(&self, key: &PublicKey) -> Result<(), Error> {
        let trusted = match (self.config.trust, &self.ask) {
            (Trust::AcceptNew, _) => true,
            (Trust::Ask, Some(ask)) => {
                let (ask, address, key) = (Arc::clone(ask), self.address(), *key);
                // A person may take their time; other tasks go on.
                let answer = tokio::task::spawn_blocking(move || ask(&address, &key));
                answer.await.unwrap_or(false)
            }
            (Trust::Pin | Trust::Ask, _) => false,
        };
        if trusted {
            return Ok(());
        }
        Err(Error::UnknownServer { address: self.address(), key: Box::new(*key) })
    }

    /// From now on, only this key will do.
    async fn remember(&self, link: &Link, suites: Vec<u8>) -> Result<(), Error> {
        let Some(key) = link.conn.remote() else { return Ok(()) };
        if let (true, Some(state)) = (self.config.remember_server, self.state.clone()) {
            let (host, port) = (self.host.clone(), self.port);
            let stored = tokio::task::spawn_blocking(move || {
                state.update(|state| state.pin_server(&host, port, key, &suites))
            });
            let stored = stored.await.map_err(|e| Error::Value(e.to_string()))??;
            // Another process was faster, and its server had another key.
            stored.map_err(|other| self.key_changed(other.key, Some(key)))?;
        }
        // Within this run a server that has once been accepted stays the same in any case.
        *self.pinned.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(key);
        Ok(())
    }

    /// The pinned server lists other suites than before. Nothing depends on their being stored: the next `Welcome` says it again.
    async fn remember_suites(&self, key: PublicKey, listed: Vec<u8>) {
        let (true, Some(state)) = (self.config.remember_server, self.state.clone()) else { return };
        let (host, port) = (self.host.clone(), self.port);
        let stored = tokio::task::spawn_blocking(move || {
            state.update(|state| {
                // A key that only the configuration names is not for the state file.
                if state.server(&host, port).is_some_and(|known| known.key == key) {
                    let _ = state.pin_server(&host, port, key, &listed);
                }
            })
        });
        if let Ok(Err(error)) = stored.await {
            tracing::warn!(%error, "the server's cipher suites are not remembered");
        }
    }

    /// A pinned server did not answer as it should: finds out which key answers now. Reveals nothing.
    async fn diagnose(&self, suite: Suite, source: Ended, expected: PublicKey) -> Error {
        let suspicious = matches!(source, Ended::Handshake | Ended::Alert(Alert::Failed));
        if suspicious
            && let Ok(mut link) = self.dial(suite, Expect::Diagnose).await
            && let Ok(Step::Offered(offered)) = self.step(&mut link, &mut false).await
            && offered != expected
        {
            return self.key_changed(expected, Some(offered));
        }
        self.handshake_failed(source)
    }

    fn key_changed(&self, expected: PublicKey, offered: Option<PublicKey>) -> Error {
        let remedy = match (&self.config.server_key, &self.config.state) {
            (Some(_), _) => "change `server_key` in the configuration".into(),
            (None, Some(path)) => {
                let path = crate::file::shell_quoted(path);
                format!("pysock forget {} --state {path}", self.address())
            }
            (None, None) => "restart the program".into(),
        };
        Error::ServerKeyChanged {
            address: self.address(),
            expected: Box::new(expected),
            offered: offered.map(Box::new),
            remedy,
        }
    }
}
