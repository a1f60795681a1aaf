//! How a pass is cut into what the caches hold and threads share.

use pulp::Arch;

use crate::class::Class;
use crate::element::Element;
use crate::plan::{Choices, Plan};
use crate::threads::Threads;
use crate::tile::{Registers, VECTORS};
use crate::tuning::{
    CACHE_LINE_BYTES, COPY_COST, L2_SHARE_BYTES, MAX_IN_PANELS_CHANNELS, MAX_IN_PANELS_PLANE_BYTES,
    MAX_L2_SHARES, MAX_SMALL_COPIES, MAX_TILE_STEPS, MAX_VECTORS_WITH_ZEROS,
    MIN_IN_PANELS_CHANNELS, MIN_TILE_STEPS, UNITS_PER_THREAD,
};

/// How a pass is cut.
pub(crate) struct Cut {
    pub(crate) registers: Registers,
    /// Target channels of a unit.
    pub(crate) targets: usize,
    /// Maps of a unit: one, or all rows of several small ones.
    pub(crate) maps: usize,
    /// Rows of cells of a unit, of each map.
    pub(crate) band: usize,
    /// Source channels that are copied at once.
    pub(crate) depth: usize,
    /// Copies of a channel that are there at once: all, or, if `depth` is 1, perhaps only some.
    pub(crate) copies: usize,
    /// From a line of a copy to the next.
    pub(crate) line_stride: usize,
    /// From a copy to the next.
    pub(crate) copy_stride: usize,
    /// From a source channel's copies to the next's.
    pub(crate) channel_stride: usize,
    /// Whether the only copy is the source as it is. Then it lies in panels, `[panel][channel][cell]`, of a tile's
    /// vectors, and the first tile that reads the source writes it.
    pub(crate) in_panels: bool,
}

/// The values that a unit needs, as a function of how it is cut.
struct Needs<'a> {
    plan: &'a Plan,
    maps: usize,
    line_stride: usize,
    /// Phases of all classes.
    all_phases: usize,
    /// The most rows by which a class leads.
    lead: usize,
}

impl Needs<'_> {
    fn copy(&self, band: usize) -> usize {
        self.maps * (band + self.plan.axes[0].reach) * self.line_stride
    }

    fn copies(&self, band: usize, depth: usize) -> usize {
        depth * self.plan.copies() * self.copy(band)
    }

    fn sums(&self, band: usize, targets: usize) -> usize {
        self.all_phases * targets * self.maps * (band + self.lead) * self.line_stride
    }
}

/// Cuts `count` into the fewest parts of at most `most`, as equal as they can be: their size.
pub(crate) fn even_part(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most))
}

/// How many copies of a channel are made at once: as many as fit in `share` values, if all do not
/// fit in the most that a channel may have.
pub(crate) fn copies_at_once<T>(plan: &Plan, copy_stride: usize) -> usize {
    let (all, share) = (plan.copies(), L2_SHARE_BYTES / size_of::<T>());
    if all * copy_stride <= share {
        all
    } else {
        even_part(all, (share / copy_stride).clamp(1, all))
    }
}

impl Cut {
    pub(crate) fn new<T: Element>(
        threads: Threads,
        registers: Registers,
        plan: &Plan,
        classes: &[Class],
    ) -> Self {
        let [height, width] = &plan.axes;
        let most = |of: fn(&Class) -> usize| classes.iter().map(of).max().unwrap_or(0);
        let phases = most(|class| class.phases.len()).max(1);
        let taps = most(|class| class.taps.len()).max(1);
        let maps = maps_at_once(registers, plan);
        let needs = Needs {
            plan,
            maps,
            line_stride: width.cells + width.reach,
            all_phases: classes.iter().map(|class| class.phases.len()).sum(),
            lead: most(|class| class.lead[0]),
        };
        let share = L2_SHARE_BYTES / size_of::<T>();
        let most_values = MAX_L2_SHARES * share;
        let (sources, all_targets) = (plan.source.count, plan.target.count);

        let mut depth = even_part(sources, (MAX_TILE_STEPS / taps).clamp(1, sources));
        // Rows of cells that share most of what they read.
        let mut min_band = (2 * height.reach).clamp(1, height.cells.max(1));
        if maps > 1 {
            min_band = height.cells.max(1);
        }
        let min_targets = registers.rows.div_ceil(phases).min(all_targets);
        while maps == 1
            && min_band > 1
            && (needs.copy(min_band) > most_values
                || needs.sums(min_band, min_targets) > most_values)
        {
            min_band = min_band.div_ceil(2);
        }
        let (mut band, mut targets) = (height.cells.max(1), all_targets);
        while band > min_band
            && (needs.copies(band, depth) > share || needs.sums(band, min_targets) > share)
        {
            band = band.div_ceil(2);
        }
        while depth > 1
            && (needs.copies(band, depth) > most_values
                || (needs.copies(band, depth) > share && depth * taps > MIN_TILE_STEPS))
        {
            depth = even_part(sources, depth.div_ceil(2));
        }
        let halve = |targets: usize| {
            let half = (targets / 2).next_multiple_of(min_targets);
            half.max(min_targets)
        };
        while targets > min_targets && needs.sums(band, targets) > share {
            targets = halve(targets);
        }
        // The copies at once decide the order of sums, so they may not depend on the threads.
        let copies = if depth == 1 {
            copies_at_once::<T>(plan, needs.copy(band))
        } else {
            plan.copies()
        };

        // Enough units for all threads.
        let all_maps = plan.problem.batch.div_ceil(maps) * plan.problem.groups;
        let units = |band: usize, targets: usize| {
            all_maps * height.cells.div_ceil(band) * all_targets.div_ceil(targets)
        };
        // Each unit copies all maps of its own.
        let wanted = if maps > 1 {
            threads.count()
        } else {
            UNITS_PER_THREAD * threads.count()
        };
        while units(band, targets) < wanted && (band > min_band || targets > min_targets) {
            if band > 2 * min_band || targets == min_targets {
                band = band.div_ceil(2);
            } else {
                targets = halve(targets);
            }
        }
        // Rather a row that is copied twice than a thread without work.
        while units(band, targets) < threads.count() && band > 1 && maps == 1 {
            band = band.div_ceil(2);
        }
        // As many blocks, but of one size: with 36 and 28 channels, one thread waits for the other.
        targets = even_part(all_targets, targets);

        let copy_stride = needs.copy(band);
        let few_streams = sources <= MAX_IN_PANELS_CHANNELS
            || plan.source_plane() * size_of::<T>() <= MAX_IN_PANELS_PLANE_BYTES;
        let in_panels = maps == 1
            && sources >= MIN_IN_PANELS_CHANNELS
            && few_streams
            && plan.copies_nothing_else();
        Self {
            registers,
            targets,
            maps,
            band,
            depth,
            copies,
            line_stride: needs.line_stride,
            copy_stride,
            channel_stride: if in_panels {
                VECTORS * registers.lanes
            } else {
                spread_over_cache::<T>(copies * copy_stride)
            },
            in_panels,
        }
    }

    /// Values of the copies that a thread has at once. The last vector may run past them.
    pub(crate) fn copied_values(&self) -> usize {
        let lanes = self.registers.lanes;
        if self.in_panels {
            let lines = Lines {
                count: self.band,
                cells: self.line_stride,
                stride: self.line_stride,
            };
            let panels = lines.cover(lanes).vectors.div_ceil(VECTORS);
            panels * self.depth * self.channel_stride
        } else {
            self.depth * self.channel_stride + lanes
        }
    }

    /// Units of one group of one map and band.
    pub(crate) fn target_blocks(&self, plan: &Plan) -> usize {
        plan.target.count.div_ceil(self.targets)
    }
}

/// How many maps of the batch a unit takes: of maps that are smaller than a few vectors, so many
/// that they fill them. Only where no zeros lie between two maps.
fn maps_at_once(registers: Registers, plan: &Plan) -> usize {
    let [height, width] = &plan.axes;
    let cells = (height.cells * width.cells).max(1);
    if height.reach == 0 && width.reach == 0 && is_small(registers, cells) {
        let fill = (2 * VECTORS * registers.lanes).div_ceil(cells);
        fill.min(plan.problem.batch)
    } else {
        1
    }
}

/// Whether a map does not fill the vectors of a tile. Maps of 7x7, which fill more than one tile of 32
/// lanes, took 1.05 to 1.15 times as long several at a time (Zen 5).
fn is_small(registers: Registers, cells: usize) -> bool {
    cells < VECTORS * registers.lanes
}

/// Rounds up to an odd number of cache lines, or channels would fall on the same sets of the cache.
fn spread_over_cache<T>(values: usize) -> usize {
    let cache_line = CACHE_LINE_BYTES / size_of::<T>();
    (values.div_ceil(cache_line) | 1) * cache_line
}

/// The plan with one copy of each plane; or with a copy for each shift, where the zeros between two
/// lines would take up many lanes, and the products that this saves are more than the values that it
/// copies.
pub(crate) fn dense<T: Element>(
    arch: Arch,
    choices: Choices,
    plan: impl Fn(Choices) -> Plan,
) -> Plan {
    let registers = Registers::of::<T>(arch);
    let lanes = registers.lanes;
    let whole = plan(choices);
    let cells = (whole.axes[0].cells * whole.axes[1].cells).max(1);
    if !choices.merge_phases && whole.problem.batch > 1 && is_small(registers, cells) {
        let small = plan(Choices {
            copy_shifts: true,
            copy_row_shifts: true,
            ..choices
        });
        if small.copies() <= MAX_SMALL_COPIES {
            return small;
        }
    }
    let [height, width] = &whole.axes;
    let vectors = |stride: usize| {
        let lines = Lines {
            count: height.cells,
            cells: width.cells,
            stride,
        };
        lines.cover(lanes).vectors
    };
    let (with_zeros, without) = (vectors(width.cells + width.reach), vectors(width.cells));
    let [most, of] = MAX_VECTORS_WITH_ZEROS;
    if of * with_zeros <= most * without {
        return whole;
    }
    let split = plan(Choices {
        copy_shifts: true,
        ..choices
    });
    let saved = (with_zeros - without) * whole.target.count * whole.problem.taps();
    let copied = (split.copies() - whole.copies())
        * (height.cells + height.reach)
        * width.cells.div_ceil(lanes);
    if saved > COPY_COST * copied {
        split
    } else {
        whole
    }
}

/// Lines of cells, one below the other in a copy of the source.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) count: usize,
    /// Cells of a line.
    pub(crate) cells: usize,
    /// From a line to the next.
    pub(crate) stride: usize,
}

/// The vectors that cover some lines of cells.
pub(crate) struct Cover {
    pub(crate) vectors: usize,
    /// From a line to the next in the vectors: as in the source if vectors run across its lines, a
    /// multiple of the lanes if each line begins a vector.
    pub(crate) line_stride: usize,
}

impl Lines {
    /// Covers the lines with as few vectors as possible.
    pub(crate) fn cover(self, lanes: usize) -> Cover {
        let a_line = self.cells.div_ceil(lanes);
        let length = self.count.saturating_sub(1) * self.stride + self.cells;
        let across = length.div_ceil(lanes);
        if self.count * a_line <= across {
            Cover {
                vectors: self.count * a_line,
                line_stride: a_line * lanes,
            }
        } else {
            Cover {
                vectors: across,
                line_stride: self.stride,
            }
        }
    }
}
