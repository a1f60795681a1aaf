//! Weights in and out of whole models: PyTorch, Keras, Flax, and Burn's own layer.
//!
//! [`WeightsFile`] loads a file into a model, [`save_pytorch`] writes one that PyTorch loads, and
//! [`Deconv2dAdapter`] is the part of both that concerns our layer, for use with
//! [`burn::store`].
//!
//! A Burn model's parameters have paths: `up.weight` is the weight of the field `up`. A file's
//! tensors have names. Where the two agree, nothing is to be done; where they do not, a regular
//! expression renames the file's.
//!
//! # Who writes which names
//!
//! - **PyTorch**: the keys of the state dict. Norm layers' `weight` and `bias` become `gamma` and
//!   `beta`. Gaps in the numbers of an `nn.Sequential` are closed, as burn-store does.
//! - **Keras 3**: the path of layers, and a number: `up.0` is the kernel of the layer named `up`,
//!   `up.1` its bias. A layer within a layer has the attribute's name; one in a list, or in a
//!   `Sequential` or functional model, its own (`Conv2DTranspose(.., name="up")`) or, if it was
//!   given none, its class's with a count: `conv2d_transpose`, `conv2d_transpose_1`. In a
//!   subclassed `keras.Model`, an attribute whose name comes after `layers` in the alphabet counts
//!   as unnamed too: give such layers a name. The error about a tensor that is missing lists the
//!   names that there are.
//! - **Flax**: the flattened dictionary, without `params` and `batch_stats` in front.
//! - **Burn**: the paths themselves.
//!
//! The tensors of `Linear`, `Conv1d` to `Conv3d`, `Embedding` and the norm layers are brought into
//! Burn's layouts too: PyTorch's by Burn's own adapter, which is chained, Keras' and Flax' here. Of
//! Keras' other layers (depthwise and separable convolutions, recurrent layers), and of Burn's own
//! transposed convolutions in Keras' and Flax' files, the tensors are reported as missing.

// weights_file -> fit -> framework -> adapter, file -> keras; save -> adapter: no file uses one before it.
mod adapter;
mod error;
mod file;
mod fit;
mod framework;
mod keras;
mod panic;
mod save;
mod weights_file;

pub use adapter::Deconv2dAdapter;
pub use error::{Misfit, WeightsError};
pub use save::save_pytorch;
pub use weights_file::{LoadReport, WeightsFile};
