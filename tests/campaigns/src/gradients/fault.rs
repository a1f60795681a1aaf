//! Faults of a gradient, planted in front of an argument: the values pass unchanged, the gradient
//! that flows back is spoiled.

use std::sync::{Arc, Mutex};

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::Flex;
use burn::tensor::{DType, Tensor, TensorData};

use super::functions::Random;

/// What happens to the gradient.
#[derive(Clone, Debug)]
pub enum Fault {
    /// One element is multiplied by `1 + factor`: -1 makes it missing, -2 flips its sign.
    OneElement { element: usize, factor: f64 },
    /// Two elements are swapped.
    Swapped { first: usize, second: usize },
    /// All elements are multiplied by `1 + factor`.
    Scaled { factor: f64 },
    /// All elements are missing.
    Missing,
}

impl Fault {
    /// Relative sizes from 1e-6 in f64, from 1e-3 in f32.
    pub fn random(random: &mut Random, count: usize, dtype: DType) -> Self {
        let least: f64 = if dtype == DType::F32 { -3.0 } else { -6.0 };
        let small = random.sign() * 10f64.powf(random.between(least, 0.0));
        match random.below(6) {
            0 | 1 => Fault::OneElement {
                element: random.below(count),
                factor: small,
            },
            2 => Fault::OneElement {
                element: random.below(count),
                factor: random.pick(&[-1.0, -2.0]),
            },
            3 => Fault::Swapped {
                first: random.below(count),
                second: random.below(count),
            },
            4 => Fault::Scaled { factor: small },
            _ => Fault::Missing,
        }
    }

    fn apply(&self, gradient: &mut [f64]) {
        match *self {
            Fault::OneElement { element, factor } => gradient[element] *= 1.0 + factor,
            Fault::Swapped { first, second } => gradient.swap(first, second),
            Fault::Scaled { factor } => {
                gradient.iter_mut().for_each(|value| *value *= 1.0 + factor)
            }
            Fault::Missing => gradient.fill(0.0),
        }
    }
}

/// The largest sizes of a fault in any backward pass.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    element: f64,
    gradient: f64,
}

/// A fault in the gradient of one argument.
#[derive(Clone, Debug)]
pub struct Planted {
    pub argument: usize,
    fault: Fault,
    sizes: Arc<Mutex<Sizes>>,
}

impl Planted {
    pub fn new(argument: usize, fault: Fault) -> Self {
        Self {
            argument,
            fault,
            sizes: Arc::default(),
        }
    }

    /// The largest error of an element, relative to that element before and after and to the root
    /// mean square of the gradient, as the checker's report counts it.
    pub fn share_of_element(&self) -> f64 {
        self.sizes.lock().unwrap().element
    }

    /// The norm of the error, relative to that of the gradient before and after.
    pub fn share_of_gradient(&self) -> f64 {
        self.sizes.lock().unwrap().gradient
    }

    /// The same values, with a gradient that is spoiled on its way back.
    pub fn spoil(&self, argument: Tensor<1>) -> Tensor<1> {
        type Ad = Autodiff<Flex>;
        let value = argument.clone().without_autodiff();
        let value = value.try_into_primitive::<Flex>().unwrap();
        let parent = argument.try_into_primitive::<Ad>().unwrap();
        let output = match (self.clone())
            .prepare::<NoCheckpointing>([parent.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(step) => step.finish((), value),
            OpsKind::UnTracked(step) => step.finish(value),
        };
        Tensor::from_primitive::<Ad>(output)
    }
}

impl Backward<Flex, 1> for Planted {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Tensor::<1>::from_primitive::<Flex>(grads.consume::<Flex>(&ops.node));
        let like = (&gradient.device(), gradient.dtype());
        let right = gradient.try_into_vec_as::<f64>().unwrap();
        let mut wrong = right.clone();
        self.fault.apply(&mut wrong);

        let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let errors: Vec<_> = right.iter().zip(&wrong).map(|(a, b)| a - b).collect();
        let typical = norm(&wrong) / (wrong.len() as f64).sqrt();
        let mut sizes = self.sizes.lock().unwrap();
        for (i, error) in errors.iter().enumerate() {
            let size = right[i].abs().max(wrong[i].abs()).max(typical);
            if *error != 0.0 {
                sizes.element = sizes.element.max(error.abs() / size);
            }
        }
        if norm(&errors) > 0.0 {
            let size = norm(&right).max(norm(&wrong));
            sizes.gradient = sizes.gradient.max(norm(&errors) / size);
        }
        drop(sizes);

        if let Some(parent) = &ops.parents[0] {
            let count = wrong.len();
            let wrong = Tensor::<1>::from_data(TensorData::new(wrong, [count]), like);
            grads.register::<Flex>(parent.id, wrong.try_into_primitive::<Flex>().unwrap());
        }
    }
}
