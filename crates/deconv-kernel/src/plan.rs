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

mod axis;
mod pairs;

use crate::class::Class;
use crate::problem::Problem;

pub(crate) use self::axis::{AxisClass, AxisPlan, Copied, Phase, Tap, TapSum, forward_taps};

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
    /// channels make a class of many rows. Not for panels.
    pub(crate) merge_phases: bool,
    /// Columns have a copy for each shift, and need no zeros between two lines.
    pub(crate) copy_shifts: bool,
    /// Rows too, and need no zeros between two maps.
    pub(crate) copy_row_shifts: bool,
    /// For [panels](crate::panels): rows and columns have a copy for each shift; cells are in
    /// [pairs](pairs) where taps are neighbours; and a class has one phase or one pair of phases.
    pub(crate) panels: bool,
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

    /// Whether it uses [minimal filtering](pairs).
    pub(crate) fn has_pairs(&self) -> bool {
        self.axes.iter().any(|axis| axis.paired)
    }

    /// Copies of one source channel.
    pub(crate) fn copies(&self) -> usize {
        let [height, width] = &self.axes;
        height.copies.len() * width.copies.len()
    }

    /// Whether the only copy of a channel would be its map as it is.
    pub(crate) fn copies_nothing_else(&self) -> bool {
        let as_it_is = |axis: &AxisPlan| {
            let is_first = |copy: &Copied| (copy.plane, copy.shift) == (0, 0);
            axis.source.step == 1
                && axis.reach == 0
                && axis.cells == axis.source.length
                && axis.copies.iter().all(is_first)
        };
        self.copies() == 1 && !self.has_pairs() && self.axes.iter().all(as_it_is)
    }

    /// Cells of a map of the target.
    pub(crate) fn map_cells(&self) -> usize {
        let [height, width] = &self.axes;
        height.all_cells() * width.all_cells()
    }

    /// Cells of all maps.
    pub(crate) fn cells(&self) -> usize {
        self.problem.batch * self.map_cells()
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
    pub(crate) fn for_panels() -> Self {
        Self {
            panels: true,
            ..Self::default()
        }
    }

    fn for_height(self) -> Self {
        Self {
            copy_shifts: self.copy_row_shifts,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Axis;

    /// Padded as TensorFlow's `SAME` at stride 1: a value meets the taps that are no further from the middle than the
    /// map is long.
    #[test]
    fn taps_that_meet_no_value_are_left_out() {
        for (input, used) in [(1, 1), (2, 3), (3, 5), (4, 7), (9, 7)] {
            let axis = Axis {
                input,
                kernel: 7,
                stride: 1,
                dilation: 1,
                crop_begin: 3,
                output: input,
            };
            let problem = Problem {
                batch: 1,
                groups: 1,
                c_in: 1,
                c_out: 1,
                axes: [axis; 2],
            };
            for make in [Plan::forward, Plan::grad_input] {
                let [class] = &make(&problem, Choices::default()).classes()[..] else {
                    panic!("one phase, one class");
                };
                assert_eq!(class.taps.len(), used * used, "maps of {input}x{input}");
            }
        }
    }
}
