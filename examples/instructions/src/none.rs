//! No cryptography at all, so that only pysock itself is counted.

use pysock_proto::{
    Suite,
    crypto::{Crypto, Forged, LowOrder, TAG},
};

pub(crate) enum NoCrypto {}

impl Crypto for NoCrypto {
    fn suites() -> &'static [u8] {
        &[Suite::ChaChaPoly as u8]
    }

    fn seal(_: Suite, _: &[u8; 32], _: u64, _: &[u8], _: &mut [u8]) -> [u8; TAG] {
        [0; TAG]
    }

    fn open(
        _: Suite,
        _: &[u8; 32],
        _: u64,
        _: &[u8],
        _: &mut [u8],
        _: &[u8; TAG],
    ) -> Result<(), Forged> {
        Ok(())
    }

    fn hash(_: &[&[u8]]) -> [u8; 32] {
        [0; 32]
    }

    fn public(secret: &[u8; 32]) -> [u8; 32] {
        *secret
    }

    fn dh(_: &[u8; 32], _: &[u8; 32]) -> Result<[u8; 32], LowOrder> {
        Ok([0; 32])
    }
}
