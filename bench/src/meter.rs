//! What the kernel knows of a process: processor time, memory; and what it allows: files, cores.

use std::{fs, io};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

/// Processor time of all threads of a process, in seconds. The scheduler counts nanoseconds, unlike `/proc/PID/stat`.
pub(crate) fn cpu(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let of = |path: std::path::PathBuf| -> Option<f64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    threads.filter_map(|thread| of(thread.ok()?.path())).sum::<f64>() / 1e9
}

/// Resident memory, in KiB.
pub(crate) fn rss(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS in the status of the server"))
}

/// Allows as many files as the system lets this process have, and says how many.
pub(crate) fn raise_file_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Runs `f` on one core only; processes that it starts stay there.
pub(crate) fn pinned<T>(pin: bool, f: impl FnOnce() -> T) -> io::Result<T> {
    if !pin {
        return Ok(f());
    }
    let me = Pid::from_raw(0);
    let before = sched_getaffinity(me)?;
    let allowed = |core: &usize| before.is_set(*core).unwrap_or(false);
    let core = (0..CpuSet::count()).find(allowed).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(core)?;
    sched_setaffinity(me, &one)?;
    let result = f();
    sched_setaffinity(me, &before)?;
    Ok(result)
}
