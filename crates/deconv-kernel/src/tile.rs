//! The register tile: the one inner loop of all kernels.
//!
//! A tile holds `N` rows of `V` vectors of sums in registers. Each step loads `V` vectors of the
//! source, and adds to every row their product with one weight of that row. What the rows, the
//! lanes and the steps are is the caller's: output channels, positions and taps in the forward
//! pass; output channels, input channels and positions in the weight's gradient. So is where the sums go: to a buffer
//! ([`Sums`]), or from the registers to an output.

#![allow(unsafe_code)] // Loads and stores whose bounds `take` asserts once for all steps.

mod beside;

use core::marker::PhantomData;
use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::element::Element;
use crate::tuning::MAX_SPREAD_ROWS;

pub(crate) use self::beside::{Beside, Fetching, Nothing, Storing};

/// The most vectors of a tile. With [`rows`], all sums, the loaded vectors and one weight fill the
/// registers.
pub(crate) const VECTORS: usize = 2;

/// The most rows of a tile on any machine.
pub(crate) const MAX_ROWS: usize = 12;

/// The most rows of a tile: 6 rows of 2 vectors where there are 16 registers, 12 where there are 32.
pub(crate) const fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT < 32 { 6 } else { MAX_ROWS }
}

/// What the machine's registers hold.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    /// Numbers in a vector.
    pub(crate) lanes: usize,
    /// The most rows of a tile.
    pub(crate) rows: usize,
    /// The most rows whose weights lie apart.
    pub(crate) spread_rows: usize,
}

impl Registers {
    pub(crate) fn of<T: Element>(arch: Arch) -> Self {
        struct Ask<T>(PhantomData<T>);

        impl<T: Element> WithSimd for Ask<T> {
            type Output = Registers;

            fn with_simd<S: Simd>(self, _: S) -> Registers {
                Registers {
                    lanes: T::lanes::<S>(),
                    rows: rows::<S>(),
                    spread_rows: rows::<S>().min(MAX_SPREAD_ROWS),
                }
            }
        }

        arch.dispatch(Ask::<T>(PhantomData))
    }
}

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

    /// All steps.
    #[inline(always)]
    pub(crate) fn all(&self) -> &[Step] {
        &self.steps
    }

    /// Some of the steps.
    #[inline(always)]
    pub(crate) fn list(&self, range: Range<usize>) -> &[Step] {
        &self.steps[range]
    }

    /// The largest offsets of the steps up to and with `last`.
    #[inline(always)]
    pub(crate) fn most(&self, last: usize) -> Step {
        self.most[last]
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
    pub(crate) range: Range<usize>,
}

/// Where the weights of a tile's rows are.
pub(crate) trait Rows: Copy {
    /// The number of rows is a multiple of this.
    const CLASSES: usize = 1;

    /// The number of rows.
    fn count(self) -> usize;
    /// How far the weights of the first `R` rows lie after a step's.
    fn offsets<const R: usize>(self) -> [usize; R];
    /// The largest of these.
    fn largest<const R: usize>(self) -> usize;
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

    // Known from the type: to look for it among the offsets took 20 cycles, a fifteenth of a short tile.
    #[inline(always)]
    fn largest<const R: usize>(self) -> usize {
        R - 1
    }
}

/// Weights of `P` classes that lie `apart`, those of a class's channels side by side. The rows are
/// `[class][channel]`.
#[derive(Clone, Copy)]
pub(crate) struct Classes<const P: usize> {
    pub(crate) channels: usize,
    pub(crate) apart: usize,
}

impl<const P: usize> Rows for Classes<P> {
    const CLASSES: usize = P;

    #[inline(always)]
    fn count(self) -> usize {
        P * self.channels
    }

    #[inline(always)]
    fn offsets<const R: usize>(self) -> [usize; R] {
        core::array::from_fn(|r| r / (R / P) * self.apart + r % (R / P))
    }

    #[inline(always)]
    fn largest<const R: usize>(self) -> usize {
        (P - 1) * self.apart + R / P - 1
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

    #[inline(always)]
    fn largest<const R: usize>(self) -> usize {
        self[..R].iter().copied().max().unwrap_or(0)
    }
}

impl<'a, T> Tile<'a, T, &[usize]> {
    /// The same tile, if the weights of its rows are neighbours.
    #[inline(always)]
    pub(crate) fn side_by_side(self) -> Tile<'a, T, SideBySide> {
        let rows = self.rows;
        assert!(rows[rows.len() - 1] == rows[0] + rows.len() - 1);
        Tile {
            source: self.source,
            weights: &self.weights[rows[0]..],
            rows: SideBySide(rows.len()),
            steps: self.steps,
            range: self.range,
        }
    }
}

/// Where a tile's sums go.
pub(crate) trait Results<T: Element> {
    /// Before the sums of so many rows, of so many values each.
    ///
    /// # Panics
    ///
    /// If there is no place for them.
    fn check(&self, rows: usize, values: usize);

    /// Takes the sums.
    ///
    /// # Safety
    ///
    /// [`Self::check`] has been called with their number.
    unsafe fn put<S: Simd, const N: usize, const V: usize>(
        self,
        simd: S,
        sums: [[T::Vector<S>; V]; N],
    );
}

/// A buffer, with a row's sums at a multiple of `stride`.
pub(crate) struct Sums<'a, T> {
    pub(crate) values: &'a mut [T],
    pub(crate) stride: usize,
    /// Whether the sums are stored; otherwise they are added to those that are there.
    pub(crate) begin: bool,
}

impl<T: Element> Results<T> for Sums<'_, T> {
    #[inline(always)]
    fn check(&self, rows: usize, values: usize) {
        assert!((rows - 1) * self.stride + values <= self.values.len());
    }

    #[inline(always)]
    unsafe fn put<S: Simd, const N: usize, const V: usize>(
        self,
        simd: S,
        sums: [[T::Vector<S>; V]; N],
    ) {
        let Self {
            values,
            stride,
            begin,
        } = self;
        let lanes = T::lanes::<S>();
        let at = values.as_mut_ptr();
        // Two loops, which the compiler unrolls; of one with both cases it would keep the sums in memory.
        if begin {
            for (r, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    let at = at.wrapping_add(r * stride + v * lanes);
                    // SAFETY: `lanes` numbers from there on are in `values`, by the assertion.
                    unsafe { at.cast::<T::Vector<S>>().write_unaligned(*sum) };
                }
            }
        } else {
            for (r, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    let at = at
                        .wrapping_add(r * stride + v * lanes)
                        .cast::<T::Vector<S>>();
                    // SAFETY: as above.
                    let before = unsafe { at.read_unaligned() };
                    // SAFETY: as above.
                    unsafe { at.write_unaligned(T::add_vectors(simd, before, *sum)) };
                }
            }
        }
    }
}

impl<T: Element, R: Rows> Tile<'_, T, R> {
    /// Takes the steps for all rows and as many vectors as there are `starts`.
    ///
    /// # Panics
    ///
    /// For no steps, more rows than [`rows`] or vectors than [`VECTORS`], and where a step leaves a
    /// slice.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, starts: &[usize], sums: Sums<T>) {
        match *starts {
            [a, b] => self.run_beside(simd, [a, b], sums, Nothing),
            [a] => self.run_beside(simd, [a], sums, Nothing),
            _ => panic!("a tile of {} vectors", starts.len()),
        }
    }

    /// The same for any results, and does something beside the products.
    #[inline(always)]
    pub(crate) fn run_beside<S: Simd, const V: usize>(
        &self,
        simd: S,
        starts: [usize; V],
        results: impl Results<T>,
        beside: impl Beside<T>,
    ) {
        match self.rows.count() {
            1 => self.take::<S, 1, V>(simd, starts, results, beside),
            2 => self.take::<S, 2, V>(simd, starts, results, beside),
            3 => self.take::<S, 3, V>(simd, starts, results, beside),
            4 => self.take::<S, 4, V>(simd, starts, results, beside),
            5 => self.take::<S, 5, V>(simd, starts, results, beside),
            6 => self.take::<S, 6, V>(simd, starts, results, beside),
            rows => {
                // Known to the compiler, so tiles that do not fit are not compiled.
                if const { self::rows::<S>() < 12 } {
                    panic!("a tile of {rows} rows");
                }
                self.with_many_rows::<S, V>(simd, starts, results, beside);
            }
        }
    }

    #[inline(always)]
    fn with_many_rows<S: Simd, const V: usize>(
        &self,
        simd: S,
        starts: [usize; V],
        results: impl Results<T>,
        beside: impl Beside<T>,
    ) {
        match self.rows.count() {
            7 => self.take::<S, 7, V>(simd, starts, results, beside),
            8 => self.take::<S, 8, V>(simd, starts, results, beside),
            9 => self.take::<S, 9, V>(simd, starts, results, beside),
            10 => self.take::<S, 10, V>(simd, starts, results, beside),
            11 => self.take::<S, 11, V>(simd, starts, results, beside),
            12 => self.take::<S, 12, V>(simd, starts, results, beside),
            rows => panic!("a tile of {rows} rows"),
        }
    }

    #[inline(always)]
    fn take<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        starts: [usize; V],
        results: impl Results<T>,
        beside: impl Beside<T>,
    ) {
        if const { !N.is_multiple_of(R::CLASSES) } {
            panic!("{N} rows of {} classes", R::CLASSES);
        }
        simd.vectorize(Take::<T, R, _, _, N, V> {
            tile: self,
            starts,
            results,
            beside,
        });
    }
}

/// A tile of `N` rows and `V` vectors. With [`Simd::vectorize`] it is a function, compiled once for all callers;
/// among a caller's own code, the compiler kept sums in memory.
struct Take<'a, T, R, D, B, const N: usize, const V: usize> {
    tile: &'a Tile<'a, T, R>,
    starts: [usize; V],
    results: D,
    beside: B,
}

impl<T: Element, R: Rows, D: Results<T>, B: Beside<T>, const N: usize, const V: usize> WithSimd
    for Take<'_, T, R, D, B, N, V>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            tile,
            starts,
            results,
            mut beside,
        } = self;
        let lanes = T::lanes::<S>();
        let Step { source, weight } = tile.steps.most(tile.range.end - 1);
        let rows: [usize; N] = tile.rows.offsets();
        for start in starts {
            assert!(start + source + lanes <= tile.source.len());
        }
        let last = tile.rows.largest::<N>();
        assert!(last + weight < tile.weights.len());
        results.check(N, V * lanes);
        beside.begin(tile.range.len(), V * lanes);

        let mut all = [[T::splat(simd, T::default()); V]; N];
        let (from, weights) = (tile.source.as_ptr(), tile.weights.as_ptr());
        for step in tile.steps.list(tile.range.clone()) {
            let places = starts.map(|start| from.wrapping_add(start + step.source));
            // SAFETY: `step.source <= source`: `lanes` numbers from there on are in the slice, by the first
            // assertion.
            let vectors = places.map(|at| unsafe { at.cast::<T::Vector<S>>().read_unaligned() });
            // SAFETY: `begin` was told of all steps.
            unsafe { beside.step::<S, V>(vectors, places) };
            for (row, offset) in all.iter_mut().zip(rows) {
                // SAFETY: `offset <= last` and `step.weight <= weight`: in the slice, by the second assertion.
                let weight = unsafe { *weights.add(offset + step.weight) };
                let weight = T::splat(simd, weight);
                for (sum, vector) in row.iter_mut().zip(vectors) {
                    *sum = T::mul_add(simd, weight, vector, *sum);
                }
            }
        }
        // SAFETY: `check` was told of them.
        unsafe { results.put::<S, N, V>(simd, all) };
    }
}
