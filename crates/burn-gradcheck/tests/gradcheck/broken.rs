//! A transposed convolution of stride 2 whose backward pass, written by hand, can be broken on
//! purpose. It runs on flex.

use std::sync::Mutex;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{DType, Tensor, TensorData};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    SignFlipped,
    KernelFlipped,
    BorderRowMissing,
    ChannelsSwapped,
    /// By 1.001.
    Scaled,
    /// The backward pass uses what an earlier forward pass saved.
    StaleSavedTensor,
    /// No gradient is registered.
    Missing,
    WrongShape,
    WrongDType,
    NonDeterministic,
    IgnoresStrides,
}

/// Whose gradient is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    Input,
    Weight,
    Bias,
}

impl Of {
    pub fn name(self) -> &'static str {
        match self {
            Of::Input => "input",
            Of::Weight => "weight",
            Of::Bias => "bias",
        }
    }
}

/// The operation. It keeps what a broken one keeps.
pub struct Broken {
    pub fault: Fault,
    pub of: Of,
    saved: &'static Mutex<Vec<[Tensor<4>; 2]>>,
}

impl Broken {
    pub fn new(fault: Fault, of: Of) -> Self {
        Self {
            fault,
            of,
            saved: Box::leak(Box::default()),
        }
    }

    pub fn forward(&self, input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        type Ad = Autodiff<Flex>;
        let [plain_input, plain_weight] =
            [&input, &weight].map(|tensor| tensor.clone().without_autodiff());
        let output = conv_transpose2d(
            plain_input.clone(),
            plain_weight.clone(),
            Some(bias.clone().without_autodiff()),
            ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1),
        );
        let output = output.try_into_primitive::<Flex>().unwrap();
        let parents = [
            input.try_into_primitive::<Ad>().unwrap(),
            weight.try_into_primitive::<Ad>().unwrap(),
            bias.try_into_primitive::<Ad>().unwrap(),
        ];
        let nodes = parents.each_ref().map(|parent| parent.node());
        let step = Step {
            fault: self.fault,
            of: self.of,
            saved: self.saved,
        };
        let output = match step
            .prepare::<burn::backend::autodiff::checkpoint::strategy::NoCheckpointing>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(step) => {
                self.saved
                    .lock()
                    .unwrap()
                    .push([plain_input.clone(), plain_weight.clone()]);
                step.finish((plain_input, plain_weight), output)
            }
            OpsKind::UnTracked(step) => step.finish(output),
        };
        Tensor::from_primitive::<Ad>(output)
    }
}

#[derive(Debug)]
struct Step {
    fault: Fault,
    of: Of,
    saved: &'static Mutex<Vec<[Tensor<4>; 2]>>,
}

impl Backward<Flex, 3> for Step {
    type State = (Tensor<4>, Tensor<4>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (mut input, mut weight) = ops.state;
        let wrong = |fault, of| self.fault == fault && self.of == of;
        if self.fault == Fault::StaleSavedTensor {
            // The latest, as a layer finds it that keeps its input in a field; the first, once this
            // has run.
            let saved = self.saved.lock().unwrap();
            let [stale_input, stale_weight] = saved.last().unwrap().clone();
            match self.of {
                Of::Weight => input = stale_input,
                _ => weight = stale_weight,
            }
        }

        let mut grad_output = grads.consume::<Flex>(&ops.node);
        if self.fault == Fault::IgnoresStrides {
            grad_output = in_memory_order(grad_output);
        }
        let grad_output = Tensor::<4>::from_primitive::<Flex>(grad_output);
        let of = |name| {
            let [n, c, h, w] = grad_output.dims();
            if !wrong(Fault::BorderRowMissing, name) {
                return grad_output.clone();
            }
            let zeros = Tensor::zeros([n, c, 1, w], (&grad_output.device(), grad_output.dtype()));
            let last_row = [0..n, 0..c, h - 1..h, 0..w];
            grad_output.clone().slice_assign(last_row, zeros)
        };

        // grad_input: the gradient of the output, correlated with the kernel at the stride.
        let mut kernel = weight;
        if wrong(Fault::KernelFlipped, Of::Input) {
            kernel = kernel.flip([2, 3]);
        }
        if wrong(Fault::ChannelsSwapped, Of::Input) {
            kernel = kernel.swap_dims(0, 1);
        }
        let stride = ConvOptions::new([2, 2], [0, 0], [1, 1], 1);
        let grad_input = conv2d(of(Of::Input), kernel, None, stride);
        // grad_weight: the same gradient, correlated with the input at the distances of the stride.
        let dilation = ConvOptions::new([1, 1], [0, 0], [2, 2], 1);
        let [grad, input] = [of(Of::Weight), input].map(|tensor| tensor.swap_dims(0, 1));
        let mut grad_weight = conv2d(grad, input, None, dilation).swap_dims(0, 1);
        if wrong(Fault::KernelFlipped, Of::Weight) {
            grad_weight = grad_weight.flip([2, 3]);
        }
        if wrong(Fault::ChannelsSwapped, Of::Weight) {
            grad_weight = grad_weight.swap_dims(0, 1);
        }
        let grad_bias: Tensor<1> = of(Of::Bias).sum_dims(&[0, 2, 3]).reshape([-1]);

        let register = |grads: &mut Gradients, nth: usize, of, grad: FlexTensor| {
            if let Some(parent) = &ops.parents[nth]
                && !wrong(Fault::Missing, of)
            {
                grads.register::<Flex>(parent.id, grad);
            }
        };
        let count = self.saved.lock().unwrap().len();
        register(
            grads,
            0,
            Of::Input,
            self.spoil(grad_input, Of::Input, count),
        );
        register(
            grads,
            1,
            Of::Weight,
            self.spoil(grad_weight, Of::Weight, count),
        );
        register(grads, 2, Of::Bias, self.spoil(grad_bias, Of::Bias, count));
    }
}

impl Step {
    /// The faults that any gradient can have.
    fn spoil<const D: usize>(&self, grad: Tensor<D>, of: Of, count: usize) -> FlexTensor {
        let grad = match self.fault {
            _ if self.of != of => grad,
            Fault::SignFlipped => -grad,
            Fault::Scaled => grad * 1.001,
            Fault::NonDeterministic => grad * (1.0 + 1e-12 * count as f64),
            Fault::WrongDType => grad.cast(DType::F32),
            Fault::WrongShape => {
                let size = grad.shape().num_elements();
                let mut shape = [1; D];
                shape[D - 1] = size;
                grad.reshape(shape)
            }
            _ => grad,
        };
        grad.try_into_primitive::<Flex>().unwrap()
    }
}

/// The values as they lie in memory, taken for row-major.
fn in_memory_order(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.layout().shape().clone();
    let values = tensor.storage::<f64>()[..shape.num_elements()].to_vec();
    FlexTensor::from_data(TensorData::new(values, shape))
}
