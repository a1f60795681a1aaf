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
mod products;

use core::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use self::add::{Reach, reaches};
use self::few::{channels_at_once, repeat};
use crate::buffer::Buffer;
use crate::cut::even_part;
use crate::element::Element;
use crate::meetings::{Meeting, meetings};
use crate::output::Fresh;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, Step, Steps, VECTORS};
use crate::tuning::{
    MAX_FEW_POSITIONS, MAX_FEW_TARGETS, MAX_SCATTERED_FEW_POSITIONS, MAX_SCATTERED_POSITIONS,
    MAX_SCATTERED_VALUES, MIN_FETCHED_WEIGHTS_BYTES, MIN_SCATTERED_FEW_SOURCES, UNITS_PER_THREAD,
};

/// What the lanes of a vector are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lanes {
    Taps,
    Positions,
}

impl Lanes {
    /// Those with fewer vectors.
    pub(crate) fn of<T: Element>(arch: Arch, problem: &Problem) -> Self {
        let lanes = Registers::of::<T>(arch).lanes;
        let (taps, positions) = (
            problem.taps(),
            maps_at_once(problem) * problem.input_plane(),
        );
        if is_few(problem, lanes)
            || positions * taps.div_ceil(lanes) <= taps * positions.div_ceil(lanes)
        {
            Self::Taps
        } else {
            Self::Positions
        }
    }
}

/// Whether `few.rs` multiplies: the taps fit in a vector, and positions are few.
pub(crate) fn is_few(problem: &Problem, lanes: usize) -> bool {
    let positions = maps_at_once(problem) * problem.input_plane();
    positions <= MAX_FEW_POSITIONS && problem.taps() <= lanes
}

/// Whether a thread may copy a map's input.
pub(crate) fn suits(problem: &Problem) -> bool {
    problem.group_c_in() * problem.input_plane() <= MAX_SCATTERED_VALUES
}

/// The maps whose products are computed at once.
pub(crate) fn maps_at_once(problem: &Problem) -> usize {
    let is_mostly_copied = problem.group_c_in() >= MIN_SCATTERED_FEW_SOURCES
        && problem.group_c_out() * problem.taps() <= MAX_FEW_TARGETS;
    let most = if is_mostly_copied {
        MAX_SCATTERED_FEW_POSITIONS
    } else {
        MAX_SCATTERED_POSITIONS
    };
    let maps = most / problem.input_plane();
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
    /// If lanes are taps: what each value of an axis reaches.
    reaches: [Vec<Reach>; 2],
    /// If lanes are positions: where each tap meets them.
    meetings: [Vec<Meeting>; 2],
    maps: usize,
    /// Whether weights are asked for while others are multiplied: they are taps in lanes, and too many for the
    /// caches.
    fetches_weights: bool,
    /// If positions are few: the input channels of a vector.
    few: Option<usize>,
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
    let few = is_few(problem, registers.lanes)
        .then(|| channels_at_once(problem.group_c_in(), taps, registers.lanes));
    let channels = match lanes {
        Lanes::Taps if taps > registers.lanes || fetches_weights => 1,
        // From memory, so many streams took 1.08 times as long.
        Lanes::Taps if few.is_some() && !are_large => few::CHANNELS,
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
        reaches: match lanes {
            Lanes::Taps => problem.axes.each_ref().map(reaches),
            Lanes::Positions => Default::default(),
        },
        meetings: match lanes {
            Lanes::Taps => Default::default(),
            Lanes::Positions => problem.axes.each_ref().map(meetings),
        },
        maps,
        fetches_weights,
        few,
        channels,
    };

    let plane = problem.output_plane();
    // Each unit has some channels of one group.
    let blocks = problem.batch.div_ceil(maps).max(1);
    let parts = (UNITS_PER_THREAD * threads.count()).div_ceil(blocks * problem.groups);
    let at_once = problem.group_c_out().div_ceil(parts);
    Fresh::build(problem.batch * problem.c_out * plane, |mut output| {
        let written = AtomicUsize::new(0);
        let mut units: Vec<Unit<T>> = Vec::new();
        for first_map in (0..problem.batch).step_by(maps) {
            let first_unit = units.len();
            for map in first_map..problem.batch.min(first_map + maps) {
                let mut unit = first_unit;
                for group in 0..problem.groups {
                    for first in (0..problem.group_c_out()).step_by(at_once) {
                        let channels = at_once.min(problem.group_c_out() - first);
                        let (planes, rest) = output.split_at(channels * plane);
                        output = rest;
                        if map == first_map {
                            units.push(Unit {
                                map,
                                channel: group * problem.group_c_out() + first,
                                channels,
                                outputs: vec![],
                            });
                        }
                        units[unit].outputs.push(planes);
                        unit += 1;
                    }
                }
            }
        }
        threads.each_with(units.into_iter(), Scratch::default, |scratch, unit| {
            let count = arch.dispatch(Products {
                scatter: &scatter,
                unit,
                scratch,
            });
            written.fetch_add(count, Ordering::Relaxed);
        });
        written.into_inner()
    })
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
    channels: usize,
    /// The channels' planes, for each map.
    outputs: Vec<Fresh<'t, T>>,
}

#[derive(Default)]
struct Scratch<T: Element> {
    products: Buffer<T>,
    /// `[channel][position]`, if positions are lanes, or few of them as `few.rs` reads them, and of which map and
    /// group.
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
    /// How many values were written.
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
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
                if let Some(at_once) = scatter.few
                    && at_once > 1
                    && scratch.packed != Some((unit.map, group))
                {
                    let input = &scatter.input[scatter.first_value(&unit, group)..];
                    let sizes = [problem.group_c_in() / at_once, at_once, plane, taps];
                    repeat(simd, input, &scratch.rows, sizes, &mut scratch.positions);
                    scratch.packed = Some((unit.map, group));
                }
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

        let mut written = 0;
        for first in (0..unit.channels).step_by(scatter.channels) {
            let end = unit.channels.min(first + scatter.channels);
            scatter.products(simd, &unit, first..end, scratch, stride);
            for i in first..end {
                let at = match scatter.lanes {
                    Lanes::Taps => lanes,
                    Lanes::Positions => taps * stride,
                };
                let products = &scratch.products[(i - first) * at..];
                let bias = scatter.bias.map(|bias| bias[unit.channel + i]);
                for (map, planes) in unit.outputs.iter_mut().enumerate() {
                    let (output, rest) = take(planes).split_at(problem.output_plane());
                    *planes = rest;
                    let output = output.fill(bias.unwrap_or_default());
                    written += output.len();
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
        written
    }
}
