//! `pysock serve`: a server that prints what it is sent.

use std::{path::PathBuf, sync::Arc};

use pysock_std::{Error, Server, config::ServerConfig, server::Channel};
use tokio::task::JoinSet;

use crate::{
    args::{Global, Serve},
    exit::Stop,
    join::tell_if_new,
    listen, log,
    print::{self, fingerprint, tell},
    status::Ending,
};

pub(crate) async fn serve(global: &Global, options: Serve) -> Result<(), Stop> {
    let mut ending = Ending::new()?;
    let path = global.config.clone().unwrap_or_else(|| PathBuf::from("server.yaml"));
    let existed = path.exists();
    let mut config = ServerConfig::load(&path).map_err(Error::from)?;
    log(global, config.debug);
    tell_if_new(existed, &path, &config.public_key());
    for name in &options.channels {
        if !config.channels.contains(name) {
            config.channels.push(*name);
        }
    }
    if config.channels.is_empty() {
        return Err(Stop::usage(
            "a server without a channel is of no use: give --channel NAME, or `channels:` in the configuration",
        ));
    }
    let mut place = (config.address.clone(), config.port);
    if let Some(address) = &options.listen {
        place = (address.host.clone(), address.port.unwrap_or(config.port));
        config.address.clone_from(&place.0);
        // Zero, for any port, is nothing that a configuration can say.
        config.port = if place.1 == 0 { config.port } else { place.1 };
    }
    let channels = config.channels.clone();
    let server = Server::from_config(config).bind((place.0.as_str(), place.1)).await?;
    let mut listeners = JoinSet::new();
    let shared = Arc::new((options, global.json));
    for name in &channels {
        let channel = server.create_channel(name.as_str())?;
        listeners.spawn(print_all(channel, shared.clone()));
    }
    let key = server.public_key();
    tell(&format!("public key {key}, fingerprint {}", fingerprint(&key)));
    tell(&format!("listening on {}", server.address()));
    let result = tokio::select! {
        () = ending.wait() => {
            tell("shutting down");
            Ok(())
        }
        // They end only if nothing can be printed any more.
        Some(ended) = listeners.join_next() => ended.unwrap_or_else(|e| Err(Stop::local(e))),
    };
    // A second Ctrl-C means: at once.
    tokio::select! {
        left = server.shutdown() => if left > 0 {
            tell(&format!("{left} clients have not confirmed the end in time"));
        },
        () = ending.wait() => {}
    }
    result
}

async fn print_all(mut channel: Channel, shared: Arc<(Serve, bool)>) -> Result<(), Stop> {
    let (options, json) = &*shared;
    while let Some(mut message) = channel.listen().await {
        print::message(&message, *json)?;
        listen::answer(&mut message, &options.answer).await;
    }
    Ok(())
}
