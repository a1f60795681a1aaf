//! A result that is written once, into memory that was not cleared before.
//!
//! The output of a large layer is tens of megabytes; to clear it first would cost as much memory
//! traffic as to write it. [`Fresh`] hands out parts of uninitialised memory, and its count of
//! written values proves that none was left out.

#![allow(unsafe_code)] // A vector, and parts of it, whose values were all written.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::element::Element;

/// Values of a new vector that are yet to be written, each once.
pub(crate) struct Fresh<'a, T> {
    values: &'a mut [MaybeUninit<T>],
}

impl<T> Default for Fresh<'_, T> {
    /// No values.
    fn default() -> Self {
        Self { values: &mut [] }
    }
}

/// Values of a result that several threads write.
pub(crate) struct Places<'a, T> {
    first: *mut MaybeUninit<T>,
    length: usize,
    values: PhantomData<&'a mut [MaybeUninit<T>]>,
}

// SAFETY: it hands out pointers to numbers; who writes through them keeps the threads apart.
unsafe impl<T: Element> Sync for Places<'_, T> {}

impl<T: Element> Places<'_, T> {
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Where a value is. No two threads write the same one, and the caller counts as written only what it has
    /// written.
    #[inline(always)]
    pub(crate) fn at(&self, index: usize) -> *mut T {
        self.first.cast::<T>().wrapping_add(index)
    }
}

/// One phase of a line: the sums at `first..first + length` of a buffer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Column {
    pub(crate) first: usize,
    pub(crate) length: usize,
}

impl<T: Element> Fresh<'_, T> {
    /// A vector of `length` values, written by `write`, which returns how many it has written.
    ///
    /// # Panics
    ///
    /// If that is less than all.
    pub(crate) fn build(length: usize, write: impl FnOnce(Fresh<T>) -> usize) -> Vec<T> {
        let mut all = T::pool().results.take(length);
        let values = &mut all.spare_capacity_mut()[..length];
        assert_eq!(write(Fresh { values }), length, "values written");
        // SAFETY: no value is in two parts, and none is written twice, since writing consumes the
        // part. So `length` written values are all of them.
        unsafe { all.set_len(length) };
        all
    }
}

impl<'a, T: Element> Fresh<'a, T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Where a value will be written.
    pub(crate) fn place(&self, index: usize) -> *const T {
        self.values.as_ptr().cast::<T>().wrapping_add(index)
    }

    /// The values themselves.
    ///
    /// # Safety
    ///
    /// The caller counts as written only what it has written, and writes nothing but numbers.
    pub(crate) unsafe fn into_values(self) -> &'a mut [MaybeUninit<T>] {
        self.values
    }

    /// Writes one value everywhere. What it returns has been written.
    #[inline(always)]
    pub(crate) fn fill(self, value: T) -> &'a mut [T] {
        for to in self.values.iter_mut() {
            to.write(value);
        }
        // SAFETY: all of them have just been written.
        unsafe { self.values.assume_init_mut() }
    }

    /// The values, for units that are no parts of it one after the other.
    pub(crate) fn places(self) -> Places<'a, T> {
        Places {
            first: self.values.as_mut_ptr(),
            length: self.values.len(),
            values: PhantomData,
        }
    }

    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        let (values, rest) = self.values.split_at_mut(at);
        (Self { values }, Self { values: rest })
    }

    /// Interleaves columns of `values` and adds the bias; past a column's end stands the bias
    /// without a sum. Returns the number of values, all of which are written.
    #[inline(always)]
    pub(crate) fn interleave(self, values: &[T], columns: &[Column], bias: T) -> usize {
        let Self { values: line } = self;
        let whole = columns.iter().map(|column| column.length).min();
        let whole = whole.unwrap_or(0).min(line.len() / columns.len());
        let part = |column: usize| values[columns[column].first..][..whole].iter();
        // With a constant number of columns, the compiler uses vector shuffles.
        match columns.len() {
            1 => {
                for (to, a) in line.iter_mut().zip(part(0)) {
                    to.write(*a + bias);
                }
            }
            2 => {
                let groups = line.chunks_exact_mut(2);
                for ((to, a), b) in groups.zip(part(0)).zip(part(1)) {
                    to[0].write(*a + bias);
                    to[1].write(*b + bias);
                }
            }
            3 => {
                let groups = line.chunks_exact_mut(3);
                for (((to, a), b), c) in groups.zip(part(0)).zip(part(1)).zip(part(2)) {
                    to[0].write(*a + bias);
                    to[1].write(*b + bias);
                    to[2].write(*c + bias);
                }
            }
            4 => {
                let parts = part(0).zip(part(1)).zip(part(2)).zip(part(3));
                for (to, (((a, b), c), d)) in line.chunks_exact_mut(4).zip(parts) {
                    to[0].write(*a + bias);
                    to[1].write(*b + bias);
                    to[2].write(*c + bias);
                    to[3].write(*d + bias);
                }
            }
            _ => {
                // Eight columns at a time: each is read in order.
                let mut first = 0;
                while first < columns.len() {
                    let rest = columns.len() - first;
                    if rest >= 8 {
                        interleave_some::<T, 8>(line, values, columns, first, whole, bias);
                        first += 8;
                    } else if rest >= 4 {
                        interleave_some::<T, 4>(line, values, columns, first, whole, bias);
                        first += 4;
                    } else {
                        interleave_some::<T, 1>(line, values, columns, first, whole, bias);
                        first += 1;
                    }
                }
            }
        }
        // Where some columns have ended, or all.
        let rest = line.chunks_mut(columns.len()).enumerate().skip(whole);
        for (cell, group) in rest {
            for (to, column) in group.iter_mut().zip(columns) {
                if cell < column.length {
                    to.write(values[column.first + cell] + bias);
                } else {
                    to.write(bias);
                }
            }
        }
        line.len()
    }
}

/// Writes `N` columns from `first` on, as far as all of them have `whole` values.
#[inline(always)]
fn interleave_some<T: Element, const N: usize>(
    line: &mut [MaybeUninit<T>],
    values: &[T],
    columns: &[Column],
    first: usize,
    whole: usize,
    bias: T,
) {
    let parts: [&[T]; N] = core::array::from_fn(|i| &values[columns[first + i].first..][..whole]);
    for cell in 0..whole {
        let at = cell * columns.len() + first;
        let to = &mut line[at..at + N];
        for (to, part) in to.iter_mut().zip(parts) {
            to.write(part[cell] + bias);
        }
    }
}
