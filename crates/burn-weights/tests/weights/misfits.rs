//! Files whose tensors are not those of the model.

use burn_deconv::KernelLayout;
use burn_weights::{LoadReport, Misfit, WeightsError, WeightsFile};

use crate::import::Autoencoder;
use crate::models::UNetDecoder;
use crate::{TemporaryFile, device, fixture, safetensors, state};

/// The error about a file that does not fit the model.
fn does_not_fit(tensors: &[(&str, &[usize])], name: &str) -> String {
    let file = TemporaryFile::with(name, &safetensors(tensors));
    let mut model = UNetDecoder::new(&device());
    let before = state(&model);
    let error = WeightsFile::pytorch(&file.0)
        .load_into(&mut model)
        .unwrap_err();
    assert_eq!(state(&model), before);
    error.to_string().replace(file.0.to_str().unwrap(), "FILE")
}

const UNET: [(&str, &[usize]); 9] = [
    ("up.weight", &[12, 6, 2, 2]),
    ("up.bias", &[6]),
    ("conv.weight", &[6, 10, 3, 3]),
    ("norm.weight", &[6]),
    ("norm.bias", &[6]),
    ("norm.running_mean", &[6]),
    ("norm.running_var", &[6]),
    ("head.weight", &[2, 6, 1, 1]),
    ("head.bias", &[2]),
];

#[test]
fn missing_unused_and_misshapen_tensors_are_named() {
    let mut tensors = UNET;
    tensors[0] = ("up.weight", &[12, 7, 2, 2]);
    tensors[1] = ("up.offset", &[6]);
    tensors[5] = ("norm.running_mean", &[5]);
    tensors[7] = ("head.kernel", &[2, 6, 1, 1]);
    assert_eq!(
        does_not_fit(&tensors, "wrong.safetensors"),
        "FILE does not fit the model\n\
         missing in the file (2):\n  \
         up.bias\n  \
         head.weight\n\
         not as in the model (2):\n  \
         up.weight: [12, 7, 2, 2] in the layout Burn ([in, out / groups, k_h, k_w]) is not the \
         layer's [6, 12, 2, 2] ([out, in / groups, k_h, k_w])\n  \
         norm.running_mean: [5] in the file, [6] in the model\n\
         unused in the file (2):\n  \
         head.kernel\n  \
         up.offset"
    );
}

/// A message has ten names of a list, and a count.
#[test]
fn long_lists_are_cut() {
    let names: Vec<String> = (0..14).map(|i| format!("block{i:02}.weight")).collect();
    let shape: &[usize] = &[1];
    let others = names.iter().map(|name| (name.as_str(), shape));
    let message = does_not_fit(
        &UNET[1..].iter().copied().chain(others).collect::<Vec<_>>(),
        "long.safetensors",
    );
    assert!(
        message.starts_with(
            "FILE does not fit the model\n\
             missing in the file (1):\n  \
             up.weight\n\
             unused in the file (14):\n  \
             block00.weight\n  "
        ) && message.ends_with("\n  block09.weight\n  and 4 more"),
        "{message}"
    );
}

#[test]
fn whole_numbers_are_no_weights() {
    let mut bytes = safetensors(&UNET);
    let at = bytes.windows(5).position(|w| w == b"\"F32\"").unwrap();
    bytes[at..at + 5].copy_from_slice(b"\"I32\"");
    let file = TemporaryFile::with("int.safetensors", &bytes);
    let mut model = UNetDecoder::new(&device());
    let error = WeightsFile::pytorch(&file.0).load_into(&mut model);
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "{} does not fit the model\nnot as in the model (1):\n  \
             up.weight: I32 in the file, float in the model",
            file.0.display()
        )
    );
}

#[test]
fn a_partial_load_says_what_it_left() {
    let file = TemporaryFile::with("partial.safetensors", &safetensors(&UNET[1..]));
    let mut model = UNetDecoder::new(&device());
    let before = model.up.weight.to_data();
    let report = WeightsFile::pytorch(&file.0)
        .allow_partial(true)
        .load_into(&mut model)
        .unwrap();
    let LoadReport {
        loaded,
        missing,
        unused,
    } = report;
    assert_eq!((loaded.len(), unused.len()), (8, 0));
    assert_eq!(missing, ["up.weight"]);
    assert_eq!(model.up.weight.to_data(), before);
}

#[test]
fn a_wrong_layout_is_named() {
    let mut model = Autoencoder::new(&device());
    let path = fixture("keras_autoencoder.keras");
    let file = WeightsFile::keras(&path).with_layout(KernelLayout::Flax);
    let error = file.load_into(&mut model).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} does not fit the model\n\
             not as in the model (2):\n  \
             up1.weight: [3, 3, 4, 6] in the layout Flax ([k_h, k_w, in, out]) is not the layer's \
             [4, 6, 3, 3] ([out, in / groups, k_h, k_w]); it would be in TensorFlow ([k_h, k_w, \
             out / groups, in])\n  \
             up2.weight: [3, 3, 3, 4] in the layout Flax ([k_h, k_w, in, out]) is not the layer's \
             [3, 4, 3, 3] ([out, in / groups, k_h, k_w]); it would be in TensorFlow ([k_h, k_w, \
             out / groups, in])",
            path.display()
        )
    );
    let WeightsError::DoesNotFit { misfits, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(&misfits[0], Misfit::Kernel { fits, .. } if *fits == [KernelLayout::KERAS]));
}
