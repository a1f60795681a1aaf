//! The operation as a step of Burn's autodiff graph. This file decides which tensors are saved and
//! which gradients are computed. The kernels compute them.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::Deconv2dOps;
use super::cpu::Cpu;
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

impl<B: Cpu, const N: usize> Backward<B, N> for Deconv2d {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State {
            input,
            weight,
            geometry,
        } = ops.state;
        let grad_output = B::in_order(grads.consume::<B>(&ops.node));
        let mut saved = |id| {
            let tensor = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(id);
            B::in_order(tensor)
        };
        let (input, weight) = (input.map(&mut saved), weight.map(&mut saved));

        for (i, parent) in ops.parents.into_iter().enumerate() {
            let Some(parent) = parent else { continue };
            let grad = match (i, &input, &weight) {
                (0, _, Some(weight)) => B::grad_input(weight, &grad_output, &geometry),
                (1, Some(input), _) => B::grad_weight(input, &grad_output, &geometry),
                (2, ..) => B::grad_bias(&grad_output, &geometry),
                _ => unreachable!("a parent without the tensor that was saved for it"),
            };
            grads.register::<B>(parent.id, grad);
        }
    }
}

impl<B: Cpu, C: CheckpointStrategy> Deconv2dOps for Autodiff<B, C> {
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
fn record<B: Cpu, C: CheckpointStrategy, const N: usize>(
    parents: [FloatTensor<Autodiff<B, C>>; N],
    geometry: Geometry,
) -> FloatTensor<Autodiff<B, C>> {
    let values = parents
        .each_ref()
        .map(|parent| B::in_order(parent.primitive().clone()));
    let output = B::forward(&values[0], &values[1], values.get(2), &geometry);

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
