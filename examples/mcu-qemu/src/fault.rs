//! Bad ends: they say what happened and exit with a status of their own.

use core::{arch::naked_asm, cell::Cell, panic::PanicInfo};

use cortex_m::{
    interrupt::{self, Mutex},
    peripheral::SCB,
};
use cortex_m_rt::exception;

use crate::{println, semihosting, stack};

/// The status of a panic.
pub const PANIC: u8 = 101;
/// The status of a fault.
pub const FAULT: u8 = 102;

type LastWords = Cell<Option<fn()>>;

static LAST_WORDS: Mutex<LastWords> = Mutex::new(Cell::new(None));

/// What to do on a fault before the end, with interrupts off and the whole stack free.
pub fn on_fault(run: fn()) {
    interrupt::free(|section| LAST_WORDS.borrow(section).set(Some(run)));
}

/// The stack may have run over, and then the first word pushed here would fault again and lock the processor up, which
/// the emulator does not leave. So it begins a new stack where the old one began, and never returns.
// SAFETY: the only definition of the symbol; the vector table expects exactly this.
#[unsafe(naked)]
#[unsafe(export_name = "HardFault")]
extern "C" fn hard_fault() -> ! {
    naked_asm!(
        "mov r0, sp",
        "movw r1, #:lower16:_stack_start",
        "movt r1, #:upper16:_stack_start",
        "mov sp, r1",
        "b {report}",
        report = sym report,
    )
}

/// Where the registers of the fault are was `sp`.
extern "C" fn report(sp: usize) -> ! {
    // Bits of CFSR: the fault came while pushing the registers of an exception, or by data with a known address.
    const ON_PUSH: u32 = 1 << 12 | 1 << 4;
    const MMFAR_VALID: u32 = 1 << 7;
    const BFAR_VALID: u32 = 1 << 15;
    // SAFETY: the block exists on every Cortex-M; only read here.
    let scb = unsafe { &*SCB::PTR };
    let cfsr = scb.cfsr.read();
    println!("FAULT: cfsr {cfsr:#010x}, hfsr {:#010x}, sp {sp:#010x}", scb.hfsr.read());
    if cfsr & MMFAR_VALID != 0 {
        println!("FAULT: no right to access {:#010x}", scb.mmfar.read());
    }
    if cfsr & BFAR_VALID != 0 {
        println!("FAULT: nothing at {:#010x}", scb.bfar.read());
    }
    if sp < stack::bottom() || cfsr & ON_PUSH != 0 {
        println!("FAULT: stack overflow");
    }
    let run = interrupt::free(|section| LAST_WORDS.borrow(section).take());
    if let Some(run) = run {
        run();
    }
    semihosting::exit(FAULT)
}

/// An interrupt that nobody wants.
// SAFETY: an exception handler like any other; it only prints and ends.
#[exception]
unsafe fn DefaultHandler(number: i16) -> ! {
    println!("FAULT: unexpected exception {number}");
    semihosting::exit(FAULT)
}

/// Keeps the stack: what happened is on it. If that is too much for it, that is a fault, and ends as such.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    println!("PANIC: {info}");
    semihosting::exit(PANIC)
}
