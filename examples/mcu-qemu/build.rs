//! Hands the linker the script, and the memory map of the board that was chosen.

use std::{env, fs, path::PathBuf};

fn main() {
    let chosen = |board: &str| env::var_os(format!("CARGO_FEATURE_{board}")).is_some();
    let map = if chosen("LM3S6965EVB") { "lm3s6965evb.x" } else { "mps2-an385.x" };
    println!("cargo:rerun-if-changed=memory");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory for output"));
    // The script of cortex-m-rt includes a file of this name.
    fs::copy(PathBuf::from("memory").join(map), out.join("memory.x")).expect("the map is there");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
