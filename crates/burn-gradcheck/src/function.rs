//! The function under test as the checks see it: flat values in, flat values and gradients out.

use core::any::Any;
use core::cell::Cell;

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

use super::Finding;
use super::arguments::{ArgumentMapper, Arguments, Name, OutputVisitor, Outputs};

/// A closure with its arguments, in the data type of the check.
pub(super) struct Function<'a, A, F> {
    arguments: &'a A,
    closure: F,
    dtype: DType,
    pub(super) variables: Vec<Variable>,
    /// The number of forward and backward passes so far.
    pub(super) passes: Cell<(usize, usize)>,
}

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

/// The memory order of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    RowMajor,
    /// Other strides and an offset: what comes of permuting and slicing.
    Strided,
}

/// A forward and a backward pass.
pub(super) struct Pass {
    pub(super) output: Output,
    pub(super) grad_output: Vec<f64>,
    /// One for each variable.
    pub(super) gradients: Vec<Option<Gradient>>,
}

/// All outputs of a forward pass, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Output {
    shapes: Vec<Vec<usize>>,
    dtypes: Vec<DType>,
    pub(super) values: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gradient {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) values: Vec<f64>,
}

/// One tensor of an [`Output`].
pub(super) struct OutputTensor<'a> {
    pub(super) name: String,
    pub(super) shape: &'a [usize],
    pub(super) dtype: DType,
    pub(super) values: &'a [f64],
}

impl Output {
    pub(super) fn tensors(&self) -> impl Iterator<Item = OutputTensor<'_>> {
        let mut rest = self.values.as_slice();
        let tensors = self.shapes.iter().zip(&self.dtypes).enumerate();
        tensors.map(move |(place, (shape, &dtype))| {
            let (values, after) = rest.split_at(shape.iter().product());
            rest = after;
            OutputTensor {
                name: match self.shapes.len() {
                    1 => "output".to_string(),
                    _ => format!("output {place}"),
                },
                shape,
                dtype,
                values,
            }
        })
    }
}

impl<'a, A: Arguments, O: Outputs, F: Fn(A::Values) -> O> Function<'a, A, F> {
    /// Fails if the data type is none that the check, or a tensor's device, can compute in.
    pub(super) fn new(arguments: &'a A, closure: F, dtype: DType) -> Result<Self, Box<Finding>> {
        let mut collect = Collect {
            dtype,
            variables: vec![],
            unsupported: None,
        };
        arguments.map(&Name::default(), &mut collect);
        match collect.unsupported {
            Some(finding) => Err(Box::new(finding)),
            None => Ok(Self {
                arguments,
                closure,
                dtype,
                variables: collect.variables,
                passes: Cell::default(),
            }),
        }
    }

    /// The output with other values in one variable.
    pub(super) fn forward_at(&self, variable: usize, values: Vec<f64>) -> Output {
        let (forwards, backwards) = self.passes.get();
        self.passes.set((forwards + 1, backwards));
        let arguments = self.arguments.map(
            &Name::default(),
            &mut Substitute {
                variables: self.variables.iter(),
                replaced: (&self.variables[variable], values),
                dtype: self.dtype,
            },
        );
        let mut read = Read::default();
        (self.closure)(arguments).visit(&mut read);
        read.output
    }

    /// A forward pass with other values in all variables, tracked, of which nothing is kept.
    pub(super) fn forward_elsewhere(&self) {
        let (forwards, backwards) = self.passes.get();
        self.passes.set((forwards + 1, backwards));
        let mut track = Track {
            variables: self.variables.iter(),
            order: Order::RowMajor,
            elsewhere: true,
            dtype: self.dtype,
            leaves: vec![],
        };
        let arguments = self.arguments.map(&Name::default(), &mut track);
        (self.closure)(arguments);
    }

    /// The output, and the gradients of its product with the output gradient that `grad_output`
    /// makes for a number of output values.
    pub(super) fn backward(&self, grad_output: impl Fn(usize) -> Vec<f64>, order: Order) -> Pass {
        let (forwards, backwards) = self.passes.get();
        self.passes.set((forwards + 1, backwards + 1));
        let mut track = Track {
            variables: self.variables.iter(),
            order,
            elsewhere: false,
            dtype: self.dtype,
            leaves: vec![],
        };
        let arguments = self.arguments.map(&Name::default(), &mut track);
        let outputs = (self.closure)(arguments);
        // Whoever keeps tensors for the backward pass anywhere but in the graph now has others.
        self.forward_elsewhere();

        let mut read = Read::default();
        let mut collected = Collected::default();
        outputs.visit(&mut Both(&mut read, &mut collected));
        let grad_output = grad_output(read.output.values.len());
        let mut rest = grad_output.as_slice();
        let mut loss: Option<Tensor<1>> = None;
        for output in collected.0 {
            let product = output(&mut rest, order);
            loss = match (loss, product) {
                (Some(loss), Some(product)) => Some(loss + product),
                (loss, product) => loss.or(product),
            };
        }
        let gradients = match loss {
            Some(loss) => {
                let gradients = loss.backward();
                track.leaves.iter().map(|leaf| leaf(&gradients)).collect()
            }
            None => track.leaves.iter().map(|_| None).collect(),
        };
        Pass {
            output: read.output,
            grad_output,
            gradients,
        }
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor
        .try_into_vec_as::<f64>()
        .expect("a float tensor is read as f64")
}

fn tensor<const D: usize>(values: Vec<f64>, shape: &[usize], like: (&Device, DType)) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape.to_vec()), like)
}

/// The same values in another memory order: stored with the axes reversed, each with one more
/// element, 1000, in front: who ignores the strides reads it.
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
struct Collect {
    dtype: DType,
    variables: Vec<Variable>,
    unsupported: Option<Finding>,
}

impl ArgumentMapper for Collect {
    fn map<const D: usize>(&mut self, name: String, tensor: Tensor<D>, checked: bool) -> Tensor<D> {
        let (device, dtype) = (tensor.device(), self.dtype);
        if !matches!(dtype, DType::F32 | DType::F64) || !device.supports_dtype(dtype) {
            self.unsupported = Some(Finding::UnsupportedDType {
                tensor: name,
                dtype,
                device: format!("{device:?}"),
            });
            return tensor;
        }
        let tensor = tensor.without_autodiff().cast(self.dtype);
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

/// Replaces the tensors by those of the variables, one by new values.
struct Substitute<'a> {
    variables: core::slice::Iter<'a, Variable>,
    /// A variable and its new values, until they are used.
    replaced: (&'a Variable, Vec<f64>),
    dtype: DType,
}

impl ArgumentMapper for Substitute<'_> {
    fn map<const D: usize>(&mut self, _name: String, given: Tensor<D>, _: bool) -> Tensor<D> {
        let Some(variable) = self.variables.next() else {
            return given;
        };
        let (replaced, values) = &mut self.replaced;
        if core::ptr::eq(*replaced, variable) {
            let values = core::mem::take(values);
            return tensor(values, &variable.shape, (&variable.device, self.dtype));
        }
        match variable.tensor.downcast_ref::<Tensor<D>>() {
            Some(tensor) => tensor.clone(),
            None => given,
        }
    }
}

type ReadGradient = Box<dyn Fn(&Gradients) -> Option<Gradient>>;

/// Replaces the tensors by tracked ones.
struct Track<'a> {
    variables: core::slice::Iter<'a, Variable>,
    order: Order,
    /// Whether the values are others than those of the check.
    elsewhere: bool,
    dtype: DType,
    leaves: Vec<ReadGradient>,
}

impl ArgumentMapper for Track<'_> {
    fn map<const D: usize>(&mut self, _name: String, given: Tensor<D>, _: bool) -> Tensor<D> {
        let Some(variable) = self.variables.next() else {
            return given;
        };
        let like = (&variable.device, self.dtype);
        let values = match self.elsewhere {
            true => variable.values.iter().map(|x| 1.25 * x + 0.25).collect(),
            false => variable.values.clone(),
        };
        let leaf: Tensor<D> = match self.order {
            Order::RowMajor => tensor(values, &variable.shape, like),
            Order::Strided => strided(&values, &variable.shape, like),
        };
        if !variable.checked {
            self.leaves.push(Box::new(|_| None));
            return leaf;
        }
        let leaf = leaf.detach().require_grad();
        self.leaves.push({
            let leaf = leaf.clone();
            Box::new(move |gradients| {
                let gradient = leaf.grad(gradients)?;
                Some(Gradient {
                    shape: gradient.shape().to_vec(),
                    dtype: gradient.dtype(),
                    values: floats(gradient),
                })
            })
        });
        leaf
    }
}

/// Reads the values.
#[derive(Default)]
struct Read {
    output: Output,
}

impl OutputVisitor for Read {
    fn visit<const D: usize>(&mut self, tensor: Tensor<D>) {
        self.output.shapes.push(tensor.dims().to_vec());
        self.output.dtypes.push(tensor.dtype());
        let values = floats(tensor);
        match self.output.values.is_empty() {
            true => self.output.values = values,
            false => self.output.values.extend(values),
        }
    }
}

/// Takes its output gradient from the front of the values, and returns the sum of its product with
/// the tensor, if a gradient can flow back.
type Product = Box<dyn FnOnce(&mut &[f64], Order) -> Option<Tensor<1>>>;

#[derive(Default)]
struct Collected(Vec<Product>);

impl OutputVisitor for Collected {
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
                // What flows back is row-major here, and a permuted view after it.
                Order::Strided => (reverse(output) * reverse(own)).sum(),
            })
        }));
    }
}

struct Both<'a, A, B>(&'a mut A, &'a mut B);

impl<A: OutputVisitor, B: OutputVisitor> OutputVisitor for Both<'_, A, B> {
    fn visit<const D: usize>(&mut self, tensor: Tensor<D>) {
        self.0.visit(tensor.clone());
        self.1.visit(tensor);
    }
}
