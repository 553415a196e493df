//! `pysock provision`, as it is typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, value_parser};
use pysock_std::proto::{Name, PublicKey};

/// A flash range larger than this is a slip of the hand: at most 32 KiB of it are ever used.
const LARGEST: i64 = 16 << 20;

#[derive(ClapArgs, Debug)]
pub(crate) struct Provision {
    /// Write the image to this new file, which only you can read
    #[arg(short, long, value_name = "FILE", required_unless_present = "show")]
    pub(crate) output: Option<PathBuf>,
    /// Write it even over a file that exists: the identity in that is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// The identity, from a key file or a YAML file; `-` reads stdin [default: a new one]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// What the device is called
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// The public key of its server, for slot 0
    #[arg(long, value_name = "KEY")]
    pub(crate) server: Option<PublicKey>,
    /// A peer to be pinned under this label; may be repeated
    #[arg(long = "peer", value_name = "LABEL=KEY", value_parser = peer)]
    pub(crate) peers: Vec<(Name, PublicKey)>,
    /// How long the range for keys in the flash is: an even number of pages
    #[arg(long, value_name = "BYTES", default_value = "8192", value_parser = value_parser!(u32).range(1024..=LARGEST))]
    pub(crate) size: u32,
    /// What the flash erases at once
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = value_parser!(u32).range(1..=LARGEST))]
    pub(crate) page: u32,
    /// What the flash driver of the firmware writes or reads at once, whichever is more: 4 suits nRF, RP2040, ESP32 and
    /// STM32F4, 8 STM32G4 and L4, 16 STM32H5 and U5, 32 STM32H7
    #[arg(long, value_name = "BYTES", default_value = "4", value_parser = unit)]
    pub(crate) unit: u32,
    /// Show what is in an image, but not its secret
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "force", "key", "name", "server", "peers"])]
    pub(crate) show: Option<PathBuf>,
}

/// Reads LABEL=KEY.
fn peer(text: &str) -> Result<(Name, PublicKey), String> {
    let (label, key) =
        text.split_once('=').ok_or("expected LABEL=KEY, such as kitchen=pysock1…")?;
    let label = label.parse().map_err(|wrong| format!("the label is not a name: {wrong}"))?;
    let key =
        key.parse().map_err(|wrong| format!("what follows = is not a public key: {wrong}"))?;
    Ok((label, key))
}

fn unit(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(unit @ (1 | 2 | 4 | 8 | 16 | 32)) => Ok(unit),
        _ => Err("expected 1, 2, 4, 8, 16 or 32".to_owned()),
    }
}
