//! The `pysock` program: real processes that talk over loopback.
#![cfg(feature = "cli")]

mod program;

use std::{
    io::Read,
    sync::mpsc,
    time::{Duration, Instant},
};

use program::*;
use serde_json::Value;

#[test]
fn two_programs_exchange_messages_and_requests() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at) = serve(folder.path(), &["--channel", "test", "--reply", "from the server"]);
    let b = listen(&folder, "b", &at, &["--reply", "pong"]);
    let path = folder.path();
    let a = client("a", "a.yaml", &at);
    let sent = run(path, &with(&["send", "test", "hello"], &a)).code(0);
    assert!(sent.stderr.contains("sent 5 bytes to the server"), "{sent:?}");
    assert_eq!(server.line(), "[test] a: hello");
    run(path, &with(&["send", "--channel", "test", "--to", "b", "hello b"], &a)).code(0);
    assert_eq!(b.line(), "[test] a: hello b");
    run(path, &with(&["send", "test", "--all", "hello all"], &a)).code(0);
    assert_eq!(b.line(), "[test] a: hello all");
    let asked =
        run(path, &with(&["request", "--channel", "test", "--to", "b", "ping"], &a)).code(0);
    assert_eq!(asked.text(), "pong");
    assert_eq!(b.line(), "[test] a: ping");
    let asked = run(path, &with(&["request", "test", "ping"], &a)).code(0);
    assert_eq!(asked.text(), "from the server");

    let who = run(path, &with(&["clients", "--json"], &a)).code(0);
    let names: Vec<Value> = who.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(names[0]["name"], "b");
    assert_eq!(names[1]["self"], true);
    let key = names[0]["key"].as_str().unwrap();
    run(path, &with(&["send", "--channel", "test", "--to", key, "by key"], &a)).code(0);
    assert_eq!(b.line(), "[test] a: ping".replace("ping", "by key"));

    let lost = run(path, &with(&["send", "--channel", "test", "--to", "nobody", "?"], &a)).code(5);
    assert!(lost.stderr.contains("pysock: nobody did not get it: no such client"), "{lost:?}");
    let lost = run(path, &with(&["send", "nowhere", "?"], &a)).code(5);
    assert!(lost.stderr.contains("no channel \"nowhere\""), "{lost:?}");
}

#[test]
fn requests_that_nobody_answers_end_with_5() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let asked =
        run(folder.path(), &with(&["request", "test", "ping"], &client("a", "a.yaml", &at)));
    assert!(asked.code(5).stderr.contains("nobody answers requests"));
}

#[test]
fn listening_ends_after_the_count_and_echoes() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let b = listen(&folder, "b", &at, &["--count", "1", "--echo"]);
    let ask =
        with(&["request", "--channel", "test", "--to", "b", "-"], &client("a", "a.yaml", &at));
    let asked = run_with(folder.path(), &ask, Some(vec![0, 255, 10])).code(0);
    assert_eq!(asked.stdout, [0, 255, 10], "into a pipe a reply goes as it is");
    assert_eq!(b.line(), r"[test] a: \u{0}\xff\n");
    assert_eq!(b.end(), 0);
}

#[test]
fn a_name_is_refused_to_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let _b = listen(&folder, "b", &at, &[]);
    let thief =
        run(folder.path(), &with(&["send", "test", "I am b"], &client("b", "thief.yaml", &at)))
            .code(4);
    let why =
        "pysock: the server refused \"b\": the name belongs to another key; choose another name";
    assert!(thief.stderr.contains(why), "{thief:?}");
}

#[test]
fn a_client_and_its_server_recognise_each_other_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (server, at) = serve_test(&folder);
    let send = with(&["send", "test", "hello"], &client("a", "a.yaml", &at));
    let first = run(path, &send).code(0);
    assert!(first.stderr.contains("created a.yaml"), "{first:?}");
    assert_eq!(server.line(), "[test] a: hello");
    let known = run(path, &["known", "--config", "a.yaml"]).code(0);
    assert!(known.text().contains(&at), "{known:?}");
    drop(server);
    let server = Running::start(path, &["serve", "--listen", &at, "--channel", "test"]);
    server.says("listening on");
    let again = run(path, &send).code(0);
    assert!(!again.stderr.contains("created"), "{again:?}");
    assert_eq!(server.line(), "[test] a: hello");
}

#[test]
fn a_changed_server_key_is_refused_until_it_is_forgotten_as_told() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = ours.path().join("a folder");
    std::fs::create_dir(&folder).unwrap();
    let (server, at) = serve_test(&ours);
    let config = folder.join("a.yaml");
    let send = with(&["send", "test", "secret"], &client("a", config.to_str().unwrap(), &at));
    run(ours.path(), &send).code(0);
    assert_eq!(server.line(), "[test] a: secret");
    let old = run(ours.path(), &["pubkey", "--fingerprint", "server.yaml"]).code(0);
    drop(server);
    let args = ["serve", "--listen", &at, "--channel", "test"];
    let other = Running::start(theirs.path(), &args);
    other.says("listening on");
    let new = run(theirs.path(), &["pubkey", "--fingerprint", "server.yaml"]).code(0);

    let refused = run(ours.path(), &send).code(4);
    for text in ["HAS CHANGED", old.text().trim(), new.text().trim(), "Nothing was sent"] {
        assert!(refused.stderr.contains(text), "{text}: {refused:?}");
    }
    let told = told(&refused, "pysock forget ");
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let forgot = run(ours.path(), &told).code(0);
    assert!(forgot.text().contains(&format!("forgot {at}")), "{forgot:?}");
    assert!(forgot.text().contains(old.text().trim()), "{forgot:?}");
    let nothing = run(ours.path(), &told).code(1);
    assert!(nothing.stderr.contains("does not remember"), "{nothing:?}");
    run(ours.path(), &send).code(0);
    // The first line that the other server ever got: before, nothing was sent to it.
    assert_eq!(other.line(), "[test] a: secret");
    assert!(other.stdout.try_recv().is_err());
}

#[test]
fn an_unknown_server_is_not_trusted_when_nobody_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    for trust in ["ask", "pin"] {
        std::fs::write(folder.path().join("a.yaml"), format!("trust: {trust}\n")).unwrap();
        let send = with(&["send", "test", "secret"], &client("a", "a.yaml", &at));
        let refused = run(folder.path(), &send).code(4);
        assert!(refused.stderr.contains("is not known: pysock1"), "{refused:?}");
        assert!(refused.stderr.contains("server_key: pysock1"), "{refused:?}");
    }
}

#[test]
fn json_is_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (server, at) = serve(path, &["--channel", "test", "--json"]);
    let a = client("a", "a.yaml", &at);
    run(path, &with(&["send", "test", "two\nlines \u{9b}2J"], &a)).code(0);
    let line = server.line();
    assert!(!line.contains('\u{9b}'), "{line}");
    let message: Value = serde_json::from_str(&line).unwrap();
    let key = run(path, &["pubkey", "a.yaml"]).code(0);
    assert_eq!(message["key"], key.text().trim());
    assert_eq!(message["sender"], "a");
    assert_eq!(message["channel"], "test");
    assert_eq!(message["server"], false);
    assert_eq!(message["text"], "two\nlines \u{9b}2J");
    run_with(path, &with(&["send", "test", "-"], &a), Some(vec![255, 254])).code(0);
    let message: Value = serde_json::from_str(&server.line()).unwrap();
    assert_eq!(message["base64"], "//4=");
    assert_eq!(message.get("text"), None);
    let known = run(path, &["known", "--json", "--state", "a.state"]).code(0);
    let known: Value = serde_json::from_str(known.text()).unwrap();
    assert_eq!(known["kind"], "server");
    assert_eq!(known["name"], at);
    let key = run(path, &["pubkey", "--json", "server.yaml"]).code(0);
    let key: Value = serde_json::from_str(key.text()).unwrap();
    assert_eq!(known["key"], key["public_key"]);
    assert_eq!(known["fingerprint"], key["fingerprint"]);
}

#[test]
fn terminal_sequences_of_others_are_shown_and_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at) = serve_test(&folder);
    let b = listen(&folder, "b", &at, &[]);
    let a = client("a", "a.yaml", &at);
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2Jx\r\n[test] b: forged";
    for to in [&[] as &[&str], &["--to", "b"]] {
        let send = with(&["send", "--channel", "test", evil], &a);
        run(folder.path(), &with(&send, to)).code(0);
    }
    for shown in [server.line(), b.line()] {
        assert_eq!(shown, r"[test] a: \u{1b}]0;owned\u{7}\u{1b}[2Jx\r\n[test] b: forged");
    }
}

#[test]
fn every_command_explains_itself_by_example() {
    let folder = tempfile::tempdir().unwrap();
    let all = run(folder.path(), &["--help"]).code(0);
    assert!(all.text().contains("Exit codes:"), "{all:?}");
    let commands = all.text().lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|w| !w.is_empty()))
        .filter(|command| *command != "help")
        .collect();
    assert_eq!(commands.len(), 15, "{commands:?}");
    for command in commands {
        let help = run(folder.path(), &[command, "--help"]).code(0);
        let example = format!("pysock {command}");
        let (_, examples) = help.text().split_once("Examples:").expect(command);
        assert!(examples.contains(&example), "{help:?}");
    }
    run(folder.path(), &["send"]).code(2);
    run(folder.path(), &["send", "Not A Channel", "x"]).code(2);
    run(folder.path(), &["--version"]).code(0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "help leaves nothing behind");
}

#[test]
fn megabytes_from_stdin_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at) = serve(folder.path(), &["--channel", "test", "--json"]);
    let text: String = (0..600_000u32).map(|n| format!("{n:05} ")).collect();
    assert!(text.len() > 3_500_000);
    let a = client("a", "a.yaml", &at);
    let send = with(&["send", "test", "-"], &a);
    let sent = run_with(folder.path(), &send, Some(text.clone().into_bytes())).code(0);
    assert!(sent.stderr.contains(&format!("sent {} bytes", text.len())), "{sent:?}");
    let message: Value = serde_json::from_str(&server.line()).unwrap();
    assert!(message["text"] == text, "it arrived differently");
    // To everyone, too, and without saying where it comes from.
    let b = listen(&folder, "b", &at, &["--json", "--count", "1"]);
    let send = with(&["send", "--channel", "test", "--all"], &a);
    run_with(folder.path(), &send, Some(text.clone().into_bytes())).code(0);
    let message: Value = serde_json::from_str(&b.line()).unwrap();
    assert!(message["text"] == text, "it arrived differently");
    assert_eq!(b.end(), 0);
}

#[test]
fn messages_of_any_size_go_into_a_file_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody here takes such a message as a whole.
    std::fs::write(folder.path().join("server.yaml"), "max_message: 100000\n").unwrap();
    std::fs::write(folder.path().join("b.yaml"), "max_message: 100000\n").unwrap();
    let (_server, at) = serve_test(&folder);
    let file = std::fs::File::create(folder.path().join("got")).unwrap();
    let args = with(&["listen", "test"], &client("b", "b.yaml", &at));
    let mut b = pysock(folder.path(), &with(&args, &["--raw", "--count", "2"]));
    let mut child = b.stdout(file).spawn().unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let b = Running { child, stdout: mpsc::channel().1, stderr };
    b.says("is listening on test");
    let data: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    let send = with(&["send", "--channel", "test", "--to", "b", "-"], &client("a", "a.yaml", &at));
    run_with(folder.path(), &send, Some(data.clone())).code(0);
    run_with(folder.path(), &send, Some(b"end".to_vec())).code(0);
    assert_eq!(b.end(), 0);
    let got = std::fs::read(folder.path().join("got")).unwrap();
    assert!(got == [&data[..], b"end"].concat(), "{} bytes arrived differently", got.len());
}

#[test]
fn what_is_too_large_for_the_receiver_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.yaml"), "max_message: 100000\n").unwrap();
    let (_server, at) = serve_test(&folder);
    let send = with(&["send", "test", "-"], &client("a", "a.yaml", &at));
    let refused = run_with(folder.path(), &send, Some(vec![b'x'; 2_000_000])).code(5);
    let why = "the server did not get it: it is larger than the receiver takes";
    assert!(refused.stderr.contains(why), "{refused:?}");
}

#[test]
fn a_server_that_is_not_there_ends_with_3_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and closed again: nobody listens there.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap().to_string();
    drop(socket);
    let since = Instant::now();
    for command in [&["send", "test", "x"] as &[&str], &["listen", "test"], &["clients"]] {
        let missing = run(folder.path(), &with(command, &client("a", "a.yaml", &at))).code(3);
        assert!(missing.stderr.contains(&format!("pysock: cannot reach {at}")), "{missing:?}");
    }
    assert!(since.elapsed() < Duration::from_secs(9), "that is no timeout");
}

#[test]
fn mistakes_in_the_yaml_are_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("bad.yaml"), "name: a\ntimout: 5\n").unwrap();
    for command in [&["send", "test", "x"] as &[&str], &["known"], &["serve"]] {
        let wrong = run(path, &with(command, &["--config", "bad.yaml"])).code(1);
        assert!(wrong.stderr.starts_with("pysock: the configuration is wrong:"), "{wrong:?}");
        assert!(wrong.stderr.contains("bad.yaml:"), "{wrong:?}");
    }
    let wrong = run(path, &["send", "test", "x", "--config", "bad.yaml"]);
    assert!(wrong.stderr.contains("timout") && wrong.stderr.contains("bad.yaml:2"), "{wrong:?}");
    let useless = run(path, &["serve"]).code(2);
    assert!(useless.stderr.contains("--channel"), "{useless:?}");
}

#[test]
fn keys_are_made_once_and_privately() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let made = run(path, &["keygen", "-o", "server.key"]).code(0);
    assert_eq!(made.text(), "", "a secret that goes to a file goes nowhere else");
    assert!(!made.stderr.contains("SECRET"), "{made:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path.join("server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = std::fs::read(path.join("server.key")).unwrap();
    let again = run(path, &["keygen", "-o", "server.key"]).code(1);
    assert!(again.stderr.contains("never overwritten"), "{again:?}");
    assert_eq!(std::fs::read(path.join("server.key")).unwrap(), before);
    let public = run(path, &["pubkey", "server.key"]).code(0);
    assert!(public.text().starts_with("pysock1") && made.stderr.contains(public.text().trim()));
    // The key beside an empty YAML is that configuration's.
    std::fs::write(path.join("server.yaml"), "").unwrap();
    assert_eq!(run(path, &["pubkey", "server.yaml"]).code(0).text(), public.text());
    let (server, _) = serve(path, &["--channel", "test", "--verbose"]);
    drop(server);

    let made = run(path, &["keygen"]).code(0);
    let mut lines = made.text().lines();
    let comment = lines.next().unwrap().strip_prefix("# public key: ").unwrap();
    assert!(lines.next().unwrap().starts_with("PYSOCK-SECRET-KEY-1"));
    let public = run_with(path, &["pubkey"], Some(made.stdout.clone())).code(0);
    assert_eq!(public.text().trim(), comment);
    let psk = run(path, &["psk"]).code(0);
    let yaml = format!("psk: {}", psk.text());
    std::fs::write(path.join("psk.yaml"), yaml).unwrap();
    let open = run(path, &["serve", "--config", "psk.yaml", "--channel", "test"]).code(1);
    if cfg!(unix) {
        assert!(open.stderr.contains("chmod 600"), "{open:?}");
    }
}

#[cfg(unix)]
#[test]
fn both_ends_end_politely() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at) = serve_test(&folder);
    let b = listen(&folder, "b", &at, &[]);
    assert_eq!(b.terminate(), 0);
    let c = listen(&folder, "c", &at, &[]);
    assert_eq!(server.terminate(), 0);
    c.says("connecting again");
    assert_eq!(c.terminate(), 0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_heard_although_nobody_reads_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let args = with(&["listen", "test"], &client("b", "b.yaml", &at));
    let mut child = pysock(folder.path(), &args).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let mut b = Running { child, stdout: mpsc::channel().1, stderr };
    b.says("is listening on test");
    let send = with(&["send", "--channel", "test", "--to", "b", "-"], &client("a", "a.yaml", &at));
    run_with(folder.path(), &send, Some(vec![b'x'; 1 << 20])).code(0);
    // It has begun to print what no pipe takes at once.
    stdout.read_exact(&mut [0]).unwrap();
    b.signal("-INT");
    b.stdout = lines(stdout);
    assert_eq!(b.end(), 0);
}

#[test]
fn the_same_key_from_elsewhere_ends_a_listener_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, at) = serve_test(&folder);
    let b = listen(&folder, "b", &at, &[]);
    run(folder.path(), &with(&["clients"], &client("b", "b.yaml", &at))).code(0);
    b.says("the same key connected from elsewhere");
    assert_eq!(b.end(), 4);
}
