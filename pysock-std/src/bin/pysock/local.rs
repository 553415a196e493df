//! What is known without a connection: the own key, and the state file.

use std::path::{Path, PathBuf};

use pysock_std::{
    Error,
    config::{ClientConfig, ConfigError, ServerConfig},
    proto::PublicKey,
    state::StateFile,
};

use crate::{args::Global, exit::Stop, join::config_path};

/// What a configuration says about itself, be it a client's or a server's.
struct Own {
    key: PublicKey,
    state: Option<PathBuf>,
}

/// Reads a configuration that exists.
fn load(path: &Path) -> Result<Own, Stop> {
    match ClientConfig::load(path) {
        Ok(config) => Ok(Own { key: config.public_key(), state: config.state }),
        // It may be a server's; if it is neither, it was probably meant to be a client's.
        Err(wrong @ ConfigError::Yaml { .. }) => {
            let config = ServerConfig::load(path).map_err(|_| Error::from(wrong))?;
            Ok(Own { key: config.public_key(), state: config.state })
        }
        Err(wrong) => Err(Error::from(wrong).into()),
    }
}

/// The key of the configuration. Makes none: whoever mistypes a file name must not read out a key that nobody knows.
pub(crate) fn own_key(global: &Global) -> Result<PublicKey, Stop> {
    let path = config_path(global);
    if !path.exists() {
        return Err(Stop::local(format!(
            "there is no {}, so there is no key yet; the first connection makes it",
            path.display()
        )));
    }
    Ok(load(&path)?.key)
}

/// The state file that is meant. Makes no configuration if there is none.
pub(crate) fn state_path(global: &Global, state: Option<&PathBuf>) -> Result<PathBuf, Stop> {
    if let Some(path) = state {
        return Ok(path.clone());
    }
    let path = config_path(global);
    let state = if path.exists() { load(&path)?.state } else { None };
    Ok(state.unwrap_or_else(|| path.with_extension("state")))
}

pub(crate) fn open(path: &Path) -> Result<StateFile, Stop> {
    Ok(StateFile::open(path).map_err(Error::from)?)
}
