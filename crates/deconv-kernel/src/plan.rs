//! Which taps meet which values: the plan of a pass, made from the problem alone.
//!
//! The forward pass and the gradient of the input are the same computation. Both slide over a
//! *source* map and write a *target* map:
//!
//! ```text
//! target[q * t + r] = sum over the taps of phase r  of  source[(q + shift) * s + plane] * tap
//! ```
//!
//! Forward, the target is the output, its step `t` the stride, and `s = 1`. Backward, the target is
//! the input's gradient, `t = 1`, and the source, the output's gradient, has the stride as its step
//! `s`. The values `i * s + plane` of the source are one of its planes; in the plane, every tap is
//! a constant shift. No inserted zero appears.

use crate::problem::{Axis, Problem};

/// The plan of a pass, per axis.
pub(crate) struct Plan {
    pub(crate) axes: [AxisPlan; 2],
}

/// How a pass is planned.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Phases whose taps are the same but for a common shift share a class, so that few channels
    /// still make a class of many rows.
    pub(crate) merge: bool,
    /// Columns have a copy for each shift, and so need no zeros between two lines.
    pub(crate) split: bool,
}

impl Plan {
    /// The input to the output.
    pub(crate) fn forward(problem: &Problem, layout: Layout) -> Self {
        let forward = |axis: &Axis, split| {
            let (stride, kept) = (axis.stride, axis.kept());
            let phases = (0..stride.min(kept.len())).map(|phase| {
                let place = (phase + axis.crop_begin) as isize;
                let taps = taps(axis).filter_map(|(tap, at)| {
                    let (ahead, step) = (place - at as isize, stride as isize);
                    let meets = ahead.rem_euclid(step) == 0;
                    meets.then(|| Tap {
                        tap,
                        plane: 0,
                        shift: ahead.div_euclid(step),
                    })
                });
                RawPhase {
                    phase,
                    cells: (kept.len() - phase).div_ceil(stride),
                    taps: taps.collect(),
                }
            });
            let ends = [(axis.input, 1), (axis.output, stride)];
            AxisPlan::new(ends, phases.collect(), Layout { split, ..layout })
        };
        let [height, width] = &problem.axes;
        Self {
            axes: [forward(height, false), forward(width, layout.split)],
        }
    }

    /// The output's gradient to the input's gradient: one phase; for `split`, see [`Layout`].
    pub(crate) fn grad_input(problem: &Problem, split: bool) -> Self {
        let grad_input = |axis: &Axis, split| {
            let stride = axis.stride as isize;
            let taps = taps(axis).map(|(tap, at)| {
                let place = at as isize - axis.crop_begin as isize;
                let (shift, plane) = (place.div_euclid(stride), place.rem_euclid(stride));
                Tap {
                    tap,
                    plane: plane as usize,
                    shift,
                }
            });
            let ends = [(axis.output, axis.stride), (axis.input, 1)];
            let phases = vec![RawPhase {
                phase: 0,
                cells: axis.input,
                taps: taps.collect(),
            }];
            let layout = Layout {
                merge: false,
                split,
            };
            AxisPlan::new(ends, phases, layout)
        };
        let [height, width] = &problem.axes;
        Self {
            axes: [grad_input(height, false), grad_input(width, split)],
        }
    }

    /// Every class of one axis with every class of the other.
    pub(crate) fn classes(&self) -> Vec<Class> {
        let [height, width] = &self.axes;
        pairs(&height.classes, &width.classes, |y, x| {
            Class::new(y, x, height.copies.len())
        })
    }
}

/// One axis of a [`Plan`].
pub(crate) struct AxisPlan {
    pub(crate) source: usize,
    pub(crate) source_step: usize,
    pub(crate) target: usize,
    pub(crate) target_step: usize,
    /// The copies of the source that the taps read.
    pub(crate) copies: Vec<Copied>,
    /// The most values that a phase has: `q` is below it.
    pub(crate) cells: usize,
    /// `cells` of the target are computed from `cells + reach` of a copy.
    pub(crate) reach: usize,
    pub(crate) classes: Vec<AxisClass>,
}

/// A copy of the source: place `q` holds value `(q + shift) * s + plane`, zero where there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Copied {
    pub(crate) plane: usize,
    pub(crate) shift: isize,
}

/// Phases with the same taps but for a common shift, their `lead`.
pub(crate) struct AxisClass {
    /// Each tap as a place in the source: the index of a copy, and how far ahead in it.
    pub(crate) taps: Vec<(usize, usize)>,
    pub(crate) phases: Vec<Phase>,
    /// The largest lead of a phase.
    pub(crate) lead: usize,
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

impl AxisPlan {
    /// `ends` are the length and the step of the source and of the target.
    fn new(ends: [(usize, usize); 2], phases: Vec<RawPhase>, layout: Layout) -> Self {
        let phases: Vec<_> = phases
            .into_iter()
            .filter(|phase| !phase.taps.is_empty())
            .collect();

        // Members of a class have the same planes, at the same distances.
        let form = |taps: &[Tap]| -> Vec<(usize, isize)> {
            taps.iter()
                .map(|tap| (tap.plane, tap.shift - taps[0].shift))
                .collect()
        };
        let mut members: Vec<Vec<&RawPhase>> = Vec::new();
        for phase in &phases {
            let joins = |class: &&mut Vec<&RawPhase>| {
                let (taps, others) = (&phase.taps, &class[0].taps);
                form(taps) == form(others) && (layout.merge || taps[0].shift == others[0].shift)
            };
            match members.iter_mut().find(joins) {
                Some(class) => class.push(phase),
                None => members.push(vec![phase]),
            }
        }

        // The place of a tap: the lowest of its phases' shifts.
        let first = |class: &[&RawPhase]| {
            class
                .iter()
                .map(|phase| phase.taps[0].shift)
                .min()
                .unwrap_or(0)
        };
        let places = |class: &[&RawPhase]| -> Vec<Copied> {
            let first = first(class);
            let form = form(&class[0].taps).into_iter();
            form.map(|(plane, distance)| Copied {
                plane,
                shift: first + distance,
            })
            .collect()
        };
        let mut copies: Vec<Copied> = members.iter().flat_map(|class| places(class)).collect();
        let low = copies.iter().map(|copy| copy.shift).min().unwrap_or(0);
        let copy_of = |place: Copied| match layout.split {
            true => place,
            false => Copied {
                shift: low,
                ..place
            },
        };
        copies.iter_mut().for_each(|copy| *copy = copy_of(*copy));
        copies.sort_unstable();
        copies.dedup();

        let class = |members: &Vec<&RawPhase>| {
            let first = first(members);
            let tap = |place: Copied| {
                let copy = copies.binary_search(&copy_of(place)).unwrap_or(0);
                (copy, (place.shift - copies[copy].shift) as usize)
            };
            let phase = |raw: &RawPhase| Phase {
                phase: raw.phase,
                lead: (raw.taps[0].shift - first) as usize,
                cells: raw.cells,
                taps: raw.taps.iter().map(|tap| tap.tap).collect(),
            };
            let phases: Vec<Phase> = members.iter().map(|member| phase(member)).collect();
            AxisClass {
                taps: places(members).into_iter().map(tap).collect(),
                lead: phases.iter().map(|phase| phase.lead).max().unwrap_or(0),
                phases,
            }
        };
        let classes: Vec<AxisClass> = members.iter().map(class).collect();
        let reach = |class: &AxisClass| {
            let ahead = class.taps.iter().map(|tap| tap.1).max().unwrap_or(0);
            ahead + class.lead
        };
        let [(source, source_step), (target, target_step)] = ends;
        Self {
            source,
            source_step,
            target,
            target_step,
            cells: phases.iter().map(|phase| phase.cells).max().unwrap_or(0),
            reach: classes.iter().map(reach).max().unwrap_or(0),
            copies,
            classes,
        }
    }
}

/// The kernel's taps: their index, and where value 0 times the tap belongs in the full map. The
/// convolution turns the kernel, so that the last tap comes first.
fn taps(axis: &Axis) -> impl Iterator<Item = (usize, usize)> + '_ {
    let kernel = axis.kernel;
    (0..kernel).map(move |place| (kernel - 1 - place, place * axis.dilation))
}

/// A class of both axes: what one packed weight matrix computes.
pub(crate) struct Class {
    /// The places of the taps in the source: the index of a copy, and how far ahead on each axis.
    pub(crate) taps: Vec<(usize, [usize; 2])>,
    pub(crate) phases: Vec<ClassPhase>,
    pub(crate) lead: [usize; 2],
}

/// A phase of both axes.
pub(crate) struct ClassPhase {
    pub(crate) phase: [usize; 2],
    pub(crate) lead: [usize; 2],
    pub(crate) cells: [usize; 2],
    /// Row and column of the kernel's taps, one for each of the class's.
    pub(crate) taps: Vec<[usize; 2]>,
}

impl Class {
    /// Copies are counted by columns first, so that those of one column are neighbours.
    fn new(y: &AxisClass, x: &AxisClass, y_copies: usize) -> Self {
        Self {
            taps: pairs(&y.taps, &x.taps, |y, x| (x.0 * y_copies + y.0, [y.1, x.1])),
            phases: pairs(&y.phases, &x.phases, |y, x| ClassPhase {
                phase: [y.phase, x.phase],
                lead: [y.lead, x.lead],
                cells: [y.cells, x.cells],
                taps: pairs(&y.taps, &x.taps, |y, x| [*y, *x]),
            }),
            lead: [y.lead, x.lead],
        }
    }
}

fn pairs<A, B, C>(first: &[A], second: &[B], pair: impl Fn(&A, &B) -> C) -> Vec<C> {
    let pair = &pair;
    first
        .iter()
        .flat_map(|a| second.iter().map(move |b| pair(a, b)))
        .collect()
}
