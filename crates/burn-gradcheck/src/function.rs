//! The function under test as the checks see it: flat values go in, flat values and gradients come
//! out. Everything above works on `&dyn Checked`, so it is compiled once for all functions.

use core::cell::Cell;

use burn::tensor::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Finding;
use super::arguments::{Arguments, Name, OutputVisitor, Outputs};
use super::random::components;
use super::tensors::{Collect, Products, Read, Substitute, Track, Variable};

/// A function with its arguments, in the data type of the check.
pub(super) trait Checked {
    /// The float tensors among the arguments, in their order.
    fn variables(&self) -> &[Variable];

    /// The outputs with other values in one variable.
    fn forward_at(&self, variable: usize, values: &[f64]) -> Output;

    /// A tracked forward pass with other values in all variables; its result is dropped.
    fn forward_elsewhere(&self);

    /// The outputs, and the gradients of `<u, outputs>` with the output gradient `u` of a seed.
    fn backward(&self, seed: u64, order: Order) -> Pass;

    /// The number of forward and of backward passes so far.
    fn passes(&self) -> (usize, usize);
}

/// The memory order of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    RowMajor,
    /// Other strides and an offset, as permuting and slicing make them.
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
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) dtypes: Vec<DType>,
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

/// A closure with its arguments.
pub(super) struct Function<'a, A, F> {
    arguments: &'a A,
    closure: F,
    dtype: DType,
    variables: Vec<Variable>,
    passes: Cell<(usize, usize)>,
}

impl<'a, A: Arguments, O: Outputs, F: Fn(A::Values) -> O> Function<'a, A, F> {
    /// Fails if the check, or the device of a tensor, cannot compute in the data type.
    pub(super) fn new(arguments: &'a A, closure: F, dtype: DType) -> Result<Self, Box<Finding>> {
        Self::collect(arguments, closure, dtype, Collect::new(dtype))
    }

    /// The function on another device than that of its arguments. Their values are rounded to
    /// `rounded` first.
    pub(super) fn on_device(
        arguments: &'a A,
        closure: F,
        dtype: DType,
        rounded: DType,
        device: &Device,
    ) -> Result<Self, Box<Finding>> {
        Self::collect(
            arguments,
            closure,
            dtype,
            Collect::on_device(dtype, rounded, device),
        )
    }

    fn collect(
        arguments: &'a A,
        closure: F,
        dtype: DType,
        mut collect: Collect,
    ) -> Result<Self, Box<Finding>> {
        arguments.map(&Name::default(), &mut collect);
        Ok(Self {
            arguments,
            closure,
            dtype,
            variables: collect.variables()?,
            passes: Cell::default(),
        })
    }

    fn count(&self, forwards: usize, backwards: usize) {
        let (f, b) = self.passes.get();
        self.passes.set((f + forwards, b + backwards));
    }
}

impl<A: Arguments, O: Outputs, F: Fn(A::Values) -> O> Checked for Function<'_, A, F> {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn forward_at(&self, variable: usize, values: &[f64]) -> Output {
        self.count(1, 0);
        let replaced = &self.variables[variable];
        let mut substitute = Substitute::new(&self.variables, replaced, values, self.dtype);
        let arguments = self.arguments.map(&Name::default(), &mut substitute);
        let mut read = Read::default();
        (self.closure)(arguments).visit(&mut read);
        read.output
    }

    fn forward_elsewhere(&self) {
        self.count(1, 0);
        let mut track = Track::elsewhere(&self.variables, self.dtype);
        let arguments = self.arguments.map(&Name::default(), &mut track);
        (self.closure)(arguments);
    }

    fn backward(&self, seed: u64, order: Order) -> Pass {
        self.count(1, 1);
        let mut track = Track::here(&self.variables, self.dtype, order);
        let arguments = self.arguments.map(&Name::default(), &mut track);
        let outputs = (self.closure)(arguments);
        // A function that keeps tensors anywhere but in the graph now holds other ones.
        self.forward_elsewhere();

        let mut read = Read::default();
        let mut products = Products::default();
        outputs.visit(&mut Both(&mut read, &mut products));
        let count = read.output.values.len();
        let grad_output = components(&mut StdRng::seed_from_u64(seed), count);
        let gradients = products
            .sum(&grad_output, order)
            .map(|loss| loss.backward());
        Pass {
            output: read.output,
            grad_output,
            gradients: track.gradients(gradients.as_ref()),
        }
    }

    fn passes(&self) -> (usize, usize) {
        self.passes.get()
    }
}

/// Passes each tensor to two visitors.
struct Both<'a, A, B>(&'a mut A, &'a mut B);

impl<A: OutputVisitor, B: OutputVisitor> OutputVisitor for Both<'_, A, B> {
    fn visit<const D: usize>(&mut self, tensor: Tensor<D>) {
        self.0.visit(tensor.clone());
        self.1.visit(tensor);
    }
}
