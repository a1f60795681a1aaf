//! [`Deconv2dLayerConfig`] as a field of a module: no parameters, and the number of groups for
//! those who save the layer.
//!
//! PyTorch stores the weight as `[in, out / groups, k_h, k_w]`. The layer's own weight,
//! `[out, in / groups, k_h, k_w]`, has one shape for several pairs of `in` and `groups`, so no
//! visitor can compute PyTorch's shape from it. A visitor of a Burn module sees only parameters and
//! the names of modules. So this module reports the groups as a name: the visitor enters one more
//! module of the type [`GROUPS`], which is named `"2"` in a layer of two groups. The package
//! `burn-weights` reads it. Without it, a saved file of a grouped layer would be wrong.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

use crate::Deconv2dLayerConfig;

/// The type of the module that a visitor enters in every layer's config; its name is the layer's
/// number of groups.
///
/// # Example
///
/// ```
/// use burn::module::{Module, ModuleVisitor};
/// use burn::tensor::Device;
/// use burn_deconv::{Deconv2dLayerConfig, GROUPS};
///
/// struct Groups(Option<String>);
///
/// impl ModuleVisitor for Groups {
///     fn enter_module(&mut self, name: &str, container: &str) {
///         if container == GROUPS {
///             self.0 = Some(name.to_string());
///         }
///     }
/// }
///
/// let layer = Deconv2dLayerConfig::new([4, 6], [3, 3]).with_groups(2).init(&Device::default());
/// let mut groups = Groups(None);
/// layer.visit(&mut groups);
/// assert_eq!(groups.0.as_deref(), Some("2"));
/// ```
pub const GROUPS: &str = "Groups";

impl Module for Deconv2dLayerConfig {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        let groups = self.groups.to_string();
        visitor.enter_module(&groups, GROUPS);
        visitor.exit_module(&groups, GROUPS);
    }

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        self
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn to_device(self, _device: &Device) -> Self {
        self
    }

    fn fork(self, _device: &Device) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn train(self) -> Self {
        self
    }

    fn materialize(self) -> Self {
        self
    }
}

impl ModuleDisplay for Deconv2dLayerConfig {}

impl ModuleDisplayDefault for Deconv2dLayerConfig {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.to_string()).optional()
    }
}
