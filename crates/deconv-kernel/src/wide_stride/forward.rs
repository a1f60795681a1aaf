//! The forward pass at a large stride: lines of the output are the rows of the tile's sums.

use pulp::{Arch, Simd, WithSimd};

use super::turn;
use crate::buffer::Buffer;
use crate::cut::even_part;
use crate::element::Element;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, SideBySide, Step, Steps, Sums, Tile, VECTORS};
use crate::tuning::{MAX_TILE_STEPS, MIN_VALUES_PER_JOB, UNITS_PER_THREAD};

/// The forward pass's operands, and their sizes.
struct Forward<'a, T: Element> {
    problem: &'a Problem,
    /// `[map, channel][line][cell]`, with `repeats - 1` zeros on each side.
    input: Buffer<T>,
    /// `[c_out, channel][row][repeat][place]`
    weights: Buffer<T>,
    bias: Option<&'a [T]>,
    registers: Registers,
    /// A step for each input channel and repeat on both axes.
    steps: Steps,
    step_count: usize,
    /// Cells of an output line.
    cells: usize,
    /// Places of a cell, rounded up to whole vectors.
    cell_stride: usize,
    /// Values of a kernel's row and of a kernel.
    kernel_row: usize,
    kernel: usize,
    input_line: usize,
    input_plane: usize,
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
    let registers = Registers::of::<T>(arch);
    let [height, width] = &problem.axes;
    let repeats = problem.axes.map(|axis| axis.kernel / axis.stride);
    let lines = height.input + 2 * (repeats[0] - 1);
    let input_line = width.input + 2 * (repeats[1] - 1);
    let cell_stride = width.stride.next_multiple_of(registers.lanes);
    let kernel_row = repeats[1] * cell_stride;
    let (kernel, input_plane) = (height.kernel * kernel_row, lines * input_line);
    let mut steps = Vec::new();
    for c in 0..problem.group_c_in() {
        for y in 0..repeats[0] {
            for x in 0..repeats[1] {
                steps.push(Step {
                    source: c * kernel + y * height.stride * kernel_row + x * cell_stride,
                    weight: c * input_plane
                        + (repeats[0] - 1 - y) * input_line
                        + (repeats[1] - 1 - x),
                });
            }
        }
    }
    let forward = Forward {
        problem,
        input: pad(threads, problem, input, [lines, input_line]),
        weights: turn(threads, problem, weight, width.stride, cell_stride),
        bias,
        registers,
        step_count: steps.len(),
        steps: Steps::new(steps),
        cells: width.input + repeats[1] - 1,
        cell_stride,
        kernel_row,
        kernel,
        input_line,
        input_plane,
    };

    let mut output = vec![T::default(); problem.batch * problem.c_out * problem.output_plane()];
    let planes = (problem.batch * problem.c_out).max(1);
    let parts = (UNITS_PER_THREAD * threads.count()).div_ceil(planes);
    let rows = height.output.div_ceil(parts);
    let mut units = Vec::new();
    for (plane, output) in output.chunks_mut(problem.output_plane()).enumerate() {
        for (i, output) in output.chunks_mut(rows * width.output).enumerate() {
            let row = i * rows;
            units.push(Rows { plane, row, output });
        }
    }
    threads.each_with(units.into_iter(), Buffer::<T>::default, |line, rows| {
        if line.is_empty() {
            *line = Buffer::new(forward.cells * forward.cell_stride);
        }
        arch.dispatch(ForwardRows {
            forward: &forward,
            rows,
            line,
        });
    });
    output
}

/// The input with zeros around each plane, so that planes are `lines` by `line`.
fn pad<T: Element>(
    threads: Threads,
    problem: &Problem,
    input: &[T],
    [lines, line]: [usize; 2],
) -> Buffer<T> {
    let [height, width] = &problem.axes;
    let before = [(lines - height.input) / 2, (line - width.input) / 2];
    let mut padded = Buffer::new(problem.batch * problem.c_in * lines * line);
    let at_once = 1 + MIN_VALUES_PER_JOB / (lines * line);
    let jobs = padded.chunks_mut(at_once * lines * line);
    let jobs = jobs.zip(input.chunks(at_once * problem.input_plane()));
    threads.each(jobs, |(to, from)| {
        to.fill(T::default());
        let planes = to.chunks_mut(lines * line);
        for (to, from) in planes.zip(from.chunks(problem.input_plane())) {
            let to = to.chunks_mut(line).skip(before[0]);
            for (to, from) in to.zip(from.chunks(width.input)) {
                to[before[1]..][..width.input].copy_from_slice(from);
            }
        }
    });
    padded
}

/// Some rows of one output channel of a map.
struct Rows<'t, T> {
    /// The index of the map and the channel.
    plane: usize,
    /// The first row.
    row: usize,
    output: &'t mut [T],
}

/// The computation of some rows, with the machine's vector instructions.
struct ForwardRows<'a, 't, T: Element> {
    forward: &'a Forward<'a, T>,
    rows: Rows<'t, T>,
    /// The sums of a line of the full map.
    line: &'a mut [T],
}

impl<T: Element> WithSimd for ForwardRows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            forward,
            rows,
            line,
        } = self;
        let problem = forward.problem;
        let [height, width] = &problem.axes;
        let channel = rows.plane % problem.c_out;
        let bias = forward.bias.map_or(T::default(), |bias| bias[channel]);
        let (stride, kept) = (width.stride, width.kept());
        for (i, output) in rows.output.chunks_mut(width.output).enumerate() {
            let full_row = rows.row + i + height.crop_begin;
            let mut written = 0;
            if full_row < height.full() {
                forward.line(simd, rows.plane, full_row, line);
                // The line's cells may be longer than the stride.
                while written < kept.len() {
                    let place = kept.start + written;
                    let (cell, first) = (place / stride, place % stride);
                    let count = (stride - first).min(kept.len() - written);
                    let from = &line[cell * forward.cell_stride + first..][..count];
                    for (to, from) in output[written..].iter_mut().zip(from) {
                        *to = *from + bias;
                    }
                    written += count;
                }
            }
            output[written..].fill(bias);
        }
    }
}

impl<T: Element> Forward<'_, T> {
    /// Sums a line of the full map, `[cell][place]`.
    #[inline(always)]
    fn line<S: Simd>(&self, simd: S, plane: usize, full_row: usize, line: &mut [T]) {
        let problem = self.problem;
        let (map, channel) = (plane / problem.c_out, plane % problem.c_out);
        let group = map * problem.groups + channel / problem.group_c_out();
        let stride = problem.axes[0].stride;
        let (cell_row, place_row) = (full_row / stride, full_row % stride);
        let first = channel * problem.group_c_in() * self.kernel + place_row * self.kernel_row;
        let source = &self.weights[first..];
        let first = group * problem.group_c_in() * self.input_plane + cell_row * self.input_line;
        let input = &self.input[first..];

        let lanes = self.registers.lanes;
        let rows = even_part(self.cells, self.registers.rows);
        for place in (0..self.cell_stride).step_by(VECTORS * lanes) {
            let starts = &[place, place + lanes];
            let vectors = ((self.cell_stride - place) / lanes).min(VECTORS);
            for cell in (0..self.cells).step_by(rows) {
                for first in (0..self.step_count).step_by(MAX_TILE_STEPS) {
                    let tile = Tile {
                        source,
                        weights: &input[cell..],
                        rows: SideBySide(rows.min(self.cells - cell)),
                        steps: &self.steps,
                        range: first..self.step_count.min(first + MAX_TILE_STEPS),
                    };
                    let sums = Sums {
                        values: &mut line[cell * self.cell_stride + place..],
                        stride: self.cell_stride,
                        begin: first == 0,
                    };
                    tile.run(simd, &starts[..vectors], sums);
                }
            }
        }
    }
}
