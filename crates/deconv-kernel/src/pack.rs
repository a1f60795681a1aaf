//! The weights of a pass, in the order in which its tiles read them.

use crate::buffer::Buffer;
use crate::class::Class;
use crate::cut::{Cut, Lines, even_part};
use crate::element::Element;
use crate::plan::Plan;
use crate::threads::Threads;
use crate::tile::{Step, Steps, VECTORS};
use crate::tuning::{MAX_IN_PLACE_VECTORS, MIN_VALUES_PER_JOB};

/// A class with its packed weights.
pub(crate) struct Packed<T: Element> {
    pub(crate) class: Class,
    /// `[group][unit's target channels][block of rows][channel of the source, tap][row]`, where a
    /// target channel's phases are rows side by side; zeros past the last row.
    pub(crate) weights: Buffer<T>,
    /// Whether the tiles read the weights where they are, and none are packed: to pack a weight takes longer
    /// than to use it once or twice. Then a row is a target channel.
    pub(crate) in_place: bool,
    /// Blocks of rows of a unit.
    pub(crate) blocks: usize,
    /// Rows of a block, which are those of a tile.
    pub(crate) rows: usize,
    /// Values of a block of rows.
    pub(crate) block_stride: usize,
    /// One for each channel of a source block and tap.
    pub(crate) steps: Steps,
    /// Where the vectors of a full band start in the copies.
    pub(crate) starts: Vec<usize>,
    /// If the copies are [in panels](Cut::in_panels).
    pub(crate) in_source: Option<InSource>,
    /// From a line of the class's sums to the next.
    pub(crate) line_stride: usize,
}

/// How tiles read the source itself.
pub(crate) struct InSource {
    /// One for each channel of a source block.
    pub(crate) steps: Steps,
    /// Where the vectors of a full band start in a channel.
    pub(crate) starts: Vec<usize>,
}

impl<T: Element> Packed<T> {
    /// The weights are yet to be packed.
    pub(crate) fn new(class: Class, plan: &Plan, cut: &Cut) -> Self {
        let units = plan.problem.groups * cut.target_blocks(plan);

        let lanes = cut.registers.lanes;
        let lines = Lines {
            count: cut.maps * cut.band + class.lead[0],
            cells: plan.axes[1].cells + class.lead[1],
            stride: cut.line_stride,
        };
        let cover = lines.cover(lanes);
        let start = |vector: usize| {
            let place = vector * lanes;
            place / cover.line_stride * cut.line_stride + place % cover.line_stride
        };
        let bands = plan.axes[0].cells.div_ceil(cut.band.max(1));
        let vectors = plan.problem.batch.div_ceil(cut.maps) * bands * cover.vectors;
        let in_place = class.phases.len() == 1 && vectors <= MAX_IN_PLACE_VECTORS;
        let most_rows = if in_place {
            cut.registers.spread_rows
        } else {
            cut.registers.rows
        };
        let all_rows = class.phases.len() * cut.targets;
        let rows = even_part(all_rows, most_rows);
        let blocks = all_rows.div_ceil(rows);
        let block_stride = rows * plan.source.count * class.taps.len();
        let packed = if in_place {
            0
        } else {
            units * blocks * block_stride
        };
        let starts: Vec<usize> = (0..cover.vectors).map(start).collect();
        let panel_start = |vector: usize| {
            let panel = cut.depth * cut.channel_stride;
            vector / VECTORS * panel + vector % VECTORS * lanes
        };
        let (starts, in_source) = if cut.in_panels {
            let steps = (0..cut.depth).map(|channel| Step {
                source: channel * plan.source_plane(),
                weight: channel * rows,
            });
            let in_source = InSource {
                steps: Steps::new(steps.collect()),
                starts,
            };
            (
                (0..cover.vectors).map(panel_start).collect(),
                Some(in_source),
            )
        } else {
            (starts, None)
        };
        Self {
            steps: steps(&class, plan, cut, rows, in_place),
            starts,
            in_source,
            line_stride: cover.line_stride,
            weights: Buffer::new(packed),
            in_place,
            class,
            blocks,
            rows,
            block_stride,
        }
    }

    /// The vectors that cover `lines` lines.
    pub(crate) fn vectors(&self, lines: usize, cells: usize, lanes: usize) -> usize {
        ((lines - 1) * self.line_stride + cells).div_ceil(lanes)
    }
}

/// A step for each channel of a source block and tap.
fn steps(class: &Class, plan: &Plan, cut: &Cut, rows: usize, in_place: bool) -> Steps {
    let mut steps = Vec::with_capacity(cut.depth * class.taps.len());
    for channel in 0..cut.depth {
        for (place, sum) in class.taps.iter().zip(&class.phases[0].taps) {
            let [y, x] = place.ahead;
            steps.push(Step {
                source: channel * cut.channel_stride
                    + place.copy % cut.copies * cut.copy_stride
                    + y * cut.line_stride
                    + x,
                weight: if in_place {
                    channel * plan.source.weight_stride + sum.taps()[0]
                } else {
                    steps.len() * rows
                },
            });
        }
    }
    Steps::new(steps)
}

/// Packs the classes' weights as [`Packed::weights`].
pub(crate) fn pack<T: Element>(
    threads: Threads,
    classes: &mut [Packed<T>],
    plan: &Plan,
    cut: &Cut,
    weight: &[T],
) {
    let mut jobs = Vec::new();
    for packed in classes.iter_mut().filter(|packed| !packed.in_place) {
        let (class, blocks, rows) = (&packed.class, packed.blocks, packed.rows);
        let weights = packed.weights.chunks_exact_mut(packed.block_stride);
        jobs.extend(weights.enumerate().map(|(index, packed)| Job {
            class,
            blocks,
            rows,
            index,
            packed,
        }));
    }
    let all: usize = jobs.iter().map(|job| job.packed.len()).sum();
    let at_once = (jobs.len() * MIN_VALUES_PER_JOB).div_ceil(all.max(1));
    let jobs = jobs.chunks_mut(at_once.max(1));
    threads.each(jobs, |jobs| {
        jobs.iter_mut().for_each(|job| job.pack(plan, cut, weight));
    });
}

/// One block of rows of a class.
struct Job<'a, T> {
    class: &'a Class,
    /// Blocks of rows of a unit.
    blocks: usize,
    /// Rows of a block.
    rows: usize,
    /// The index of this block among all units' blocks.
    index: usize,
    packed: &'a mut [T],
}

impl<T: Element> Job<'_, T> {
    fn pack(&mut self, plan: &Plan, cut: &Cut, weight: &[T]) {
        let units = cut.target_blocks(plan);
        let (unit, first_row) = (
            self.index / self.blocks,
            self.index % self.blocks * self.rows,
        );
        let first_target = unit % units * cut.targets;
        let group = unit / units * plan.problem.group_weights();

        // Where the weights of one source channel lie, `[tap][row]`; nowhere past the last row.
        let phases = &self.class.phases;
        let mut places = Vec::with_capacity(self.class.taps.len() * self.rows);
        for tap in 0..self.class.taps.len() {
            for row in first_row..first_row + self.rows {
                let (target, phase) = (row / phases.len(), &phases[row % phases.len()]);
                let is_there = target < cut.targets && first_target + target < plan.target.count;
                places.push(if is_there {
                    (first_target + target) * plan.target.weight_stride + phase.taps[tap].taps()[0]
                } else {
                    usize::MAX
                });
            }
        }
        let channels = self.packed.chunks_exact_mut(places.len());
        for (channel, packed) in channels.enumerate() {
            let weight = &weight[group + channel * plan.source.weight_stride..];
            for (packed, place) in packed.iter_mut().zip(&places) {
                *packed = weight.get(*place).copied().unwrap_or_default();
            }
        }
    }
}
