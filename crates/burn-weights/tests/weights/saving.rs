//! What is saved for PyTorch.

use burn_weights::{WeightsError, WeightsFile, save_pytorch};

use crate::models::{Grouped, UNetDecoder};
use crate::{TemporaryFile, device, fixture, read_safetensors, state};

/// What PyTorch wrote comes back from `save_pytorch` to the last bit, under the same names.
#[test]
fn a_pytorch_file_survives_the_round_trip() {
    let original = fixture("pytorch_unet.safetensors");
    let mut model = UNetDecoder::new(&device());
    WeightsFile::pytorch(&original)
        .load_into(&mut model)
        .unwrap();

    let saved = TemporaryFile::new("unet.safetensors");
    save_pytorch(&model, &saved.0).unwrap();
    let mut expected = read_safetensors(&original);
    expected.remove("norm.num_batches_tracked").unwrap();
    assert_eq!(read_safetensors(&saved.0), expected);

    let mut other = UNetDecoder::new(&device());
    WeightsFile::pytorch(&saved.0)
        .load_into(&mut other)
        .unwrap();
    assert_eq!(state(&other), state(&model));
}

#[test]
fn groups_survive_the_round_trip() {
    let model = Grouped::new(&device());
    let saved = TemporaryFile::new("grouped.safetensors");
    save_pytorch(&model, &saved.0).unwrap();
    let tensors = read_safetensors(&saved.0);
    assert_eq!(tensors["up.weight"].shape().as_slice(), [6, 2, 3, 5]);
    assert_eq!(tensors["depthwise.weight"].shape().as_slice(), [4, 1, 4, 4]);
    assert_eq!(tensors["project.weight"].shape().as_slice(), [72, 5]);
    assert!(tensors.contains_key("norm.bias"));

    let mut other = Grouped::new(&device());
    WeightsFile::pytorch(&saved.0)
        .load_into(&mut other)
        .unwrap();
    assert_eq!(state(&other), state(&model));
}

#[test]
fn what_cannot_be_saved() {
    let model = Grouped::new(&device());
    let nowhere = std::env::temp_dir().join("burn-deconv-no-such-folder/model.safetensors");
    let error = save_pytorch(&model, &nowhere).unwrap_err();
    assert!(matches!(error, WeightsError::Write { .. }), "{error}");
}
