//! Files that may be whole and cannot be loaded. `fixtures/unsupported.py` made them.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::DType;
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
use burn_weights::{Misfit, WeightsError, WeightsFile};

use crate::{TemporaryFile, device, fixture, safetensors, state};

/// `Model` of the script.
#[derive(Module, Debug)]
struct Model {
    up: Deconv2dLayer,
}

impl Model {
    fn new() -> Self {
        let config = Deconv2dLayerConfig::new([2, 3], [2, 2]).with_bias(false);
        Self {
            up: config.init(&device()),
        }
    }
}

fn unsupported(name: &str) -> PathBuf {
    fixture("../unsupported").join(name)
}

/// The error's message without the path. The model must be as it was.
fn message(file: WeightsFile, name: &str) -> String {
    let mut model = Model::new();
    let before = state(&model);
    let error = file.load_into(&mut model).unwrap_err();
    assert_eq!(state(&model), before);
    let is_unsupported = match &error {
        WeightsError::Unsupported { .. } => true,
        WeightsError::DoesNotFit { misfits, .. } => {
            matches!(misfits[..], [Misfit::Unsupported { .. }])
        }
        _ => false,
    };
    assert!(is_unsupported, "{name}: {error}");
    let path = unsupported(name);
    error.to_string().replace(path.to_str().unwrap(), "FILE")
}

fn pytorch(name: &str) -> String {
    message(WeightsFile::pytorch(unsupported(name)), name)
}

fn keras(name: &str) -> String {
    message(WeightsFile::keras(unsupported(name)), name)
}

const STATE_DICT: &str = "save the model's state dict: torch.save(model.state_dict(), ..)";

#[test]
fn torchs_other_files() {
    assert_eq!(
        pytorch("torchscript.pt"),
        "FILE cannot be used: it is a TorchScript archive (torch.jit.save); save its state dict: \
         torch.save(torch.jit.load(path).state_dict(), ..)"
    );
    for (name, found) in [
        ("list.pt", "holds a list or tuple in place of a dictionary"),
        (
            "tensor.pt",
            "holds an object of the type torch.Tensor in place of a dictionary",
        ),
        ("number.pt", "holds a number in place of a dictionary"),
        (
            "tuple_key.pt",
            "has a dictionary whose keys are neither strings nor whole numbers",
        ),
        (
            "whole_model_legacy.pt",
            "is a whole model, pickled by an old torch.save",
        ),
        (
            "plain_pickle.pt",
            "is a pickle of tensors that torch.save did not write",
        ),
    ] {
        let expected = format!("FILE cannot be used: it {found}; {STATE_DICT}");
        assert_eq!(pytorch(name), expected);
    }
    assert_eq!(
        pytorch("big_endian.pt"),
        "FILE cannot be used: it was written on a big-endian machine; load and save it anew on a \
         little-endian one"
    );
}

#[test]
fn torchs_other_tensors() {
    for (name, class, way_out) in [
        (
            "complex.pt",
            "torch.ComplexFloatStorage",
            "save torch.view_as_real(tensor) in its place",
        ),
        (
            "float8.pt",
            "torch.float8_e4m3fn",
            "save tensor.float() in its place",
        ),
        (
            "quantized.pt",
            "torch.QInt8Storage",
            "save tensor.dequantize() in its place",
        ),
        (
            "sparse.pt",
            "torch._utils._rebuild_sparse_tensor",
            "save tensor.to_dense() in its place",
        ),
    ] {
        let expected =
            format!("FILE cannot be used: it has a tensor of the type {class}; {way_out}");
        assert_eq!(pytorch(name), expected);
    }
}

#[test]
fn safetensors_other_values() {
    let header = r#"{"up.weight":{"dtype":"F8_E4M3","shape":[2,3,2,2],"data_offsets":[0,24]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &[0; 24]].concat();
    let file = TemporaryFile::with("float8.safetensors", &bytes);
    let error = WeightsFile::pytorch(&file.0).load_into(&mut Model::new());
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "{} cannot be used: it has a tensor of another kind (Unsupported dtype: F8_E4M3); save \
             it as a plain float tensor",
            file.0.display()
        )
    );
}

/// torch negates and conjugates lazily: such a tensor's stored values have the wrong sign.
#[test]
fn lazy_signs_are_refused() {
    for name in [
        "negative.pt",
        "negative_legacy.pt",
        "negative_protocol4.pt",
        "negative_parameter.pt",
        "conjugate.pt",
    ] {
        assert_eq!(
            pytorch(name),
            "FILE cannot be used: it has tensors with torch's negative or conjugate bit, whose \
             stored values are not theirs; save tensor.resolve_neg().resolve_conj() in place of \
             each tensor"
        );
    }
    let settings = WeightsFile::pytorch(unsupported("settings.pt"));
    settings
        .with_top_level_key("state_dict")
        .load_into(&mut Model::new())
        .unwrap();
}

/// The new format of `torch.save(model)` has the state dict in it.
#[test]
fn a_whole_model_loads() {
    let mut model = Model::new();
    let report = WeightsFile::pytorch(unsupported("whole_model.pt")).load_into(&mut model);
    assert_eq!(report.unwrap().loaded, ["up.weight"]);
}

#[test]
fn numpys_arrays_are_named() {
    assert_eq!(
        pytorch("numpy.pt"),
        "FILE does not fit the model\n\
         not as in the model (1):\n  \
         up.weight: a NumPy array in the file; save torch.from_numpy(array) in its place"
    );
    // A remapping renames them too, and a partial load lists them.
    let mut model = Model::new();
    let report = WeightsFile::pytorch(unsupported("numpy.pt"))
        .with_key_remapping("^up", "other")
        .unwrap()
        .allow_partial(true)
        .load_into(&mut model)
        .unwrap();
    assert_eq!(report.unused, ["other.weight"]);
}

#[test]
fn hdf5s_other_values() {
    for (name, found) in [
        ("big_endian.h5", "big-endian values"),
        ("complex.h5", "complex or compound values"),
    ] {
        let expected = format!(
            "FILE does not fit the model\n\
             not as in the model (1):\n  \
             up.weight: {found} in the file; convert them in Python and write the file anew with \
             h5py"
        );
        assert_eq!(keras(name), expected);
    }
    assert_eq!(
        keras("chunk.h5"),
        "FILE does not fit the model\n\
         not as in the model (1):\n  \
         up.weight: values in chunks that are larger than all values in the file; write it anew \
         with model.save_weights"
    );
    assert_eq!(
        keras("dangling.h5"),
        "FILE cannot be used: it has a link that leads nowhere; remove the link, or write the file \
         anew with model.save_weights"
    );
}

/// 16 bits of which 8 are the exponent are a bfloat16, not a float16.
#[test]
fn a_bfloat_of_hdf5_is_read_as_one() {
    let mut model = Model::new();
    WeightsFile::keras(unsupported("bfloat.h5"))
        .load_into(&mut model)
        .unwrap();
    let weight = model.up.weight.val();
    assert_eq!(weight.dtype(), DType::F32);
    // Keras' [k_h, k_w, out, in] holds -12, -11, .. 11, which are bfloat16s; the kernel is turned.
    let values = weight.into_data().try_to_vec::<f32>().unwrap();
    let keras = |y: usize, x: usize, o: usize, i: usize| ((y * 2 + x) * 3 + o) * 2 + i;
    for (at, value) in values.into_iter().enumerate() {
        let [o, i, y, x] = [at / 8, at / 4 % 2, at / 2 % 2, at % 2];
        assert_eq!(value, keras(1 - y, 1 - x, o, i) as f32 - 12.0);
    }
}

fn nested(levels: usize) -> TemporaryFile {
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut layer = hdf5_pure::FileBuilder::new().create_group("vars");
    layer
        .create_dataset("0")
        .with_f32_data(&[1.0; 24])
        .with_shape(&[2, 2, 3, 2]);
    let mut inner = layer.finish();
    for _ in 0..levels {
        let mut group = hdf5_pure::FileBuilder::new().create_group("up");
        group.add_group(inner);
        inner = group.finish();
    }
    builder.add_group(inner);
    let name = format!("nested{levels}.h5");
    TemporaryFile::with(&name, &builder.finish().unwrap())
}

#[test]
fn deep_groups_are_named() {
    let shallow = nested(64);
    let key = ["up"; 63].join(".");
    WeightsFile::keras(&shallow.0)
        .with_top_level_key(&key)
        .load_into(&mut Model::new())
        .unwrap();

    let deep = nested(65);
    let error = WeightsFile::keras(&deep.0).load_into(&mut Model::new());
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "{} cannot be used: it has groups within groups, more than 64 levels deep; write it \
             anew with model.save_weights in Keras 3",
            deep.0.display()
        )
    );
}

/// A name may hold what a terminal acts on, and megabytes.
#[test]
fn names_from_files_are_escaped_and_cut() {
    let long = "n".repeat(5_000_000);
    let names = ["\\u001b[2J\\u001b[31mX", &long];
    let shape: &[usize] = &[1];
    let bytes = safetensors(&names.map(|name| (name, shape)));
    let file = TemporaryFile::with("na\u{1b}mes.safetensors", &bytes);
    let error = WeightsFile::pytorch(&file.0).load_into(&mut Model::new());
    let message = error.unwrap_err().to_string();
    let folder = std::env::temp_dir();
    assert!(message.starts_with(folder.to_str().unwrap()));
    assert!(message.contains("na\\u{1b}mes.safetensors does not fit the model"));
    assert!(message.contains("\n  \\u{1b}[2J\\u{1b}[31mX\n"));
    assert!(!message.contains('\u{1b}'));
    assert!(message.len() < 1000, "{} bytes", message.len());

    let error = WeightsFile::pytorch(&file.0)
        .with_top_level_key("up")
        .load_into(&mut Model::new());
    let message = error.unwrap_err().to_string();
    assert!(message.ends_with("…".to_string().as_str()) || message.contains('…'));
    assert!(message.len() < 1000, "{} bytes", message.len());
}
