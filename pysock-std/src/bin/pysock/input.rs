//! What is to be sent: from the command line, or from stdin.

use std::io::IsTerminal;

use pysock_std::Bytes;
use tokio::io::{AsyncReadExt, Stdin};

use crate::exit::Stop;

/// Where the data comes from.
pub(crate) enum Input {
    Text(Bytes),
    Stdin(Stdin),
}

impl Input {
    /// An argument, or stdin if that is what it says, or if there is none and stdin is no terminal.
    pub(crate) fn of(data: Option<String>) -> Result<Self, Stop> {
        match data {
            Some(text) if text != "-" => Ok(Input::Text(text.into())),
            None if std::io::stdin().is_terminal() => {
                Err(Stop::usage("nothing to send: give DATA, or `-` to type it"))
            }
            _ => Ok(Input::Stdin(tokio::io::stdin())),
        }
    }

    /// The next bytes, `limit` of them if there are as many. Fewer: this is the end.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Bytes, Stop> {
        match self {
            Input::Text(text) => Ok(text.split_to(limit.min(text.len()))),
            Input::Stdin(stdin) => {
                let mut bytes = Vec::new();
                let read = stdin.take(limit as u64).read_to_end(&mut bytes).await;
                read.map_err(|e| Stop::local(format!("cannot read stdin: {e}")))?;
                Ok(bytes.into())
            }
        }
    }
}
