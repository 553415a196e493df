//! Whether something goes end to end or through a channel. A forgotten quote or option must never turn the one into the
//! other: with `--to`, only `--channel` leads through the server.

use clap::Args;
use pysock_std::proto::ChannelName;

use super::client;
use crate::exit::Stop;

/// What is said, to whom, and how it gets there.
#[derive(Args, Debug)]
pub(crate) struct Words {
    /// A channel, to the server; not with --to or --channel
    #[arg(value_name = "CHANNEL", allow_negative_numbers = true)]
    first: Option<String>,
    /// What to say; `-` or a pipe reads stdin
    #[arg(value_name = "DATA", allow_negative_numbers = true)]
    second: Option<String>,
    /// The client it is for; end to end, unless --channel is given
    #[arg(long, value_name = "NAME|KEY", value_parser = client)]
    pub(crate) to: Option<String>,
    /// Through this channel, where THE SERVER CAN READ IT
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<ChannelName>,
}

/// How something gets to its receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Sealed for this client alone.
    EndToEnd(String),
    /// Through the server, which can read it; to a client, or to whoever the command says.
    Channel(ChannelName, Option<String>),
}

impl Words {
    /// The way, and what to say.
    pub(crate) fn split(self) -> Result<(Way, Option<String>), Stop> {
        let Words { first, second, to, channel } = self;
        match (channel, to, second) {
            (None, Some(to), None) => Ok((Way::EndToEnd(to), first)),
            (Some(channel), to, None) => Ok((Way::Channel(channel, to), first)),
            (None, None, data) => {
                let name = first.ok_or_else(|| {
                    Stop::usage("to whom? Give --to NAME, or a channel; see --help")
                })?;
                let channel = name
                    .parse()
                    .map_err(|why| Stop::usage(format!("{name:?} is no channel: {why}")))?;
                Ok((Way::Channel(channel, None), data))
            }
            (None, Some(_), Some(_)) => Err(Stop::usage(
                "--to is end to end and takes DATA alone, in quotes if there are spaces in it; through a channel, \
                 which the server can read, it is --channel NAME --to NAME",
            )),
            (Some(_), _, Some(_)) => Err(Stop::usage(
                "--channel leaves only DATA to be given, in quotes if there are spaces in it",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(first: Option<&str>, second: Option<&str>, to: bool, channel: bool) -> Words {
        Words {
            first: first.map(Into::into),
            second: second.map(Into::into),
            to: to.then(|| "kitchen".into()),
            channel: channel.then(|| "test".parse().unwrap()),
        }
    }

    #[test]
    fn only_an_explicit_channel_leads_to_a_client_through_the_server() {
        let channel = |to: Option<&str>| Way::Channel("test".parse().unwrap(), to.map(Into::into));
        let kitchen = || Some("kitchen");
        for (given, way, data) in [
            (words(Some("test"), None, true, false), Way::EndToEnd("kitchen".into()), Some("test")),
            (words(None, None, true, false), Way::EndToEnd("kitchen".into()), None),
            (words(Some("soup"), None, true, true), channel(kitchen()), Some("soup")),
            (words(Some("soup"), None, false, true), channel(None), Some("soup")),
            (words(Some("test"), Some("soup"), false, false), channel(None), Some("soup")),
            (words(Some("test"), None, false, false), channel(None), None),
        ] {
            assert_eq!(given.split().unwrap(), (way, data.map(Into::into)));
        }
        for wrong in [
            // Once meant for a channel, or a forgotten quote: never guessed.
            words(Some("test"), Some("soup"), true, false),
            words(Some("test"), Some("soup"), true, true),
            words(None, None, false, false),
            words(Some("Not A Channel"), None, false, false),
        ] {
            let shown = format!("{wrong:?}");
            assert!(wrong.split().is_err(), "{shown}");
        }
    }
}
