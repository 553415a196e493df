//! The key store over a driver that is async: the same as the blocking one, and it may be abandoned at every point.

mod nor;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use embedded_storage::nor_flash::{
    NorFlash as Blocking, NorFlashErrorKind, ReadNorFlash as BlockingRead,
};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use nor::{Nor, SECRET, Tear, long, name};
use pysock_embedded::{
    keys::AsyncKeyStore,
    proto::{PublicKey, SecretKey},
};

const A: PublicKey = PublicKey([1; 32]);
const B: PublicKey = PublicKey([2; 32]);

/// Flash whose every operation takes a while.
struct Slow<'f>(&'f mut Nor<8, 512>);

async fn a_while() {
    let mut waited = false;
    core::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if core::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl ErrorType for Slow<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Slow<'_> {
    const READ_SIZE: usize = 4;
    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        BlockingRead::read(self.0, offset, bytes)
    }
    fn capacity(&self) -> usize {
        BlockingRead::capacity(self.0)
    }
}

impl NorFlash for Slow<'_> {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 512;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        a_while().await;
        Blocking::erase(self.0, from, to)?;
        a_while().await;
        Ok(())
    }
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        a_while().await;
        Blocking::write(self.0, offset, bytes)?;
        a_while().await;
        Ok(())
    }
}

/// The result of a future within so many polls; it is dropped after that.
fn within<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return Some(result);
        }
    }
    None
}

#[test]
fn an_abandoned_change_is_made_or_not_and_the_store_goes_on() {
    let mut flash = Nor::<8, 512>::new(2);
    flash.provision().unwrap();
    let open = AsyncKeyStore::open(Slow(&mut flash), 0..1024);
    let mut store = within(usize::MAX, open).unwrap().unwrap();
    let mut known = vec![];
    for n in 0..400u16 {
        let suites = n.to_be_bytes();
        let done = within(usize::from(n % 23), store.pin_server(0, A, &suites));
        let found = within(usize::MAX, store.server(0)).unwrap().unwrap();
        let found = found.map_or(vec![], |known| known.suites().to_vec());
        assert!(found == suites || (done.is_none() && found == known), "{n}: {found:?}");
        known = found;
    }
    assert!(flash.erased.iter().all(|times| *times > 5));
}

#[test]
fn a_change_may_be_abandoned_at_every_point() {
    let mut flash = Nor::<8, 512>::new(2);
    flash.provision().unwrap();
    for n in 0..30u8 {
        let before = n.checked_sub(1).map_or(vec![], |n| vec![n]);
        for polls in 0.. {
            let mut flash = flash.clone();
            let open = AsyncKeyStore::open(Slow(&mut flash), 0..1024);
            let mut store = within(usize::MAX, open).unwrap().unwrap();
            let done = within(polls, store.pin_server(0, A, &[n])).is_some();
            // The store goes on, and so does one that is opened anew.
            let known = within(usize::MAX, store.server(0)).unwrap().unwrap();
            let known = known.map_or(vec![], |known| known.suites().to_vec());
            assert!(known == [n] || (!done && known == before), "{n} at {polls}: {known:?}");
            let again = flash.open().unwrap().server(0).unwrap();
            assert_eq!(again.map_or(vec![], |again| again.suites().to_vec()), known);
            if done {
                break;
            }
        }
        flash.open().unwrap().pin_server(0, A, &[n]).unwrap();
    }
    assert!(flash.erased.iter().all(|times| *times > 0));
}

#[test]
fn both_fronts_leave_the_same_bytes() {
    let (mut one, mut other) = (Nor::<8, 512>::new(2), Nor::<8, 512>::new(2));
    let secret = SecretKey::from_bytes(SECRET);
    drop(one.provision().unwrap());
    let own = name("sensor-7");
    let provision = AsyncKeyStore::provision(Slow(&mut other), 0..1024, &secret, Some(&own));
    drop(within(usize::MAX, provision).unwrap().unwrap());
    for n in 0..100u8 {
        // The same cut strikes both: they do the same in the same order.
        let cut = Some((usize::from(n), Tear::Some));
        (one.cut, other.cut) = (cut, cut);
        let mut store = one.open().unwrap();
        let blocking = [
            store.pin_server(n % 3, A, &[n]).map(|()| None),
            store.pin_peer(&name(&long(0)), B).map(|()| None),
            store.peer_label(&B).map(|label| label.map(|_| B)),
            store.forget_peer(&name(&long(0))),
            store.set_name(&name(&long(n.into()))).map(|()| None),
        ];
        let open = AsyncKeyStore::open(Slow(&mut other), 0..1024);
        let mut store = within(usize::MAX, open).unwrap().unwrap();
        let label = name(&long(0));
        let slow = async {
            [
                store.pin_server(n % 3, A, &[n]).await.map(|()| None),
                store.pin_peer(&label, B).await.map(|()| None),
                store.peer_label(&B).await.map(|label| label.map(|_| B)),
                store.forget_peer(&label).await,
                store.set_name(&name(&long(n.into()))).await.map(|()| None),
            ]
        };
        assert_eq!(within(usize::MAX, slow).unwrap(), blocking, "{n}");
        assert!(one.bytes == other.bytes, "{n}");
        one.restart();
        other.restart();
    }
    assert!(one.erased.iter().all(|times| *times > 1));
}
