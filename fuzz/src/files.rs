//! `files`: what people and programs write into files. Nothing that stands there makes pysock panic; no report shows a secret;
//! and what was read and is written again reads the same.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use pysock_proto::{ChannelName, Crypto, Name, Psk, PublicKey, RustCrypto, SecretKey};
use pysock_std::{
    config::{ClientConfig, ConfigError, ServerConfig},
    state::StateFile,
};

use crate::input::Input;

/// A folder of this process. Of all that is in it, only the key files stay from one input to the next.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("pysock-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for files");
        folder
    })
}

/// Removes what this process has written. A fuzzer leaves it to whoever tidies up behind it: it ends without warning.
pub fn clean_up() {
    fs::remove_dir_all(folder()).expect("a folder that can be removed");
}

fn write(path: &Path, bytes: &[u8]) {
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("a file that can be written");
}

/// A file, by its first byte.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => {
            config(input.rest(), "server.yaml", ServerConfig::load, |config| format!("{config:?}"))
        }
        1 => {
            config(input.rest(), "client.yaml", ClientConfig::load, |config| format!("{config:?}"))
        }
        2 => texts(input.rest()),
        3 => state(input.rest(), false),
        _ => state(input.rest(), true),
    }
}

fn config<C>(
    text: &[u8],
    file: &str,
    load: impl Fn(PathBuf) -> Result<C, ConfigError>,
    shown: impl Fn(&C) -> String,
) {
    let path = folder().join(file);
    write(&path, text);
    let (first, again) = (load(path.clone()), load(path.clone()));
    match (&first, &again) {
        (Ok(first), Ok(again)) => {
            let shown = [shown(first), shown(again)];
            assert_eq!(shown[0], shown[1], "read twice, it is another");
            hides_secrets(&shown[0], text);
        }
        (Err(first), Err(again)) => {
            let report = first.to_string();
            assert_eq!(report, again.to_string());
            hides_secrets(&report, text);
            assert!(report.chars().all(|c| c == '\n' || !c.is_control()), "{report:?}");
        }
        _ => panic!("read twice, it is another"),
    }
}

/// Of a secret that can be read in the file, nothing is to be read in what is shown.
fn hides_secrets(shown: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    for word in words.filter(|word| word.len() > 40) {
        if word.parse::<SecretKey>().is_ok() || word.parse::<Psk>().is_ok() {
            // Behind the prefix, which is no secret.
            let (_, data) = word.split_at(word.len() - 40);
            assert!(!shown.contains(data), "a secret is shown: {shown}");
        }
    }
}

/// Each of the texts that people type: what can be read is written in one way.
fn texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\n');
    if let Ok(key) = text.parse::<PublicKey>() {
        assert!(key.to_string().eq_ignore_ascii_case(text));
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(key) = text.parse::<SecretKey>() {
        assert!(key.to_text().expose().eq_ignore_ascii_case(text));
        assert!(text.parse::<PublicKey>().is_err() && text.parse::<Psk>().is_err());
    }
    if let Ok(psk) = text.parse::<Psk>() {
        assert!(psk.to_text().expose().eq_ignore_ascii_case(text));
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = text.parse::<ChannelName>() {
        assert_eq!(name.as_str(), text);
    }
    // Bytes that are a key have one text.
    if let Some(key) = bytes.first_chunk::<32>() {
        let key = PublicKey(*key);
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

/// A state file, as it is or with a last line that fits what is before it, which a fuzzer cannot find.
fn state(bytes: &[u8], sealed: bool) {
    let (path, copy) = (folder().join("one.state"), folder().join("two.state"));
    let mut text = bytes.to_vec();
    if sealed {
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        let sum = RustCrypto::hash(&[&text]).map(|byte| format!("{byte:02x}")).concat();
        let lines = String::from_utf8_lossy(&text).lines().count().saturating_sub(1);
        text.extend(format!("end {lines} {sum}\n").bytes());
    }
    write(&path, &text);
    let Ok(file) = StateFile::open(&path) else { return };
    let read = file.read().expect("it opened");
    if fs::exists(&copy).is_ok_and(|there| there) {
        fs::remove_file(&copy).expect("a file of this folder");
    }
    let other = StateFile::open(&copy).expect("an absent file is an empty state");
    other.update(|state| *state = read.clone()).expect("what was read can be written");
    assert_eq!(other.read().expect("it was just written"), read);
}
