//! The YAML file as users write it, lose it and leave it lying about.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use pysock_proto::{Psk, PublicKey, SecretKey, Suite};
use pysock_std::{
    FileError,
    config::{
        ClientConfig, ConfigError, NamePolicy, Queue, ServerConfig, Trust, WhenFull, new_secret_key,
    },
};
use tempfile::TempDir;

/// A private file with this text, in a folder of its own.
fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    write(&path, text);
    (folder, path)
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn server(text: impl AsRef<[u8]>) -> Result<ServerConfig, ConfigError> {
    let (_folder, path) = file(text);
    ServerConfig::load(path)
}

fn client(text: impl AsRef<[u8]>) -> Result<ClientConfig, ConfigError> {
    let (_folder, path) = file(text);
    ClientConfig::load(path)
}

fn secret(n: u8) -> String {
    SecretKey::from_bytes([n; 32]).to_text().expose().to_owned()
}

#[test]
fn a_missing_file_is_created_with_a_key_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    let first = ServerConfig::load(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains(&format!("# public key: {}\nkey: PYSOCK-SECRET-KEY-1", first.public_key()))
    );
    assert_eq!(ServerConfig::load(&path).unwrap(), first);
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "a user's YAML is never rewritten");
    assert_eq!(first.state, Some(folder.path().join("server.state")));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no other file is needed or left");
}

#[test]
fn an_empty_file_is_enough() {
    for empty in ["", "\n", "# nothing yet\n", "---\n", "~\n"] {
        let (folder, path) = file(empty);
        let first = ServerConfig::load(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), empty);
        let key_file = fs::read_to_string(folder.path().join("server.key")).unwrap();
        assert!(
            key_file.contains(&format!("# public key: {}\n", first.public_key())),
            "{key_file}"
        );
        assert_eq!(ServerConfig::load(&path).unwrap().key, first.key);
        // The identity outlives its YAML.
        fs::remove_file(&path).unwrap();
        assert_eq!(ServerConfig::load(&path).unwrap().key, first.key);
    }
}

#[test]
fn the_key_in_the_yaml_wins_but_two_keys_are_an_error() {
    let (folder, path) = file(format!("key: {}\n", secret(7)));
    assert_eq!(ServerConfig::load(&path).unwrap().key, SecretKey::from_bytes([7; 32]));
    write(&folder.path().join("server.key"), secret(7));
    assert!(ServerConfig::load(&path).is_ok(), "the same key twice is one identity");
    write(&folder.path().join("server.key"), secret(8));
    let error = ServerConfig::load(&path).unwrap_err();
    assert!(matches!(error, ConfigError::TwoKeys { .. }), "{error}");
}

#[test]
fn a_damaged_key_file_is_never_replaced() {
    for bad in [String::new(), "# gone\n".into(), secret(7)[..70].into(), secret(7) + "\nmore"] {
        let (folder, path) = file("");
        let key_path = folder.path().join("server.key");
        write(&key_path, &bad);
        let error = ServerConfig::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::KeyFile { .. }), "{error}");
        assert_eq!(fs::read_to_string(key_path).unwrap(), bad);
        assert!(!error.to_string().contains(&secret(7)[30..50]), "{error}");
    }
}

#[test]
fn many_first_uses_at_once_agree_on_one_key() {
    for existing in [None, Some("")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.yaml");
        if let Some(text) = existing {
            write(&path, text);
        }
        let keys: Vec<_> = thread::scope(|scope| {
            let loads: Vec<_> = (0..8).map(|_| scope.spawn(|| ServerConfig::load(&path))).collect();
            loads.into_iter().map(|load| load.join().unwrap().unwrap().public_key()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }
}

#[test]
fn every_server_option_is_read() {
    let (psk, peer) = (Psk::new([1; 8], [2; 32]), PublicKey([3; 32]));
    let config = server(format!(
        "psk: {}\naddress: \"::\"\nport: 4321\nchannels: [test, a/b]\nnames: allow-list\n\
         allow:\n  kitchen: {peer}\nmax_clients: 5\nmax_unauthenticated: 6\n\
         max_unauthenticated_per_address: 7\nhandshake_timeout: 0.5\nidle_timeout: 9\n\
         record_limit: 256\nmax_message: 1000\nqueue: {{bytes: 2048, full: block, patience: 2.5}}\n\
         max_names: 8\ndirectory: false\nstate: sub/s\nthreads: 2\nlow_latency: true\n\
         debug: true\n",
        psk.to_text().expose()
    ))
    .unwrap();
    let folder = config.state.as_ref().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut expected = ServerConfig::new(config.key.clone());
    expected.psk = Some(psk);
    expected.address = "::".into();
    expected.port = 4321;
    expected.channels = vec!["test".parse().unwrap(), "a/b".parse().unwrap()];
    expected.names = NamePolicy::AllowList;
    expected.allow = [("kitchen".parse().unwrap(), peer)].into();
    expected.max_clients = 5;
    expected.max_unauthenticated = 6;
    expected.max_unauthenticated_per_address = 7;
    expected.handshake_timeout = Duration::from_millis(500);
    expected.idle_timeout = 9;
    expected.record_limit = 256;
    expected.max_message = 1000;
    expected.queue =
        Queue { bytes: 2048, full: WhenFull::Block, patience: Duration::from_millis(2500) };
    expected.max_names = 8;
    expected.directory = false;
    expected.threads = 2;
    expected.low_latency = true;
    expected.state = Some(folder.join("sub/s"));
    expected.debug = true;
    assert_eq!(config, expected);
}

#[test]
fn every_client_option_is_read() {
    let peer = PublicKey([3; 32]);
    let config = client(format!(
        "name: \"007\"\nserver: example.org\ntrust: pin\nserver_key: {peer}\n\
         remember_server: false\nsuite: chacha-poly\npeers: ask\nreconnect: false\nqueue_bytes: 2048\n"
    ))
    .unwrap();
    assert_eq!(config.name.unwrap().as_str(), "007");
    assert_eq!(config.server.as_deref(), Some("example.org"));
    assert_eq!((config.trust, config.server_key), (Trust::Pin, Some(peer)));
    assert_eq!((config.peers, config.suite), (Trust::Ask, Some(Suite::ChaChaPoly)));
    assert!(!config.remember_server && !config.reconnect);
    assert_eq!(config.queue_bytes, 2048);
}

#[test]
fn the_policy_for_peers_is_its_own_and_has_the_words_of_that_for_servers() {
    let default = client("").unwrap();
    assert_eq!((default.trust, default.peers), (Trust::AcceptNew, Trust::AcceptNew));
    for (word, policy) in
        [("pin", Trust::Pin), ("accept-new", Trust::AcceptNew), ("ask", Trust::Ask)]
    {
        let config = client(format!("peers: {word}\n")).unwrap();
        assert_eq!((config.trust, config.peers), (Trust::AcceptNew, policy));
        let config = client(format!("trust: {word}\n")).unwrap();
        assert_eq!((config.trust, config.peers), (policy, Trust::AcceptNew));
    }
    for bad in ["yes", "accept", "Pin", "true", "[pin]", "{anna: pin}", "accept-all"] {
        let error = client(format!("debug: true\npeers: {bad}\n")).expect_err(bad);
        let ConfigError::Yaml { line, .. } = &error else { panic!("{bad}: {error}") };
        assert_eq!(*line, 2, "{bad}: {error}");
        let report = error.to_string();
        assert!(report.contains("`pin` or `accept-new` or `ask`"), "{bad}: {report}");
    }
    assert!(server("peers: pin\n").is_err(), "a server has no peers");
}

#[test]
fn hole_16_timeout_is_seconds() {
    assert_eq!(client("timeout: 2\n").unwrap().timeout, Duration::from_secs(2));
    assert_eq!(client("timeout: 0.5\n").unwrap().timeout, Duration::from_millis(500));
    for bad in ["0", "-1", "2s", "\"2\"", "1m", "86401", ".inf", ".nan", "true", "~", "[2]"] {
        let error = client(format!("timeout: {bad}\n")).expect_err(bad);
        assert!(matches!(error, ConfigError::Yaml { line: 1, .. }), "{bad}: {error}");
    }
}

#[test]
fn hole_17_debug_changes_nothing_else() {
    let (_folder, path) = file("");
    let quiet = ClientConfig::load(&path).unwrap();
    write(&path, "debug: true\n");
    assert_eq!(ClientConfig::load(&path).unwrap(), ClientConfig { debug: true, ..quiet });
}

#[test]
fn mistakes_are_shown_at_their_place_with_what_to_write_instead() {
    for (yaml, place, advice) in [
        ("debug: true\nprot: 1\n", (2, 1), "the options are key, psk, address, port"),
        ("port: zero\n", (1, 7), "a whole number from 1 to 65535"),
        ("port: \"1234\"\n", (1, 7), "a whole number from 1 to 65535"),
        ("port: 0\n", (1, 7), "a whole number from 1 to 65535"),
        ("port: 70000\n", (1, 7), "a whole number from 1 to 65535"),
        ("max_clients: 99999999999999999999\n", (1, 14), "a whole number from 1 to 1000000"),
        ("record_limit: 255\n", (1, 15), "a whole number from 256 to 65535"),
        ("debug: yes\n", (1, 8), "`true` or `false`"),
        ("names: first\n", (1, 8), "`claim-once` or `open` or `allow-list`"),
        ("port: 1\nport: 2\n", (2, 1), "duplicate"),
        ("channels: [a, B]\n", (1, 15), "a channel name of 1 to 64 characters"),
        ("channels: [a, a]\n", (1, 11), "listed twice"),
        ("allow:\n  bob: pysock1qq\n", (2, 8), "a public key, `pysock1…`"),
        ("queue:\n  bites: 3\n", (2, 3), "the options are bytes, full, patience"),
        ("address: localhost:1234\n", (1, 10), "without a port"),
        ("address: \"a\\nb\"\n", (1, 10), "a host name or an IP address"),
        ("key: PYSOCK-SECRET-KEY-1QQ\n", (1, 6), "expected a secret key, `PYSOCK-SECRET-KEY-1…`"),
        ("names: allow-list\n", (0, 0), "at least one client"),
        ("- port\n", (0, 0), "options, one `name: value` a line"),
    ] {
        let error = server(yaml).expect_err(yaml);
        let text = error.to_string();
        let ConfigError::Yaml { path, line, column, .. } = error else { panic!("{text}") };
        assert_eq!((line, column), place, "{text}");
        assert!(text.contains(advice), "{text}");
        let mut shown = path.display().to_string();
        if line > 0 {
            shown += &format!(":{line}:{column}");
            assert!(text.contains('^'), "{text}");
        }
        assert!(text.contains(&shown), "{text}");
    }
}

#[test]
fn bombs_and_junk_are_errors() {
    let bomb = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\n";
    let large = "# padding\n".repeat(200_000);
    for yaml in [
        bomb.to_owned(),
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "port: &x 1\n".to_owned(),
        "port: *x\n".to_owned(),
        "<<: {port: 1}\n".to_owned(),
        "port: !mine 1\n".to_owned(),
        "port: 1\n---\nport: 2\n".to_owned(),
        "port: {\n".to_owned(),
        "\u{0}".to_owned(),
    ] {
        let error = server(&yaml).expect_err(&yaml[..yaml.len().min(40)]);
        assert!(matches!(error, ConfigError::Yaml { .. }), "{error}");
        assert!(error.to_string().len() < 2000, "{error}");
    }
    let error = server(large).unwrap_err();
    assert!(matches!(error, ConfigError::File(FileError::TooLarge { limit: 1_048_576, .. })));
    let error = server(b"port: 1 # \xff\n").unwrap_err();
    assert!(matches!(error, ConfigError::File(FileError::NotUtf8 { at: 10, .. })), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let error = ServerConfig::load(folder.path()).unwrap_err();
    assert!(matches!(error, ConfigError::File(FileError::NotAFile { .. })), "{error}");
    let error = ServerConfig::load(folder.path().join("no/server.yaml")).unwrap_err();
    assert!(error.to_string().contains("create its folder first"), "{error}");
}

/// Whatever is wrong around a secret, mistyped or misplaced, no eight characters of it are shown.
#[test]
fn no_error_shows_a_secret() {
    let key = new_secret_key().unwrap().to_text().expose().to_owned();
    let (head, tail) = key.split_at(48);
    let mut mistyped = key.clone();
    mistyped.replace_range(60..61, "b");
    for yaml in [
        format!("key: {key}\nport: zero\n"),
        format!("key: {mistyped}\n"),
        format!("key: {head} {tail}\n"),
        format!("key:\n  {head}\n  {tail}\nport: x\n"),
        format!("key: {key}\nkey: {key}\n"),
        format!("key: [{key}]\n"),
        format!("key: \"{key}\n"),
        format!("key: {key}\n\tport: 1\n"),
        format!("{{key: {key}, port: zero}}\n"),
        format!("{{debug: false, key: {key}, directory: false, names: open, port: zero}}\n"),
        format!("kye: {key}\n"),
        format!("psk: {key}\n"),
        format!("{key}\n"),
        format!("{key}: 1\n"),
        format!("address: {key} {key}\n"),
        format!("port: {key}\n"),
        format!("names: {key}\n"),
        format!("channels: [{key}]\n"),
        format!("channels: {key}\n"),
        format!("allow: {{a: {key}}}\n"),
        format!("allow: {{{key}: a}}\n"),
        format!("queue: {key}\n"),
        format!("port: !{key} 1\n"),
        format!("port: *{key}\n"),
        format!("port: &{key} 1\n"),
    ] {
        let error = server(&yaml).expect_err(&yaml);
        let shown = format!("{error} {error:?}").to_uppercase();
        for at in 20..key.len() - 8 {
            assert!(!shown.contains(&key[at..at + 8]), "{yaml}\n{error}");
        }
    }
    let config = server(format!("key: {key}\n")).unwrap();
    assert!(!format!("{config:?}").contains(&key[20..28]));
}

#[test]
fn values_set_in_code_follow_the_same_rules() {
    let mut config = ServerConfig::new(new_secret_key().unwrap());
    config.check().unwrap();
    config.queue.patience = Duration::ZERO;
    assert!(config.check().unwrap_err().to_string().contains("`queue`"));
    let mut config = ClientConfig::new(new_secret_key().unwrap());
    config.check().unwrap();
    config.server = Some("a b".into());
    assert!(config.check().unwrap_err().to_string().contains("`server`"));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn hole_14_key_file_is_private_and_atomic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.yaml");
        ClientConfig::load(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        write(&path, "");
        ClientConfig::load(&path).unwrap();
        assert_eq!(mode(&folder.path().join("client.key")), 0o600);
        // Written beside and moved into place: nothing unfinished is ever there, or stays.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn yaml_readable_by_the_group_is_refused() {
        let psk = Psk::new([1; 8], [2; 32]);
        for yaml in [format!("key: {}\n", secret(7)), format!("psk: {}\n", psk.to_text().expose())]
        {
            let (_folder, path) = file(yaml);
            for bad in [0o640, 0o604, 0o620, 0o644, 0o777] {
                fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
                let error = ServerConfig::load(&path).unwrap_err();
                let command = format!("chmod 600 {}\n", path.display());
                assert!(error.to_string().contains(&command), "{error}");
            }
        }
        // Without a secret in it, others may read it; its key file they may not.
        let (folder, path) = file("port: 5\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        ServerConfig::load(&path).unwrap();
        let key_path = folder.path().join("server.key");
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = ServerConfig::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::File(FileError::Exposed { .. })), "{error}");
    }

    #[test]
    fn a_dangling_link_is_not_a_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.yaml");
        symlink(folder.path().join("unmounted"), &path).unwrap();
        let error = ServerConfig::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::File(FileError::DanglingLink { .. })), "{error}");
    }

    #[test]
    fn an_unreadable_file_is_not_a_missing_one() {
        let (folder, path) = file("port: 5\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(&path).is_ok() {
            return; // The superuser reads everything.
        }
        let error = ServerConfig::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::File(FileError::Io { .. })), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
