//! Connecting to a server as a client.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use pysock_std::{
    Client, Error,
    config::{ClientConfig, Trust},
    proto::{Name, PublicKey},
};

use crate::{
    args::{Global, To},
    ask,
    exit::{Exit, Stop},
    log,
    print::{fingerprint, tell},
};

/// The file with a client's configuration.
pub(crate) fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| "client.yaml".into())
}

/// Says so if loading has made a new identity.
pub(crate) fn tell_if_new(existed: bool, path: &Path, key: &PublicKey) {
    if !existed {
        tell(&format!("created {} with a new key, public key {key}", path.display()));
    }
}

/// Whether a connection that breaks is made anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// One errand, one connection.
    Once,
    /// As the configuration says.
    Reconnect,
}

/// Connects as the command line and the configuration say. About other clients the person at the terminal is asked.
pub(crate) async fn connect(global: &Global, to: &To, stay: Stay) -> Result<Client, Stop> {
    connect_asking(global, to, stay, ask::at_terminal).await
}

/// As [`connect`]; `ask` decides about other clients, if the configuration says so. It gets the own key, too.
pub(crate) async fn connect_asking(
    global: &Global,
    to: &To,
    stay: Stay,
    ask_peer: impl Fn(&PublicKey, &Name, &PublicKey) -> bool + Clone + Send + Sync + 'static,
) -> Result<Client, Stop> {
    let path = config_path(global);
    let existed = path.exists();
    let mut config = ClientConfig::load(&path).map_err(Error::from)?;
    log(global, config.debug);
    tell_if_new(existed, &path, &config.public_key());
    if let Some(name) = to.name {
        config.name = Some(name);
    }
    if let Some(server) = &to.server {
        config.server = Some(server.host.clone());
        config.port = server.port.unwrap_or(config.port);
    }
    config.reconnect &= stay == Stay::Reconnect;
    let ask = config.trust == Trust::Ask;
    let own = config.public_key();
    let builder = |config| {
        let ask_peer = ask_peer.clone();
        Client::from_config(config).ask_peer(move |name, key| ask_peer(&own, name, key))
    };
    match builder(config.clone()).start().await {
        Err(Error::UnknownServer { address, key }) if ask => {
            // Asked while nothing is connected: people take longer than a handshake may.
            confirm(&address, &key)?;
            let builder = builder(config).ask(move |_, offered| *offered == *key);
            Ok(builder.start().await?)
        }
        connected => Ok(connected?),
    }
}

/// Asks the person at the terminal about a server.
fn confirm(address: &str, key: &PublicKey) -> Result<(), Stop> {
    let refused = |text: String| Err(Stop::new(Exit::Refused, text));
    let print = fingerprint(key);
    if !std::io::stdin().is_terminal() {
        return refused(format!(
            "the key of {address} is not known: {key} ({print}); nobody can be asked as stdin is no terminal. \
             Compare the key with the server's operator, then set `server_key: {key}` in the configuration"
        ));
    }
    tell(&format!(
        "the key of {address} is not known.\n  key          {key}\n  fingerprint  {print}\n\
         Compare it with the server's operator. Is it the right one (yes/no)?"
    ));
    let mut answer = String::new();
    let _ = std::io::stderr().flush();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|e| Stop::local(format!("cannot read the answer: {e}")))?;
    match answer.trim().eq_ignore_ascii_case("yes") {
        true => Ok(()),
        false => refused(format!("{address} was not accepted; nothing was sent to it")),
    }
}

/// Ends a client after `error`, and says what has really gone wrong: the first cause is the best sentence.
pub(crate) async fn give_up(client: Client, error: Error, to: &str) -> Stop {
    let cause = match client.close().await {
        Err(cause @ Error::Failed { .. }) => cause,
        Err(Error::Disconnected) | Ok(()) => error,
        Err(cause) if matches!(error, Error::Disconnected | Error::Failed { .. }) => cause,
        Err(_) => error,
    };
    named(cause, to)
}

/// Calls the receiver what the command line called it.
pub(crate) fn named(error: Error, to: &str) -> Stop {
    match error {
        Error::Failed { failure, .. } => Error::Failed { to: to.to_owned(), failure }.into(),
        error => error.into(),
    }
}
