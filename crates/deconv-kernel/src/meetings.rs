//! Where taps and values meet: which inputs, and which outputs they reach.

use crate::problem::{Axis, Problem};

/// One tap on one axis: `count` inputs from `input` on meet it, and the outputs from `output` on, a
/// stride apart.
pub(crate) struct Meeting {
    tap: usize,
    input: usize,
    output: usize,
    count: usize,
}

/// The meetings of all taps that meet an input. Their divisions take as long as some products, so a call lists
/// them once.
pub(crate) fn meetings(axis: &Axis) -> Vec<Meeting> {
    let meeting = |tap: usize| {
        // Input `i` stands at `at + i * stride` of the output.
        let at = (axis.kernel - 1 - tap) * axis.dilation;
        let (begin, stride) = (axis.crop_begin, axis.stride);
        let input = begin.saturating_sub(at).div_ceil(stride).min(axis.input);
        let end = (begin + axis.output)
            .saturating_sub(at)
            .div_ceil(stride)
            .min(axis.input);
        Meeting {
            tap,
            input,
            output: (at + input * stride).saturating_sub(begin),
            count: end.saturating_sub(input),
        }
    };
    let taps = (0..axis.kernel).map(meeting);
    taps.filter(|meeting| meeting.count > 0).collect()
}

/// A row of one map and a tap: `count` inputs from `input` on meet the tap, and reach every
/// `output_step`th output from `output` on.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) count: usize,
    pub(crate) output_step: usize,
}

/// The rows of a map that meet a tap.
pub(crate) struct RowsOfTap {
    next: usize,
    count: usize,
    first: Row,
    /// From a row to the next.
    input_step: usize,
    output_step: usize,
}

impl Iterator for RowsOfTap {
    type Item = Row;

    #[inline(always)]
    fn next(&mut self) -> Option<Row> {
        if self.next == self.count {
            return None;
        }
        let row = Row {
            input: self.first.input + self.next * self.input_step,
            output: self.first.output + self.next * self.output_step,
            ..self.first
        };
        self.next += 1;
        Some(row)
    }
}

/// Calls `f` for each tap with the rows of a map that meet it.
#[inline(always)]
pub(crate) fn each_tap(
    problem: &Problem,
    meetings: &[Vec<Meeting>; 2],
    mut f: impl FnMut(usize, RowsOfTap),
) {
    let [height, width] = &problem.axes;
    for y in &meetings[0] {
        for x in &meetings[1] {
            let rows = RowsOfTap {
                next: 0,
                count: y.count,
                first: Row {
                    input: y.input * width.input + x.input,
                    output: y.output * width.output + x.output,
                    count: x.count,
                    output_step: width.stride,
                },
                input_step: width.input,
                output_step: height.stride * width.output,
            };
            f(y.tap * width.kernel + x.tap, rows);
        }
    }
}
