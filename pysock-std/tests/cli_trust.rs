//! The `pysock` program: who the peers are, and which of their keys are pinned.
#![cfg(feature = "cli")]
#![allow(dead_code, reason = "the module `program` is shared, and this file uses a part of it")]

mod program;

use std::path::Path;

use program::*;
use serde_json::Value;

/// A new key: its text and its fingerprint.
fn key(folder: &Path) -> (String, String) {
    let secret = run(folder, &["keygen"]).code(0).stdout;
    let shown = run_with(folder, &["pubkey", "--json"], Some(secret)).code(0);
    let shown: Value = serde_json::from_str(shown.text()).unwrap();
    let text = |field: &str| shown[field].as_str().unwrap().to_owned();
    (text("public_key"), text("fingerprint"))
}

fn run_told(folder: &Path, args: &[String]) -> Ran {
    run(folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn objects(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_peer_is_pinned_listed_and_removed_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ((a, a_print), (b, b_print)) = (key(path), key(path));
    let none = run(path, &["trust", "list"]).code(0);
    assert!(none.text().is_empty() && none.stderr.contains("no peer is pinned in client.state"));
    let pinned = run(path, &["trust", "add", "kitchen", &a]).code(0);
    assert_eq!(pinned.text(), format!("pinned kitchen, which has the key {a} ({a_print})\n"));
    run(path, &["trust", "add", "attic", &b]).code(0);
    let again = run(path, &["trust", "add", "kitchen", &a]).code(0);
    assert!(again.text().starts_with("already pinned: kitchen"), "{again:?}");
    let alias = run(path, &["trust", "add", "cook", &a, "--json"]).code(0);
    assert!(alias.stderr.contains("the same key is pinned as kitchen, too"), "{alias:?}");
    assert_eq!(objects(&alias)[0]["new"], true);

    let all = run(path, &["trust", "list"]).code(0);
    let lines = [
        format!("attic  {b}  ({b_print})"),
        format!("cook  {a}  ({a_print})"),
        format!("kitchen  {a}  ({a_print})"),
    ];
    assert_eq!(all.text().lines().collect::<Vec<_>>(), lines);
    let all = objects(&run(path, &["trust", "list", "--json"]).code(0));
    assert_eq!(all[2]["name"], "kitchen");
    assert_eq!(
        (all[2]["key"].as_str(), all[2]["fingerprint"].as_str()),
        (Some(&*a), Some(&*a_print))
    );
    let known = run(path, &["known"]).code(0);
    assert!(known.text().contains(&format!("peer   kitchen  {a}")), "{known:?}");

    let removed = run(path, &["trust", "remove", "kitchen"]).code(0);
    assert_eq!(removed.text(), format!("removed kitchen, which had the key {a} ({a_print})\n"));
    assert_eq!(run(path, &["trust", "list"]).code(0).text().lines().count(), 2);
    let state = std::fs::read_to_string(path.join("client.state")).unwrap();
    assert!(!state.contains("kitchen") && state.contains("attic"), "{state}");
    assert!(!path.join("client.yaml").exists(), "nobody asked for a new identity");
}

#[test]
fn another_key_is_refused_until_it_replaces_the_old_one_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("a folder")).unwrap();
    let state = ["--state", "a folder/it's.state"];
    let ((old, old_print), (new, new_print)) = (key(path), key(path));
    run(path, &with(&["trust", "add", "kitchen", &old], &state)).code(0);
    let before = std::fs::read(path.join(state[1])).unwrap();
    let refused = run(path, &with(&["trust", "add", "kitchen", &new], &state)).code(4);
    let texts = ["HAS CHANGED", "may be an attack", &old, &new, &old_print, &new_print, "by voice"];
    for text in texts {
        assert!(refused.stderr.contains(text), "{text}: {refused:?}");
    }
    assert_eq!(std::fs::read(path.join(state[1])).unwrap(), before);
    assert!(refused.stderr.contains(r"--state 'a folder/it'\''s.state'"), "{refused:?}");

    let replace = with(&["trust", "replace", "kitchen", &new], &state);
    let replaced = run(path, &replace).code(0);
    let shown = format!("  old  {old}\n       ({old_print})\n  new  {new}\n       ({new_print})\n");
    assert_eq!(replaced.text(), format!("replaced the key of kitchen\n{shown}"));
    let again = run(path, &replace).code(0);
    assert_eq!(again.text(), format!("kitchen has the key {new} ({new_print}) already\n"));
    let back = with(&["trust", "replace", "kitchen", &old, "--json"], &state);
    let back = &objects(&run(path, &back).code(0))[0];
    assert_eq!((back["old_key"].as_str(), back["key"].as_str()), (Some(&*new), Some(&*old)));
    assert_eq!(back["old_fingerprint"].as_str(), Some(&*new_print));
}

#[test]
fn a_name_that_begins_like_an_option_can_be_replaced_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ((old, _), (new, new_print)) = (key(path), key(path));
    for name in ["-v", "--json", "kitchen"] {
        run(path, &["trust", "add", "--", name, &old]).code(0);
        let refused = run(path, &["trust", "add", "--", name, &new]).code(4);
        let replaced = run_told(path, &told(&refused, "pysock trust replace")).code(0);
        assert!(replaced.text().contains(&new_print), "{replaced:?}");
    }
}

#[test]
fn an_unknown_peer_is_not_removed_or_replaced_and_the_known_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (a, _) = key(path);
    for args in [&["remove", "kitchen"] as &[&str], &["replace", "kitchen", &a]] {
        let unknown = run(path, &with(&["trust"], args)).code(1);
        let why = "kitchen is not pinned in client.state; no peer is";
        assert!(unknown.stderr.contains(why), "{unknown:?}");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "nothing comes into being");
    for name in ["kitchen", "cellar"] {
        run(path, &["trust", "add", name, &a]).code(0);
    }
    for (name, hint) in [
        ("kithcen", "kithcen is not pinned in client.state; did you mean kitchen?"),
        ("garage", "garage is not pinned in client.state; pinned are cellar, kitchen"),
    ] {
        for args in [
            &["trust", "remove", name] as &[&str],
            &["trust", "replace", name, &a],
            &["fingerprint", "--of", name],
        ] {
            let unknown = run(path, args).code(1);
            assert!(unknown.stderr.contains(hint), "{unknown:?}");
        }
    }
    for n in 0..10 {
        run(path, &["trust", "add", &format!("sensor-{n}"), &a]).code(0);
    }
    let unknown = run(path, &["trust", "remove", "garage"]).code(1);
    assert!(unknown.stderr.contains("`pysock trust list` shows the 12 that are"), "{unknown:?}");
    assert_eq!(run(path, &["trust", "list"]).code(0).text().lines().count(), 12);
}

#[test]
fn what_is_no_name_or_key_is_a_mistake_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (a, print) = key(path);
    let mistyped = a.replace(&a[20..21], if &a[20..21] == "q" { "p" } else { "q" });
    for args in [
        &["trust", "add", "kitchen"] as &[&str],
        &["trust", "add", "Kitchen", &a],
        &["trust", "add", "kitchen", &mistyped],
        &["trust", "add", "kitchen", &print],
        &["trust", "remove"],
        &["trust", "remove", "a b"],
        &["trust", "replace", "kitchen"],
        &["trust"],
        &["fingerprint", "--of", "Kitchen"],
        &["peers", "localhost:1", "--server", "localhost:2"],
    ] {
        run(path, args).code(2);
    }
    std::fs::write(path.join("client.state"), "").unwrap();
    for args in [&["trust", "list"] as &[&str], &["trust", "add", "kitchen", &a]] {
        let damaged = run(path, args).code(1);
        assert!(damaged.stderr.contains("is damaged"), "{damaged:?}");
    }
}

#[test]
fn fingerprints_are_shown_for_reading_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let none = run(path, &["fingerprint"]).code(1);
    assert!(none.stderr.contains("there is no client.yaml"), "{none:?}");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "it makes no key");

    run(path, &["keygen", "-o", "client.key"]).code(0);
    std::fs::write(path.join("client.yaml"), "name: a\npeers: pin\n").unwrap();
    let own = run(path, &["pubkey", "client.yaml"]).code(0).text().trim().to_owned();
    let print = run(path, &["pubkey", "--fingerprint", "client.yaml"]).code(0);
    let print = print.text().trim();
    let shown = run(path, &["fingerprint"]).code(0);
    assert_eq!(shown.text(), format!("public key   {own}\nfingerprint  {print}\n"));
    let json = &objects(&run(path, &["fingerprint", "--json"]).code(0))[0];
    assert_eq!(
        (json["public_key"].as_str(), json["fingerprint"].as_str()),
        (Some(&*own), Some(print))
    );

    let (a, a_print) = key(path);
    let shown = run(path, &["fingerprint", "--of", &a]).code(0);
    assert_eq!(shown.text(), format!("public key   {a}\nfingerprint  {a_print}\n"));
    run(path, &["trust", "add", "kitchen", &a]).code(0);
    for of in ["kitchen", &a] {
        let shown = run(path, &["fingerprint", "--of", of]).code(0);
        let lines = format!("peer         kitchen\npublic key   {a}\nfingerprint  {a_print}\n");
        assert_eq!(shown.text(), lines);
    }
    let other = run(path, &["fingerprint", "--of", "kitchen", "--state", "other.state"]).code(1);
    assert!(other.stderr.contains("not pinned in other.state"), "{other:?}");

    // A server has one, too.
    std::fs::write(path.join("server.yaml"), "channels: [test]\n").unwrap();
    run(path, &["keygen", "-o", "server.key"]).code(0);
    let shown = run(path, &["fingerprint", "--config", "server.yaml"]).code(0);
    let key = run(path, &["pubkey", "server.yaml"]).code(0);
    assert!(shown.text().contains(key.text().trim()), "{shown:?}");
}

#[test]
fn peers_are_shown_with_what_is_known_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (_server, at) = serve_test(&folder);
    let _b = listen(&folder, "b", &at, &[]);
    let _c = listen(&folder, "c", &at, &[]);
    let me = client("a", "a.yaml", &at);
    let ask = || run(path, &with(&["peers"], &me)).code(0);
    let note = |ran: &Ran, name: &str| {
        let line = ran.text().lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap().rsplit("  ").next().unwrap().to_owned()
    };
    let shown = ask();
    assert_eq!(["a", "b", "c"].map(|name| note(&shown, name)), ["this program", "new", "new"]);
    let print_of = |config: &str| {
        let shown = run(path, &["pubkey", "--json", config]).code(0);
        let shown: Value = serde_json::from_str(shown.text()).unwrap();
        (
            shown["public_key"].as_str().unwrap().to_owned(),
            shown["fingerprint"].as_str().unwrap().to_owned(),
        )
    };
    let ((b, b_print), (c, _)) = (print_of("b.yaml"), print_of("c.yaml"));
    assert!(shown.text().contains(&b_print), "{shown:?}");

    let state = ["--state", "a.state"];
    run(path, &with(&["trust", "add", "b", &b], &state)).code(0);
    run(path, &with(&["trust", "add", "cellar", &c], &state)).code(0);
    let shown = ask();
    assert_eq!(["b", "c"].map(|name| note(&shown, name)), ["pinned", "pinned as cellar"]);
    assert!(!shown.stderr.contains("CHANGED"), "{shown:?}");

    let (other, other_print) = key(path);
    run(path, &with(&["trust", "replace", "b", &other], &state)).code(0);
    let shown = ask();
    assert_eq!(note(&shown, "b"), "KEY CHANGED");
    for text in ["THE KEY OF b HAS CHANGED", &b_print, &other_print] {
        assert!(shown.stderr.contains(text), "{text}: {shown:?}");
    }
    // By the positional address, as programs read it.
    let json = run(path, &["peers", &at, "--name", "a", "--config", "a.yaml", "--json"]).code(0);
    let json = objects(&json);
    let of = |name: &str| json.iter().find(|peer| peer["name"] == name).unwrap();
    assert_eq!(
        (of("b")["trust"].as_str(), of("b")["expected_key"].as_str()),
        (Some("changed"), Some(&*other))
    );
    assert_eq!(
        (of("b")["key"].as_str(), of("b")["fingerprint"].as_str()),
        (Some(&*b), Some(&*b_print))
    );
    assert_eq!(
        (of("c")["trust"].as_str(), of("c")["label"].as_str()),
        (Some("pinned"), Some("cellar"))
    );
    assert_eq!(of("a")["trust"], "self");
    assert!(of("b")["number"].as_u64() < of("c")["number"].as_u64());

    run_told(path, &told(&shown, "pysock trust replace b")).code(0);
    assert_eq!(note(&ask(), "b"), "pinned");
}

#[test]
fn every_way_to_trust_explains_itself_by_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["list", "add", "remove", "replace"] {
        let help = run(folder.path(), &["trust", command, "--help"]).code(0);
        let (_, examples) = help.text().split_once("Examples:").expect(command);
        assert!(examples.contains(&format!("pysock trust {command}")), "{help:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "help leaves nothing behind");
}
