//! From a unit's sums to the target.

use core::ops::Range;

use super::{ClassSums, Pass, PhaseIndex, PhasePlace, Place, Scratch};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::output::{Column, Fresh};

impl<T: Element> Pass<'_, T> {
    /// Interleaves the phases of a unit's sums into the target, and adds the bias. Returns the
    /// number of values. `targets` are some of the unit's channels.
    #[inline(always)]
    pub(super) fn write(
        &self,
        place: Place,
        targets: Range<usize>,
        lines: &mut [Fresh<T>],
        band: usize,
        sums: &[ClassSums],
        scratch: &mut Scratch<T>,
    ) -> usize {
        let [height, width] = &self.plan.axes;
        let zeros = Column {
            first: 0,
            length: width.cells,
        };
        let added = self.phases.iter().any(|parts| parts.len() > 1);
        let first = place.group * self.plan.target.count + place.target;
        let unit_targets = lines.len() / place.maps;
        let mut columns = vec![Column::default(); width.target.step];
        let mut written = 0;
        let places = if added {
            self.place_added(place.maps * band, scratch)
        } else {
            self.place_phases(sums)
        };
        for (i, target) in targets.enumerate() {
            let bias = self.bias.map_or(T::default(), |bias| bias[first + target]);
            let values = if added {
                self.add_parts(i, place.maps * band, sums, scratch);
                &scratch.phases
            } else {
                &scratch.sums
            };
            for map in 0..place.maps {
                let mut lines = core::mem::take(&mut lines[map * unit_targets + target]);
                for y in 0..lines.len() / width.target.length {
                    let (cell, phase) = (y / height.target.step, y % height.target.step);
                    let phases = &places[phase * width.target.step..];
                    for (column, phase) in columns.iter_mut().zip(phases) {
                        *column = match phase {
                            Some(phase) if place.row + cell < phase.cells[0] => Column {
                                first: phase.first
                                    + i * phase.channel_stride
                                    + (map * band + cell) * phase.line_stride,
                                length: phase.cells[1],
                            },
                            _ => zeros,
                        };
                    }
                    let (line, after) = lines.split_at(width.target.length);
                    written += line.interleave(values, &columns, bias);
                    lines = after;
                }
            }
        }
        written
    }

    /// Where the phases are if each is one sum.
    #[inline(always)]
    fn place_phases(&self, sums: &[ClassSums]) -> Vec<Option<PhasePlace>> {
        let place = |(phase, parts): (usize, &Vec<PhaseIndex>)| {
            let index = parts.first()?;
            let packed = &self.classes[index.class];
            let [lead_y, lead_x] = packed.class.phases[index.phase].lead;
            let lead = lead_y * packed.line_stride + lead_x;
            Some(PhasePlace {
                first: self.part(0, *index, sums) + lead,
                channel_stride: packed.class.phases.len() * sums[index.class].row_stride,
                line_stride: packed.line_stride,
                cells: self.phase_cells(phase),
            })
        };
        self.phases.iter().enumerate().map(place).collect()
    }

    /// Where the phases of every channel are if they are added up: one after the other, behind a line
    /// of zeros.
    #[inline(always)]
    fn place_added(&self, rows: usize, scratch: &mut Scratch<T>) -> Vec<Option<PhasePlace>> {
        let (cells, length) = (self.plan.axes[1].cells, self.added_length(rows));
        let needed = cells + self.phases.len() * length;
        if scratch.phases.len() < needed {
            scratch.phases = Buffer::new(needed);
        }
        scratch.phases[..cells].fill(T::default());
        let place = |(phase, parts): (usize, &Vec<PhaseIndex>)| {
            parts.first().map(|_| PhasePlace {
                first: cells + phase * length,
                channel_stride: 0,
                line_stride: self.classes[0].line_stride,
                cells: self.phase_cells(phase),
            })
        };
        self.phases.iter().enumerate().map(place).collect()
    }

    /// Values of a phase that is added up. No phase leads, so all sums have the same lines.
    #[inline(always)]
    fn added_length(&self, rows: usize) -> usize {
        (rows.max(1) - 1) * self.classes[0].line_stride + self.plan.axes[1].cells
    }

    /// Adds up the phases of a channel.
    #[inline(always)]
    fn add_parts(&self, target: usize, rows: usize, sums: &[ClassSums], scratch: &mut Scratch<T>) {
        let length = self.added_length(rows);
        let sums_of = |index: &PhaseIndex| {
            let part = self.part(target, *index, sums);
            &scratch.sums[part..][..length]
        };
        let to = scratch.phases[self.plan.axes[1].cells..].chunks_exact_mut(length);
        for (to, parts) in to.zip(&self.phases) {
            match &parts[..] {
                [] => {}
                [a] => to.copy_from_slice(sums_of(a)),
                [a, b] => {
                    let values = to.iter_mut().zip(sums_of(a)).zip(sums_of(b));
                    values.for_each(|((to, a), b)| *to = *a + *b);
                }
                [a, b, c, d] => {
                    let [a, b, c, d] = [a, b, c, d].map(sums_of);
                    let values = to.iter_mut().zip(a).zip(b).zip(c).zip(d);
                    values.for_each(|((((to, a), b), c), d)| *to = (*a + *b) + (*c + *d));
                }
                parts => unreachable!("a phase of {} sums", parts.len()),
            }
        }
    }

    /// Where a channel's sums of a part of a phase are.
    #[inline(always)]
    fn part(&self, target: usize, index: PhaseIndex, sums: &[ClassSums]) -> usize {
        let phases = self.classes[index.class].class.phases.len();
        let sums = sums[index.class];
        sums.first + (target * phases + index.phase) * sums.row_stride
    }

    /// Height and width of a phase.
    #[inline(always)]
    fn phase_cells(&self, phase: usize) -> [usize; 2] {
        let [height, width] = &self.plan.axes;
        let step = width.target.step;
        [
            height.phase_cells[phase / step],
            width.phase_cells[phase % step],
        ]
    }
}
