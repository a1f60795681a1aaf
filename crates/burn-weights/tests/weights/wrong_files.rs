//! Files of another kind, and damaged ones.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn_deconv::KernelLayout;
use burn_weights::{LoadReport, WeightsError, WeightsFile};

use crate::import::{Autoencoder, Generator};
use crate::models::{Single, UNetDecoder, Upscaler};
use crate::{TemporaryFile, device, fixture, state};

#[test]
fn files_of_another_kind() {
    let pytorch = "a file written by torch.save (.pt, .pth), or safetensors";
    let keras = "a Keras file (.weights.h5, .h5, .keras), or safetensors";
    let burn = "a Burn checkpoint (.bpk), or safetensors";
    let empty = TemporaryFile::with("empty.pt", b"");
    let noise = TemporaryFile::with("noise.pt", &[7, 255, 0, 3, 200, 7, 9, 1, 0, 4]);
    let png = TemporaryFile::with("image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let folder = fixture("");
    let cases = [
        (
            WeightsFile::pytorch(&png.0),
            png.0.clone(),
            "a PNG image",
            pytorch,
        ),
        (
            WeightsFile::keras(&png.0),
            png.0.clone(),
            "a PNG image",
            keras,
        ),
        (WeightsFile::burn(&text), text.clone(), "a text file", burn),
        (WeightsFile::flax(&text), text, "a text file", "safetensors"),
        (
            WeightsFile::pytorch(&empty.0),
            empty.0.clone(),
            "an empty file",
            pytorch,
        ),
        (
            WeightsFile::keras(&noise.0),
            noise.0.clone(),
            "a file of an unknown kind",
            keras,
        ),
        (WeightsFile::pytorch(&folder), folder, "a folder", pytorch),
    ];
    for (file, path, found, expected) in cases {
        let mut model = UNetDecoder::new(&device());
        assert_eq!(
            file.load_into(&mut model).unwrap_err().to_string(),
            format!("{} is {found}; expected: {expected}", path.display())
        );
    }

    // Another framework's file.
    let h5 = fixture("keras_autoencoder.weights.h5");
    let archive = fixture("keras_autoencoder.keras");
    let pt = fixture("pytorch_dcgan.pt");
    for (file, path, found, expected) in [
        (WeightsFile::pytorch(&h5), &h5, "an HDF5 file", pytorch),
        (
            WeightsFile::pytorch(&archive),
            &archive,
            "a Keras archive",
            pytorch,
        ),
        (WeightsFile::keras(&pt), &pt, "a PyTorch archive", keras),
        (WeightsFile::burn(&pt), &pt, "a PyTorch archive", burn),
    ] {
        let mut model = Generator::new(&device());
        assert_eq!(
            file.load_into(&mut model).unwrap_err().to_string(),
            format!("{} is {found}; expected: {expected}", path.display())
        );
    }
}

#[test]
fn a_file_that_is_not_there() {
    let path = fixture("no_such_file.pt");
    let mut model = Generator::new(&device());
    let error = WeightsFile::pytorch(&path).load_into(&mut model);
    let message = error.unwrap_err().to_string();
    let expected = format!("{} cannot be read: ", path.display());
    assert!(message.starts_with(&expected), "{message}");
}

/// To open a pipe is to wait for its other end.
#[cfg(unix)]
#[test]
fn a_pipe_is_an_error_at_once() {
    let pipe = TemporaryFile::new("pipe.pt");
    let status = std::process::Command::new("mkfifo").arg(&pipe.0).status();
    assert!(status.unwrap().success());
    for path in [pipe.0.as_path(), Path::new("/dev/zero")] {
        for file in [
            WeightsFile::pytorch(path),
            WeightsFile::keras(path),
            WeightsFile::flax(path),
            WeightsFile::burn(path),
        ] {
            let error = file.load_into(&mut Generator::new(&device())).unwrap_err();
            let message = error.to_string();
            let expected = format!(
                "{} is a pipe, a socket or a device; expected: ",
                path.display()
            );
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}

/// Loads `bytes` as a file. Nothing panics, and after an error the model is as it was.
fn try_bytes<M: Module>(
    name: &str,
    bytes: &[u8],
    model: &mut M,
    load: impl Fn(&mut M, &Path) -> Result<LoadReport, WeightsError>,
) -> Result<LoadReport, WeightsError> {
    let file = TemporaryFile::with(name, bytes);
    let before = state(model);
    let result = load(model, &file.0);
    if result.is_err() {
        assert_eq!(state(model), before);
    }
    result
}

/// Cuts a file at about a hundred lengths, and changes about as many of its bytes.
fn damage<M: Module>(
    path: &Path,
    new: impl Fn() -> M,
    load: impl Fn(&mut M, &Path) -> Result<LoadReport, WeightsError>,
) {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut model = new();
    let complete = {
        let mut model = new();
        load(&mut model, path).unwrap();
        state(&model)
    };

    let step = bytes.len() / 97 + 1;
    let lengths = (0..bytes.len()).step_by(step);
    let ends = bytes.len().saturating_sub(24)..bytes.len();
    for length in (0..24).chain(lengths).chain(ends) {
        let cut = &bytes[..length];
        let result = try_bytes(&format!("cut-{name}"), cut, &mut model, &load);
        let Err(error) = result else {
            panic!("{name}, cut at {length} of {}, loads", bytes.len());
        };
        let as_expected = matches!(
            error,
            WeightsError::WrongKind { .. }
                | WeightsError::Corrupt { .. }
                | WeightsError::Unsupported { .. }
                | WeightsError::DoesNotFit { .. }
        );
        assert!(as_expected, "{name}, cut at {length}: {error}");
        assert_ne!(state(&model), complete);
    }

    for at in (0..600.min(bytes.len()))
        .step_by(5)
        .chain((0..bytes.len()).step_by(step))
    {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        // May load: the byte may be one of a value.
        let _ = try_bytes(&format!("changed-{name}"), &changed, &mut model, &load);
    }
}

#[test]
fn damaged_pytorch_archives() {
    damage(
        &fixture("pytorch_dilated.pt"),
        || Single::dilated(&device()),
        |model, path| WeightsFile::pytorch(path).load_into(model),
    );
}

#[test]
fn damaged_safetensors() {
    damage(
        &fixture("pytorch_unet.safetensors"),
        || UNetDecoder::new(&device()),
        |model, path| WeightsFile::pytorch(path).load_into(model),
    );
}

#[test]
fn damaged_hdf5() {
    damage(
        &fixture("keras_autoencoder.weights.h5"),
        || Autoencoder::new(&device()),
        |model, path| Autoencoder::file(path).load_into(model),
    );
}

#[test]
fn damaged_keras_2() {
    for name in ["keras2_upscaler.h5", "keras2_upscaler_weights.h5"] {
        damage(
            &fixture(name),
            || Upscaler::new(&device()),
            |model, path| WeightsFile::keras(path).load_into(model),
        );
    }
}

#[test]
fn damaged_keras_archives() {
    damage(
        &fixture("keras_autoencoder.keras"),
        || Autoencoder::new(&device()),
        |model, path| Autoencoder::file(path).load_into(model),
    );
}

#[test]
fn damaged_burn_checkpoints() {
    let new = || Single::dilated(&device());
    let file = TemporaryFile::new("damage.bpk");
    new().save_file(&file.0).unwrap();
    damage(&file.0, new, |model, path| {
        WeightsFile::burn(path)
            .with_layout(KernelLayout::Article)
            .load_into(model)
    });
}
