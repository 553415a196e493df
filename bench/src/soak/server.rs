//! The server's program: takes note of what comes, and answers.

use std::{collections::HashMap, io, sync::Arc};

use pysock_std::{
    Sender, Server,
    config::{NamePolicy, ServerConfig, WhenFull, new_secret_key},
};

use super::{
    ASK, LARGE, LEDGER, ONE_WAY, RELAY, TOPICS, failed, number_of,
    stamp::{self, Kind, Stamp},
    topic_name,
};

/// For each kind and sender, how many have come; and how many of all were wrong.
#[derive(Default)]
struct Books {
    came: HashMap<(Kind, u32), u64>,
    wrong: u64,
}

type Shared = Arc<std::sync::Mutex<Books>>;

fn locked(books: &Shared) -> std::sync::MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn note(books: &Shared, kind: Kind, sender: &Sender, message: &[u8]) {
    let (stamp, from) = (Stamp::of(message), number_of(sender));
    let mut books = locked(books);
    let right = stamp.zip(from).is_some_and(|(stamp, from)| {
        let next = books.came.entry((kind, from)).or_default();
        let right = stamp.lane.kind == kind && stamp.lane.from == from && stamp.number == *next;
        *next = stamp.number + 1;
        right
    });
    if !right {
        books.wrong += 1;
        eprintln!("WRONG: the server got {stamp:?} from {sender} by {kind:?}");
    }
}

/// Serves until the process ends. `ready` is told the address and the server's key.
pub(super) async fn run(
    clients: u32,
    ready: impl FnOnce(&str, &str) -> io::Result<()>,
) -> io::Result<()> {
    let mut config = ServerConfig::new(new_secret_key().map_err(failed)?);
    config.names = NamePolicy::ClaimOnce;
    let room = clients as usize + 100;
    config.max_clients = room;
    config.max_names = room;
    config.max_unauthenticated = room;
    config.max_unauthenticated_per_address = room;
    // Nothing is thrown away and nobody thrown out, however busy the machine is with other things.
    config.queue.full = WhenFull::Block;
    let mut channels = vec![RELAY.to_owned()];
    channels.extend((0..TOPICS).map(topic_name));
    config.channels =
        channels.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(failed)?;
    let server = Server::from_config(config).bind("127.0.0.1:0").await.map_err(failed)?;
    let books = Shared::default();

    let (mut one_way, to) = (server.create_channel(ONE_WAY).map_err(failed)?, books.clone());
    tokio::spawn(async move {
        while let Some(message) = one_way.listen().await {
            note(&to, Kind::OneWay, message.sender(), message.data());
        }
    });
    let (mut large, to) = (server.create_prefix_channel(LARGE).map_err(failed)?, books.clone());
    tokio::spawn(async move {
        while let Some(mut message) = large.listen().await {
            let to = to.clone();
            // Several arrive at a time; each sender sends one after the other.
            tokio::spawn(async move {
                let mut all = Vec::with_capacity(stamp::LARGE);
                let ended = loop {
                    match message.chunk().await {
                        Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                        Ok(None) => break true,
                        Err(_) => break false,
                    }
                };
                // What has broken off is no message: the note on it is about those bytes.
                let whole: &[u8] = if ended { &all } else { &[] };
                note(&to, Kind::Large, message.sender(), whole);
            });
        }
    });
    let mut ask = server.create_channel(ASK).map_err(failed)?;
    ready(&server.address().to_string(), &server.public_key().to_string())?;
    while let Some(mut message) = ask.listen().await {
        let answer = if message.data() == LEDGER {
            let (books, from) = (locked(&books), number_of(message.sender()).unwrap_or(0));
            let of = |kind| books.came.get(&(kind, from)).copied().unwrap_or(0);
            [of(Kind::OneWay), of(Kind::Large), books.wrong].map(u64::to_le_bytes).concat()
        } else {
            note(&books, Kind::Ask, message.sender(), message.data());
            message.data().to_vec()
        };
        message.reply(answer).await.map_err(failed)?;
    }
    Ok(())
}
