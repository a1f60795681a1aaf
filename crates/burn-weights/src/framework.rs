//! What differs from framework to framework: layouts, names, and kinds of files.

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{IdentityAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter, bridge};
use burn::tensor::{DType, TensorData};

use super::adapter::{Deconv2dAdapter, LAYER};
use super::file::Container;
use burn_deconv::KernelLayout;

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framework {
    /// PyTorch.
    PyTorch,
    /// Keras 3.
    Keras,
    /// Flax.
    Flax,
    /// Burn, with its own `ConvTranspose2d`.
    Burn,
}

impl Framework {
    /// The layout of the weights of transposed convolutions.
    pub(super) fn layout(self) -> KernelLayout {
        match self {
            Self::PyTorch => KernelLayout::PYTORCH,
            Self::Keras => KernelLayout::KERAS,
            Self::Flax => KernelLayout::Flax,
            Self::Burn => KernelLayout::Burn,
        }
    }

    /// The files that it writes, and how an error calls them.
    pub(super) fn containers(self) -> (&'static [Container], &'static str) {
        match self {
            Self::PyTorch => (
                &[Container::PyTorch, Container::Safetensors],
                "a file written by torch.save (.pt, .pth), or safetensors",
            ),
            Self::Keras => (
                &[
                    Container::Hdf5,
                    Container::KerasArchive,
                    Container::Safetensors,
                ],
                "a Keras 3 file (.weights.h5, .keras), or safetensors",
            ),
            Self::Flax => (&[Container::Safetensors], "safetensors"),
            Self::Burn => (
                &[Container::Burnpack, Container::Safetensors],
                "a Burn checkpoint (.bpk), or safetensors",
            ),
        }
    }

    /// Whether names in its files leave out the variants of enums, as all but Burn's do.
    pub(super) fn skips_enum_variants(self) -> bool {
        self != Self::Burn
    }

    /// What brings the tensors of all other layers into Burn's layouts, and then our own.
    pub(super) fn adapter(self, ours: Deconv2dAdapter) -> Box<dyn ModuleAdapter> {
        match self {
            Self::PyTorch => Box::new(PyTorchToBurnAdapter.chain(ours)),
            Self::Keras | Self::Flax => Box::new(ChannelsLastAdapter.chain(ours)),
            Self::Burn => Box::new(IdentityAdapter.chain(ours)),
        }
    }

    /// A tensor's name in a file as burn-store writes it: dots between the parts, no collection in
    /// front.
    pub(super) fn path(self, name: &str) -> String {
        match self {
            Self::PyTorch | Self::Burn => name.to_string(),
            Self::Keras => name.replace('/', "."),
            Self::Flax => {
                let name = name.replace('/', ".");
                let collections = ["params.", "batch_stats."];
                let inner = collections.iter().find_map(|c| name.strip_prefix(c));
                inner.unwrap_or(&name).to_string()
            }
        }
    }

    /// How it names the parameter `param` of a Burn module, where its name is another. `numbered`
    /// is how many numbered tensors the file has for the module: Keras' HDF5 files give numbers
    /// in place of names.
    pub(super) fn param_name(self, module: &str, param: &str, numbered: usize) -> Option<String> {
        match self {
            Self::PyTorch => PyTorchToBurnAdapter.get_alternative_param_name(param, module),
            Self::Keras if numbered > 0 => {
                let order = keras_order(module, numbered);
                let number = order.iter().position(|&name| name == param)?;
                Some(number.to_string())
            }
            Self::Keras => keras_name(module, param).map(str::to_string),
            Self::Flax => flax_name(module, param).map(str::to_string),
            Self::Burn => None,
        }
    }
}

/// The modules of Burn whose counterparts in Keras and Flax have the same axes but for the order
/// that [`ChannelsLastAdapter`] changes.
fn has_kernel(module: &str) -> bool {
    module == LAYER || module == "Struct:Linear" || is_convolution(module)
}

fn is_convolution(module: &str) -> bool {
    matches!(module, "Struct:Conv1d" | "Struct:Conv2d" | "Struct:Conv3d")
}

/// The order in which Keras numbers the `count` variables of a layer. Empty where the number leaves
/// open which they are: a batch norm of three has no scale, or no centre.
fn keras_order(module: &str, count: usize) -> &'static [&'static str] {
    match (module, count) {
        ("Struct:BatchNorm", 4) => &["gamma", "beta", "running_mean", "running_var"],
        ("Struct:BatchNorm", 2) => &["running_mean", "running_var"],
        ("Struct:LayerNorm" | "Struct:GroupNorm", 2) => &["gamma", "beta"],
        ("Struct:RmsNorm", 1) => &["gamma"],
        ("Struct:Embedding", 1) => &["weight"],
        (module, 1 | 2) if has_kernel(module) => &["weight", "bias"],
        _ => &[],
    }
}

fn keras_name(module: &str, param: &str) -> Option<&'static str> {
    match (module, param) {
        ("Struct:BatchNorm", "running_mean") => Some("moving_mean"),
        ("Struct:BatchNorm", "running_var") => Some("moving_variance"),
        ("Struct:Embedding", "weight") => Some("embeddings"),
        (module, "weight") if has_kernel(module) => Some("kernel"),
        _ => None,
    }
}

fn flax_name(module: &str, param: &str) -> Option<&'static str> {
    match (module, param) {
        ("Struct:BatchNorm", "running_mean") => Some("mean"),
        ("Struct:BatchNorm", "running_var") => Some("var"),
        ("Struct:Embedding", "weight") => Some("embedding"),
        (module, "weight") if has_kernel(module) => Some("kernel"),
        (_, "gamma") => Some("scale"),
        (_, "beta") => Some("bias"),
        _ => None,
    }
}

/// The weights of convolutions from Keras and Flax, `[k_1, .., in / groups, out]`, to Burn's
/// `[out, in / groups, k_1, ..]`.
#[derive(Clone, Debug)]
struct ChannelsLastAdapter;

impl ModuleAdapter for ChannelsLastAdapter {
    fn adapt(&self, tensor: StoredTensor, context: ModuleContext<'_>) -> StoredTensor {
        let is_weight = tensor.name.rsplit('.').next() == Some("weight");
        let is_convolution = context.module_type().is_some_and(is_convolution);
        if !is_convolution || !is_weight || matches!(tensor.dtype, DType::QFloat(_)) {
            return tensor;
        }
        let shape = tensor.shape.to_vec();
        let Some((&[c_in, c_out], kernel)) = shape.split_last_chunk().map(|(k, c)| (c, k)) else {
            return tensor;
        };
        let channels_first = [&[c_out, c_in], kernel].concat();
        let (name, dtype) = (tensor.name.clone(), tensor.dtype);
        let to = channels_first.clone();
        bridge::map_data(tensor, name, dtype, channels_first.into(), move |data| {
            channels_to_front(data, [c_in, c_out], to.clone())
        })
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// `[taps, in, out]` to `[out, in, taps]`.
fn channels_to_front(data: TensorData, [c_in, c_out]: [usize; 2], shape: Vec<usize>) -> TensorData {
    let (bytes, size) = (data.as_bytes(), data.dtype().size());
    let taps: usize = shape[2..].iter().product();
    let mut moved = Vec::with_capacity(bytes.len());
    for o in 0..c_out {
        for i in 0..c_in {
            for tap in 0..taps {
                let at = ((tap * c_in + i) * c_out + o) * size;
                moved.extend_from_slice(&bytes[at..at + size]);
            }
        }
    }
    TensorData::from_bytes_vec(moved, shape, data.dtype())
}
