//! The plan of a pass: which taps meet which values, made from nothing but the sizes.
//!
//! The forward pass and the gradient of the input are the same computation. Both slide over a
//! *source* map and write a *target* map:
//!
//! ```text
//! target[q * t + r] = sum over the taps of phase r  of  source[(q + shift) * s + plane] * tap
//! ```
//!
//! Forward, the target is the output, its step `t` is the stride, and `s = 1`. Backward, the target
//! is the gradient of the input, `t = 1`, and the source, the gradient of the output, has the
//! stride as its step `s`. The values `i * s + plane` of the source are one of its *planes*; in a
//! plane, every tap is a constant shift. No inserted zero appears.
//!
//! For a kernel `[a b c]` at stride 2 and no crop, one axis:
//!
//! ```text
//! output     0    1    2    3    4        phase 0 (even places): taps c and a, at shifts 0 and -1
//! x[0] *     c    b    a                  phase 1 (odd places):  tap  b,       at shift  0
//! x[1] *               c    b    a
//!
//! y[2q]     = c * x[q] + a * x[q - 1]
//! y[2q + 1] = b * x[q]
//!
//! gradient of the input: one phase; the gradient of the output has two planes, even and odd
//! gx[q]     = c * even[q] + b * odd[q] + a * even[q + 1]
//! ```
//!
//! Phases with the same planes at the same distances form a *class*: their weights become the rows
//! of one matrix.

use crate::class::Class;
use crate::problem::{Axis, Problem};

/// The plan of a pass.
pub(crate) struct Plan {
    pub(crate) problem: Problem,
    pub(crate) source: Channels,
    pub(crate) target: Channels,
    /// Height and width.
    pub(crate) axes: [AxisPlan; 2],
}

/// The channels of the source or the target.
#[derive(Clone, Copy)]
pub(crate) struct Channels {
    /// How many a group has.
    pub(crate) count: usize,
    /// From a weight of one channel to the same weight of the next.
    pub(crate) weight_stride: usize,
}

/// What a plan may do in two ways.
#[derive(Clone, Copy, Default)]
pub(crate) struct Choices {
    /// Phases whose taps are the same but for a common shift share a class. Then even a few
    /// channels make a class of many rows.
    pub(crate) merge_phases: bool,
    /// Columns have a copy for each shift, and need no zeros between two lines.
    pub(crate) copy_shifts: bool,
}

impl Plan {
    /// From the input to the output.
    pub(crate) fn forward(problem: &Problem, choices: Choices) -> Self {
        let (source, target) = channels(problem);
        let [height, width] = &problem.axes;
        Self {
            problem: *problem,
            source,
            target,
            axes: [
                AxisPlan::forward(height, choices.for_height()),
                AxisPlan::forward(width, choices),
            ],
        }
    }

    /// From the gradient of the output to the gradient of the input. There is one phase, so nothing
    /// to merge.
    pub(crate) fn grad_input(problem: &Problem, choices: Choices) -> Self {
        let (target, source) = channels(problem);
        let [height, width] = &problem.axes;
        Self {
            problem: *problem,
            source,
            target,
            axes: [
                AxisPlan::grad_input(height, choices.for_height()),
                AxisPlan::grad_input(width, choices),
            ],
        }
    }

    /// Every class of one axis with every class of the other.
    pub(crate) fn classes(&self) -> Vec<Class> {
        let [height, width] = &self.axes;
        let classes = height.classes.iter();
        let classes = classes.flat_map(|y| width.classes.iter().map(move |x| (y, x)));
        classes.map(|(y, x)| Class::new(self, y, x)).collect()
    }

    /// Copies of one source channel.
    pub(crate) fn copies(&self) -> usize {
        let [height, width] = &self.axes;
        height.copies.len() * width.copies.len()
    }

    /// Values of one channel's source map.
    pub(crate) fn source_plane(&self) -> usize {
        let [height, width] = &self.axes;
        height.source.length * width.source.length
    }

    /// Values of one channel's target map.
    pub(crate) fn target_plane(&self) -> usize {
        let [height, width] = &self.axes;
        height.target.length * width.target.length
    }
}

impl Choices {
    /// Lines of a copy lie one after the other, so rows need no copies of their own.
    fn for_height(self) -> Self {
        Self {
            copy_shifts: false,
            ..self
        }
    }
}

/// The input's channels and the output's.
fn channels(problem: &Problem) -> (Channels, Channels) {
    let input = Channels {
        count: problem.group_c_in(),
        weight_stride: problem.taps(),
    };
    let output = Channels {
        count: problem.group_c_out(),
        weight_stride: problem.group_c_in() * problem.taps(),
    };
    (input, output)
}

/// One axis of a [`Plan`].
pub(crate) struct AxisPlan {
    pub(crate) source: Line,
    pub(crate) target: Line,
    /// The copies of the source that the taps read, in order.
    pub(crate) copies: Vec<Copied>,
    /// The most values that a phase has: `q` is below it.
    pub(crate) cells: usize,
    /// `cells` of the target are computed from `cells + reach` of a copy.
    pub(crate) reach: usize,
    pub(crate) classes: Vec<AxisClass>,
}

/// The source or the target on one axis.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) length: usize,
    /// The distance of two neighbours in a plane of the source or a phase of the target.
    pub(crate) step: usize,
}

/// A copy of the source: place `q` holds value `(q + shift) * s + plane`, zero where there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Copied {
    pub(crate) plane: usize,
    pub(crate) shift: isize,
}

/// Phases with the same taps but for a common shift, their `lead`.
pub(crate) struct AxisClass {
    pub(crate) taps: Vec<AxisPlace>,
    pub(crate) phases: Vec<Phase>,
    /// The largest lead of a phase.
    pub(crate) lead: usize,
}

/// Where a tap of a class reads the source.
#[derive(Clone, Copy)]
pub(crate) struct AxisPlace {
    /// The index of a copy.
    pub(crate) copy: usize,
    /// How far ahead in it.
    pub(crate) ahead: usize,
}

/// The places `q * step + phase` of the target. Cell `q` stands at `q + lead` in its class.
#[derive(Clone)]
pub(crate) struct Phase {
    pub(crate) phase: usize,
    pub(crate) lead: usize,
    /// How many cells of the phase have a value; those after it are appended zeros.
    pub(crate) cells: usize,
    /// The kernel's taps by their index, one for each of the class's.
    pub(crate) taps: Vec<usize>,
}

/// A tap of the kernel, and the place of the source that it meets.
#[derive(Clone, Copy)]
struct Tap {
    tap: usize,
    plane: usize,
    shift: isize,
}

/// A phase before it is sorted into a class.
struct RawPhase {
    phase: usize,
    cells: usize,
    taps: Vec<Tap>,
}

/// Phases that form a class.
struct PhaseGroup {
    /// The lowest shift of a phase's first tap.
    shift: isize,
    phases: Vec<RawPhase>,
}

impl AxisPlan {
    /// A phase for each place of the output below the stride.
    fn forward(axis: &Axis, choices: Choices) -> Self {
        let (stride, kept) = (axis.stride, axis.kept().len());
        let phases = (0..stride.min(kept)).map(|phase| RawPhase {
            phase,
            cells: (kept - phase).div_ceil(stride),
            taps: forward_taps(axis, phase),
        });
        let source = Line {
            length: axis.input,
            step: 1,
        };
        let target = Line {
            length: axis.output,
            step: stride,
        };
        Self::new(source, target, phases.collect(), choices)
    }

    /// One phase, which reads a plane of the source for each tap below the stride.
    fn grad_input(axis: &Axis, choices: Choices) -> Self {
        let stride = axis.stride as isize;
        let taps = full_map_places(axis).map(|(tap, at)| {
            let place = at as isize - axis.crop_begin as isize;
            Tap {
                tap,
                plane: place.rem_euclid(stride) as usize,
                shift: place.div_euclid(stride),
            }
        });
        let phase = RawPhase {
            phase: 0,
            cells: axis.input,
            taps: taps.collect(),
        };
        let source = Line {
            length: axis.output,
            step: axis.stride,
        };
        let target = Line {
            length: axis.input,
            step: 1,
        };
        Self::new(source, target, vec![phase], choices)
    }

    fn new(source: Line, target: Line, phases: Vec<RawPhase>, choices: Choices) -> Self {
        let groups = group_phases(phases, choices.merge_phases);
        let copies = list_copies(&groups, choices.copy_shifts);
        let classes: Vec<AxisClass> = groups
            .iter()
            .map(|group| place_taps(group, &copies))
            .collect();
        let phases = groups.iter().flat_map(|group| &group.phases);
        Self {
            source,
            target,
            cells: phases.map(|phase| phase.cells).max().unwrap_or(0),
            reach: classes.iter().map(reach).max().unwrap_or(0),
            copies,
            classes,
        }
    }
}

/// The kernel's taps: their index, and where value 0 times the tap belongs in the full map. The
/// convolution turns the kernel, so the last tap comes first.
fn full_map_places(axis: &Axis) -> impl Iterator<Item = (usize, usize)> + '_ {
    let kernel = axis.kernel;
    (0..kernel).map(move |place| (kernel - 1 - place, place * axis.dilation))
}

/// The taps that reach one phase of the output.
fn forward_taps(axis: &Axis, phase: usize) -> Vec<Tap> {
    let (place, stride) = ((phase + axis.crop_begin) as isize, axis.stride as isize);
    let mut taps = Vec::new();
    for (tap, at) in full_map_places(axis) {
        let ahead = place - at as isize;
        if ahead.rem_euclid(stride) == 0 {
            taps.push(Tap {
                tap,
                plane: 0,
                shift: ahead.div_euclid(stride),
            });
        }
    }
    taps
}

/// Sorts phases into groups with the same planes at the same distances, and, unless they may be
/// merged, at the same shift. Phases without a tap are dropped: they are zeros.
fn group_phases(phases: Vec<RawPhase>, merge: bool) -> Vec<PhaseGroup> {
    let mut groups: Vec<PhaseGroup> = Vec::new();
    for phase in phases {
        let Some(first) = phase.taps.first() else {
            continue;
        };
        let shift = first.shift;
        let joins = |group: &&mut PhaseGroup| {
            same_form(&phase.taps, &group.phases[0].taps) && (merge || shift == group.shift)
        };
        if let Some(group) = groups.iter_mut().find(joins) {
            group.shift = group.shift.min(shift);
            group.phases.push(phase);
        } else {
            groups.push(PhaseGroup {
                shift,
                phases: vec![phase],
            });
        }
    }
    groups
}

/// Whether two phases read the same planes at the same distances.
fn same_form(a: &[Tap], b: &[Tap]) -> bool {
    let distance = b[0].shift - a[0].shift;
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.plane == b.plane && a.shift + distance == b.shift)
}

impl PhaseGroup {
    /// What each tap reads for the phase of the lowest shift.
    fn reads(&self) -> impl Iterator<Item = Copied> + '_ {
        let taps = &self.phases[0].taps;
        taps.iter().map(|tap| Copied {
            plane: tap.plane,
            shift: tap.shift - taps[0].shift + self.shift,
        })
    }
}

/// The copies that the taps read, in order: one for each plane, from the plane's lowest shift on; or
/// one for each plane and shift.
fn list_copies(groups: &[PhaseGroup], copy_shifts: bool) -> Vec<Copied> {
    let mut copies: Vec<Copied> = groups.iter().flat_map(PhaseGroup::reads).collect();
    copies.sort_unstable();
    if copy_shifts {
        copies.dedup();
    } else {
        copies.dedup_by_key(|copy| copy.plane);
    }
    copies
}

/// Finds each tap's place in the copies.
fn place_taps(group: &PhaseGroup, copies: &[Copied]) -> AxisClass {
    let place = |read: Copied| {
        // The last copy of the plane that begins no later than the tap reads.
        let copy = copies.partition_point(|copy| *copy <= read) - 1;
        AxisPlace {
            copy,
            ahead: (read.shift - copies[copy].shift) as usize,
        }
    };
    let phase = |raw: &RawPhase| Phase {
        phase: raw.phase,
        lead: (raw.taps[0].shift - group.shift) as usize,
        cells: raw.cells,
        taps: raw.taps.iter().map(|tap| tap.tap).collect(),
    };
    let phases: Vec<Phase> = group.phases.iter().map(phase).collect();
    AxisClass {
        taps: group.reads().map(place).collect(),
        lead: phases.iter().map(|phase| phase.lead).max().unwrap_or(0),
        phases,
    }
}

/// How far ahead of its cell a class reads.
fn reach(class: &AxisClass) -> usize {
    let ahead = class.taps.iter().map(|place| place.ahead).max();
    ahead.unwrap_or(0) + class.lead
}
