//! [`save_pytorch`]: weights out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::burn_pack::AtomicFile;
use burn::store::{BurnToPyTorchAdapter, ModuleAdapter, ModuleSnapshot, SafetensorsStore};
use burn_deconv::KernelLayout;

use crate::file::other_than_regular;
use crate::panic::caught;
use crate::{Deconv2dAdapter, WeightsError};

/// Writes the weights of `model` as safetensors with PyTorch's names and layouts.
///
/// ```python
/// model.load_state_dict(safetensors.torch.load_file("generator.safetensors"))
/// ```
///
/// The file appears when it is complete: it is written in the same folder under another name, and
/// then renamed. It replaces an older file and keeps its permissions; a new file has the usual ones
/// (0644 under a umask of 022). A symbolic link stays, and the file that it leads to is replaced.
///
/// # Errors
///
/// A path that is a folder, a device, a pipe or a socket, and a file that cannot be written. No
/// file is then changed or left behind.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_deconv::Deconv2dLayerConfig;
/// use burn_weights::{WeightsFile, save_pytorch};
///
/// let path = std::env::temp_dir().join("burn-weights-save.safetensors");
/// let config = Deconv2dLayerConfig::new([6, 4], [3, 3]).with_groups(2);
/// let layer = config.init(&Device::default());
/// save_pytorch(&layer, &path)?;
///
/// let mut other = config.init(&Device::default());
/// WeightsFile::pytorch(&path).load_into(&mut other)?;
/// assert_eq!(other.weight.to_data(), layer.weight.to_data());
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), burn_weights::WeightsError>(())
/// ```
pub fn save_pytorch<M: Module>(model: &M, path: impl AsRef<Path>) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let target = target(path)?;
    let written = caught(|| write(model, &target)).flatten();
    written.map_err(|cause| WeightsError::Write {
        path: path.to_path_buf(),
        cause,
    })
}

/// The file to write: what `path` leads to, if it is a link.
fn target(path: &Path) -> Result<PathBuf, WeightsError> {
    let failed = |error: std::io::Error| WeightsError::Write {
        path: path.to_path_buf(),
        cause: error.to_string(),
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path.to_path_buf()),
        found => found.map_err(failed)?,
    };
    let target = fs::canonicalize(path).map_err(failed)?;
    match other_than_regular(&fs::metadata(&target).map_err(failed)?) {
        None => Ok(target),
        Some(found) => Err(WeightsError::NotReplaced {
            path: path.to_path_buf(),
            found,
        }),
    }
}

fn write<M: Module>(model: &M, target: &Path) -> Result<(), String> {
    // burn-store's own temporary file is private; a file that is there already gives its
    // permissions to what replaces it.
    let (scratch, file) = AtomicFile::create(target).map_err(|error| error.to_string())?;
    drop(file);
    let ours = Deconv2dAdapter::save(KernelLayout::PYTORCH, model);
    let mut store = SafetensorsStore::from_file(scratch.path())
        .overwrite(true)
        .skip_enum_variants(true)
        .metadata("format", "pt")
        .with_to_adapter(BurnToPyTorchAdapter.chain(ours));
    let saved = model.save_into(&mut store);
    saved.map_err(|error| error.to_string())?;
    scratch.commit().map_err(|error| error.to_string())
}
