//! The products of some output channels and all positions of a unit.

use core::ops::Range;

use pulp::Simd;

use super::few::FewPositions;
use super::{Lanes, Scatter, Scratch, Unit, positions_stride};
use crate::buffer::Buffer;
use crate::cut::even_part;
use crate::element::Element;
use crate::tile::{Sums, Tile, VECTORS};
use crate::tuning::{CACHE_LINE_BYTES, FETCH_STEPS, MAX_TILE_STEPS};
use crate::vectors::prefetch;

impl<T: Element> Scatter<'_, T> {
    /// Where a unit's input begins.
    pub(super) fn first_value(&self, unit: &Unit<T>, group: usize) -> usize {
        (unit.map * self.problem.c_in + group * self.problem.group_c_in())
            * self.problem.input_plane()
    }

    /// Whether positions are read where they are. The last vector must not reach behind the input.
    pub(super) fn is_in_place(&self, unit: &Unit<T>, group: usize) -> bool {
        let (problem, lanes) = (self.problem, self.registers.lanes);
        let plane = problem.input_plane();
        let end = (unit.map * problem.c_in + (group + 1) * problem.group_c_in()) * plane;
        positions_stride(self.maps, plane, lanes) == plane
            && (plane.is_multiple_of(lanes) || end + lanes <= self.input.len())
    }

    /// The input of a unit's maps as `[channel][position]`, and any numbers behind them.
    pub(super) fn pack(&self, unit: &Unit<T>, group: usize, positions: &mut Buffer<T>) {
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
    pub(super) fn products<S: Simd>(
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
        let input = &self.input[self.first_value(unit, group)..];
        let Scratch {
            products,
            rows,
            positions,
            ..
        } = scratch;
        let (source, values, columns) = match self.lanes {
            Lanes::Taps => (weights, input, taps),
            Lanes::Positions if self.is_in_place(unit, group) => (input, weights, plane),
            Lanes::Positions => (&positions[..], weights, unit.outputs.len() * plane),
        };
        if let Some(at_once) = self.few {
            let operands = FewPositions {
                repeated: positions,
                input,
                positions: rows,
                plane,
                weights,
                channels: problem.group_c_in(),
                taps,
                at_once,
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
