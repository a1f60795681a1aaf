//! The sizes of a call, and what several forms count.

use pulp::Arch;

use super::muladds;
use crate::element::Element;
use crate::problem::{Axis, Problem};
use crate::tile::{Registers, VECTORS};
use crate::tuning::MIN_SHARED_MULADDS;

/// The sizes of a call, as the counts need them.
pub(super) struct Sizes<'a> {
    pub(super) problem: &'a Problem,
    pub(super) height: AxisSizes,
    pub(super) width: AxisSizes,
    /// Numbers in a vector, and the most rows of a tile.
    pub(super) lanes: usize,
    pub(super) rows: usize,
    /// Whether all threads take part. With how many the call is computed must not decide its form: forms add in other
    /// orders, and results are the same on any number of threads.
    is_shared: bool,
    pub(super) maps: f64,
    pub(super) groups: f64,
    /// Channels of a group.
    pub(super) sources: f64,
    pub(super) targets: f64,
    /// Values of all channels and maps.
    pub(super) inputs: f64,
    pub(super) outputs: f64,
    pub(super) weights: f64,
    /// The products of a value and a weight.
    pub(super) products: f64,
}

/// The sizes of an axis.
pub(super) struct AxisSizes {
    pub(super) input: usize,
    pub(super) output: usize,
    /// Places of the output that are computed at once: one of each phase.
    pub(super) cells: usize,
    pub(super) phases: usize,
    /// The taps that meet a value, and how many cells apart they read.
    pub(super) taps: usize,
    pub(super) reach: usize,
    /// Planes of the output's gradient that they read.
    pub(super) planes: usize,
    /// If taps are neighbours, which panels multiply in pairs: how many taps apart.
    pub(super) in_pairs: Option<usize>,
}

impl AxisSizes {
    pub(super) fn new(axis: &Axis) -> Self {
        let meets = |place: &usize| {
            let place = place * axis.dilation;
            let first = axis.crop_begin.saturating_sub(place).div_ceil(axis.stride);
            first < axis.input && first * axis.stride + place < axis.crop_begin + axis.output
        };
        let first = (0..axis.kernel).find(meets);
        let last = (0..axis.kernel).rfind(meets);
        let taps = first.zip(last).map_or(0, |(first, last)| last + 1 - first);
        // Every so many taps, the same phase; its taps are neighbours then.
        let apart = axis.stride / axis.dilation;
        let in_pairs = axis.stride.is_multiple_of(axis.dilation) && taps > apart;
        Self {
            input: axis.input,
            output: axis.output,
            cells: axis.output.div_ceil(axis.stride),
            phases: axis.stride.min(axis.output),
            taps,
            reach: taps.saturating_sub(1) * axis.dilation / axis.stride,
            planes: axis.stride.min(taps),
            in_pairs: in_pairs.then_some(apart),
        }
    }

    /// Products in panels, of two cells where they are in pairs.
    pub(super) fn panel_products(&self) -> usize {
        let Some(apart) = self.in_pairs else {
            return self.taps;
        };
        let of_phase = |phase: usize| {
            let taps = (self.taps - phase).div_ceil(apart);
            3 * (taps / 2) + 2 * (taps % 2)
        };
        (0..apart).map(of_phase).sum()
    }

    /// Cells that panels multiply as one.
    pub(super) fn panel_step(&self) -> usize {
        if self.in_pairs.is_some() { 2 } else { 1 }
    }

    /// Whether the phases of a line are interleaved value by value.
    pub(super) fn is_written_by_value(&self) -> bool {
        !matches!(self.phases, 1..=4 | 8)
    }

    /// Sums of a phase in panels.
    pub(super) fn panel_sums(&self) -> usize {
        if self.in_pairs.is_some() { 3 } else { 1 }
    }
}

impl<'a> Sizes<'a> {
    pub(super) fn new<T: Element>(arch: Arch, problem: &'a Problem) -> Self {
        let Registers { lanes, rows, .. } = Registers::of::<T>(arch);
        let (maps, sources) = (problem.batch as f64, problem.group_c_in() as f64);
        let inputs = maps * problem.c_in as f64 * problem.input_plane() as f64;
        let outputs = maps * problem.c_out as f64 * problem.output_plane() as f64;
        let weights = problem.c_out as f64 * sources * problem.taps() as f64;
        Self {
            problem,
            height: AxisSizes::new(&problem.axes[0]),
            width: AxisSizes::new(&problem.axes[1]),
            lanes,
            rows,
            is_shared: muladds(problem) >= MIN_SHARED_MULADDS,
            maps,
            groups: problem.groups as f64,
            sources,
            targets: problem.group_c_out() as f64,
            inputs,
            outputs,
            weights,
            products: maps * weights * problem.input_plane() as f64,
        }
    }

    /// Nanoseconds: those of a call, those of a second thread, and what is shared. The fit had two threads.
    pub(super) fn total(&self, [call, join]: [f64; 2], shared: &[(f64, f64)]) -> f64 {
        let shared: f64 = shared.iter().map(|(count, each)| count * each).sum();
        if self.is_shared {
            call + join + shared / 2.0
        } else {
            call + shared
        }
    }

    /// Taps of both axes that meet values.
    pub(super) fn taps(&self) -> f64 {
        (self.height.taps * self.width.taps) as f64
    }

    /// Lines of all maps of the output.
    pub(super) fn output_lines(&self) -> f64 {
        self.maps * self.groups * self.targets * self.height.output as f64
    }

    /// Lines of all maps of the input.
    pub(super) fn input_lines(&self) -> f64 {
        self.maps * self.groups * self.sources * self.height.input as f64
    }

    /// Planes of the output, of all maps.
    pub(super) fn output_planes(&self) -> f64 {
        self.maps * self.groups * self.targets
    }

    /// Weights that meet values.
    pub(super) fn met_weights(&self) -> f64 {
        self.groups * self.targets * self.sources * self.taps()
    }

    /// Lines that plain loops multiply with one weight.
    pub(super) fn runs(&self) -> f64 {
        self.maps * self.weights * self.height.input as f64
    }

    /// The rows of a tile if so many are cut evenly.
    pub(super) fn tile_rows(&self, all: usize) -> f64 {
        all.div_ceil(all.div_ceil(self.rows)) as f64
    }

    /// Vectors of a [pass](crate::pass) over maps of so many cells, of all maps.
    pub(super) fn pass_vectors(&self, [rows, columns]: [usize; 2]) -> f64 {
        if self.has_small_maps(rows * columns) {
            return (self.maps * (rows * columns) as f64 / self.lanes as f64).ceil();
        }
        let across = (rows - 1) * (columns + self.width.reach) + columns;
        let vectors = across
            .div_ceil(self.lanes)
            .min(rows * columns.div_ceil(self.lanes));
        self.maps * vectors as f64
    }

    /// Whether a pass takes several maps at once.
    pub(super) fn has_small_maps(&self, cells: usize) -> bool {
        cells < VECTORS * self.lanes && self.problem.batch > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::plan::{Choices, Plan};
    use crate::tests::random_problem;

    /// The sizes count what a plan has, without making it.
    #[test]
    fn taps_and_products_are_those_of_plans() {
        let mut draw = Draw::new(21);
        for _ in 0..2000 {
            let problem = random_problem(&mut draw);
            for make in [Plan::forward, Plan::grad_input] {
                let plan = make(&problem, Choices::for_panels());
                let axes = problem.axes.iter().zip(&plan.axes);
                // Of a shorter output, some phases are missing, and the taps between those that meet values.
                for (axis, plan) in axes.filter(|(axis, _)| axis.kept().len() >= axis.stride) {
                    let sizes = AxisSizes::new(axis);
                    let products = plan.classes.iter().map(|class| class.taps.len()).sum();
                    assert_eq!(
                        (sizes.in_pairs.is_some(), sizes.panel_products()),
                        (plan.paired, products),
                        "{axis:?}"
                    );
                }
            }
        }
    }
}
