//! The `pysock` program: what goes end to end between two clients, and the chat.
#![cfg(feature = "cli")]
#![allow(dead_code, reason = "the module `program` is shared, and this file uses a part of it")]

mod program;

use std::{
    io::Write,
    path::Path,
    process::{ChildStdin, Stdio},
};

use program::*;
use serde_json::Value;
use tempfile::TempDir;

/// A chat whose lines a test types.
struct Chat {
    running: Running,
    keyboard: Option<ChildStdin>,
}

impl Chat {
    fn start(folder: &TempDir, name: &str, config: &str, with: &str, at: &str) -> Self {
        let args = ["chat", with, at, "--name", name, "--config", config];
        let mut child = pysock(folder.path(), &args).stdin(Stdio::piped()).spawn().unwrap();
        let keyboard = child.stdin.take();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Chat { running: Running { child, stdout, stderr }, keyboard }
    }

    fn types(&mut self, line: &str) {
        self.keyboard.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hears(&self, line: &str) {
        assert_eq!(self.running.line(), line);
    }

    fn says(&self, text: &str) -> String {
        self.running.says(text)
    }

    /// Both fingerprints of the header: the own one, and the other one's.
    fn head(&self) -> (String, String) {
        self.says("end to end with");
        let print = |line: String| line.trim().split_once("  ").unwrap().1.trim().to_owned();
        (print(self.says("  you")), print(self.says("  ")))
    }

    fn leaves(mut self) -> i32 {
        drop(self.keyboard.take());
        self.running.end()
    }
}

/// A server that lets whoever comes first have a name, as long as it is there.
fn serve_open(folder: &TempDir) -> (Running, String) {
    std::fs::write(folder.path().join("server.yaml"), "names: open\n").unwrap();
    serve_test(folder)
}

fn print_of(folder: &Path, config: &str) -> String {
    let shown = run(folder, &["fingerprint", "--json", "--config", config]).code(0);
    let shown: Value = serde_json::from_str(shown.text()).unwrap();
    shown["fingerprint"].as_str().unwrap().to_owned()
}

fn key_of(folder: &Path, config: &str) -> String {
    run(folder, &["pubkey", config]).code(0).text().trim().to_owned()
}

#[test]
fn two_people_talk_and_can_compare_what_they_see() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.says("swat is not there yet");
    // Typed too early, it waits.
    a.types("are you there?");
    let mut b = Chat::start(&folder, "swat", "b.yaml", "shikhar", &at);
    let (a_own, a_other) = a.head();
    let (b_own, b_other) = b.head();
    assert_eq!(a_own, print_of(folder.path(), "a.yaml"));
    assert_eq!(b_own, print_of(folder.path(), "b.yaml"));
    assert_eq!((a_own, a_other), (b_other, b_own));
    b.hears("shikhar: are you there?");
    b.types("yes");
    a.hears("swat: yes");
    for n in 0..20 {
        a.types(&format!("ping {n}"));
        b.hears(&format!("shikhar: ping {n}"));
        b.types(&format!("pong {n}"));
        a.hears(&format!("swat: pong {n}"));
    }
    // Nothing that the other side types steers this terminal, or forges a line.
    a.types("\u{1b}[2Jx\r shikhar: forged\u{202e}");
    b.hears(r"shikhar: \u{1b}[2Jx\r shikhar: forged\u{202e}");
    a.types("/quit");
    assert_eq!(a.running.end(), 0);
    b.says("shikhar has left");
    b.types("anybody?");
    b.says("not sent, shikhar is not there: anybody?");
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.head();
    b.says("shikhar is back");
    a.types("here I am");
    b.hears("shikhar: here I am");
    b.types("good");
    a.hears("swat: good");
    assert_eq!(a.leaves(), 0);
    assert_eq!(b.leaves(), 5, "one line was not sent");
}

#[test]
fn a_changed_key_is_refused_on_both_sides_until_it_is_replaced_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_open(&folder);
    let (a, b) = (
        Chat::start(&folder, "shikhar", "a.yaml", "swat", &at),
        Chat::start(&folder, "swat", "old.yaml", "shikhar", &at),
    );
    a.head();
    b.head();
    assert_eq!((a.leaves(), b.leaves()), (0, 0));
    let old = print_of(path, "old.yaml");

    // Another key under the same name. Whichever side comes first, nothing gets through.
    let waiting = Chat::start(&folder, "swat", "new.yaml", "shikhar", &at);
    waiting.says("is not there yet");
    let args = ["chat", "swat", &at, "--name", "shikhar", "--config", "a.yaml"];
    let refused = run_with(path, &args, Some(b"secret\n".to_vec())).code(4);
    let new = print_of(path, "new.yaml");
    for text in ["THE KEY OF swat HAS CHANGED", &old, &new, "Nothing was sent to the new key"] {
        assert!(refused.stderr.contains(text), "{text}: {refused:?}");
    }
    drop(waiting);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.says("swat is not there yet");
    a.types("secret");
    let b = Chat::start(&folder, "swat", "new.yaml", "shikhar", &at);
    a.says("THE KEY OF swat HAS CHANGED");
    assert_eq!(a.running.end(), 4);
    assert!(b.running.stdout.try_recv().is_err(), "nothing was sent");
    // Whether it is told depends on whose handshake was first; it must be gone before the key is used again.
    drop(b);

    let told: Vec<String> = told(&refused, "pysock trust replace");
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    run(path, &told).code(0);
    let b = Chat::start(&folder, "swat", "new.yaml", "shikhar", &at);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    assert_eq!(a.head().1, new);
    b.head();
    a.types("now it is you");
    b.hears("shikhar: now it is you");
    assert_eq!((a.leaves(), b.leaves()), (0, 0));
}

#[test]
fn people_are_asked_about_new_keys_with_both_fingerprints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_test(&folder);
    std::fs::write(path.join("a.yaml"), "peers: ask\n").unwrap();
    for (answers, code) in [(&["perhaps", "no"] as &[&str], 4), (&["YES"], 0)] {
        let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
        a.says("swat is not there yet");
        // A line that was typed before the question is no answer to it.
        a.types("hello");
        let b = Chat::start(&folder, "swat", "b.yaml", "shikhar", &at);
        a.says("the key of swat is not known");
        let (other, own) = (a.says("  fingerprint  "), a.says("  your own     "));
        assert!(other.ends_with(&print_of(path, "b.yaml")), "{other}");
        assert!(own.ends_with(&print_of(path, "a.yaml")), "{own}");
        a.says("(yes/no)?");
        for answer in answers {
            a.types(answer);
        }
        if code == 0 {
            a.head();
            b.hears("shikhar: hello");
            assert_eq!(b.leaves(), 0);
            a.says("swat has left");
            assert_eq!(a.leaves(), 0);
        } else {
            assert_eq!(a.running.end(), code);
            assert!(b.running.stdout.try_recv().is_err(), "nothing was sent");
        }
    }
    let pinned = run(path, &["trust", "list", "--state", "a.state"]).code(0);
    assert!(pinned.text().contains(&key_of(path, "b.yaml")), "{pinned:?}");
}

#[test]
fn input_from_a_pipe_waits_for_its_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.types("from");
    a.types("a pipe");
    drop(a.keyboard.take());
    a.says("swat is not there yet");
    let b = Chat::start(&folder, "swat", "b.yaml", "shikhar", &at);
    b.hears("shikhar: from");
    b.hears("shikhar: a pipe");
    assert_eq!(a.running.end(), 0);
    b.says("shikhar has left");
    assert_eq!(b.leaves(), 0);
    // With nothing to say, there is nothing to wait for.
    let silent = ["chat", "swat", &at, "--name", "shikhar", "--config", "a.yaml"];
    run(folder.path(), &silent).code(0);
}

#[cfg(unix)]
#[test]
fn waiting_ends_politely() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.says("swat is not there yet");
    let keyboard = a.keyboard.take();
    assert_eq!(a.running.terminate(), 0);
    drop(keyboard);
    let mut a = Chat::start(&folder, "shikhar", "a.yaml", "swat", &at);
    a.says("swat is not there yet");
    a.types("/quit");
    assert_eq!(a.running.end(), 0);
}

#[test]
fn send_and_request_are_end_to_end_unless_a_channel_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_test(&folder);
    let b = listen(&folder, "b", &at, &["--reply", "pong"]);
    let a = client("a", "a.yaml", &at);
    let sent = run(path, &with(&["send", "--to", "b", "hello b"], &a)).code(0);
    assert!(sent.stderr.contains("sent 7 bytes to b, end to end; it has confirmed"), "{sent:?}");
    assert_eq!(b.line(), "[end to end] a: hello b");
    let asked = run(path, &with(&["request", "--to", "b", "ping"], &a)).code(0);
    assert_eq!((asked.text(), &*b.line()), ("pong", "[end to end] a: ping"));
    run(path, &with(&["send", "--channel", "test", "--to", "b", "readable"], &a)).code(0);
    assert_eq!(b.line(), "[test] a: readable");
    let key = key_of(path, "b.yaml");
    run(path, &with(&["send", "--to", &key, "by key"], &a)).code(0);
    assert_eq!(b.line(), "[end to end] a: by key");
    // A forgotten quote, or a habit, does not send it through the server.
    let two = run(path, &with(&["send", "test", "--to", "b", "secret"], &a)).code(2);
    assert!(two.stderr.contains("--channel NAME --to NAME"), "{two:?}");
    assert!(b.stdout.try_recv().is_err());

    let nobody = run(path, &with(&["send", "--to", "nobody", "?"], &a)).code(5);
    assert!(nobody.stderr.contains("nobody did not get it: no such client"), "{nobody:?}");
    run(path, &with(&["request", "--to", "nobody", "?"], &a)).code(5);
    std::fs::write(path.join("pin.yaml"), "peers: pin\n").unwrap();
    for command in ["send", "request"] {
        let strict = with(&[command, "--to", "b", "secret"], &client("c", "pin.yaml", &at));
        let unknown = run(path, &strict).code(4);
        assert!(unknown.stderr.contains("pysock trust add b pysock1"), "{unknown:?}");
    }
    run(
        path,
        &with(&["trust", "replace", "b"], &[&key_of(path, "pin.yaml"), "--state", "a.state"]),
    )
    .code(0);
    let changed = run(path, &with(&["send", "--to", "b", "secret"], &a)).code(4);
    assert!(changed.stderr.contains("pysock trust replace b"), "{changed:?}");
    assert!(b.stdout.try_recv().is_err());
}

#[test]
fn files_go_end_to_end_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_test(&folder);
    // Nobody here takes such a message as a whole.
    std::fs::write(path.join("b.yaml"), "max_message: 100000\n").unwrap();
    let file = std::fs::File::create(path.join("got")).unwrap();
    let args = with(&["listen", "--raw", "--count", "2"], &client("b", "b.yaml", &at));
    let mut child = pysock(path, &args).stdout(file).spawn().unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let b = Running { child, stdout: std::sync::mpsc::channel().1, stderr };
    b.says("b is listening");
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let send = with(&["send", "--json", "--to", "b"], &client("a", "a.yaml", &at));
    let sent = run_with(path, &send, Some(data.clone())).code(0);
    let sent: Value = serde_json::from_str(sent.text()).unwrap();
    assert_eq!(sent, serde_json::json!({ "sent": 3_000_000, "to": "b", "end_to_end": true }));
    run_with(path, &send, Some(b"end".to_vec())).code(0);
    assert_eq!(b.end(), 0);
    let got = std::fs::read(path.join("got")).unwrap();
    assert!(got == [&data[..], b"end"].concat(), "{} bytes arrived differently", got.len());
}

#[test]
fn json_says_what_came_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_test(&folder);
    let args = with(&["listen", "--json", "--count", "1"], &client("b", "b.yaml", &at));
    let b = Running::start(path, &args);
    b.says("b is listening");
    run(path, &with(&["send", "--to", "b", "hello"], &client("a", "a.yaml", &at))).code(0);
    let message: Value = serde_json::from_str(&b.line()).unwrap();
    assert_eq!((&message["end_to_end"], &message["channel"]), (&true.into(), &Value::Null));
    assert_eq!((&message["sender"], &message["text"]), (&"a".into(), &"hello".into()));
    assert_eq!(message["key"], key_of(path, "a.yaml"));
    assert_eq!(b.end(), 0);
}
