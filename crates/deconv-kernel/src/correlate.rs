//! A pass: the forward pass or the gradient of the input, as its [`Plan`] says.
//!
//! The target is cut into units that threads take: some channels by a band of rows of one map. A
//! unit copies what it reads of the source, a block of channels at a time, to lines that end in
//! zeros where the map does; there, every tap is a constant offset. The tile then adds the block's
//! products to the unit's sums, one row for each channel and phase. At last the phases are
//! interleaved into the target, which is written once.
//!
//! No sum depends on how the target is cut: the order is that of the source's channels and taps.

use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::copy_map;
use crate::cut::{Block, Channels, dense};
use crate::pack::{Packed, pack};
use crate::plan::{Layout, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Element, Fresh, SideBySide, Tile, VECTORS, registers};

/// A pass with all that its units share.
struct Pass<'a, T: Element> {
    plan: &'a Plan,
    channels: Channels,
    source: &'a [T],
    bias: Option<&'a [T]>,
    classes: Vec<Packed<T>>,
    /// The class of each phase of the target, and its place there; `None` where no tap reaches.
    phases: Vec<Option<(usize, usize)>>,
    block: Block,
}

/// A part of the target that one thread computes.
struct Unit<'a, T> {
    map: usize,
    group: usize,
    /// The first of its target channels, in the group.
    target: usize,
    /// The first of its rows of cells.
    cell: usize,
    /// Its rows of each target channel.
    lines: Vec<Fresh<'a, T>>,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    source: Buffer<T>,
    sums: Buffer<T>,
}

/// Fewer output channels than this share tiles with their other phases: a few rows leave most of a
/// tile's registers idle.
const FEW: usize = 6;

/// The transposed convolution.
pub(crate) fn forward<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let channels = Channels::new(problem);
    let merge = channels.target.0 < FEW;
    let plan = |split| Plan::forward(problem, Layout { merge, split });
    correlate(
        arch,
        threads,
        &dense::<T>(arch, plan),
        channels,
        input,
        weight,
        bias,
    )
}

/// The gradient of the input.
pub(crate) fn grad_input<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let channels = Channels::new(problem);
    let channels = Channels {
        source: channels.target,
        target: channels.source,
        ..channels
    };
    let plan = |split| Plan::grad_input(problem, split);
    correlate(
        arch,
        threads,
        &dense::<T>(arch, plan),
        channels,
        grad_output,
        weight,
        None,
    )
}

/// Computes the target `[batch, groups * channels, height, width]`.
fn correlate<T: Element>(
    arch: Arch,
    threads: Threads,
    plan: &Plan,
    channels: Channels,
    source: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let [height, width] = &plan.axes;
    let maps = channels.batch * channels.groups;
    let pass = Pass::new(arch, threads, plan, channels, source, weight, bias);
    let length = maps * channels.target.0 * height.target * width.target;
    Fresh::build(length, |target| {
        let written = AtomicUsize::new(0);
        threads.each_with(
            pass.cut(target).into_iter(),
            Scratch::default,
            |scratch, unit| {
                let values = arch.dispatch(Compute {
                    pass: &pass,
                    unit,
                    scratch,
                });
                written.fetch_add(values, Ordering::Relaxed);
            },
        );
        written.into_inner()
    })
}

impl<'a, T: Element> Pass<'a, T> {
    #[allow(clippy::too_many_arguments)]
    fn new(
        arch: Arch,
        threads: Threads,
        plan: &'a Plan,
        channels: Channels,
        source: &'a [T],
        weight: &[T],
        bias: Option<&'a [T]>,
    ) -> Self {
        let [height, width] = &plan.axes;
        let classes = plan.classes();
        let (lanes, most_rows) = registers::<T>(arch);
        let block = Block::new::<T>(threads, [lanes, most_rows], plan, &classes, channels);
        let mut phases = vec![None; height.target_step * width.target_step];
        for (c, class) in classes.iter().enumerate() {
            for (p, phase) in class.phases.iter().enumerate() {
                phases[phase.phase[0] * width.target_step + phase.phase[1]] = Some((c, p));
            }
        }
        let classes = classes.into_iter();
        let mut classes: Vec<Packed<T>> = classes
            .map(|class| Packed::new(class, plan, channels, &block, most_rows))
            .collect();
        pack(threads, &mut classes, channels, &block, weight);
        Self {
            plan,
            channels,
            source,
            bias,
            classes,
            phases,
            block,
        }
    }

    /// Cuts the target into units.
    fn cut<'t>(&self, target: Fresh<'t, T>) -> Vec<Unit<'t, T>> {
        let [height, width] = &self.plan.axes;
        let (channels, block) = (self.channels.target.0, &self.block);
        let bands = height.cells.div_ceil(block.band).max(1);
        let band = (block.band * height.target_step).max(1) * width.target;
        let planes = self.channels.batch * self.channels.groups * channels;
        let mut units: Vec<Unit<'t, T>> = Vec::new();
        let mut rest = target;
        for plane in 0..planes {
            let (map, channel) = (plane / channels, plane % channels);
            if channel % block.targets == 0 {
                units.extend((0..bands).map(|band| Unit {
                    map: map / self.channels.groups,
                    group: map % self.channels.groups,
                    target: channel,
                    cell: band * block.band,
                    lines: Vec::with_capacity(block.targets),
                }));
            }
            let first = units.len() - bands;
            let (mut lines, after) = rest.split_at(height.target * width.target);
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
        let block = &pass.block;
        let [height, width] = &pass.plan.axes;
        let band = block.band.min(height.cells - unit.cell.min(height.cells));
        let length = block.depth * block.channel + block.lanes;
        if scratch.source.len() < length {
            scratch.source = Buffer::new(length);
        }
        let source = &mut scratch.source[..];

        // Where each class's sums start, after a line of zeros, and the stride of their rows.
        let mut length = width.cells;
        let sums = pass.classes.iter().map(|packed| {
            let lines = band + packed.class.lead[0];
            let cells = width.cells + packed.class.lead[1];
            let stride = packed.vectors(lines, cells, block.lanes) * block.lanes;
            let first = length;
            length += packed.class.phases.len() * unit.lines.len() * stride;
            (first, stride)
        });
        let sums: Vec<(usize, usize)> = sums.collect();
        if scratch.sums.len() < length {
            scratch.sums = Buffer::new(length);
        }
        scratch.sums[..width.cells].fill(T::default());

        if band > 0 && !pass.classes.is_empty() {
            for channel in (0..pass.channels.source.0).step_by(block.depth) {
                let depth = block.depth.min(pass.channels.source.0 - channel);
                pass.copy(&unit, channel, depth, band, source);
                for (packed, sums) in pass.classes.iter().zip(&sums) {
                    let values = &mut scratch.sums;
                    pass.multiply(simd, packed, &unit, (channel, depth), *sums, source, values);
                }
            }
        }
        pass.write(unit, &sums, &scratch.sums)
    }
}

impl<T: Element> Pass<'_, T> {
    /// Copies what a unit reads of some channels: `[channel][copy][line][cells + reach]`.
    #[inline(always)]
    fn copy(&self, unit: &Unit<T>, channel: usize, depth: usize, band: usize, to: &mut [T]) {
        let [height, width] = &self.plan.axes;
        let line = self.block.line;
        let copy = (self.block.band + height.reach) * line;
        let size = height.source * width.source;
        let sources = self.channels.source.0;
        let first = (unit.map * self.channels.groups + unit.group) * sources + channel;
        let maps = self.source[first * size..].chunks_exact(size);
        for (map, to) in maps.zip(to.chunks_mut(self.block.channel)).take(depth) {
            copy_map(self.plan, map, unit.cell, band, copy, line, to);
        }
    }

    /// Adds the products of a block of channels to a class's sums.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        packed: &Packed<T>,
        unit: &Unit<T>,
        (channel, depth): (usize, usize),
        (first, stride): (usize, usize),
        source: &[T],
        sums: &mut [T],
    ) {
        let (block, class) = (&self.block, &packed.class);
        let (taps, phases) = (class.taps.len(), class.phases.len());
        let unit_rows = phases * unit.lines.len();
        let size = packed.rows * self.channels.source.0 * taps;
        let units = self.channels.target.0.div_ceil(block.targets);
        let first_block = (unit.group * units + unit.target / block.targets) * packed.blocks;
        let weights = packed.weights.chunks_exact(size).skip(first_block);
        let starts = &packed.starts[..stride / block.lanes];
        for (i, starts) in starts.chunks(VECTORS).enumerate() {
            for (row, weights) in (0..unit_rows).step_by(packed.rows).zip(weights.clone()) {
                let tile = Tile {
                    source,
                    weights: &weights[packed.rows * channel * taps..],
                    rows: SideBySide(packed.rows.min(unit_rows - row)),
                    steps: &packed.steps,
                    range: 0..depth * taps,
                    begin: channel == 0,
                };
                let at = first + row * stride + i * VECTORS * block.lanes;
                tile.run(simd, starts, &mut sums[at..], stride);
            }
        }
    }

    /// Interleaves the phases of a unit's sums into the target, and adds the bias. Returns the
    /// number of values.
    #[inline(always)]
    fn write(&self, unit: Unit<T>, sums: &[(usize, usize)], values: &[T]) -> usize {
        let [height, width] = &self.plan.axes;
        // Where the sums of each phase are: of the first target channel and row of cells, and how
        // much further those of the next channel and row. Where no tap reaches are zeros.
        let zeros = (0, [0, 0], [height.cells, width.cells]);
        let place = |phase: &Option<(usize, usize)>| {
            phase.map_or(zeros, |(c, p)| {
                let (packed, (first, stride)) = (&self.classes[c], sums[c]);
                let phase = &packed.class.phases[p];
                let first = first + p * stride + phase.lead[0] * packed.line + phase.lead[1];
                (
                    first,
                    [packed.class.phases.len() * stride, packed.line],
                    phase.cells,
                )
            })
        };
        let places: Vec<_> = self.phases.iter().map(place).collect();

        let first = unit.group * self.channels.target.0 + unit.target;
        let mut columns = vec![(0, 0); width.target_step];
        let mut written = 0;
        for (target, mut lines) in unit.lines.into_iter().enumerate() {
            let bias = self.bias.map_or(T::default(), |bias| bias[first + target]);
            for y in 0..lines.len() / width.target {
                let (cell, phase) = (y / height.target_step, y % height.target_step);
                let places = &places[phase * width.target_step..];
                for (column, (first, [channel, line], cells)) in columns.iter_mut().zip(places) {
                    *column = match unit.cell + cell < cells[0] {
                        true => (first + target * channel + cell * line, cells[1]),
                        false => (0, width.cells),
                    };
                }
                let (line, after) = lines.split_at(width.target);
                written += line.interleave(values, &columns, bias);
                lines = after;
            }
        }
        written
    }
}
