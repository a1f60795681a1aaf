//! The operation as a step of Burn's autodiff graph. This file decides which tensors are saved and
//! which gradients are computed. The backend's passes compute them.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::{Deconv2dOps, Passes};
use crate::Geometry;

/// The step. Its `N` parents are the input, the weight and, if `N` is 3, the bias.
#[derive(Debug)]
struct Deconv2d;

/// What the backward pass needs. A tensor is saved only if a gradient that needs it is wanted.
#[derive(Clone, Debug)]
struct State {
    /// For the gradient of the weight.
    input: Option<NodeId>,
    /// For the gradient of the input.
    weight: Option<NodeId>,
    geometry: Geometry,
}

impl<B: Passes, const N: usize> Backward<B, N> for Deconv2d {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State {
            input,
            weight,
            geometry,
        } = ops.state;
        let grad_output = B::in_order(grads.consume::<B>(&ops.node));
        let mut saved = |id| checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(id);
        let (input, weight) = (input.map(&mut saved), weight.map(&mut saved));

        // A parent is `None` if its gradient is not wanted.
        let mut parents = ops.parents.into_iter();
        let mut parent = || parents.next().flatten();
        if let (Some(parent), Some(weight)) = (parent(), weight) {
            let grad = B::grad_input(weight, grad_output.clone(), geometry.clone());
            grads.register::<B>(parent.id, grad);
        }
        if let (Some(parent), Some(input)) = (parent(), input) {
            let input = B::in_order(input);
            let grad = B::grad_weight(input, grad_output.clone(), geometry.clone());
            grads.register::<B>(parent.id, grad);
        }
        if let Some(parent) = parent() {
            grads.register::<B>(parent.id, B::grad_bias(grad_output, geometry));
        }
    }
}

impl<B: Passes, C: CheckpointStrategy> Deconv2dOps for Autodiff<B, C> {
    fn deconv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        record::<B, C, 2>([input, weight], geometry)
    }

    fn deconv2d_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        record::<B, C, 3>([input, weight, bias], geometry)
    }
}

/// Computes the output, and records the step if one of the parents is tracked.
fn record<B: Passes, C: CheckpointStrategy, const N: usize>(
    parents: [FloatTensor<Autodiff<B, C>>; N],
    geometry: Geometry,
) -> FloatTensor<Autodiff<B, C>> {
    let mut values = parents.iter().map(|parent| parent.primitive().clone());
    let mut value = || values.next().expect("two or three parents");
    let (input, weight) = (B::in_order(value()), value());
    let output = match N {
        3 => B::forward_bias(input, weight, value(), geometry.clone()),
        _ => B::forward(input, weight, geometry.clone()),
    };

    let guards = parents.each_ref().map(|parent| parent.node());
    match Backward::<B, N>::prepare::<C>(Deconv2d, guards)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut step) => {
            let [input, weight] = [&parents[0], &parents[1]];
            let state = State {
                input: weight.is_tracked().then(|| step.checkpoint(input)),
                weight: input.is_tracked().then(|| step.checkpoint(weight)),
                geometry,
            };
            step.finish(state, output)
        }
        OpsKind::UnTracked(step) => step.finish(output),
    }
}
