#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_code, clippy::undocumented_unsafe_blocks)]

// layer -> deconv2d -> skip_zeros -> op -> kernel, polyphase -> explicit -> geometry -> axis ->
// options, error: no file uses one before it.
mod axis;
mod deconv2d;
mod error;
pub mod explicit;
mod geometry;
pub mod gradcheck;
#[cfg(feature = "kernel")]
mod kernel;
mod layer;
#[cfg(feature = "kernel")]
mod op;
mod options;
mod polyphase;
mod skip_zeros;

pub use axis::AxisGeometry;
pub use deconv2d::{deconv2d, try_deconv2d};
pub use error::{Axis, Deconv2dError};
pub use geometry::Geometry;
pub use layer::{Deconv2dLayer, Deconv2dLayerConfig};
pub use options::{Algorithm, Deconv2dOptions, Padding};
