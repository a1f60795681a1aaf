//! The gradient of the weight.
//!
//! ```text
//! grad_weight[o, c, tap] = sum over the maps and positions i of
//!     input[c, i] * grad_output[o, i * s + the tap's place]
//! ```
//!
//! The input is transposed once, so that the channels of a position lie side by side and become the
//! lanes of a tile. The output's gradient is copied as for the gradient of the input: plane by
//! plane, lines that end in zeros, so that every tap is a constant offset. The rows of a tile are
//! pairs of output channel and tap, its steps the positions, which it sums in their order, so that
//! no sum depends on how the work is cut.
//!
//! A group with few input channels would leave most lanes idle: see
//! [`scalar_products`](crate::scalar_products).

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::copy_map;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Element, Step, Steps, Tile, VECTORS, registers};

/// Positions that a tile sums before the next takes its turn with the same operands, which then
/// are in a near cache.
const NEAR: usize = 512;

/// The operands, and how they are cut.
struct Sums<'a, T: Element> {
    plan: &'a Plan,
    sizes: Sizes,
    /// `[group][block of channels][map, position][VECTORS * lanes]`, anything past the last channel.
    input: Buffer<T>,
    /// `[n, c_out, O_h, O_w]`
    grad_output: &'a [T],
    /// A step for each position of a band.
    steps: Steps,
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    groups: usize,
    /// Channels of a group.
    c_in: usize,
    c_out: usize,
    /// Height and width of the input.
    input: [usize; 2],
    taps: usize,
    /// Channels of a block, and blocks of a group.
    block: usize,
    blocks: usize,
    lanes: usize,
    /// Rows of a tile.
    rows: usize,
    /// Rows of input that are summed at once.
    band: usize,
}

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub(crate) fn grad_weight<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = Plan::grad_input(problem, false);
    let [c_out, c_in, k_h, k_w] = problem.weight_shape();
    let (groups, c_out, taps) = (problem.groups, c_out / problem.groups, k_h * k_w);
    let [height, width] = problem.axes.map(|axis| axis.input);
    let (lanes, rows) = registers::<T>(arch);
    // Weights that lie apart need registers of their own.
    let rows = rows / 3 * 2;
    // No wider than a group's channels.
    let block = lanes * VECTORS.min(c_in.div_ceil(lanes));
    let sizes = Sizes {
        batch: problem.batch,
        groups,
        c_in,
        c_out,
        input: [height, width],
        taps,
        block,
        blocks: c_in.div_ceil(block),
        lanes,
        rows,
        band: (NEAR / width).clamp(1, height),
    };
    let line = width + plan.axes[1].reach;
    let positions = (0..sizes.band).flat_map(|y| (0..width).map(move |x| y * line + x));
    let steps = positions.enumerate().map(|(i, at)| Step {
        source: i * block,
        weight: at,
    });
    let sums = Sums {
        plan: &plan,
        sizes,
        input: transpose(arch, threads, sizes, input),
        grad_output,
        steps: Steps::new(steps.collect()),
    };

    // A job takes some rows, pairs of output channel and tap, of a group.
    let all = c_out * taps;
    let jobs = (2 * threads.count()).div_ceil(groups);
    let a_job = all.div_ceil(jobs).next_multiple_of(rows).min(all);
    let c_padded = sizes.blocks * block;
    let mut products = Buffer::new(groups * all * c_padded);
    let jobs = products
        .chunks_mut(all * c_padded)
        .enumerate()
        .flat_map(|(group, products)| {
            let jobs = products.chunks_mut(a_job * c_padded).enumerate();
            jobs.map(move |(i, products)| (group, i * a_job, products))
        });
    let jobs: Vec<_> = jobs.collect();
    threads.each(jobs.into_iter(), |(group, row, products)| {
        let rows = row..row + products.len() / c_padded;
        arch.dispatch(Job {
            sums: &sums,
            group,
            rows,
            products,
        });
    });

    // From [o, tap][c] to [o][c][tap].
    let mut grad = vec![T::default(); groups * c_out * c_in * taps];
    let some = 1 + 16_384 / (c_in * taps);
    let channels = grad.chunks_mut(some * c_in * taps);
    let channels = channels.zip(products.chunks(some * taps * c_padded));
    threads.each(channels, |(grad, products)| {
        let channels = grad
            .chunks_mut(c_in * taps)
            .zip(products.chunks(taps * c_padded));
        for (grad, products) in channels {
            for (c, grad) in grad.chunks_exact_mut(taps).enumerate() {
                let from = products[c..].iter().step_by(c_padded);
                grad.iter_mut()
                    .zip(from)
                    .for_each(|(grad, sum)| *grad = *sum);
            }
        }
    });
    grad
}

/// Transposes the input to [`Sums::input`].
fn transpose<T: Element>(arch: Arch, threads: Threads, sizes: Sizes, input: &[T]) -> Buffer<T> {
    let Sizes {
        batch,
        groups,
        c_in,
        block,
        blocks,
        ..
    } = sizes;
    let size = sizes.input[0] * sizes.input[1];
    let mut transposed = Buffer::new(groups * blocks * batch * size * block);
    // Positions that a thread takes at once.
    let some = (1 << 14) / block;
    let pieces = transposed
        .chunks_mut(size * block)
        .enumerate()
        .flat_map(|(i, map)| {
            let pieces = map.chunks_mut(some * block).enumerate();
            pieces.map(move |(piece, to)| (i, piece * some, to))
        });
    let pieces: Vec<_> = pieces.collect();
    threads.each(pieces.into_iter(), |(i, position, to)| {
        let (group, c, map) = (i / batch / blocks, i / batch % blocks * block, i % batch);
        let first = (map * groups + group) * c_in + c;
        let planes = &input[first * size..];
        arch.dispatch(Transpose {
            planes,
            size,
            count: block.min(c_in - c),
            position,
            block,
            to,
        });
    });
    transposed
}

/// Writes some planes position by position.
struct Transpose<'a, T> {
    planes: &'a [T],
    size: usize,
    count: usize,
    /// The first position.
    position: usize,
    block: usize,
    /// `[position][block]`
    to: &'a mut [T],
}

impl<T: Element> WithSimd for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        /// Positions of a cache line of `f32`.
        const SOME: usize = 16;
        let Self {
            planes,
            size,
            count,
            position,
            block,
            to,
        } = self;
        for (i, to) in to.chunks_mut(SOME * block).enumerate() {
            let at = position + i * SOME;
            let some = to.len() / block;
            for c in 0..count {
                let from = &planes[c * size + at..][..some];
                let to = to[c..].iter_mut().step_by(block);
                for (to, from) in to.zip(from) {
                    *to = *from;
                }
            }
        }
    }
}

/// The sums of some rows of a group.
struct Job<'a, 't, T: Element> {
    sums: &'a Sums<'a, T>,
    group: usize,
    rows: core::ops::Range<usize>,
    /// `[row][c_in]`, with whole blocks of channels.
    products: &'t mut [T],
}

impl<T: Element> WithSimd for Job<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            sums: operands,
            group,
            rows,
            products,
        } = self;
        let Sums {
            plan,
            sizes,
            input,
            grad_output,
            steps,
        } = operands;
        let Sizes {
            batch,
            groups,
            c_in,
            c_out,
            taps,
            block,
            blocks,
            lanes,
            band,
            ..
        } = *sizes;
        let [height, width] = &plan.axes;
        let [h, w] = sizes.input;
        let classes = plan.classes();
        let Some(class) = classes.first() else {
            return products.fill(T::default());
        };

        // The channels that the rows belong to, and where each row's values are in their copies.
        let line = width.cells + width.reach;
        let copy = (band + height.reach) * line;
        let channel = height.copies.len() * width.copies.len() * copy;
        let channels = rows.start / taps..rows.end.div_ceil(taps);
        let places = class
            .taps
            .iter()
            .map(|(at, [y, x])| at * copy + y * line + x);
        let mut places: Vec<_> = class.phases[0].taps.iter().zip(places).collect();
        places.sort_unstable();
        let place = |row: usize| (row / taps - channels.start) * channel + places[row % taps].1;
        let offsets: Vec<usize> = rows.clone().map(place).collect();
        let mut copies = Buffer::new(channels.len() * channel);
        let c_padded = blocks * block;

        let [o_h, o_w] = [height.source, width.source];
        for map in 0..batch {
            for row in (0..h).step_by(band) {
                let count = band.min(h - row) * w;
                let first = (map * groups + group) * c_out + channels.start;
                let maps = grad_output[first * o_h * o_w..].chunks_exact(o_h * o_w);
                for (map, copies) in maps.zip(copies.chunks_exact_mut(channel)) {
                    copy_map(plan, map, row, band.min(h - row), copy, line, copies);
                }
                for b in 0..blocks {
                    let position = ((group * blocks + b) * batch + map) * h * w + row * w;
                    let source = &input[position * block..][..count * block];
                    let vectors = (c_in - b * block).div_ceil(lanes).min(block / lanes);
                    let starts = &[0, lanes][..vectors];
                    let tiles = products.chunks_mut(sizes.rows * c_padded);
                    for (products, rows) in tiles.zip(offsets.chunks(sizes.rows)) {
                        let tile = Tile {
                            source,
                            weights: &copies,
                            rows,
                            steps,
                            range: 0..count,
                            begin: map == 0 && row == 0,
                        };
                        tile.run(simd, starts, &mut products[b * block..], c_padded);
                    }
                }
            }
        }
    }
}
