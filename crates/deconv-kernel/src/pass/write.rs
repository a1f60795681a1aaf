//! From a unit's sums to the target.

use super::{ClassSums, Pass, PhaseIndex, PhasePlace, Place, Scratch};
use crate::element::Element;
use crate::output::{Column, Fresh};

impl<T: Element> Pass<'_, T> {
    /// Interleaves the phases of a unit's sums into the target, and adds the bias. Returns the
    /// number of values.
    #[inline(always)]
    pub(super) fn write(
        &self,
        place: Place,
        lines: &mut [Fresh<T>],
        band: usize,
        sums: &[ClassSums],
        scratch: &Scratch<T>,
    ) -> usize {
        let [height, width] = &self.plan.axes;
        let zeros = Column {
            first: 0,
            length: width.cells,
        };
        let first = place.group * self.plan.target.count + place.target;
        let targets = lines.len() / place.maps;
        let mut columns = vec![Column::default(); width.target.step];
        let mut written = 0;
        let places = self.place_phases(sums);
        for target in 0..targets {
            let bias = self.bias.map_or(T::default(), |bias| bias[first + target]);
            for map in 0..place.maps {
                let mut lines = core::mem::take(&mut lines[map * targets + target]);
                for y in 0..lines.len() / width.target.length {
                    let (cell, phase) = (y / height.target.step, y % height.target.step);
                    let phases = &places[phase * width.target.step..];
                    for (column, phase) in columns.iter_mut().zip(phases) {
                        *column = match phase {
                            Some(phase) if place.row + cell < phase.cells[0] => Column {
                                first: phase.first
                                    + target * phase.channel_stride
                                    + (map * band + cell) * phase.line_stride,
                                length: phase.cells[1],
                            },
                            _ => zeros,
                        };
                    }
                    let (line, after) = lines.split_at(width.target.length);
                    written += line.interleave(&scratch.sums, &columns, bias);
                    lines = after;
                }
            }
        }
        written
    }

    /// Where the phases are.
    #[inline(always)]
    fn place_phases(&self, sums: &[ClassSums]) -> Vec<Option<PhasePlace>> {
        let place = |(phase, index): (usize, &Option<PhaseIndex>)| {
            let index = index.as_ref()?;
            let packed = &self.classes[index.class];
            let [lead_y, lead_x] = packed.class.phases[index.phase].lead;
            let lead = lead_y * packed.line_stride + lead_x;
            Some(PhasePlace {
                first: sums[index.class].first + index.phase * sums[index.class].row_stride + lead,
                channel_stride: packed.class.phases.len() * sums[index.class].row_stride,
                line_stride: packed.line_stride,
                cells: self.phase_cells(phase),
            })
        };
        self.phases.iter().enumerate().map(place).collect()
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
