//! Outputs of whole models: they are the framework's, and only in the right layout.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{DType, Distribution, Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, KernelLayout, Padding};
use burn_weights::{WeightsError, WeightsFile};

use crate::import::{Autoencoder, Generator};
use crate::models::{FlaxDecoder, Grouped, KerasDecoder, Single, UNetDecoder};
use crate::{LAYOUTS, TemporaryFile, device, fixture, read_safetensors, safetensors, state};

/// The maps that a framework recorded.
pub struct Recorded {
    model: String,
    maps: BTreeMap<String, TensorData>,
}

impl Recorded {
    pub fn of(model: &str) -> Self {
        let file = fixture(&format!("{model}.io.safetensors"));
        Self {
            model: model.to_string(),
            maps: read_safetensors(&file),
        }
    }

    pub fn get<const D: usize>(&self, map: &str) -> Tensor<D> {
        Tensor::from_data(self.maps[map].clone(), &device())
    }

    /// Compares the output of `run`, which loads a file and applies the model, with the
    /// framework's output. The frameworks sum f32s, which have 24 bits (6e-8), in other orders.
    /// Read in another layout, the file must not load, or the output must differ.
    pub fn check(
        &self,
        file: WeightsFile,
        layout: KernelLayout,
        run: impl Fn(WeightsFile) -> Result<Tensor<4>, WeightsError>,
    ) {
        let difference = difference(run(file.clone()).unwrap(), self.get("output"));
        println!(
            "{}: largest relative difference {difference:.1e}",
            self.model
        );
        assert!(difference <= 1e-5, "{difference}");

        for other in LAYOUTS.into_iter().filter(|&other| other != layout) {
            match run(file.clone().with_layout(other)) {
                Ok(output) => {
                    let difference = self::difference(output, self.get("output"));
                    assert!(difference > 0.01, "{other}: {difference}");
                }
                Err(WeightsError::DoesNotFit { .. }) => {}
                Err(error) => panic!("{other}: {error}"),
            }
        }
    }
}

/// The largest difference from what is expected, relative to the largest expected value.
pub fn difference(output: Tensor<4>, expected: Tensor<4>) -> f32 {
    assert_eq!(output.dims(), expected.dims());
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let difference: f32 = (output - expected).abs().max().into_scalar();
    difference / largest
}

#[test]
fn keras_autoencoder() {
    let recorded = Recorded::of("keras_autoencoder");
    for name in ["keras_autoencoder.weights.h5", "keras_autoencoder.keras"] {
        let file = Autoencoder::file(fixture(name));
        recorded.check(file, KernelLayout::KERAS, |file| {
            let mut model = Autoencoder::new(&device());
            let report = file.load_into(&mut model)?;
            assert_eq!(report.loaded.len(), state(&model).len());
            assert_eq!((report.missing, report.unused), (vec![], vec![]));
            Ok(model.forward(recorded.get("input")))
        });
    }
}

#[test]
fn keras_subclassed() {
    let recorded = Recorded::of("keras_subclassed");
    let file = WeightsFile::keras(fixture("keras_subclassed.weights.h5"))
        .with_key_remapping(r"^blocks\.up\.", "blocks.0.")
        .and_then(|file| file.with_key_remapping(r"^blocks\.up_1\.", "blocks.1."))
        .and_then(|file| file.with_key_remapping(r"^dense\.", "project."));
    recorded.check(file.unwrap(), KernelLayout::KERAS, |file| {
        let mut model = KerasDecoder::new(&device());
        let report = file.load_into(&mut model)?;
        assert_eq!(report.unused, [""; 0]);
        Ok(model.forward(recorded.get("input")))
    });
}

#[test]
fn pytorch_dcgan() {
    let recorded = Recorded::of("pytorch_dcgan");
    let file = Generator::file(fixture("pytorch_dcgan.pt")).unwrap();
    recorded.check(file, KernelLayout::PYTORCH, |file| {
        let mut model = Generator::new(&device());
        let report = file.load_into(&mut model)?;
        let counts = [
            "project_norm.num_batches_tracked",
            "up1_norm.num_batches_tracked",
        ];
        assert_eq!(report.unused, counts);
        Ok(model.forward(recorded.get("input")))
    });
}

#[test]
fn pytorch_unet_in_f32_and_f16() {
    for name in ["pytorch_unet", "pytorch_unet_f16"] {
        let recorded = Recorded::of(name);
        let file = WeightsFile::pytorch(fixture(&format!("{name}.safetensors")));
        recorded.check(file, KernelLayout::PYTORCH, |file| {
            let mut model = UNetDecoder::new(&device());
            file.load_into(&mut model)?;
            assert_eq!(model.up.weight.val().dtype(), DType::F32);
            Ok(model.forward(recorded.get("input"), recorded.get("skip")))
        });
    }
}

/// Burn's batch norms put off the last update of their statistics until the next.
#[test]
fn a_model_that_has_trained() {
    let device = device().autodiff();
    let random = |shape| Tensor::<4>::random(shape, Distribution::Default, &device);
    let mut model = UNetDecoder::new(&device);
    let output = model.forward(random([2, 12, 5, 6]), random([2, 4, 10, 12]));
    output.sum().backward();

    let path = fixture("pytorch_unet.safetensors");
    WeightsFile::pytorch(&path).load_into(&mut model).unwrap();
    let expected = read_safetensors(&path).remove("norm.running_mean").unwrap();
    let norm = model.valid().norm;
    assert_eq!(norm.running_mean.value().into_data(), expected);
    assert!(model.up.weight.val().is_require_grad());
}

#[test]
fn pytorch_grouped() {
    let recorded = Recorded::of("pytorch_grouped");
    let file = WeightsFile::pytorch(fixture("pytorch_grouped.pth"));
    let file = file.with_top_level_key("model_state_dict");
    recorded.check(file, KernelLayout::PYTORCH, |file| {
        let mut model = Grouped::new(&device());
        file.load_into(&mut model)?;
        Ok(model.forward(recorded.get("input")))
    });
}

#[test]
fn pytorch_dilated_and_output_padding() {
    for (name, model) in [
        ("pytorch_dilated", Single::dilated(&device())),
        ("pytorch_output_padding", Single::output_padding(&device())),
    ] {
        let recorded = Recorded::of(name);
        let file = WeightsFile::pytorch(fixture(&format!("{name}.pt")));
        recorded.check(file, KernelLayout::PYTORCH, |file| {
            let mut model = model.clone();
            file.load_into(&mut model)?;
            Ok(model.up.forward(recorded.get("input")))
        });
    }
}

#[test]
fn flax_decoder() {
    let recorded = Recorded::of("flax_decoder");
    let file = WeightsFile::flax(fixture("flax_decoder.safetensors"));
    recorded.check(file, KernelLayout::Flax, |file| {
        let mut model = FlaxDecoder::new(&device());
        let report = file.load_into(&mut model)?;
        assert_eq!(report.unused, [""; 0]);
        Ok(model.forward(recorded.get("input")))
    });
}

/// A model with Burn's own layers, saved by Burn, and the same with ours.
#[test]
fn burn_checkpoint() {
    #[derive(Module, Debug)]
    struct Burns {
        ups: Vec<ConvTranspose2d>,
        norm: BatchNorm,
    }
    #[derive(Module, Debug)]
    struct Ours {
        ups: Vec<Deconv2dLayer>,
        norm: BatchNorm,
    }
    let device = device();
    let burns = Burns {
        ups: vec![
            ConvTranspose2dConfig::new([6, 4], [3, 5])
                .with_stride([2, 3])
                .with_padding([1, 2])
                .with_groups(2)
                .init(&device),
            ConvTranspose2dConfig::new([4, 3], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .init(&device),
        ],
        norm: BatchNormConfig::new(3).init(&device),
    };
    let ours = Ours {
        ups: vec![
            Deconv2dLayerConfig::new([6, 4], [3, 5])
                .with_stride([2, 3])
                .with_padding(Padding::Explicit(1, 2, 1, 2))
                .with_groups(2)
                .init(&device),
            Deconv2dLayerConfig::new([4, 3], [4, 4])
                .with_padding(Padding::Explicit(1, 1, 1, 1))
                .init(&device),
        ],
        norm: BatchNormConfig::new(3).init(&device),
    };
    let file = TemporaryFile::new("burn.bpk");
    burns.clone().save_file(&file.0).unwrap();

    let x: Tensor<4> = Tensor::random([2, 6, 5, 4], Distribution::Default, &device);
    let y = burns.ups.iter().fold(x.clone(), |x, up| up.forward(x));
    let output = burns.norm.forward(y).into_data();
    let recorded = Recorded {
        model: "burn_checkpoint".to_string(),
        maps: [("output".to_string(), output)].into(),
    };
    recorded.check(WeightsFile::burn(&file.0), KernelLayout::Burn, |file| {
        let mut ours = ours.clone();
        let report = file.load_into(&mut ours)?;
        assert_eq!(report.unused, [""; 0]);
        // The optimizer's state follows.
        assert_eq!(ours.ups[0].weight.id, burns.ups[0].weight.id);
        let y = ours.ups.iter().fold(x.clone(), |x, up| up.forward(x));
        Ok(ours.norm.forward(y))
    });
}

/// If all channels and all sides are equal, the shape says nothing about the layout. Read in another
/// layout, the file loads, and the outputs differ.
#[test]
fn each_layout_is_its_own() {
    let file = TemporaryFile::with(
        "cube.safetensors",
        &safetensors(&[("weight", &[3, 3, 3, 3])]),
    );
    let config = Deconv2dLayerConfig::new([3, 3], [3, 3]).with_bias(false);
    let x: Tensor<4> = Tensor::random([1, 3, 4, 5], Distribution::Default, &device());
    let outputs = LAYOUTS.map(|layout| {
        let mut layer = config.init(&device());
        let file = WeightsFile::pytorch(&file.0).with_layout(layout);
        file.load_into(&mut layer).unwrap();
        layer.forward(x.clone())
    });
    for i in 0..4 {
        for j in 0..i {
            let difference = difference(outputs[i].clone(), outputs[j].clone());
            assert!(difference > 0.1, "{} {}", LAYOUTS[i], LAYOUTS[j]);
        }
    }
}
