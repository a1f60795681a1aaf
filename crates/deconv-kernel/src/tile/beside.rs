//! What a tile does beside its products. A step multiplies 24 vectors, and has time for a few loads and stores more.

#![allow(unsafe_code)] // Stores whose place `begin` asserts once for all steps.

use core::marker::PhantomData;

use pulp::Simd;

use crate::element::Element;
use crate::vectors::prefetch;

/// What a tile does beside its products.
pub(crate) trait Beside<T: Element> {
    /// Before so many steps of so many values each.
    ///
    /// # Panics
    ///
    /// If there is no place for what the steps will store.
    fn begin(&mut self, steps: usize, values: usize);

    /// Once in each step, which has loaded these vectors from there.
    ///
    /// # Safety
    ///
    /// [`Self::begin`] has been called, and there are no more steps, and no more values of a step, than it was told.
    unsafe fn step<S: Simd, const V: usize>(
        &mut self,
        vectors: [T::Vector<S>; V],
        from: [*const T; V],
    );
}

/// Does nothing.
pub(crate) struct Nothing;

impl<T: Element> Beside<T> for Nothing {
    #[inline(always)]
    fn begin(&mut self, _: usize, _: usize) {}

    #[inline(always)]
    unsafe fn step<S: Simd, const V: usize>(&mut self, _: [T::Vector<S>; V], _: [*const T; V]) {}
}

/// Stores the source's vectors, `[step][vector]`, and asks for those that follow them, which a next tile may read.
pub(crate) struct Storing<'a, T> {
    to: *mut T,
    length: usize,
    values: PhantomData<&'a mut [T]>,
}

impl<'a, T> Storing<'a, T> {
    pub(crate) fn to(values: &'a mut [T]) -> Self {
        Self {
            to: values.as_mut_ptr(),
            length: values.len(),
            values: PhantomData,
        }
    }
}

impl<T: Element> Beside<T> for Storing<'_, T> {
    #[inline(always)]
    fn begin(&mut self, steps: usize, values: usize) {
        assert!(steps * values <= self.length);
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const V: usize>(
        &mut self,
        vectors: [T::Vector<S>; V],
        from: [*const T; V],
    ) {
        // By index: of arrays that are iterators, the compiler keeps the vectors in memory.
        for v in 0..V {
            prefetch(from[v].wrapping_add(V * T::lanes::<S>()));
            let to = self.to.wrapping_add(v * T::lanes::<S>());
            // SAFETY: there is place for each step's vectors, by the assertion in `begin`.
            unsafe { to.cast::<T::Vector<S>>().write_unaligned(vectors[v]) };
        }
        self.to = self.to.wrapping_add(V * T::lanes::<S>());
    }
}

/// Asks for a place in memory in each step. Many at once would keep the tile's own operands waiting.
pub(crate) struct Fetching<I>(pub(crate) I);

impl<T: Element, I: Iterator<Item = *const T>> Beside<T> for Fetching<I> {
    #[inline(always)]
    fn begin(&mut self, _: usize, _: usize) {}

    #[inline(always)]
    unsafe fn step<S: Simd, const V: usize>(&mut self, _: [T::Vector<S>; V], _: [*const T; V]) {
        if let Some(place) = self.0.next() {
            prefetch(place);
        }
    }
}
