//! Do Burn's operations compute the same on two devices? Each line of the table is one operation:
//! outputs and gradients, with values that fill no vector, and with views.
//!
//! ```text
//! cargo run --release --example devices --features ndarray -- ndarray
//! cargo run --release --example devices --features wgpu -- wgpu
//! ```

use burn::module::Module;
use burn::nn::conv::{Conv2dConfig, ConvTranspose2dConfig};
use burn::nn::{BatchNormConfig, GroupNormConfig, LayerNormConfig, LinearConfig, RmsNormConfig};
use burn::tensor::activation::{
    gelu, leaky_relu, log_softmax, mish, relu, sigmoid, silu, softmax, softplus,
};
use burn::tensor::module::{
    adaptive_avg_pool2d, avg_pool2d, conv_transpose1d, conv_transpose2d, conv_transpose3d, conv1d,
    conv2d, conv3d, interpolate, max_pool2d,
};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions, PadMode,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_gradcheck::{Arguments, DeviceFailure, Outputs, compare_devices, module};

/// The device under test, and how many operations agree.
struct Table {
    reference: Device,
    device: Device,
    dtype: DType,
    operations: usize,
    agree: usize,
}

impl Table {
    /// Prints the line of one operation.
    fn row<A: Arguments, O: Outputs>(
        &mut self,
        name: &str,
        arguments: A,
        function: impl Fn(A::Values) -> O,
    ) {
        let outcome = compare_devices(
            arguments,
            function,
            &self.reference,
            &self.device,
            self.dtype,
        );
        self.operations += 1;
        let (report, verdict) = match &outcome {
            Ok(report) => (report, "agrees"),
            Err(DeviceFailure::Differ(report)) => (report, "DIFFERS"),
            Err(other) => return println!("| {name} | | | {other} |"),
        };
        self.agree += usize::from(outcome.is_ok());
        let largest = |error: fn(&burn_gradcheck::DeviceTensor) -> f64| {
            report.tensors.iter().map(error).fold(0.0, f64::max)
        };
        let (error, of_reference) = (largest(|t| t.error), largest(|t| t.reference_error));
        println!("| {name} | {error:.1e} | {of_reference:.1e} | {verdict} |");
        if outcome.is_err() {
            println!("{report:#}");
        }
    }
}

/// Values in (-1, 1) that repeat, on the reference.
fn values<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    // The fractional parts of multiples of the golden ratio: Weyl's sequence.
    let values: Vec<f64> = (1..=count)
        .map(|i| 2.0 * (i as f64 * 0.618_033_988_749_895).fract() - 1.0)
        .collect();
    Tensor::from_data(
        TensorData::new(values, shape),
        (&Device::flex(), DType::F64),
    )
}

/// Values in (0.5, 2.5).
fn positive<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    values(shape) + 1.5
}

fn seeded<M: Module>(make: impl FnOnce(&Device) -> M) -> burn_gradcheck::Parameters<M> {
    let device = Device::flex();
    device.seed(1);
    module(&make(&device))
}

fn indices(device: &Device) -> Tensor<1, Int> {
    Tensor::from_data([4, 0, 2, 2, 6], device)
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or("flex".to_string());
    let device = match name.as_str() {
        "flex" => Device::flex(),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // by Burn
        "ndarray" => Device::ndarray(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(Default::default()),
        _ => {
            eprintln!(
                "error: no device {name:?}; expected flex, or ndarray or wgpu with the feature of \
                 that name"
            );
            std::process::exit(2);
        }
    };
    println!("| operation, F32 on {device:?} | error | of Flex | |\n|---|---:|---:|---|");
    let mut table = Table {
        reference: Device::flex(),
        device,
        dtype: DType::F32,
        operations: 0,
        agree: 0,
    };
    elementwise(&mut table);
    reductions(&mut table);
    movements(&mut table);
    convolutions(&mut table);
    pooling(&mut table);
    modules(&mut table);
    println!("{} of {} operations agree", table.agree, table.operations);
}

fn elementwise(table: &mut Table) {
    let shape = [5, 7];
    table.row(
        "add, broadcast",
        (values([5, 1]), values([1, 7])),
        |(a, b)| a + b,
    );
    table.row("div", (values(shape), positive(shape)), |(a, b)| a / b);
    table.row("exp", values(shape), |x| x.exp());
    table.row("log", positive(shape), |x| x.log());
    table.row("log1p", positive(shape), |x| x.log1p());
    table.row("sqrt", positive(shape), |x| x.sqrt());
    table.row("sin", values(shape), |x| (x * 3.0).sin());
    table.row("cos", values(shape), |x| (x * 3.0).cos());
    table.row("tanh", values(shape), |x| (x * 3.0).tanh());
    table.row("erf", values(shape), |x| (x * 2.0).erf());
    table.row("abs", values(shape), |x| x.abs());
    table.row("powf", (positive(shape), values(shape)), |(a, b)| a.powf(b));
    table.row("recip", positive(shape), |x| x.recip());
    table.row("clamp", values(shape), |x| x.clamp(-0.4, 0.6));
    table.row("relu", values(shape), relu);
    table.row("leaky_relu", values(shape), |x| leaky_relu(x, 0.1));
    table.row("gelu", values(shape), |x| gelu(x * 2.0));
    table.row("sigmoid", values(shape), |x| sigmoid(x * 4.0));
    table.row("silu", values(shape), |x| silu(x * 4.0));
    table.row("softplus", values(shape), |x| softplus(x * 4.0, 1.0));
    table.row("mish", values(shape), |x| mish(x * 4.0));
    table.row("mask_where", (values(shape), values(shape)), |(a, b)| {
        a.clone().mask_where(a.greater_elem(0.1), b)
    });
}

fn reductions(table: &mut Table) {
    let shape = [5, 7, 9];
    table.row(
        "matmul",
        (values([3, 5, 37]), values([3, 37, 11])),
        |(a, b)| a.matmul(b),
    );
    table.row(
        "matmul of a transposed",
        (values([37, 5]), values([37, 11])),
        |(a, b)| a.transpose().matmul(b),
    );
    table.row("sum_dim", values(shape), |x| x.sum_dim(1));
    table.row("mean", values(shape), |x| x.mean());
    table.row("var", values(shape), |x| x.var(2));
    table.row("prod_dim", positive([5, 7]), |x| x.prod_dim(1));
    table.row("max_dim", values(shape), |x| x.max_dim(1));
    table.row("min_dim", values(shape), |x| x.min_dim(2));
    table.row("cumsum", values(shape), |x| x.cumsum(1));
    table.row("softmax", values(shape), |x| softmax(x * 5.0, 2));
    table.row("log_softmax", values(shape), |x| log_softmax(x * 5.0, 1));
}

fn movements(table: &mut Table) {
    let shape = [3, 7, 5];
    table.row("permute", values(shape), |x| x.permute([2, 0, 1]));
    table.row("flip", values(shape), |x| x.flip([1, 2]));
    table.row("slice with steps", values(shape), |x| {
        x.slice(burn::tensor::s![.., 1..7;2, ..;-1])
    });
    table.row(
        "slice_assign",
        (values(shape), values([3, 2, 5])),
        |(x, y)| x.slice_assign([0..3, 2..4, 0..5], y),
    );
    table.row("pad", values(shape), |x| {
        x.pad([(1, 2), (0, 1)], PadMode::Constant(0.5))
    });
    table.row("pad by reflection", values(shape), |x| {
        x.pad([(1, 2), (2, 1)], PadMode::Reflect)
    });
    table.row("repeat_dim", values(shape), |x| x.repeat_dim(1, 3));
    table.row("cat", (values(shape), values([3, 2, 5])), |(x, y)| {
        Tensor::cat(vec![x, y], 1)
    });
    table.row("select", values(shape), |x| {
        let at = indices(&x.device());
        x.select(1, at)
    });
    table.row("gather", values([5, 7]), |x| {
        let at = indices(&x.device()).reshape([5, 1]).repeat_dim(1, 2);
        x.gather(1, at)
    });
    table.row("unfold of a dimension", values(shape), |x| {
        x.unfold::<4, _>(1, 3, 2)
    });
}

fn convolutions(table: &mut Table) {
    let x = || values([2, 6, 9, 11]);
    table.row(
        "conv1d",
        (values([2, 4, 19]), values([3, 4, 5]), values([3])),
        |(x, w, b)| conv1d(x, w, Some(b), ConvOptions::new([2], [2], [1], 1)),
    );
    table.row(
        "conv2d",
        (x(), values([5, 6, 3, 3]), values([5])),
        |(x, w, b)| conv2d(x, w, Some(b), ConvOptions::new([1, 1], [1, 1], [1, 1], 1)),
    );
    table.row(
        "conv2d, stride, dilation",
        (x(), values([5, 6, 3, 2])),
        |(x, w)| conv2d(x, w, None, ConvOptions::new([2, 3], [1, 0], [2, 1], 1)),
    );
    table.row("conv2d, groups", (x(), values([9, 2, 3, 3])), |(x, w)| {
        conv2d(x, w, None, ConvOptions::new([1, 2], [1, 1], [1, 1], 3))
    });
    table.row(
        "conv2d, depthwise",
        (x(), values([6, 1, 5, 5])),
        |(x, w)| conv2d(x, w, None, ConvOptions::new([1, 1], [2, 2], [1, 1], 6)),
    );
    table.row(
        "conv3d",
        (values([1, 3, 5, 6, 7]), values([4, 3, 2, 3, 3])),
        |(x, w)| {
            conv3d(
                x,
                w,
                None,
                ConvOptions::new([1, 2, 1], [0, 1, 1], [1, 1, 1], 1),
            )
        },
    );
    table.row(
        "conv_transpose1d",
        (values([2, 4, 9]), values([4, 3, 4])),
        |(x, w)| conv_transpose1d(x, w, None, ConvTransposeOptions::new([2], [1], [0], [1], 1)),
    );
    table.row(
        "conv_transpose2d",
        (x(), values([6, 5, 4, 4]), values([5])),
        |(x, w, b)| {
            let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
            conv_transpose2d(x, w, Some(b), options)
        },
    );
    table.row(
        "conv_transpose2d, groups",
        (x(), values([6, 2, 3, 3])),
        |(x, w)| {
            let options = ConvTransposeOptions::new([2, 3], [1, 0], [1, 2], [1, 2], 3);
            conv_transpose2d(x, w, None, options)
        },
    );
    table.row(
        "conv_transpose2d, stride past the kernel",
        (x(), values([6, 5, 2, 2])),
        |(x, w)| {
            let options = ConvTransposeOptions::new([4, 3], [0, 0], [1, 0], [1, 1], 1);
            conv_transpose2d(x, w, None, options)
        },
    );
    table.row(
        "conv_transpose3d",
        (values([1, 3, 4, 3, 5]), values([3, 2, 2, 3, 3])),
        |(x, w)| {
            let options = ConvTransposeOptions::new([2, 1, 2], [0, 1, 1], [0, 0, 1], [1, 1, 1], 1);
            conv_transpose3d(x, w, None, options)
        },
    );
}

fn pooling(table: &mut Table) {
    let x = || values([2, 3, 9, 11]);
    table.row("max_pool2d", x(), |x| {
        let options = MaxPoolOptions::new([3, 2]).with_stride([2, 2]);
        max_pool2d(x, options.with_padding([1, 0]))
    });
    table.row("avg_pool2d", x(), |x| {
        let options = AvgPoolOptions::new([3, 3]).with_stride([2, 2]);
        avg_pool2d(x, options.with_padding([1, 1]))
    });
    table.row("adaptive_avg_pool2d", x(), |x| {
        adaptive_avg_pool2d(x, [4, 3])
    });
    for (name, mode) in [
        ("interpolate, nearest", InterpolateMode::Nearest),
        ("interpolate, bilinear", InterpolateMode::Bilinear),
        ("interpolate, bicubic", InterpolateMode::Bicubic),
    ] {
        let options = InterpolateOptions::new(mode).with_output_size([14, 23]);
        table.row(name, x(), |x| interpolate(x, options.clone()));
    }
}

fn modules(table: &mut Table) {
    let input = || ("input", values([4, 6]));
    let map = || ("input", values([2, 6, 5, 7]));
    let linear = seeded(|device| LinearConfig::new(6, 5).init(device));
    table.row("Linear", (linear, input()), |(linear, x)| linear.forward(x));
    let norm = seeded(|device| LayerNormConfig::new(6).init(device));
    table.row("LayerNorm", (norm, input()), |(norm, x)| norm.forward(x));
    let norm = seeded(|device| RmsNormConfig::new(6).init(device));
    table.row("RmsNorm", (norm, input()), |(norm, x)| norm.forward(x));
    let norm = seeded(|device| BatchNormConfig::new(6).init(device));
    table.row("BatchNorm", (norm, map()), |(norm, x)| norm.forward(x));
    let norm = seeded(|device| GroupNormConfig::new(3, 6).init(device));
    table.row("GroupNorm", (norm, map()), |(norm, x)| norm.forward(x));
    let conv = seeded(|device| Conv2dConfig::new([6, 4], [3, 3]).init(device));
    table.row("Conv2d", (conv, map()), |(conv, x)| conv.forward(x));
    let config = ConvTranspose2dConfig::new([6, 4], [4, 4]).with_stride([2, 2]);
    let conv = seeded(|device| config.init(device));
    table.row("ConvTranspose2d", (conv, map()), |(conv, x)| {
        conv.forward(x)
    });
}
