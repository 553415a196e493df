//! What a task has found, as the fronts give it: once for all drivers.

use crate::proto::{
    Name, PublicKey, SecretKey,
    flash::{Entry, KeyStoreError, KnownServer},
};

type Found = Result<Option<Entry>, KeyStoreError>;

#[inline(never)]
pub(super) fn identity(found: Found) -> Result<SecretKey, KeyStoreError> {
    // A store without one does not mount.
    found?.as_ref().and_then(Entry::secret).cloned().ok_or(KeyStoreError::Empty)
}

#[inline(never)]
pub(super) fn name(found: Found) -> Result<Option<Name>, KeyStoreError> {
    Ok(found?.as_ref().and_then(Entry::name).copied())
}

#[inline(never)]
pub(super) fn server(found: Found) -> Result<Option<KnownServer>, KeyStoreError> {
    Ok(found?.as_ref().and_then(Entry::server).copied())
}

#[inline(never)]
pub(super) fn key(found: Found) -> Result<Option<PublicKey>, KeyStoreError> {
    Ok(found?.as_ref().and_then(Entry::key).copied())
}

#[inline(never)]
pub(super) fn done(found: Found) -> Result<(), KeyStoreError> {
    found.map(|_| ())
}
