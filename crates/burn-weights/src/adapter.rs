//! [`Deconv2dAdapter`]: the layer's weights in burn-store's loading and saving.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn::store::{ModuleAdapter, ModuleContext, bridge};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_deconv::{Deconv2dError, GROUPS, KernelLayout};

/// What burn-store calls our layer's type.
pub(crate) const LAYER: &str = "Struct:Deconv2dLayer";

/// The weight of each [`Deconv2dLayer`](burn_deconv::Deconv2dLayer) in a model, by its path.
pub(crate) type Kernels = BTreeMap<String, Kernel>;

/// A layer's weight. A file's shape alone would often give the number of groups too, but not
/// whether it is the layer's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// `[out, in / groups, k_h, k_w]`
    pub(crate) shape: [usize; 4],
    pub(crate) groups: usize,
}

/// Converts the weights of the [`Deconv2dLayer`](burn_deconv::Deconv2dLayer)s of a model, and only
/// these, between a file's layout and their own.
///
/// This is for programs that set up burn-store themselves; [`WeightsFile`](crate::WeightsFile)
/// loads a whole file. Chain the adapter with Burn's adapters for the other layers. The data type
/// stays; values are moved when they are read, one tensor at a time. A tensor whose shape cannot be
/// the layer's stays as it is, and burn-store reports it.
///
/// # Example
///
/// ```
/// use burn::store::{
///     BurnToPyTorchAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore,
/// };
/// use burn::tensor::Device;
/// use burn_weights::Deconv2dAdapter;
/// use burn_deconv::{Deconv2dLayerConfig, KernelLayout};
///
/// let layer = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&Device::default());
/// let save = Deconv2dAdapter::save(KernelLayout::PYTORCH, &layer);
/// let mut file = SafetensorsStore::from_bytes(None)
///     .with_to_adapter(BurnToPyTorchAdapter.chain(save));
/// layer.save_into(&mut file)?;
///
/// let mut other = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&Device::default());
/// let load = Deconv2dAdapter::load(KernelLayout::PYTORCH, &other);
/// let mut file = SafetensorsStore::from_bytes(Some(file.get_bytes()?))
///     .with_from_adapter(PyTorchToBurnAdapter.chain(load));
/// other.load_from(&mut file)?;
/// assert_eq!(other.weight.to_data(), layer.weight.to_data());
/// # Ok::<(), burn::store::SafetensorsStoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deconv2dAdapter {
    layout: KernelLayout,
    direction: Direction,
    kernels: Arc<Kernels>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Load,
    Save,
}

impl Deconv2dAdapter {
    /// Converts weights of the layout `layout` into those of the layers of `model`.
    pub fn load<M: Module>(layout: KernelLayout, model: &M) -> Self {
        Self {
            layout,
            direction: Direction::Load,
            kernels: Arc::new(kernels(model)),
        }
    }

    /// Converts weights of the layers of `model` into those of the layout `layout`.
    pub fn save<M: Module>(layout: KernelLayout, model: &M) -> Self {
        Self {
            direction: Direction::Save,
            ..Self::load(layout, model)
        }
    }

    /// The weights that it converts.
    pub(crate) fn kernels(&self) -> Arc<Kernels> {
        self.kernels.clone()
    }

    /// The shape after the conversion, and the number of groups; `None` if the tensor is not
    /// converted.
    fn converted_shape(&self, tensor: &StoredTensor) -> Option<([usize; 4], usize)> {
        let shape = <[usize; 4]>::try_from(tensor.shape.as_slice()).ok()?;
        let kernel = self.kernels.get(&tensor.name)?;
        let stored = self.layout.shape_of(kernel.shape, kernel.groups).ok()?;
        let [from, to] = match self.direction {
            Direction::Load => [stored, kernel.shape],
            Direction::Save => [kernel.shape, stored],
        };
        (shape == from).then_some((to, kernel.groups))
    }
}

impl ModuleAdapter for Deconv2dAdapter {
    // burn-store aborts the process if this panics.
    fn adapt(&self, tensor: StoredTensor, _context: ModuleContext<'_>) -> StoredTensor {
        if matches!(tensor.dtype, DType::QFloat(_)) {
            return tensor;
        }
        let Some((shape, groups)) = self.converted_shape(&tensor) else {
            return tensor;
        };
        let layout = self.layout;
        match self.direction {
            Direction::Load => converted(tensor, shape.into(), move |data| {
                layout.data_to_article(data, groups)
            }),
            Direction::Save => converted(tensor, shape.into(), move |data| {
                layout.data_from_article(data, groups)
            }),
        }
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// The tensor with converted values, `shape` their new shape; they are converted when they are
/// read.
pub(crate) fn converted(
    tensor: StoredTensor,
    shape: Shape,
    convert: impl Fn(TensorData) -> Result<TensorData, Deconv2dError> + Send + Sync + 'static,
) -> StoredTensor {
    let (name, dtype, id) = (tensor.name.clone(), tensor.dtype, tensor.param_id);
    bridge::deferred(name, dtype, shape, id, move || {
        convert(bridge::to_data(&tensor)?)
            .map_err(|error| PackError::ValidationError(error.to_string()))
    })
}

fn kernels<M: Module>(model: &M) -> Kernels {
    let mut visitor = KernelVisitor::default();
    model.visit(&mut visitor);
    visitor.kernels
}

/// Collects the layers of a model under two paths, with and without the variants of enums.
/// burn-store uses the first with Burn's own files, and the second with other frameworks' files.
#[derive(Default)]
struct KernelVisitor {
    kernels: Kernels,
    with_variants: Vec<String>,
    without_variants: Vec<String>,
    containers: Vec<String>,
}

impl ModuleVisitor for KernelVisitor {
    fn enter_module(&mut self, name: &str, container: &str) {
        if container == GROUPS {
            self.groups(name);
        }
        self.containers.push(container.to_string());
        self.with_variants.push(name.to_string());
        if !container.starts_with("Enum:") {
            self.without_variants.push(name.to_string());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.containers.pop();
        self.with_variants.pop();
        if !container.starts_with("Enum:") {
            self.without_variants.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.containers.last().is_none_or(|last| last != LAYER) {
            return;
        }
        if let Ok(shape) = <[usize; 4]>::try_from(param.lazy_shape().as_slice()) {
            for path in [&self.with_variants, &self.without_variants] {
                let kernel = Kernel { shape, groups: 1 };
                self.kernels.insert(path.join("."), kernel);
            }
        }
    }
}

impl KernelVisitor {
    /// The current module is a layer's config; its weight has been visited.
    fn groups(&mut self, groups: &str) {
        for path in [&self.with_variants, &self.without_variants] {
            let layer = &path[..path.len().saturating_sub(1)];
            let weight = [layer, &["weight".to_string()]].concat().join(".");
            if let (Some(kernel), Ok(groups)) = (self.kernels.get_mut(&weight), groups.parse()) {
                kernel.groups = groups;
            }
        }
    }
}
