//! What a desktop supplies: grows until the machine has no memory left.

extern crate std;
use super::{Full, Store};
use std::vec::Vec;

#[derive(Debug)]
pub(crate) struct Growing<T>(Vec<T>);

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Growing(Vec::new())
    }
}

impl<T> Store<T> for Growing<T> {
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
