//! With the feature `autotune`, CubeCL times our kernels and Burn's on the first call of a size, and
//! keeps the faster. So no layer is slower than Burn's, and those that Burn's tensor-core kernels suit
//! have them.
//!
//! Burn's kernels are those of its convolution, in other roles: the transposed convolution is the
//! convolution's gradient with respect to its input, and the other way round.

use burn::backend::ops::FloatTensorOps;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::AutotuneKey;
use burn_cubecl::cubecl::tune::{LocalTuner, Tunable, TunableSet, local_tuner};
use burn_cubecl::kernel::conv::{
    ConvStrategy, conv_data_backward, conv_forward, conv_weight_backward,
};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeTuneId};
use serde::{Deserialize, Serialize};

use super::{Call, Pass, compute, per_group};
use crate::{AxisGeometry, Geometry};

/// The result of a pass, from the faster kernels.
pub fn fastest(call: Call) -> CubeTensor {
    static TUNER: LocalTuner<Key, CubeTuneId> = local_tuner!();

    let (client, device) = (call.1.client.clone(), call.1.device.clone());
    let id = CubeTuneId::new(&client, &device);
    let candidates = TUNER.init(&id, || {
        TunableSet::new(Key::of, |_: &Key, call: &Call| call.clone())
            .with(Tunable::new("ours", |call: Call| {
                Ok::<_, String>(compute(call))
            }))
            .with(Tunable::new("burn", burns))
    });
    TUNER.execute(&id, &client, candidates, call)
}

/// Calls with the same key have the same fastest kernels.
#[derive(Hash, Eq, PartialEq, Debug, Clone, Serialize, Deserialize, AutotuneKey)]
struct Key {
    pass: Pass,
    dtype: DType,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    crop_begin: [usize; 2],
    crop_end: [isize; 2],
    groups: usize,
    has_bias: bool,
    #[autotune(anchor)]
    c_in: usize,
    #[autotune(anchor)]
    c_out: usize,
    #[autotune(anchor)]
    height: usize,
    #[autotune(anchor)]
    width: usize,
    #[autotune(anchor)]
    batch: usize,
}

impl Key {
    fn of((pass, tensor, _, bias, geometry): &Call) -> Self {
        let axes = geometry.axes();
        let [height, width] = axes.map(AxisGeometry::input);
        let [c_in, c_out] = geometry.channels();
        Self::new(
            *pass,
            tensor.dtype,
            axes.map(AxisGeometry::kernel),
            axes.map(AxisGeometry::stride),
            geometry.dilation(),
            axes.map(AxisGeometry::crop_begin),
            axes.map(AxisGeometry::crop_end),
            geometry.groups(),
            bias.is_some(),
            c_in,
            c_out,
            height,
            width,
            geometry.batch(),
        )
    }
}

/// The pass by Burn's kernels.
fn burns((pass, first, second, bias, geometry): Call) -> Result<CubeTensor, String> {
    let axes = geometry.axes();
    if axes.iter().any(|axis| axis.crop_end() < 0) {
        return Err("a convolution appends no zeros to its input".to_string());
    }
    let options = ConvOptions::new_with_padding(
        axes.map(AxisGeometry::stride),
        axes.map(|axis| (axis.crop_begin(), axis.crop_end() as usize)),
        geometry.dilation(),
        geometry.groups(),
    );
    let strategy = ConvStrategy::default();
    let result = match pass {
        Pass::Forward => {
            let weight = swap_channels(second, &geometry);
            let shape = Shape::new(geometry.output_shape());
            conv_data_backward(first, weight, shape, options, strategy)
        }
        Pass::GradInput => {
            let weight = swap_channels(first, &geometry);
            conv_forward(second, weight, None, options, strategy)
        }
        Pass::GradWeight => {
            let [c_in, c_out] = per_group(&geometry);
            let [_, _, k_h, k_w] = geometry.weight_shape();
            let shape = Shape::new([c_in * geometry.groups(), c_out, k_h, k_w]);
            conv_weight_backward(second, first, shape, options, strategy)
                .map(|grad| swap_channels_back(grad, &geometry))
        }
    };
    let result = result.map_err(|error| format!("{error:?}"))?;
    Ok(match bias {
        None => result,
        Some(bias) => {
            let [_, c_out] = geometry.channels();
            CubeBackend::float_add(result, reshape(bias, Shape::new([1, c_out, 1, 1])))
        }
    })
}

/// Our weight, `[c_out, c_in / groups, k_h, k_w]`, as that of the convolution from the output to the
/// input: `[c_in, c_out / groups, k_h, k_w]`, turned by 180 degrees.
fn swap_channels(weight: CubeTensor, geometry: &Geometry) -> CubeTensor {
    let [c_in, c_out] = per_group(geometry);
    swap(weight, [c_out, c_in], geometry)
}

fn swap_channels_back(weight: CubeTensor, geometry: &Geometry) -> CubeTensor {
    let [c_in, c_out] = per_group(geometry);
    swap(weight, [c_in, c_out], geometry)
}

/// `channels` are those of one group, in the order of the weight's shape.
fn swap(weight: CubeTensor, channels: [usize; 2], geometry: &Geometry) -> CubeTensor {
    let ([first, second], groups) = (channels, geometry.groups());
    let [_, _, k_h, k_w] = geometry.weight_shape();
    let turned = CubeBackend::float_flip(weight, &[2, 3]);
    let grouped = reshape(turned, Shape::new([groups, first, second, k_h, k_w]));
    let swapped = CubeBackend::float_swap_dims(grouped, 1, 2);
    reshape(swapped, Shape::new([groups * second, first, k_h, k_w]))
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::backend::DispatchDevice;
    use burn::tensor::{Device, TensorData};
    use burn_cubecl::kernel::into_contiguous;
    use burn_cubecl::ops::into_data_sync;

    use super::*;
    use crate::common::{Draw, symmetric};
    use crate::op::Passes;
    use crate::{Deconv2dOptions, Padding};

    fn tensor(draw: &mut Draw, shape: &[usize]) -> CubeTensor {
        let device = Device::wgpu(Default::default());
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("a wgpu device is CubeCL's");
        };
        let values: Vec<f32> = draw
            .whole_numbers(shape.iter().product())
            .into_iter()
            .map(|x| x as f32)
            .collect();
        CubeBackend::float_from_data(TensorData::new(values, shape.to_vec()), device)
    }

    /// Whichever the tuner takes, the result is the same: all three passes, with groups, dilation
    /// and crops that are not symmetric.
    #[test]
    fn burns_kernels_compute_the_same() {
        let options = Deconv2dOptions::new;
        let cases = [
            ([1, 4, 5, 3], [6, 4, 3, 3], options()),
            ([2, 4, 3, 4], [6, 2, 4, 3], options().with_groups(2)),
            (
                [1, 3, 4, 4],
                [2, 3, 3, 2],
                symmetric([2, 1], [1, 0], [0, 0], [1, 2], 1),
            ),
            (
                [1, 2, 4, 3],
                [4, 1, 4, 5],
                options()
                    .with_padding(Padding::Explicit(1, 0, 0, 2))
                    .with_groups(2),
            ),
        ];
        let draw = &mut Draw::new(1);
        for (input, weight, options) in cases {
            let geometry = Geometry::new(input, weight, &options).unwrap();
            let [x, w, dy] = [input, weight, geometry.output_shape()].map(|s| tensor(draw, &s));
            let [x, dy] = [x, dy].map(CubeBackend::in_order);
            let bias = Some(tensor(draw, &weight[..1]));
            for (pass, first, second, bias) in [
                (Pass::Forward, &x, &w, bias),
                (Pass::GradInput, &w, &dy, None),
                (Pass::GradWeight, &x, &dy, None),
            ] {
                let call = (pass, first.clone(), second.clone(), bias, geometry.clone());
                let (ours, burns) = (compute(call.clone()), burns(call).unwrap());
                let data = |tensor| {
                    let data = into_data_sync(into_contiguous(tensor));
                    data.to_vec::<f32>().unwrap()
                };
                assert_eq!(data(ours), data(burns), "{pass:?} of {options:?}");
            }
        }
    }

    #[test]
    fn appended_zeros_are_ours_alone() {
        let options = symmetric([2, 2], [0, 0], [1, 0], [1, 1], 1);
        let geometry = Geometry::new([1, 1, 2, 2], [1, 1, 2, 2], &options).unwrap();
        let draw = &mut Draw::new(1);
        let (x, w) = (tensor(draw, &[1, 1, 2, 2]), tensor(draw, &[1, 1, 2, 2]));
        let call = (Pass::Forward, CubeBackend::in_order(x), w, None, geometry);
        assert!(burns(call.clone()).is_err());
        assert_eq!(fastest(call).meta.shape().to_vec(), [1, 1, 5, 4]);
    }
}
