//! The register tile: the one inner loop of all kernels, and the only file with `unsafe`.
//!
//! A tile holds `N` rows of `V` vectors of sums in registers. Each step loads `V` vectors of the
//! source, and adds to every row their product with one weight of that row. What the rows, the
//! lanes and the steps are is the caller's: output channels, positions and taps in the forward
//! pass; output channels, input channels and positions in the weight's gradient.

#![allow(unsafe_code)]

use core::fmt::Debug;
use core::mem::MaybeUninit;
use core::ops::{Add, AddAssign, Mul};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Pool;

/// The most vectors of a tile. With [`rows`], all sums, the loaded vectors and one weight fill the
/// registers.
pub(crate) const VECTORS: usize = 2;

/// The most rows of a tile: 6 rows of 2 vectors where there are 16 registers, 12 where there are 32.
pub(crate) const fn rows<S: Simd>() -> usize {
    match S::REGISTER_COUNT {
        ..32 => 6,
        _ => 12,
    }
}

struct Registers<T>(core::marker::PhantomData<T>);

impl<T: Element> WithSimd for Registers<T> {
    type Output = (usize, usize);

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        (T::lanes::<S>(), rows::<S>())
    }
}

/// The lanes of a vector, and the most rows of a tile.
pub(crate) fn registers<T: Element>(arch: Arch) -> (usize, usize) {
    arch.dispatch(Registers::<T>(core::marker::PhantomData))
}

/// `f32` and `f64`: a number, and a vector of such numbers.
pub trait Element:
    Copy
    + Debug
    + Default
    + Send
    + Sync
    + PartialEq
    + Add<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + 'static
{
    /// [`Element::lanes`] numbers, without padding, valid for any bits.
    type Vector<S: Simd>: Copy;

    /// The numbers in a vector.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// A vector of the same number.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a * b + c`, rounded once where the machine can.
    fn mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;
    /// Buffers of such numbers.
    fn pool() -> &'static Pool<Self>;
}

macro_rules! element {
    ($type:ty, $vector:ident, $splat:ident, $mul_add:ident) => {
        impl Element for $type {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }

            fn pool() -> &'static Pool<Self> {
                static POOL: Pool<$type> = Pool::new();
                &POOL
            }
        }
    };
}

element!(f32, f32s, splat_f32s, mul_add_e_f32s);
element!(f64, f64s, splat_f64s, mul_add_e_f64s);

/// The steps of a tile: where each finds its vectors in the source, and its weights.
pub(crate) struct Steps {
    steps: Vec<Step>,
    /// The largest of each, up to and with each step.
    most: Vec<Step>,
}

/// One step: how far its vectors lie after the tile's starts, and its weights after its rows'.
#[derive(Clone, Copy, Default)]
pub(crate) struct Step {
    pub(crate) source: usize,
    pub(crate) weight: usize,
}

impl Steps {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let most = steps.iter().scan(Step::default(), |most, step| {
            most.source = most.source.max(step.source);
            most.weight = most.weight.max(step.weight);
            Some(*most)
        });
        Self {
            most: most.collect(),
            steps,
        }
    }
}

/// The operands of a tile.
pub(crate) struct Tile<'a, T, R> {
    pub(crate) source: &'a [T],
    pub(crate) weights: &'a [T],
    /// Where each row's weights are.
    pub(crate) rows: R,
    pub(crate) steps: &'a Steps,
    /// Which of the steps are taken.
    pub(crate) range: core::ops::Range<usize>,
    /// Whether the sums start from zero; otherwise from what is there.
    pub(crate) begin: bool,
}

/// Where the weights of a tile's rows are.
pub(crate) trait Rows: Copy {
    /// The number of rows.
    fn count(self) -> usize;
    /// How far the weights of the first `R` rows lie after a step's.
    fn offsets<const R: usize>(self) -> [usize; R];
}

/// Weights side by side: `[step][row]`.
#[derive(Clone, Copy)]
pub(crate) struct SideBySide(pub(crate) usize);

impl Rows for SideBySide {
    #[inline(always)]
    fn count(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn offsets<const R: usize>(self) -> [usize; R] {
        core::array::from_fn(|r| r)
    }
}

/// Weights anywhere, by the offset of each row.
impl Rows for &[usize] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn offsets<const R: usize>(self) -> [usize; R] {
        core::array::from_fn(|r| self[r])
    }
}

impl<T: Element, R: Rows> Tile<'_, T, R> {
    /// Takes the steps for all rows and as many vectors as there are `starts`; row `r`'s sums are
    /// at `r * stride` of `sums`.
    ///
    /// # Panics
    ///
    /// For no steps, more rows than [`rows`] or vectors than [`VECTORS`], and where a step leaves a
    /// slice.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, starts: &[usize], sums: &mut [T], stride: usize) {
        match *starts {
            [a, b] => self.with_starts(simd, [a, b], sums, stride),
            [a] => self.with_starts(simd, [a], sums, stride),
            _ => panic!("a tile of {} vectors", starts.len()),
        }
    }

    #[inline(always)]
    fn with_starts<S: Simd, const V: usize>(
        &self,
        simd: S,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
    ) {
        let most = self::rows::<S>();
        match self.rows.count() {
            1 => self.take::<S, 1, V>(simd, starts, sums, stride),
            2 => self.take::<S, 2, V>(simd, starts, sums, stride),
            3 => self.take::<S, 3, V>(simd, starts, sums, stride),
            4 => self.take::<S, 4, V>(simd, starts, sums, stride),
            5 => self.take::<S, 5, V>(simd, starts, sums, stride),
            6 => self.take::<S, 6, V>(simd, starts, sums, stride),
            7 if most == 12 => self.take::<S, 7, V>(simd, starts, sums, stride),
            8 if most == 12 => self.take::<S, 8, V>(simd, starts, sums, stride),
            9 if most == 12 => self.take::<S, 9, V>(simd, starts, sums, stride),
            10 if most == 12 => self.take::<S, 10, V>(simd, starts, sums, stride),
            11 if most == 12 => self.take::<S, 11, V>(simd, starts, sums, stride),
            12 if most == 12 => self.take::<S, 12, V>(simd, starts, sums, stride),
            rows => panic!("a tile of {rows} rows"),
        }
    }

    #[inline(always)]
    fn take<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
    ) {
        let lanes = T::lanes::<S>();
        let Step { source, weight } = self.steps.most[self.range.end - 1];
        let rows: [usize; N] = self.rows.offsets();
        for start in starts {
            assert!(start + source + lanes <= self.source.len());
        }
        for row in rows {
            assert!(row + weight < self.weights.len());
        }
        assert!((N - 1) * stride + V * lanes <= sums.len());

        let mut tile = [[T::splat(simd, T::default()); V]; N];
        if !self.begin {
            for (r, row) in tile.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    // SAFETY: `lanes` numbers from there on are in `sums`, by the third assertion.
                    *sum = unsafe {
                        let at = sums.as_ptr().add(r * stride + v * lanes);
                        at.cast::<T::Vector<S>>().read_unaligned()
                    };
                }
            }
        }
        let (from, weights) = (self.source.as_ptr(), self.weights.as_ptr());
        for step in &self.steps.steps[self.range.clone()] {
            let mut vectors = [T::splat(simd, T::default()); V];
            for (vector, start) in vectors.iter_mut().zip(starts) {
                // SAFETY: `step.source <= source`, so that `lanes` numbers from there on are in the
                // slice, by the first assertion.
                *vector = unsafe {
                    let at = from.add(start + step.source);
                    at.cast::<T::Vector<S>>().read_unaligned()
                };
            }
            for (row, offset) in tile.iter_mut().zip(rows) {
                // SAFETY: `step.weight <= weight`: in the slice, by the second assertion.
                let weight = unsafe { *weights.add(offset + step.weight) };
                let weight = T::splat(simd, weight);
                for (sum, vector) in row.iter_mut().zip(vectors) {
                    *sum = T::mul_add(simd, weight, vector, *sum);
                }
            }
        }
        for (r, row) in tile.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                // SAFETY: `lanes` numbers from there on are in `sums`, by the third assertion.
                unsafe {
                    let at = sums.as_mut_ptr().add(r * stride + v * lanes);
                    at.cast::<T::Vector<S>>().write_unaligned(*sum);
                }
            }
        }
    }
}

/// Values of a new vector that are yet to be written, each once.
pub(crate) struct Fresh<'a, T> {
    values: &'a mut [MaybeUninit<T>],
}

impl<T: Element> Fresh<'_, T> {
    /// A vector of `length` values, written by `write`, which returns how many it has written.
    ///
    /// # Panics
    ///
    /// If that is less than all.
    pub(crate) fn build(length: usize, write: impl FnOnce(Fresh<T>) -> usize) -> Vec<T> {
        let mut all = Vec::with_capacity(length);
        let values = &mut all.spare_capacity_mut()[..length];
        assert_eq!(write(Fresh { values }), length, "values written");
        // SAFETY: no value is in two parts, and none is written twice, since that consumes the
        // part; so that `length` of them are all.
        unsafe { all.set_len(length) };
        all
    }
}

impl<'a, T: Element> Fresh<'a, T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        let (values, rest) = self.values.split_at_mut(at);
        (Self { values }, Self { values: rest })
    }

    /// Interleaves columns of `values`, given by first index and length, and adds the bias; past
    /// their end stands the bias alone. Returns the number of values, all of which are written.
    #[inline(always)]
    pub(crate) fn interleave(self, values: &[T], columns: &[(usize, usize)], bias: T) -> usize {
        let Self { values: line } = self;
        let whole = columns.iter().map(|column| column.1).min().unwrap_or(0);
        let whole = whole.min(line.len() / columns.len());
        let part = |column: usize| values[columns[column].0..][..whole].iter();
        // With a constant number of columns, by vector shuffles.
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
            step => {
                let groups = line.chunks_exact_mut(step).take(whole).enumerate();
                for (cell, group) in groups {
                    for (to, (first, _)) in group.iter_mut().zip(columns) {
                        to.write(values[first + cell] + bias);
                    }
                }
            }
        }
        // Where some columns have ended, or all.
        let rest = line.chunks_mut(columns.len()).enumerate().skip(whole);
        for (cell, group) in rest {
            for (to, (first, length)) in group.iter_mut().zip(columns) {
                let sum = match cell < *length {
                    true => values[first + cell] + bias,
                    false => bias,
                };
                to.write(sum);
            }
        }
        line.len()
    }
}
