//! The forward pass and the gradient of the input as products of matrices: one for each class of taps.
//!
//! Two vectors of cells are a panel. They go on from line to line and from map to map, so small maps fill
//! them too:
//!
//! ```text
//! for some panels:
//!     for each source channel:  write what the taps read, [panel][copy][channel][cell]
//!     for each block of target channels, the rows of a tile:
//!         for each panel, for each row of phases (or two, that share classes):
//!             for each class:  sums = weights * copies
//!             for each phase:  add the sums of its classes, interleave, write
//! ```
//!
//! A class reads its weights and its copies from beginning to end, so the processor fetches both from the
//! second-level cache ahead of time; and an output value is written some hundred steps after its last product,
//! while the next block is multiplied. A [pass](crate::pass) copies less: each value once, for all taps. So
//! panels are for two kinds of layers:
//!
//! - With minimal filtering ([`plan::pairs`](crate::plan) has the formulas), a cell is two cells of an axis, four
//!   in all. Copies are values and differences of neighbours, weights are sums of taps, and a phase is the sum of
//!   up to four classes.
//! - Where no two taps of a phase overlap (a kernel that is no larger than its stride), each value is copied once,
//!   and a phase is one class. Where the source's values are neighbours, the first class reads them in place and
//!   writes the copies, while it is multiplied. And where a kernel is as large as its stride, a tile has all phases
//!   of a row, which it writes itself (`rows.rs`).

mod lists;
mod rows;
mod source;
mod sums;
mod target;
mod weights;

use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::output::{Fresh, Places};
use crate::plan::{Choices, Plan};
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tile::{self, Registers, Step, Steps, VECTORS};
use crate::tuning::{
    MAX_PANEL_KERNEL, MAX_PANEL_READS, MAX_PANEL_STEP, MAX_PANEL_UNIT_BYTES, MAX_TILE_STEPS,
    PAIR_TILE_STEPS, PANEL_COPY_BLOCKS, UNITS_PER_THREAD,
};

use self::lists::Lists;
use self::rows::{ByRows, has_whole_rows};
use self::source::{Load, Reads, Run};
use self::sums::{Operands, steps};
use self::target::{RowPhases, Store};
use self::weights::{OwnWeights, Weights};

/// A call with all that its units share.
struct Panels<'a, T: Element> {
    plan: &'a Plan,
    source: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    /// Cells of a panel.
    panel: usize,
    /// From a copy to the next.
    copy_stride: usize,
    /// What the copies read on each axis.
    reads: [Reads; 2],
    /// Of each class.
    operands: Vec<Operands>,
    /// The steps of classes, by the distances of the copies that they read.
    steps: Vec<Steps>,
    /// The steps in the source itself, where it is copied as it is.
    source_steps: Option<Steps>,
    /// The most steps of a tile.
    tile_steps: usize,
    weights: Weights<T>,
    rows: Vec<RowPhases>,
    /// The rows that no tap reaches.
    empty_rows: Vec<usize>,
    /// Whether tiles hold all phases of a row.
    whole_rows: bool,
}

/// Some panels, and some blocks of target channels.
struct Unit {
    group: usize,
    /// Its cells, among those of all maps.
    cells: Range<usize>,
    blocks: Range<usize>,
}

/// Some cells of a vector that are neighbours on a line.
#[derive(Clone, Copy)]
struct Segment {
    /// The first cell in the vector.
    lane: usize,
    length: usize,
    map: usize,
    /// Where the first cell is.
    y: usize,
    x: usize,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    weights: OwnWeights<T>,
    /// `[panel][copy][channel][cell]`
    copies: Buffer<T>,
    /// Where the vectors of a panel begin in the source's first channel, if they are copied when they are first
    /// multiplied: eight layers took 0.94 to 1.02 of the time.
    starts: Vec<Option<[usize; VECTORS]>>,
    /// `[class][row][cell]`
    sums: Buffer<T>,
    /// Of each vector of cells.
    segments: Lists<Segment>,
    /// With minimal filtering, the lines whose differences are a vector's copies, for some channels.
    lines: Buffer<T>,
    /// What each vector reads of a channel: a list for each `[row][window][N]`.
    loads: Lists<Load>,
    /// The same without minimal filtering.
    runs: Lists<Run>,
    /// Where each vector's rows of phases go, `[vector][row][turn]`.
    stores: Lists<Store>,
    /// The places of rows that no tap reaches.
    empty_places: Vec<Range<usize>>,
}

/// Whether kernels and strides are small enough for panels: strides of 1, 2 and 4 on a line, 2 with minimal filtering.
pub(crate) fn are_possible(problem: &Problem) -> bool {
    let small = |axis: &Axis| axis.kernel <= MAX_PANEL_KERNEL && axis.stride <= MAX_PANEL_STEP;
    problem.axes.iter().all(small)
}

/// The plan of a call, if there is one.
pub(crate) fn plan(problem: &Problem, plan: fn(&Problem, Choices) -> Plan) -> Option<Plan> {
    if !are_possible(problem) {
        return None;
    }
    let plan = plan(problem, Choices::for_panels());
    let [_, width] = &plan.axes;
    let steps = [width.source.step, width.target.step];
    let interleaves = |step: &usize| *step <= MAX_PANEL_STEP && step.is_power_of_two();
    let reads = Reads::new(width, true).values(width);
    // Without a copy, all that the output keeps are appended zeros.
    let fits = plan.copies() > 0 && reads <= MAX_PANEL_READS && steps.iter().all(interleaves);
    fits.then_some(plan)
}

/// Computes the target `[batch, groups * channels, height, width]` by a plan for panels.
pub(crate) fn compute<T: Element>(
    arch: Arch,
    threads: Threads,
    plan: &Plan,
    source: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let classes = plan.classes();
    let registers = Registers::of::<T>(arch);
    let panel = VECTORS * registers.lanes;
    // Some channels are copied at once; and without the place of one more, all copies of a channel would
    // fall on the same sets of the cache.
    let copy_stride = (plan.source.count.next_multiple_of(8) + 1) * panel;
    let copies = plan.cells().div_ceil(panel) * plan.copies() * copy_stride;
    let weights = Weights::pack(arch, threads, registers, plan, &classes, weight, copies);
    let (steps, operands) = steps(plan, &classes, weights.rows, panel, copy_stride);
    let source_steps = (plan.copies() == 1 && !plan.has_pairs() && plan.axes[1].source.step == 1)
        .then(|| {
            let steps = (0..plan.source.count).map(|channel| Step {
                source: channel * plan.source_plane(),
                weight: channel * weights.rows,
            });
            Steps::new(steps.collect())
        });
    let rows = RowPhases::all(plan, &classes, weights.rows * panel);
    let has_taps = |row: &usize| rows.iter().any(|rows| rows.contains(*row));
    let panels = Panels {
        plan,
        source,
        weight,
        bias,
        panel,
        copy_stride,
        reads: [
            Reads::new(&plan.axes[0], false),
            Reads::new(&plan.axes[1], true),
        ],
        empty_rows: (0..plan.axes[0].target.step)
            .filter(|row| !has_taps(row))
            .collect(),
        rows,
        whole_rows: has_whole_rows(plan, registers.lanes),
        steps,
        source_steps,
        operands,
        tile_steps: if plan.has_pairs() {
            PAIR_TILE_STEPS
        } else {
            MAX_TILE_STEPS
        },
        weights,
    };
    let units = panels.units(threads);
    let maps = plan.problem.batch * plan.problem.groups;
    let length = maps * plan.target.count * plan.target_plane();
    Fresh::build(length, |target| {
        let target = target.places();
        let written = AtomicUsize::new(0);
        threads.each_with(units.into_iter(), Scratch::default, |scratch, unit| {
            let values = arch.dispatch(Compute {
                panels: &panels,
                unit,
                target: &target,
                scratch,
            });
            written.fetch_add(values, Ordering::Relaxed);
        });
        written.into_inner()
    })
}

impl<T: Element> Panels<'_, T> {
    /// Cuts the target. Where there are few panels, the target channels are cut too, though each part then
    /// copies the source anew: so that all threads have work, or that none needs another's weights.
    fn units(&self, threads: Threads) -> Vec<Unit> {
        let problem = &self.plan.problem;
        let cells = self.plan.cells();
        let (panels, blocks) = (cells.div_ceil(self.panel), self.weights.blocks);
        // The time of the thread that takes most units.
        let time = |parts: &usize| {
            let units = problem.groups * panels * parts;
            units.div_ceil(threads.count()) * (blocks.div_ceil(*parts) + PANEL_COPY_BLOCKS)
        };
        let parts = if self.weights.by_blocks {
            threads.count().min(blocks)
        } else {
            (1..=blocks).min_by_key(time).unwrap_or(1)
        };
        let blocks_of_a_part = blocks.div_ceil(parts);
        // Several panels, since a channel's values lie side by side: as many as fit in the cache, but the same
        // number of units for each thread.
        let fit = MAX_PANEL_UNIT_BYTES / (self.panel_copies() * size_of::<T>());
        let count = panels.div_ceil(fit.max(1));
        let count = count.max(UNITS_PER_THREAD * threads.count().div_ceil(parts));
        let count = if self.weights.by_blocks {
            1
        } else {
            count.next_multiple_of(threads.count()).min(panels)
        };
        let mut units = Vec::with_capacity(problem.groups * count * parts);
        for group in 0..problem.groups {
            for unit in 0..count {
                let first = unit * panels / count * self.panel;
                let end = (unit + 1) * panels / count * self.panel;
                for block in (0..blocks).step_by(blocks_of_a_part) {
                    units.push(Unit {
                        group,
                        cells: first..cells.min(end),
                        blocks: block..blocks.min(block + blocks_of_a_part),
                    });
                }
            }
        }
        units
    }

    /// Values of a panel's copies.
    fn panel_copies(&self) -> usize {
        self.plan.copies() * self.copy_stride
    }

    /// Finds the lines that each of a unit's vectors has cells of.
    fn list_segments(&self, unit: &Unit, segments: &mut Lists<Segment>) {
        let (lanes, columns) = (self.panel / VECTORS, self.plan.axes[1].all_cells());
        segments.clear();
        let vectors = unit.cells.len().div_ceil(self.panel) * VECTORS;
        for first in (0..vectors).map(|vector| unit.cells.start + vector * lanes) {
            let end = unit.cells.end.min(first + lanes);
            let mut cell = first;
            while cell < end {
                let x = cell % columns;
                let length = (columns - x).min(end - cell);
                segments.all.push(Segment {
                    lane: cell - first,
                    length,
                    map: cell / self.plan.map_cells(),
                    y: cell % self.plan.map_cells() / columns,
                    x,
                });
                cell += length;
            }
            segments.end_list();
        }
    }
}

/// The computation of a unit, with the machine's vector instructions. Returns the values that it has
/// written.
struct Compute<'a, T: Element> {
    panels: &'a Panels<'a, T>,
    unit: Unit,
    target: &'a Places<'a, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> WithSimd for Compute<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self {
            panels,
            unit,
            target,
            scratch,
        } = self;
        let plan = panels.plan;
        let count = unit.cells.len().div_ceil(panels.panel);
        scratch.fit(panels, count);
        let group = unit.group;
        panels.list_segments(&unit, &mut scratch.segments);
        let (segments, stores) = (&scratch.segments, &mut scratch.stores);
        let lanes = T::lanes::<S>();
        match plan.axes[1].target.step {
            1 => panels.list_stores::<1>(group, lanes, segments, target, stores),
            2 => panels.list_stores::<2>(group, lanes, segments, target, stores),
            4 => panels.list_stores::<4>(group, lanes, segments, target, stores),
            step => panic!("{step} phases"),
        }
        panels.list_empty_places(group, segments, target, &mut scratch.empty_places);
        match plan.axes[1].source.step {
            1 => panels.copy::<S, 1>(simd, group, scratch),
            2 => panels.copy::<S, 2>(simd, group, scratch),
            4 => panels.copy::<S, 4>(simd, group, scratch),
            step => panic!("copies at a step of {step}"),
        }
        let mut ahead = panels.ahead(&unit, tile::rows::<S>());
        let mut written = 0;
        for block in unit.blocks.clone() {
            let own = &mut scratch.weights;
            panels
                .weights
                .prepare(simd, plan, panels.weight, [group, block], own);
            let block = Block {
                panels,
                group,
                block,
                is_first: block == unit.blocks.start,
                target,
                scratch,
            };
            written += block.write_empty_rows(simd);
            written += if panels.whole_rows {
                simd.vectorize(ByRows {
                    block,
                    count,
                    ahead: &mut ahead,
                })
            } else {
                simd.vectorize(ByClasses {
                    block,
                    rows: &panels.rows,
                    panels: 0..count,
                })
            };
        }
        written
    }
}

/// A block of target channels in a unit.
struct Block<'a, T: Element> {
    panels: &'a Panels<'a, T>,
    group: usize,
    block: usize,
    /// Whether it is the unit's first.
    is_first: bool,
    target: &'a Places<'a, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> Block<'_, T> {
    /// Its first channel in the group, and how many it has.
    fn channels(&self) -> [usize; 2] {
        let rows = self.panels.weights.rows;
        let first = self.block * rows;
        [first, rows.min(self.panels.plan.target.count - first)]
    }
}

impl<T: Element> Scratch<T> {
    fn fit(&mut self, panels: &Panels<T>, count: usize) {
        for (buffer, length) in [
            (&mut self.copies, count * panels.panel_copies()),
            (
                &mut self.sums,
                panels.operands.len() * panels.weights.rows * panels.panel,
            ),
        ] {
            if buffer.len() < length {
                *buffer = Buffer::new(length);
            }
        }
    }
}

/// Computes the sums of classes, and then what they add up to. Returns the number of values. It is a function of its
/// own: compiled together with [`ByRows`], layers took 0.99 to 1.04 times as long.
struct ByClasses<'a, T: Element> {
    block: Block<'a, T>,
    rows: &'a [RowPhases],
    /// Some of the unit's panels.
    panels: Range<usize>,
}

impl<T: Element> WithSimd for ByClasses<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let mut block = self.block;
        let step = block.panels.plan.axes[1].target.step;
        let mut written = 0;
        // The weights of some rows of phases stay in the first-level cache for all panels.
        for rows in self.rows {
            for panel in self.panels.clone() {
                block.multiply(simd, panel, rows.classes.clone());
                written += match step {
                    1 => block.write::<S, 1>(simd, panel, rows),
                    2 => block.write::<S, 2>(simd, panel, rows),
                    4 => block.write::<S, 4>(simd, panel, rows),
                    step => panic!("{step} phases"),
                };
            }
        }
        written
    }
}
