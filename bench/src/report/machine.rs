//! Where it was measured, in general terms.

use std::{fs, thread};

/// What of a processor matters here.
const FEATURES: &[&str] = &["aes", "vaes", "avx2", "avx512f", "sha_ni", "asimd", "pmull"];

/// Cores, features, kernel.
pub(super) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let is_flags = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let flags: Vec<_> = cpu.lines().find(is_flags).unwrap_or_default().split_whitespace().collect();
    let features: Vec<_> = FEATURES.iter().filter(|f| flags.contains(f)).copied().collect();
    let release = read("/proc/sys/kernel/osrelease");
    let kernel: Vec<_> = release.trim().split(['.', '-']).take(2).collect();
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let load = read("/proc/loadavg");
    format!(
        "{cores} {} cores ({}), Linux {}, congestion control {}, load at the end {}.",
        std::env::consts::ARCH,
        features.join(", "),
        kernel.join("."),
        congestion.trim(),
        load.split(' ').next().unwrap_or_default()
    )
}
