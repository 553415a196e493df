//! A stream of bytes that never waits: what the drivers that poll have in common.

use crate::{
    client::{Client, OnEvent},
    entropy::NoEntropy,
    proto::Instant,
};

/// The stream has come to its end, whether well or not: only an authenticated close tells.
pub(crate) struct Cut;

/// A stream of bytes that never waits.
pub(crate) trait Link {
    /// Reads what is there, maybe nothing.
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Cut>;

    /// Writes as much as is taken now, maybe nothing.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Cut>;
}

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nothing moved: it is time to wait.
    Idle,
    /// Bytes moved, and there may be more.
    Moved,
    /// The connection is over: the link is to be closed.
    Over,
}

/// Reads once, deals with it, writes once.
pub(crate) fn step<'m>(
    client: &mut Client<'m>,
    link: &mut dyn Link,
    now: Instant,
    on_event: &mut OnEvent<'_, 'm>,
) -> Result<Step, NoEntropy> {
    let (space, _) = client.buffers();
    // What came before the end counts.
    let read = link.read(space);
    let n = read.as_ref().map_or(0, |n| *n);
    client.filled(n);
    client.process(now, on_event)?;
    let (_, bytes) = client.buffers();
    let (due, written) = (bytes.len(), link.write(bytes));
    let m = written.as_ref().map_or(0, |m| *m);
    client.written(m);
    let is_over = client.is_over() && m == due;
    Ok(match (read, written) {
        _ if is_over => Step::Over,
        (Err(Cut), _) | (_, Err(Cut)) => Step::Over,
        _ if n > 0 || m > 0 => Step::Moved,
        _ => Step::Idle,
    })
}

/// The same for one place of a server. That its server is the one for all places makes it another function.
#[cfg(feature = "smoltcp")]
pub(crate) fn serve<'m>(
    (server, at): (&mut crate::server::Server<'m>, usize),
    link: &mut dyn Link,
    now: Instant,
    on_event: &mut crate::server::OnEvent<'_, 'm>,
) -> Step {
    let (space, _) = server.buffers(at);
    // What came before the end counts.
    let read = link.read(space);
    let n = read.as_ref().map_or(0, |n| *n);
    server.filled(at, n);
    server.process(at, now, on_event);
    let (_, bytes) = server.buffers(at);
    let (due, written) = (bytes.len(), link.write(bytes));
    let m = written.as_ref().map_or(0, |m| *m);
    server.written(at, m);
    let is_over = server.is_over(at) && m == due;
    match (read, written) {
        _ if is_over => Step::Over,
        (Err(Cut), _) | (_, Err(Cut)) => Step::Over,
        _ if n > 0 || m > 0 => Step::Moved,
        _ => Step::Idle,
    }
}
