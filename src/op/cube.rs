//! The passes on CubeCL's backends: wgpu, Vulkan, Metal, CUDA, ROCm and CubeCL's own CPU runtime.
//! This file lays the tensors out and launches the kernels of `cube/kernels.rs`.
//!
//! Sums are computed in f32 for half-precision tensors, and each is rounded once.

mod kernels;
#[cfg(feature = "autotune")]
mod tune;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, FloatDType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::calculate_cube_count_elemwise;
use burn_cubecl::cubecl::ir::AddressType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::{permute, permute_nchw_to_nhwc, permute_nhwc_to_nchw, reshape};
use burn_cubecl::tensor::CubeTensor;
use serde::{Deserialize, Serialize};

use super::Passes;
use crate::{AxisGeometry, Geometry};
use kernels::{AxisLaunch, GatherArgsLaunch, GradWeightArgsLaunch};

/// Positions of a row in one unit of `gather`.
const PIXELS: usize = 4;

/// The gradient of a small weight has few sums. Its maps are divided into parts until it has this
/// many units. The parts' sums take at most 2 MiB then, since a unit has 16 sums or fewer.
const GRAD_WEIGHT_UNITS: usize = 1 << 13;

impl Passes for CubeBackend {
    /// In memory, `[n, h, w, c]`, as Burn's own convolutions leave their maps.
    fn in_order(map: FloatTensor<Self>) -> FloatTensor<Self> {
        permute_nhwc_to_nchw(into_contiguous(permute_nchw_to_nhwc(map)))
    }

    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        fastest((Pass::Forward, input, weight, None, geometry))
    }

    fn forward_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        fastest((Pass::Forward, input, weight, Some(bias), geometry))
    }

    fn grad_input(
        weight: FloatTensor<Self>,
        grad_output: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        fastest((Pass::GradInput, weight, grad_output, None, geometry))
    }

    fn grad_weight(
        input: FloatTensor<Self>,
        grad_output: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        fastest((Pass::GradWeight, input, grad_output, None, geometry))
    }

    /// In two steps, because one sum over all positions would be a long loop in few units. (Mesa's
    /// software device even ends a loop after 65,535 turns.)
    fn grad_bias(grad_output: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        let [n, c_out, h, w] = geometry.output_shape();
        let positions = n * h * w;
        let divides = |parts: &usize| positions.is_multiple_of(*parts);
        let parts = (1..=positions.isqrt()).rev().find(divides).unwrap_or(1);
        let dtype = grad_output.dtype;
        let rows = cast(permute_nchw_to_nhwc(grad_output), sum_type(dtype));
        let rows = reshape(rows, Shape::new([parts, positions / parts, c_out]));
        let sums = Self::float_sum_dim(Self::float_sum_dim(rows, 1), 0);
        cast(reshape(sums, Shape::new([c_out])), dtype)
    }
}

/// A pass with its two tensors, and the bias of a forward pass. A tuple, because CubeCL's tuner takes
/// its inputs as one.
type Call = (Pass, CubeTensor, CubeTensor, Option<CubeTensor>, Geometry);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Pass {
    Forward,
    GradInput,
    GradWeight,
}

#[cfg(feature = "autotune")]
use tune::fastest;

/// Without `autotune`, nothing is timed.
#[cfg(not(feature = "autotune"))]
fn fastest(call: Call) -> CubeTensor {
    compute(call)
}

fn compute((pass, first, second, bias, geometry): Call) -> CubeTensor {
    match pass {
        Pass::Forward => forward(first, second, bias, &geometry),
        Pass::GradInput => grad_input(first, second, &geometry),
        Pass::GradWeight => grad_weight(first, second, &geometry),
    }
}

fn forward(
    input: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    geometry: &Geometry,
) -> CubeTensor {
    let [c_in, c_out] = per_group(geometry);
    // [k_h, k_w, c_in / groups, c_out]
    let weight = into_contiguous(permute(weight, &[2, 3, 1, 0]));
    let gather = Gather {
        axes: geometry.axes().map(AxisLaw::to_output),
        c_source: c_in,
        c_result: c_out,
        groups: geometry.groups(),
        rows: c_in,
        columns: c_out * geometry.groups(),
        group_rows: 0,
        skipped_columns: 0,
    };
    let bias = bias.map(into_contiguous);
    gather.launch(input, weight, bias, geometry.output_shape())
}

fn grad_input(weight: CubeTensor, grad_output: CubeTensor, geometry: &Geometry) -> CubeTensor {
    let [c_in, c_out] = per_group(geometry);
    // [k_h, k_w, c_out, c_in / groups]
    let weight = into_contiguous(permute(weight, &[2, 3, 0, 1]));
    let gather = Gather {
        axes: geometry.axes().map(AxisLaw::to_input),
        c_source: c_out,
        c_result: c_in,
        groups: geometry.groups(),
        rows: c_out * geometry.groups(),
        columns: c_in,
        group_rows: c_out,
        skipped_columns: c_in,
    };
    gather.launch(grad_output, weight, None, geometry.input_shape())
}

/// `[c_in, c_out]` of one group.
fn per_group(geometry: &Geometry) -> [usize; 2] {
    geometry
        .channels()
        .map(|channels| channels / geometry.groups())
}

/// [`kernels::Axis`], on the host.
#[derive(Clone, Copy)]
struct AxisLaw {
    up: usize,
    down: usize,
    per_tap: isize,
    offset: isize,
    taps: usize,
    tap_step: usize,
    source: usize,
    result: usize,
}

impl AxisLaw {
    /// From the input to the output.
    fn to_output(axis: &AxisGeometry) -> Self {
        let (stride, dilation) = (axis.stride(), axis.dilation());
        Self {
            up: 1,
            down: stride,
            per_tap: -(dilation as isize),
            offset: axis.crop_begin() as isize,
            taps: axis.kernel(),
            tap_step: stride / greatest_common_divisor(stride, dilation),
            source: axis.input(),
            result: axis.output(),
        }
    }

    /// From the output to the input.
    fn to_input(axis: &AxisGeometry) -> Self {
        Self {
            up: axis.stride(),
            down: 1,
            per_tap: axis.dilation() as isize,
            offset: -(axis.crop_begin() as isize),
            taps: axis.kernel(),
            tap_step: 1,
            source: axis.output(),
            result: axis.input(),
        }
    }

    fn launch(self) -> AxisLaunch {
        AxisLaunch::new(
            self.up as i32,
            self.down as i32,
            self.per_tap as i32,
            self.offset as i32,
            self.taps as i32,
            self.tap_step as i32,
            self.source as i32,
            self.result as i32,
        )
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => greatest_common_divisor(b, a % b),
    }
}

/// A launch of [`kernels::gather`], whose arguments these are.
struct Gather {
    axes: [AxisLaw; 2],
    c_source: usize,
    c_result: usize,
    groups: usize,
    rows: usize,
    columns: usize,
    group_rows: usize,
    skipped_columns: usize,
}

impl Gather {
    /// `shape` is that of the result, `[n, c, h, w]`.
    fn launch(
        self,
        source: CubeTensor,
        weight: CubeTensor,
        bias: Option<CubeTensor>,
        shape: [usize; 4],
    ) -> CubeTensor {
        let [n, c, h, w] = shape;
        let source = permute_nchw_to_nhwc(source);
        let result = empty(&source, [n, h, w, c].into(), source.dtype);
        let (vector_source, vector_result) =
            (vector_size(self.c_source), vector_size(self.c_result));

        let [height, width] = self.axes;
        let tiles = w.div_ceil(width.down).div_ceil(PIXELS);
        let units = n * h * tiles * width.down * (c / vector_result);
        let cube_dim = CubeDim::new(&source.client, units);
        let bytes = [&source, &weight, &result].map(CubeTensor::required_address_type);
        kernels::gather::launch(
            &result.client,
            calculate_cube_count_elemwise(&source.client, units, cube_dim),
            cube_dim,
            bytes.into_iter().max().unwrap_or(AddressType::U32),
            vector_source,
            vector_result,
            source.clone().into_tensor_arg(),
            weight.into_tensor_arg(),
            bias.map(|bias| bias.into_buffer_arg()).into(),
            result.clone().into_tensor_arg(),
            GatherArgsLaunch::new(
                height.launch(),
                width.launch(),
                self.c_source,
                self.c_result,
                self.groups,
                tiles,
                self.rows,
                self.columns,
                self.group_rows,
                self.skipped_columns,
                units,
            ),
            PIXELS,
            dtype_to_storage_type(source.dtype),
            dtype_to_storage_type(sum_type(source.dtype)),
        );
        permute_nhwc_to_nchw(result)
    }
}

fn grad_weight(input: CubeTensor, grad_output: CubeTensor, geometry: &Geometry) -> CubeTensor {
    let [c_in, c_out] = per_group(geometry);
    let [_, _, k_h, k_w] = geometry.weight_shape();
    let [_, channels_out] = geometry.channels();
    let (input, grad_output) = (
        permute_nchw_to_nhwc(input),
        permute_nchw_to_nhwc(grad_output),
    );
    let (dtype, sums) = (input.dtype, sum_type(input.dtype));
    let (vector_in, vector_out) = (vector_size(c_in), vector_size(c_out));

    let [height, width] = geometry.axes().map(AxisLaw::to_input);
    let tiles = k_h * k_w * (c_in / vector_in) * (channels_out / vector_out);
    let rows = geometry.batch() * height.result;
    let part = rows.div_ceil(GRAD_WEIGHT_UNITS.div_ceil(tiles).min(rows));
    let parts = rows.div_ceil(part);
    let shape = [parts, k_h, k_w, c_in, channels_out];
    let result = empty(&input, shape.into(), sums);

    let units = parts * tiles;
    let cube_dim = CubeDim::new(&input.client, units);
    let bytes = [&input, &grad_output, &result].map(CubeTensor::required_address_type);
    kernels::grad_weight::launch(
        &result.client,
        calculate_cube_count_elemwise(&input.client, units, cube_dim),
        cube_dim,
        bytes.into_iter().max().unwrap_or(AddressType::U32),
        vector_in,
        vector_out,
        input.clone().into_tensor_arg(),
        grad_output.into_tensor_arg(),
        result.clone().into_tensor_arg(),
        GradWeightArgsLaunch::new(
            height.launch(),
            width.launch(),
            c_in,
            c_out,
            geometry.groups(),
            rows,
            part,
            units,
        ),
        dtype_to_storage_type(dtype),
        dtype_to_storage_type(sums),
    );

    let result = match parts {
        1 => result,
        _ => CubeBackend::float_sum_dim(result, 0),
    };
    let result = reshape(result, Shape::new([k_h, k_w, c_in, channels_out]));
    permute(cast(result, dtype), &[3, 2, 0, 1])
}

/// The type of the sums of tensors of this type.
fn sum_type(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ => dtype,
    }
}

fn cast(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    if tensor.dtype == dtype {
        return tensor;
    }
    CubeBackend::float_cast(tensor, FloatDType::from(dtype))
}

/// The largest vector that divides this number of channels. Four f32 fill the 16 bytes that a GPU
/// loads at once.
fn vector_size(channels: usize) -> usize {
    match channels % 4 {
        0 => 4,
        2 => 2,
        _ => 1,
    }
}

/// A tensor on the device of `tensor`.
fn empty(tensor: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}
