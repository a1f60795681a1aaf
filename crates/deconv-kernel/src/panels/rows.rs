//! Tiles that hold all phases of a row, interleave them and write them.
//!
//! Where a phase is one class, and the classes of a row read the same copy, their weights can be the rows of one
//! tile. Its sums never leave the registers:
//!
//! ```text
//! kernel 2, stride 2        6 channels * 2 phases are 12 rows of a tile
//!
//! c0, phase 0   a0 a1 a2 ..                  c0, line y   a0 b0 a1 b1 a2 b2 ..
//! c1, phase 0   ..                     ->    c1, line y   ..
//! ..
//! c0, phase 1   b0 b1 b2 ..
//! ```
//!
//! Elsewhere, sums go to a buffer, and are read again when they are [written](super::target).

#![allow(clippy::needless_range_loop)] // With iterators, the vectors go through memory.
#![allow(unsafe_code)] // The target's values, each of which one unit writes.

use core::array;

use pulp::{Simd, WithSimd};

use super::target::{RowPhases, whole};
use super::{Block, ByClasses, Panels, Unit};
use crate::ahead::Ahead;
use crate::cut::even_part;
use crate::element::Element;
use crate::plan::{AxisPlan, Plan};
use crate::tile::{self, Classes, Fetching, Results, Storing, Tile, VECTORS};
use crate::tuning::{MAX_NEXT_SOURCES, MAX_TILE_STEPS, MIN_NEXT_BYTES, MIN_NEXT_SOURCES};
use crate::vectors::take_all_turns;

/// Whether a tile can hold all phases of a row, because each is one tap at the same place, and write vectors of so
/// many lanes.
pub(super) fn has_whole_rows(plan: &Plan, lanes: usize) -> bool {
    let [_, width] = &plan.axes;
    let has_one_tap = |axis: &AxisPlan| axis.classes.iter().all(|class| class.taps.len() == 1);
    matches!(width.target.step, 2 | 4)
        && !plan.has_pairs()
        && plan.axes.iter().all(has_one_tap)
        && (width.classes.len(), width.copies.len()) == (width.target.step, 1)
        && width.all_cells() >= lanes
        && plan.source.count <= MAX_TILE_STEPS
}

/// Interleaves `P` phases and writes them as whole vectors.
struct Turns<'a, T, const P: usize> {
    /// The first channel's plane, and from there to the next.
    to: *mut T,
    plane: usize,
    /// Where each vector's turns go in a plane.
    places: [[isize; P]; VECTORS],
    /// Of each channel.
    bias: Option<&'a [T]>,
    channels: usize,
}

impl<T: Element, const P: usize> Results<T> for Turns<'_, T, P> {
    #[inline(always)]
    fn check(&self, rows: usize, _: usize) {
        assert!(rows == self.channels * P);
    }

    #[inline(always)]
    unsafe fn put<S: Simd, const N: usize, const V: usize>(
        self,
        simd: S,
        sums: [[T::Vector<S>; V]; N],
    ) {
        let mut to = self.to;
        for channel in 0..N / P {
            let bias = self.bias.map_or(T::default(), |bias| bias[channel]);
            let bias = T::splat(simd, bias);
            for vector in 0..V {
                let mut phases = [bias; P];
                for phase in 0..P {
                    let sum = sums[phase * (N / P) + channel][vector];
                    phases[phase] = T::add_vectors(simd, bias, sum);
                }
                let turns = take_all_turns::<S, T, P>(simd, phases);
                for turn in 0..P {
                    let to = to.wrapping_offset(self.places[vector][turn]);
                    // SAFETY: in the target, by the assertion in `list_stores`; a cell is in one unit only, and
                    // so is a channel.
                    unsafe { to.cast::<T::Vector<S>>().write_unaligned(turns[turn]) };
                }
            }
            to = to.wrapping_add(self.plane);
        }
    }
}

/// Computes and writes a block of target channels, row by row. Returns the number of values.
pub(super) struct ByRows<'a, T: Element> {
    pub(super) block: Block<'a, T>,
    /// How many panels the unit has.
    pub(super) count: usize,
    /// What tiles ask for.
    pub(super) ahead: &'a mut Ahead<T>,
}

impl<T: Element> WithSimd for ByRows<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        match self.block.panels.plan.axes[1].target.step {
            2 => self.compute::<S, 2>(simd),
            4 => self.compute::<S, 4>(simd),
            step => panic!("{step} phases"),
        }
    }
}

impl<T: Element> ByRows<'_, T> {
    /// With `P` phases.
    #[inline(always)]
    fn compute<S: Simd, const P: usize>(mut self, simd: S) -> usize {
        let block = &mut self.block;
        let [_, channels] = block.channels();
        let at_once = even_part(channels, tile::rows::<S>() / P);
        let mut written = 0;
        for first in (0..channels).step_by(at_once) {
            let some = [first, at_once.min(channels - first)];
            // The rows of some channels, which are neighbours in memory, one after the other.
            for rows in &block.panels.rows {
                for panel in 0..self.count {
                    let values = block.compute_row::<S, P>(simd, panel, rows, some, self.ahead);
                    if let Some(values) = values {
                        written += values;
                    } else if first == 0 {
                        // All channels of the block.
                        written += simd.vectorize(ByClasses {
                            block: block.reborrow(),
                            rows: core::slice::from_ref(rows),
                            panels: panel..panel + 1,
                        });
                    }
                }
            }
        }
        written
    }
}

impl<T: Element> Block<'_, T> {
    fn reborrow(&mut self) -> Block<'_, T> {
        Block {
            scratch: self.scratch,
            ..*self
        }
    }

    /// Computes and writes a row of `P` phases of a panel, for some channels: the first, and how many. Returns the
    /// number of values, or nothing if not all vectors are whole.
    #[inline(always)]
    fn compute_row<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        panel: usize,
        phases: &RowPhases,
        [first, channels]: [usize; 2],
        ahead: &mut Ahead<T>,
    ) -> Option<usize> {
        let panels = self.panels;
        let class = phases.classes.start;
        let mut places = [[0; P]; VECTORS];
        for (vector, places) in places.iter_mut().enumerate() {
            let vector = panel * VECTORS + vector;
            let list = (vector * panels.plan.axes[0].target.step + phases.first_row()) * P;
            for (turn, place) in places.iter_mut().enumerate() {
                *place = whole(self.scratch.stores.list(list + turn), T::lanes::<S>())?;
            }
        }
        let all = self.channels()[0] + first;
        let plane = panels.plan.target_plane();
        let turns = Turns {
            to: self.target.at(all * plane),
            plane,
            places,
            bias: panels
                .bias
                .map(|bias| &bias[self.group * panels.plan.target.count + all..][..channels]),
            channels,
        };
        let scratch = &mut *self.scratch;
        let is_first = self.is_first && (class, first) == (0, 0);
        let starts = scratch.starts[panel].filter(|_| is_first);
        let in_source = panels.source_steps.as_ref().zip(starts);
        let operands = &panels.operands[class];
        let steps = in_source.map_or(&panels.steps[operands.steps], |(steps, _)| steps);
        let block = [self.group, self.block];
        let weights = panels
            .weights
            .of(&scratch.weights, block, phases.classes.clone());
        let tile = |source| Tile {
            source,
            weights: &weights[first..],
            rows: Classes::<P> {
                channels,
                apart: panels.weights.class_stride(class),
            },
            steps,
            range: 0..steps.all().len(),
        };
        let copies = &mut scratch.copies[panel * panels.panel_copies()..];
        if let Some((_, starts)) = in_source {
            tile(panels.source).run_beside(simd, starts, turns, Storing::to(copies));
        } else {
            let starts: [usize; VECTORS] = array::from_fn(|i| i * panels.panel / VECTORS);
            let places = Fetching(ahead.next(steps.all().len()));
            tile(&copies[operands.copies..]).run_beside(simd, starts, turns, places);
        }
        Some(channels * P * panels.panel)
    }
}

impl<T: Element> Panels<'_, T> {
    /// The source of the unit that comes next, for the tiles of this one, if rows are whole and much is read and
    /// written. Some of it may lie behind a map.
    pub(super) fn ahead(&self, unit: &Unit, most_rows: usize) -> Ahead<T> {
        let (plan, channels) = (self.plan, self.plan.source.count);
        let maps = plan.problem.batch * plan.problem.groups;
        let values = channels * plan.source_plane() + plan.target.count * plan.target_plane();
        let pays = (MIN_NEXT_SOURCES..=MAX_NEXT_SOURCES).contains(&channels)
            && maps * values * size_of::<T>() >= MIN_NEXT_BYTES;
        let first = unit.cells.end;
        if !self.whole_rows || !pays || first >= plan.cells() {
            return Ahead::nothing();
        }
        let map = first / plan.map_cells() * plan.problem.groups + unit.group;
        let place = first % plan.map_cells();
        let runs = (0..channels).map(|channel| {
            let at = (map * channels + channel) * plan.source_plane() + place;
            (self.source.as_ptr().wrapping_add(at), unit.cells.len())
        });
        // The first tile of a panel copies.
        let [height, width] = plan.axes.each_ref().map(|axis| axis.target.step);
        let tiles = plan.target.count.div_ceil(most_rows / width) * height - 1;
        Ahead::new(runs, tiles * unit.cells.len().div_ceil(self.panel))
    }
}
