//! `pysock provision`: images of a device's key range.
#![cfg(feature = "cli")]

mod program;

use program::*;
use serde_json::Value;

const SERVER: [u8; 32] = [3; 32];

fn key(bytes: [u8; 32]) -> String {
    pysock_std::proto::PublicKey(bytes).to_string()
}

#[test]
fn an_image_is_made_privately_and_shows_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (server, peer) = (key(SERVER), key([4; 32]));
    let kitchen = format!("kitchen={peer}");
    let make = ["provision", "-o", "a.img", "--name", "sensor-7", "--server", &server];
    let made = run(path, &with(&make, &["--peer", &kitchen])).code(0);
    assert!(!made.text().contains("SECRET") && !made.stderr.contains("SECRET"), "{made:?}");
    assert!(made.stderr.contains("offset of the key range"), "{made:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path.join("a.img")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let shown = run(path, &["provision", "--show", "a.img"]).code(0);
    // Key and fingerprint, as they were shown when it was made.
    assert!(shown.text().contains(made.text()), "{made:?} {shown:?}");
    for text in ["8192 bytes, units of 4", "sensor-7", &server, &peer, "kitchen"] {
        assert!(shown.text().contains(text), "{text}: {shown:?}");
    }
    let shown = run(path, &["provision", "--show", "a.img", "--json"]).code(0);
    assert!(!shown.text().contains("SECRET"), "{shown:?}");
    let shown: Vec<Value> =
        shown.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = shown.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["identity", "name", "server", "peer"]);
    assert_eq!(shown[3]["public_key"], peer);

    let before = std::fs::read(path.join("a.img")).unwrap();
    let again = run(path, &make).code(1);
    assert!(
        again.stderr.contains("exists already") && again.stderr.contains("--force"),
        "{again:?}"
    );
    assert_eq!(std::fs::read(path.join("a.img")).unwrap(), before);
    run(path, &with(&make, &["--force"])).code(0);
    assert_ne!(std::fs::read(path.join("a.img")).unwrap(), before, "another identity");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn an_identity_that_exists_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["keygen", "-o", "a.key"]).code(0);
    let public = run(path, &["pubkey", "a.key"]).code(0);
    let secret = std::fs::read(path.join("a.key")).unwrap();
    for (from, stdin) in [("a.key", None), ("-", Some(secret))] {
        let make = ["provision", "-o", "a.img", "--key", from, "--json", "--force"];
        let made = run_with(path, &make, stdin).code(0);
        let made: Value = serde_json::from_str(made.text()).unwrap();
        assert_eq!(made["public_key"], public.text().trim());
    }
    std::fs::write(path.join("public"), public.text()).unwrap();
    let wrong = run(path, &["provision", "-o", "b.img", "--key", "public"]).code(1);
    assert!(wrong.stderr.contains("no key in public"), "{wrong:?}");
    // The device cannot be its own server.
    let own = ["provision", "-o", "b.img", "--key", "a.key", "--server", public.text().trim()];
    assert!(run(path, &own).code(2).stderr.contains("each needs a key of its own"));
    assert!(!path.join("b.img").exists());
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (one, two) = (format!("a={}", key([1; 32])), format!("a={}", key([2; 32])));
    let long = format!("{}={}", "n".repeat(32), key([1; 32]));
    for (args, why) in [
        (&["--size", "5000"] as &[&str], "an even number of whole pages"),
        (&["--size", "4096"], "--page 4096"),
        (&["--size", "1"], "1024"),
        (&["--unit", "5"], "expected 1, 2, 4, 8, 16 or 32"),
        (&["--peer", "kitchen"], "expected LABEL=KEY"),
        (&["--peer", "Kitchen=pysock1"], "the label is not a name"),
        (&["--peer", "kitchen=pysock1"], "not a public key"),
        (&["--server", "PYSOCK-SECRET-KEY-1"], "--server"),
        (&["--peer", &one, "--peer", &two], "two keys are given for a"),
        (
            &["--size", "1024", "--page", "512", "--unit", "32", "--name", "n", "--peer", &long],
            "no room",
        ),
        (&["--show", "x"], "cannot be used with"),
    ] {
        let refused = run(path, &with(&["provision", "-o", "a.img"], args)).code(2);
        assert!(refused.stderr.contains(why), "{args:?}: {refused:?}");
    }
    run(path, &["provision"]).code(2);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn an_image_that_is_damaged_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["provision", "-o", "a.img", "--name", "sensor-7", "--unit", "8"]).code(0);
    let good = std::fs::read(path.join("a.img")).unwrap();
    let show = |bytes: &[u8]| {
        std::fs::write(path.join("b.img"), bytes).unwrap();
        run(path, &["provision", "--show", "b.img"])
    };
    assert!(show(&good).code(0).text().contains("units of 8"));
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    let refused = show(&damaged).code(1);
    assert!(refused.stderr.contains("damaged at 0x"), "{refused:?}");
    assert_eq!(refused.text(), "");
    for (bytes, why) in [
        (&vec![0xff; 8192], "there is no key in it"),
        (&vec![0; 8192], "damaged at 0x0"),
        (&b"Hello, World!".to_vec(), "not the length"),
        (&good[..4096].to_vec(), "not the length"),
        (&[&good[..], &[0xff; 8192]].concat(), "not the length"),
        (&Vec::new(), "not the length"),
    ] {
        let refused = show(bytes).code(1);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let missing = run(path, &["provision", "--show", "nowhere.img"]).code(1);
    assert!(missing.stderr.contains("cannot show nowhere.img"), "{missing:?}");
}
