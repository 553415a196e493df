//! Storage that the caller supplies, for what grows with the number of clients.
//!
//! The core does not allocate, yet a server has ten clients on a microcontroller and ten thousand on a
//! desktop. Both hand in a [`Store`]: an array of fixed room here ([`Fixed`]), a growing vector there.
//! The tables above it stay sorted and are searched by halving. Nothing is hashed, so nobody can choose
//! keys or names that collide, and the cost of a look-up has a bound that no input changes.

use core::fmt;

/// There is no room for another element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the storage is full")
    }
}

impl core::error::Error for Full {}

/// A growable sequence in memory that the caller supplies.
///
/// An implementation keeps the elements in the order of their insertion points, as a vector does.
pub trait Store<T> {
    /// The elements.
    fn as_slice(&self) -> &[T];

    /// The elements, to be changed in place.
    fn as_mut_slice(&mut self) -> &mut [T];

    /// Makes sure that the next [`insert`](Store::insert) succeeds, so that a change to several tables
    /// happens in all of them or in none.
    ///
    /// # Errors
    /// There is no room for one more element; nothing has changed.
    fn reserve(&mut self) -> Result<(), Full>;

    /// Puts `value` before the element at `at`, or at the end if `at` is the number of elements.
    ///
    /// # Errors
    /// There is no room, or `at` is past the end; `value` is dropped and nothing has changed.
    fn insert(&mut self, at: usize, value: T) -> Result<(), Full>;

    /// Takes the element at `at` out, if there is one; those behind it move up.
    fn remove(&mut self, at: usize) -> Option<T>;

    /// Drops every element for which `keep` says no, in one pass and in order.
    fn retain(&mut self, keep: impl FnMut(&T) -> bool);
}

/// A [`Store`] with room for `N` elements inside itself: for microcontrollers, `static`s and tests.
#[derive(Clone, Debug)]
pub struct Fixed<T, const N: usize>(heapless::Vec<T, N>);

impl<T, const N: usize> Fixed<T, N> {
    /// An empty store.
    pub const fn new() -> Self {
        Fixed(heapless::Vec::new())
    }
}

impl<T, const N: usize> Default for Fixed<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Store<T> for Fixed<T, N> {
    fn as_slice(&self) -> &[T] {
        &self.0
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn reserve(&mut self) -> Result<(), Full> {
        self.lend().reserve()
    }

    fn insert(&mut self, at: usize, value: T) -> Result<(), Full> {
        self.lend().insert(at, value)
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        self.lend().remove(at)
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.lend().retain(keep);
    }
}

impl<T, const N: usize> Fixed<T, N> {
    /// Lends the store to something that shall not be compiled anew for every `N`.
    pub fn lend(&mut self) -> Lent<'_, T> {
        Lent(self.0.as_mut_view())
    }
}

/// A [`Fixed`] store, lent: its room is not part of the type.
#[derive(Debug)]
pub struct Lent<'m, T>(&'m mut heapless::VecView<T>);

impl<T> Store<T> for Lent<'_, T> {
    fn as_slice(&self) -> &[T] {
        self.0
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        self.0
    }

    fn reserve(&mut self) -> Result<(), Full> {
        if self.0.is_full() { Err(Full) } else { Ok(()) }
    }

    fn insert(&mut self, at: usize, value: T) -> Result<(), Full> {
        if at > self.0.len() {
            return Err(Full);
        }
        self.0.insert(at, value).map_err(|_| Full)
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        (at < self.0.len()).then(|| self.0.remove(at))
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }
}

#[cfg(test)]
pub(crate) mod growing;

#[cfg(test)]
mod tests {
    use super::{growing::Growing, *};

    static EMPTY: Fixed<u8, 3> = Fixed::new();

    fn behaves_like_a_vector(mut store: impl Store<u8>) {
        assert_eq!(store.remove(0), None);
        assert_eq!(store.insert(1, 9), Err(Full), "past the end");
        for (at, value) in [(0, 3), (0, 1), (1, 2)] {
            assert_eq!(store.reserve(), Ok(()));
            assert_eq!(store.insert(at, value), Ok(()));
        }
        assert_eq!(store.as_slice(), [1, 2, 3]);
        store.as_mut_slice().reverse();
        assert_eq!(store.remove(3), None);
        assert_eq!(store.remove(1), Some(2));
        assert_eq!(store.as_slice(), [3, 1]);
        store.retain(|value| *value != 3);
        assert_eq!(store.as_slice(), [1]);
    }

    #[test]
    fn both_kinds_of_memory_behave_alike() {
        behaves_like_a_vector(EMPTY.clone());
        behaves_like_a_vector(EMPTY.clone().lend());
        behaves_like_a_vector(Growing::default());
    }

    #[test]
    fn a_full_store_says_so_and_stays_as_it_was() {
        let mut store = Fixed::<u8, 1>::default();
        assert_eq!(store.insert(0, 7), Ok(()));
        assert_eq!(store.reserve(), Err(Full));
        assert_eq!(store.insert(0, 8), Err(Full));
        assert_eq!(store.as_slice(), [7]);
    }
}
