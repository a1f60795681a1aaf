//! Loads a Keras autoencoder and a PyTorch generator into Burn models and compares their outputs
//! with the frameworks' own.
//!
//! ```text
//! cargo run -p burn-weights --example import
//! ```
//!
//! The script `tests/fixtures/models.py` made the files.

use std::error::Error;
use std::path::PathBuf;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::store::{ModuleStore, SafetensorsStore, bridge};
use burn::tensor::activation::{relu, sigmoid, tanh};
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};
use burn_weights::{LoadReport, WeightsError, WeightsFile};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models");

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::default();

    let mut autoencoder = Autoencoder::new(&device);
    let file = Autoencoder::file(format!("{MODELS}/keras_autoencoder.keras"));
    let report = file.load_into(&mut autoencoder)?;
    let [input, output] = recorded("keras_autoencoder", &device)?;
    compare(
        "Keras autoencoder",
        &report,
        autoencoder.forward(input),
        output,
    )?;

    let mut generator = Generator::new(&device);
    let file = Generator::file(format!("{MODELS}/pytorch_dcgan.pt"))?;
    let report = file.load_into(&mut generator)?;
    let [input, output] = recorded("pytorch_dcgan", &device)?;
    compare(
        "PyTorch generator",
        &report,
        generator.forward(input),
        output,
    )
}

/// Keras:
///
/// ```python
/// same = {"kernel_size": 3, "strides": 2, "padding": "same"}
/// keras.Sequential([
///     keras.Input((12, 20, 3)),
///     Conv2D(5, name="down1", use_bias=False, **same),
///     BatchNormalization(name="down1_norm"),
///     ReLU(),
///     Conv2D(6, name="down2", activation="relu", **same),
///     Conv2DTranspose(4, name="up1", use_bias=False, **same),
///     BatchNormalization(name="up1_norm"),
///     ReLU(),
///     Conv2DTranspose(3, name="up2", activation="sigmoid", **same),
/// ])
/// ```
///
/// The fields have the layers' names, so no name is mapped.
#[derive(Module, Debug)]
pub struct Autoencoder {
    down1: Conv2d,
    down1_norm: BatchNorm,
    down2: Conv2d,
    pub up1: Deconv2dLayer,
    up1_norm: BatchNorm,
    up2: Deconv2dLayer,
}

impl Autoencoder {
    pub fn new(device: &Device) -> Self {
        let down = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Same)
        };
        // Keras' epsilon; Burn's and PyTorch's is 1e-5.
        let norm = |channels| {
            BatchNormConfig::new(channels)
                .with_epsilon(1e-3)
                .init(device)
        };
        // The defaults are stride 2 and Padding::Same.
        let up = |channels| Deconv2dLayerConfig::new(channels, [3, 3]);
        Self {
            down1: down([3, 5]).with_bias(false).init(device),
            down1_norm: norm(5),
            down2: down([5, 6]).init(device),
            up1: up([6, 4]).with_bias(false).init(device),
            up1_norm: norm(4),
            up2: up([4, 3]).init(device),
        }
    }

    pub fn file(path: impl Into<PathBuf>) -> WeightsFile {
        WeightsFile::keras(path)
    }

    /// `[n, 3, h, w]` to `[n, 3, h, w]`; Keras has the channels last.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.down1_norm.forward(self.down1.forward(x)));
        let x = relu(self.down2.forward(x));
        let x = relu(self.up1_norm.forward(self.up1.forward(x)));
        sigmoid(self.up2.forward(x))
    }
}

/// PyTorch:
///
/// ```python
/// self.main = nn.Sequential(
///     nn.ConvTranspose2d(8, 16, 4, 1, 0, bias=False),
///     nn.BatchNorm2d(16),
///     nn.ReLU(True),
///     nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
///     nn.BatchNorm2d(8),
///     nn.ReLU(True),
///     nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
///     nn.Tanh(),
/// )
/// ```
#[derive(Module, Debug)]
pub struct Generator {
    pub project: Deconv2dLayer,
    project_norm: BatchNorm,
    up1: Deconv2dLayer,
    up1_norm: BatchNorm,
    up2: Deconv2dLayer,
}

impl Generator {
    pub fn new(device: &Device) -> Self {
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let up = |channels, stride, padding| {
            Deconv2dLayerConfig::new(channels, [4, 4])
                .with_stride([stride, stride])
                .with_padding(Padding::Explicit(padding, padding, padding, padding))
                .with_bias(false)
                .init(device)
        };
        Self {
            project: up([8, 16], 1, 0),
            project_norm: norm(16),
            up1: up([16, 8], 2, 1),
            up1_norm: norm(8),
            up2: up([8, 3], 2, 1),
        }
    }

    /// The layers have numbers in the file and names in Burn.
    pub fn file(path: impl Into<PathBuf>) -> Result<WeightsFile, WeightsError> {
        WeightsFile::pytorch(path)
            .with_key_remapping(r"^main\.0\.", "project.")?
            .with_key_remapping(r"^main\.1\.", "project_norm.")?
            .with_key_remapping(r"^main\.3\.", "up1.")?
            .with_key_remapping(r"^main\.4\.", "up1_norm.")?
            .with_key_remapping(r"^main\.6\.", "up2.")
    }

    /// `[n, 8, 1, 1]` to `[n, 3, 16, 16]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.project_norm.forward(self.project.forward(x)));
        let x = relu(self.up1_norm.forward(self.up1.forward(x)));
        tanh(self.up2.forward(x))
    }
}

/// The input and the output that the framework recorded.
fn recorded(name: &str, device: &Device) -> Result<[Tensor<4>; 2], Box<dyn Error>> {
    let mut file = SafetensorsStore::from_file(format!("{MODELS}/{name}.io.safetensors"));
    let tensors = file.get_all_tensors()?;
    let input = bridge::to_data(&tensors["input"])?;
    let output = bridge::to_data(&tensors["output"])?;
    Ok([input, output].map(|data| Tensor::from_data(data, device)))
}

fn compare(
    name: &str,
    report: &LoadReport,
    ours: Tensor<4>,
    theirs: Tensor<4>,
) -> Result<(), Box<dyn Error>> {
    let largest: f32 = theirs.clone().abs().max().into_scalar();
    let difference: f32 = (ours - theirs).abs().max().into_scalar();
    println!(
        "{name}: {} tensors loaded, {} unused; largest difference {difference:.1e}, where the \
         largest output is {largest:.2}",
        report.loaded.len(),
        report.unused.len(),
    );
    if difference > 1e-5 * largest {
        return Err(format!("{name}: the outputs differ").into());
    }
    Ok(())
}
