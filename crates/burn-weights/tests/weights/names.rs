//! Names in files and paths in models.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::Tensor;
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, KernelLayout};
use burn_weights::{WeightsFile, save_pytorch};

use crate::import::{Autoencoder, Generator};
use crate::models::Grouped;
use crate::{TemporaryFile, device, fixture, read_safetensors, safetensors, state};

#[test]
fn lists_and_variants_of_enums() {
    #[derive(Module, Debug)]
    enum Block {
        Deconv(Deconv2dLayer),
    }
    #[derive(Module, Debug)]
    struct Model {
        block: Block,
        ups: Vec<Deconv2dLayer>,
    }
    let layer = || {
        let config = Deconv2dLayerConfig::new([2, 4], [3, 3]);
        config.with_bias(false).init(&device())
    };
    let model = || Model {
        block: Block::Deconv(layer()),
        ups: vec![layer(), layer()],
    };
    let shape: &[usize] = &[2, 4, 3, 3];
    let names = ["block.weight", "ups.0.weight", "ups.3.weight"];
    let bytes = safetensors(&names.map(|name| (name, shape)));
    let file = TemporaryFile::with("lists.safetensors", &bytes);
    let mut loaded = model();
    let report = WeightsFile::pytorch(&file.0).load_into(&mut loaded);
    assert_eq!(
        report.unwrap().loaded,
        ["block.weight", "ups.0.weight", "ups.1.weight"]
    );

    let saved = TemporaryFile::new("lists-saved.safetensors");
    save_pytorch(&loaded, &saved.0).unwrap();
    let mut other = model();
    WeightsFile::pytorch(&saved.0)
        .load_into(&mut other)
        .unwrap();
    assert_eq!(state(&other), state(&loaded));

    // Burn's own files have the variant's name in the path.
    let file = TemporaryFile::new("lists.bpk");
    loaded.save_file(&file.0).unwrap();
    let mut other = model();
    let file = WeightsFile::burn(&file.0).with_layout(KernelLayout::Article);
    let report = file.load_into(&mut other).unwrap();
    assert_eq!(report.loaded[0], "block.Deconv.weight");
}

#[test]
fn remappings_that_fail() {
    let file = || WeightsFile::pytorch(fixture("pytorch_dcgan.pt"));
    let error = file().with_key_remapping("main.(", "").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("\"main.(\" is not a regular expression: "),
        "{error}"
    );

    let mut model = Generator::new(&device());
    let file = file().with_key_remapping(r"^main\.\d\.", "up1.").unwrap();
    let error = file.load_into(&mut model).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: both \"main.0.weight\" and \"main.1.weight\" become \"up1.weight\"",
            fixture("pytorch_dcgan.pt").display()
        )
    );
}

/// Flax' collections are no part of a path: a clash is named by the names in the file.
#[test]
fn two_collections_of_flax_with_one_name() {
    let shape: &[usize] = &[3];
    let names = ["batch_stats.up.kernel", "params.up.kernel"];
    let bytes = safetensors(&names.map(|name| (name, shape)));
    let file = TemporaryFile::with("clash.safetensors", &bytes);
    let error = WeightsFile::flax(&file.0).load_into(&mut Generator::new(&device()));
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "{}: both \"batch_stats.up.kernel\" and \"params.up.kernel\" become \"up.kernel\"",
            file.0.display()
        )
    );
}

/// `blocks.2` and `blocks.02` are one place in a list.
#[test]
fn two_numbers_that_are_one() {
    let shape: &[usize] = &[3];
    let names = ["blocks.02.bias", "blocks.2.bias"];
    let bytes = safetensors(&names.map(|name| (name, shape)));
    let file = TemporaryFile::with("numbers.safetensors", &bytes);
    let error = WeightsFile::pytorch(&file.0).load_into(&mut Generator::new(&device()));
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "{}: both \"blocks.02.bias\" and \"blocks.2.bias\" become \"blocks.0.bias\"",
            file.0.display()
        )
    );
}

#[test]
fn the_top_level_key_is_needed() {
    let path = fixture("pytorch_grouped.pth");
    let mut model = Grouped::new(&device());
    let error = WeightsFile::pytorch(&path)
        .load_into(&mut model)
        .unwrap_err();
    let hint = "\nin the file, \"model_state_dict.\" stands before missing names: \
                with_top_level_key(\"model_state_dict\") removes it";
    assert!(error.to_string().ends_with(hint), "{error}");

    let file = WeightsFile::pytorch(&path).with_top_level_key("state_dict");
    assert_eq!(
        file.load_into(&mut model).unwrap_err().to_string(),
        format!(
            "{} has nothing under \"state_dict\"; at its top level are: model_state_dict",
            path.display()
        )
    );
}

/// As `safetensors.numpy.save_file({v.path: v.numpy() for v in model.variables}, ..)` writes it.
#[test]
fn keras_variables_by_name() {
    let bytes = safetensors(&[
        ("down1/kernel", &[3, 3, 3, 5]),
        ("down1_norm/gamma", &[5]),
        ("down1_norm/beta", &[5]),
        ("down1_norm/moving_mean", &[5]),
        ("down1_norm/moving_variance", &[5]),
        ("down2/kernel", &[3, 3, 5, 6]),
        ("down2/bias", &[6]),
        ("up1/kernel", &[3, 3, 4, 6]),
        ("up1_norm/gamma", &[4]),
        ("up1_norm/beta", &[4]),
        ("up1_norm/moving_mean", &[4]),
        ("up1_norm/moving_variance", &[4]),
        ("up2/kernel", &[3, 3, 3, 4]),
        ("up2/bias", &[3]),
    ]);
    let file = TemporaryFile::with("variables.safetensors", &bytes);
    let mut model = Autoencoder::new(&device());
    let report = Autoencoder::file(&file.0).load_into(&mut model).unwrap();
    assert_eq!((report.loaded.len(), report.unused), (14, vec![]));

    let kernel = read_safetensors(&file.0).remove("up1/kernel").unwrap();
    let kernel: Tensor<4> = Tensor::from_data(kernel, &device());
    let weight = KernelLayout::KERAS.to_article(kernel, 1).unwrap();
    assert_eq!(model.up1.weight.to_data(), weight.into_data());
}

/// The numbers of Keras' variables mean something else in a batch norm without scale or centre.
#[test]
fn a_keras_batch_norm_without_scale() {
    let file = |count: usize| {
        let mut builder = hdf5_pure::FileBuilder::new();
        let mut layers = builder.create_group("layers");
        let mut layer = layers.create_group("batch_normalization");
        let mut vars = layer.create_group("vars");
        for number in 0..count {
            vars.create_dataset(&number.to_string())
                .with_f32_data(&[number as f32 + 1.; 3])
                .with_shape(&[3]);
        }
        layer.add_group(vars.finish());
        layers.add_group(layer.finish());
        builder.add_group(layers.finish());
        let name = format!("norm{count}.weights.h5");
        TemporaryFile::with(&name, &builder.finish().unwrap())
    };
    let load = |count, model: &mut BatchNorm| {
        let file = file(count);
        WeightsFile::keras(&file.0)
            .with_key_remapping(r"^batch_normalization\.", "")
            .unwrap()
            .allow_partial(true)
            .load_into(model)
            .unwrap()
    };
    let mut norm = BatchNormConfig::new(3).init(&device());
    let report = load(3, &mut norm); // scale=False, or center=False
    assert_eq!(
        (report.loaded.len(), report.unused),
        (0, vec!["0".into(), "1".into(), "2".into()])
    );
    let report = load(2, &mut norm); // both
    assert_eq!(report.loaded, ["running_mean", "running_var"]);
    assert_eq!(report.missing, ["gamma", "beta"]);
}
