//! A pass: the forward pass or the gradient of the input, as its [`Plan`] says.
//!
//! The target is cut into units that threads take: some channels by a band of rows of one map. A
//! unit copies what it reads of the source, a block of channels at a time, to lines that end in
//! zeros where the map does; there, every tap is a constant offset. The tile then adds the block's
//! products to the unit's sums, one row for each channel and phase. Finally the phases are
//! interleaved into the target, which is written once.
//!
//! No sum depends on how the target is cut: the order is that of the source's channels and taps, and
//! a new partial sum begins with every chunk and after `MAX_TILE_STEPS` steps.

use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::BandCopy;
use crate::cut::{Cut, dense};
use crate::element::Element;
use crate::output::{Column, Fresh};
use crate::pack::{Packed, pack};
use crate::plan::{Choices, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, SideBySide, Tile, VECTORS};
use crate::tuning::{MAX_TILE_STEPS, MIN_UNMERGED_CHANNELS};

/// A pass with all that its units share.
struct Pass<'a, T: Element> {
    plan: &'a Plan,
    source: &'a [T],
    bias: Option<&'a [T]>,
    classes: Vec<Packed<T>>,
    /// Where each phase of the target is computed; `None` where no tap reaches.
    phases: Vec<Option<PhaseIndex>>,
    cut: Cut,
}

/// A phase of the target, by its class and its place there.
#[derive(Clone, Copy)]
struct PhaseIndex {
    class: usize,
    phase: usize,
}

/// A part of the target that one thread computes.
struct Unit<'a, T> {
    map: usize,
    group: usize,
    /// The first of its target channels, in the group.
    target: usize,
    /// The first of its rows of cells.
    row: usize,
    /// Its rows of each target channel.
    lines: Vec<Fresh<'a, T>>,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    source: Buffer<T>,
    sums: Buffer<T>,
}

/// Where a unit's sums of a class are.
#[derive(Clone, Copy)]
struct ClassSums {
    first: usize,
    /// From a row of the tiles, a phase of a channel, to the next.
    row_stride: usize,
}

/// Where a unit's sums of a phase are.
#[derive(Clone, Copy)]
struct PhaseSums {
    first: usize,
    /// From a target channel to the next.
    channel_stride: usize,
    line_stride: usize,
    /// Height and width of the phase.
    cells: [usize; 2],
}

/// What is copied and multiplied at once: some channels of the source, or some copies of one.
#[derive(Clone)]
struct Chunk {
    /// The first channel, in the group.
    channel: usize,
    channels: usize,
    copies: Range<usize>,
}

/// The transposed convolution.
pub(crate) fn forward<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let plan = |copy_shifts| {
        let choices = Choices {
            merge_phases: problem.group_c_out() < MIN_UNMERGED_CHANNELS,
            copy_shifts,
        };
        Plan::forward(problem, choices)
    };
    let plan = dense::<T>(arch, plan);
    compute(arch, threads, &plan, input, weight, bias)
}

/// The gradient of the input.
pub(crate) fn grad_input<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = |copy_shifts| {
        let choices = Choices {
            merge_phases: false,
            copy_shifts,
        };
        Plan::grad_input(problem, choices)
    };
    let plan = dense::<T>(arch, plan);
    compute(arch, threads, &plan, grad_output, weight, None)
}

/// Computes the target `[batch, groups * channels, height, width]`.
fn compute<T: Element>(
    arch: Arch,
    threads: Threads,
    plan: &Plan,
    source: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let classes = plan.classes();
    let cut = Cut::new::<T>(threads, Registers::of::<T>(arch), plan, &classes);
    let mut classes: Vec<Packed<T>> = classes
        .into_iter()
        .map(|class| Packed::new(class, plan, &cut))
        .collect();
    pack(threads, &mut classes, plan, &cut, weight);
    let pass = Pass {
        plan,
        source,
        bias,
        phases: index_phases(plan, &classes),
        classes,
        cut,
    };

    let maps = plan.problem.batch * plan.problem.groups;
    let length = maps * plan.target.count * plan.target_plane();
    Fresh::build(length, |target| {
        let written = AtomicUsize::new(0);
        let units = pass.units(target).into_iter();
        threads.each_with(units, Scratch::default, |scratch, unit| {
            let values = arch.dispatch(Compute {
                pass: &pass,
                unit,
                scratch,
            });
            written.fetch_add(values, Ordering::Relaxed);
        });
        written.into_inner()
    })
}

/// Where each phase of the target is computed, `[step_h][step_w]`.
fn index_phases<T: Element>(plan: &Plan, classes: &[Packed<T>]) -> Vec<Option<PhaseIndex>> {
    let [height, width] = &plan.axes;
    let mut phases = vec![None; height.target.step * width.target.step];
    for (class, packed) in classes.iter().enumerate() {
        for (phase, members) in packed.class.phases.iter().enumerate() {
            let [y, x] = members.phase;
            phases[y * width.target.step + x] = Some(PhaseIndex { class, phase });
        }
    }
    phases
}

impl<T: Element> Pass<'_, T> {
    /// Cuts the target into units.
    fn units<'t>(&self, target: Fresh<'t, T>) -> Vec<Unit<'t, T>> {
        let [height, width] = &self.plan.axes;
        let (channels, cut) = (self.plan.target.count, &self.cut);
        let groups = self.plan.problem.groups;
        let bands = height.cells.div_ceil(cut.band).max(1);
        let band = (cut.band * height.target.step).max(1) * width.target.length;
        let planes = self.plan.problem.batch * groups * channels;
        let mut units: Vec<Unit<'t, T>> = Vec::new();
        let mut rest = target;
        for plane in 0..planes {
            let (map, channel) = (plane / channels, plane % channels);
            if channel % cut.targets == 0 {
                units.extend((0..bands).map(|band| Unit {
                    map: map / groups,
                    group: map % groups,
                    target: channel,
                    row: band * cut.band,
                    lines: Vec::with_capacity(cut.targets),
                }));
            }
            let first = units.len() - bands;
            let (mut lines, after) = rest.split_at(self.plan.target_plane());
            rest = after;
            let (last, others) = units[first..].split_last_mut().expect("a band");
            for unit in others {
                let (band, after) = lines.split_at(band);
                unit.lines.push(band);
                lines = after;
            }
            // The last band takes the zeros that are appended to the map as well.
            last.lines.push(lines);
        }
        units
    }
}

/// The computation of a unit, with the machine's vector instructions.
struct Compute<'a, 't, T: Element> {
    pass: &'a Pass<'a, T>,
    unit: Unit<'t, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> WithSimd for Compute<'_, '_, T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let Self {
            pass,
            unit,
            scratch,
        } = self;
        let cut = &pass.cut;
        let height = &pass.plan.axes[0];
        let rows = cut.band.min(height.cells - unit.row.min(height.cells));
        let length = cut.copied_values();
        if scratch.source.len() < length {
            scratch.source = Buffer::new(length);
        }
        let sums = pass.place_sums(&unit, rows, scratch);

        if rows > 0 && !pass.classes.is_empty() {
            for chunk in pass.chunks() {
                pass.copy(&unit, rows, &chunk, &mut scratch.source);
                for (packed, sums) in pass.classes.iter().zip(&sums) {
                    pass.multiply(simd, &unit, packed, &chunk, *sums, scratch);
                }
            }
        }
        pass.write(unit, &sums, &scratch.sums)
    }
}

impl<T: Element> Pass<'_, T> {
    /// What is copied and multiplied at once, in the order of the sums.
    #[inline(always)]
    fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let (cut, sources) = (&self.cut, self.plan.source.count);
        let all = self.plan.copies();
        (0..sources).step_by(cut.depth).flat_map(move |channel| {
            (0..all).step_by(cut.copies).map(move |copy| Chunk {
                channel,
                channels: cut.depth.min(sources - channel),
                copies: copy..all.min(copy + cut.copies),
            })
        })
    }

    /// Places each class's sums one after the other, behind a line of zeros.
    #[inline(always)]
    fn place_sums(&self, unit: &Unit<T>, rows: usize, scratch: &mut Scratch<T>) -> Vec<ClassSums> {
        let (cells, lanes) = (self.plan.axes[1].cells, self.cut.registers.lanes);
        let mut sums = Vec::with_capacity(self.classes.len());
        let mut length = cells;
        for packed in &self.classes {
            let [lead_y, lead_x] = packed.class.lead;
            let row_stride = packed.vectors(rows + lead_y, cells + lead_x, lanes) * lanes;
            sums.push(ClassSums {
                first: length,
                row_stride,
            });
            length += packed.class.phases.len() * unit.lines.len() * row_stride;
        }
        if scratch.sums.len() < length {
            scratch.sums = Buffer::new(length);
        }
        scratch.sums[..cells].fill(T::default());
        sums
    }

    /// Copies what a unit reads of some channels: `[channel][copy][line][cells + reach]`.
    #[inline(always)]
    fn copy(&self, unit: &Unit<T>, rows: usize, chunk: &Chunk, to: &mut [T]) {
        let band = BandCopy {
            plan: self.plan,
            first_row: unit.row,
            rows,
            line_stride: self.cut.line_stride,
            copy_stride: self.cut.copy_stride,
        };
        let plane = self.plan.source_plane();
        let group = unit.map * self.plan.problem.groups + unit.group;
        let first = group * self.plan.source.count + chunk.channel;
        let maps = self.source[first * plane..].chunks_exact(plane);
        let copies = to.chunks_mut(self.cut.channel_stride);
        for (map, to) in maps.zip(copies).take(chunk.channels) {
            band.write(map, chunk.copies.clone(), to);
        }
    }

    /// Adds the products of a chunk to a class's sums.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        unit: &Unit<T>,
        packed: &Packed<T>,
        chunk: &Chunk,
        sums: ClassSums,
        scratch: &mut Scratch<T>,
    ) {
        let (cut, class) = (&self.cut, &packed.class);
        let (taps, lanes) = (class.taps.len(), cut.registers.lanes);
        let unit_rows = class.phases.len() * unit.lines.len();
        let unit_index = unit.group * cut.target_blocks(self.plan) + unit.target / cut.targets;
        let weights = packed.weights.chunks_exact(packed.block_stride);
        let weights = weights.skip(unit_index * packed.blocks);
        let starts = &packed.starts[..sums.row_stride / lanes];
        // A chunk has several channels with all their taps, or one with some.
        let steps = class.taps_of(chunk.copies.clone());
        let end = (chunk.channels - 1) * taps + steps.end;
        for first in (steps.start..end).step_by(MAX_TILE_STEPS) {
            for (i, starts) in starts.chunks(VECTORS).enumerate() {
                for (row, weights) in (0..unit_rows).step_by(packed.rows).zip(weights.clone()) {
                    let tile = Tile {
                        source: &scratch.source,
                        weights: &weights[packed.rows * chunk.channel * taps..],
                        rows: SideBySide(packed.rows.min(unit_rows - row)),
                        steps: &packed.steps,
                        range: first..end.min(first + MAX_TILE_STEPS),
                        begin: chunk.channel == 0 && first == 0,
                    };
                    let at = sums.first + row * sums.row_stride + i * VECTORS * lanes;
                    tile.run(simd, starts, &mut scratch.sums[at..], sums.row_stride);
                }
            }
        }
    }

    /// Interleaves the phases of a unit's sums into the target, and adds the bias. Returns the
    /// number of values.
    #[inline(always)]
    fn write(&self, unit: Unit<T>, sums: &[ClassSums], values: &[T]) -> usize {
        let [height, width] = &self.plan.axes;
        let zeros = Column {
            first: 0,
            length: width.cells,
        };
        let phases: Vec<Option<PhaseSums>> = self
            .phases
            .iter()
            .map(|phase| phase.map(|index| self.phase_sums(index, sums[index.class])))
            .collect();

        let first = unit.group * self.plan.target.count + unit.target;
        let mut columns = vec![Column::default(); width.target.step];
        let mut written = 0;
        for (target, mut lines) in unit.lines.into_iter().enumerate() {
            let bias = self.bias.map_or(T::default(), |bias| bias[first + target]);
            for y in 0..lines.len() / width.target.length {
                let (cell, phase) = (y / height.target.step, y % height.target.step);
                let phases = &phases[phase * width.target.step..];
                for (column, sums) in columns.iter_mut().zip(phases) {
                    *column = match sums {
                        Some(sums) if unit.row + cell < sums.cells[0] => Column {
                            first: sums.first
                                + target * sums.channel_stride
                                + cell * sums.line_stride,
                            length: sums.cells[1],
                        },
                        _ => zeros,
                    };
                }
                let (line, after) = lines.split_at(width.target.length);
                written += line.interleave(values, &columns, bias);
                lines = after;
            }
        }
        written
    }

    /// Where the sums of a phase are.
    #[inline(always)]
    fn phase_sums(&self, index: PhaseIndex, sums: ClassSums) -> PhaseSums {
        let packed = &self.classes[index.class];
        let phase = &packed.class.phases[index.phase];
        let [lead_y, lead_x] = phase.lead;
        let lead = lead_y * packed.line_stride + lead_x;
        PhaseSums {
            first: sums.first + index.phase * sums.row_stride + lead,
            channel_stride: packed.class.phases.len() * sums.row_stride,
            line_stride: packed.line_stride,
            cells: phase.cells,
        }
    }
}
