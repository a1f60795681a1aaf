//! [`save_pytorch`]: weights out.

use std::path::Path;

use burn::module::Module;
use burn::store::{BurnToPyTorchAdapter, ModuleAdapter, ModuleSnapshot, SafetensorsStore};

use super::{Deconv2dAdapter, WeightsError};
use burn_deconv::KernelLayout;

/// Writes the weights of `model` as safetensors with PyTorch's names and layouts.
///
/// ```python
/// model.load_state_dict(safetensors.torch.load_file("generator.safetensors"))
/// ```
///
/// The file appears when it is complete, in place of an older one.
///
/// # Errors
///
/// A file that cannot be written.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_deconv::Deconv2dLayerConfig;
/// use burn_weights::{WeightsFile, save_pytorch};
///
/// let path = std::env::temp_dir().join("burn-deconv-example.safetensors");
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
    let ours = Deconv2dAdapter::save(KernelLayout::PYTORCH, model);
    let path = path.as_ref();
    let mut file = SafetensorsStore::from_file(path)
        .overwrite(true)
        .skip_enum_variants(true)
        .metadata("format", "pt")
        .with_to_adapter(BurnToPyTorchAdapter.chain(ours));
    model
        .save_into(&mut file)
        .map_err(|error| WeightsError::Write {
            path: path.to_path_buf(),
            cause: error.to_string(),
        })
}
