//! From the sums of classes to the target.

#![allow(unsafe_code)] // The target's values, each of which one unit writes.

use core::ops::Range;

use pulp::Simd;

use super::{Lists, Panels, Part, Scratch, Segment};
use crate::class::Class;
use crate::element::Element;
use crate::output::Places;
use crate::plan::Plan;
use crate::tile::{MAX_ROWS, VECTORS};
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

/// The phases that a class belongs to, by row and column.
fn phases(class: &Class) -> &[[usize; 2]] {
    &class.phases[0].phases
}

impl RowPhases {
    /// All rows. The sums of one class take `values`.
    pub(super) fn all(plan: &Plan, classes: &[Class], values: usize) -> Vec<Self> {
        let [height, width] = plan.axes.each_ref().map(|axis| axis.target.step);
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

/// Where some lanes of a row of phases go.
pub(super) struct Line {
    /// The place of the first, in the group's first target channel.
    first: usize,
    length: usize,
    /// Its index among the numbers of all columns' vectors.
    lane: isize,
}

impl<T: Element> Panels<'_, T> {
    /// The lines of each vector of cells, for each row of phases.
    pub(super) fn list_lines(
        &self,
        group: usize,
        segments: &Lists<Segment>,
        lines: &mut Lists<Line>,
    ) {
        let [height, width] = self.plan.axes.each_ref().map(|axis| axis.target);
        let (count, plane) = (self.plan.target.count, self.plan.target_plane());
        lines.clear();
        for vector in 0..segments.count() {
            for row in 0..height.step {
                for segment in segments.list(vector) {
                    let (y, x) = (segment.y * height.step + row, segment.x * width.step);
                    let map = segment.map * self.plan.problem.groups + group;
                    if y < height.length {
                        lines.all.push(Line {
                            first: map * count * plane + y * width.length + x,
                            length: (segment.length * width.step).min(width.length - x),
                            lane: (segment.lane * width.step) as isize,
                        });
                    }
                }
                lines.end_list();
            }
        }
    }

    /// Adds the sums of a block up to phases, interleaves them, and adds the bias. Returns the number of
    /// values. `N` is the target's step.
    #[inline(always)]
    pub(super) fn write<S: Simd, const N: usize>(
        &self,
        simd: S,
        part: Part,
        phases: &RowPhases,
        scratch: &Scratch<T>,
        target: &Places<T>,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let first = part.block * self.weights.rows;
        let count = self.weights.rows.min(self.plan.target.count - first);
        let sums = &scratch.sums;
        assert!(sums.len() >= phases.classes.len() * self.weights.rows * self.panel);
        let zeros = [T::default(); MAX_ROWS];
        let bias = self.bias.map_or(&zeros[..count], |bias| {
            &bias[part.group * self.plan.target.count + first..][..count]
        });
        let plane = self.plan.target_plane();
        let mut written = 0;
        for row in &phases.rows {
            let mut columns = [Phase::default(); N];
            columns.copy_from_slice(&row.columns);
            for index in 0..VECTORS {
                let vector = part.panel * VECTORS + index;
                let lines = vector * self.plan.axes[0].target.step + row.row;
                let lines = scratch.lines.list(lines);
                let whole = match lines {
                    [line] if line.length == N * lanes => Some(line.first),
                    _ => None,
                };
                for (channel, bias) in bias.iter().enumerate() {
                    let at = channel * self.panel + index * lanes;
                    let mut vectors = [T::splat(simd, *bias); N];
                    for (vector, phase) in vectors.iter_mut().zip(&columns) {
                        // A place that no tap reaches has no sums.
                        for sum in &phase.sums[..phase.count] {
                            // SAFETY: the assertion is for the sums of all classes; `at` is in one of them.
                            let sum = unsafe { sums.as_ptr().add(sum + at).cast::<T::Vector<S>>() };
                            // SAFETY: as above.
                            let sum = unsafe { sum.read_unaligned() };
                            *vector = T::add_vectors(simd, *vector, sum);
                        }
                    }
                    let turns = take_all_turns::<S, T, N>(simd, vectors);
                    let channel = (first + channel) * plane;
                    if let Some(whole) = whole {
                        let to = channel + whole;
                        // SAFETY: a cell is in one unit only, and so is a channel.
                        let to = unsafe { target.slice(to..to + N * lanes) };
                        for (i, vector) in turns.iter().enumerate() {
                            store::<S, T>(simd, to, i * lanes, *vector);
                        }
                        written += N * lanes;
                        continue;
                    }
                    for line in lines {
                        let to = channel + line.first;
                        // SAFETY: as above.
                        let to = unsafe { target.slice(to..to + line.length) };
                        for (i, vector) in turns.iter().enumerate() {
                            let at = (i * lanes) as isize - line.lane;
                            store_part::<S, T>(simd, to, at, *vector);
                        }
                        written += line.length;
                    }
                }
            }
        }
        written
    }
}
