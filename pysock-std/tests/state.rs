//! The state file as programs and accidents treat it.

use std::{fs, path::Path, process::Command, thread};

use pysock_proto::{Name, PublicKey};
use pysock_std::{
    FileError,
    state::{AlreadyBound, MAX_PEERS, NotPinned, State, StateError, StateFile},
};

fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn fill(path: &Path) -> State {
    let file = StateFile::open(path).unwrap();
    file.update(|s| {
        s.pin_server("LocalHost", 1234, key(1), &[1, 2])?;
        s.pin_server("[::1]", 1234, key(2), &[])?;
        s.bind_name(name("kitchen"), key(3), 1_764_000_000)?;
        s.use_invitation([5; 8], key(6))?;
        s.pin_peer(name("cellar"), key(4))
    })
    .unwrap()
    .unwrap();
    file.read().unwrap()
}

#[test]
fn what_is_remembered_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    assert_eq!(StateFile::open(&path).unwrap().read().unwrap(), State::default());
    assert!(!path.exists(), "opening creates nothing");
    let state = fill(&path);
    assert_eq!(state.server("localhost", 1234).unwrap().suites, [1, 2]);
    assert_eq!(state.server("::1", 1234).unwrap().key, key(2));
    assert_eq!(state.name_of(&key(3)), Some(name("kitchen")));
    assert_eq!(state.peers[&name("cellar")], key(4));
    assert_eq!(state.invitations[&[5; 8]], key(6));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("pysock-state 1\nserver [::1]:1234 pysock1"), "{text}");
}

#[test]
fn nothing_is_ever_rebound() {
    let mut state = State::default();
    for k in [1, 2] {
        let expected = |result: Result<(), AlreadyBound>| match k {
            1 => assert!(result.is_ok()),
            _ => assert_eq!(result.unwrap_err().key, key(1)),
        };
        expected(state.pin_server("a", 1, key(k), &[1]));
        expected(state.bind_name(name("a"), key(k), 0));
        expected(state.pin_peer(name("a"), key(k)).map_err(|error| match error {
            NotPinned::OtherKey(bound) => bound,
            other => panic!("{other}"),
        }));
        expected(state.use_invitation([0; 8], key(k)));
    }
    assert_eq!(state.server("a", 1).unwrap().key, key(1));
}

#[test]
fn pinned_peers_are_found_forgotten_and_replaced_only_explicitly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let file = StateFile::open(&path).unwrap();
    let (cellar, attic, vault) = (name("cellar"), name("attic"), name("vault"));
    file.update(|s| s.pin_peer(vault, key(4))).unwrap().unwrap();
    let state = file.read().unwrap();
    assert_eq!((state.peer(&cellar), state.peer(&attic)), (Some(key(4)), None));
    assert_eq!(state.peer_label(&key(4)), Some(cellar), "the first of its labels");
    assert_eq!(state.peer_label(&key(5)), None);

    let refused = file.update(|s| s.pin_peer(cellar, key(5))).unwrap().unwrap_err();
    assert_eq!(refused, NotPinned::OtherKey(AlreadyBound { key: key(4) }));
    assert!(refused.to_string().contains(&key(4).to_string()), "{refused}");
    assert_eq!(file.read().unwrap(), state);

    assert_eq!(file.update(|s| s.replace_peer(&attic, key(5))).unwrap(), None);
    assert_eq!(file.read().unwrap(), state, "replacing is no way to pin");
    assert_eq!(file.update(|s| s.replace_peer(&cellar, key(5))).unwrap(), Some(key(4)));
    let state = file.read().unwrap();
    assert_eq!(state.peer(&cellar), Some(key(5)));
    assert_eq!(state.peer_label(&key(4)), Some(vault));

    assert_eq!(file.update(|s| s.forget_peer(&attic)).unwrap(), None);
    assert_eq!(file.update(|s| s.forget_peer(&cellar)).unwrap(), Some(key(5)));
    let state = file.read().unwrap();
    assert_eq!((state.peer(&cellar), state.peer_label(&key(5))), (None, None));
}

#[test]
fn pinned_peers_are_bounded() {
    let mut state = State::default();
    for n in 0..MAX_PEERS {
        state.pin_peer(name(&n.to_string()), key(1)).unwrap();
    }
    let full = state.pin_peer(name("more"), key(1)).unwrap_err();
    assert_eq!(full, NotPinned::Full);
    assert!(full.to_string().contains("65536") && full.to_string().contains("remove"), "{full}");
    state.pin_peer(name("0"), key(1)).expect("it is pinned already");
    assert!(matches!(state.pin_peer(name("0"), key(2)), Err(NotPinned::OtherKey(_))));
    assert_eq!(state.replace_peer(&name("0"), key(2)), Some(key(1)));
    state.forget_peer(&name("0"));
    state.pin_peer(name("more"), key(1)).expect("there is room again");
    // As many as may be pinned can be stored, too, and the labels may be as long as they like.
    state.peers.clear();
    for n in 0..MAX_PEERS {
        state.pin_peer(name(&format!("{n:032}")), key(1)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::open(folder.path().join("state")).unwrap();
    file.update(|s| s.clone_from(&state)).unwrap();
    assert_eq!(file.read().unwrap(), state);
}

#[test]
fn a_state_file_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = StateFile::open(&path).expect_err("it is cut");
        assert!(matches!(error, StateError::Corrupt { .. }), "{length}: {error}");
        let update = StateFile::open(folder.path().join("none")).map(drop);
        assert!(update.is_ok(), "a missing one is empty");
        assert_eq!(fs::read(&path).unwrap(), &whole[..length], "and it is left as it is");
    }
}

#[test]
fn a_damaged_state_file_stops_an_update_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let file = StateFile::open(&path).unwrap();
    fs::write(&path, "").unwrap();
    let error = file.update(|s| s.names.clear()).expect_err("zero bytes are not an empty state");
    assert!(error.to_string().contains("Restore it from a backup"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn an_edited_byte_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut edited = whole.clone();
        edited[at] ^= 1;
        fs::write(&path, &edited).unwrap();
        assert!(StateFile::open(&path).is_err(), "byte {at}");
    }
    for appended in ["\n", "end 0 -\n", "x"] {
        fs::write(&path, [&whole[..], appended.as_bytes()].concat()).unwrap();
        assert!(StateFile::open(&path).is_err(), "{appended:?} at the end");
    }
}

#[test]
fn a_newer_format_is_not_called_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, "pysock-state 2\nwho knows\n").unwrap();
    assert!(matches!(StateFile::open(&path), Err(StateError::NewerFormat { version: 2, .. })));
}

#[test]
fn what_would_not_read_back_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let old = fill(&path);
    let file = StateFile::open(&path).unwrap();
    for address in ["a b", "a\nname x", "\u{2028}"] {
        let error = file.update(|s| s.pin_server(address, 1, key(9), &[1])).unwrap_err();
        assert!(matches!(error, StateError::Unwritable { .. }), "{error}");
        assert_eq!(file.read().unwrap(), old);
    }
}

#[test]
fn a_folder_is_not_a_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = StateFile::open(folder.path()).unwrap_err();
    assert!(matches!(error, StateError::File(FileError::NotAFile { .. })), "{error}");
}

#[test]
fn many_threads_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    thread::scope(|scope| {
        for t in 0..16u8 {
            let path = &path;
            scope.spawn(move || {
                // Each with a file of its own, as another process would have.
                let file = StateFile::open(path).unwrap();
                for i in 0..10 {
                    let name = name(&format!("t{t}-{i}"));
                    file.update(|s| s.bind_name(name, key(t), 0)).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!(StateFile::open(&path).unwrap().read().unwrap().names.len(), 160);
}

/// Not a test by itself: the other process of the tests below.
#[test]
fn other_process() {
    let (Some(path), Ok(prefix)) =
        (std::env::var_os("PYSOCK_TEST_STATE"), std::env::var("PYSOCK_TEST_PREFIX"))
    else {
        return;
    };
    let file = StateFile::open(path).unwrap();
    for i in 0..40 {
        file.update(|s| s.bind_name(name(&format!("{prefix}{i}")), key(1), 0)).unwrap().unwrap();
    }
}

#[test]
fn two_processes_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let children = ["a", "b"].map(|prefix| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process"])
            .env("PYSOCK_TEST_STATE", &path)
            .env("PYSOCK_TEST_PREFIX", prefix)
            .spawn()
            .unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(StateFile::open(&path).unwrap().read().unwrap().names.len(), 80);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn hole_14_the_state_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fill(&path);
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn a_link_stays_a_link_and_a_dangling_one_is_not_an_empty_state() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("state"), folder.path().join("link"));
        symlink(&path, &link).unwrap();
        let error = StateFile::open(&link).unwrap_err();
        assert!(matches!(error, StateError::File(FileError::DanglingLink { .. })), "{error}");
        fill(&path);
        let file = StateFile::open(&link).unwrap();
        file.update(|s| s.bind_name(name("more"), key(9), 0)).unwrap().unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert!(!folder.path().join("link.lock").exists(), "both names share one lock");
        assert_eq!(StateFile::open(&path).unwrap().read().unwrap().names.len(), 2);
    }

    /// A real limit on the size of files, so that the kernel itself cuts a write short: once as an
    /// error, once as the death of the process.
    #[test]
    fn a_write_cut_short_by_the_kernel_leaves_the_old_state() {
        for ignore in ["trap '' XFSZ;", ""] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state");
            let old = fill(&path);
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!(
                    "{ignore} ulimit -c 0; ulimit -f 2; exec \"$0\" --exact other_process"
                ))
                .arg(std::env::current_exe().unwrap())
                .env("PYSOCK_TEST_STATE", &path)
                .env("PYSOCK_TEST_PREFIX", "n")
                .output()
                .unwrap();
            assert!(!output.status.success(), "{output:?}");
            let said = String::from_utf8_lossy(&output.stdout).contains("NotWritten");
            assert_eq!(said, !ignore.is_empty(), "{output:?}");
            let after = StateFile::open(&path).unwrap().read().unwrap();
            assert!(after.names.len() > old.names.len(), "it got some way");
            assert!(after.names.len() < 41, "but not to the end");
            let left = folder.path().join("state.tmp");
            assert_eq!(left.exists(), ignore.is_empty(), "only the dead leave something behind");
            let file = StateFile::open(&path).unwrap();
            file.update(|s| s.names.clear()).unwrap();
            assert!(!left.exists(), "and the next update clears it away");
        }
    }
}
