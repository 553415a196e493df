//! The services of the host: command line, console, files, the end.
//!
//! A call is one instruction, however much the host does for it, so it hardly shows in measurements. On a chip without
//! a debugger that instruction is a fault: this is for emulators.

use core::{arch::asm, cell::Cell, fmt};

use cortex_m::interrupt::{self, Mutex};

const OPEN: usize = 0x01;
const CLOSE: usize = 0x02;
const WRITE: usize = 0x05;
const READ: usize = 0x06;
const SEEK: usize = 0x0A;
const LENGTH: usize = 0x0C;
const COMMAND_LINE: usize = 0x15;
const EXIT: usize = 0x20;

/// Asks the host.
///
/// # Safety
/// `block` is what `operation` takes, and the memory that it names may be read or written as `operation` does.
unsafe fn call(operation: usize, block: &mut [usize]) -> isize {
    let mut result = operation;
    // SAFETY: the host reads and writes only what the caller answers for; no register but r0 changes.
    unsafe {
        asm!("bkpt 0xAB", inout("r0") result, in("r1") block.as_mut_ptr(), options(nostack, preserves_flags));
    }
    result as isize
}

/// The words that the host passes on, separated by spaces, as far as they fit into `space`.
pub fn command_line(space: &mut [u8]) -> &str {
    let mut block = [space.as_mut_ptr() as usize, space.len()];
    // SAFETY: the host writes at most the stated length, and then says how much that was.
    let failed = unsafe { call(COMMAND_LINE, &mut block) } != 0;
    let n = if failed { 0 } else { block[1] };
    str::from_utf8(space.get(..n).unwrap_or_default()).unwrap_or_default()
}

/// Ends the program; the emulator exits with this status.
pub fn exit(status: u8) -> ! {
    const APPLICATION_EXIT: usize = 0x2_0026;
    loop {
        // SAFETY: takes these two words and touches nothing.
        unsafe { call(EXIT, &mut [APPLICATION_EXIT, status.into()]) };
    }
}

/// How to open a file.
#[derive(Clone, Copy)]
pub enum Mode {
    /// An existing one, for reading and writing.
    Update = 3,
    /// For writing, from the start.
    Write = 4,
    /// A new one, for reading and writing; an old one loses what is in it.
    Create = 7,
}

/// The host does not do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostError;

/// A file of the host.
#[derive(Debug)]
pub struct File(usize);

impl File {
    /// Opens the file at `path`, of at most 127 bytes.
    ///
    /// # Errors
    /// The host does not let it, or the path is too long.
    pub fn open(path: &str, mode: Mode) -> Result<Self, HostError> {
        let mut space = [0; 128];
        // The host wants a zero behind it.
        if path.len() >= space.len() {
            return Err(HostError);
        }
        space.iter_mut().zip(path.bytes()).for_each(|(to, from)| *to = from);
        let mut block = [space.as_ptr() as usize, mode as usize, path.len()];
        // SAFETY: the host reads the path up to the zero behind it.
        let handle = unsafe { call(OPEN, &mut block) };
        usize::try_from(handle).map(File).map_err(|_| HostError)
    }

    /// How many bytes it has.
    ///
    /// # Errors
    /// The host does not say.
    pub fn length(&self) -> Result<usize, HostError> {
        // SAFETY: takes this word and touches nothing.
        let length = unsafe { call(LENGTH, &mut [self.0]) };
        usize::try_from(length).map_err(|_| HostError)
    }

    /// Goes to a place in it.
    ///
    /// # Errors
    /// There is no such place.
    pub fn seek(&mut self, to: usize) -> Result<(), HostError> {
        // SAFETY: takes these two words and touches nothing.
        let result = unsafe { call(SEEK, &mut [self.0, to]) };
        if result == 0 { Ok(()) } else { Err(HostError) }
    }

    /// Reads on, all of `bytes`.
    ///
    /// # Errors
    /// There is less in the file.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), HostError> {
        let mut block = [self.0, bytes.as_mut_ptr() as usize, bytes.len()];
        // SAFETY: the host writes at most the stated length.
        let missing = unsafe { call(READ, &mut block) };
        if missing == 0 { Ok(()) } else { Err(HostError) }
    }

    /// Writes on, all of `bytes`.
    ///
    /// # Errors
    /// The host does not take it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let mut block = [self.0, bytes.as_ptr() as usize, bytes.len()];
        // SAFETY: the host reads the stated length.
        let missing = unsafe { call(WRITE, &mut block) };
        if missing == 0 { Ok(()) } else { Err(HostError) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: takes this word and touches nothing; nobody has the handle any more.
        unsafe { call(CLOSE, &mut [self.0]) };
    }
}

/// The handle of the console, once it is open.
static CONSOLE: Mutex<Cell<Option<usize>>> = Mutex::new(Cell::new(None));

fn console(bytes: &[u8]) {
    let handle = interrupt::free(|section| {
        let console = CONSOLE.borrow(section);
        if console.get().is_none() {
            // This name stands for the console. It is never closed.
            let opened = File::open(":tt", Mode::Write).ok();
            console.set(opened.map(|file| core::mem::ManuallyDrop::new(file).0));
        }
        console.get()
    });
    if let Some(handle) = handle {
        // Nobody is left to be told of an error.
        let _ = core::mem::ManuallyDrop::new(File(handle)).write(bytes);
    }
}

/// Collects what belongs together, so that the lines of a host with more to print stay whole.
struct Line {
    bytes: [u8; 96],
    len: usize,
}

impl Line {
    fn show(&mut self) {
        console(self.bytes.get(..self.len).unwrap_or_default());
        self.len = 0;
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.len == self.bytes.len() {
                self.show();
            }
            if let Some(to) = self.bytes.get_mut(self.len) {
                *to = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Prints; [`println!`](crate::println) is more convenient.
pub fn print(what: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 96], len: 0 };
    // Neither the line nor the console returns errors.
    let _ = fmt::write(&mut line, what);
    line.show();
}

/// Prints a line on the console of the host.
#[macro_export]
macro_rules! println {
    ($($what:tt)*) => { $crate::semihosting::print(format_args!("{}\n", format_args!($($what)*))) };
}
