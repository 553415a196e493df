//! The desktop's storage for the core's tables: a vector that grows.

use pysock_proto::store::{Full, Store};

/// A [`Store`] that grows as needed.
#[derive(Debug)]
pub(crate) struct Grow<T>(Vec<T>);

impl<T> Grow<T> {
    pub(crate) const fn new() -> Self {
        Grow(Vec::new())
    }
}

impl<T> Store<T> for Grow<T> {
    fn as_slice(&self) -> &[T] {
        &self.0
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn reserve(&mut self) -> Result<(), Full> {
        self.0.try_reserve(1).map_err(|_| Full)
    }

    fn insert(&mut self, at: usize, value: T) -> Result<(), Full> {
        if at > self.0.len() {
            return Err(Full);
        }
        self.reserve()?;
        self.0.insert(at, value);
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        (at < self.0.len()).then(|| self.0.remove(at))
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }
}
