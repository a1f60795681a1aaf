//! Random functions whose gradients Burn computes right, and the random numbers that make them.

use burn::tensor::activation::{log_softmax, relu, sigmoid, softmax};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Tensor, TensorData};

/// Numbers from a seed: splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        self.between(0.0, 1.0) < chance
    }

    pub fn sign(&mut self) -> f64 {
        self.pick(&[-1.0, 1.0])
    }

    fn values(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count).map(|_| self.between(low, high)).collect()
    }

    /// Values between -1 and 1.
    fn signed(&mut self, count: usize) -> Vec<f64> {
        self.values(count, -1.0, 1.0)
    }
}

type Function = Box<dyn Fn(&[Tensor<1>]) -> Vec<Tensor<1>>>;

/// A function with its arguments.
pub struct Case {
    pub arguments: Vec<Vec<f64>>,
    pub function: Function,
    /// Whether rounding errors of the outputs may hide everything.
    pub hopeless: bool,
}

impl Case {
    fn new(
        arguments: Vec<Vec<f64>>,
        function: impl Fn(&[Tensor<1>]) -> Vec<Tensor<1>> + 'static,
    ) -> Self {
        Self {
            arguments,
            function: Box::new(function),
            hopeless: false,
        }
    }

    /// A function of one argument with one output.
    fn of_one(argument: Vec<f64>, function: impl Fn(Tensor<1>) -> Tensor<1> + 'static) -> Self {
        Self::new(vec![argument], move |x| vec![function(x[0].clone())])
    }
}

/// A kind of function.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub make: fn(&mut Random, DType) -> Case,
}

pub const KINDS: [Kind; 14] = [
    Kind {
        name: "rectifier network",
        make: rectifier_network,
    },
    Kind {
        name: "tanh network, loss",
        make: tanh_network_with_loss,
    },
    Kind {
        name: "max pool",
        make: max_pool,
    },
    Kind {
        name: "large offset",
        make: large_offset,
    },
    Kind {
        name: "mixed scales",
        make: mixed_scales,
    },
    Kind {
        name: "mixed arguments",
        make: mixed_arguments,
    },
    Kind {
        name: "norm",
        make: norm,
    },
    Kind {
        name: "softmax",
        make: a_softmax,
    },
    Kind {
        name: "product",
        make: product,
    },
    Kind {
        name: "convolution",
        make: convolution,
    },
    Kind {
        name: "even at zero",
        make: even_at_zero,
    },
    Kind {
        name: "sum of rectifiers",
        make: sum_of_rectifiers,
    },
    Kind {
        name: "on a kink",
        make: on_a_kink,
    },
    Kind {
        name: "bias before norm",
        make: bias_before_norm,
    },
];

fn matrix(x: &Tensor<1>, rows: usize, columns: usize) -> Tensor<2> {
    x.clone().reshape([rows, columns])
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.reshape([-1])
}

/// Constants, in the data type and on the device of `like`.
fn constant(values: &[f64], like: &Tensor<1>) -> Tensor<1> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

/// The weights of a layer as Burn initializes them.
fn weights(random: &mut Random, from: usize, to: usize) -> Vec<f64> {
    let bound = (from as f64).sqrt().recip();
    random.values(from * to, -bound, bound)
}

fn rectifier_network(random: &mut Random, _: DType) -> Case {
    let batch = random.pick(&[1, 8, 32]);
    let (from, hidden, to) = (4, random.pick(&[4, 16, 64]), random.pick(&[1, 3]));
    let arguments = vec![
        random.signed(batch * from),
        weights(random, from, hidden),
        random.values(hidden, -0.5, 0.5),
        weights(random, hidden, to),
    ];
    Case::new(arguments, move |x| {
        let first = matrix(&x[0], batch, from).matmul(matrix(&x[1], from, hidden));
        let hidden_values = relu(first + x[2].clone().unsqueeze());
        vec![flat(hidden_values.matmul(matrix(&x[3], hidden, to)))]
    })
}

fn tanh_network_with_loss(random: &mut Random, _: DType) -> Case {
    let (batch, from, hidden) = (4, 3, random.pick(&[2, 8]));
    let arguments = vec![
        random.signed(batch * from),
        weights(random, from, hidden),
        weights(random, hidden, 2),
    ];
    let target = random.signed(batch * 2);
    Case::new(arguments, move |x| {
        let hidden_values = matrix(&x[0], batch, from)
            .matmul(matrix(&x[1], from, hidden))
            .tanh();
        let output = flat(hidden_values.matmul(matrix(&x[2], hidden, 2)));
        let error = output - constant(&target, &x[0]);
        vec![(error.clone() * error).mean()]
    })
}

fn max_pool(random: &mut Random, _: DType) -> Case {
    let size = random.pick(&[2, 3]);
    let side = size * random.pick(&[2, 3]);
    Case::of_one(random.signed(2 * side * side), move |x| {
        let map = x.reshape([1, 2, side, side]);
        flat(max_pool2d(map, MaxPoolOptions::new([size, size])))
    })
}

fn large_offset(random: &mut Random, dtype: DType) -> Case {
    let (most, epsilon) = match dtype {
        DType::F32 => (6.0, f64::from(f32::EPSILON)),
        _ => (14.0, f64::EPSILON),
    };
    let offset = random.sign() * 10f64.powf(random.between(0.0, most));
    let (count, summed) = (1 + random.below(20), random.chance(0.3));
    let mut case = Case::of_one(random.signed(count), move |x| {
        let y = x.tanh();
        if summed { y.sum() + offset } else { y + offset }
    });
    case.hopeless = offset.abs() * epsilon > 1e-4;
    case
}

/// Outputs of very different sizes.
fn mixed_scales(random: &mut Random, dtype: DType) -> Case {
    let most = if dtype == DType::F32 { 3.0 } else { 8.0 };
    let count = 2 + random.below(10);
    let scales: Vec<_> = (0..count)
        .map(|_| 10f64.powf(random.between(-most, most)))
        .collect();
    Case::of_one(random.values(count, 0.2, 1.2), move |x| {
        x.clone().sin() * constant(&scales, &x)
    })
}

/// Arguments of very different sizes.
fn mixed_arguments(random: &mut Random, dtype: DType) -> Case {
    let least = if dtype == DType::F32 { -2.0 } else { -4.0 };
    let count = 2 + random.below(10);
    let mut powers = |low, high| -> Vec<f64> {
        let power = |_| 10f64.powf(random.between(low, high));
        (0..count).map(power).collect()
    };
    let (wide, narrow) = (powers(least, 3.0), powers(-1.0, 1.0));
    match random.below(3) {
        0 => Case::of_one(wide, |x| x.log()),
        1 => Case::of_one(wide, |x| x.sqrt()),
        // Beyond its pole it has values again, so a step that suits a large argument crosses it.
        _ => Case::of_one(narrow, |x| x.recip()),
    }
}

fn norm(random: &mut Random, _: DType) -> Case {
    let (rows, columns) = (1 + random.below(4), 3 + random.below(6));
    let mean = random.pick(&[0.0, 0.0, 1.0, 10.0]);
    let x = random.values(rows * columns, mean - 1.0, mean + 1.0);
    match random.below(3) {
        0 => Case::of_one(x, |x| (x.clone() * x).sum().sqrt()),
        1 => {
            let gamma = random.values(columns, 0.5, 1.5);
            Case::new(vec![x, gamma], move |x| {
                let values = matrix(&x[0], rows, columns);
                let centred = values.clone() - values.mean_dim(1);
                let variance = (centred.clone() * centred.clone()).mean_dim(1);
                let normal = centred / (variance + 1e-5).sqrt();
                vec![flat(normal * x[1].clone().unsqueeze())]
            })
        }
        _ => Case::of_one(x, move |x| {
            let values = matrix(&x, rows, columns);
            let length = (values.clone() * values.clone()).sum_dim(1).sqrt();
            flat(values / length)
        }),
    }
}

fn a_softmax(random: &mut Random, dtype: DType) -> Case {
    let (rows, columns) = (1 + random.below(3), 2 + random.below(8));
    // In f32, Burn's gradient of a softmax that is close to 0 and 1 has no right digit.
    let largest = if dtype == DType::F32 { 5.0 } else { 20.0 };
    let size = random.pick(&[1.0, 3.0, largest]);
    let x = random.values(rows * columns, -size, size);
    let mut case = match random.below(3) {
        0 => Case::of_one(x, move |x| flat(softmax(matrix(&x, rows, columns), 1))),
        1 => Case::of_one(x, move |x| flat(log_softmax(matrix(&x, rows, columns), 1))),
        _ => Case::of_one(x, |x| sigmoid(x.clone()) * x),
    };
    // All outputs may be so close to 0 and 1 that none of them responds.
    case.hopeless = size > 3.0;
    case
}

fn product(random: &mut Random, _: DType) -> Case {
    let (rows, inner, columns) = (
        1 + random.below(4),
        1 + random.below(8),
        1 + random.below(4),
    );
    let a = random.signed(rows * inner);
    let b = random.signed(inner * columns);
    match random.below(3) {
        0 => Case::new(vec![a.clone(), a], |x| {
            vec![(x[0].clone() * x[1].clone()).sum()]
        }),
        1 => Case::new(vec![a, b], move |x| {
            vec![flat(
                matrix(&x[0], rows, inner).matmul(matrix(&x[1], inner, columns)),
            )]
        }),
        _ => {
            let b = random.values(a.len(), 0.5, 2.0);
            Case::new(vec![a, b], |x| {
                vec![x[0].clone() / x[1].clone(), x[1].clone().exp()]
            })
        }
    }
}

fn convolution(random: &mut Random, _: DType) -> Case {
    let (from, to) = (1 + random.below(3), 1 + random.below(3));
    let (height, width) = (3 + random.below(4), 3 + random.below(4));
    let stride = 1 + random.below(2);
    let arguments = vec![
        random.signed(from * height * width),
        random.signed(to * from * 9),
        random.signed(to),
    ];
    Case::new(arguments, move |x| {
        let map = x[0].clone().reshape([1, from, height, width]);
        let kernel = x[1].clone().reshape([to, from, 3, 3]);
        let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
        vec![flat(conv2d(map, kernel, Some(x[2].clone()), options))]
    })
}

/// Elements at zero, where the derivative is zero and the value is smallest or largest.
fn even_at_zero(random: &mut Random, _: DType) -> Case {
    let count = 1 + random.below(8);
    let zeros = random.pick(&[0.3, 1.0]);
    let x = (0..count)
        .map(|_| {
            if random.chance(zeros) {
                0.0
            } else {
                random.between(-1.0, 1.0)
            }
        })
        .collect();
    match random.below(4) {
        0 => Case::of_one(x, |x| x.clone() * x),
        1 => Case::of_one(x, |x| x.cos()),
        2 => Case::of_one(x, |x| (x.clone() * x).sum()),
        _ => Case::of_one(x, |x| x.clone() * x.sin()),
    }
}

fn sum_of_rectifiers(random: &mut Random, dtype: DType) -> Case {
    let count = random.pick(&[10, 100, 1_000, 10_000]);
    let mut case = Case::of_one(random.signed(count), |x| relu(x).sum());
    // A sum of 2,500 beside one element.
    case.hopeless = count == 10_000 && dtype == DType::F32;
    case
}

/// Some elements stand exactly on a kink.
fn on_a_kink(random: &mut Random, _: DType) -> Case {
    let count = random.pick(&[5, 30, 1_000]);
    let mut x = random.signed(count);
    let edge = random.pick(&[0.0, 0.5]);
    for _ in 0..1 + random.below(3) {
        let at = random.below(count);
        x[at] = edge;
    }
    match random.below(3) {
        0 => Case::of_one(x, move |x| relu(x - edge)),
        1 => Case::of_one(x, move |x| x.clamp(-0.75, edge)),
        _ => Case::of_one(x, move |x| (x - edge).abs()),
    }
}

/// A bias whose gradient is zero, since the mean is subtracted.
fn bias_before_norm(random: &mut Random, _: DType) -> Case {
    let (rows, columns) = (4 + random.below(4), 1 + random.below(3));
    let arguments = vec![random.signed(rows * columns), random.signed(columns)];
    Case::new(arguments, move |x| {
        let values = matrix(&x[0], rows, columns) + x[1].clone().unsqueeze();
        let centred = values.clone() - values.mean_dim(0);
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        vec![flat(centred / (variance + 1e-5).sqrt())]
    })
}
