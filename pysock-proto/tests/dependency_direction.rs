//! Design rule 8: dependencies point one way. Design rule 6: no third-party type in the public interface.
//!
//! Both by reading the sources: crude, but each check is shown to find a violation.

use std::{collections::HashMap, fs, path::Path};

/// A module may use those of lower rank, and itself.
const RANKS: [&[&str]; 11] = [
    &["time", "error", "store"],
    &["id"],
    &["key"],
    &["crypto", "flash"],
    &["limits", "message", "directory"],
    &["noise"],
    // The prelude names a pattern of `noise`, so `wire` is above it.
    &["wire", "buffer"],
    &["record", "group"],
    &["stream"],
    &["peer"],
    &["connection"],
];
/// What a server keeps beside its connections sees these and nothing of a connection.
const SERVER_SIDE: [&str; 2] = ["registry", "router"];
const SERVER_SIDE_SEES: [&str; 8] =
    ["id", "key", "error", "message", "directory", "store", "registry", "time"];

/// Every source file, as (top-level module, path, text without comments and tests).
fn sources() -> Vec<(String, String, String)> {
    fn walk(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    walk(&root, &mut files);
    files.sort();
    let only_tests =
        |path: &str| ["tests.rs", "vectors.rs", "growing.rs"].iter().any(|t| path.ends_with(t));
    let source = |path: &std::path::PathBuf| {
        let inside = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let module = inside.split(['/', '.']).next().unwrap().to_owned();
        (module, inside, code(&fs::read_to_string(path).unwrap()))
    };
    files.iter().map(source).filter(|(_, path, _)| !only_tests(path)).collect()
}

/// Drops comments, and everything from the tests on: they are last in every file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let uncommented = |line: &str| line.split("//").next().unwrap().to_owned() + "\n";
    text.lines().map(uncommented).collect()
}

/// The names right behind each `prefix::`, also inside braces.
fn names_behind(text: &str, prefix: &str) -> Vec<String> {
    let mut names = vec![];
    for (at, found) in text.match_indices(&format!("{prefix}::")) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at + found.len()..];
        let name = |s: &str| -> String {
            s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        if !rest.starts_with('{') {
            names.push(name(rest));
            continue;
        }
        let (mut depth, mut start) = (0, 1);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' => {
                    depth -= i32::from(c == '}');
                    let over = depth == 0 && c == '}';
                    if over || (depth == 1 && c == ',') {
                        names.push(name(&rest[start..i]));
                        start = i + 1;
                    }
                    if over {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What `lib.rs` re-exports, by the module it comes from.
fn reexports(lib: &str) -> HashMap<String, String> {
    let mut homes = HashMap::new();
    for item in lib.split("pub use ").skip(1) {
        let item = item.split(';').next().unwrap();
        let module = item.split("::").next().unwrap();
        homes.extend(names_behind(item, module).into_iter().map(|name| (name, module.to_owned())));
    }
    homes
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&module))
}

/// Why `module` may not contain this text, if so.
fn violations(
    module: &str,
    nested: bool,
    text: &str,
    homes: &HashMap<String, String>,
) -> Vec<String> {
    let mut wrong = vec![];
    for name in names_behind(text, "crate") {
        let target = homes.get(&name).unwrap_or(&name).as_str();
        let fine = target == module
            || match (SERVER_SIDE.contains(&module), rank(target), rank(module)) {
                (true, _, _) => SERVER_SIDE_SEES.contains(&target),
                (false, Some(below), Some(own)) => below < own,
                _ => false,
            };
        if !fine {
            wrong.push(format!("{module} uses {target}"));
        }
    }
    if text.contains("super::super::") || (!nested && text.contains("super::")) {
        wrong.push(format!("{module} climbs out of itself with super"));
    }
    wrong
}

#[test]
fn modules_use_only_what_is_below_them() {
    let sources = sources();
    let lib = &sources.iter().find(|(module, ..)| module == "lib").unwrap().2;
    let homes = reexports(lib);
    assert_eq!(homes["Failure"], "error");
    let (mut wrong, mut uses) = (vec![], 0);
    for (module, path, text) in sources.iter().filter(|(module, ..)| module != "lib") {
        assert!(
            rank(module).is_some() || SERVER_SIDE.contains(&module.as_str()),
            "where is {path}?"
        );
        uses += names_behind(text, "crate").len();
        let nested = path.contains('/') && !path.ends_with("mod.rs");
        wrong.extend(violations(module, nested, text, &homes));
    }
    assert!(uses > 60, "the scan sees only {uses} uses");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn an_upward_use_is_found_in_every_form() {
    let homes = HashMap::from([("Event".to_owned(), "connection".to_owned())]);
    for (module, text) in [
        ("error", "use crate::connection::Event;"),
        ("wire", "use crate::{\n    error::Error,\n    record::LENGTH,\n};"),
        ("wire", "use crate::{error::{Error, FrameError}, stream};"),
        ("noise", "fn f(e: crate::Event) {}"),
        ("buffer", "use crate::wire::Reader;"),
        ("time", "use super::id::Name;"),
        ("router", "use crate::{id::Name, connection::Connection};"),
        ("id", "use crate::unheard_of::X;"),
    ] {
        assert_eq!(violations(module, false, text, &homes).len(), 1, "{text}");
    }
    let fine = "use crate::{error::{Error, FrameError}, id, noise::Pattern};";
    assert_eq!(violations("wire", true, fine, &homes), [""; 0]);
    assert_eq!(names_behind("use crate::{a::{b, c}, d, e::F};", "crate"), ["a", "d", "e"]);
    assert_eq!(code("a // crate::b\n#[cfg(test)]\nmod tests { c }"), "a \n");
}

/// The names of the dependencies in the manifest.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let manifest = manifest.unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// From `at` to the end of the block that opens there, or to the first `;`.
fn item(text: &str) -> &str {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return &text[..i],
            _ => continue,
        }
        if depth == 0 {
            return &text[..=i];
        }
    }
    text
}

/// The part of every public item that its users see.
fn public(text: &str) -> Vec<String> {
    let mut seen = vec![];
    for (at, _) in text.match_indices("pub ") {
        let item = item(&text[at..]);
        let kind = item.split_whitespace().nth(1).unwrap_or_default();
        seen.push(match kind {
            "trait" | "enum" | "type" => item.to_owned(),
            "use" | "mod" | "const" if item.contains("fn ") => {
                item.split('{').next().unwrap().to_owned()
            }
            "use" | "mod" | "const" => item.to_owned(),
            // Public fields of structs with names are items of their own.
            "struct" if item.contains('(') && !item.contains('{') => {
                item.split(',').filter(|field| field.contains("pub ")).collect()
            }
            "fn" | "struct" => item.split(['{', ';']).next().unwrap().to_owned(),
            // A field.
            _ => item.split([';', '}']).next().unwrap().split(",\n").next().unwrap().to_owned(),
        });
    }
    // What a derive adds is public as well.
    let derives = text.match_indices("#[derive(").filter_map(|(at, _)| {
        let (derive, rest) = text[at..].split_once(")]")?;
        let item = rest.trim_start_matches(|c: char| c != 'p' && c != 's' && c != 'e');
        item.starts_with("pub ").then(|| derive.to_owned())
    });
    seen.extend(derives.collect::<Vec<_>>());
    seen
}

/// Public items that name a dependency, or something imported from one.
fn third_party(text: &str, dependencies: &[String]) -> Vec<String> {
    let mut foreign: Vec<String> = dependencies.to_vec();
    foreign.extend(dependencies.iter().flat_map(|name| names_behind(text, &format!("use {name}"))));
    let words = |item: &str| -> Vec<String> {
        item.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let names_one = |item: &String| words(item).iter().any(|word| foreign.contains(word));
    public(text).into_iter().filter(names_one).collect()
}

#[test]
fn no_public_item_names_a_dependency() {
    let dependencies = dependencies();
    assert!(dependencies.contains(&"x25519_dalek".to_owned()), "{dependencies:?}");
    let mut items = 0;
    for (_, path, text) in sources() {
        items += public(&text).len();
        assert_eq!(third_party(&text, &dependencies), [""; 0], "{path}");
    }
    assert!(items > 100, "the scan sees only {items} public items");
}

#[test]
fn a_dependency_in_public_is_found_in_every_position() {
    let dependencies = ["heapless".to_owned(), "serde".to_owned()];
    for text in [
        "pub fn f(x: heapless::Vec<u8, 4>) {}",
        "pub fn f(\n    &self,\n) -> heapless::Vec<u8, 4> {}",
        "use heapless::Vec;\npub fn f() -> Vec<u8, 4> {}",
        "pub struct A {\n    pub x: heapless::Vec<u8, 4>,\n}",
        "pub struct A(pub heapless::Vec<u8, 4>);",
        "pub enum A { B(heapless::Vec<u8, 4>) }",
        "pub trait A {\n    fn f(x: heapless::Vec<u8, 4>);\n}",
        "pub trait A: serde::Serialize {}",
        "pub type A = heapless::Vec<u8, 4>;",
        "pub use heapless::Vec;",
        "use serde::Serialize;\n#[derive(Clone, Serialize)]\npub struct A;",
    ] {
        assert!(!third_party(text, &dependencies).is_empty(), "{text}");
    }
    for text in [
        "use heapless::Vec;\npub struct A {\n    x: Vec<u8, 4>,\n}",
        "pub fn f() {\n    let x = heapless::Vec::new();\n}",
        "pub(crate) fn f(x: heapless::Vec<u8, 4>) {}",
        "use serde::Serialize;\n#[derive(Serialize)]\nstruct A;",
    ] {
        assert_eq!(third_party(text, &dependencies), [""; 0], "{text}");
    }
}
