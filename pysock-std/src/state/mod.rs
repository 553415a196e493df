//! What pysock remembers by itself: pinned servers and peers, names and who owns them, used invitations.
//!
//! One text file that only pysock writes, in the spirit of `known_hosts`. The user's YAML is never
//! rewritten. The first line says what the file is, the last one counts its lines and carries a checksum,
//! so that a file that was cut short — even at the end of a line — or edited by accident is noticed.
//! A missing file is an empty state; a damaged one is refused and never replaced, because an empty
//! state would accept any server and give any name away.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("client.state");
//! use pysock_std::state::StateFile;
//! # use pysock_proto::PublicKey;
//! # let key = PublicKey([7; 32]);
//! let file = StateFile::open(path)?;
//! if let Err(pinned) = file.update(|state| state.pin_server("localhost", 1234, key, &[1]))? {
//!     println!("this server had another key: {}", pinned.key);
//! }
//! assert_eq!(file.read()?.server("localhost", 1234).unwrap().key, key);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod peers;
mod text;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use pysock_proto::{Name, PublicKey};

pub use self::peers::{MAX_PEERS, NotPinned};
use crate::file::{self, FileError, Step};

/// Far more than a hundred thousand lines need.
const LARGEST: u64 = 64 << 20;

/// Everything remembered, as it was read. Change it through [`StateFile::update`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Servers this client recognises, by [`server_id`].
    pub servers: BTreeMap<String, KnownServer>,
    /// Names that this server has given away.
    pub names: BTreeMap<Name, NameBinding>,
    /// Peers this client recognises, by the label they go under here: at most [`MAX_PEERS`].
    pub peers: BTreeMap<Name, PublicKey>,
    /// Invitations that are used up: the hint of the pre-shared key, and the key it admitted.
    pub invitations: BTreeMap<[u8; 8], PublicKey>,
}

/// A server as a client remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// Its identity.
    pub key: PublicKey,
    /// The cipher suites it announced, as prelude bytes.
    pub suites: Vec<u8>,
}

/// Who owns a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameBinding {
    /// The owner.
    pub key: PublicKey,
    /// When it was claimed, in seconds since 1970-01-01 UTC.
    pub since: u64,
}

/// It belongs to another key already. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it belongs to the key {key} already")]
pub struct AlreadyBound {
    /// The key that has it.
    pub key: PublicKey,
}

/// What a server is remembered by: its address in lower case, a colon, its port.
pub fn server_id(address: &str, port: u16) -> String {
    let address = address.trim_matches(['[', ']']).to_lowercase();
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

impl State {
    /// The server remembered for this address and port.
    pub fn server(&self, address: &str, port: u16) -> Option<&KnownServer> {
        self.servers.get(&server_id(address, port))
    }

    /// Remembers a server. The suites of a server that is known are brought up to date.
    ///
    /// # Errors
    /// [`AlreadyBound`] if another key is pinned for this address and port.
    pub fn pin_server(
        &mut self,
        address: &str,
        port: u16,
        key: PublicKey,
        suites: &[u8],
    ) -> Result<(), AlreadyBound> {
        let new = KnownServer { key, suites: suites.to_vec() };
        let known = bind(&mut self.servers, server_id(address, port), new, |known| known.key, key)?;
        if known.suites != suites {
            known.suites = suites.to_vec();
        }
        Ok(())
    }

    /// Gives a name to a key, for good. A name that is its own already keeps its date.
    ///
    /// # Errors
    /// [`AlreadyBound`] if another key owns the name.
    pub fn bind_name(
        &mut self,
        name: Name,
        key: PublicKey,
        since: u64,
    ) -> Result<(), AlreadyBound> {
        bind(&mut self.names, name, NameBinding { key, since }, |b| b.key, key).map(|_| ())
    }

    /// The name that a key owns. Looks at every name.
    pub fn name_of(&self, key: &PublicKey) -> Option<Name> {
        self.names.iter().find(|(_, binding)| binding.key == *key).map(|(name, _)| *name)
    }

    /// Uses an invitation up, in favour of `key`. The same key may come back with it.
    ///
    /// # Errors
    /// [`AlreadyBound`] if it has admitted another key.
    pub fn use_invitation(&mut self, hint: [u8; 8], key: PublicKey) -> Result<(), AlreadyBound> {
        bind(&mut self.invitations, hint, key, |used| *used, key).map(|_| ())
    }
}

/// First come, first served.
fn bind<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    at: K,
    new: V,
    owner: fn(&V) -> PublicKey,
    key: PublicKey,
) -> Result<&mut V, AlreadyBound> {
    match map.entry(at) {
        Entry::Vacant(free) => Ok(free.insert(new)),
        Entry::Occupied(taken) if owner(taken.get()) == key => Ok(taken.into_mut()),
        Entry::Occupied(taken) => Err(AlreadyBound { key: owner(taken.get()) }),
    }
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file itself is the trouble. What was remembered before is untouched, unless the error is
    /// [`FileError::NotDurable`].
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not as pysock wrote it.
    #[error(
        "the state file {} is damaged: {what}. Restore it from a backup. To start without what it \
         remembered (pinned servers and peers, owners of names, used invitations), remove it yourself",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The damage.
        what: String,
    },
    /// A newer pysock wrote the file.
    #[error(
        "the state file {} has format {version}, and this pysock reads only format 1: \
         use the pysock that wrote it, or a newer one",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        version: u32,
    },
    /// The change would have made a file that cannot be read back. Nothing was written.
    #[error(
        "not written to the state file {}: {what}; give a server's address without spaces, \
         line breaks or control characters",
        path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is wrong with the change.
        what: String,
    },
}

/// Fails or stops at a step of writing; only tests have one.
type Fault = Box<dyn Fn(Step) -> std::io::Result<()> + Send + Sync>;

/// The file that holds a [`State`]. Several processes may share it: updates take turns.
///
/// Every call does blocking I/O; from async code, use a thread for blocking work.
pub struct StateFile {
    path: PathBuf,
    fault: Option<Fault>,
}

impl std::fmt::Debug for StateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateFile {
    /// Checks that the file is readable and whole, or absent. Creates nothing.
    ///
    /// # Errors
    /// As [`StateFile::read`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let file = StateFile { path: path.into(), fault: None };
        file.read()?;
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything remembered at this moment; empty if there is no file.
    ///
    /// Needs no lock: the file is only ever replaced as a whole.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] if it was cut or edited, even if it is just empty.
    pub fn read(&self) -> Result<State, StateError> {
        match file::read(&self.path, LARGEST)? {
            None => Ok(State::default()),
            Some(contents) => text::parse(&contents.text).map_err(|bad| bad.of(&self.path)),
        }
    }

    /// Changes what is remembered, and returns what `change` returned once it is safely on the disk.
    ///
    /// Lock, read again, change, write, unlock: two processes that share the file lose nothing. A
    /// `change` that changes nothing writes nothing. `change` must not call `update` itself.
    ///
    /// # Errors
    /// As [`StateFile::read`], or the file could not be written; then the old one is intact, save for
    /// [`FileError::NotDurable`].
    pub fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> Result<R, StateError> {
        // A link stays a link: what it points to is locked and replaced.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let lock_path = file::beside(&target, ".lock");
        // Kept afterwards: removing a lock file would let two processes lock two different files.
        let lock = file::private()
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(FileError::io("open the lock", &lock_path))?;
        lock.lock().map_err(FileError::io("lock", &lock_path))?;

        let before = self.read()?;
        let mut state = before.clone();
        let result = change(&mut state);
        if state != before {
            let text = text::render(&state);
            if text::parse(&text).ok().as_ref() != Some(&state) {
                let what = "it would not read back as it is".to_owned();
                return Err(StateError::Unwritable { path: self.path.clone(), what });
            }
            let fault = self.fault.as_deref();
            file::replace(&target, &text, &|step| fault.map_or(Ok(()), |fault| fault(step)))?;
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests;
