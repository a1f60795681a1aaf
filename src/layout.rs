//! [`KernelLayout`]: who stores what, and the conversions. No other file knows a layout but the
//! layer's own.

use core::fmt;

use burn::tensor::Tensor;
use burn::tensor::{DType, TensorData};
use serde::{Deserialize, Serialize};

use crate::Deconv2dError;
use crate::geometry::check_tensor;

/// In which order a weight's values are stored, and whether its kernels are turned by 180 degrees.
///
/// # Formula
///
/// With `article` a weight of this crate, `[out, in / groups, k_h, k_w]`, and output channel
/// `o = γ * (out / groups) + p` and input channel `c = γ * (in / groups) + i` of the group `γ`:
///
/// ```text
/// burn[c, p, k_h - 1 - y, k_w - 1 - x]       = article[o, i, y, x]
/// tensorflow[k_h - 1 - y, k_w - 1 - x, p, c] = article[o, i, y, x]
/// flax[y, x, c, o]                           = article[o, i, y, x]      groups = 1
/// ```
///
/// The turn is there because Burn, PyTorch, ONNX and TensorFlow define the transposed convolution
/// as the gradient of a convolution and store that convolution's kernel, while this crate, Equinox
/// and Flax store the kernel that slides over the zero-filled map.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::KernelLayout;
///
/// // PyTorch's weight of ConvTranspose2d(in=2, out=1, kernel_size=(1, 3))
/// let pytorch = Tensor::<4>::from_data([[[[1., 2., 3.]]], [[[4., 5., 6.]]]], &Device::default());
/// let article = KernelLayout::PYTORCH.to_article(pytorch, 1)?;
/// assert_eq!(article.dims(), [1, 2, 1, 3]); // [out, in / groups, k_h, k_w]
/// let values = article.into_data();
/// assert_eq!(values.as_slice::<f32>().unwrap(), [3., 2., 1., 6., 5., 4.]);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelLayout {
    /// `[out, in / groups, k_h, k_w]`, as the article and this crate write it: a plain correlation
    /// kernel over the zero-filled map. Equinox' `ConvTranspose2d` too.
    Article,
    /// `[in, out / groups, k_h, k_w]`, turned. Burn's, PyTorch's and ONNX' `ConvTranspose`.
    Burn,
    /// `[k_h, k_w, out / groups, in]`, turned. TensorFlow's `conv2d_transpose` and Keras'
    /// `Conv2DTranspose`; also Flax' `ConvTranspose` with `transpose_kernel=True`.
    TensorFlow,
    /// `[k_h, k_w, in, out]`, not turned. Flax' `ConvTranspose` and `jax.lax.conv_transpose`
    /// without `transpose_kernel`; neither has groups.
    Flax,
}

// The axes of a weight once its groups stand apart, in the order of a `Parts`.
const GROUP: usize = 0;
const OUT: usize = 1;
const IN: usize = 2;
const ROW: usize = 3;
const COLUMN: usize = 4;

/// `[groups, out / groups, in / groups, k_h, k_w]`
type Parts = [usize; 5];

/// All that is known of a layout; every conversion follows from it.
struct Description {
    /// The axes as they are stored. `GROUP` has no axis of its own: it is the slower part of the
    /// axis behind it.
    order: [usize; 5],
    /// Whether rows and columns are stored from the last to the first.
    turned: bool,
}

impl KernelLayout {
    /// PyTorch's `ConvTranspose2d`: [`Burn`](Self::Burn).
    pub const PYTORCH: Self = Self::Burn;
    /// ONNX' `ConvTranspose`: [`Burn`](Self::Burn).
    pub const ONNX: Self = Self::Burn;
    /// Keras' `Conv2DTranspose`: [`TensorFlow`](Self::TensorFlow).
    pub const KERAS: Self = Self::TensorFlow;
    /// Equinox' `ConvTranspose2d`: [`Article`](Self::Article).
    pub const EQUINOX: Self = Self::Article;

    fn description(self) -> Description {
        let (order, turned) = match self {
            Self::Article => ([GROUP, OUT, IN, ROW, COLUMN], false),
            Self::Burn => ([GROUP, IN, OUT, ROW, COLUMN], true),
            Self::TensorFlow => ([ROW, COLUMN, OUT, GROUP, IN], true),
            Self::Flax => ([ROW, COLUMN, IN, GROUP, OUT], false),
        };
        Description { order, turned }
    }

    /// The layout's name and axes, as errors name it.
    fn name(self) -> &'static str {
        match self {
            Self::Article => "Article ([out, in / groups, k_h, k_w])",
            Self::Burn => "Burn ([in, out / groups, k_h, k_w])",
            Self::TensorFlow => "TensorFlow ([k_h, k_w, out / groups, in])",
            Self::Flax => "Flax ([k_h, k_w, in, out])",
        }
    }

    /// Converts a weight of this layout into the layer's own.
    ///
    /// Made of differentiable tensor operations; it runs on the weight's device and keeps its data
    /// type.
    ///
    /// # Shapes
    ///
    /// - weight: this layout's
    /// - result: `[out, in / groups, k_h, k_w]`
    ///
    /// # Errors
    ///
    /// No groups, groups that the layout does not have or that do not divide its channels, and an
    /// axis of zero.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_deconv::{Deconv2dLayerConfig, KernelLayout};
    ///
    /// let device = Device::default();
    /// let mut layer = Deconv2dLayerConfig::new([32, 16], [3, 5]).init(&device);
    /// let keras = Tensor::<4>::ones([3, 5, 16, 32], &device); // from a file
    /// let article = KernelLayout::KERAS.to_article(keras, 1)?;
    /// layer.weight = layer.weight.map(|_| article);
    /// assert_eq!(layer.weight.dims(), [16, 32, 3, 5]);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn to_article(self, weight: Tensor<4>, groups: usize) -> Result<Tensor<4>, Deconv2dError> {
        convert(self, Self::Article, weight, groups)
    }

    /// Converts a weight of the layer into this layout: the way back from
    /// [`to_article`](Self::to_article).
    ///
    /// # Shapes
    ///
    /// - weight: `[out, in / groups, k_h, k_w]`
    /// - result: this layout's
    ///
    /// # Errors
    ///
    /// As [`to_article`](Self::to_article).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_deconv::{Deconv2dLayerConfig, KernelLayout};
    ///
    /// let layer = Deconv2dLayerConfig::new([6, 4], [3, 5]).with_groups(2).init(&Device::default());
    /// let weight = layer.weight.val();
    /// let pytorch = KernelLayout::PYTORCH.from_article(weight.clone(), 2)?;
    /// assert_eq!(pytorch.dims(), [6, 2, 3, 5]);
    ///
    /// let back = KernelLayout::PYTORCH.to_article(pytorch, 2)?;
    /// back.into_data().assert_eq(&weight.into_data(), true);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    // A conversion of the weight, not of the layout.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_article(
        self,
        weight: Tensor<4>,
        groups: usize,
    ) -> Result<Tensor<4>, Deconv2dError> {
        convert(Self::Article, self, weight, groups)
    }

    /// The shape that a weight of the shape `article`, `[out, in / groups, k_h, k_w]`, has in this
    /// layout.
    ///
    /// # Errors
    ///
    /// As [`to_article`](Self::to_article).
    ///
    /// # Example
    ///
    /// ```
    /// use burn_deconv::KernelLayout;
    ///
    /// assert_eq!(KernelLayout::Burn.shape_of([4, 3, 5, 7], 2)?, [6, 2, 5, 7]);
    /// assert_eq!(KernelLayout::TensorFlow.shape_of([4, 3, 5, 7], 2)?, [5, 7, 2, 6]);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn shape_of(self, article: [usize; 4], groups: usize) -> Result<[usize; 4], Deconv2dError> {
        convert_shape(Self::Article, self, article, groups)
    }

    /// The shape, `[out, in / groups, k_h, k_w]`, that a weight of the shape `shape` in this layout
    /// has in the layer: the way back from [`shape_of`](Self::shape_of).
    ///
    /// # Errors
    ///
    /// As [`to_article`](Self::to_article).
    ///
    /// # Example
    ///
    /// ```
    /// use burn_deconv::KernelLayout;
    ///
    /// assert_eq!(KernelLayout::Burn.article_shape([6, 2, 5, 7], 2)?, [4, 3, 5, 7]);
    /// assert_eq!(
    ///     KernelLayout::Burn.article_shape([6, 2, 5, 7], 4).unwrap_err().to_string(),
    ///     "groups must divide the number of in channels of a weight, got 6 in the shape [6, 2, 5, \
    ///      7] of the layout Burn ([in, out / groups, k_h, k_w]) and groups = 4"
    /// );
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn article_shape(
        self,
        shape: [usize; 4],
        groups: usize,
    ) -> Result<[usize; 4], Deconv2dError> {
        convert_shape(self, Self::Article, shape, groups)
    }

    /// As [`to_article`](Self::to_article), on data of any type whose values have one size in
    /// bytes; never panics.
    pub fn data_to_article(
        self,
        weight: TensorData,
        groups: usize,
    ) -> Result<TensorData, Deconv2dError> {
        convert_data(self, Self::Article, weight, groups)
    }

    /// As [`from_article`](Self::from_article), on data of any type whose values have one size in
    /// bytes; never panics.
    #[allow(clippy::wrong_self_convention)]
    pub fn data_from_article(
        self,
        weight: TensorData,
        groups: usize,
    ) -> Result<TensorData, Deconv2dError> {
        convert_data(Self::Article, self, weight, groups)
    }

    /// Takes the channels of a stored shape apart.
    fn parts(self, shape: [usize; 4], groups: usize) -> Result<Parts, Deconv2dError> {
        let layout = self.name();
        if groups == 0 {
            return Err(Deconv2dError::ZeroGroups);
        }
        if self == Self::Flax && groups != 1 {
            return Err(Deconv2dError::LayoutGroups { layout, groups });
        }
        if shape.contains(&0) {
            return Err(Deconv2dError::EmptyWeight { layout, shape });
        }
        check_tensor("weight", shape)?;

        let mut parts = [groups; 5];
        let (mut axis, mut merged) = (0, 1);
        for part in self.description().order {
            if part == GROUP {
                merged = groups;
                continue;
            }
            let got = shape[axis];
            if !got.is_multiple_of(merged) {
                return Err(Deconv2dError::WeightNotDivisible {
                    layout,
                    channels: if part == OUT { "out" } else { "in" },
                    got,
                    shape,
                    groups,
                });
            }
            parts[part] = got / merged;
            (axis, merged) = (axis + 1, 1);
        }
        Ok(parts)
    }
}

/// The layout's name and its axes.
impl fmt::Display for KernelLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Description {
    /// Puts the channels of a shape together again.
    fn shape(&self, parts: Parts) -> [usize; 4] {
        let mut shape = [1; 4];
        let mut axis = 0;
        for &part in &self.order {
            shape[axis] *= parts[part];
            axis += usize::from(part != GROUP);
        }
        shape
    }

    /// Where each part stands: the inverse of `order`.
    fn places(&self) -> [usize; 5] {
        let mut places = [0; 5];
        for (place, &part) in self.order.iter().enumerate() {
            places[part] = place;
        }
        places
    }

    /// How many values further the next one of each part stands.
    fn strides(&self, parts: Parts) -> Parts {
        let mut strides = [0; 5];
        let mut stride = 1;
        for &part in self.order.iter().rev() {
            strides[part] = stride;
            stride *= parts[part];
        }
        strides
    }
}

/// The shape in the layout `to` of a weight that has `shape` in the layout `from`.
fn convert_shape(
    from: KernelLayout,
    to: KernelLayout,
    shape: [usize; 4],
    groups: usize,
) -> Result<[usize; 4], Deconv2dError> {
    let shape = to.description().shape(from.parts(shape, groups)?);
    to.parts(shape, groups).map(|_| shape) // has `to` such groups?
}

fn convert(
    from: KernelLayout,
    to: KernelLayout,
    weight: Tensor<4>,
    groups: usize,
) -> Result<Tensor<4>, Deconv2dError> {
    let shape = convert_shape(from, to, weight.dims(), groups)?;
    if from == to {
        return Ok(weight);
    }
    let parts = from.parts(weight.dims(), groups)?;
    let (from, to) = (from.description(), to.description());

    let apart = weight.reshape(from.order.map(|part| parts[part]));
    let in_order = apart.permute(from.places());
    let turned = match from.turned != to.turned {
        true => in_order.flip([ROW, COLUMN]),
        false => in_order,
    };
    Ok(turned.permute(to.order).reshape(shape))
}

fn convert_data(
    from: KernelLayout,
    to: KernelLayout,
    weight: TensorData,
    groups: usize,
) -> Result<TensorData, Deconv2dError> {
    let (bytes, dtype) = (weight.as_bytes(), weight.dtype());
    let lengths: Vec<usize> = weight.shape().iter().copied().collect();
    let Ok(shape) = <[usize; 4]>::try_from(lengths.as_slice()) else {
        return Err(Deconv2dError::WeightRank { shape: lengths });
    };
    let converted = convert_shape(from, to, shape, groups)?;
    let parts = from.parts(shape, groups)?;
    let size = dtype.size();
    let stored = Deconv2dError::WeightBytes {
        shape,
        dtype,
        bytes: bytes.len(),
    };
    // No overflow: `check_tensor` has bounded the number of values, and no type has more bytes
    // than an f64.
    let whole = bytes.len() == parts.iter().product::<usize>() * size;
    if matches!(dtype, DType::QFloat(_)) || !whole {
        return Err(stored);
    }

    let (from, to) = (from.description(), to.description());
    let strides = from.strides(parts);
    let turn = from.turned != to.turned;
    // How far from the first stored value the one at `index` of `part` stands.
    let reach = |part: usize, index: usize| match turn && part >= ROW {
        true => (parts[part] - 1 - index) * strides[part],
        false => index * strides[part],
    };
    let [a, b, c, d, e] = to.order;
    let mut result = Vec::with_capacity(bytes.len());
    for i in 0..parts[a] {
        for j in 0..parts[b] {
            for k in 0..parts[c] {
                for l in 0..parts[d] {
                    let base = reach(a, i) + reach(b, j) + reach(c, k) + reach(d, l);
                    for m in 0..parts[e] {
                        let at = (base + reach(e, m)) * size;
                        result.extend_from_slice(&bytes[at..at + size]);
                    }
                }
            }
        }
    }
    TensorData::try_from_bytes_vec(result, converted, dtype).map_err(|_| stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use KernelLayout::{Article, Burn, Flax, TensorFlow};
    use burn::tensor::Device;
    use burn::tensor::quantization::QuantScheme;

    /// Data moved as bytes and tensors moved by their operations agree, whatever the type. The
    /// tensors are held to the index formula in `tests/layout.rs`.
    #[test]
    fn bytes_move_as_tensors_do() {
        for layout in [Article, Burn, TensorFlow, Flax] {
            for groups in [1, 2, 3] {
                if layout == Flax && groups != 1 {
                    continue;
                }
                let article = [6, 5, 2, 3];
                let shape = layout.shape_of(article, groups).unwrap();
                let values: Vec<f32> = (0..180).map(|value| value as f32).collect();
                let stored = TensorData::new(values, shape);
                let moved = layout
                    .to_article(
                        Tensor::from_data(stored.clone(), &Device::default()),
                        groups,
                    )
                    .unwrap()
                    .into_data();
                for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8] {
                    let [stored, moved] =
                        [&stored, &moved].map(|data| data.clone().convert_dtype(dtype));
                    let got = layout.data_to_article(stored.clone(), groups).unwrap();
                    assert_eq!(got, moved, "{layout}, {groups}, {dtype:?}");
                    let back = layout.data_from_article(got, groups).unwrap();
                    assert_eq!(back, stored, "{layout}, {groups}, {dtype:?}");
                }
            }
        }
    }

    #[test]
    fn data_that_is_no_weight_is_an_error() {
        let message = |data, groups| {
            let error = Burn.data_to_article(data, groups).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            message(TensorData::new(vec![0f32; 6], [2, 3]), 1),
            "a weight must have 4 axes, got 2 in the shape [2, 3]"
        );
        assert_eq!(
            message(TensorData::new(vec![0f32; 6], [3, 2, 1, 1]), 2),
            "groups must divide the number of in channels of a weight, got 3 in the shape [3, 2, 1, \
             1] of the layout Burn ([in, out / groups, k_h, k_w]) and groups = 2"
        );
        let scheme = QuantScheme::default();
        let quantized = TensorData::quantized(vec![0i8; 8], [2, 2, 1, 2], scheme, &[1.0], None);
        let message = message(quantized, 1);
        assert!(message.contains("dequantize it first"), "{message}");
    }
}
