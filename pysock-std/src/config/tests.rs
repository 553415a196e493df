use std::{fs, path::Path};

use super::{load::File, table::Table, *};

/// The template with every option in force.
fn uncommented(template: &str) -> String {
    template
        .lines()
        .filter_map(|line| {
            let option = line.strip_prefix("# ").unwrap_or(line);
            let name = option.trim_start().split_once(':').map_or("", |(name, _)| name);
            let known = |names: &[&str]| names.contains(&name);
            let nested = option.starts_with("  ") && known(Queue::OPTIONS);
            let top = known(ServerConfig::OPTIONS) || known(ClientConfig::OPTIONS);
            (nested || (top && !option.starts_with(' '))).then(|| option.to_owned() + "\n")
        })
        .collect()
}

fn names_of(yaml: &str) -> Vec<&str> {
    let top = yaml.lines().filter(|line| !line.starts_with(' '));
    let mut names: Vec<_> = top.map(|line| line.split(':').next().unwrap()).collect();
    names.sort_unstable();
    names
}

fn template_shows_the_defaults<C: File + PartialEq + std::fmt::Debug>(file_name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name);
    let mut created: C = load::load(&path).unwrap();
    let yaml = uncommented(C::TEMPLATE).replace("{secret}", created.key().to_text().expose());
    let mut all = C::OPTIONS.to_vec();
    all.sort_unstable();
    assert_eq!(names_of(&yaml), all, "every option is explained, once");
    fs::write(&path, &yaml).unwrap();
    assert_eq!(load::load::<C>(&path).unwrap(), created);
    let mut defaults = C::start(created.key().clone());
    *defaults.state() = Some(path.with_extension("state"));
    assert_eq!(created, defaults);
}

#[test]
fn the_new_file_explains_every_option_and_shows_its_default() {
    template_shows_the_defaults::<ServerConfig>("server.yaml");
    template_shows_the_defaults::<ClientConfig>("client.yaml");
}

#[test]
fn a_file_name_that_is_taken_is_refused() {
    for name in ["server.key", "server.state"] {
        let error = ServerConfig::load(Path::new(name)).unwrap_err();
        assert!(matches!(error, ConfigError::FileName { .. }), "{error}");
    }
}
