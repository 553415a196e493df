//! The thread in the background, and how a call waits for it.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::runtime::{Builder, Runtime};

/// One for the process, and never dropped: servers and clients may say farewell after their owners have gone.
///
/// A multi-threaded runtime with one worker, because its worker drives network and timers by itself; a
/// current-thread runtime would want a thread of ours that does nothing but keep it going.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Starts the thread if there is none yet.
pub(super) fn start() -> io::Result<()> {
    if RUNTIME.get().is_none() {
        let mut builder = Builder::new_multi_thread();
        let fresh = builder.worker_threads(1).thread_name("pysock").enable_all().build()?;
        // Another thread may have been faster. Dropping a runtime in the usual way could wait.
        if let Err(surplus) = RUNTIME.set(fresh) {
            surplus.shutdown_background();
        }
    }
    Ok(())
}

/// Wakes a thread that is parked. The flag is there because other code may park the same thread meanwhile, and
/// then takes the wake-up.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits for `future` on this thread, while the one in the background moves bytes.
///
/// Not `Runtime::block_on`, which panics when called from inside a runtime.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    // Whoever waits has been made by `start`, so the runtime is there.
    let _entered = RUNTIME.get().map(Runtime::enter);
    // Inside a task of another runtime, the task's budget would run out and never be renewed.
    let mut future = pin!(tokio::task::unconstrained(future));
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
