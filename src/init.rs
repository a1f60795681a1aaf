//! Initial values for upsampling: [`bilinear`] and [`icnr`].
//!
//! Each makes a layer from a config, as [`Deconv2dLayerConfig::try_init`] does. They are functions,
//! because Burn's `Initializer` is a closed list of distributions that do not know the stride.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::geometry::check_parameters;
use crate::{Axis, Deconv2dError, Deconv2dLayer, Deconv2dLayerConfig};

/// Initializes a layer that interpolates each channel of its input bilinearly. Its bias is zero.
///
/// Output channel `i` depends only on input channel `i`. `groups` does not change the output.
///
/// This is bilinear upsampling that trains. The layer starts as an interpolation and learns a
/// better kernel; with `set_require_grad(false)` on its weight it stays one, and gradients pass
/// through it. Burn 0.22.1's own `Interpolate2d` differentiates `Linear` and `Cubic` on its backend
/// Flex. On NdArray and on every CubeCL backend (CUDA, ROCm, wgpu, Metal, Vulkan), its backward pass
/// has the nearest neighbour only, and panics with the others
/// ([burn#3863](https://github.com/tracel-ai/burn/issues/3863)).
///
/// # Formula
///
/// ```text
/// weight[o, i, y, x] = triangle_h(y) * triangle_w(x) from a channel to itself, otherwise 0
/// triangle(t)        = max(0, 1 - |t - (k - 1) / 2| / s)
/// ```
///
/// So the output at `q` is the linear interpolation of the input at
///
/// ```text
/// p = (q + b - (k - 1) / 2) / s      where b is cropped at the beginning
/// ```
///
/// With `b = (k - s) / 2` this is `p = (q + 1 / 2) / s - 1 / 2`, the resize of PyTorch with
/// `align_corners=False` and of TensorFlow. [`Padding::Same`](crate::Padding::Same) has this `b` if
/// `k - s` is even, for example with the usual `k = 2 * s - s % 2`, the shortest kernel that holds
/// the whole triangle. Other kernel sizes and crops also interpolate, at points that are shifted by
/// a fraction of a pixel. The article's kernel 3 at stride 2 gives `p = (q - 1) / 2`, so every
/// second output is an input.
///
/// **At the border** the layer sees zeros outside the input, where a resize repeats the last value.
/// So outputs with `p < 0` or `p > h - 1` fall off towards zero. With the crop of a resize these
/// are `s / 2` outputs, rounded down, on each side.
///
/// Shelhamer, Long and Darrell, *Fully Convolutional Networks for Semantic Segmentation*,
/// [arXiv:1605.06211](https://arxiv.org/abs/1605.06211), initialize their upsampling layers this
/// way.
///
/// # Errors
///
/// All errors of [`Deconv2dLayerConfig::try_init`]; a kernel shorter than `2 * s - 1`, which does
/// not hold the triangle; a dilation; unequal numbers of channels.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dLayerConfig, init};
///
/// let device = Device::default();
/// let config = Deconv2dLayerConfig::new([1, 1], [4, 1]).with_stride([2, 1]);
/// let layer = init::bilinear(&config, &device)?;
///
/// let column = Tensor::<4>::from_data([[[[0.], [4.], [8.]]]], &device);
/// let output = layer.forward(column).into_data();
/// assert_eq!(output.as_slice::<f32>().unwrap(), [0., 1., 3., 5., 7., 6.]);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn bilinear(
    config: &Deconv2dLayerConfig,
    device: &Device,
) -> Result<Deconv2dLayer, Deconv2dError> {
    check_parameters(config.channels, config.kernel_size, &config.options(None))?;
    let [c_in, c_out] = config.channels;
    if c_in != c_out {
        let channels = config.channels;
        return Err(Deconv2dError::BilinearChannels { channels });
    }
    for axis in [Axis::Height, Axis::Width] {
        check_dilation("bilinear", config, axis)?;
        let (kernel, stride) = (
            config.kernel_size[axis as usize],
            config.stride[axis as usize],
        );
        if kernel < stride.saturating_mul(2) - 1 {
            return Err(Deconv2dError::BilinearKernel {
                axis,
                kernel,
                stride,
            });
        }
    }

    let shape @ [.., c_per_group, k_h, k_w] = config.weight_shape();
    let [rows, columns] = [0, 1].map(|i| triangle(config.kernel_size[i], config.stride[i]));
    let mut weight = vec![0.0; shape.iter().product()];
    for o in 0..c_out {
        let kernel = (o * c_per_group + o % c_per_group) * k_h * k_w;
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                weight[kernel + y * k_w + x] = row * column;
            }
        }
    }
    let bias = vec![0.0; c_out];
    Ok(Deconv2dLayer {
        weight: Param::from_data(TensorData::new(weight, shape), device),
        bias: config
            .bias
            .then(|| Param::from_data(TensorData::new(bias, [c_out]), device)),
        config: config.clone(),
    })
}

/// The taps of a triangle of half-width `stride`, in the middle of `kernel` taps.
fn triangle(kernel: usize, stride: usize) -> Vec<f64> {
    let middle = (kernel - 1) as f64 / 2.0;
    (0..kernel)
        .map(|tap| (1.0 - (tap as f64 - middle).abs() / stride as f64).max(0.0))
        .collect()
}

/// Initializes a layer whose phases have the same random kernel, so its first outputs have no
/// checkerboard. Each `s_h * s_w` block of the full map has one value, as if a smaller map were
/// enlarged to the nearest neighbour.
///
/// # Formula
///
/// ```text
/// weight[o, i, y, x] = kernel[o, i, y / s_h, x / s_w]      rounded down
/// ```
///
/// The config's initializer makes the bias and the random `kernel`, of the size `[k_h / s_h, k_w /
/// s_w]`, when they are first used. It gets the fans of the config. [`Fan::Taps`](crate::Fan::Taps)
/// is the `fan_in` of `kernel`. Training makes the phases different.
///
/// Aitken et al., *Checkerboard artifact free sub-pixel convolution*,
/// [arXiv:1707.02937](https://arxiv.org/abs/1707.02937), copy one kernel to the `s * s` channels
/// before a pixel shuffle. Those channels are the phases of a transposed convolution (Shi et al.,
/// [arXiv:1609.07009](https://arxiv.org/abs/1609.07009)).
///
/// # Errors
///
/// All errors of [`Deconv2dLayerConfig::try_init`]; a kernel size that the stride does not divide,
/// so the phases have kernels of unequal sizes; a dilation, which shifts these kernels against each
/// other.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dLayerConfig, init};
///
/// let device = Device::default();
/// let config = Deconv2dLayerConfig::new([3, 1], [2, 2]);
/// let layer = init::icnr(&config, &device)?;
///
/// let output = layer.forward(Tensor::ones([1, 3, 1, 1], &device)).into_data();
/// let block = output.as_slice::<f32>().unwrap();
/// assert!(block.iter().all(|value| *value == block[0]));
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn icnr(config: &Deconv2dLayerConfig, device: &Device) -> Result<Deconv2dLayer, Deconv2dError> {
    let layer = config.try_init(device)?;
    let stride = config.stride;
    for axis in [Axis::Height, Axis::Width] {
        check_dilation("ICNR", config, axis)?;
        let (kernel, stride) = (config.kernel_size[axis as usize], stride[axis as usize]);
        if !kernel.is_multiple_of(stride) {
            return Err(Deconv2dError::IcnrKernel {
                axis,
                kernel,
                stride,
            });
        }
    }

    let shape @ [c_out, c_in_per_group, k_h, k_w] = config.weight_shape();
    let small = [c_out, c_in_per_group, k_h / stride[0], k_w / stride[1]];
    let [fan_in, fan_out] = config.fans().map(Some);
    let initializer = config.initializer.clone();
    let make_weight = move |device: &Device, require_grad: bool| {
        let kernel = initializer.init_with(small, fan_in, fan_out, device);
        let weight = repeat_each(kernel.into_value(), stride).detach();
        weight.set_require_grad(require_grad)
    };
    let (id, device) = (ParamId::new(), device.clone());
    Ok(Deconv2dLayer {
        weight: Param::uninitialized(id, make_weight, device, true, Shape::from(shape)),
        ..layer
    })
}

/// Repeats each row `times[0]` and each column `times[1]` times.
fn repeat_each(kernel: Tensor<4>, times: [usize; 2]) -> Tensor<4> {
    let [o, i, h, w] = kernel.dims();
    let [t_h, t_w] = times;
    kernel
        .reshape([o, i, h, 1, w, 1])
        .expand([o, i, h, t_h, w, t_w])
        .reshape([o, i, h * t_h, w * t_w])
}

fn check_dilation(
    initialisation: &'static str,
    config: &Deconv2dLayerConfig,
    axis: Axis,
) -> Result<(), Deconv2dError> {
    let dilation = config.dilation[axis as usize];
    if dilation == 1 {
        return Ok(());
    }
    Err(Deconv2dError::InitialisationDilation {
        initialisation,
        axis,
        dilation,
    })
}
