//! A client of a server, and nothing else.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{Size, connection::C, sizes};
use pysock_proto::{
    Admission, Connection, Envelope, Error, Event, Keypair, PeerInfo, RxBuf, SendError, TxBuf,
    Verify,
};

// SAFETY: the section exists for this table alone; it is kept in the file and never loaded.
#[unsafe(link_section = ".pysock_sizes")]
#[used]
static SIZES: [Size; 12] = sizes! {
    "Connection" Connection<C>,
    "Event" Event<'static>,
    "Result<Option<Event>, Error>" Result<Option<Event<'static>>, Error>,
    "Verify" Verify,
    "Admission" Admission,
    "Envelope" Envelope,
    "Error" Error,
    "SendError" SendError,
    "PeerInfo" PeerInfo,
    "Keypair" Keypair<C>,
    "RxBuf beside its memory" RxBuf<[u8; 0]>,
    "TxBuf beside its memory" TxBuf<[u8; 0]>,
};

// SAFETY: the only `main` in the program; the reset code expects exactly this signature.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    if let Err(error) = board::client::run::<()>() {
        black_box(error);
    }
    board::halt()
}
