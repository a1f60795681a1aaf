//! Weights of PyTorch, Keras, Flax and Burn files into any Burn model, and out to PyTorch.
//!
//! [`WeightsFile`] loads a file into a model, and [`save_pytorch`] writes one that PyTorch loads.
//! [`Deconv2dAdapter`] is the part of both that concerns
//! [`Deconv2dLayer`](burn_deconv::Deconv2dLayer), for use with [`burn::store`].
//!
//! # The code
//!
//! Loading goes through the files in this order:
//!
//! ```text
//! weights_file.rs   WeightsFile: what to load, and how; load_into
//!   file.rs           what kind of file it is; its tensors, without their values
//!     pytorch.rs        .pt: what pytorch-reader passes over; pickle.rs looks at the opcodes
//!     keras.rs          .h5: the tree of layers; keras2.rs has the older tree, hdf5.rs limits
//!                       and data types
//!     index.rs          several files, and tied weights
//!   names.rs          the file's names become the model's paths
//!   fit.rs            which tensor belongs to which parameter; reads the values
//!     framework.rs      layouts, names and files of each framework; keras_layers.rs has Keras'
//!     adapter.rs        Deconv2dAdapter: weights of the transposed convolutions
//! save.rs           save_pytorch
//! error.rs          WeightsError, Misfit; text.rs makes names from files safe to print
//! panic.rs          a reader's panic becomes an error
//! ```
//!
//! # Who writes which names
//!
//! A Burn model's parameters have paths: `up.weight` is the weight of the field `up`. A file's
//! tensors have names. Where the two differ, a regular expression renames the file's.
//!
//! - **PyTorch**: the keys of the state dict. `weight` and `bias` of norm layers become `gamma` and
//!   `beta`. Gaps in the numbers of an `nn.Sequential` are closed, as burn-store does.
//! - **Keras 3**: the path of layers, and a number: `up.0` is the kernel of the layer named `up`,
//!   `up.1` its bias. A layer within a layer has the attribute's name. A layer in a list, or in a
//!   `Sequential` or functional model, has its own name (`Conv2DTranspose(.., name="up")`), or else
//!   its class's name with a count: `conv2d_transpose`, `conv2d_transpose_1`. In a subclassed
//!   `keras.Model`, an attribute whose name comes after `layers` in the alphabet counts as unnamed
//!   too: give such layers a name. The error about a missing tensor lists the names that there are.
//! - **Keras 2** (`.h5`, also as Keras 3 writes it): the layer's name, and the variable's:
//!   `up.kernel`, `norm.moving_mean`. A layer of layers has theirs after its own,
//!   `block.conv.kernel`. Layers without a name have numbers that go up through the whole Python
//!   session, not from 0 in each model: `conv2d_7`.
//! - **Flax**: the flattened dictionary, without `params` and `batch_stats` in front.
//! - **Burn**: the paths themselves.
//!
//! Tensors of `Linear`, `Conv1d` to `Conv3d`, `PRelu`, `Embedding` and the norm layers get Burn's
//! layouts too: PyTorch's by Burn's own adapter, Keras' and Flax' here.
//!
//! - Keras' `DepthwiseConv2D` is a `Conv2d` in as many groups as it has input channels.
//! - Keras' `SeparableConv2D` is two: a struct with a `Conv2d` in as many groups as it has input
//!   channels, without a bias, in the field `depthwise`, and a `Conv2d` of kernel 1 in the field
//!   `pointwise`. So with `mix: Separable` in the model, `mix.depthwise.weight` is the first kernel
//!   of Keras' layer `mix`.
//! - Keras' `PReLU` has a slope for each place of a map unless it is told otherwise; Burn's has one
//!   for each channel. Only `PReLU(shared_axes=[1, 2])` loads, the others are an error.
//!
//! Keras' recurrent layers and, in Keras' and Flax' files, Burn's own transposed convolutions are
//! reported as missing.
//!
//! # Memory
//!
//! [`WeightsFile::load_into`] holds at most
//!
//! ```text
//! 4 * model + 32 * file + 2 MiB
//! ```
//!
//! bytes beside the model, whatever the file claims to contain; `model` is the size of the model's
//! parameters, `file` the size of the file (of an index, with all files that it lists; then the 2 MiB
//! count for each). Usually it is the model once more and twice its largest
//! parameter: the values are read for one parameter after the other, in the file's data type (f64
//! is twice f32), converted, and kept until all are there. The 32 is for files that hold little but
//! names, and for archives that somebody compressed: a `.keras` archive's weights are unpacked in
//! memory, up to 16 times the archive.
//!
//! For a file of `torch.save`, replace the 2 MiB by 512 MiB. Its names and shapes are Python
//! objects, up to 250,000 of them or one for every 64 bytes of the file, and a pickle of a few
//! bytes may copy an object up to a million times; `pytorch-reader` takes up to 400 bytes for each.
//! (A tar file, which PyTorch wrote before 0.1.10, takes up to 400 times its size.)
//!
//! No walk through a file is longer than a model needs: an HDF5 file may have 100,000 links, 64
//! levels, and at most 64 MiB (or 16 times its own size, if that is less) and 16 MiB are read for
//! names and shapes.

mod adapter;
mod error;
mod file;
mod fit;
mod framework;
mod hdf5;
mod index;
mod keras;
mod keras2;
mod keras_layers;
mod names;
mod panic;
mod pickle;
mod pytorch;
mod save;
mod text;
mod weights_file;

pub use adapter::Deconv2dAdapter;
pub use error::{Misfit, WeightsError};
pub use save::save_pytorch;
pub use weights_file::{LoadReport, WeightsFile};

/// Runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
