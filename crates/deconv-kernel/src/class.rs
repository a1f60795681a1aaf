//! The classes of a plan on both axes: which taps of the kernel multiply which places of the source.

use core::ops::Range;

use crate::plan::{AxisClass, Phase, Plan, TapSum};

/// A class of both axes: what one packed weight matrix computes.
pub(crate) struct Class {
    pub(crate) taps: Vec<Place>,
    pub(crate) phases: Vec<ClassPhase>,
    /// The largest lead of a phase, by axis.
    pub(crate) lead: [usize; 2],
}

/// Where a tap of a class reads the source.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The index of a copy, `[row's copy][column's copy]`.
    pub(crate) copy: usize,
    /// How far ahead in it, by axis.
    pub(crate) ahead: [usize; 2],
}

/// What is added to a phase of both axes, or to several.
pub(crate) struct ClassPhase {
    pub(crate) phases: Vec<[usize; 2]>,
    pub(crate) lead: [usize; 2],
    /// The weights by their taps' index in `[k_h, k_w]`, one for each of the class's.
    pub(crate) taps: Vec<TapSum>,
}

impl Class {
    /// Taps are in the order of the copies that they read, so parts of the copies have parts of the
    /// taps.
    pub(crate) fn new(plan: &Plan, y: &AxisClass, x: &AxisClass) -> Self {
        let x_copies = plan.axes[1].copies.len();
        let kernel_columns = plan.problem.axes[1].kernel;
        let places = pairs(&y.taps, &x.taps, |y, x| Place {
            copy: y.copy * x_copies + x.copy,
            ahead: [y.ahead, x.ahead],
        });
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_unstable_by_key(|i| (places[*i].copy, places[*i].ahead));
        let phase = |y: &Phase, x: &Phase| {
            let taps = pairs(&y.taps, &x.taps, |y, x| {
                TapSum::on_both_axes(*y, *x, kernel_columns)
            });
            ClassPhase {
                phases: pairs(&y.phases, &x.phases, |y, x| [*y, *x]),
                lead: [y.lead, x.lead],
                taps: order.iter().map(|i| taps[*i]).collect(),
            }
        };
        Self {
            taps: order.iter().map(|i| places[*i]).collect(),
            phases: pairs(&y.phases, &x.phases, phase),
            lead: [y.lead, x.lead],
        }
    }

    /// The taps that read some of the copies.
    pub(crate) fn taps_of(&self, copies: Range<usize>) -> Range<usize> {
        let before = |end: usize| self.taps.partition_point(|place| place.copy < end);
        before(copies.start)..before(copies.end)
    }
}

fn pairs<A, B, C>(first: &[A], second: &[B], pair: impl Fn(&A, &B) -> C) -> Vec<C> {
    let pair = &pair;
    first
        .iter()
        .flat_map(|a| second.iter().map(move |b| pair(a, b)))
        .collect()
}
