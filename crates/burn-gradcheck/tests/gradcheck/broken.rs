//! A transposed convolution whose backward pass, written by hand, can be broken on purpose: stride
//! 2, `Same`, on flex.

use std::sync::Mutex;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor, TensorData};
use burn_deconv::{Deconv2dOptions, Geometry, deconv2d};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    SignFlipped,
    KernelNotRotated,
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
        let geometry = Geometry::new(input.dims(), weight.dims(), &Deconv2dOptions::new()).unwrap();
        let [plain_input, plain_weight] =
            [&input, &weight].map(|tensor| tensor.clone().without_autodiff());
        let output = deconv2d(
            plain_input.clone(),
            plain_weight.clone(),
            Some(bias.clone().without_autodiff()),
            Deconv2dOptions::new(),
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
                step.finish((plain_input, plain_weight, geometry), output)
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
    type State = (Tensor<4>, Tensor<4>, Geometry);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (mut input, mut weight, geometry) = ops.state;
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
        let [height, width] = geometry.axes();
        let of = |name| {
            let [n, c, h, w] = grad_output.dims();
            let grad = if wrong(Fault::BorderRowMissing, name) {
                let zeros =
                    Tensor::zeros([n, c, 1, w], (&grad_output.device(), grad_output.dtype()));
                grad_output
                    .clone()
                    .slice_assign([0..n, 0..c, h - 1..h, 0..w], zeros)
            } else {
                grad_output.clone()
            };
            let crop = |axis: &burn_deconv::AxisGeometry| {
                (axis.crop_begin(), usize::try_from(axis.crop_end()).unwrap())
            };
            // The full map's: zero where it was cropped.
            let full = grad.clone().pad([crop(height), crop(width)], 0.0);
            (grad, full)
        };

        // grad_input: the full map's gradient correlated with the turned kernel at the stride.
        let grad_input = {
            let kernel = match wrong(Fault::KernelNotRotated, Of::Input) {
                true => weight,
                false => weight.flip([2, 3]),
            };
            let kernel = match wrong(Fault::ChannelsSwapped, Of::Input) {
                true => kernel,
                false => kernel.swap_dims(0, 1),
            };
            let stride = ConvOptions::new([2, 2], [0, 0], [1, 1], 1);
            conv2d(of(Of::Input).1, kernel, None, stride)
        };
        // grad_weight: the same correlated with the input at its distances, turned.
        let grad_weight = {
            let (full, input) = (of(Of::Weight).1.swap_dims(0, 1), input.swap_dims(0, 1));
            let apart = ConvOptions::new([1, 1], [0, 0], [2, 2], 1);
            let grad = conv2d(full, input, None, apart);
            let grad = match wrong(Fault::KernelNotRotated, Of::Weight) {
                true => grad,
                false => grad.flip([2, 3]),
            };
            match wrong(Fault::ChannelsSwapped, Of::Weight) {
                true => grad.swap_dims(0, 1),
                false => grad,
            }
        };
        let grad_bias: Tensor<1> = of(Of::Bias).0.sum_dims(&[0, 2, 3]).reshape([-1]);

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
