//! What differs from framework to framework: layouts, names, and kinds of files.

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{IdentityAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};
use burn::tensor::{DType, TensorData};
use burn_deconv::{Deconv2dError, KernelLayout};

use crate::adapter::{Deconv2dAdapter, LAYER, converted};
use crate::file::{Accepted, Container};

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framework {
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
    pub(crate) fn layout(self) -> KernelLayout {
        match self {
            Self::PyTorch => KernelLayout::PYTORCH,
            Self::Keras => KernelLayout::KERAS,
            Self::Flax => KernelLayout::Flax,
            Self::Burn => KernelLayout::Burn,
        }
    }

    /// The files that it writes.
    pub(crate) fn accepted(self) -> Accepted {
        let (containers, name): (&[Container], _) = match self {
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
        };
        Accepted { containers, name }
    }

    /// Whether names in its files leave out the variants of enums, as all but Burn's do.
    pub(crate) fn skips_enum_variants(self) -> bool {
        self != Self::Burn
    }

    /// What brings the tensors of all other layers into Burn's layouts, and then our own.
    pub(crate) fn adapter(self, ours: Deconv2dAdapter) -> Box<dyn ModuleAdapter> {
        match self {
            Self::PyTorch => Box::new(PyTorchToBurnAdapter.chain(ours)),
            Self::Keras | Self::Flax => Box::new(ChannelsLastAdapter.chain(ours)),
            Self::Burn => Box::new(IdentityAdapter.chain(ours)),
        }
    }

    /// A tensor's name in a file as burn-store writes it: dots between the parts, no collection in
    /// front.
    pub(crate) fn path(self, name: &str) -> String {
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
    pub(crate) fn param_name(self, module: &str, param: &str, numbered: usize) -> Option<String> {
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
        let shape = [&[c_out, c_in], kernel].concat();
        let to = shape.clone();
        converted(tensor, shape.into(), move |data| {
            channels_to_front(data, to.clone())
        })
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// Moves `[k_1, .., in, out]` to `shape`, `[out, in, k_1, ..]`: the layouts of Flax and of the
/// article, if the axes of the kernel count as one.
fn channels_to_front(data: TensorData, shape: Vec<usize>) -> Result<TensorData, Deconv2dError> {
    let dtype = data.dtype();
    let [c_out, c_in] = [shape[0], shape[1]];
    let taps = shape[2..].iter().product();
    let flat = TensorData::from_bytes(data.into_bytes(), [taps, 1, c_in, c_out], dtype);
    let moved = KernelLayout::Flax.data_to_article(flat, 1)?;
    Ok(TensorData::from_bytes(moved.into_bytes(), shape, dtype))
}
