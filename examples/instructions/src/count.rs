//! One run of this program under callgrind.

use std::{env, error::Error, fs, path::Path, process::Command};

use crate::work::ROWS;

/// What callgrind calls the function that it counts. With a pattern in its place it writes nothing down.
const COUNTED: &str = "pysock_instructions::work::counted";

/// Where the processor matters less: callgrind counts each turn of a `rep movsb`, which the C library takes on some.
const LIBC: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-ERMS,-FSRM";

/// The figures of [`ROWS`] with this provider. `None`: this computer has no such suite.
pub(crate) fn count(provider: &str) -> Result<Option<Vec<u64>>, Box<dyn Error>> {
    let out = env::temp_dir().join(format!("pysock-instructions-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let counted = run(provider, &out);
    fs::remove_dir_all(&out)?;
    counted
}

fn run(provider: &str, out: &Path) -> Result<Option<Vec<u64>>, Box<dyn Error>> {
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .args([format!("--toggle-collect={COUNTED}"), format!("--dump-after={COUNTED}")])
        .arg(format!("--callgrind-out-file={}", out.join("dump").display()))
        .arg(env::current_exe()?)
        .args(["work", provider])
        .env("GLIBC_TUNABLES", LIBC)
        .status()
        .map_err(|error| format!("valgrind: {error}"))?;
    match status.code() {
        Some(0) => {}
        Some(code) if code == i32::from(crate::NO_SUITE) => return Ok(None),
        _ => return Err(format!("{provider}: {status}").into()),
    }
    let figures = (1..=ROWS.len()).map(|n| {
        let text = fs::read_to_string(out.join(format!("dump.{n}")))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(total.ok_or("a dump of callgrind has no total")?.trim().parse()?)
    });
    figures.collect::<Result<_, Box<dyn Error>>>().map(Some)
}
