//! The examples keep their promises: they run, end well, and are as short as the README says.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use pysock_std::{
    Server,
    config::{ServerConfig, new_secret_key},
};

/// An example, which the same `cargo test` has built.
fn program(name: &str) -> Command {
    // This test is `target/<profile>/deps/<name>`, the example `target/<profile>/examples/<name>`.
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "run `cargo build --examples` first");
    Command::new(program)
}

/// Runs an example, and gives what it prints.
fn run(name: &str) -> String {
    let output = program(name).output().unwrap();
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
    for name in ["server.rs", "client.rs", "embedded.rs"] {
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
fn a_firmware_keeps_its_keys_and_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::from_config(ServerConfig::new(new_secret_key().unwrap()));
    let server = runtime.block_on(server.bind("127.0.0.1:0")).unwrap();
    let mut test = server.create_channel("test").unwrap();
    let start = || {
        let mut firmware = program("embedded");
        firmware.current_dir(&folder).arg(server.address().to_string()).stdout(Stdio::piped());
        firmware.spawn().unwrap()
    };
    let mut keys = vec![];
    for contact in ["first contact: true\n", ""] {
        let firmware = start();
        let message = runtime.block_on(test.listen()).unwrap();
        assert_eq!(message.text().unwrap(), "21.5");
        keys.push(*message.sender().key());
        runtime.block_on(server.send("test", message.sender(), "Hello From Server")).unwrap();
        let output = firmware.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let rest = "sent: Ok(())\nheard Ok(\"Hello From Server\")\n";
        assert!(printed.starts_with(&format!("{contact}{rest}over: Closed(")), "{printed}");
        assert!(output.status.success());
    }
    assert_eq!(keys[0], keys[1], "the key was made once");
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

#[test]
fn three_chat_in_a_group() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ServerConfig::new(new_secret_key().unwrap());
    let server = runtime.block_on(Server::from_config(config).bind("127.0.0.1:0")).unwrap();
    let start = |names: &[&str]| {
        let mut chat = program("group_chat");
        chat.args(names).env("PYSOCK_SERVER", server.address().to_string());
        let mut chat = chat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(chat.stdout.take().unwrap()).lines().map(Result::unwrap);
        (chat, lines)
    };
    let mut invited = ["bob", "carol"].map(|name| {
        let (chat, mut lines) = start(&[name]);
        assert_eq!(lines.next().unwrap(), format!("{name} waits to be invited"));
        (chat, lines)
    });
    let (mut alice, mut heard) = start(&["alice", "bob", "carol"]);
    assert_eq!(heard.next().unwrap(), "added 2 of 2");
    assert!(heard.any(|line| line.starts_with("alice is in chat with ")));
    alice.stdin.as_mut().unwrap().write_all(b"Hello, band!\n").unwrap();
    for (_, lines) in &mut invited {
        assert!(lines.any(|line| line == "alice: Hello, band!"));
    }
    let [(mut bob, _), (mut carol, mut lines)] = invited;
    drop(bob.stdin.take());
    assert!(bob.wait().unwrap().success());
    assert!(heard.any(|line| line == "bob has left"));
    drop(alice.stdin.take());
    assert!(alice.wait().unwrap().success());
    assert!(lines.any(|line| line == "Over(Dissolved)"));
    drop(carol.stdin.take());
    assert!(carol.wait().unwrap().success());
}
