//! [`KernelLayout`]: how each framework stores a weight, and the conversions of tensors and shapes.
//! `layout/data.rs` converts stored data.

mod data;

use core::fmt;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::Deconv2dError;
use crate::geometry::check_tensor;

/// How a weight is stored: the order of its axes, and whether its kernels are turned by 180
/// degrees.
///
/// | layout | who stores it | axes | kernels |
/// |---|---|---|---|
/// | `Article` | this crate, Equinox | `[out, in / groups, k_h, k_w]` | not turned |
/// | `Burn` | Burn, PyTorch, ONNX | `[in, out / groups, k_h, k_w]` | turned |
/// | `TensorFlow` | TensorFlow, Keras | `[k_h, k_w, out / groups, in]` | turned |
/// | `Flax` | Flax, JAX | `[k_h, k_w, in, out]`, no groups | not turned |
///
/// Burn, PyTorch, ONNX and TensorFlow define the transposed convolution as the gradient of a
/// convolution, and store the kernel of that convolution. This crate, Equinox and Flax store the
/// kernel that slides over the zero-filled map.
///
/// # Formula
///
/// Let `article` be a weight of this crate, `γ` a group, `o = γ * (out / groups) + p` an output
/// channel and `c = γ * (in / groups) + i` an input channel:
///
/// ```text
/// burn[c, p, k_h - 1 - y, k_w - 1 - x]       = article[o, i, y, x]
/// tensorflow[k_h - 1 - y, k_w - 1 - x, p, c] = article[o, i, y, x]
/// flax[y, x, c, o]                           = article[o, i, y, x]      groups = 1
/// ```
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
    /// The layer's own weight, and Equinox' `ConvTranspose2d`.
    Article,
    /// `ConvTranspose2d` in Burn and PyTorch, and `ConvTranspose` in ONNX.
    Burn,
    /// `conv2d_transpose` in TensorFlow and `Conv2DTranspose` in Keras. Also `ConvTranspose` in
    /// Flax with `transpose_kernel=True`.
    TensorFlow,
    /// `ConvTranspose` in Flax and `jax.lax.conv_transpose`, without `transpose_kernel`.
    Flax,
}

// The indices of a `Parts`.
const GROUP: usize = 0;
const OUT: usize = 1;
const IN: usize = 2;
const ROW: usize = 3;
const COLUMN: usize = 4;

/// The lengths `[groups, out / groups, in / groups, k_h, k_w]`.
type Parts = [usize; 5];

/// What defines a layout. Every conversion follows from it.
struct Description {
    /// The parts in the order in which they are stored. `GROUP` has no axis of its own: together
    /// with the part after it, it makes one axis.
    order: [usize; 5],
    /// Whether the kernels are turned by 180 degrees.
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

    /// The layout's name and axes, for errors.
    fn name(self) -> &'static str {
        match self {
            Self::Article => "Article ([out, in / groups, k_h, k_w])",
            Self::Burn => "Burn ([in, out / groups, k_h, k_w])",
            Self::TensorFlow => "TensorFlow ([k_h, k_w, out / groups, in])",
            Self::Flax => "Flax ([k_h, k_w, in, out])",
        }
    }

    /// Converts a weight from this layout to the layer's.
    ///
    /// The conversion is differentiable, and keeps the weight's device and data type.
    ///
    /// # Shapes
    ///
    /// - weight: this layout's
    /// - result: `[out, in / groups, k_h, k_w]`
    ///
    /// # Errors
    ///
    /// `groups` that is zero, that the layout does not have, or that does not divide the channels,
    /// and an axis of zero.
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

    /// Converts a weight from the layer's layout to this one. This is the inverse of
    /// [`to_article`](Self::to_article).
    ///
    /// # Shapes
    ///
    /// - weight: `[out, in / groups, k_h, k_w]`
    /// - result: this layout's
    ///
    /// # Errors
    ///
    /// All errors of [`to_article`](Self::to_article).
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
    // It converts a weight, not the layout.
    #[allow(clippy::wrong_self_convention)]
    pub fn from_article(
        self,
        weight: Tensor<4>,
        groups: usize,
    ) -> Result<Tensor<4>, Deconv2dError> {
        convert(Self::Article, self, weight, groups)
    }

    /// The shape in this layout of a weight whose shape in the layer is `article`.
    ///
    /// # Errors
    ///
    /// All errors of [`to_article`](Self::to_article).
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

    /// The shape in the layer of a weight whose shape in this layout is `shape`. This is the
    /// inverse of [`shape_of`](Self::shape_of).
    ///
    /// # Errors
    ///
    /// All errors of [`to_article`](Self::to_article).
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

    /// Does what [`to_article`](Self::to_article) does, on data of any type that is not quantized.
    ///
    /// # Errors
    ///
    /// All errors of [`to_article`](Self::to_article), and data that is not a weight.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::TensorData;
    /// use burn_deconv::KernelLayout;
    ///
    /// let keras = TensorData::new(vec![1_f32, 2., 3.], [1, 3, 1, 1]);
    /// let article = KernelLayout::KERAS.data_to_article(keras, 1)?;
    /// assert_eq!(article, TensorData::new(vec![3_f32, 2., 1.], [1, 1, 1, 3]));
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn data_to_article(
        self,
        weight: TensorData,
        groups: usize,
    ) -> Result<TensorData, Deconv2dError> {
        data::convert(self, Self::Article, weight, groups)
    }

    /// Does what [`from_article`](Self::from_article) does, on data of any type that is not
    /// quantized. This is the inverse of [`data_to_article`](Self::data_to_article).
    ///
    /// # Errors
    ///
    /// All errors of [`data_to_article`](Self::data_to_article).
    #[allow(clippy::wrong_self_convention)]
    pub fn data_from_article(
        self,
        weight: TensorData,
        groups: usize,
    ) -> Result<TensorData, Deconv2dError> {
        data::convert(Self::Article, self, weight, groups)
    }

    /// The lengths of the parts of a stored shape.
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
    /// The stored shape of these parts.
    fn shape(&self, parts: Parts) -> [usize; 4] {
        let mut shape = [1; 4];
        let mut axis = 0;
        for &part in &self.order {
            shape[axis] *= parts[part];
            axis += usize::from(part != GROUP);
        }
        shape
    }

    /// The index in `order` of each part.
    fn places(&self) -> [usize; 5] {
        let mut places = [0; 5];
        for (place, &part) in self.order.iter().enumerate() {
            places[part] = place;
        }
        places
    }
}

/// The shape in the layout `to` of a weight whose shape in the layout `from` is `shape`.
fn convert_shape(
    from: KernelLayout,
    to: KernelLayout,
    shape: [usize; 4],
    groups: usize,
) -> Result<[usize; 4], Deconv2dError> {
    let shape = to.description().shape(from.parts(shape, groups)?);
    to.parts(shape, groups)?; // `to` may not have these groups
    Ok(shape)
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
    let turned = if from.turned == to.turned {
        in_order
    } else {
        in_order.flip([ROW, COLUMN])
    };
    Ok(turned.permute(to.order).reshape(shape))
}
