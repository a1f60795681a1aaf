//! From a map's products to the output.

use super::Scatter;
use crate::element::Element;
use crate::meetings::each_tap;
use crate::problem::Axis;

/// Where the values and the taps of an axis meet.
pub(super) fn places(axis: &Axis) -> Vec<usize> {
    let place = |i: usize, tap: usize| {
        let full = i * axis.stride + (axis.kernel - 1 - tap) * axis.dilation;
        // What is cropped at the beginning wraps to a number that is past every output.
        full.wrapping_sub(axis.crop_begin)
    };
    (0..axis.input)
        .flat_map(|i| (0..axis.kernel).map(move |tap| place(i, tap)))
        .collect()
}

impl<T: Element> Scatter<'_, T> {
    /// Adds a map's products, `[position][tap]`, to their places.
    #[inline(always)]
    pub(super) fn add_taps(&self, products: &[T], stride: usize, output: &mut [T]) {
        let [height, width] = &self.problem.axes;
        let rows = self.places[0].chunks(height.kernel).enumerate();
        for (i, rows) in rows {
            for (j, columns) in self.places[1].chunks(width.kernel).enumerate() {
                let products = &products[(i * width.input + j) * stride..];
                let products = products.chunks(width.kernel);
                for (&row, products) in rows.iter().zip(products) {
                    if row < height.output {
                        let output = &mut output[row * width.output..][..width.output];
                        for (&column, product) in columns.iter().zip(products) {
                            if let Some(sum) = output.get_mut(column) {
                                *sum += *product;
                            }
                        }
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
