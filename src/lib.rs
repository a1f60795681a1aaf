//! A transposed-convolution layer for Burn. [`Deconv2dLayer`] is the place to start.
//!
//! # A map of the code
//!
//! A call passes through these files, in this order:
//!
//! 1. `layer.rs`: [`Deconv2dLayer::forward`] takes its weight, its bias and the options of its
//!    [`Deconv2dLayerConfig`].
//! 2. `deconv2d.rs`: [`try_deconv2d`] checks the tensors, and chooses the way by [`Algorithm`].
//! 3. `geometry.rs` and `axis.rs`: [`Geometry`] computes and checks every size. `options.rs` has
//!    the rule: the table of [`Padding`].
//! 4. `explicit.rs`: [`explicit::zero_fill`], [`explicit::correlate`], [`explicit::crop`]. This is
//!    the specification. `Algorithm::Explicit` ends here, and Burn differentiates it.
//! 5. `op/`: `mod.rs` dispatches to the tensors' backend, and `backward.rs` records the step in
//!    Burn's autodiff graph. On Flex and NdArray, `cpu.rs` calls the package `deconv-kernel`, which
//!    computes the output and the gradients over slices. On CubeCL's backends (wgpu, CUDA and
//!    others), `cube.rs` launches the kernels of `cube/kernels.rs`.
//! 6. `fallback.rs`, on all other backends: Burn's own transposed convolution, with our crop.
//!
//! Beside the call:
//!
//! - `layout.rs`, `layout/data.rs`: [`KernelLayout`] has the weight layouts of other frameworks,
//!   and converts them.
//! - `convert_burn.rs`: [`Deconv2dLayer::from_conv_transpose2d`] and
//!   [`Deconv2dLayer::to_conv_transpose2d`] convert from and to Burn's own layer.
//! - `init.rs`: [`init::bilinear`] and [`init::icnr`] are initial values for upsampling.
//! - `overlap.rs`: [`overlap()`] counts how many taps reach each output.
//! - `config_module.rs`: [`GROUPS`] tells the weights' package how many groups a layer has.
//! - `error.rs`: [`Deconv2dError`] is the error of every function here.
//!
//! Two more packages belong to this one: `burn-weights` loads and saves the weights of whole
//! models, and `burn-gradcheck` checks gradients.
#![deny(missing_docs, unsafe_code, clippy::undocumented_unsafe_blocks)]

mod axis;
mod config_module;
mod convert_burn;
mod deconv2d;
mod error;
pub mod explicit;
mod fallback;
mod geometry;
pub mod init;
mod layer;
mod layout;
#[cfg(any(feature = "kernel", feature = "cube"))]
mod op;
mod options;
mod overlap;

pub use axis::AxisGeometry;
pub use config_module::GROUPS;
pub use convert_burn::Crop;
pub use deconv2d::{deconv2d, try_deconv2d};
pub use error::{Axis, Deconv2dError};
pub use geometry::Geometry;
pub use layer::{Deconv2dLayer, Deconv2dLayerConfig};
pub use layout::KernelLayout;
pub use options::{Algorithm, Deconv2dOptions, Fan, Padding};
pub use overlap::{Overlap, overlap};

/// The code of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So does the code of the guide for users of other frameworks.
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from.md")]
struct ComingFrom;

// The unit tests share the cases of `tests/`, which name this crate as its users do.
#[cfg(all(test, feature = "flex"))]
extern crate self as burn_deconv;
#[cfg(all(test, feature = "flex"))]
#[path = "../tests/common/mod.rs"]
mod common;
