//! The plan of one axis.

use super::Choices;
use super::pairs::{has_neighbours, pair_cells};
use crate::problem::Axis;

/// One axis of a [`Plan`](super::Plan).
pub(crate) struct AxisPlan {
    pub(crate) source: Line,
    pub(crate) target: Line,
    /// Whether [two cells](super::pairs) of the layer are one here, and the steps twice as long.
    pub(crate) paired: bool,
    /// The copies of the source that the taps read, in order.
    pub(crate) copies: Vec<Copied>,
    /// The most values that a phase has: `q` is below it.
    pub(crate) cells: usize,
    /// How many values each phase has; the cells after them are appended zeros.
    pub(crate) phase_cells: Vec<usize>,
    /// `cells` of the target are computed from `cells + reach` of a copy.
    pub(crate) reach: usize,
    pub(crate) classes: Vec<AxisClass>,
}

impl AxisPlan {
    /// The values of the longest phase, with those of phases that no tap reaches and appended zeros.
    pub(crate) fn all_cells(&self) -> usize {
        self.target.length.div_ceil(self.target.step)
    }
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
    /// Whether it holds that value minus the one half a step further on.
    pub(crate) difference: bool,
    pub(crate) plane: usize,
    pub(crate) shift: isize,
}

impl Copied {
    /// Whether two copies hold the same values at different places.
    fn is_shifted(&self, other: &Self) -> bool {
        (self.plane, self.difference) == (other.plane, other.difference)
    }
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

/// What is added to the places `q * step + phase` of the target, for one phase, or for several. Cell
/// `q` stands at `q + lead` in its class.
#[derive(Clone)]
pub(crate) struct Phase {
    pub(crate) phases: Vec<usize>,
    pub(crate) lead: usize,
    /// The weights, one for each of the class's taps.
    pub(crate) taps: Vec<TapSum>,
}

/// A weight: the sum of up to four of the kernel's taps, by their index, or the negative of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TapSum {
    taps: [usize; 4],
    count: usize,
    pub(crate) negative: bool,
}

impl TapSum {
    pub(super) fn new(taps: &[usize], negative: bool) -> Self {
        let mut sum = Self {
            taps: [0; 4],
            count: taps.len(),
            negative,
        };
        sum.taps[..taps.len()].copy_from_slice(taps);
        sum
    }

    pub(crate) fn taps(&self) -> &[usize] {
        &self.taps[..self.count]
    }

    /// The sum on both axes of a kernel with so many columns.
    pub(crate) fn on_both_axes(y: Self, x: Self, columns: usize) -> Self {
        let mut sum = Self {
            taps: [0; 4],
            count: y.count * x.count,
            negative: y.negative != x.negative,
        };
        for (i, tap) in sum.taps[..sum.count].iter_mut().enumerate() {
            *tap = y.taps[i / x.count] * columns + x.taps[i % x.count];
        }
        sum
    }
}

/// A tap of the kernel, and the place of the source that it meets.
#[derive(Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) tap: usize,
    pub(super) plane: usize,
    pub(crate) shift: isize,
}

/// A weight, and the place of a copy that it meets.
pub(super) struct Product {
    pub(super) weight: TapSum,
    pub(super) read: Copied,
}

/// Products that belong to the same phases, before they are sorted into a class.
pub(super) struct RawPhase {
    pub(super) phases: Vec<usize>,
    pub(super) products: Vec<Product>,
}

/// Phases that form a class.
struct PhaseGroup {
    /// The lowest shift of a phase's first product.
    shift: isize,
    phases: Vec<RawPhase>,
}

impl AxisPlan {
    /// A phase for each place of the output below the stride.
    pub(super) fn forward(axis: &Axis, choices: Choices) -> Self {
        let (stride, kept) = (axis.stride, axis.kept().len());
        let source = Line {
            length: axis.input,
            step: 1,
        };
        let target = Line {
            length: axis.output,
            step: stride,
        };
        let phases = (0..stride.min(kept)).map(|phase| forward_taps(axis, phase));
        Self::new(source, target, kept, phases.collect(), choices)
    }

    /// One phase, which reads a plane of the source for each tap below the stride.
    pub(super) fn grad_input(axis: &Axis, choices: Choices) -> Self {
        let (stride, input) = (axis.stride as isize, axis.input as isize);
        let taps = full_map_places(axis).filter_map(|(tap, at)| {
            let place = at as isize - axis.crop_begin as isize;
            let (plane, shift) = (place.rem_euclid(stride), place.div_euclid(stride));
            let meets = -shift < input && shift.max(0) * stride + plane < axis.output as isize;
            meets.then_some(Tap {
                tap,
                plane: plane as usize,
                shift,
            })
        });
        let source = Line {
            length: axis.output,
            step: axis.stride,
        };
        let target = Line {
            length: axis.input,
            step: 1,
        };
        Self::new(source, target, axis.input, vec![taps.collect()], choices)
    }

    /// `phases` are the taps of each phase, `kept` the values of the target that are computed.
    fn new(
        mut source: Line,
        mut target: Line,
        kept: usize,
        phases: Vec<Vec<Tap>>,
        choices: Choices,
    ) -> Self {
        let paired = choices.panels && phases.iter().any(|taps| has_neighbours(taps));
        let phases: Vec<RawPhase> = if paired {
            let steps = [source.step, target.step];
            source.step *= 2;
            target.step *= 2;
            let phases = phases.iter().enumerate();
            phases
                .flat_map(|(phase, taps)| pair_cells(phase, taps, steps))
                .collect()
        } else {
            phases.iter().enumerate().map(single_cells).collect()
        };
        let phase_cells: Vec<usize> = (0..target.step)
            .map(|phase| kept.saturating_sub(phase).div_ceil(target.step))
            .collect();
        let groups = if choices.panels {
            phases.into_iter().filter_map(PhaseGroup::of_one).collect()
        } else {
            group_phases(phases, choices.merge_phases)
        };
        let copies = list_copies(&groups, choices.copy_shifts || choices.panels);
        let classes: Vec<AxisClass> = groups
            .iter()
            .map(|group| place_taps(group, &copies))
            .collect();
        let computed = classes.iter().flat_map(|class| &class.phases);
        let computed = computed.flat_map(|phase| &phase.phases);
        Self {
            source,
            target,
            paired,
            cells: computed.map(|phase| phase_cells[*phase]).max().unwrap_or(0),
            phase_cells,
            reach: classes.iter().map(reach).max().unwrap_or(0),
            copies,
            classes,
        }
    }
}

/// A product for each tap.
fn single_cells((phase, taps): (usize, &Vec<Tap>)) -> RawPhase {
    let product = |tap: &Tap| Product {
        weight: TapSum::new(&[tap.tap], false),
        read: Copied {
            plane: tap.plane,
            difference: false,
            shift: tap.shift,
        },
    };
    RawPhase {
        phases: vec![phase],
        products: taps.iter().map(product).collect(),
    }
}

/// The kernel's taps: their index, and where value 0 times the tap belongs in the full map. The
/// convolution turns the kernel, so the last tap comes first.
fn full_map_places(axis: &Axis) -> impl Iterator<Item = (usize, usize)> + '_ {
    let kernel = axis.kernel;
    (0..kernel).map(move |place| (kernel - 1 - place, place * axis.dilation))
}

/// The taps that reach one phase of the output. Those that meet no value of the input are left out: of 7 taps on a
/// map of 1x1 that stays one, all but the middle.
pub(crate) fn forward_taps(axis: &Axis, phase: usize) -> Vec<Tap> {
    let (place, stride) = ((phase + axis.crop_begin) as isize, axis.stride as isize);
    let cells = axis
        .kept()
        .len()
        .saturating_sub(phase)
        .div_ceil(axis.stride) as isize;
    let taps = full_map_places(axis).filter_map(|(tap, at)| {
        let ahead = place - at as isize;
        let shift = ahead.div_euclid(stride);
        let meets = shift < axis.input as isize && -shift < cells;
        (ahead.rem_euclid(stride) == 0 && meets).then_some(Tap {
            tap,
            plane: 0,
            shift,
        })
    });
    taps.collect()
}

/// Sorts phases into groups with the same planes at the same distances, and, unless they may be
/// merged, at the same shift. Phases without a product are dropped: they are zeros.
fn group_phases(phases: Vec<RawPhase>, merge: bool) -> Vec<PhaseGroup> {
    let mut groups: Vec<PhaseGroup> = Vec::new();
    for phase in phases {
        let Some(first) = phase.products.first() else {
            continue;
        };
        let shift = first.read.shift;
        let joins = |group: &&mut PhaseGroup| {
            let same = same_form(&phase.products, &group.phases[0].products);
            same && (merge || shift == group.shift)
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
fn same_form(a: &[Product], b: &[Product]) -> bool {
    let distance = b[0].read.shift - a[0].read.shift;
    let mut pairs = a.iter().zip(b).map(|(a, b)| (a.read, b.read));
    a.len() == b.len() && pairs.all(|(a, b)| a.is_shifted(&b) && a.shift + distance == b.shift)
}

impl PhaseGroup {
    /// A phase alone. One without a product is dropped: it is zeros.
    fn of_one(phase: RawPhase) -> Option<Self> {
        let shift = phase.products.first()?.read.shift;
        Some(Self {
            shift,
            phases: vec![phase],
        })
    }

    /// What each product reads for the phase of the lowest shift.
    fn reads(&self) -> impl Iterator<Item = Copied> + '_ {
        let products = &self.phases[0].products;
        products.iter().map(|product| Copied {
            shift: product.read.shift - products[0].read.shift + self.shift,
            ..product.read
        })
    }
}

/// The copies that the products read, in order: one for each plane and its differences, from the
/// lowest shift on; or one for each shift too.
fn list_copies(groups: &[PhaseGroup], copy_shifts: bool) -> Vec<Copied> {
    let mut copies: Vec<Copied> = groups.iter().flat_map(PhaseGroup::reads).collect();
    copies.sort_unstable();
    if copy_shifts {
        copies.dedup();
    } else {
        copies.dedup_by(|next, first| first.is_shifted(next));
    }
    copies
}

/// Finds each product's place in the copies.
fn place_taps(group: &PhaseGroup, copies: &[Copied]) -> AxisClass {
    let place = |read: Copied| {
        // The last copy of the values that begins no later than the product reads.
        let copy = copies.partition_point(|copy| *copy <= read) - 1;
        AxisPlace {
            copy,
            ahead: (read.shift - copies[copy].shift) as usize,
        }
    };
    let phase = |raw: &RawPhase| Phase {
        phases: raw.phases.clone(),
        lead: (raw.products[0].read.shift - group.shift) as usize,
        taps: raw.products.iter().map(|product| product.weight).collect(),
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
