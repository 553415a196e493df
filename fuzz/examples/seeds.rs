//! Writes the seeds into `corpus/` and the dictionary beside it. What is there already and is no seed stays.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, name, bytes) in pysock_fuzz::seeds::all() {
        let folder = here.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    fs::write(here.join("pysock.dict"), pysock_fuzz::seeds::dictionary())
}
