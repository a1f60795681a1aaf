//! From the sums of classes to the target.

#![allow(unsafe_code)] // The target's values, each of which one unit writes.

use core::ops::Range;

use pulp::Simd;

use super::{Panels, Part, Segment};
use crate::class::Class;
use crate::element::Element;
use crate::output::Places;
use crate::plan::Plan;
use crate::vectors::{store, store_part, take_all_turns};

/// The phases of a row and its neighbour, whose classes have a phase in common.
pub(super) struct RowPhases {
    pub(super) classes: Range<usize>,
    rows: Vec<Row>,
}

/// The phases of one row.
struct Row {
    row: usize,
    columns: Vec<Phase>,
}

/// A phase: the sum of one, two or four classes, by where their sums are.
#[derive(Clone, Copy, Default)]
struct Phase {
    sums: [usize; 4],
    count: usize,
}

impl RowPhases {
    /// All rows. The sums of one class take `values`.
    pub(super) fn all(plan: &Plan, classes: &[Class], values: usize) -> Vec<Self> {
        let [height, width] = plan.axes.each_ref().map(|axis| axis.target.step);
        let phases = |class: &Class| class.phases[0].phases.clone();
        // The rows of a class are one and half a step further on, or one of them.
        let pairs = if plan.axes[0].paired {
            height / 2
        } else {
            height
        };
        let pair_of = |class: &Class| phases(class)[0][0] % pairs;
        (0..pairs)
            .map(|pair| {
                // They are sorted by rows.
                let first = classes.partition_point(|class| pair_of(class) < pair);
                let end = classes.partition_point(|class| pair_of(class) <= pair);
                let rows = (pair..height).step_by(pairs).map(|row| {
                    let phase = |column: usize| {
                        let mut phase = Phase::default();
                        for (i, class) in classes[first..end].iter().enumerate() {
                            if phases(class).contains(&[row, column]) {
                                phase.sums[phase.count] = i * values;
                                phase.count += 1;
                            }
                        }
                        phase
                    };
                    Row {
                        row,
                        columns: (0..width).map(phase).collect(),
                    }
                });
                Self {
                    classes: first..end,
                    rows: rows.collect(),
                }
            })
            .collect()
    }
}

impl<T: Element> Panels<'_, T> {
    /// Adds the sums of a block up to phases, interleaves them, and adds the bias. Returns the number of
    /// values. `N` is the target's step.
    #[inline(always)]
    pub(super) fn write<S: Simd, const N: usize>(
        &self,
        simd: S,
        part: Part,
        segments: &[Vec<Segment>],
        phases: &RowPhases,
        sums: &[T],
        target: &Places<T>,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let count = self.plan.target.count;
        let first = part.block * self.weights.rows;
        let mut written = 0;
        assert!(sums.len() >= phases.classes.len() * self.weights.rows * self.panel);
        for channel in first..count.min(first + self.weights.rows) {
            let bias = self
                .bias
                .map_or(T::default(), |bias| bias[part.group * count + channel]);
            let planes = Planes {
                first: part.group * count + channel,
                maps: self.plan.problem.groups * count,
            };
            for row in &phases.rows {
                for (index, segments) in segments.iter().enumerate() {
                    let at = (channel - first) * self.panel + index * lanes;
                    let mut vectors = [T::splat(simd, bias); N];
                    for (vector, phase) in vectors.iter_mut().zip(&row.columns) {
                        // An output of one value has no odd places, and no sums of them.
                        for sum in &phase.sums[..phase.count] {
                            // SAFETY: the assertion is for the sums of all classes; `at` is in one of them.
                            let sum = unsafe { sums.as_ptr().add(sum + at).cast::<T::Vector<S>>() };
                            // SAFETY: as above.
                            let sum = unsafe { sum.read_unaligned() };
                            *vector = T::add_vectors(simd, *vector, sum);
                        }
                    }
                    let turns = take_all_turns::<S, T, N>(simd, vectors);
                    for segment in segments {
                        written += self.store(simd, planes, segment, row.row, turns, target);
                    }
                }
            }
        }
        written
    }

    /// Writes the cells of one segment. Returns the number of values.
    #[inline(always)]
    fn store<S: Simd, const N: usize>(
        &self,
        simd: S,
        planes: Planes,
        segment: &Segment,
        row: usize,
        vectors: [T::Vector<S>; N],
        target: &Places<T>,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let [height, width] = self.plan.axes.each_ref().map(|axis| axis.target);
        let (y, x) = (segment.y * height.step + row, segment.x * N);
        if y >= height.length {
            return 0;
        }
        let plane = segment.map * planes.maps + planes.first;
        let first = plane * self.plan.target_plane() + y * width.length + x;
        let length = (segment.length * N).min(width.length - x);
        // SAFETY: a cell is in one unit only, and so is a channel.
        let line = unsafe { target.slice(first..first + length) };
        if length == N * lanes {
            for (i, vector) in vectors.iter().enumerate() {
                store::<S, T>(simd, line, i * lanes, *vector);
            }
        } else {
            for (i, vector) in vectors.iter().enumerate() {
                let at = (i * lanes) as isize - (segment.lane * N) as isize;
                store_part::<S, T>(simd, line, at, *vector);
            }
        }
        length
    }
}

/// The planes of a channel.
#[derive(Clone, Copy)]
struct Planes {
    /// The first map's.
    first: usize,
    /// From a map to the next.
    maps: usize,
}
