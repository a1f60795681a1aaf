//! The computation of a unit: copy, multiply, write.

use pulp::{Simd, WithSimd};

use super::{Chunk, ClassSums, Pass, Place, Scratch, Unit};
use crate::ahead::{Ahead, is_large};
use crate::buffer::Buffer;
use crate::copies::BandCopy;
use crate::element::Element;
use crate::output::Fresh;
use crate::tile::{Fetching, SideBySide, Storing, Sums, Tile, VECTORS};
use crate::tuning::{MAX_TILE_STEPS, MIN_FETCHING_ROWS};

/// The computation of a unit, with the machine's vector instructions.
pub(super) struct Compute<'a, 't, T: Element> {
    pub(super) pass: &'a Pass<'a, T>,
    pub(super) unit: Unit<'t, T>,
    pub(super) scratch: &'a mut Scratch<T>,
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
        let Unit { place, mut lines } = unit;
        let cut = &pass.cut;
        let height = &pass.plan.axes[0];
        let band = cut.band.min(height.cells - place.row.min(height.cells));
        let rows = place.maps * band;
        let length = cut.copied_values();
        if scratch.source.len() < length {
            scratch.source = Buffer::new(length);
        }

        let targets = lines.len() / place.maps;
        let first = place.group * pass.plan.problem.group_weights();
        let stride = pass.plan.target.weight_stride;
        let weights: Vec<usize> = (place.target..place.target + targets)
            .map(|target| first + target * stride)
            .collect();
        let sums = pass.place_sums(targets, rows, scratch);
        if rows > 0 && !pass.classes.is_empty() {
            let mut results = pass.results(&lines, &sums);
            for chunk in pass.chunks() {
                if !cut.in_panels {
                    pass.copy(place, band, &chunk, scratch);
                }
                for (class, sums) in sums.iter().enumerate() {
                    let block = Block {
                        place,
                        weights: &weights,
                        class,
                    };
                    pass.multiply(simd, &block, &chunk, *sums, &mut results, scratch);
                }
            }
        }
        pass.write(place, &mut lines, band, &sums, scratch)
    }
}

/// A unit's target channels, and a class.
struct Block<'a> {
    place: Place,
    /// Where the weights of each target channel begin.
    weights: &'a [usize],
    class: usize,
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
    fn place_sums(&self, targets: usize, rows: usize, scratch: &mut Scratch<T>) -> Vec<ClassSums> {
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
            length += packed.class.phases.len() * targets * row_stride;
        }
        if scratch.sums.len() < length {
            scratch.sums = Buffer::new(length);
        }
        scratch.sums[..cells].fill(T::default());
        sums
    }

    /// Copies what a unit reads of some channels: `[channel][copy][line][cells + reach]`.
    #[inline(always)]
    fn copy(&self, place: Place, band: usize, chunk: &Chunk, scratch: &mut Scratch<T>) {
        let copy = BandCopy {
            plan: self.plan,
            first_row: place.row,
            rows: band,
            line_stride: self.cut.line_stride,
            copy_stride: self.cut.copy_stride,
        };
        let (plane, groups) = (self.plan.source_plane(), self.plan.problem.groups);
        let all = groups * self.plan.source.count;
        let first = place.map * all + place.group * self.plan.source.count + chunk.channel;
        let copies = scratch.source.chunks_mut(self.cut.channel_stride);
        for (channel, to) in copies.take(chunk.channels).enumerate() {
            let source = &self.source[(first + channel) * plane..];
            let copies = chunk.copies.clone();
            if let Some(small) = &self.small {
                let copy_stride = self.cut.copy_stride;
                small.write(source, all * plane, place.maps, copies, to, copy_stride);
            } else {
                copy.write(&source[..plane], copies, to);
            }
        }
    }

    /// The memory of a unit's results, for its tiles to ask for, if all results are large.
    #[inline(always)]
    fn results(&self, lines: &[Fresh<T>], sums: &[ClassSums]) -> Ahead<T> {
        let maps = self.plan.problem.batch * self.plan.problem.groups;
        if !is_large::<T>(maps * self.plan.target.count * self.plan.target_plane()) {
            return Ahead::nothing();
        }
        let lanes = self.cut.registers.lanes;
        let tiles = self.classes.iter().zip(sums).map(|(packed, sums)| {
            let rows = packed.class.phases.len() * lines.len();
            (sums.row_stride / lanes).div_ceil(VECTORS) * rows.div_ceil(packed.rows)
        });
        let tiles = tiles.sum::<usize>() * self.chunks().count();
        let runs = lines.iter().map(|lines| (lines.place(0), lines.len()));
        Ahead::new(runs, tiles)
    }

    /// Where a unit's first row of a chunk's first channel is in the source.
    fn place_of(&self, place: Place, chunk: &Chunk) -> usize {
        let Self { plan, .. } = self;
        let map = place.map * plan.problem.groups + place.group;
        let channel = map * plan.source.count + chunk.channel;
        channel * plan.source_plane() + place.row * plan.axes[1].source.length
    }

    /// Adds the products of a chunk to a block's sums.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        block: &Block,
        chunk: &Chunk,
        sums: ClassSums,
        results: &mut Ahead<T>,
        scratch: &mut Scratch<T>,
    ) {
        let (place, targets) = (block.place, block.weights.len());
        let packed = &self.classes[block.class];
        let (cut, class) = (&self.cut, &packed.class);
        let (taps, lanes) = (class.taps.len(), cut.registers.lanes);
        let phases = class.phases.len();
        let unit_rows = phases * targets;
        let unit_index = place.group * cut.target_blocks(self.plan) + place.target / cut.targets;
        let first_block = unit_index * packed.blocks;
        let starts = &packed.starts[..sums.row_stride / lanes];
        // Whether only one tile reads a panel: then nobody needs a copy.
        let is_only = self.classes.len() == 1 && unit_rows <= packed.rows;
        // A chunk has several channels with all their taps, or one with some.
        let steps = class.taps_of(chunk.copies.clone());
        let end = (chunk.channels - 1) * taps + steps.end;
        for first in (steps.start..end).step_by(MAX_TILE_STEPS) {
            for (i, starts) in starts.chunks(VECTORS).enumerate() {
                for row in (0..unit_rows).step_by(packed.rows) {
                    let count = packed.rows.min(unit_rows - row);
                    let range = first..end.min(first + MAX_TILE_STEPS);
                    let begin = chunk.channel == 0 && first == 0;
                    let at = sums.first + row * sums.row_stride + i * VECTORS * lanes;
                    let to = Sums {
                        values: &mut scratch.sums[at..],
                        stride: sums.row_stride,
                        begin,
                    };
                    let weights = (first_block + row / packed.rows) * packed.block_stride;
                    let weights = weights + packed.rows * chunk.channel * taps;
                    let packed_tile = |source, steps| Tile {
                        source,
                        weights: &packed.weights[weights..],
                        rows: SideBySide(count),
                        steps,
                        range: range.clone(),
                    };
                    // The first tile that needs a panel's copy writes it.
                    if let Some(in_source) = &packed.in_source
                        && (block.class, row) == (0, 0)
                    {
                        let source = &self.source[self.place_of(place, chunk)..];
                        let from = &in_source.starts[i * VECTORS..][..starts.len()];
                        let channel = self.plan.source_plane();
                        let last = (chunk.channels - 1) * channel + from[from.len() - 1];
                        let copies = &mut scratch.source[starts[0]..];
                        let copies = &mut copies[..chunk.channels * cut.channel_stride];
                        match *from {
                            [a, b] if !packed.in_place && last + lanes <= source.len() => {
                                let tile = packed_tile(source, &in_source.steps);
                                if is_only {
                                    tile.run(simd, &[a, b], to);
                                } else {
                                    let copies = Storing::to(copies);
                                    tile.run_beside(simd, [a, b], to, copies);
                                }
                                continue;
                            }
                            _ => copy_panel(source, channel, from, lanes, copies),
                        }
                    }
                    let source = &scratch.source[..];
                    if packed.in_place {
                        let tile = Tile {
                            source,
                            weights: &self.weight[chunk.channel * self.plan.source.weight_stride..],
                            rows: &block.weights[row..row + count],
                            steps: &packed.steps,
                            range,
                        };
                        tile.run(simd, starts, to);
                        continue;
                    }
                    let tile = packed_tile(source, &packed.steps);
                    if let [a, b] = *starts
                        && count >= MIN_FETCHING_ROWS
                    {
                        let places = Fetching(results.next(tile.range.len()));
                        tile.run_beside(simd, [a, b], to, places);
                    } else {
                        tile.run(simd, starts, to);
                    }
                }
            }
        }
    }
}

/// Copies the vectors of a panel, `[channel][vector]`, zeros where the source ends.
fn copy_panel<T: Element>(
    source: &[T],
    channel_stride: usize,
    starts: &[usize],
    lanes: usize,
    to: &mut [T],
) {
    for (channel, to) in to.chunks_exact_mut(VECTORS * lanes).enumerate() {
        for (start, to) in starts.iter().zip(to.chunks_exact_mut(lanes)) {
            let from = source.get(channel * channel_stride + start..);
            let from = from.unwrap_or_default();
            let (values, zeros) = to.split_at_mut(from.len().min(lanes));
            values.copy_from_slice(&from[..values.len()]);
            zeros.fill(T::default());
        }
    }
}
