//! What a caller chooses: [`Padding`], [`Algorithm`], [`Fan`] and, for the functional form, all of
//! it in [`Deconv2dOptions`]. What follows from the choice is in [`geometry`](crate::geometry).

use burn::config::Config;
use serde::{Deserialize, Serialize};

/// Which part of the full map is the output.
///
/// The full map of a transposed convolution has the length `F = (h - 1) * s + (k - 1) * d + 1` on
/// an axis with input length `h`, kernel size `k`, stride `s` and dilation `d`. A padding says how
/// many of these values survive, the output length `O`, and how many are cropped before the first
/// of them, `b`. The other `F - b - O` are cropped at the end; where `F < b + O`, zeros are
/// appended there instead.
///
/// | padding | default `O` | `b` | `O` that can be asked for with `forward_to` |
/// |---|---|---|---|
/// | `Same` | `h * s` | `max(0, F - O) / 2`, rounded down | `(h - 1) * s + 1 ..= h * s` |
/// | `SameLower` | `h * s` | `max(0, F - O) / 2`, rounded up | as `Same` |
/// | `Valid` | `max(F, h * s)` | 0 | `F ..= F + s - 1` |
/// | `Explicit` | `F - b - e + padding_out` | as given | `F - b - e ..= F - b - e + max(s, d) - 1` |
///
/// The rule is that of TensorFlow's `conv2d_transpose` and, for `Explicit`, of PyTorch's
/// `ConvTranspose2d`; the letters are those of Dumoulin and Visin,
/// [arXiv:1603.07285](https://arxiv.org/abs/1603.07285).
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
    /// `stride` times the input size, cropped evenly on both sides; an odd one more at the end.
    ///
    /// TensorFlow's, Keras' and JAX's `SAME`, ONNX' `SAME_UPPER`, and the article's: with kernel 3
    /// and stride 2, the last row and the last column go.
    #[default]
    Same,
    /// As [`Same`](Self::Same), an odd one more at the beginning. ONNX' `SAME_LOWER`.
    SameLower,
    /// The whole full map; with a kernel shorter than the stride, zeros appended up to
    /// `stride * input`. TensorFlow's, Keras' and JAX's `VALID`.
    Valid,
    /// What is cropped from each side: top, left, bottom, right, in the order of
    /// `burn::nn::PaddingConfig2d`.
    ///
    /// PyTorch's and Burn's `padding: [p_h, p_w]` is `Explicit(p_h, p_w, p_h, p_w)`; ONNX' `pads`
    /// are these four numbers in this order. At least one value of the full map must be left.
    Explicit(usize, usize, usize, usize),
}

/// How the result is computed. Both ways give the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// The article to the letter: zero-fill, correlate, crop, each as a tensor of its own. See
    /// [`explicit`](crate::explicit).
    ///
    /// The specification that everything else is held to. It multiplies by the inserted zeros:
    /// about `s_h * s_w` times the work, and a weight that is infinite or NaN turns an inserted
    /// zero into NaN.
    Explicit,
    /// The same three steps with the inserted zeros left out: the polyphase form. An inserted zero
    /// meets no weight, so a value that is infinite or NaN reaches just the outputs it belongs to.
    #[default]
    SkipZeros,
}

/// What an initializer that scales by fan-in or fan-out is told, on a layer with
/// `taps = k_h * k_w`.
///
/// | | `fan_in` | `fan_out` |
/// |---|---|---|
/// | `Burn` | `out / groups * taps` | `in * taps` |
/// | `Taps` | `in / groups * taps / (s_h * s_w)` | `out / groups * taps` |
///
/// The variance of an output is that of an input times that of a weight times the number of
/// products summed (He et al. 2015, section 2.2, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852);
/// Glorot and Bengio 2010, [section 4.2.1](https://proceedings.mlr.press/v9/glorot10a.html)). In a
/// convolution that number is `in / groups * taps`. In a transposed one the taps are dealt out to
/// the `s_h * s_w` phases of the output, so an output sees one part in `s_h * s_w` of them, in the
/// mean (exactly, where [`overlap`](crate::overlap) is even). PyTorch, Keras and Burn count
/// otherwise: they take the two channel axes of the stored weight for those of a convolution, which
/// in a transposed one are exchanged
/// ([pytorch#7865](https://github.com/pytorch/pytorch/issues/7865)).
///
/// # Example
///
/// ```
/// use burn::nn::Initializer;
/// use burn_deconv::{Deconv2dLayerConfig, Fan};
///
/// // An output keeps the variance of the input: gain 1 as nothing follows, sqrt(2) before a ReLU.
/// let config = Deconv2dLayerConfig::new([512, 256], [4, 4])
///     .with_fan(Fan::Taps)
///     .with_initializer(Initializer::KaimingNormal { gain: 1.0, fan_out_only: false });
/// # assert_eq!(config.fan, Fan::Taps);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fan {
    /// As Burn's and PyTorch's `ConvTranspose2d`: `fan_in` counts the outputs that one input value
    /// reaches.
    #[default]
    Burn,
    /// `fan_in` is the mean number of products in one output, rounded, at least 1; `fan_out` the
    /// number of outputs that one input value reaches.
    Taps,
}

/// All that the functional form [`deconv2d`](crate::deconv2d) needs beside its tensors.
///
/// The defaults are the article's: stride 2, [`Padding::Same`].
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
    /// Distance between two input values in the zero-filled map, `[h, w]`. Default: `[2, 2]`.
    #[config(default = "[2, 2]")]
    pub stride: [usize; 2],
    /// Distance between two kernel taps in the zero-filled map, `[h, w]`. Default: `[1, 1]`.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// Into how many groups the channels are divided; each output channel sees the input channels
    /// of its own group. Default: 1.
    #[config(default = "1")]
    pub groups: usize,
    /// Which part of the full map is the output. Default: [`Padding::Same`].
    #[config(default = "Padding::Same")]
    pub padding: Padding,
    /// How many more values to keep at the end, `[h, w]`, with [`Padding::Explicit`] alone
    /// (elsewhere called `output_padding`). Default: `[0, 0]`.
    #[config(default = "[0, 0]")]
    pub padding_out: [usize; 2],
    /// The output size wanted, `[h, w]`; it replaces `padding_out`. Default: none, the padding
    /// decides.
    pub output_size: Option<[usize; 2]>,
    /// How the result is computed. Default: [`Algorithm::SkipZeros`].
    #[config(default = "Algorithm::SkipZeros")]
    pub algorithm: Algorithm,
}

impl Default for Deconv2dOptions {
    fn default() -> Self {
        Self::new()
    }
}
