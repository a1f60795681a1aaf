//! A loss that costs nothing: its backward pass passes on a gradient that exists already. Burn's
//! own first gradient, a tensor of ones, would be made while the clock runs.

#![allow(deprecated)] // NdArray, by Burn

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};

#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
trait Given: Backend {
    fn given(output: FloatTensor<Self>, grad_output: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// A loss for which `grad_output` is the gradient of `output`.
pub fn loss(output: Tensor<4>, grad_output: Tensor<4>) -> Tensor<1> {
    let (output, grad_output) = (output.into_dispatch(), grad_output.into_dispatch());
    Tensor::from_dispatch(Dispatch::given(output, grad_output))
}

macro_rules! given {
    ($feature:literal, $backend:ident) => {
        #[cfg(feature = $feature)]
        impl Given for burn::backend::$backend {
            fn given(output: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::float_from_data(TensorData::from([0_f32]), &output.device())
            }
        }
    };
}
given!("flex", Flex);
given!("ndarray", NdArray);
given!("cube", Cube);

impl<B: Given, C: CheckpointStrategy> Given for Autodiff<B, C> {
    fn given(output: FloatTensor<Self>, grad_output: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;

        impl<B: Backend> Backward<B, 1> for Step {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                grads.consume::<B>(&ops.node);
                if let [Some(parent)] = ops.parents {
                    grads.register::<B>(parent.id, ops.state);
                }
            }
        }

        let grad_output = grad_output.into_primitive();
        let loss = B::given(output.primitive().clone(), grad_output.clone());
        match Backward::<B, 1>::prepare::<C>(Step, [output.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(step) => step.finish(grad_output, loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        }
    }
}
