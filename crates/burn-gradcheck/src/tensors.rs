//! From tensors of any rank to flat values and back: what [`Function`](super::function::Function)
//! sends through the arguments and the outputs of a closure.

use core::any::Any;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::Finding;
use super::arguments::{ArgumentMapper, OutputVisitor};
use super::function::{Gradient, Order, Output};

/// One tensor of the arguments.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Whether its gradient is checked.
    pub(super) checked: bool,
    /// Its values, each one exact in the data type of the check.
    pub(super) values: Vec<f64>,
    /// The same values as a `Tensor<D>`, on an autodiff device and not tracked.
    tensor: Box<dyn Any>,
    device: Device,
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor
        .try_into_vec_as::<f64>()
        .expect("a float tensor is read as f64")
}

fn tensor<const D: usize>(values: Vec<f64>, shape: &[usize], like: (&Device, DType)) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape.to_vec()), like)
}

/// The same values in another memory order: the axes are stored in reverse, and each has one more
/// element, 1000, in front. Code that ignores the strides reads that.
fn strided<const D: usize>(values: &[f64], shape: &[usize], like: (&Device, DType)) -> Tensor<D> {
    let reversed: Vec<usize> = shape.iter().rev().map(|size| size + 1).collect();
    let mut stored = vec![1e3; reversed.iter().product()];
    let mut index = vec![0; shape.len()];
    for &value in values {
        let offset = (index.iter().rev().zip(&reversed)).fold(0, |at, (i, size)| at * size + i + 1);
        stored[offset] = value;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    let stored: Tensor<D> = tensor(stored, &reversed, like);
    let ranges: [_; D] = core::array::from_fn(|axis| 1..reversed[axis]);
    reverse(stored.slice(ranges))
}

/// The axes in reverse order.
fn reverse<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.permute(core::array::from_fn::<_, D, _>(|axis| {
        (D - 1 - axis) as isize
    }))
}

/// Makes the [`Variable`]s.
pub(super) struct Collect {
    dtype: DType,
    place: Place,
    variables: Vec<Variable>,
    unsupported: Option<Finding>,
}

/// Where the variables are.
enum Place {
    /// On the devices of the arguments.
    AsGiven,
    /// On this device, with values that are exact in this data type.
    On(Device, DType),
}

impl Collect {
    pub(super) fn new(dtype: DType) -> Self {
        Self {
            dtype,
            place: Place::AsGiven,
            variables: vec![],
            unsupported: None,
        }
    }

    pub(super) fn on_device(dtype: DType, rounded: DType, device: &Device) -> Self {
        Self {
            place: Place::On(device.clone(), rounded),
            ..Self::new(dtype)
        }
    }

    pub(super) fn variables(self) -> Result<Vec<Variable>, Box<Finding>> {
        match self.unsupported {
            Some(finding) => Err(Box::new(finding)),
            None => Ok(self.variables),
        }
    }

    /// Whether the check can be done on a device. Differences need more digits than half precision
    /// has.
    fn supports(&self, device: &Device) -> bool {
        let has_digits = match self.place {
            Place::AsGiven => matches!(self.dtype, DType::F32 | DType::F64),
            Place::On(..) => self.dtype.is_float(),
        };
        has_digits && device.supports_dtype(self.dtype)
    }
}

impl ArgumentMapper for Collect {
    fn map<const D: usize>(&mut self, name: String, tensor: Tensor<D>, checked: bool) -> Tensor<D> {
        let dtype = self.dtype;
        let device = match &self.place {
            Place::AsGiven => tensor.device(),
            Place::On(device, _) => device.clone(),
        };
        if !self.supports(&device) {
            self.unsupported = Some(Finding::UnsupportedDType {
                tensor: name,
                dtype,
                device: format!("{device:?}"),
            });
            return tensor;
        }
        let tensor = tensor.without_autodiff();
        let tensor = match &self.place {
            Place::AsGiven => tensor.cast(dtype),
            Place::On(device, rounded) => {
                let data = tensor.into_data().convert_dtype(*rounded);
                Tensor::from_data(data.convert_dtype(dtype), (device, dtype))
            }
        };
        let tensor = tensor.without_autodiff();
        self.variables.push(Variable {
            name,
            shape: tensor.dims().to_vec(),
            checked,
            values: floats(tensor.clone()),
            device: tensor.device().autodiff(),
            tensor: Box::new(tensor.clone().autodiff()),
        });
        tensor.autodiff()
    }
}

/// Replaces the tensors by those of the variables, and one by new values.
pub(super) struct Substitute<'a> {
    variables: core::slice::Iter<'a, Variable>,
    replaced: &'a Variable,
    values: &'a [f64],
    dtype: DType,
}

impl<'a> Substitute<'a> {
    pub(super) fn new(
        variables: &'a [Variable],
        replaced: &'a Variable,
        values: &'a [f64],
        dtype: DType,
    ) -> Self {
        Self {
            variables: variables.iter(),
            replaced,
            values,
            dtype,
        }
    }
}

impl ArgumentMapper for Substitute<'_> {
    fn map<const D: usize>(&mut self, _name: String, given: Tensor<D>, _: bool) -> Tensor<D> {
        let Some(variable) = self.variables.next() else {
            return given;
        };
        if core::ptr::eq(self.replaced, variable) {
            let like = (&variable.device, self.dtype);
            return tensor(self.values.to_vec(), &variable.shape, like);
        }
        match variable.tensor.downcast_ref::<Tensor<D>>() {
            Some(tensor) => tensor.clone(),
            None => given,
        }
    }
}

type ReadGradient = Box<dyn Fn(&Gradients) -> Option<Gradient>>;

/// Replaces the tensors by tracked ones.
pub(super) struct Track<'a> {
    variables: core::slice::Iter<'a, Variable>,
    order: Order,
    elsewhere: bool,
    dtype: DType,
    leaves: Vec<ReadGradient>,
}

impl<'a> Track<'a> {
    /// With the values of the check.
    pub(super) fn here(variables: &'a [Variable], dtype: DType, order: Order) -> Self {
        Self {
            variables: variables.iter(),
            order,
            elsewhere: false,
            dtype,
            leaves: vec![],
        }
    }

    /// With other values.
    pub(super) fn elsewhere(variables: &'a [Variable], dtype: DType) -> Self {
        Self {
            elsewhere: true,
            ..Self::here(variables, dtype, Order::RowMajor)
        }
    }

    /// The gradient of each variable; none where nothing flows back.
    pub(super) fn gradients(&self, gradients: Option<&Gradients>) -> Vec<Option<Gradient>> {
        let read = |leaf: &ReadGradient| gradients.and_then(leaf);
        self.leaves.iter().map(read).collect()
    }
}

impl ArgumentMapper for Track<'_> {
    fn map<const D: usize>(&mut self, _name: String, given: Tensor<D>, _: bool) -> Tensor<D> {
        let Some(variable) = self.variables.next() else {
            return given;
        };
        let like = (&variable.device, self.dtype);
        let mut values = variable.values.clone();
        if self.elsewhere {
            values.iter_mut().for_each(|x| *x = 1.25 * *x + 0.25);
        }
        let leaf: Tensor<D> = match self.order {
            Order::RowMajor => tensor(values, &variable.shape, like),
            Order::Strided => strided(&values, &variable.shape, like),
        };
        if !variable.checked {
            self.leaves.push(Box::new(|_| None));
            return leaf;
        }
        let leaf = leaf.detach().require_grad();
        let tracked = leaf.clone();
        self.leaves.push(Box::new(move |gradients| {
            let gradient = tracked.grad(gradients)?;
            Some(Gradient {
                shape: gradient.shape().to_vec(),
                dtype: gradient.dtype(),
                values: floats(gradient),
            })
        }));
        leaf
    }
}

/// Reads the values.
#[derive(Default)]
pub(super) struct Read {
    pub(super) output: Output,
}

impl OutputVisitor for Read {
    fn visit<const D: usize>(&mut self, tensor: Tensor<D>) {
        self.output.shapes.push(tensor.dims().to_vec());
        self.output.dtypes.push(tensor.dtype());
        self.output.values.extend(floats(tensor));
    }
}

/// Takes its output gradient from the front of the values. Returns the sum of its product with the
/// tensor, if a gradient can flow back.
type Product = Box<dyn FnOnce(&mut &[f64], Order) -> Option<Tensor<1>>>;

/// The products of the outputs with their output gradients.
#[derive(Default)]
pub(super) struct Products(Vec<Product>);

impl Products {
    /// `<u, outputs>`; `None` if nothing depends on a tracked tensor.
    pub(super) fn sum(self, grad_output: &[f64], order: Order) -> Option<Tensor<1>> {
        let mut rest = grad_output;
        let mut sum: Option<Tensor<1>> = None;
        for product in self.0 {
            if let Some(product) = product(&mut rest, order) {
                sum = Some(match sum {
                    Some(sum) => sum + product,
                    None => product,
                });
            }
        }
        sum
    }
}

impl OutputVisitor for Products {
    fn visit<const D: usize>(&mut self, output: Tensor<D>) {
        self.0.push(Box::new(move |grad_output, order| {
            let shape = output.dims();
            let (own, rest) = grad_output.split_at(shape.iter().product());
            *grad_output = rest;
            if !output.is_tracked() {
                return None;
            }
            let own: Tensor<D> = tensor(own.to_vec(), &shape, (&output.device(), output.dtype()));
            Some(match order {
                Order::RowMajor => (output * own).sum(),
                // The gradient of the output becomes a permuted view.
                Order::Strided => (reverse(output) * reverse(own)).sum(),
            })
        }));
    }
}
