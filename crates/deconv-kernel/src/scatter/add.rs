//! From a map's products to the output.

use super::Scatter;
use crate::element::Element;
use crate::meetings::each_tap;
use crate::problem::Axis;

/// The places of the output that a value of an axis reaches: with the taps from `tap` on, `place` and those before it,
/// a dilation apart.
#[derive(Default)]
pub(super) struct Reach {
    tap: usize,
    place: usize,
    count: usize,
}

/// What each value of an axis reaches.
pub(super) fn reaches(axis: &Axis) -> Vec<Reach> {
    let of_value = |i: usize| {
        let mut reach = Reach::default();
        for tap in 0..axis.kernel {
            let full = i * axis.stride + (axis.kernel - 1 - tap) * axis.dilation;
            // What is cropped at the beginning wraps to a number that is past every output.
            let place = full.wrapping_sub(axis.crop_begin);
            if place < axis.output {
                if reach.count == 0 {
                    (reach.tap, reach.place) = (tap, place);
                }
                reach.count += 1;
            }
        }
        reach
    };
    (0..axis.input).map(of_value).collect()
}

impl<T: Element> Scatter<'_, T> {
    /// Adds a map's products, `[position][tap]`, to their places.
    #[inline(always)]
    pub(super) fn add_taps(&self, products: &[T], stride: usize, output: &mut [T]) {
        let [height, width] = &self.problem.axes;
        for (i, y) in self.reaches[0].iter().enumerate() {
            for (j, x) in self.reaches[1].iter().enumerate() {
                let products = &products[(i * width.input + j) * stride..];
                for row in 0..y.count {
                    let products = &products[(y.tap + row) * width.kernel + x.tap..][..x.count];
                    let mut at = (y.place - row * height.dilation) * width.output + x.place;
                    for product in products {
                        output[at] += *product;
                        at = at.wrapping_sub(width.dilation);
                    }
                }
            }
        }
    }

    /// Adds a map's products, `[tap][position]`, to their places.
    #[inline(always)]
    pub(super) fn add_positions(&self, products: &[T], stride: usize, output: &mut [T]) {
        each_tap(self.problem, &self.meetings, |tap, rows| {
            let products = &products[tap * stride..];
            for row in rows {
                let sums = output[row.output..].iter_mut().step_by(row.output_step);
                for (sum, product) in sums.zip(&products[row.input..][..row.count]) {
                    *sum += *product;
                }
            }
        });
    }
}
