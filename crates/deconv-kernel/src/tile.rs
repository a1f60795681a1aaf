//! The register tile: the one inner loop of all kernels.
//!
//! A tile holds `N` rows of `V` vectors of sums in registers. Each step loads `V` vectors of the
//! source, and adds to every row their product with one weight of that row. What the rows, the
//! lanes and the steps are is the caller's: output channels, positions and taps in the forward
//! pass; output channels, input channels and positions in the weight's gradient.

#![allow(unsafe_code)] // Loads and stores whose bounds `take` asserts once for all steps.

use core::marker::PhantomData;
use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::element::Element;
use crate::tuning::MAX_SPREAD_ROWS;
use crate::vectors::prefetch;

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
    /// Whether the sums are stored; otherwise they are added to those that are there.
    pub(crate) begin: bool,
}

/// Where the weights of a tile's rows are.
pub(crate) trait Rows: Copy {
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
            begin: self.begin,
        }
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
            [a, b] => self.with_starts::<S, 2, false>(simd, [a, b], sums, stride, &mut []),
            [a] => self.with_starts::<S, 1, false>(simd, [a], sums, stride, &mut []),
            _ => panic!("a tile of {} vectors", starts.len()),
        }
    }

    /// The same for [`VECTORS`] vectors. They are also stored in `copies`, `[step][vector]`, which takes little time
    /// beside the products.
    #[inline(always)]
    pub(crate) fn run_and_copy<S: Simd>(
        &self,
        simd: S,
        starts: [usize; VECTORS],
        sums: &mut [T],
        stride: usize,
        copies: &mut [T],
    ) {
        self.with_starts::<S, VECTORS, true>(simd, starts, sums, stride, copies);
    }

    #[inline(always)]
    fn with_starts<S: Simd, const V: usize, const COPY: bool>(
        &self,
        simd: S,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
        copies: &mut [T],
    ) {
        match self.rows.count() {
            1 => self.take::<S, 1, V, COPY>(simd, starts, sums, stride, copies),
            2 => self.take::<S, 2, V, COPY>(simd, starts, sums, stride, copies),
            3 => self.take::<S, 3, V, COPY>(simd, starts, sums, stride, copies),
            4 => self.take::<S, 4, V, COPY>(simd, starts, sums, stride, copies),
            5 => self.take::<S, 5, V, COPY>(simd, starts, sums, stride, copies),
            6 => self.take::<S, 6, V, COPY>(simd, starts, sums, stride, copies),
            rows => {
                // Known to the compiler, so tiles that do not fit are not compiled.
                if const { self::rows::<S>() < 12 } {
                    panic!("a tile of {rows} rows");
                }
                self.with_many_rows::<S, V, COPY>(simd, starts, sums, stride, copies);
            }
        }
    }

    #[inline(always)]
    fn with_many_rows<S: Simd, const V: usize, const COPY: bool>(
        &self,
        simd: S,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
        copies: &mut [T],
    ) {
        match self.rows.count() {
            7 => self.take::<S, 7, V, COPY>(simd, starts, sums, stride, copies),
            8 => self.take::<S, 8, V, COPY>(simd, starts, sums, stride, copies),
            9 => self.take::<S, 9, V, COPY>(simd, starts, sums, stride, copies),
            10 => self.take::<S, 10, V, COPY>(simd, starts, sums, stride, copies),
            11 => self.take::<S, 11, V, COPY>(simd, starts, sums, stride, copies),
            12 => self.take::<S, 12, V, COPY>(simd, starts, sums, stride, copies),
            rows => panic!("a tile of {rows} rows"),
        }
    }

    #[inline(always)]
    fn take<S: Simd, const N: usize, const V: usize, const COPY: bool>(
        &self,
        simd: S,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
        copies: &mut [T],
    ) {
        simd.vectorize(Take::<T, R, N, V, COPY> {
            tile: self,
            starts,
            sums,
            stride,
            copies,
        });
    }
}

/// A tile of `N` rows and `V` vectors. With [`Simd::vectorize`] it is a function, compiled once for all callers;
/// among a caller's own code, the compiler kept sums in memory.
struct Take<'a, T, R, const N: usize, const V: usize, const COPY: bool> {
    tile: &'a Tile<'a, T, R>,
    starts: [usize; V],
    sums: &'a mut [T],
    stride: usize,
    /// Where the vectors are copied to, with `COPY`.
    copies: &'a mut [T],
}

impl<T: Element, R: Rows, const N: usize, const V: usize, const COPY: bool> WithSimd
    for Take<'_, T, R, N, V, COPY>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            tile,
            starts,
            sums,
            stride,
            copies,
        } = self;
        let lanes = T::lanes::<S>();
        let Step { source, weight } = tile.steps.most(tile.range.end - 1);
        let rows: [usize; N] = tile.rows.offsets();
        for start in starts {
            assert!(start + source + lanes <= tile.source.len());
        }
        let last = tile.rows.largest::<N>();
        assert!(last + weight < tile.weights.len());
        assert!((N - 1) * stride + V * lanes <= sums.len());
        assert!(!COPY || tile.range.len() * V * lanes <= copies.len());

        let mut all = [[T::splat(simd, T::default()); V]; N];
        let (from, weights) = (tile.source.as_ptr(), tile.weights.as_ptr());
        let mut copy = copies.as_mut_ptr();
        for step in tile.steps.list(tile.range.clone()) {
            let mut vectors = [T::splat(simd, T::default()); V];
            for (vector, start) in vectors.iter_mut().zip(starts) {
                // SAFETY: `step.source <= source`: `lanes` numbers from there on are in the slice,
                // by the first assertion.
                *vector = unsafe {
                    let at = from.add(start + step.source);
                    at.cast::<T::Vector<S>>().read_unaligned()
                };
                if COPY {
                    // Where the next tile may begin.
                    prefetch(from.wrapping_add(start + step.source + V * lanes));
                    // SAFETY: there is space for each step's vectors, by the fourth assertion.
                    unsafe { copy.cast::<T::Vector<S>>().write_unaligned(*vector) };
                    copy = copy.wrapping_add(lanes);
                }
            }
            for (row, offset) in all.iter_mut().zip(rows) {
                // SAFETY: `offset <= last` and `step.weight <= weight`: in the slice, by the second assertion.
                let weight = unsafe { *weights.add(offset + step.weight) };
                let weight = T::splat(simd, weight);
                for (sum, vector) in row.iter_mut().zip(vectors) {
                    *sum = T::mul_add(simd, weight, vector, *sum);
                }
            }
        }
        let at = sums.as_mut_ptr();
        // Two loops, which the compiler unrolls; of one with both cases it would keep the sums in memory.
        if tile.begin {
            for (r, row) in all.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    let at = at.wrapping_add(r * stride + v * lanes);
                    // SAFETY: `lanes` numbers from there on are in `sums`, by the third assertion.
                    unsafe { at.cast::<T::Vector<S>>().write_unaligned(*sum) };
                }
            }
        } else {
            for (r, row) in all.iter().enumerate() {
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
