//! The command line.

mod parse;
mod provision;
mod way;

use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
pub(crate) use parse::Address;
use parse::{address, client, seconds};
pub(crate) use provision::Provision;
use pysock_std::proto::{ChannelName, Name, PublicKey};
pub(crate) use way::{Way, Words};

use crate::exit::CODES;

/// Encrypted messages between named programs, through one server.
///
/// Data goes to stdout, talk to stderr. A program is known by its key, which is in its configuration file; only one
/// connection for each key is active, so programs that run at the same time need a --config each.
#[derive(Parser, Debug)]
#[command(name = "pysock", version, after_help = CODES, subcommand_required = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(ClapArgs, Debug)]
pub(crate) struct Global {
    /// The YAML file with configuration and key, created if there is none [default: client.yaml; serve: server.yaml]
    #[arg(long, global = true, env = "PYSOCK_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log to stderr; twice, log more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a new secret key
    #[command(after_help = "\
A file that ends in .key beside an empty YAML file of the same name is the key of that configuration.

Examples:
  pysock keygen -o server.key     the secret key into a new file that only you can read
  pysock keygen > key.txt         to stdout")]
    Keygen(Keygen),
    /// Show the public key that belongs to a key file or configuration
    #[command(after_help = "\
Examples:
  pysock pubkey server.yaml
  pysock pubkey --fingerprint client.yaml
  pysock keygen | pysock pubkey")]
    Pubkey(Pubkey),
    /// Make a new pre-shared key, for `psk:` of a server and its clients
    #[command(after_help = "\
Examples:
  pysock psk")]
    Psk,
    /// Make the image of a device's key range: its identity and name, its server, its peers
    #[command(after_help = "\
The image is for one device, and to be programmed at the offset where its firmware has the range for
keys, with the tool that programs the firmware. --size is how long that range is, --page and --unit
are those of its flash; an image for others is refused by the device. The file holds the secret key.

Examples:
  pysock provision -o sensor-7.img --name sensor-7 --server pysock1...
  pysock provision -o sensor-7.img --name sensor-7 --key sensor-7.key --peer kitchen=pysock1...
  pysock provision -o sensor-7.img --size 4096 --page 2048 --unit 8
  pysock provision --show sensor-7.img")]
    Provision(Provision),
    /// Run a server and print what is sent to it, until Ctrl-C
    #[command(after_help = "\
Examples:
  pysock serve --channel test
  pysock serve --listen 0.0.0.0:1234 --channel test --channel house/kitchen --json
  pysock serve --config server.yaml --channel echo --echo")]
    Serve(Serve),
    /// Print what other clients send end to end, and the messages on a channel, until Ctrl-C
    #[command(after_help = "\
What is marked [end to end] its sender has sealed for this program alone, and has proven its key. Of
a message on a channel the server says who sent it.

Examples:
  pysock listen --name kitchen --config kitchen.yaml
  pysock listen test --server example.org:1234 --name kitchen --config kitchen.yaml
  pysock listen test --count 1 --json
  pysock listen --count 1 --raw > photos.tar
  pysock listen test --config answerer.yaml --reply pong")]
    Listen(Listen),
    /// Send a message: end to end to another client, or through a channel, which the server can read
    #[command(
        override_usage = "\
pysock send --to <NAME|KEY> [DATA]                  end to end: nobody on the way can read it
       pysock send <CHANNEL> [DATA]                        to the server
       pysock send --channel <CHANNEL> --all [DATA]        to all on a channel: the server can read it
       pysock send --channel <CHANNEL> --to <NAME> [DATA]  to a client: the server can read it",
        after_help = "\
End to end, the key of the other client has to be the pinned one; about a new one `peers` in the
configuration decides. It is done when that client has confirmed that it got everything. Through a
channel, the server can read and change what it passes on, and confirms alone.

Examples:
  pysock send --to kitchen 'the soup is ready'
  tar c photos | pysock send --to attic               (there: pysock listen --count 1 --raw)
  pysock send test 'Hello, World!'
  pysock send --channel test --to kitchen 'the server may read this'"
    )]
    Send(Send),
    /// Ask another client, end to end, or the server, and print the reply
    #[command(
        override_usage = "\
pysock request --to <NAME|KEY> [DATA]                  end to end: nobody on the way can read it
       pysock request <CHANNEL> [DATA]                        asks the server
       pysock request --channel <CHANNEL> --to <NAME> [DATA]  asks a client: the server can read it",
        after_help = "\
On a terminal the reply's control characters are escaped; into a pipe or file it goes as it is.

Examples:
  pysock request --to kitchen --timeout 3 'how warm?'
  pysock request test ping
  pysock request --channel test --to kitchen 'the server may read this'
  pysock request test --json - < question.bin"
    )]
    Request(Request),
    /// Talk with another client, end to end, line by line
    #[command(after_help = "\
Either side may start first. Every line typed is sent; /quit, the end of input or Ctrl-C leaves. Both
fingerprints are shown, to be compared by voice or in person.

Examples:
  pysock chat swat
  pysock chat swat example.org:1234 --name shikhar
  pysock chat swat --config shikhar.yaml")]
    Chat(Chat),
    /// Show who is connected
    #[command(after_help = "\
Examples:
  pysock clients --server example.org
  pysock clients --json --config observer.yaml")]
    Clients(To),
    /// Show who is connected, and whose key this program has pinned
    #[command(after_help = "\
Names and keys are what the server says: that a key is pinned does not prove that its owner is
connected. Before you pin a new one, compare its fingerprint with its owner by voice or in person.

Examples:
  pysock peers
  pysock peers example.org:1234 --name kitchen
  pysock peers --json --config observer.yaml")]
    Peers(Peers),
    /// Show the own key and fingerprint, or those of a pinned peer, for reading aloud
    #[command(after_help = "\
It works without a connection, and makes no key: the first connection does, or `pysock keygen`.

Examples:
  pysock fingerprint
  pysock fingerprint --config kitchen.yaml
  pysock fingerprint --of kitchen")]
    Fingerprint(Fingerprint),
    /// Pin the keys of peers, which are other clients
    #[command(after_help = "\
A peer is known by its key, and by the name under which it is pinned here; what the server calls
it proves nothing. It works without a connection, on the state file.

Examples:
  pysock trust list
  pysock trust add kitchen pysock1...
  pysock trust replace kitchen pysock1...
  pysock trust remove kitchen")]
    Trust(Trust),
    /// Show the servers, peers and names that are remembered
    #[command(after_help = "\
Examples:
  pysock known
  pysock known --state server.state --json")]
    Known(Known),
    /// Forget the key of a server, so that it may have a new one
    #[command(after_help = "\
Do this only when the server's operator has told you the new key: whoever answers next is trusted.

Examples:
  pysock forget example.org:1234
  pysock forget localhost:1234 --state client.state")]
    Forget(Forget),
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Keygen {
    /// Write the secret key to this new file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Pubkey {
    /// A YAML or key file; `-` or nothing reads stdin
    pub(crate) file: Option<PathBuf>,
    /// Show the fingerprint, which people can compare
    #[arg(long)]
    pub(crate) fingerprint: bool,
}

/// How requests are answered.
#[derive(ClapArgs, Debug)]
#[group(multiple = false)]
pub(crate) struct Answer {
    /// Answer requests with what they say
    #[arg(long)]
    pub(crate) echo: bool,
    /// Answer requests with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) reply: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 lets the system choose one [default: what the configuration says]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) listen: Option<Address>,
    /// A channel to create, besides those of the configuration; may be repeated
    #[arg(long = "channel", value_name = "NAME")]
    pub(crate) channels: Vec<ChannelName>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Which server, and as whom.
#[derive(ClapArgs, Debug)]
pub(crate) struct To {
    /// The server [default: what the configuration says, or localhost:1234]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) server: Option<Address>,
    /// The name to go under [default: what the configuration says, or the beginning of the key]
    #[arg(long)]
    pub(crate) name: Option<Name>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Listen {
    /// A channel to listen to; without one, only what is sent end to end
    pub(crate) channel: Option<ChannelName>,
    #[command(flatten)]
    pub(crate) to: To,
    /// Write what messages say as it is while it arrives, whatever their size; into a pipe or file only. With a
    /// channel, only what comes through that
    #[arg(long, conflicts_with_all = ["json", "echo", "reply"])]
    pub(crate) raw: bool,
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) words: Words,
    /// Send to every other client on the channel; the server can read it
    #[arg(long, conflicts_with = "to")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) server: To,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Request {
    #[command(flatten)]
    pub(crate) words: Words,
    /// How long to wait for the reply, and for a session before it
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: std::time::Duration,
    #[command(flatten)]
    pub(crate) server: To,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Chat {
    /// Whom to talk with
    #[arg(value_name = "NAME|KEY", value_parser = client)]
    pub(crate) with: String,
    /// The server, as with --server
    #[arg(value_name = "HOST:PORT", value_parser = address, conflicts_with = "server")]
    pub(crate) address: Option<Address>,
    #[command(flatten)]
    pub(crate) to: To,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Known {
    /// The state file [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Forget {
    /// The server's address, as it was connected to
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub(crate) address: Address,
    /// The state file [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Peers {
    /// The server, as with --server
    #[arg(value_name = "HOST:PORT", value_parser = address, conflicts_with = "server")]
    pub(crate) address: Option<Address>,
    #[command(flatten)]
    pub(crate) to: To,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Fingerprint {
    /// Show those of this peer, or of this key
    #[arg(long, value_name = "NAME|KEY", value_parser = client)]
    pub(crate) of: Option<String>,
    /// The state file in which the peer is pinned [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Trust {
    /// The state file [default: that of the configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) what: TrustCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TrustCommand {
    /// Show the pinned peers
    #[command(after_help = "\
Examples:
  pysock trust list
  pysock trust list --state client.state --json")]
    List,
    /// Pin the key of a peer
    #[command(after_help = "\
A name that has another key is refused; see `pysock trust replace --help`.

Examples:
  pysock trust add kitchen pysock1...
  pysock trust add kitchen pysock1... --state client.state")]
    Add(Peer),
    /// Forget a peer
    #[command(after_help = "\
With `peers: accept-new`, whoever the server calls by this name next is trusted. If you know the
new key of the peer, `pysock trust replace` leaves no such gap.

Examples:
  pysock trust remove kitchen
  pysock trust remove kitchen --state client.state")]
    Remove {
        /// The name it is pinned under
        name: Name,
    },
    /// Accept another key of a pinned peer
    #[command(after_help = "\
Do this only when you have compared the fingerprint of the new key with its owner by voice or in
person: a changed key may be an attack by the server or somebody else.

Examples:
  pysock trust replace kitchen pysock1...
  pysock trust replace kitchen pysock1... --state client.state")]
    Replace(Peer),
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Peer {
    /// The name to pin it under
    pub(crate) name: Name,
    /// Its public key, pysock1...
    pub(crate) key: PublicKey,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
