//! Times the kernels on the layers of `benches/layers.json`.
//!
//! ```text
//! cargo bench -p deconv-kernel                     every layer, all three passes
//! cargo bench -p deconv-kernel -- dcgan fcn        the layers whose names contain one of these
//! cargo bench -p deconv-kernel -- --test           checks the answers, times nothing
//! ```
//!
//! Before a pass is timed, random values of its answer are compared with the definition, computed
//! one by one in `f64`. The numbers are multiples of 1/8, so the values must be equal. Without an
//! argument, layers that take seconds (maps of 512 and more) are left out; name them to time them.

#[path = "../src/draw.rs"]
mod draw;

use std::hint::black_box;
use std::time::{Duration, Instant};

use deconv_kernel::{Arch, Axis, Problem};
use serde_json::Value;

use self::draw::Draw;

/// Values of each answer that are compared with the definition.
const CHECKED_VALUES: usize = 64;
/// A pass is timed for so long, but at least three times and at most a thousand times.
const TIMED: Duration = Duration::from_millis(150);
/// Without a name, layers of more multiply-adds are left out.
const MAX_MULADDS: usize = 1 << 33;

/// A layer with random operands.
struct Case {
    problem: Problem,
    input: Vec<f32>,
    weight: Vec<f32>,
    grad_output: Vec<f32>,
}

#[derive(Clone, Copy)]
enum Pass {
    Forward,
    GradInput,
    GradWeight,
}

impl Pass {
    const ALL: [Self; 3] = [Self::Forward, Self::GradInput, Self::GradWeight];

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::GradInput => "grad_input",
            Self::GradWeight => "grad_weight",
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only_check = arguments.iter().any(|argument| argument == "--test");
    let names: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let table: Value = serde_json::from_str(include_str!("../../../benches/layers.json"))
        .expect("layers.json is a table of layers");
    let layers = ["layers", "well_known", "large_kernels", "scaling"]
        .iter()
        .flat_map(|part| table[part].as_array().into_iter().flatten());

    println!(
        "{} threads, {:?}",
        rayon::current_num_threads(),
        ArchName(Arch::new())
    );
    for layer in layers {
        let name = layer["name"].as_str().expect("a layer has a name");
        let problem = problem(layer);
        let wanted = if names.is_empty() {
            muladds(&problem) <= MAX_MULADDS
        } else {
            names.iter().any(|part| name.contains(part.as_str()))
        };
        if wanted {
            let case = Case::new(problem);
            for pass in Pass::ALL {
                case.check(name, pass);
                if only_check {
                    println!("{name:<24} {:<12} right", pass.name());
                } else {
                    case.time(name, pass);
                }
            }
        }
    }
}

/// The vector instructions, without the list of features.
struct ArchName(Arch);

impl core::fmt::Debug for ArchName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = format!("{:?}", self.0);
        f.write_str(name.split('(').next().unwrap_or(&name))
    }
}

/// The sizes of a layer of the table.
fn problem(layer: &Value) -> Problem {
    let size = |value: &Value| value.as_u64().expect("a size") as usize;
    let same = match layer["padding"].as_str() {
        Some("Same") => true,
        Some("Valid") => false,
        padding => panic!("padding {padding:?}"),
    };
    let axes = [0, 1].map(|i| {
        let axis = Axis {
            input: size(&layer["input"][2 + i]),
            kernel: size(&layer["kernel"][i]),
            stride: size(&layer["stride"][i]),
            dilation: size(&layer["dilation"][i]),
            crop_begin: 0,
            output: 0,
        };
        if same {
            let output = axis.input * axis.stride;
            let crop_begin = axis.full().saturating_sub(output) / 2;
            Axis {
                crop_begin,
                output,
                ..axis
            }
        } else {
            let output = (axis.input - 1) * axis.stride + axis.extent().max(axis.stride);
            Axis { output, ..axis }
        }
    });
    Problem {
        batch: size(&layer["input"][0]),
        groups: size(&layer["groups"]),
        c_in: size(&layer["input"][1]),
        c_out: size(&layer["channels_out"]),
        axes,
    }
}

/// Where input value `i` and tap `tap` meet in the output.
fn place(axis: &Axis, i: usize, tap: usize) -> Option<usize> {
    let full = i * axis.stride + (axis.kernel - 1 - tap) * axis.dilation;
    full.checked_sub(axis.crop_begin)
        .filter(|at| *at < axis.output)
}

/// The products that reach the output: none with an inserted zero, none that is cropped.
fn muladds(problem: &Problem) -> usize {
    let meetings = problem.axes.map(|axis| {
        let taps = (0..axis.kernel).flat_map(|tap| (0..axis.input).map(move |i| (i, tap)));
        taps.filter(|(i, tap)| place(&axis, *i, *tap).is_some())
            .count()
    });
    problem.batch * problem.c_in * (problem.c_out / problem.groups) * meetings[0] * meetings[1]
}

impl Case {
    fn new(problem: Problem) -> Self {
        let mut draw = Draw::new(1);
        let mut eighths = |shape: [usize; 4]| -> Vec<f32> {
            let count = shape.iter().product();
            (0..count)
                .map(|_| (draw.below(17) as f32 - 8.0) / 8.0)
                .collect()
        };
        Self {
            input: eighths(problem.input_shape()),
            weight: eighths(problem.weight_shape()),
            grad_output: eighths(problem.output_shape()),
            problem,
        }
    }

    fn compute(&self, pass: Pass) -> Vec<f32> {
        let (arch, problem) = (Arch::new(), &self.problem);
        match pass {
            Pass::Forward => deconv_kernel::forward(arch, problem, &self.input, &self.weight, None),
            Pass::GradInput => {
                deconv_kernel::grad_input(arch, problem, &self.weight, &self.grad_output)
            }
            Pass::GradWeight => {
                deconv_kernel::grad_weight(arch, problem, &self.input, &self.grad_output)
            }
        }
    }

    /// Compares random values of the answer with the definition.
    fn check(&self, name: &str, pass: Pass) {
        let answer = self.compute(pass);
        let mut draw = Draw::new(2);
        for _ in 0..CHECKED_VALUES {
            let at = draw.below(answer.len());
            let expected = match pass {
                Pass::Forward => self.output_value(at),
                Pass::GradInput => self.grad_input_value(at),
                Pass::GradWeight => self.grad_weight_value(at),
            };
            assert_eq!(
                f64::from(answer[at]),
                expected,
                "{name}, {}, value {at}",
                pass.name()
            );
        }
    }

    /// `sum over c, a, b of input[map, c, i, j] * weight[o, c, a, b]`
    fn output_value(&self, at: usize) -> f64 {
        let problem = &self.problem;
        let [height, width] = &problem.axes;
        let [map, o, y, x] = indices(at, problem.output_shape());
        let group = o / (problem.c_out / problem.groups);
        let c_in = problem.c_in / problem.groups;
        let mut sum = 0.0;
        for a in 0..height.kernel {
            for b in 0..width.kernel {
                let (Some(i), Some(j)) = (input_place(height, y, a), input_place(width, x, b))
                else {
                    continue;
                };
                for c in 0..c_in {
                    let input = [map, group * c_in + c, i, j];
                    sum += value(&self.input, problem.input_shape(), input)
                        * value(&self.weight, problem.weight_shape(), [o, c, a, b]);
                }
            }
        }
        sum
    }

    /// `sum over o, a, b of weight[o, c, a, b] * grad_output[map, o, y, x]`
    fn grad_input_value(&self, at: usize) -> f64 {
        let problem = &self.problem;
        let [height, width] = &problem.axes;
        let [map, channel, i, j] = indices(at, problem.input_shape());
        let (c_in, c_out) = (
            problem.c_in / problem.groups,
            problem.c_out / problem.groups,
        );
        let (group, c) = (channel / c_in, channel % c_in);
        let mut sum = 0.0;
        for a in 0..height.kernel {
            for b in 0..width.kernel {
                let (Some(y), Some(x)) = (place(height, i, a), place(width, j, b)) else {
                    continue;
                };
                for o in group * c_out..(group + 1) * c_out {
                    sum += value(&self.weight, problem.weight_shape(), [o, c, a, b])
                        * value(&self.grad_output, problem.output_shape(), [map, o, y, x]);
                }
            }
        }
        sum
    }

    /// `sum over maps, i, j of input[map, c, i, j] * grad_output[map, o, y, x]`
    fn grad_weight_value(&self, at: usize) -> f64 {
        let problem = &self.problem;
        let [height, width] = &problem.axes;
        let [o, c, a, b] = indices(at, problem.weight_shape());
        let group = o / (problem.c_out / problem.groups);
        let channel = group * (problem.c_in / problem.groups) + c;
        let mut sum = 0.0;
        for map in 0..problem.batch {
            for i in 0..height.input {
                for j in 0..width.input {
                    let (Some(y), Some(x)) = (place(height, i, a), place(width, j, b)) else {
                        continue;
                    };
                    sum += value(&self.input, problem.input_shape(), [map, channel, i, j])
                        * value(&self.grad_output, problem.output_shape(), [map, o, y, x]);
                }
            }
        }
        sum
    }

    /// Prints the median time of a call and its rate.
    fn time(&self, name: &str, pass: Pass) {
        let mut times: Vec<f64> = Vec::new();
        let begin = Instant::now();
        while times.len() < 3 || (begin.elapsed() < TIMED && times.len() < 1000) {
            let call = Instant::now();
            black_box(self.compute(pass));
            times.push(call.elapsed().as_secs_f64());
        }
        times.sort_unstable_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let rate = 2.0 * muladds(&self.problem) as f64 / median / 1e9;
        println!(
            "{name:<24} {:<12} {:>10.4} ms {rate:>8.1} GFLOP/s",
            pass.name(),
            1e3 * median
        );
    }
}

/// Where an output value has its input for a tap.
fn input_place(axis: &Axis, output: usize, tap: usize) -> Option<usize> {
    let ahead = (output + axis.crop_begin).checked_sub((axis.kernel - 1 - tap) * axis.dilation)?;
    let input = ahead / axis.stride;
    (ahead.is_multiple_of(axis.stride) && input < axis.input).then_some(input)
}

fn indices(at: usize, [_, b, c, d]: [usize; 4]) -> [usize; 4] {
    [at / (b * c * d), at / (c * d) % b, at / d % c, at % d]
}

fn value(values: &[f32], [_, b, c, d]: [usize; 4], [i, j, k, l]: [usize; 4]) -> f64 {
    f64::from(values[((i * b + j) * c + k) * d + l])
}
