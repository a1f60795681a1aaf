//! A transposed-convolution layer for Burn.
#![deny(missing_docs, unsafe_code, clippy::undocumented_unsafe_blocks)]

// init, conv_transpose2d, overlap -> layer -> deconv2d -> skip_zeros -> op -> kernel,
// polyphase -> explicit, layout -> geometry -> axis -> options, error: no file uses one before it.
// config_module stands beside layer.
mod axis;
mod config_module;
mod conv_transpose2d;
mod deconv2d;
mod error;
pub mod explicit;
mod geometry;
pub mod init;
mod layer;
mod layout;
#[cfg(feature = "kernel")]
mod op;
mod options;
mod overlap;
mod polyphase;
mod skip_zeros;

pub use axis::AxisGeometry;
pub use config_module::GROUPS;
pub use conv_transpose2d::Crop;
pub use deconv2d::{deconv2d, try_deconv2d};
pub use error::{Axis, Deconv2dError};
pub use geometry::Geometry;
pub use layer::{Deconv2dLayer, Deconv2dLayerConfig};
pub use layout::KernelLayout;
pub use options::{Algorithm, Deconv2dOptions, Fan, Padding};
pub use overlap::{Overlap, overlap};
