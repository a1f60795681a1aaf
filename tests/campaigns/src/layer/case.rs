//! A random layer with legal sizes, and its values.

use burn_deconv::{Deconv2dOptions, Padding};

use super::MAX_PRODUCTS;
use super::sizes::{Window, window};
use crate::draw::{Draw, Sizes};

/// A layer with legal sizes.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) sizes: Sizes,
    pub(super) padding: Padding,
    pub(super) padding_out: [usize; 2],
    pub(super) output_size: Option<[usize; 2]>,
    /// Output length and crop at the beginning, by the independent formula.
    pub(super) windows: [Window; 2],
}

impl Layer {
    pub(super) fn random(draw: &mut Draw) -> Self {
        loop {
            let sizes = draw.sizes();
            if sizes.products() > MAX_PRODUCTS {
                continue;
            }
            let steps = sizes.axes.map(|axis| axis.stride.max(axis.dilation));
            let crops = sizes
                .axes
                .map(|axis| axis.input * axis.stride + axis.kernel * axis.dilation);
            let [top, left] = crops.map(|length| draw.below(length));
            let [bottom, right] = crops.map(|length| draw.below(length));
            let explicit = Padding::Explicit(top, left, bottom, right);
            let padding = draw.pick(&[Padding::Same, Padding::SameLower, Padding::Valid, explicit]);
            let mut layer = Self {
                sizes,
                padding,
                padding_out: [0, 0],
                output_size: None,
                windows: [Window::default(); 2],
            };
            if padding == explicit {
                layer.padding_out = steps.map(|step| draw.below(step));
            }
            let mut windows = [0, 1].map(|i| layer.window(i));
            if let [Some(height), Some(width)] = windows
                && draw.below(2) == 0
            {
                let defaults = [height.output, width.output];
                layer.padding_out = [0, 0];
                layer.output_size = Some([0, 1].map(|i| {
                    let more = defaults[i] + draw.below(steps[i]);
                    more.saturating_sub(draw.below(steps[i]))
                }));
                windows = [0, 1].map(|i| layer.window(i));
            }
            // Many random crops and output sizes are not legal.
            if let [Some(height), Some(width)] = windows {
                layer.windows = [height, width];
                return layer;
            }
        }
    }

    fn window(&self, i: usize) -> Option<Window> {
        let axis = self.sizes.axes[i];
        let lengths = [axis.input, axis.kernel, axis.stride, axis.dilation];
        let asked = self.output_size.map(|size| size[i]);
        window(lengths, self.padding, self.padding_out[i], asked, i)
    }

    pub(super) fn options(&self) -> Deconv2dOptions {
        Deconv2dOptions::new()
            .with_stride(self.sizes.axes.map(|axis| axis.stride))
            .with_dilation(self.sizes.axes.map(|axis| axis.dilation))
            .with_groups(self.sizes.groups)
            .with_padding(self.padding)
            .with_padding_out(self.padding_out)
            .with_output_size(self.output_size)
    }

    pub(super) fn input_shape(&self) -> [usize; 4] {
        let [height, width] = self.sizes.axes;
        [self.sizes.batch, self.sizes.c_in, height.input, width.input]
    }

    pub(super) fn weight_shape(&self) -> [usize; 4] {
        let (sizes, [height, width]) = (&self.sizes, self.sizes.axes);
        let c_in_per_group = sizes.c_in / sizes.groups;
        [sizes.c_out, c_in_per_group, height.kernel, width.kernel]
    }

    pub(super) fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.windows;
        [
            self.sizes.batch,
            self.sizes.c_out,
            height.output,
            width.output,
        ]
    }
}

pub(super) struct Values {
    pub(super) finite: bool,
    pub(super) input: Vec<f64>,
    pub(super) weight: Vec<f64>,
    pub(super) bias: Vec<f64>,
    pub(super) grad_output: Vec<f64>,
}

impl Values {
    pub(super) fn random(draw: &mut Draw, layer: &Layer, special: bool) -> Self {
        let mut numbers = |count: usize| {
            let mut numbers = draw.whole_numbers(count);
            if special && draw.below(2) == 0 {
                let at = draw.below(count);
                numbers[at] = draw.pick(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0]);
            }
            numbers
        };
        let mut values = Self {
            finite: true,
            input: numbers(layer.input_shape().iter().product()),
            weight: numbers(layer.weight_shape().iter().product()),
            bias: numbers(layer.sizes.c_out),
            grad_output: numbers(layer.output_shape().iter().product()),
        };
        let all = [
            &values.input,
            &values.weight,
            &values.bias,
            &values.grad_output,
        ];
        values.finite = all
            .iter()
            .all(|numbers| numbers.iter().all(|number| number.is_finite()));
        values
    }
}
