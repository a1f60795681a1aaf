//! How short sums are cut: into what the first-level cache holds, and into what threads share.

use core::ops::Range;

use super::Lines;
use crate::cut::even_part;
use crate::element::Element;
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tuning::{L1_VALUES_BYTES, L2_SHARE_BYTES};

/// The most output channels whose sums are there at once.
const MAX_TARGETS: usize = 4;

/// What is computed at once: rows and columns of cells, and output channels.
pub(crate) struct Block {
    pub(crate) cells: [usize; 2],
    pub(crate) targets: usize,
}

/// Cuts maps of so many cells, whose taps reach so far, into what the first-level cache holds.
pub(crate) fn block<T>(
    problem: &Problem,
    lanes: usize,
    cells: [usize; 2],
    reach: [usize; 2],
) -> Block {
    // What a column of a row of cells takes of the cache.
    let phases = problem.axes.map(|axis| axis.stride.min(axis.output));
    let targets = even_part(problem.group_c_out(), MAX_TARGETS);
    let values = targets * phases[0] * phases[1] + problem.group_c_in();
    let most = L1_VALUES_BYTES / size_of::<T>() / values;
    let columns = if cells[1] <= most {
        cells[1]
    } else {
        (most / (2 * lanes)).max(1) * 2 * lanes
    };
    let line_stride = columns + reach[1];
    // Rows that share most of what they read, if that and their sums are not too much.
    let share = L2_SHARE_BYTES / size_of::<T>() / (line_stride * values);
    let rows = (1 + 2 * reach[0]).min(share.saturating_sub(reach[0]));
    let rows = rows.max(most / line_stride).clamp(1, cells[0]);
    Block {
        cells: [rows, columns],
        targets,
    }
}

/// Where every input value is multiplied and stays in its place, a map is one line.
pub(crate) fn as_one_line(problem: &Problem) -> Problem {
    let stays = |axis: &Axis| {
        axis.kernel == 1 && axis.stride == 1 && axis.crop_begin == 0 && axis.input == axis.output
    };
    if !problem.axes.iter().all(stays) {
        return *problem;
    }
    let [height, width] = problem.axes;
    let line = Axis {
        input: problem.input_plane(),
        output: problem.input_plane(),
        ..width
    };
    let one = Axis {
        input: 1,
        output: 1,
        ..height
    };
    Problem {
        axes: [one, line],
        ..*problem
    }
}

/// Some output channels of a map and group, or some rows of one.
pub(super) struct Part {
    pub(super) map_and_group: usize,
    /// The first of them, in the group.
    pub(super) first: usize,
    pub(super) channels: usize,
    /// The rows of cells: all, or of one channel only some.
    pub(super) rows: Range<usize>,
}

impl Part {
    /// The lines of the output.
    pub(super) fn lines(&self, problem: &Problem) -> Range<usize> {
        let y = &problem.axes[0];
        self.rows.start * y.stride..y.output.min(self.rows.end * y.stride)
    }

    /// The values of the output.
    pub(super) fn values(&self, problem: &Problem) -> usize {
        self.channels * self.lines(problem).len() * problem.axes[1].output
    }
}

/// Cuts the output, in the order of its values: so that all threads have work.
pub(super) fn parts<T: Element>(
    problem: &Problem,
    lines: &Lines<T>,
    threads: Threads,
) -> Vec<Part> {
    let maps = problem.batch * problem.groups;
    let all = problem.group_c_out();
    let channels = all.div_ceil(threads.count().div_ceil(maps.max(1)));
    let cells = lines.axes[0].cells;
    // With fewer planes than threads, planes are cut.
    let bands = threads.count().div_ceil((maps * all).max(1));
    let rows = cells.div_ceil(bands).max(1);
    let mut parts = Vec::with_capacity(maps * all.div_ceil(channels) * bands);
    for map_and_group in 0..maps {
        for first in (0..all).step_by(channels) {
            for row in (0..cells).step_by(rows) {
                parts.push(Part {
                    map_and_group,
                    first,
                    channels: channels.min(all - first),
                    rows: row..cells.min(row + rows),
                });
            }
        }
    }
    parts
}
