//! What differs from framework to framework: layouts, names, and kinds of files.

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{IdentityAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};
use burn::tensor::{DType, TensorData};
use burn_deconv::{Deconv2dError, KernelLayout};

use crate::adapter::{Deconv2dAdapter, LAYER, converted};
use crate::file::{Accepted, Container, Unsupported};
use crate::keras_layers;

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framework {
    /// PyTorch.
    PyTorch,
    /// Keras, 2 and 3.
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
                "a Keras file (.weights.h5, .h5, .keras), or safetensors",
            ),
            Self::Flax => (&[Container::Safetensors], "safetensors"),
            Self::Burn => (
                &[Container::Burnpack, Container::Safetensors],
                "a Burn checkpoint (.bpk), or safetensors",
            ),
        };
        Accepted {
            containers,
            with_index: self != Self::Burn,
            name,
        }
    }

    /// Whether names in its files leave out the variants of enums, as all but Burn's do.
    pub(crate) fn skips_enum_variants(self) -> bool {
        self != Self::Burn
    }

    /// The adapter that brings tensors into Burn's layouts, and the weights of our layer into its.
    pub(crate) fn adapter(self, ours: Deconv2dAdapter) -> Box<dyn ModuleAdapter> {
        match self {
            Self::PyTorch => Box::new(PyTorchToBurnAdapter.chain(ours)),
            Self::Keras | Self::Flax => Box::new(ChannelsLastAdapter.chain(ours)),
            Self::Burn => Box::new(IdentityAdapter.chain(ours)),
        }
    }

    /// A tensor's name in a file, in burn-store's form: dots between the parts, and no collection
    /// before them.
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

    /// The framework's names of the parameter `param` of a Burn module, if there are others.
    /// `numbered` is how many numbered tensors the file has for the module: Keras 3's HDF5 files
    /// have numbers in place of names.
    pub(crate) fn param_names(self, module: &str, param: &str, numbered: usize) -> Vec<String> {
        match self {
            Self::PyTorch if module == PRELU => vec!["weight".to_string()],
            Self::PyTorch => {
                let name = PyTorchToBurnAdapter.get_alternative_param_name(param, module);
                name.into_iter().collect()
            }
            Self::Keras => keras_layers::names(module, param, numbered),
            Self::Flax => flax_name(module, param)
                .into_iter()
                .map(str::to_string)
                .collect(),
            Self::Burn => vec![],
        }
    }

    /// The name of the parameter `param` of the module in the field `part`, among the tensors of
    /// the layer that has the field: a layer of the framework may be two modules of Burn.
    pub(crate) fn part_name(
        self,
        module: &str,
        part: &str,
        param: &str,
        numbered: usize,
    ) -> Option<&'static str> {
        if self == Self::Keras && is_convolution(module) {
            keras_layers::separable_name(part, param, numbered)
        } else {
            None
        }
    }

    /// The tensor in a shape of which [`adapter`](Self::adapter) makes `expected`, if there is one.
    pub(crate) fn reshaped(
        self,
        module: &str,
        tensor: StoredTensor,
        expected: &[usize],
    ) -> Result<StoredTensor, Unsupported> {
        if self == Self::Keras {
            keras_layers::reshaped(module, tensor, expected)
        } else {
            Ok(tensor)
        }
    }
}

/// What burn-store calls Burn's `PRelu`.
pub(crate) const PRELU: &str = "Struct:PRelu";

/// The modules of Burn whose weights have the same axes in Keras and Flax, perhaps in another order;
/// [`ChannelsLastAdapter`] changes it.
pub(crate) fn has_kernel(module: &str) -> bool {
    module == LAYER || module == "Struct:Linear" || is_convolution(module)
}

pub(crate) fn is_convolution(module: &str) -> bool {
    matches!(module, "Struct:Conv1d" | "Struct:Conv2d" | "Struct:Conv3d")
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
