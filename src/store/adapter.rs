//! [`Deconv2dAdapter`]: the layer's weights in burn-store's loading and saving.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ModuleAdapter, ModuleContext, bridge};
use burn::tensor::{DType, Tensor, TensorData};

use crate::KernelLayout;

/// What burn-store calls our layer's type.
pub(super) const LAYER: &str = "Struct:Deconv2dLayer";

/// The path of each [`Deconv2dLayer`](crate::Deconv2dLayer)'s weight in a model, and its shape
/// there.
type Kernels = BTreeMap<String, [usize; 4]>;

/// Converts the weights of the [`Deconv2dLayer`](crate::Deconv2dLayer)s of a model, and nothing
/// else, between a file's layout and their own.
///
/// For those who set up burn-store themselves; [`WeightsFile`](super::WeightsFile) does it for a
/// whole file. Chain it with Burn's adapters for the other layers. Any data type is converted as it
/// is; the values are moved when they are read, one tensor at a time. A tensor whose shape cannot
/// be the layer's is passed on as it is, for burn-store to report.
///
/// # Example
///
/// ```
/// use burn::store::{
///     BurnToPyTorchAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore,
/// };
/// use burn::tensor::Device;
/// use burn_deconv::store::Deconv2dAdapter;
/// use burn_deconv::{Deconv2dLayerConfig, KernelLayout};
///
/// let layer = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&Device::default());
/// let save = Deconv2dAdapter::save(KernelLayout::PYTORCH, &[]);
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
}

#[derive(Clone, Debug)]
enum Direction {
    /// Into a model with these layers. A file does not say how many groups a weight has; the two
    /// shapes together do.
    Load(Arc<Kernels>),
    /// Out of a model in which these weights, by path, have these numbers of groups, and all
    /// others 1.
    Save(BTreeMap<String, usize>),
}

impl Deconv2dAdapter {
    /// Converts weights of the layout `layout` into those of the layers of `model`.
    pub fn load<M: Module>(layout: KernelLayout, model: &M) -> Self {
        Self {
            layout,
            direction: Direction::Load(Arc::new(kernels(model))),
        }
    }

    /// Converts weights of layers into those of the layout `layout`.
    ///
    /// `groups` lists the layers of more than one group by their paths in the model: a weight does
    /// not say how many it has.
    pub fn save(layout: KernelLayout, groups: &[(&str, usize)]) -> Self {
        let groups = groups.iter();
        let groups = groups.map(|&(layer, groups)| (weight_of(layer), groups));
        Self {
            layout,
            direction: Direction::Save(groups.collect()),
        }
    }

    /// The shape after the conversion, and the number of groups; `None` if there is none.
    fn converted(&self, tensor: &StoredTensor) -> Option<([usize; 4], usize)> {
        let shape = <[usize; 4]>::try_from(tensor.shape.as_slice()).ok()?;
        match &self.direction {
            Direction::Load(kernels) => {
                let article = *kernels.get(&tensor.name)?;
                Some((article, groups_of(self.layout, shape, article)?))
            }
            Direction::Save(groups) => {
                let groups = groups.get(&tensor.name).copied().unwrap_or(1);
                Some((self.layout.shape_of(shape, groups).ok()?, groups))
            }
        }
    }
}

impl ModuleAdapter for Deconv2dAdapter {
    // burn-store aborts the process if this panics.
    fn adapt(&self, tensor: StoredTensor, context: ModuleContext<'_>) -> StoredTensor {
        let is_weight = tensor.name.rsplit('.').next() == Some("weight");
        if context.module_type() != Some(LAYER)
            || !is_weight
            || matches!(tensor.dtype, DType::QFloat(_))
        {
            return tensor;
        }
        let Some((shape, groups)) = self.converted(&tensor) else {
            return tensor;
        };
        let (name, dtype, layout) = (tensor.name.clone(), tensor.dtype, self.layout);
        let load = matches!(self.direction, Direction::Load(_));
        bridge::map_data(tensor, name, dtype, shape.into(), move |data| {
            let converted = match load {
                true => layout.data_to_article(data, groups),
                false => layout.data_from_article(data, groups),
            };
            // The shape was checked above. Were there an error, burn-store would report that this
            // is not the tensor announced.
            converted.unwrap_or_else(|_| TensorData::new(Vec::<f32>::new(), [0]))
        })
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// In how many groups a weight of the shape `shape` in `layout` has the layer's shape `article`,
/// if in any.
pub(super) fn groups_of(
    layout: KernelLayout,
    shape: [usize; 4],
    article: [usize; 4],
) -> Option<usize> {
    let fits = |groups: &usize| layout.shape_of(article, *groups) == Ok(shape);
    (1..=article[0]).find(fits)
}

/// The path of the weight of the layer at the path `layer`.
fn weight_of(layer: &str) -> String {
    match layer {
        "" => "weight".to_string(),
        layer => format!("{layer}.weight"),
    }
}

/// Whether the model has a layer at this path whose channels this number of groups divides.
pub(super) fn can_have_groups<M: Module>(model: &M, layer: &str, groups: usize) -> bool {
    kernels(model)
        .get(&weight_of(layer))
        .is_some_and(|&shape| KernelLayout::Burn.shape_of(shape, groups).is_ok())
}

fn kernels<M: Module>(model: &M) -> Kernels {
    let mut visitor = KernelVisitor::default();
    model.visit(&mut visitor);
    visitor.kernels
}

/// Collects the layers of a model, under their paths with and without the variants of enums:
/// burn-store uses the former with Burn's own files and the latter with those of others.
#[derive(Default)]
struct KernelVisitor {
    kernels: Kernels,
    with_variants: Vec<String>,
    without_variants: Vec<String>,
    containers: Vec<String>,
}

impl ModuleVisitor for KernelVisitor {
    fn enter_module(&mut self, name: &str, container: &str) {
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
                self.kernels.insert(path.join("."), shape);
            }
        }
    }
}
