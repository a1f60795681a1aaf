//! [`Fit`]: which tensor of a file becomes which parameter of a model.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::module::{ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ModuleAdapter, ModuleContext, bridge};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor};
use burn_deconv::KernelLayout;

use crate::Misfit;
use crate::adapter::{Deconv2dAdapter, Kernels};
use crate::file::read_data;
use crate::framework::Framework;
use crate::names::Named;

/// Visits a model and finds the tensor for each of its parameters, by name, shape and data type.
/// [`read`](Self::read) then reads the values.
///
/// The model is not changed, so nothing has to be undone when something is wrong. (A clone of the
/// model would not do: it shares the running statistics of batch norms.)
pub(crate) struct Fit {
    framework: Framework,
    layout: KernelLayout,
    adapter: Box<dyn ModuleAdapter>,
    kernels: Arc<Kernels>,
    /// The file's tensors.
    tensors: Named,
    /// The names of those that a parameter has.
    used: BTreeSet<String>,
    path: Vec<String>,
    containers: Vec<String>,
    fitting: Vec<Fitting>,
    pub(crate) missing: Vec<String>,
    pub(crate) misfits: Vec<Misfit>,
    /// Whether a batch norm may have been trained: its gamma has values.
    pub(crate) batch_norm_in_use: bool,
}

/// A tensor of the file for a parameter of the model, its values still unread.
struct Fitting {
    /// Under the parameter's path.
    tensor: StoredTensor,
    /// What its values become.
    dtype: DType,
}

/// What a parameter holds.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Int,
    Bool,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::Bool => "bool",
        }
    }

    /// The rule of burn-store.
    fn accepts(self, dtype: DType) -> bool {
        match self {
            Self::Float => dtype.is_float() || matches!(dtype, DType::QFloat(_)),
            Self::Int => dtype.is_int() || dtype.is_uint(),
            Self::Bool => dtype.is_bool() || matches!(dtype, DType::U8 | DType::U32),
        }
    }
}

impl Fit {
    pub(crate) fn new(
        framework: Framework,
        layout: KernelLayout,
        ours: Deconv2dAdapter,
        tensors: Named,
    ) -> Self {
        Self {
            framework,
            layout,
            kernels: ours.kernels(),
            adapter: framework.adapter(ours),
            tensors,
            used: BTreeSet::new(),
            path: vec![],
            containers: vec![],
            fitting: vec![],
            missing: vec![],
            misfits: vec![],
            batch_norm_in_use: false,
        }
    }

    /// The tensors of the file that no parameter asked for.
    pub(crate) fn unused(&self) -> Vec<String> {
        let names = self.tensors.keys();
        names
            .filter(|&name| !self.used.contains(name))
            .cloned()
            .collect()
    }

    fn module(&self) -> Option<&str> {
        ModuleContext::new(&self.containers).module_type()
    }

    /// The name in the file of the tensor for the current parameter.
    fn find(&self) -> Option<String> {
        let (param, layer) = self.path.split_last()?;
        let path = self.path.join(".");
        if self.tensors.contains_key(&path) {
            return Some(path);
        }
        let in_layer =
            |layer: &[String], name: &str| [layer, &[name.to_string()]].concat().join(".");
        let is_there = |name: &String| self.tensors.contains_key(name);
        let numbered = |layer: &[String]| {
            let mut names = (0..).map(|number: usize| in_layer(layer, &number.to_string()));
            names.position(|name| !is_there(&name)).unwrap_or(0)
        };
        let module = self.module()?;
        let names = self.framework.param_names(module, param, numbered(layer));
        let mut names = names.iter().map(|name| in_layer(layer, name));
        if let Some(name) = names.find(is_there) {
            return Some(name);
        }
        let (part, around) = layer.split_last()?;
        let framework = self.framework;
        let name = framework.part_name(module, part, param, numbered(around))?;
        Some(in_layer(around, name)).filter(is_there)
    }

    fn take(&mut self, expected: Shape, kind: Kind, device: Device) {
        let path = self.path.join(".");
        let Some(name) = self.find() else {
            self.missing.push(path);
            return;
        };
        let tensor = self.tensors[&name].clone();
        self.used.insert(name);
        match tensor {
            Ok(tensor) => match self.fitting(tensor, path, expected, kind, device) {
                Ok(fitting) => self.fitting.push(fitting),
                Err(misfit) => self.misfits.push(misfit),
            },
            Err(problem) => self.misfits.push(problem.of(path)),
        }
    }

    /// Holds a tensor to the current parameter.
    fn fitting(
        &self,
        mut tensor: StoredTensor,
        path: String,
        expected: Shape,
        kind: Kind,
        device: Device,
    ) -> Result<Fitting, Misfit> {
        let stored = tensor.shape.to_vec();
        tensor.name = path.clone();
        let context = ModuleContext::new(&self.containers);
        if let Some(module) = context.module_type() {
            let reshaped = self.framework.reshaped(module, tensor, &expected);
            tensor = reshaped.map_err(|problem| problem.of(path.clone()))?;
        }
        let tensor = self.adapter.adapt(tensor, context);
        if tensor.shape != expected {
            let misfit = self.kernel_misfit(&path, &expected, stored);
            return Err(misfit.unwrap_or(Misfit::Shape {
                tensor: path,
                expected: expected.to_vec(),
                found: tensor.shape.to_vec(),
            }));
        }
        if !kind.accepts(tensor.dtype) {
            return Err(Misfit::Kind {
                tensor: path,
                expected: kind.name(),
                found: tensor.dtype,
            });
        }
        let dtype = match kind {
            Kind::Float if tensor.dtype.is_float() => device.settings().float_dtype.into(),
            _ => tensor.dtype,
        };
        Ok(Fitting { tensor, dtype })
    }

    /// Reads the values of all tensors that fit.
    pub(crate) fn read(&mut self) -> Vec<StoredTensor> {
        let mut values = vec![];
        for Fitting { tensor, dtype } in self.fitting.drain(..) {
            let (path, id) = (tensor.name.clone(), tensor.param_id);
            let data = read_data(tensor).and_then(|data| {
                if data.dtype() == dtype {
                    return Ok(data);
                }
                data.try_cast(dtype).map_err(|error| error.to_string())
            });
            match data {
                Ok(data) => values.push(bridge::from_data(data, path, id)),
                Err(cause) => self.misfits.push(Misfit::Data {
                    tensor: path,
                    cause,
                }),
            }
        }
        values
    }

    /// What is wrong with the current parameter if it is the weight of one of our layers.
    fn kernel_misfit(&self, path: &str, expected: &Shape, stored: Vec<usize>) -> Option<Misfit> {
        let expected = <[usize; 4]>::try_from(expected.as_slice()).ok()?;
        let groups = self.kernels.get(path)?.groups;
        let layouts = [
            KernelLayout::Article,
            KernelLayout::Burn,
            KernelLayout::TensorFlow,
            KernelLayout::Flax,
        ];
        let fits = |layout: &KernelLayout| {
            let shape = layout.shape_of(expected, groups);
            shape.is_ok_and(|shape| shape == *stored)
        };
        Some(Misfit::Kernel {
            tensor: path.to_string(),
            expected,
            layout: self.layout,
            fits: layouts.into_iter().filter(fits).collect(),
            found: stored,
        })
    }
}

impl ModuleVisitor for Fit {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.containers.push(container.to_string());
        if !(self.framework.skips_enum_variants() && container.starts_with("Enum:")) {
            self.path.push(name.to_string());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.containers.pop();
        if !(self.framework.skips_enum_variants() && container.starts_with("Enum:")) {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_gamma = self.path.last().is_some_and(|name| name == "gamma");
        if is_gamma && self.module() == Some("Struct:BatchNorm") && param.is_initialized() {
            self.batch_norm_in_use = true;
        }
        self.take(param.lazy_shape(), Kind::Float, param.lazy_device());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.take(param.lazy_shape(), Kind::Int, param.lazy_device());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.take(param.lazy_shape(), Kind::Bool, param.lazy_device());
    }
}
