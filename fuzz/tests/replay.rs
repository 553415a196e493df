//! The corpus, once more, on whatever toolchain runs the other tests. A file `artifacts/NAME/…` that a fuzzer has left
//! there is replayed too, so that a finding can be looked at without it.
#![allow(clippy::print_stderr, reason = "which input fails has to be seen")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pysock_fuzz::{TARGETS, seeds};

/// The corpus is replayed with every change: it stays small.
const LARGEST: u64 = 200 * 1024;
/// An input that takes longer, unoptimised and on a busy machine, would stop a fuzzer.
const LONGEST: Duration = Duration::from_secs(20);

fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpus_passes() {
    let mut failed = vec![];
    for (name, target) in TARGETS {
        for path in files("corpus", name).into_iter().chain(files("artifacts", name)) {
            let bytes = fs::read(&path).expect("a file of the corpus");
            let began = Instant::now();
            let passed = catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_ok();
            if !passed || began.elapsed() > LONGEST {
                eprintln!("{name} fails, or takes too long: {}", path.display());
                failed.push(path);
            }
        }
        // Nothing at all, and more than there is.
        target(&[]);
        target(&[0xff; 600]);
    }
    pysock_fuzz::files::clean_up();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_has_a_corpus_and_all_of_it_is_small() {
    let mut bytes = 0;
    for (name, _) in TARGETS {
        let files = files("corpus", name);
        assert!(!files.is_empty(), "{name} has no corpus: run the example `seeds`");
        bytes += files.iter().map(|file| file.metadata().expect("a file").len()).sum::<u64>();
    }
    assert!(bytes < LARGEST, "{bytes} bytes are too many to be replayed each time");
}

#[test]
fn the_seeds_in_the_corpus_are_those_that_are_made() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, name, bytes) in seeds::all() {
        let kept = fs::read(here.join("corpus").join(target).join(&name));
        assert_eq!(kept.ok(), Some(bytes), "{target}/{name}: run the example `seeds` again");
    }
    let dictionary = fs::read_to_string(here.join("pysock.dict")).expect("a dictionary");
    assert_eq!(dictionary, seeds::dictionary(), "run the example `seeds` again");
}

/// Each target is a binary, and each binary a target.
#[test]
fn every_target_can_be_fuzzed() {
    let mut wrappers: Vec<String> = files("fuzz_targets", "")
        .iter()
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let mut targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    wrappers.sort();
    targets.sort();
    assert_eq!(wrappers, targets);
}
