//! The forward pass for small maps and for few output channels: all products of a channel and a tap first, and
//! then each product goes to its place.
//!
//! [`pass`](crate::pass) has the positions of a line in the lanes of its vectors, and output channels in the rows
//! of its tiles. On a map of 4x4, most lanes are idle, and to pack the weights costs more than the products; with
//! 3 output channels, most rows are. Here the products are one matrix for each output channel, with its taps as
//! rows or lanes, without a phase, a copy or a packed weight:
//!
//! ```text
//! products[i][t] = sum over c of  x[c][i] * w[o][c][t]      i: positions of some maps, t: taps
//! y[o][place of i and t] += products[i][t]
//! ```
//!
//! The lanes are the taps, which lie side by side in the weight, or the positions, whichever fill
//! their vectors better.

mod add;
mod few;

use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use self::add::places;
use self::few::FewPositions;
use crate::buffer::Buffer;
use crate::cut::even_part;
use crate::element::Element;
use crate::meetings::{Meeting, meetings};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, Step, Steps, Sums, Tile, VECTORS};
use crate::tuning::{
    CACHE_LINE_BYTES, FETCH_STEPS, MAX_FEW_POSITIONS, MAX_SCATTERED_POSITIONS, MAX_TILE_STEPS,
    MIN_FETCHED_WEIGHTS_BYTES, UNITS_PER_THREAD,
};
use crate::vectors::prefetch;

/// What the lanes of a vector are.
#[derive(Clone, Copy, PartialEq)]
enum Lanes {
    Taps,
    Positions,
}

impl Lanes {
    /// Those with fewer vectors.
    fn of<T: Element>(arch: Arch, problem: &Problem) -> Self {
        let lanes = Registers::of::<T>(arch).lanes;
        let (taps, positions) = (
            problem.taps(),
            maps_at_once(problem) * problem.input_plane(),
        );
        if positions * taps.div_ceil(lanes) <= taps * positions.div_ceil(lanes) {
            Self::Taps
        } else {
            Self::Positions
        }
    }
}

/// The maps whose products are computed at once.
fn maps_at_once(problem: &Problem) -> usize {
    let maps = MAX_SCATTERED_POSITIONS / problem.input_plane();
    even_part(problem.batch.max(1), maps.max(1))
}

/// The operands, and their sizes.
struct Scatter<'a, T: Element> {
    problem: &'a Problem,
    input: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    registers: Registers,
    lanes: Lanes,
    /// A step for each input channel.
    steps: Steps,
    /// The weights from this output channel on, and zeros: a vector may reach past the last weight.
    tail: usize,
    tail_weights: Buffer<T>,
    /// If lanes are taps: where each input value and tap of an axis meet, `[i][tap]`; past the output if they are
    /// cropped.
    places: [Vec<usize>; 2],
    /// If lanes are positions: where each tap meets them.
    meetings: [Vec<Meeting>; 2],
    maps: usize,
    /// Whether weights are asked for while others are multiplied: they are taps in lanes, and too many for the
    /// caches.
    fetches_weights: bool,
    /// Output channels whose products are computed at once: a tile's rows are their taps, or each is one of its
    /// vectors.
    channels: usize,
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
    let (registers, lanes) = (Registers::of::<T>(arch), Lanes::of::<T>(arch, problem));
    let (taps, plane, maps) = (problem.taps(), problem.input_plane(), maps_at_once(problem));
    let step = match lanes {
        Lanes::Taps => Step {
            source: taps,
            weight: plane,
        },
        Lanes::Positions => Step {
            source: positions_stride(maps, plane, registers.lanes),
            weight: taps,
        },
    };
    let steps = (0..problem.group_c_in()).map(|c| Step {
        source: c * step.source,
        weight: c * step.weight,
    });
    let (channel, reach) = (problem.group_c_in() * taps, VECTORS * registers.lanes);
    let are_large = size_of_val(weight) >= MIN_FETCHED_WEIGHTS_BYTES;
    let fetches_weights = lanes == Lanes::Taps && are_large && maps * plane > registers.rows;
    let channels = match lanes {
        Lanes::Taps if taps > registers.lanes || fetches_weights => 1,
        // From memory, so many streams took 1.08 times as long.
        Lanes::Taps if maps * plane <= MAX_FEW_POSITIONS && !are_large => few::CHANNELS,
        // Both vectors of a tile. Where memory decides, that took 1.2 times as long.
        Lanes::Taps => VECTORS,
        Lanes::Positions => registers.rows.div_ceil(taps),
    };
    let channels = channels.min(problem.group_c_out());
    let tail = problem
        .c_out
        .saturating_sub(channels + reach.div_ceil(channel));
    let rest = &weight[tail * channel..];
    let mut tail_weights = Buffer::new(rest.len() + reach);
    tail_weights[..rest.len()].copy_from_slice(rest);
    tail_weights[rest.len()..].fill(T::default());
    let scatter = Scatter {
        problem,
        input,
        weight,
        bias,
        registers,
        lanes,
        steps: Steps::new(steps.collect()),
        tail,
        tail_weights,
        places: match lanes {
            Lanes::Taps => problem.axes.each_ref().map(places),
            Lanes::Positions => Default::default(),
        },
        meetings: match lanes {
            Lanes::Taps => Default::default(),
            Lanes::Positions => problem.axes.each_ref().map(meetings),
        },
        maps,
        fetches_weights,
        channels,
    };

    let plane = problem.output_plane();
    let mut output = vec![T::default(); problem.batch * problem.c_out * plane];
    // Each unit has some channels of one group.
    let blocks = problem.batch.div_ceil(maps).max(1);
    let parts = (UNITS_PER_THREAD * threads.count()).div_ceil(blocks * problem.groups);
    let channels = problem.group_c_out().div_ceil(parts);
    let per_map = problem.groups * problem.group_c_out().div_ceil(channels);
    let mut units: Vec<Unit<T>> = Vec::new();
    for (map, output) in output.chunks_mut(problem.c_out * plane).enumerate() {
        let groups = output.chunks_mut(problem.group_c_out() * plane);
        let parts = groups.flat_map(|group| group.chunks_mut(channels * plane));
        for (part, output) in parts.enumerate() {
            let unit = map / maps * per_map + part;
            if unit == units.len() {
                let parts = per_map / problem.groups;
                let first = part / parts * problem.group_c_out() + part % parts * channels;
                units.push(Unit {
                    map,
                    channel: first,
                    outputs: vec![],
                });
            }
            units[unit].outputs.push(output);
        }
    }
    threads.each_with(units.into_iter(), Scratch::default, |scratch, unit| {
        arch.dispatch(Products {
            scatter: &scatter,
            unit,
            scratch,
        });
    });
    output
}

/// From a channel's positions to the next: as in the input, or whole vectors, if a channel has many of them that would
/// not be aligned.
fn positions_stride(maps: usize, plane: usize, lanes: usize) -> usize {
    if maps == 1 && plane <= VECTORS * lanes {
        plane
    } else {
        (maps * plane).next_multiple_of(lanes)
    }
}

/// Some output channels of some maps.
struct Unit<'t, T> {
    map: usize,
    channel: usize,
    /// The channels' planes, for each map.
    outputs: Vec<&'t mut [T]>,
}

#[derive(Default)]
struct Scratch<T: Element> {
    products: Buffer<T>,
    /// `[channel][position]`, if positions are lanes, and of which map and group.
    positions: Buffer<T>,
    packed: Option<(usize, usize)>,
    rows: Vec<usize>,
}

/// The computation of a unit, with the machine's vector instructions.
struct Products<'a, 't, T: Element> {
    scatter: &'a Scatter<'a, T>,
    unit: Unit<'t, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> WithSimd for Products<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            scatter,
            mut unit,
            scratch,
        } = self;
        let (problem, lanes) = (scatter.problem, scatter.registers.lanes);
        let (taps, plane) = (problem.taps(), problem.input_plane());
        let positions = unit.outputs.len() * plane;
        let group = unit.channel / problem.group_c_out();
        let columns = match scatter.lanes {
            Lanes::Taps => taps,
            Lanes::Positions => scatter.maps * plane,
        }
        .next_multiple_of(lanes);
        // Of output channels that are vectors, or with the second vector of an odd pair.
        let stride = match scatter.lanes {
            Lanes::Taps if scatter.channels > 1 => scatter.channels * columns,
            _ => columns + lanes,
        };
        let rows = match scatter.lanes {
            Lanes::Taps => positions,
            Lanes::Positions => scatter.channels * taps,
        };
        if scratch.products.len() < rows * stride + lanes {
            scratch.products = Buffer::new(rows * stride + lanes);
        }
        scratch.rows.clear();
        match scatter.lanes {
            Lanes::Taps => {
                let map = problem.c_in * plane;
                scratch
                    .rows
                    .extend((0..positions).map(|i| i / plane * map + i % plane));
            }
            Lanes::Positions => {
                let channel = problem.group_c_in() * taps;
                let rows = (0..rows).map(|row| row / taps * channel + row % taps);
                scratch.rows.extend(rows);
                if !scatter.is_in_place(&unit, group) && scratch.packed != Some((unit.map, group)) {
                    scatter.pack(&unit, group, &mut scratch.positions);
                    scratch.packed = Some((unit.map, group));
                }
            }
        }

        let channels =
            unit.outputs.first().map_or(0, |planes| planes.len()) / problem.output_plane();
        for first in (0..channels).step_by(scatter.channels) {
            let end = channels.min(first + scatter.channels);
            scatter.products(simd, &unit, first..end, scratch, stride);
            for i in first..end {
                let at = match scatter.lanes {
                    Lanes::Taps => lanes,
                    Lanes::Positions => taps * stride,
                };
                let products = &scratch.products[(i - first) * at..];
                for (map, planes) in unit.outputs.iter_mut().enumerate() {
                    let length = problem.output_plane();
                    let output = &mut planes[i * length..][..length];
                    let bias = scatter.bias.map(|bias| bias[unit.channel + i]);
                    output.fill(bias.unwrap_or_default());
                    match scatter.lanes {
                        Lanes::Taps => {
                            scatter.add_taps(&products[map * plane * stride..], stride, output);
                        }
                        Lanes::Positions => {
                            scatter.add_positions(&products[map * plane..], stride, output);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> Scatter<'_, T> {
    /// Whether positions are read where they are. The last vector must not reach behind the input.
    fn is_in_place(&self, unit: &Unit<T>, group: usize) -> bool {
        let (problem, lanes) = (self.problem, self.registers.lanes);
        let plane = problem.input_plane();
        let end = (unit.map * problem.c_in + (group + 1) * problem.group_c_in()) * plane;
        positions_stride(self.maps, plane, lanes) == plane
            && (plane.is_multiple_of(lanes) || end + lanes <= self.input.len())
    }

    /// The input of a unit's maps as `[channel][position]`, and any numbers behind them.
    fn pack(&self, unit: &Unit<T>, group: usize, positions: &mut Buffer<T>) {
        let (problem, channels) = (self.problem, self.problem.group_c_in());
        let plane = problem.input_plane();
        let line = positions_stride(self.maps, plane, self.registers.lanes);
        let length = channels * line + self.registers.lanes;
        if positions.len() < length {
            *positions = Buffer::new(length);
        }
        let first = |map: usize| ((unit.map + map) * problem.c_in + group * channels) * plane;
        if line == plane {
            let all = channels * plane;
            positions[..all].copy_from_slice(&self.input[first(0)..][..all]);
            return;
        }
        for (c, line) in positions.chunks_mut(line).take(channels).enumerate() {
            for (i, to) in line.chunks_mut(plane).take(unit.outputs.len()).enumerate() {
                to.copy_from_slice(&self.input[first(i) + c * plane..][..plane]);
            }
        }
    }

    /// The products of all taps of some of the unit's output channels and all its positions.
    #[inline(always)]
    fn products<S: Simd>(
        &self,
        simd: S,
        unit: &Unit<T>,
        channels: Range<usize>,
        scratch: &mut Scratch<T>,
        stride: usize,
    ) {
        let (problem, lanes) = (self.problem, self.registers.lanes);
        let (taps, plane) = (problem.taps(), problem.input_plane());
        let channel = unit.channel + channels.start;
        let first = |channel: usize| channel * problem.group_c_in() * taps;
        let weights = match channel.checked_sub(self.tail) {
            Some(channel) if self.lanes == Lanes::Taps => &self.tail_weights[first(channel)..],
            _ => &self.weight[first(channel)..],
        };
        let (group, count) = (channel / problem.group_c_out(), channels.len());
        let input = &self.input[(unit.map * problem.c_in + group * problem.group_c_in()) * plane..];
        let (source, values, columns) = match self.lanes {
            Lanes::Taps => (weights, input, taps),
            Lanes::Positions if self.is_in_place(unit, group) => (input, weights, plane),
            Lanes::Positions => (&scratch.positions[..], weights, unit.outputs.len() * plane),
        };
        let Scratch { products, rows, .. } = scratch;
        if self.lanes == Lanes::Taps && taps <= lanes && rows.len() <= MAX_FEW_POSITIONS {
            let operands = FewPositions {
                input,
                positions: rows,
                plane,
                weights,
                channels: problem.group_c_in(),
                taps,
            };
            operands.run(simd, count, products, stride);
            return;
        }
        let rows = match self.lanes {
            Lanes::Taps => &rows[..],
            Lanes::Positions => &rows[..count * taps],
        };
        let are_neighbours = rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let most_rows = if are_neighbours {
            self.registers.rows
        } else {
            self.registers.spread_rows
        };
        let at_once = even_part(rows.len(), most_rows);
        let channels = problem.group_c_in();
        let most = if self.fetches_weights {
            FETCH_STEPS
        } else {
            MAX_TILE_STEPS
        };
        // The parts of the first columns' tiles, and how many have begun.
        let parts = rows.len().div_ceil(at_once) * channels.div_ceil(most);
        let mut part = 0;
        for column in (0..columns).step_by(VECTORS * lanes) {
            let mut starts = [column, column + lanes];
            let mut vectors = (columns - column).div_ceil(lanes).min(VECTORS);
            if self.lanes == Lanes::Taps && count > 1 {
                (starts, vectors) = ([0, channels * taps], count);
            }
            for first in (0..channels).step_by(most) {
                for (i, rows) in rows.chunks(at_once).enumerate() {
                    if self.fetches_weights && part < parts {
                        self.fetch_weights(&source[channels * taps..], part, parts);
                        part += 1;
                    }
                    let tile = Tile {
                        source,
                        weights: values,
                        rows,
                        steps: &self.steps,
                        range: first..channels.min(first + most),
                    };
                    let sums = Sums {
                        values: &mut products[i * at_once * stride + column..],
                        stride,
                        begin: first == 0,
                    };
                    if are_neighbours {
                        let tile = tile.side_by_side();
                        tile.run(simd, &starts[..vectors], sums);
                    } else {
                        tile.run(simd, &starts[..vectors], sums);
                    }
                }
            }
        }
    }

    /// Asks the processor for one of `parts` parts of an output channel's weights, while those of the channel
    /// before it are multiplied.
    #[inline(always)]
    fn fetch_weights(&self, weights: &[T], part: usize, parts: usize) {
        let count = self.problem.group_c_in() * self.problem.taps();
        let line = CACHE_LINE_BYTES / size_of::<T>();
        let lines = count.div_ceil(line);
        for i in part * lines / parts..(part + 1) * lines / parts {
            prefetch(weights.as_ptr().wrapping_add(i * line));
        }
    }
}
