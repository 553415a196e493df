//! Hands the link script to the linker, for bare metal only.

fn main() {
    println!("cargo:rerun-if-changed=link.x");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
        println!("cargo:rustc-link-arg-bins=-T{here}/link.x");
        println!("cargo:rustc-link-arg-bins=--nmagic");
    }
}
