//! The desktop's storage for the core's tables: a vector that grows.

use pysock_proto::store::{Full, Store};

/// A [`Store`] that grows as needed, up to a bound.
#[derive(Debug)]
pub(crate) struct Grow<T> {
    items: Vec<T>,
    most: usize,
}

impl<T> Grow<T> {
    pub(crate) const fn new() -> Self {
        Self::bounded(usize::MAX)
    }

    /// Up to `most` elements.
    pub(crate) const fn bounded(most: usize) -> Self {
        Grow { items: Vec::new(), most }
    }
}

impl<T> Store<T> for Grow<T> {
    fn as_slice(&self) -> &[T] {
        &self.items
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items
    }

    fn reserve(&mut self) -> Result<(), Full> {
        if self.items.len() >= self.most {
            return Err(Full);
        }
        self.items.try_reserve(1).map_err(|_| Full)
    }

    fn insert(&mut self, at: usize, value: T) -> Result<(), Full> {
        if at > self.items.len() {
            return Err(Full);
        }
        self.reserve()?;
        self.items.insert(at, value);
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        (at < self.items.len()).then(|| self.items.remove(at))
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
    }
}
