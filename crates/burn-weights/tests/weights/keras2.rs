//! Keras 2's files, and the layers that only Keras has. `fixtures/upscaler.py` made the files.

use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{PRelu, PReluConfig};
use burn::tensor::{Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, KernelLayout};
use burn_weights::WeightsFile;

use crate::models::{KerasDecoder, Upscaler};
use crate::outputs::{Recorded, difference};
use crate::{TemporaryFile, device, fixture, read_safetensors, safetensors, state};

/// Compares the output of the upscaler with Keras'. All tensors of the file are used.
fn check_upscaler(file: WeightsFile) {
    let recorded = Recorded::of("keras2_upscaler");
    recorded.check(file, KernelLayout::KERAS, |file| {
        let mut model = Upscaler::new(&device());
        let report = file.load_into(&mut model)?;
        assert_eq!(report.loaded.len(), state(&model).len());
        assert_eq!(report.unused, [""; 0]);
        Ok(model.forward(recorded.get("input")))
    });
}

/// Written by `model.save` and by `model.save_weights`. The fields have the layers' names.
#[test]
fn keras_2_model_and_weights() {
    for name in ["keras2_upscaler.h5", "keras2_upscaler_weights.h5"] {
        check_upscaler(WeightsFile::keras(fixture(name)));
    }
}

/// In one file, and in two. A model within the model has the name of its class in Keras 3's files.
#[test]
fn keras_3_weights() {
    let file = WeightsFile::keras(fixture("keras_upscaler.weights.h5"));
    check_upscaler(file.with_key_remapping(r"^sequential\.", "block.").unwrap());
}

#[test]
fn keras_2_subclassed() {
    #[derive(Module, Debug)]
    struct Scale {
        scale: Param<Tensor<1>>,
    }
    let path = fixture("keras2_subclassed.h5");
    let mut of_the_model = Scale {
        scale: Param::from_tensor(Tensor::zeros([3], &device())),
    };
    let report = WeightsFile::keras(&path).load_into(&mut of_the_model);
    assert_eq!(report.unwrap().loaded, ["scale"]);
    let scale = of_the_model.scale.val().reshape([1, 3, 1, 1]);

    let recorded = Recorded::of("keras2_subclassed");
    let file = WeightsFile::keras(path)
        .with_key_remapping(r"^up\.conv2d_transpose\.", "blocks.0.deconv.")
        .and_then(|file| file.with_key_remapping(r"^up\.layer_normalization\.", "blocks.0.norm."))
        .and_then(|file| file.with_key_remapping(r"^up_1\.conv\w+\.", "blocks.1.deconv."))
        .and_then(|file| file.with_key_remapping(r"^up_1\.layer\w+\.", "blocks.1.norm."))
        .and_then(|file| file.with_key_remapping(r"^dense\.", "project."))
        .and_then(|file| file.with_key_remapping(r"^conv2d\.", "head."));
    recorded.check(file.unwrap(), KernelLayout::KERAS, |file| {
        let mut model = KerasDecoder::new(&device());
        let report = file.load_into(&mut model)?;
        assert_eq!(report.unused, ["scale"]);
        Ok(model.forward(recorded.get("input")) * scale.clone())
    });
}

/// Keras 3 writes this layout too, with other names for the variables.
#[test]
fn keras_3_in_the_layout_of_keras_2() {
    let config = Deconv2dLayerConfig::new([2, 3], [3, 3]);
    let mut layer: Deconv2dLayer = config.init(&device());
    let report = WeightsFile::keras(fixture("keras_legacy.h5"))
        .with_top_level_key("conv2d_transpose_2")
        .load_into(&mut layer)
        .unwrap();
    assert_eq!(report.loaded, ["weight", "bias"]);
    assert_eq!(report.unused, [""; 0]);
}

/// A long list of layers is in several attributes, and nothing in the root says Keras 2.
#[test]
fn long_lists_of_layers() {
    let file = |attribute: &str| {
        let mut builder = hdf5_pure::FileBuilder::new();
        let mut model = builder.create_group("model_weights");
        let none = hdf5_pure::AttrValue::String(String::new());
        model.set_attr(attribute, none);
        let mut layer = model.create_group("up");
        let mut scope = layer.create_group("up");
        scope
            .create_dataset("kernel:0")
            .with_f32_data(&[1.0; 24])
            .with_shape(&[2, 2, 3, 2]);
        layer.add_group(scope.finish());
        model.add_group(layer.finish());
        builder.add_group(model.finish());
        let name = format!("{attribute}.h5");
        TemporaryFile::with(&name, &builder.finish().unwrap())
    };
    let load = |file: &TemporaryFile| {
        let config = Deconv2dLayerConfig::new([2, 3], [2, 2]).with_bias(false);
        let mut layer = config.init(&device());
        let file = WeightsFile::keras(&file.0).with_top_level_key("up");
        file.load_into(&mut layer)
    };
    load(&file("layer_names")).unwrap();
    load(&file("layer_names0")).unwrap();
    load(&file("other")).unwrap_err();
}

/// Burn's axes of a depthwise kernel, one value at a time: the output channel `c * m + i` is the
/// `i`-th of the `m` that are made of the input channel `c`.
#[test]
fn depthwise_kernels() {
    let (c_in, multiplier) = (4, 3);
    let bytes = safetensors(&[
        ("line/depthwise_kernel", &[5, c_in, multiplier]),
        ("map/depthwise_kernel", &[2, 5, c_in, multiplier]),
    ]);
    #[derive(Module, Debug)]
    struct Model {
        line: Conv1d,
        map: Conv2d,
    }
    let c_out = c_in * multiplier;
    let mut model = Model {
        line: Conv1dConfig::new(c_in, c_out, 5)
            .with_groups(c_in)
            .with_bias(false)
            .init(&device()),
        map: Conv2dConfig::new([c_in, c_out], [2, 5])
            .with_groups(c_in)
            .with_bias(false)
            .init(&device()),
    };
    let file = TemporaryFile::with("depthwise.safetensors", &bytes);
    WeightsFile::keras(&file.0).load_into(&mut model).unwrap();

    let stored = read_safetensors(&file.0);
    let values = |data: &TensorData| data.clone().try_to_vec::<f32>().unwrap();
    let loaded = state(&model);
    for (name, taps) in [("line", 5), ("map", 10)] {
        let from = values(&stored[&format!("{name}/depthwise_kernel")]);
        let to = values(&loaded[&format!("{name}.weight")]);
        for c in 0..c_in {
            for i in 0..multiplier {
                for tap in 0..taps {
                    let from = from[(tap * c_in + c) * multiplier + i];
                    assert_eq!(to[(c * multiplier + i) * taps + tap], from, "{name}");
                }
            }
        }
    }

    // Another number of groups.
    let mut other = Conv2dConfig::new([c_in, c_out], [2, 5])
        .with_groups(2)
        .with_bias(false)
        .init(&device());
    let file = WeightsFile::keras(&file.0).with_top_level_key("map");
    let message = file.load_into(&mut other).unwrap_err().to_string();
    let expected = "weight: [3, 4, 2, 5] in the file, [12, 2, 2, 5] in the model";
    assert!(message.contains(expected), "{message}");
}

/// A separable convolution is two modules of Burn, whose fields say which kernel is theirs.
#[test]
fn separable_kernels_by_name() {
    #[derive(Module, Debug)]
    struct Model {
        mix: crate::models::Separable,
    }
    let model = || Model {
        mix: Upscaler::new(&device()).mix,
    };
    let bytes = safetensors(&[
        ("mix/depthwise_kernel", &[3, 3, 12, 2]),
        ("mix/pointwise_kernel", &[1, 1, 24, 8]),
        ("mix/bias", &[8]),
    ]);
    let file = TemporaryFile::with("separable.safetensors", &bytes);
    let report = WeightsFile::keras(&file.0).load_into(&mut model()).unwrap();
    assert_eq!(
        report.loaded,
        [
            "mix.depthwise.weight",
            "mix.pointwise.weight",
            "mix.pointwise.bias"
        ]
    );
    // Other frameworks have no such layer.
    let flax = WeightsFile::flax(&file.0).load_into(&mut model());
    assert!(flax.unwrap_err().to_string().contains("missing"));
}

#[test]
fn slopes_of_a_prelu() {
    let load = |framework: fn(PathBuf) -> WeightsFile, name: &str, shape: &[usize]| {
        let file = TemporaryFile::with("prelu.safetensors", &safetensors(&[(name, shape)]));
        let mut act: PRelu = PReluConfig::new().with_num_parameters(6).init(&device());
        let report = framework(file.0.clone()).load_into(&mut act);
        let loaded = act.alpha.to_data().try_to_vec::<f32>().unwrap();
        report.map(|_| loaded).map_err(|error| {
            let message = error.to_string();
            message.replace(file.0.to_str().unwrap(), "FILE")
        })
    };
    let expected = Ok(vec![-3., -2., -1., 0., 1., 2.]);
    for shape in [&[1, 1, 6][..], &[1, 6], &[6]] {
        assert_eq!(load(WeightsFile::keras, "alpha", shape), expected);
    }
    assert_eq!(load(WeightsFile::pytorch, "weight", &[6]), expected);
    assert_eq!(
        load(WeightsFile::keras, "alpha", &[7, 9, 6]).unwrap_err(),
        "FILE does not fit the model\n\
         not as in the model (1):\n  \
         alpha: a slope for each place of a map, [7, 9, 6], in the file; Burn's PRelu has one for \
         each channel, as Keras' PReLU(shared_axes=[1, 2])"
    );
}

/// Slopes in the wrong order give another output: the comparison above can fail.
#[test]
fn slopes_matter() {
    let recorded = Recorded::of("keras2_upscaler");
    let mut model = Upscaler::new(&device());
    WeightsFile::keras(fixture("keras2_upscaler.h5"))
        .load_into(&mut model)
        .unwrap();
    let slopes = model.features_act.alpha.val().flip([0]);
    model.features_act.alpha = Param::from_tensor(slopes);
    let output = model.forward(recorded.get("input"));
    assert!(difference(output, recorded.get("output")) > 0.01);
}
