//! `docs/THREATS.md` names the test behind each of its claims, and `docs/SECURITY-EVIDENCE.md` what else backs them; here each of
//! these is looked up in the sources of all crates, and of the client in Python.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names of the functions marked as tests in a source file.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut marked = false;
    let mut names = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line == "#[tokio::test]" || line.starts_with("#[tokio::test(") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or(line.strip_prefix("fn ")) {
            if let (true, Some((name, _))) = (marked, rest.split_once('(')) {
                names.insert(name);
            }
            marked = false;
        } else if line.starts_with("#[ignore") {
            marked = false;
        } else if let Some(rest) = line.strip_prefix("def test_") {
            let end = rest.find('(').map_or(0, |at| at + "test_".len());
            names.extend(line["def ".len()..].get(..end));
        }
    }
    names
}

/// Everything in backticks that has a `::` in it.
fn references(document: &str) -> Vec<&str> {
    let mut outside = true;
    let mut found = vec![];
    for line in document.lines() {
        if line.starts_with("```") {
            outside = !outside;
        } else if outside {
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.filter(|text| text.contains("::")));
        }
    }
    found
}

/// Where `crate/file` is: `src/` is that of the crate, anything else is among its tests; `interop/` is Python, `fuzz/` a fuzz target.
fn file_of(root: &Path, place: &str) -> Option<PathBuf> {
    let (krate, file) = place.split_once('/')?;
    let folder = match krate {
        "proto" | "std" | "embedded" => root.join(format!("pysock-{krate}")),
        "interop" => return Some(root.join(format!("tests/interop/{file}.py"))),
        "fuzz" => return Some(root.join(format!("fuzz/fuzz_targets/{file}.rs"))),
        _ => return None,
    };
    let folder = if file.starts_with("src/") { folder } else { folder.join("tests") };
    Some(folder.join(format!("{file}.rs")))
}

/// The references of a document that lead nowhere, and why.
fn wrong(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut files = BTreeMap::new();
    let mut wrong = vec![];
    for reference in references(document) {
        let (place, name) = reference.split_once("::").unwrap_or_default();
        if place == "fuzz" {
            // A target is a file, and not a function that is marked.
            if read(&format!("fuzz/{name}")).is_none() {
                wrong.push(format!("{reference}: there is no such fuzz target"));
            }
            continue;
        }
        let source = files.entry(place).or_insert_with(|| read(place));
        match source {
            None => wrong.push(format!("{reference}: there is no such file")),
            Some(source) if !tests_in(source).contains(name) => {
                wrong.push(format!("{reference}: there is no such test in it, or it is ignored"));
            }
            Some(_) => {}
        }
    }
    wrong
}

#[test]
fn every_test_that_the_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(root.join("docs/THREATS.md")).unwrap();
    let read = |place: &str| fs::read_to_string(file_of(root, place)?).ok();
    assert!(references(&document).len() > 100, "the references were not found");
    assert_eq!(wrong(&document, read), Vec::<String>::new());
}

#[test]
fn the_evidence_names_tests_that_are_there_for_every_part_with_claims() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = |name| fs::read_to_string(root.join("docs").join(name)).unwrap();
    let (threats, evidence) = (text("THREATS.md"), text("SECURITY-EVIDENCE.md"));
    let read = |place: &str| fs::read_to_string(file_of(root, place)?).ok();
    assert!(references(&evidence).len() > 20, "the references were not found");
    assert_eq!(wrong(&evidence, read), Vec::<String>::new());
    // The first cell of a row: `2.1: a recording stays secret`, `3.1, 3.2: …`.
    let rows = evidence.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(": "));
    let told: BTreeSet<_> = rows.flat_map(|(parts, _)| parts.split(", ")).collect();
    let mut part = "";
    for line in threats.lines() {
        let heading = line.strip_prefix("## ").or(line.strip_prefix("### "));
        part = heading.and_then(|title| title.split(' ').next()).unwrap_or(part);
        if line.starts_with('|') && !references(line).is_empty() {
            assert!(told.contains(part), "part {part} has claims that the evidence leaves out");
        }
    }
}

#[test]
fn the_document_has_a_row_with_a_test_for_each_of_the_seventeen_holes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(root.join("docs/THREATS.md")).unwrap();
    let rows = |n: usize| {
        let begin = format!("| {n} | ");
        document.lines().filter(move |line| line.starts_with(&begin)).collect::<Vec<_>>()
    };
    for hole in 1..=17 {
        let [row] = rows(hole)[..] else { panic!("hole {hole}: {} rows", rows(hole).len()) };
        assert!(!references(row).is_empty(), "hole {hole} has no test");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_found() {
    let source = "#[test]\nfn there() {}\n\nfn helper() {}\n\
        #[tokio::test(flavor = \"multi_thread\")]\nasync fn also_there() {}\n\
        #[test]\n#[ignore]\nfn asleep() {}\n#[test]\n#[should_panic]\nfn panics() {}\n";
    let read =
        |place: &str| ["proto/file", "fuzz/there"].contains(&place).then(|| source.to_owned());
    let good =
        "`proto/file::there`, `proto/file::also_there`, `proto/file::panics` and `fuzz::there`";
    assert_eq!(wrong(good, read), Vec::<String>::new());
    for bad in [
        "proto/file::helper",
        "proto/file::asleep",
        "proto/file::gone",
        "std/file::there",
        "fuzz::gone",
        "a::b",
    ] {
        let text = format!("a table | `proto/file::there`, `{bad}` |");
        assert_eq!(wrong(&text, read).len(), 1, "{bad}");
    }
    let python = "    def test_there(self) -> None:\n    def helper(self) -> None:\n";
    assert_eq!(tests_in(python), BTreeSet::from(["test_there"]));
    let root = Path::new("/r");
    let path = |place| file_of(root, place).map(|path| path.to_string_lossy().into_owned());
    assert_eq!(path("std/relay").unwrap(), "/r/pysock-std/tests/relay.rs");
    assert_eq!(path("proto/src/a/tests").unwrap(), "/r/pysock-proto/src/a/tests.rs");
    assert_eq!(path("interop/test_peers").unwrap(), "/r/tests/interop/test_peers.py");
    assert_eq!(path("fuzz/link").unwrap(), "/r/fuzz/fuzz_targets/link.rs");
    assert_eq!(path("other/relay"), None);
}
