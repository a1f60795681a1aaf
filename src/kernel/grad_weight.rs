//! The gradient of the weight.
//!
//! ```text
//! grad_weight[o, c, tap] = sum over the maps and positions i of  input[c, i] * phase_o[i - shift]
//! ```
//!
//! where `phase_o` is the tap's phase of the output's gradient, and the shift the tap's. Both maps
//! are packed position by position: the input with its channels side by side, as the lanes of a
//! tile, the output's gradient with its channels and phases side by side, as the rows of a tile.
//! Every tap is then a constant offset, and the tile sums over the positions, in their order, so
//! that no sum depends on how the work is cut.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::correlate::registers;
use super::plan::{Class, Layout, Plan};
use super::tile::{Element, Step, Steps, Tile, VECTORS};
use crate::Geometry;

/// Positions that are packed at once, about: with them a tile's operands stay in the second-level
/// cache.
const BAND: usize = 1024;
/// Positions that a tile sums before the next takes its turn with the same operands, which then
/// are in the first-level cache.
const NEAR: usize = 192;

/// The rows of input that are packed at once: of several whole maps, or of one.
#[derive(Clone, Copy)]
struct Band {
    maps: usize,
    rows: usize,
}

/// A class, and how its part of the output's gradient is packed.
struct Phases {
    class: Class,
    /// Rows of a tile: pairs of phase and output channel.
    rows: usize,
    /// Lines of a packed map, and its columns.
    size: [usize; 2],
    /// The largest shift of a tap, on each axis.
    high: [isize; 2],
    /// A step for each position of a band.
    steps: Steps,
}

/// Some tiles' sums: for one block of input channels, and one of a class's rows.
struct Job<'a, T> {
    group: usize,
    class: usize,
    lanes: usize,
    rows: usize,
    /// `[tap][row][VECTORS * lanes]`
    sums: &'a mut [T],
}

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub(super) fn grad_weight<T: Element>(
    arch: Arch,
    geometry: &Geometry,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = Plan::forward(geometry, Layout { merge: true, split: false });
    let [c_out, c_in, k_h, k_w] = geometry.weight_shape();
    let (n, groups, c_out) = (geometry.batch(), geometry.groups(), c_out / geometry.groups());
    let [height, width] = geometry.axes().map(|axis| axis.input());
    let (lanes, most_rows) = registers::<T>(arch);
    let block = VECTORS * lanes;
    let c_blocks = c_in.div_ceil(block);

    let rows = (BAND / width).clamp(1, height);
    let maps = if rows == height { (BAND / (height * width)).clamp(1, n) } else { 1 };
    let band = Band { maps, rows };
    let classes = plan.classes().into_iter();
    let classes: Vec<Phases> = classes
        .map(|class| Phases::new(class, &plan, band, width, block, c_out, most_rows))
        .collect();

    // All sums of all jobs, and all packed values of a band, each in one piece.
    let lengths = |class: &Phases| class.class.taps.len() * class.rows * block;
    let row_blocks = |class: &Phases| (class.class.phases.len() * c_out).div_ceil(class.rows);
    let a_group: usize = classes.iter().map(|class| row_blocks(class) * lengths(class)).sum();
    let mut sums = vec![T::default(); groups * c_blocks * a_group];
    let mut jobs: Vec<Job<T>> = Vec::new();
    let mut rest = &mut sums[..];
    for group in 0..groups {
        for lanes in 0..c_blocks {
            for (c, class) in classes.iter().enumerate() {
                for rows in 0..row_blocks(class) {
                    let (sums, after) = rest.split_at_mut(lengths(class));
                    rest = after;
                    jobs.push(Job { group, class: c, lanes, rows, sums });
                }
            }
        }
    }

    let positions = band.maps * band.rows * width;
    let mut packed_input = vec![T::default(); groups * c_blocks * positions * block];
    let mut packed_phases: Vec<Vec<T>> = classes
        .iter()
        .map(|class| {
            let [lines, columns] = class.size;
            let a_block = band.maps * lines * columns * class.rows;
            vec![T::default(); groups * row_blocks(class) * a_block]
        })
        .collect();

    for map in (0..n).step_by(band.maps) {
        for row in (0..height).step_by(band.rows) {
            let maps = map..n.min(map + band.maps);
            let rows = row..height.min(row + band.rows);
            let count = maps.len() * rows.len() * width;
            let packing = Packing { geometry, arch, maps, rows, c_out };
            packing.input(input, c_in, block, &mut packed_input, positions * block);
            for (class, packed) in classes.iter().zip(&mut packed_phases) {
                packing.phases(&plan, class, grad_output, row_blocks(class), packed, band.maps);
            }
            let begin = map == 0 && row == 0;
            jobs.par_chunks_mut(4).for_each(|jobs| {
                arch.dispatch(Sum {
                    jobs,
                    classes: &classes,
                    c_blocks,
                    c_in,
                    c_out,
                    band,
                    input: &packed_input,
                    input_block: positions * block,
                    phases: &packed_phases,
                    count,
                    begin,
                });
            });
        }
    }

    let mut grad = vec![T::default(); groups * c_out * c_in * k_h * k_w];
    for job in &jobs {
        let class = &classes[job.class];
        let taps = class.class.taps.len();
        for r in 0..class.rows {
            let row = job.rows * class.rows + r;
            let Some(phase) = class.class.phases.get(row / c_out) else { break };
            let o = job.group * c_out + row % c_out;
            for (tap, [y, x]) in (0..taps).zip(&phase.taps) {
                let sums = &job.sums[(tap * class.rows + r) * block..][..block];
                let c = job.lanes * block;
                let at = ((o * c_in + c) * k_h + y) * k_w + x;
                let to = grad[at..].iter_mut().step_by(k_h * k_w);
                for (to, sum) in to.zip(sums).take(c_in - c) {
                    *to = *sum;
                }
            }
        }
    }
    grad
}

impl Phases {
    fn new(
        class: Class,
        plan: &Plan,
        band: Band,
        width: usize,
        block: usize,
        c_out: usize,
        most_rows: usize,
    ) -> Self {
        let shift = |axis: usize, of: fn(usize, usize) -> usize| {
            let shifts = class.taps.iter().map(|tap| tap.1[axis]);
            shifts.reduce(of).unwrap_or(0)
        };
        let [high, low] = [usize::max, usize::min].map(|of| [shift(0, of), shift(1, of)]);
        let size = [band.rows + high[0] - low[0], width + high[1] - low[1]];
        let all = class.phases.len() * c_out;
        let rows = all.div_ceil(all.div_ceil(most_rows));
        let [lines, columns] = size;
        let places = (0..band.maps).flat_map(|map| {
            let rows = 0..band.rows;
            rows.flat_map(move |y| (0..width).map(move |x| (map * lines + y) * columns + x))
        });
        let steps = places.enumerate().map(|(i, place)| Step {
            source: (i * block) as u32,
            weight: place as u32,
        });
        let steps = Steps::new(steps.collect());
        let high = [0, 1].map(|axis| high[axis] as isize + plan.axes[axis].copies[0].shift);
        Self { class, rows, size, high, steps }
    }
}

/// What is packed at once.
struct Packing<'a> {
    geometry: &'a Geometry,
    arch: Arch,
    maps: core::ops::Range<usize>,
    rows: core::ops::Range<usize>,
    c_out: usize,
}

impl Packing<'_> {
    /// The input: `[group][block of channels][position][VECTORS * lanes]`, zeros past the last
    /// channel.
    fn input<T: Element>(
        &self,
        input: &[T],
        c_in: usize,
        block: usize,
        packed: &mut [T],
        length: usize,
    ) {
        let [_, channels, height, width] = self.geometry.input_shape();
        let c_blocks = c_in.div_ceil(block);
        let count = self.rows.len() * width;
        packed.par_chunks_mut(length).enumerate().for_each(|(i, packed)| {
            let (group, c) = (i / c_blocks, i % c_blocks * block);
            let here = block.min(c_in - c);
            for (m, map) in self.maps.clone().enumerate() {
                let first = (map * channels + group * c_in + c) * height * width;
                let planes = &input[first + self.rows.start * width..];
                let packed = &mut packed[m * count * block..][..count * block];
                self.arch.dispatch(Transpose {
                    from: planes,
                    plane: height * width,
                    planes: here,
                    step: 1,
                    to: packed,
                    block,
                });
            }
        });
    }

    /// A class's part of the output's gradient: `[group][block of rows][map][line][column][row]`,
    /// zeros where the map has ended.
    fn phases<T: Element>(
        &self,
        plan: &Plan,
        class: &Phases,
        grad_output: &[T],
        blocks: usize,
        packed: &mut [T],
        band_maps: usize,
    ) {
        let [_, channels, o_h, o_w] = self.geometry.output_shape();
        let [s_h, s_w] = plan.axes.each_ref().map(|axis| axis.target_step);
        let ([lines, columns], rows) = (class.size, class.rows);
        let length = band_maps * lines * columns * rows;
        let used = self.rows.len() + lines - lines.min(class.size[0]);
        let _ = used;
        packed.par_chunks_mut(length).enumerate().for_each(|(i, packed)| {
            let (group, row) = (i / blocks, i % blocks * rows);
            packed.fill(T::default());
            for r in 0..rows {
                let Some(phase) = class.class.phases.get((row + r) / self.c_out) else { break };
                let channel = group * self.c_out + (row + r) % self.c_out;
                // Column `j` of a line is place `j - high` of the class, a cell `lead` before it.
                let first = [0, 1].map(|axis| {
                    let start = if axis == 0 { self.rows.start as isize } else { 0 };
                    start - class.high[axis] - phase.lead[axis] as isize
                });
                for (m, map) in self.maps.clone().enumerate() {
                    let plane = &grad_output[(map * channels + channel) * o_h * o_w..][..o_h * o_w];
                    for line in 0..lines {
                        let cell = first[0] + line as isize;
                        if cell < 0 || cell as usize >= phase.cells[0] {
                            continue;
                        }
                        let y = cell as usize * s_h + phase.phase[0];
                        let from = first[1].max(0) as usize;
                        let to = (first[1] + columns as isize).clamp(0, phase.cells[1] as isize);
                        let skip = (from as isize - first[1]) as usize;
                        let values = &plane[y * o_w..][..o_w];
                        let at = ((m * lines + line) * columns + skip) * rows + r;
                        let to = to as usize;
                        if from < to {
                            let packed = packed[at..].iter_mut().step_by(rows);
                            let values = values[from * s_w + phase.phase[1]..].iter().step_by(s_w);
                            for (packed, value) in packed.zip(values).take(to - from) {
                                *packed = *value;
                            }
                        }
                    }
                }
            }
        });
    }
}

/// Writes some planes position by position.
struct Transpose<'a, T> {
    from: &'a [T],
    /// From one plane to the next.
    plane: usize,
    planes: usize,
    step: usize,
    /// `[position][block]`
    to: &'a mut [T],
    block: usize,
}

impl<T: Element> WithSimd for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let count = self.to.len() / self.block;
        for c in 0..self.planes {
            let plane = &self.from[c * self.plane..];
            let to = self.to[c..].iter_mut().step_by(self.block);
            for (to, from) in to.zip(plane.iter().step_by(self.step)).take(count) {
                *to = *from;
            }
        }
    }
}

/// Adds a band's products to the sums of some jobs.
struct Sum<'a, 't, T> {
    jobs: &'a mut [Job<'t, T>],
    classes: &'a [Phases],
    c_blocks: usize,
    c_in: usize,
    c_out: usize,
    band: Band,
    input: &'a [T],
    input_block: usize,
    phases: &'a [Vec<T>],
    count: usize,
    begin: bool,
}

impl<T: Element> WithSimd for Sum<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = T::lanes::<S>();
        let block = VECTORS * lanes;
        for from in (0..self.count).step_by(NEAR) {
            let range = from..self.count.min(from + NEAR);
            for job in self.jobs.iter_mut() {
                let class = &self.classes[job.class];
                let [lines, columns] = class.size;
                let blocks = (class.class.phases.len() * self.c_out).div_ceil(class.rows);
                let packed = &self.phases[job.class];
                let length = self.band.maps * lines * columns * class.rows;
                let packed = &packed[(job.group * blocks + job.rows) * length..][..length];
                let input = (job.group * self.c_blocks + job.lanes) * self.input_block;
                let vectors = (self.c_in - job.lanes * block).div_ceil(lanes).min(VECTORS);
                let starts = [0, lanes];
                let sums = job.sums.chunks_exact_mut(class.rows * block);
                for ((_, shift), sums) in class.class.taps.iter().zip(sums) {
                    let high = class.class.taps.iter();
                    let high = high.fold([0, 0], |h: [usize; 2], t| {
                        [h[0].max(t.1[0]), h[1].max(t.1[1])]
                    });
                    let at = (high[0] - shift[0]) * columns + high[1] - shift[1];
                    let tile = Tile {
                        source: &self.input[input..][..self.input_block],
                        weights: &packed[at * class.rows..],
                        steps: &class.steps,
                        range: range.clone(),
                        begin: self.begin && from == 0,
                    };
                    tile.run(simd, class.rows, &starts[..vectors], sums, block);
                }
            }
        }
    }
}
