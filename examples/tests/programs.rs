//! The examples keep their promises: they run, end well, and are as short as the README says.

use std::{env, fs, path::Path, process::Command};

/// Runs an example, which the same `cargo test` has built, and gives what it prints.
fn run(name: &str) -> String {
    // This test is `target/<profile>/deps/<name>`, the example `target/<profile>/examples/<name>`.
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "run `cargo build --examples` first");
    let output = Command::new(program).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

fn source(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Without comments, blank lines and the permission to print, which is a matter of this workspace.
fn code(source: &str) -> Vec<&str> {
    let lines = source.lines().filter(|line| !line.trim().is_empty());
    lines.filter(|line| !line.trim().starts_with("//") && !line.starts_with("#![")).collect()
}

#[test]
fn a_server_takes_at_most_twelve_lines() {
    for name in ["server.rs", "server_blocking.rs"] {
        let source = source(name);
        let lines = code(&source);
        assert!(lines.len() <= 12, "{name} has {} lines: {lines:#?}", lines.len());
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for name in ["server.rs", "client.rs"] {
        let source = source(name);
        let shown = source.split_once("reason = \"it is what this program is for\")]\n\n").unwrap();
        assert!(readme.contains(shown.1), "the README does not show {name} as it is");
    }
}

#[test]
fn the_quickstart_speaks_the_whole_dialogue() {
    let printed = run("quickstart");
    for line in [
        "server     heard \"Hello, World!\" from shikhar on test",
        "shikhar    heard \"Hello From Server\" from server on test",
        "server     heard \"Hello, World!\" from asha on test",
        "asha       heard \"Hello From Server\" from server on test",
        "asha       heard \"Hello, Asha!\" from shikhar on test",
        "asha       heard \"Nobody else reads this\" from shikhar end to end",
        "shikhar    heard \"Nor this\" from asha end to end",
        "the name belongs to another key",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn two_clients_talk_end_to_end() {
    let printed = run("end_to_end");
    for line in [
        "shikhar has a session with swat, whose key is pysock1",
        "swat heard b\"Hello, swat!\" from shikhar",
        "shikhar heard b\"Hello, shikhar!\" from swat",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn the_custom_loop_speaks_the_dialogue() {
    let printed = run("custom_loop");
    for line in ["server: \"Hello, World!\"", "client: \"Hello From Server\"", "closed"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn many_clients_hear_each_other() {
    let printed = run("many_clients");
    assert_eq!(printed.matches(" heard ").count(), 5, "{printed}");
}
