//! A pass: the forward pass or the gradient of the input, as its [`Plan`] says.
//!
//! The target is cut into units that threads take: some channels by a band of rows of one map. A
//! unit copies what it reads of the source, a block of channels at a time, to lines that end in
//! zeros where the map does; there, every tap is a constant offset. The tile then adds the block's
//! products to the unit's sums, one row for each channel and phase. Finally the phases are interleaved
//! into the target, which is written once.
//!
//! Where a copy would be the source as it is, and channels are few, nothing is copied ahead: the first tile reads the
//! source, and writes what it has read for the tiles that follow, `[panel][channel][cell]`.
//!
//! No sum depends on how the target is cut: the order is that of the source's channels and taps, and
//! a new partial sum begins with every chunk and after `MAX_TILE_STEPS` steps.

mod unit;
mod write;

use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::Arch;

use crate::buffer::Buffer;
use crate::copies::SmallCopy;
use crate::cut::{Cut, dense};
use crate::element::Element;
use crate::output::Fresh;
use crate::pack::{Packed, pack};
use crate::plan::{Choices, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::Registers;
use crate::tuning::MIN_UNMERGED_CHANNELS;

use self::unit::Compute;

/// A pass with all that its units share.
struct Pass<'a, T: Element> {
    plan: &'a Plan,
    source: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    classes: Vec<Packed<T>>,
    /// The sums of each phase of the target; none where no tap reaches.
    phases: Vec<Option<PhaseIndex>>,
    /// If a unit has several small maps.
    small: Option<SmallCopy>,
    cut: Cut,
}

/// Sums of a phase of the target, by their class and their place there.
#[derive(Clone, Copy)]
struct PhaseIndex {
    class: usize,
    phase: usize,
}

/// A part of the target that one thread computes.
struct Unit<'a, T> {
    place: Place,
    /// Its rows of each map's target channels.
    lines: Vec<Fresh<'a, T>>,
}

/// Where a unit begins.
#[derive(Clone, Copy)]
struct Place {
    /// The first of its maps.
    map: usize,
    maps: usize,
    group: usize,
    /// The first of its target channels, in the group.
    target: usize,
    /// The first of its rows of cells.
    row: usize,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    source: Buffer<T>,
    sums: Buffer<T>,
}

/// Where a unit's sums of a class are.
#[derive(Clone, Copy)]
struct ClassSums {
    first: usize,
    /// From a row of the tiles, a phase of a channel, to the next.
    row_stride: usize,
}

/// Where a unit's values of a phase are.
#[derive(Clone, Copy)]
struct PhasePlace {
    first: usize,
    /// From a target channel to the next.
    channel_stride: usize,
    line_stride: usize,
    /// Height and width of the phase.
    cells: [usize; 2],
}

/// What is copied and multiplied at once: some channels of the source, or some copies of one.
#[derive(Clone)]
struct Chunk {
    /// The first channel, in the group.
    channel: usize,
    channels: usize,
    copies: Range<usize>,
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
    let choices = Choices {
        merge_phases: problem.group_c_out() < MIN_UNMERGED_CHANNELS,
        ..Choices::default()
    };
    let plan = |choices| Plan::forward(problem, choices);
    let plan = dense::<T>(arch, choices, plan);
    compute(arch, threads, &plan, input, weight, bias)
}

/// The gradient of the input.
pub(crate) fn grad_input<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = |choices| Plan::grad_input(problem, choices);
    let plan = dense::<T>(arch, Choices::default(), plan);
    compute(arch, threads, &plan, grad_output, weight, None)
}

/// Computes the target `[batch, groups * channels, height, width]`.
fn compute<T: Element>(
    arch: Arch,
    threads: Threads,
    plan: &Plan,
    source: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let classes = plan.classes();
    let cut = Cut::new::<T>(threads, Registers::of::<T>(arch), plan, &classes);
    let mut classes: Vec<Packed<T>> = classes
        .into_iter()
        .map(|class| Packed::new(class, plan, &cut))
        .collect();
    pack(threads, &mut classes, plan, &cut, weight);
    let pass = Pass {
        plan,
        source,
        weight,
        bias,
        phases: index_phases(plan, &classes),
        classes,
        small: (cut.maps > 1).then(|| SmallCopy::new(plan)),
        cut,
    };

    let maps = plan.problem.batch * plan.problem.groups;
    let length = maps * plan.target.count * plan.target_plane();
    Fresh::build(length, |target| {
        let written = AtomicUsize::new(0);
        let units = pass.units(target).into_iter();
        threads.each_with(units, Scratch::default, |scratch, unit| {
            let values = arch.dispatch(Compute {
                pass: &pass,
                unit,
                scratch,
            });
            written.fetch_add(values, Ordering::Relaxed);
        });
        written.into_inner()
    })
}

/// The sums of each phase of the target, `[step_h][step_w]`.
fn index_phases<T: Element>(plan: &Plan, classes: &[Packed<T>]) -> Vec<Option<PhaseIndex>> {
    let [height, width] = &plan.axes;
    let mut phases = vec![None; height.target.step * width.target.step];
    for (class, packed) in classes.iter().enumerate() {
        for (phase, members) in packed.class.phases.iter().enumerate() {
            for [y, x] in &members.phases {
                phases[y * width.target.step + x] = Some(PhaseIndex { class, phase });
            }
        }
    }
    phases
}

impl<T: Element> Pass<'_, T> {
    /// Cuts the target into units.
    fn units<'t>(&self, target: Fresh<'t, T>) -> Vec<Unit<'t, T>> {
        let [height, width] = &self.plan.axes;
        let (channels, cut) = (self.plan.target.count, &self.cut);
        let groups = self.plan.problem.groups;
        let bands = height.cells.div_ceil(cut.band).max(1);
        let band = (cut.band * height.target.step).max(1) * width.target.length;
        let blocks = channels.div_ceil(cut.targets);
        let batch = self.plan.problem.batch;
        let mut units: Vec<Unit<'t, T>> = Vec::new();
        for first_map in (0..batch).step_by(cut.maps) {
            let maps = first_map..batch.min(first_map + cut.maps);
            for part in 0..groups * blocks * bands {
                units.push(Unit {
                    place: Place {
                        map: maps.start,
                        maps: maps.len(),
                        group: part / (blocks * bands),
                        target: part / bands % blocks * cut.targets,
                        row: part % bands * cut.band,
                    },
                    lines: Vec::with_capacity(maps.len() * cut.targets),
                });
            }
        }
        let mut rest = target;
        for plane in 0..batch * groups * channels {
            let (map, channel) = (plane / channels, plane % channels);
            let (map, group) = (map / groups, map % groups);
            let (mut lines, after) = rest.split_at(self.plan.target_plane());
            rest = after;
            let first =
                ((map / cut.maps * groups + group) * blocks + channel / cut.targets) * bands;
            let units = &mut units[first..first + bands];
            let (last, others) = units.split_last_mut().expect("a band");
            for unit in others {
                let (band, after) = lines.split_at(band);
                unit.lines.push(band);
                lines = after;
            }
            // The last band takes the zeros that are appended to the map as well.
            last.lines.push(lines);
        }
        units
    }
}
