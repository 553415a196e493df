//! Small files that must be private, whole, and never lost: what configuration and state share.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// Why a file could not be read or written. Every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), way_out(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused to write. What was there before is untouched.
    #[error(
        "cannot write {}: {source}{}. What was there before is untouched",
        path.display(),
        way_out(source)
    )]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder, a pipe or a device where a file belongs.
    #[error("{} is not a regular file: give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link to nothing. It is not the same as a missing file: its target may be on a disk
    /// that is not mounted.
    #[error(
        "{} is a symbolic link to a file that does not exist: restore the file (is its disk mounted?) \
         or remove the link",
        path.display()
    )]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// Larger than such a file ever needs to be.
    #[error("{} is larger than {limit} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest allowed, in bytes.
        limit: u64,
    },
    /// Not text.
    #[error(
        "{} is not UTF-8 text (byte {at} is not): save it as UTF-8, or restore it from a backup",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// A secret that others can read.
    #[error(
        "{} holds a secret, and its mode {mode:04o} lets others read or change it. Run\n\n    \
         chmod 600 {}\n\nand if others may have read it already, make a new key.",
        path.display(),
        shell_quoted(path)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The new content is in place, but a power failure now might bring the old one back.
    #[error(
        "{} was replaced, but its folder could not be flushed to disk ({source}): \
         check the disk, then try again",
        path.display()
    )]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl FileError {
    /// For `map_err`: what was tried, and on what.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| FileError::Io { action, path, source }
    }
}

/// What to do about the usual troubles.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; create its folder first",
        ErrorKind::PermissionDenied => "; check the owner and the permissions of it and its folder",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on its disk",
        ErrorKind::ReadOnlyFilesystem => "; put it on a disk that is writable",
        _ => "",
    }
}

/// `path` as a POSIX shell reads it back.
pub(crate) fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) && !text.starts_with('-') {
        text
    } else if text.starts_with('-') {
        format!("'./{}'", text.replace('\'', r"'\''"))
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A file as it was read.
#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix has permission bits"))]
pub(crate) struct Contents {
    pub(crate) text: String,
    path: PathBuf,
    metadata: fs::Metadata,
}

impl Contents {
    /// Refuses a file that anybody but its owner can use. Only Unix has such a check.
    pub(crate) fn require_private(&self) -> Result<(), FileError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = self.metadata.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(FileError::Exposed { path: self.path.clone(), mode });
            }
        }
        Ok(())
    }
}

/// Reads the text file at `path`; `None` if there is nothing at all by that name.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Contents>, FileError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        // Looked at before it is opened: opening a pipe would wait for its writer.
        Ok(_) => return Err(FileError::NotAFile { path: path.to_owned() }),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => {
                    Err(FileError::DanglingLink { path: path.to_owned() })
                }
                // Somebody has made it just now.
                Ok(_) => read(path, limit),
                Err(_) => Ok(None),
            };
        }
        Err(e) => return Err(FileError::io("look at", path)(e)),
    }
    let file = File::open(path).map_err(FileError::io("open", path))?;
    // Of the file that was opened, not of what the name means by now.
    let metadata = file.metadata().map_err(FileError::io("look at", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    let text = String::from_utf8(bytes).map_err(|e| FileError::NotUtf8 {
        path: path.to_owned(),
        at: e.utf8_error().valid_up_to(),
    })?;
    Ok(Some(Contents { text, path: path.to_owned(), metadata }))
}

/// A step of writing a file, in order. Tests make each of them fail or be the last thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Create,
    Write,
    Flush,
    Place,
    FlushFolder,
}

/// Called before each step; an error stands for the step's own.
pub(crate) type Hook<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// Writes `text` to a new private file at `path`, or to nothing: `false` if `path` exists by then.
pub(crate) fn create(path: &Path, text: &str) -> Result<bool, FileError> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|e| {
        FileError::io("find a temporary name beside", path)(io::Error::other(e.to_string()))
    })?;
    let temporary = beside(path, &format!(".{:016x}.tmp", u64::from_le_bytes(unique)));
    // Unlike a rename, a link never replaces what another process created meanwhile.
    match write(path, &temporary, text, &|_| Ok(()), |from, to| fs::hard_link(from, to)) {
        Err(FileError::NotWritten { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// Replaces the file at `path` by `text` as a whole. The caller holds a lock that covers `path`.
pub(crate) fn replace(path: &Path, text: &str, hook: Hook<'_>) -> Result<(), FileError> {
    let temporary = beside(path, ".tmp");
    // Under the lock, one that exists was left by a process that died.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(FileError::io("remove the old", &temporary)(e));
        }
        _ => {}
    }
    write(path, &temporary, text, hook, |from, to| fs::rename(from, to))
}

/// `path` with `suffix` behind its file name: the same folder, so the same disk.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Options for a file that only its owner can use, from the moment it exists.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn write(
    path: &Path,
    temporary: &Path,
    text: &str,
    hook: Hook<'_>,
    place: fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let written = (|| {
        hook(Step::Create)?;
        let mut file = private().create_new(true).open(temporary)?;
        hook(Step::Write)?;
        file.write_all(text.as_bytes())?;
        hook(Step::Flush)?;
        file.sync_all()?;
        hook(Step::Place)?;
        place(temporary, path)
    })();
    // After a rename there is nothing to remove; after anything else nobody needs it.
    let _ = fs::remove_file(temporary);
    written.map_err(|source| FileError::NotWritten { path: path.to_owned(), source })?;
    flush_folder(path, hook)
        .map_err(|source| FileError::NotDurable { path: path.to_owned(), source })
}

/// Makes the folder remember its new entry. Other systems than Unix do so by themselves.
fn flush_folder(path: &Path, hook: Hook<'_>) -> io::Result<()> {
    hook(Step::FlushFolder)?;
    #[cfg(unix)]
    {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell() {
        assert_eq!(shell_quoted(Path::new("/etc/pysock/server.yaml")), "/etc/pysock/server.yaml");
        assert_eq!(shell_quoted(Path::new("/home/o'b/my key")), r"'/home/o'\''b/my key'");
        assert_eq!(shell_quoted(Path::new("-R")), "'./-R'");
    }

    #[test]
    fn creating_never_replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(create(&path, "first").unwrap());
        assert!(!create(&path, "second").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
