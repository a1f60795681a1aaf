//! How a pass is cut into what the caches hold and threads share.

use pulp::Arch;

use crate::buffer::CACHE_LINE;
use crate::plan::{Class, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Element, registers};

/// The channels of a pass, by group, and where the weight of a pair of them is.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Channels of the source in a group, and how far apart their weights are.
    pub(crate) source: (usize, usize),
    /// Channels of the target in a group, and how far apart their weights are.
    pub(crate) target: (usize, usize),
    /// Columns of a kernel.
    pub(crate) columns: usize,
    /// Weights in a group.
    pub(crate) group: usize,
}

impl Channels {
    /// Those of the forward pass; the gradient of the input has source and target exchanged.
    pub(crate) fn new(problem: &Problem) -> Self {
        let [c_out, c_in, k_h, k_w] = problem.weight_shape();
        let (c_out, taps) = (c_out / problem.groups, k_h * k_w);
        Self {
            batch: problem.batch,
            groups: problem.groups,
            source: (c_in, taps),
            target: (c_out, c_in * taps),
            columns: k_w,
            group: c_out * c_in * taps,
        }
    }
}

/// How a pass is cut.
pub(crate) struct Block {
    pub(crate) lanes: usize,
    /// Target channels of a unit.
    pub(crate) targets: usize,
    /// Rows of cells of a unit.
    pub(crate) band: usize,
    /// Source channels that are copied at once.
    pub(crate) depth: usize,
    /// From a line of a copy to the next.
    pub(crate) line: usize,
    /// From a source channel's copies to the next's.
    pub(crate) channel: usize,
}

/// The most steps of a tile: the vectors that they read stay in a near cache while all rows pass
/// over them.
const NEAR: usize = 512;
/// Steps that are worth the loading and storing of a tile's sums.
const LEAST: usize = 64;
/// Bytes of a unit's sums, and of its copy of the source: they stay in the second-level cache.
const FAR: usize = 320 << 10;

impl Block {
    pub(crate) fn new<T: Element>(
        threads: Threads,
        [lanes, most_rows]: [usize; 2],
        plan: &Plan,
        classes: &[Class],
        channels: Channels,
    ) -> Self {
        let [height, width] = &plan.axes;
        let most = |of: fn(&Class) -> usize| classes.iter().map(of).max().unwrap_or(0);
        let phases = most(|class| class.phases.len()).max(1);
        let taps = most(|class| class.taps.len()).max(1);
        let lead = [most(|class| class.lead[0]), most(|class| class.lead[1])];
        let even = |depth: usize| {
            channels
                .source
                .0
                .div_ceil(channels.source.0.div_ceil(depth))
        };
        let mut depth = even((NEAR / taps).clamp(1, channels.source.0));

        // Values of a unit, by its rows of cells and target channels.
        let line = width.cells + width.reach;
        let copies = height.copies.len() * width.copies.len();
        let copy = |band: usize, depth: usize| depth * copies * (band + height.reach) * line;
        let all: usize = classes.iter().map(|class| class.phases.len()).sum();
        let sums = |band: usize, targets: usize| all * targets * (band + lead[0]) * line;
        let far = FAR / size_of::<T>();
        // Rows of cells that share most of what they read.
        let least = (2 * height.reach).clamp(1, height.cells.max(1));
        let (mut band, mut targets) = (height.cells.max(1), channels.target.0);
        let least_targets = most_rows.div_ceil(phases).min(targets);
        while band > least && (copy(band, depth) > far || sums(band, least_targets) > far) {
            band = band.div_ceil(2);
        }
        while copy(band, depth) > far && depth * taps > LEAST {
            depth = even(depth.div_ceil(2));
        }
        let halve = |targets: usize| {
            (targets / 2)
                .next_multiple_of(least_targets)
                .max(least_targets)
        };
        while targets > least_targets && sums(band, targets) > far {
            targets = halve(targets);
        }
        // Enough units for all threads.
        let units = |band: usize, targets: usize| {
            let maps = channels.batch * channels.groups;
            maps * height.cells.div_ceil(band) * channels.target.0.div_ceil(targets)
        };
        let wanted = 2 * threads.count();
        while units(band, targets) < wanted && (band > least || targets > least_targets) {
            match band > least && band > 2 * least || targets == least_targets {
                true => band = band.div_ceil(2),
                false => targets = halve(targets),
            }
        }

        // An odd number of cache lines, so that channels do not fall on the same sets.
        let cache_line = CACHE_LINE / size_of::<T>();
        let channel = copies * (band + height.reach) * line;
        let channel = (channel.div_ceil(cache_line) | 1) * cache_line;
        Self {
            lanes,
            targets,
            band,
            depth,
            line,
            channel,
        }
    }
}

/// The plan with one copy of each plane, or, where the zeros between two lines would take up too
/// many lanes, with a copy for each shift.
pub(crate) fn dense<T: Element>(arch: Arch, plan: impl Fn(bool) -> Plan) -> Plan {
    let (lanes, _) = registers::<T>(arch);
    let whole = plan(false);
    let [height, width] = &whole.axes;
    let vectors = |line: usize| vectors(height.cells, width.cells, line, lanes).0;
    match 8 * vectors(width.cells + width.reach) > 9 * vectors(width.cells) {
        true => plan(true),
        false => whole,
    }
}

/// The number of vectors that cover some lines of cells, and from which place of a line to the
/// next: those of the source's lines if they run across them, a multiple of the lanes if each line
/// begins a vector.
pub(crate) fn vectors(lines: usize, cells: usize, line: usize, lanes: usize) -> (usize, usize) {
    let a_line = cells.div_ceil(lanes);
    let across = (lines.saturating_sub(1) * line + cells).div_ceil(lanes);
    match lines * a_line <= across {
        true => (lines * a_line, a_line * lanes),
        false => (across, line),
    }
}
