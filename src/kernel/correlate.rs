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

use super::buffer::{Buffer, CACHE_LINE};
use super::plan::{Class, Layout, Plan};
use super::threads;
use super::tile::{Element, Fresh, SideBySide, Step, Steps, Tile, VECTORS, rows};
use crate::Geometry;

/// The channels of a pass, by group, and where the weight of a pair of them is.
#[derive(Clone, Copy)]
struct Channels {
    batch: usize,
    groups: usize,
    /// Channels of the source in a group, and how far apart their weights are.
    source: (usize, usize),
    /// Channels of the target in a group, and how far apart their weights are.
    target: (usize, usize),
    /// Columns of a kernel.
    columns: usize,
    /// Weights in a group.
    group: usize,
}

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

/// A class with its packed weights.
struct Packed<T: Element> {
    class: Class,
    /// `[group][unit's target channels][block of rows][channel of the source, tap][row]`, where a
    /// target channel's phases are rows side by side; zeros past the last row.
    weights: Buffer<T>,
    /// Blocks of rows of a unit.
    blocks: usize,
    /// One for each channel of a source block and tap.
    steps: Steps,
    /// Where the vectors of a full band start in the source's lines.
    starts: Vec<usize>,
    /// From a line of the class's sums to the next.
    line: usize,
    /// Rows of a tile.
    rows: usize,
}

/// How a pass is cut.
struct Block {
    lanes: usize,
    /// Target channels of a unit.
    targets: usize,
    /// Rows of cells of a unit.
    band: usize,
    /// Source channels that are copied at once.
    depth: usize,
    /// From a line of a copy to the next.
    line: usize,
    /// From a source channel's copies to the next's.
    channel: usize,
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

/// Steps of a tile: the vectors that they read stay in the first-level cache while all rows pass
/// over them.
const NEAR: usize = 256;
/// Bytes of a unit's sums, and of its copy of the source: they stay in the second-level cache.
const FAR: usize = 192 << 10;

/// Fewer output channels than this share tiles with their other phases: a few rows leave most of a
/// tile's registers idle.
const FEW: usize = 6;

/// The transposed convolution.
pub(super) fn forward<T: Element>(
    arch: Arch,
    geometry: &Geometry,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let [c_out, c_in, k_h, k_w] = geometry.weight_shape();
    let (c_out, taps) = (c_out / geometry.groups(), k_h * k_w);
    let channels = Channels {
        batch: geometry.batch(),
        groups: geometry.groups(),
        source: (c_in, taps),
        target: (c_out, c_in * taps),
        columns: k_w,
        group: c_out * c_in * taps,
    };
    let merge = c_out < FEW;
    let plan = |split| Plan::forward(geometry, Layout { merge, split });
    correlate(arch, &dense::<T>(arch, plan), channels, input, weight, bias)
}

/// The gradient of the input.
pub(super) fn grad_input<T: Element>(
    arch: Arch,
    geometry: &Geometry,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let [c_out, c_in, k_h, k_w] = geometry.weight_shape();
    let (c_out, taps) = (c_out / geometry.groups(), k_h * k_w);
    let channels = Channels {
        batch: geometry.batch(),
        groups: geometry.groups(),
        source: (c_out, c_in * taps),
        target: (c_in, taps),
        columns: k_w,
        group: c_out * c_in * taps,
    };
    let plan = |split| Plan::grad_input(geometry, Layout { merge: false, split });
    correlate(arch, &dense::<T>(arch, plan), channels, grad_output, weight, None)
}

/// The plan with one copy of each plane, or, where the zeros between two lines would take up too
/// many lanes, with a copy for each shift.
fn dense<T: Element>(arch: Arch, plan: impl Fn(bool) -> Plan) -> Plan {
    let (lanes, _) = registers::<T>(arch);
    let whole = plan(false);
    let [height, width] = &whole.axes;
    let vectors = |line: usize| vectors(height.cells, width.cells, line, lanes).0;
    match 8 * vectors(width.cells + width.reach) > 9 * vectors(width.cells) {
        true => plan(true),
        false => whole,
    }
}

/// The number of vectors that cover some lines of cells, and from which place of a line to the
/// next: those of the source's lines if they run across them, a multiple of the lanes if each line
/// begins a vector.
fn vectors(lines: usize, cells: usize, line: usize, lanes: usize) -> (usize, usize) {
    let a_line = cells.div_ceil(lanes);
    let across = (lines.saturating_sub(1) * line + cells).div_ceil(lanes);
    match lines * a_line <= across {
        true => (lines * a_line, a_line * lanes),
        false => (across, line),
    }
}

/// Computes the target `[batch, groups * channels, height, width]`.
fn correlate<T: Element>(
    arch: Arch,
    plan: &Plan,
    channels: Channels,
    source: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let [height, width] = &plan.axes;
    let maps = channels.batch * channels.groups;
    let pass = Pass::new(arch, plan, channels, source, weight, bias);
    let length = maps * channels.target.0 * height.target * width.target;
    Fresh::build(length, |target| {
        let written = AtomicUsize::new(0);
        threads::for_each(pass.cut(target).into_iter(), Scratch::default, |scratch, unit| {
            let values = arch.dispatch(Compute { pass: &pass, unit, scratch });
            written.fetch_add(values, Ordering::Relaxed);
        });
        written.into_inner()
    })
}

/// Registers of a machine: the lanes of a vector, and the most rows of a tile.
struct Registers<T>(core::marker::PhantomData<T>);

impl<T: Element> WithSimd for Registers<T> {
    type Output = (usize, usize);

    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        (T::lanes::<S>(), rows::<S>())
    }
}

pub(super) fn registers<T: Element>(arch: Arch) -> (usize, usize) {
    arch.dispatch(Registers::<T>(core::marker::PhantomData))
}

impl<'a, T: Element> Pass<'a, T> {
    fn new(
        arch: Arch,
        plan: &'a Plan,
        channels: Channels,
        source: &'a [T],
        weight: &[T],
        bias: Option<&'a [T]>,
    ) -> Self {
        let [height, width] = &plan.axes;
        let classes = plan.classes();
        let (lanes, most_rows) = registers::<T>(arch);
        let block = Block::new::<T>(lanes, most_rows, plan, &classes, channels);
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
        pack(&mut classes, channels, &block, weight);
        Self { plan, channels, source, bias, classes, phases, block }
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

impl Block {
    fn new<T: Element>(
        lanes: usize,
        most_rows: usize,
        plan: &Plan,
        classes: &[Class],
        channels: Channels,
    ) -> Self {
        let [height, width] = &plan.axes;
        let most = |of: fn(&Class) -> usize| classes.iter().map(of).max().unwrap_or(0);
        let phases = most(|class| class.phases.len()).max(1);
        let taps = most(|class| class.taps.len()).max(1);
        let lead = [most(|class| class.lead[0]), most(|class| class.lead[1])];
        let depth = (NEAR / taps).clamp(1, channels.source.0);
        let depth = channels.source.0.div_ceil(channels.source.0.div_ceil(depth));

        // Values of a unit, by its rows of cells and target channels.
        let line = width.cells + width.reach;
        let copies = height.copies.len() * width.copies.len();
        let copy = |band: usize| depth * copies * (band + height.reach) * line;
        let all: usize = classes.iter().map(|class| class.phases.len()).sum();
        let sums = |band: usize, targets: usize| all * targets * (band + lead[0]) * line;
        let far = FAR / size_of::<T>();
        // Rows of cells that share most of what they read.
        let least = (2 * height.reach).clamp(1, height.cells.max(1));
        let (mut band, mut targets) = (height.cells.max(1), channels.target.0);
        let least_targets = most_rows.div_ceil(phases).min(targets);
        while band > least && (copy(band) > far || sums(band, least_targets) > far) {
            band = band.div_ceil(2);
        }
        let halve = |targets: usize| {
            (targets / 2).next_multiple_of(least_targets).max(least_targets)
        };
        while targets > least_targets && sums(band, targets) > far {
            targets = halve(targets);
        }
        // Enough units for all threads.
        let units = |band: usize, targets: usize| {
            let maps = channels.batch * channels.groups;
            maps * height.cells.div_ceil(band) * channels.target.0.div_ceil(targets)
        };
        let wanted = 3 * rayon::current_num_threads();
        while units(band, targets) < wanted && (band > least || targets > least_targets) {
            match band > least && band > 2 * least || targets == least_targets {
                true => band = band.div_ceil(2),
                false => targets = halve(targets),
            }
        }

        // An odd number of cache lines, so that channels do not fall on the same sets.
        let cache_line = CACHE_LINE / size_of::<T>();
        let channel = copies * (band + height.reach) * line;
        let channel = (channel.div_ceil(cache_line) | 1) * cache_line;
        Self { lanes, targets, band, depth, line, channel }
    }
}

impl<T: Element> Packed<T> {
    /// The weights are yet to be packed.
    fn new(
        class: Class,
        plan: &Plan,
        channels: Channels,
        block: &Block,
        most_rows: usize,
    ) -> Self {
        let [height, width] = &plan.axes;
        let all_rows = class.phases.len() * block.targets;
        let blocks = all_rows.div_ceil(most_rows);
        let rows = all_rows.div_ceil(blocks);
        let copy = (block.band + height.reach) * block.line;
        let steps = (0..block.depth).flat_map(|channel| {
            let taps = class.taps.iter().enumerate();
            let count = class.taps.len();
            taps.map(move |(i, (at, [y, x]))| Step {
                source: (channel * block.channel + at * copy + y * block.line + x) as u32,
                weight: ((channel * count + i) * rows) as u32,
            })
        });
        let steps = Steps::new(steps.collect());

        let lines = block.band + class.lead[0];
        let cells = width.cells + class.lead[1];
        let (count, line) = vectors(lines, cells, block.line, block.lanes);
        let start = |vector: usize| match line == block.line {
            true => vector * block.lanes,
            false => vector * block.lanes / line * block.line + vector * block.lanes % line,
        };
        let starts = (0..count).map(start).collect();
        let units = channels.groups * channels.target.0.div_ceil(block.targets);
        let size = rows * channels.source.0 * class.taps.len();
        let weights = Buffer::new(units * blocks * size);
        Self { class, weights, blocks, steps, starts, line, rows }
    }

    /// The vectors that cover `lines` lines.
    fn vectors(&self, lines: usize, cells: usize, lanes: usize) -> usize {
        ((lines - 1) * self.line + cells).div_ceil(lanes)
    }
}

/// Packs the classes' weights as [`Packed::weights`].
fn pack<T: Element>(
    classes: &mut [Packed<T>],
    channels: Channels,
    block: &Block,
    weight: &[T],
) {
    let (sources, source_stride) = channels.source;
    let (targets, target_stride) = channels.target;
    let units = targets.div_ceil(block.targets);
    let mut jobs = Vec::new();
    for packed in classes {
        let (class, blocks, rows) = (&packed.class, packed.blocks, packed.rows);
        let size = rows * sources * class.taps.len();
        let weights = packed.weights.chunks_exact_mut(size).enumerate();
        jobs.extend(weights.map(|(i, weights)| (class, blocks, rows, i, weights)));
    }
    // As many at once as make a job worth a thread.
    let all: usize = jobs.iter().map(|job| job.4.len()).sum();
    let some = (jobs.len() * 16_384).div_ceil(all.max(1));
    threads::for_each(jobs.chunks_mut(some.max(1)), || (), |(), jobs| {
        for (class, blocks, rows, i, packed) in jobs {
            let (blocks, rows, i) = (*blocks, *rows, *i);
            let (group, unit, block_of_rows) = (i / blocks / units, i / blocks % units, i % blocks);
            let group = &weight[group * channels.group..][..channels.group];
            let (phases, taps) = (class.phases.len(), class.taps.len());
            for r in 0..rows {
                let row = block_of_rows * rows + r;
                let (target, phase) = (row / phases, &class.phases[row % phases]);
                let first = unit * block.targets + target;
                if target >= block.targets || first >= targets {
                    packed[r..].iter_mut().step_by(rows).for_each(|packed| *packed = T::default());
                    continue;
                }
                for source in 0..sources {
                    let kernel = &group[first * target_stride + source * source_stride..];
                    let packed = packed[source * taps * rows + r..].iter_mut().step_by(rows);
                    for (packed, [y, x]) in packed.zip(&phase.taps) {
                        *packed = kernel[y * channels.columns + x];
                    }
                }
            }
        }
    });
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
        let Self { pass, unit, scratch } = self;
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
                (first, [packed.class.phases.len() * stride, packed.line], phase.cells)
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

/// Copies what `band` rows of cells, from `cell` on, read of a map: `[copy][line][cells + reach]`.
#[inline(always)]
pub(super) fn copy_map<T: Element>(
    plan: &Plan,
    map: &[T],
    cell: usize,
    band: usize,
    copy: usize,
    line: usize,
    to: &mut [T],
) {
    let [height, width] = &plan.axes;
    let mut copies = to.chunks_exact_mut(copy);
    for column in &width.copies {
        for row in &height.copies {
            let Some(to) = copies.next() else { return };
            let lines = to.chunks_exact_mut(line).take(band + height.reach);
            for (i, to) in lines.enumerate() {
                let y = (cell + i) as isize + row.shift;
                let y = usize::try_from(y).map(|y| y * height.source_step + row.plane);
                let from = match y {
                    Ok(y) if y < height.source => &map[y * width.source..][..width.source],
                    _ => &[],
                };
                let from = from.get(column.plane..).unwrap_or(&[]);
                spread(from, width.source_step, column.shift, to);
            }
        }
    }
}

/// Copies every `step`th value of a row, from value `low` of them on, zeros where there are none.
#[inline(always)]
fn spread<T: Element>(row: &[T], step: usize, low: isize, to: &mut [T]) {
    let zeros = to.len().min(low.min(0).unsigned_abs());
    let (before, to) = to.split_at_mut(zeros);
    before.fill(T::default());
    let skip = low.max(0) as usize;
    let count = row.len().div_ceil(step).saturating_sub(skip).min(to.len());
    let (values, after) = to.split_at_mut(count);
    after.fill(T::default());
    if count > 0 {
        let row = &row[skip * step..];
        match step {
            1 => values.copy_from_slice(&row[..count]),
            2 => every::<T, 2>(row, values),
            3 => every::<T, 3>(row, values),
            4 => every::<T, 4>(row, values),
            _ => {
                for (value, from) in values.iter_mut().zip(row.iter().step_by(step)) {
                    *value = *from;
                }
            }
        }
    }
}

/// Every `N`th value of a row; with a constant distance, by vector shuffles.
#[inline(always)]
fn every<T: Element, const N: usize>(row: &[T], to: &mut [T]) {
    let whole = (row.len() / N).min(to.len());
    for (value, from) in to[..whole].iter_mut().zip(row.chunks_exact(N)) {
        *value = from[0];
    }
    if let Some(last) = to.get_mut(whole) {
        *last = row[whole * N];
    }
}
