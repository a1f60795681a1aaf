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
//!   writes the copies, while it is multiplied.

mod choice;
mod lists;
mod source;
mod target;
mod weights;

use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::class::Class;
use crate::element::Element;
use crate::output::{Fresh, Places};
use crate::plan::Plan;
use crate::threads::Threads;
use crate::tile::{Registers, SideBySide, Step, Steps, Storing, Tile, VECTORS};
use crate::tuning::{
    MAX_PANEL_UNIT_BYTES, MAX_TILE_STEPS, PAIR_TILE_STEPS, PANEL_COPY_BLOCKS, UNITS_PER_THREAD,
};

pub(crate) use self::choice::{pays, plan};
use self::lists::Lists;
use self::source::{Load, Reads, Run};
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
}

/// What a class multiplies.
struct Operands {
    /// Where the first copy that it reads begins.
    copies: usize,
    /// The index of its steps.
    steps: usize,
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
    let weights = Weights::pack(arch, threads, registers, plan, &classes, weight);
    let panel = VECTORS * registers.lanes;
    // Some channels are copied at once; and without the place of one more, all copies of a channel would
    // fall on the same sets of the cache.
    let copy_stride = (plan.source.count.next_multiple_of(8) + 1) * panel;
    let (steps, operands) = steps(plan, &classes, weights.rows, panel, copy_stride);
    let source_steps = (plan.copies() == 1 && !plan.has_pairs() && plan.axes[1].source.step == 1)
        .then(|| {
            let steps = (0..plan.source.count).map(|channel| Step {
                source: channel * plan.source_plane(),
                weight: channel * weights.rows,
            });
            Steps::new(steps.collect())
        });
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
        rows: RowPhases::all(plan, &classes, weights.rows * panel),
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

/// The steps of classes, one list for all that read copies at the same distances; and where each class
/// has its operands.
fn steps(
    plan: &Plan,
    classes: &[Class],
    rows: usize,
    panel: usize,
    copy_stride: usize,
) -> (Vec<Steps>, Vec<Operands>) {
    let channels = plan.source.count;
    let mut patterns: Vec<Vec<usize>> = Vec::new();
    let mut operands = Vec::new();
    for class in classes {
        let copy = class.taps[0].copy;
        let pattern: Vec<usize> = class.taps.iter().map(|tap| tap.copy - copy).collect();
        let index = patterns.iter().position(|other| *other == pattern);
        operands.push(Operands {
            copies: copy * copy_stride,
            steps: index.unwrap_or(patterns.len()),
        });
        if index.is_none() {
            patterns.push(pattern);
        }
    }
    let steps_of = |pattern: &Vec<usize>| {
        let steps =
            (0..channels).flat_map(|channel| pattern.iter().map(move |copy| (channel, copy)));
        let steps = steps.enumerate().map(|(i, (channel, copy))| Step {
            source: copy * copy_stride + channel * panel,
            weight: i * rows,
        });
        Steps::new(steps.collect())
    };
    (patterns.iter().map(steps_of).collect(), operands)
}

impl<T: Element> Panels<'_, T> {
    /// Cuts the target. Where there are few panels, the target channels are cut too, though each part then
    /// copies the source anew.
    fn units(&self, threads: Threads) -> Vec<Unit> {
        let problem = &self.plan.problem;
        let cells = problem.batch * self.map_cells();
        let (panels, blocks) = (cells.div_ceil(self.panel), self.weights.blocks);
        // The time of the thread that takes most units.
        let time = |parts: &usize| {
            let units = problem.groups * panels * parts;
            units.div_ceil(threads.count()) * (blocks.div_ceil(*parts) + PANEL_COPY_BLOCKS)
        };
        let parts = (1..=blocks).min_by_key(time).unwrap_or(1);
        let blocks_of_a_part = blocks.div_ceil(parts);
        // Several panels, since a channel's values lie side by side: as many as fit in the cache, but the same
        // number of units for each thread.
        let fit = MAX_PANEL_UNIT_BYTES / (self.panel_copies() * size_of::<T>());
        let count = panels.div_ceil(fit.max(1));
        let count = count.max(UNITS_PER_THREAD * threads.count().div_ceil(parts));
        let count = count.next_multiple_of(threads.count()).min(panels);
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

    /// Cells of a map.
    fn map_cells(&self) -> usize {
        let [height, width] = &self.plan.axes;
        height.all_cells() * width.all_cells()
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
                    map: cell / self.map_cells(),
                    y: cell % self.map_cells() / columns,
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
        match plan.axes[1].source.step {
            1 => panels.copy::<S, 1>(simd, group, scratch),
            2 => panels.copy::<S, 2>(simd, group, scratch),
            4 => panels.copy::<S, 4>(simd, group, scratch),
            step => panic!("copies at a step of {step}"),
        }
        let mut written = 0;
        for block in unit.blocks.clone() {
            let own = &mut scratch.weights;
            panels
                .weights
                .prepare(simd, plan, panels.weight, [group, block], own);
            // The weights of some rows of phases stay in the first-level cache for all panels.
            for rows in &panels.rows {
                for panel in 0..count {
                    let part = Part {
                        group,
                        block,
                        panel,
                        is_first: block == unit.blocks.start,
                    };
                    panels.multiply(simd, part, rows.classes.clone(), scratch);
                    written += match plan.axes[1].target.step {
                        1 => panels.write::<S, 1>(simd, part, rows, scratch, target),
                        2 => panels.write::<S, 2>(simd, part, rows, scratch, target),
                        4 => panels.write::<S, 4>(simd, part, rows, scratch, target),
                        step => panic!("{step} phases"),
                    };
                }
            }
        }
        written
    }
}

/// What is multiplied and written at once.
#[derive(Clone, Copy)]
struct Part {
    group: usize,
    /// The block of target channels.
    block: usize,
    /// Which panel of the unit.
    panel: usize,
    /// Whether the block is the unit's first.
    is_first: bool,
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

impl<T: Element> Panels<'_, T> {
    /// Computes the sums of some classes.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        part: Part,
        classes: Range<usize>,
        scratch: &mut Scratch<T>,
    ) {
        let rows = self.weights.rows;
        let count = rows.min(self.plan.target.count - part.block * rows);
        let in_copies: [usize; VECTORS] = core::array::from_fn(|i| i * self.panel / VECTORS);
        let copies = &mut scratch.copies[part.panel * self.panel_copies()..];
        let sums = scratch.sums.chunks_exact_mut(rows * self.panel);
        for (class, sums) in classes.zip(sums) {
            let operands = &self.operands[class];
            let in_source = match (&self.source_steps, scratch.starts[part.panel]) {
                (Some(steps), Some(starts)) if part.is_first && class == 0 => Some((steps, starts)),
                _ => None,
            };
            let steps = in_source.map_or(&self.steps[operands.steps], |(steps, _)| steps);
            let end = steps.all().len();
            for first in (0..end).step_by(self.tile_steps) {
                let tile = |source| Tile {
                    source,
                    weights: self
                        .weights
                        .of(&scratch.weights, [part.group, part.block], class),
                    rows: SideBySide(count),
                    steps,
                    range: first..end.min(first + self.tile_steps),
                    begin: first == 0,
                };
                if let Some((_, starts)) = in_source {
                    let copies = Storing::to(&mut copies[first * self.panel..]);
                    tile(self.source).run_beside(simd, starts, sums, self.panel, copies);
                } else {
                    let copies = &copies[operands.copies..];
                    tile(copies).run(simd, &in_copies, sums, self.panel);
                }
            }
        }
    }
}
