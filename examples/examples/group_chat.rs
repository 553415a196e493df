//! A chat of three or more in one group, end to end: the server passes on what it cannot read.
//!
//! Start a server (`cargo run --example server`, or `pysock serve`), then in a terminal each:
//!
//! ```text
//! cargo run --example group_chat bob
//! cargo run --example group_chat carol
//! cargo run --example group_chat alice bob carol
//! ```
//!
//! The first name is one's own. Whoever names others creates the group and invites them; the others wait to be invited,
//! and join. Each keeps its key in `NAME.yaml`. Then everybody types lines. An empty line, or the end of input, leaves.
#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use pysock_std::{
    Client, Error,
    client::groups::{Group, GroupNews},
};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut names = std::env::args().skip(1);
    let Some(own) = names.next() else {
        println!("usage: group_chat NAME [MEMBER]...");
        return Ok(());
    };
    let others: Vec<String> = names.collect();
    let server = std::env::var("PYSOCK_SERVER").unwrap_or_else(|_| "localhost:1234".into());
    let client = Client::from_yaml(format!("{own}.yaml"))?.name(&own)?.connect(&server).await?;
    let group = if others.is_empty() {
        let mut invitations = client.listen_groups()?;
        println!("{own} waits to be invited");
        let Some(group) = invitations.join_next().await else { return Ok(()) };
        group
    } else {
        let (group, added) = client.create_group("chat", others.iter().map(String::as_str)).await?;
        println!("added {added}");
        group
    };
    let members = group.members();
    let members: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    println!("{own} is in {} with {}", group.label(), members.join(", "));
    let printing = tokio::spawn(print(group.clone()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await
        && !line.is_empty()
    {
        let sent = group.send(line).await?;
        for (member, why) in sent.failed() {
            println!("{member} did not get it: {why}");
        }
    }
    match group.is_owner() {
        true => group.dissolve().await?,
        false => group.leave().await?,
    }
    let _ = printing.await;
    client.close().await
}

async fn print(group: Group) {
    while let Some(news) = group.next().await {
        match news {
            GroupNews::Message(message) => {
                println!("{}: {}", message.sender(), message.text().unwrap_or("(no text)"));
            }
            GroupNews::Joined(member) => println!("{} has joined", member.name),
            GroupNews::Left(member) => println!("{} has left", member.name),
            news => println!("{news:?}"),
        }
    }
}
