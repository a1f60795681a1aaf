//! The output on backends without kernels of ours, such as LibTorch and remote devices: Burn's
//! `conv_transpose2d` computes it, and a slice does the part of the crop that is not symmetric.

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Tensor, s};

use crate::{AxisGeometry, Geometry, KernelLayout};

pub(crate) fn deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    geometry: &Geometry,
) -> Tensor<4> {
    let axes = geometry.axes();
    let options = ConvTransposeOptions::new(
        axes.map(AxisGeometry::stride),
        axes.map(symmetric_crop),
        // Zeros are appended where the crop is negative.
        axes.map(|axis| (-axis.crop_end()).max(0) as usize),
        geometry.dilation(),
        geometry.groups(),
    );
    let weight = KernelLayout::Burn.from_article(weight, geometry.groups());
    let weight = weight.expect("the geometry checked the groups");
    let output = conv_transpose2d(input, weight, bias, options);

    let [rows, columns] = axes.map(|axis| {
        let begin = axis.crop_begin() - symmetric_crop(axis);
        begin..begin + axis.output()
    });
    output.slice(s![.., .., rows, columns])
}

/// The rows that are cropped at both ends.
fn symmetric_crop(axis: &AxisGeometry) -> usize {
    axis.crop_begin().min(axis.crop_end().max(0) as usize)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::Algorithm;
    use crate::common::{Case, Values, ours, run};

    /// The backends that need it are not on every machine, so Flex stands in for them.
    #[test]
    fn output_and_gradients_are_those_of_the_explicit_steps() {
        let device = Device::flex().autodiff();
        for case in Case::random(1, 200) {
            let values = Values::draw(&case);
            let explicit = ours(&case, Algorithm::Explicit);
            let expected = run(&case, &values, &device, DType::F32, explicit);
            let geometry = case.geometry();
            let fallback = |input, weight, bias| deconv2d(input, weight, bias, &geometry);
            let got = run(&case, &values, &device, DType::F32, fallback);
            assert_eq!(got, expected, "{case:?}");
        }
    }
}
