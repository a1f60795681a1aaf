//! What a caller chooses: [`Padding`], [`Algorithm`], [`Fan`], and [`Deconv2dOptions`] for the
//! functional form. [`Geometry`](crate::Geometry) computes the sizes that follow.

use burn::config::Config;
use serde::{Deserialize, Serialize};

/// Which part of the full map is the output.
///
/// On each axis, the full map has the length `F` ([`Geometry`](crate::Geometry) has the formula). A
/// padding decides the output's length `O`, and how many values `b` are cropped at the beginning.
/// The other `F - b - O` values are cropped at the end. If that number is negative, zeros are
/// appended instead.
///
/// | padding | default `O` | `b` | legal `O` for `forward_to` |
/// |---|---|---|---|
/// | `Same` | `h * s` | `max(0, F - O) / 2`, rounded down | `(h - 1) * s + 1 ..= h * s` |
/// | `SameLower` | `h * s` | `max(0, F - O) / 2`, rounded up | `(h - 1) * s + 1 ..= h * s` |
/// | `Valid` | `max(F, h * s)` | 0 | `F ..= F + s - 1` |
/// | `Explicit` | `F - b - e + padding_out` | as given | `F - b - e ..= F - b - e + max(s, d) - 1` |
///
/// `h` is the input's length, `s` the stride, `d` the dilation, `e` what `Explicit` crops at the
/// end. `Explicit` follows PyTorch's `ConvTranspose2d`, the other rows follow TensorFlow's
/// `conv2d_transpose`.
///
/// # Example
///
/// ```
/// use burn_deconv::{Deconv2dLayerConfig, Padding};
///
/// let config = Deconv2dLayerConfig::new([4, 2], [3, 3]); // stride [2, 2]: F = 2 h + 1
/// let size = |padding| config.clone().with_padding(padding).output_size([3, 3]).unwrap();
/// assert_eq!(size(Padding::Same), [6, 6]);
/// assert_eq!(size(Padding::Valid), [7, 7]);
/// assert_eq!(size(Padding::Explicit(1, 1, 1, 1)), [5, 5]);
/// assert_eq!(size(Padding::Explicit(0, 0, 1, 1)), [6, 6]); // here the same crop as `Same`
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// The output is `stride` times as long as the input. Both sides are cropped equally; an odd
    /// value more is cropped at the end.
    ///
    /// This is `SAME` in TensorFlow, Keras and JAX, and `SAME_UPPER` in ONNX. The article uses it:
    /// with kernel 3 and stride 2, it crops the last row and the last column.
    #[default]
    Same,
    /// Like [`Same`](Self::Same), but an odd value more is cropped at the beginning. This is
    /// `SAME_LOWER` in ONNX.
    SameLower,
    /// The output is the full map. If the kernel is shorter than the stride, zeros are appended up
    /// to `stride * input`. This is `VALID` in TensorFlow, Keras and JAX.
    Valid,
    /// What is cropped from each side: top, left, bottom, right, in the order of
    /// `burn::nn::PaddingConfig2d`.
    ///
    /// `padding: [p_h, p_w]` of PyTorch and Burn is `Explicit(p_h, p_w, p_h, p_w)`. `pads` of ONNX
    /// has these four numbers in this order. At least one value of the full map must be left.
    Explicit(usize, usize, usize, usize),
}

/// How the output is computed. Both algorithms give the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// The article's three steps: zero-fill, correlate, crop. Each makes a tensor. See
    /// [`explicit`](crate::explicit).
    ///
    /// This is the specification of the other algorithm. It also multiplies by the inserted zeros,
    /// which is about `s_h * s_w` times the work. An infinite or NaN weight turns an inserted zero
    /// into NaN.
    Explicit,
    /// The same output, computed without the inserted zeros, phase by phase. No weight is
    /// multiplied by an inserted zero, so an infinite or NaN value reaches only its own outputs.
    #[default]
    SkipZeros,
}

/// How `fan_in` and `fan_out` are counted, for initializers that scale by them.
///
/// With `taps = k_h * k_w`:
///
/// | | `fan_in` | `fan_out` |
/// |---|---|---|
/// | `Burn` | `out / groups * taps` | `in * taps` |
/// | `Taps` | `in / groups * taps / (s_h * s_w)` | `out / groups * taps` |
///
/// The variance of an output is the variance of an input, times the variance of a weight, times the
/// number of products in the sum (He et al. 2015, section 2.2,
/// [arXiv:1502.01852](https://arxiv.org/abs/1502.01852); Glorot and Bengio 2010,
/// [section 4.2.1](https://proceedings.mlr.press/v9/glorot10a.html)). In a convolution that number
/// is `in / groups * taps`. In a transposed convolution the `s_h * s_w` phases of the output share
/// the taps, so an output has one in `s_h * s_w` of these products on average (exactly, if the
/// [`overlap`](crate::overlap) is even). PyTorch, Keras and Burn read the two channel axes of the
/// stored weight as those of a convolution. In a transposed convolution the two are exchanged
/// ([pytorch#7865](https://github.com/pytorch/pytorch/issues/7865)).
///
/// # Example
///
/// ```
/// use burn::nn::Initializer;
/// use burn_deconv::{Deconv2dLayerConfig, Fan};
///
/// // The output has the input's variance. Before a ReLU, use the gain sqrt(2).
/// let config = Deconv2dLayerConfig::new([512, 256], [4, 4])
///     .with_fan(Fan::Taps)
///     .with_initializer(Initializer::KaimingNormal { gain: 1.0, fan_out_only: false });
/// # assert_eq!(config.fan, Fan::Taps);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fan {
    /// Like `ConvTranspose2d` in Burn and PyTorch: `fan_in` counts the outputs that one input value
    /// reaches.
    #[default]
    Burn,
    /// `fan_in` is the mean number of products in one output, rounded, and at least 1. `fan_out` is
    /// the number of outputs that one input value reaches.
    Taps,
}

/// Everything that [`deconv2d`](crate::deconv2d) needs besides its tensors.
///
/// The defaults are those of the article: stride 2, [`Padding::Same`].
///
/// # Example
///
/// ```
/// use burn_deconv::{Deconv2dOptions, Padding};
///
/// let options = Deconv2dOptions::new().with_stride([2, 3]).with_padding(Padding::Valid);
/// assert_eq!(options.dilation, [1, 1]);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Deconv2dOptions {
    /// The distance between two input values in the zero-filled map, `[h, w]`. Default: `[2, 2]`.
    #[config(default = "[2, 2]")]
    pub stride: [usize; 2],
    /// The distance between two kernel taps, `[h, w]`. Default: `[1, 1]`.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// The number of groups. An output channel depends only on the input channels of its group.
    /// Default: 1.
    #[config(default = "1")]
    pub groups: usize,
    /// Which part of the full map is the output. Default: [`Padding::Same`].
    #[config(default = "Padding::Same")]
    pub padding: Padding,
    /// How many more values to keep at the end, `[h, w]`. Only [`Padding::Explicit`] has it.
    /// (Elsewhere it is called `output_padding`.) Default: `[0, 0]`.
    #[config(default = "[0, 0]")]
    pub padding_out: [usize; 2],
    /// The output's size, `[h, w]`. It replaces `padding_out`. Default: none, so the padding
    /// decides.
    pub output_size: Option<[usize; 2]>,
    /// How the output is computed. Default: [`Algorithm::SkipZeros`].
    #[config(default = "Algorithm::SkipZeros")]
    pub algorithm: Algorithm,
}

impl Default for Deconv2dOptions {
    fn default() -> Self {
        Self::new()
    }
}
