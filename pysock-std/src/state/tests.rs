use std::{io, process::Command};

use super::*;

const STEPS: [Step; 5] = [Step::Create, Step::Write, Step::Flush, Step::Place, Step::FlushFolder];

fn filled(path: &Path, name: &str) -> State {
    let file = StateFile::open(path).unwrap();
    file.update(|s| s.bind_name(name.parse().unwrap(), PublicKey([1; 32]), 5)).unwrap().unwrap();
    file.read().unwrap()
}

fn names(state: &State) -> Vec<String> {
    state.names.keys().map(|name| name.to_string()).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    files
}

#[test]
fn an_error_at_any_step_leaves_the_old_state_or_the_new() {
    for failing in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let old = filled(&path, "old");
        let fault: Fault = Box::new(move |step| match step == failing {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        });
        let file = StateFile { path: path.clone(), fault: Some(fault) };
        let error = file
            .update(|s| s.bind_name("new".parse().unwrap(), PublicKey([2; 32]), 6))
            .expect_err("the disk is full");
        let after = StateFile::open(&path).unwrap().read().unwrap();
        match error {
            StateError::File(FileError::NotDurable { .. }) => {
                assert_eq!((failing, names(&after).len()), (Step::FlushFolder, 2));
            }
            StateError::File(FileError::NotWritten { source, .. }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                assert_eq!(after, old, "{failing:?}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(files(folder.path()), ["state", "state.lock"], "{failing:?}");
    }
}

/// Not a test by itself: the process that dies in the test below.
#[test]
fn dies_where_it_is_told() {
    let (Some(path), Ok(fatal)) =
        (std::env::var_os("PYSOCK_TEST_STATE"), std::env::var("PYSOCK_TEST_STEP"))
    else {
        return;
    };
    let fault: Fault =
        Box::new(
            move |step| {
                if format!("{step:?}") == fatal { std::process::abort() } else { Ok(()) }
            },
        );
    let file = StateFile { path: path.into(), fault: Some(fault) };
    let _ = file.update(|s| s.bind_name("new".parse().unwrap(), PublicKey([2; 32]), 6));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_state_or_the_new() {
    for fatal in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let old = filled(&path, "old");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::tests::dies_where_it_is_told"])
            .env("PYSOCK_TEST_STATE", &path)
            .env("PYSOCK_TEST_STEP", format!("{fatal:?}"))
            .output()
            .unwrap();
        assert!(!child.status.success(), "it was to die at {fatal:?}");
        let after = StateFile::open(&path).unwrap().read().unwrap();
        if fatal == Step::FlushFolder {
            assert_eq!(names(&after), ["new", "old"]);
        } else {
            assert_eq!(after, old, "{fatal:?}");
        }
        // The next update takes the lock of the dead and clears away what it left.
        filled(&path, "later");
        assert_eq!(files(folder.path()), ["state", "state.lock"], "{fatal:?}");
    }
}
