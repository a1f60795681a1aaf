//! [`WeightsFile`]: a file is read, renamed, compared with the model, and loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ApplyError, KeyRemapper, ModuleSnapshot, map_indices_contiguous};

use super::fit::Fit;
use super::framework::Framework;
use super::{Deconv2dAdapter, Misfit, WeightsError, file};
use burn_deconv::KernelLayout;

/// A file of weights that another framework wrote, to be loaded into a Burn model whose transposed
/// convolutions are [`Deconv2dLayer`](burn_deconv::Deconv2dLayer)s.
///
/// The whole file is compared with the model first, and then loaded or not: after an error the
/// model is as it was. Floating-point values are converted to the default data type of the
/// parameter's device.
///
/// # Example
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{BatchNorm, BatchNormConfig};
/// use burn::tensor::Device;
/// use burn_weights::WeightsFile;
/// use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};
///
/// /// PyTorch: a module with `main = nn.Sequential(nn.ConvTranspose2d(8, 16, 4, bias=False),
/// /// nn.BatchNorm2d(16), ..)`
/// #[derive(Module, Debug)]
/// struct Start {
///     project: Deconv2dLayer,
///     norm: BatchNorm,
/// }
///
/// let device = Device::default();
/// let mut start = Start {
///     project: Deconv2dLayerConfig::new([8, 16], [4, 4])
///         .with_stride([1, 1])
///         .with_padding(Padding::Explicit(0, 0, 0, 0))
///         .with_bias(false)
///         .init(&device),
///     norm: BatchNormConfig::new(16).init(&device),
/// };
/// let report = WeightsFile::pytorch("tests/fixtures/models/pytorch_dcgan.pt")
///     .with_key_remapping(r"^main\.0\.", "project.")?
///     .with_key_remapping(r"^main\.1\.", "norm.")?
///     .load_into(&mut start)?;
/// assert_eq!(report.loaded.len(), 5);
/// assert!(report.unused.contains(&"main.0.weight".to_string())); // of the layers to come
/// # Ok::<(), burn_weights::WeightsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeightsFile {
    path: PathBuf,
    framework: Framework,
    layout: KernelLayout,
    remapper: KeyRemapper,
    top_level_key: Option<String>,
    map_indices_contiguous: bool,
    allow_partial: bool,
}

/// What was loaded, and what was not.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_deconv::Deconv2dLayerConfig;
/// use burn_weights::WeightsFile;
///
/// let mut layer = Deconv2dLayerConfig::new([4, 3], [3, 3]).init(&Device::default());
/// let report = WeightsFile::keras("tests/fixtures/models/keras_autoencoder.keras")
///     .with_top_level_key("up2")
///     .load_into(&mut layer)?;
/// assert_eq!(report.loaded, ["weight", "bias"]);
/// assert!(report.missing.is_empty() && report.unused.is_empty());
/// # Ok::<(), burn_weights::WeightsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The parameters of the model that have new values, by path.
    pub loaded: Vec<String>,
    /// The parameters that the file has no tensor for. Empty unless
    /// [`allow_partial`](WeightsFile::allow_partial) was set.
    pub missing: Vec<String>,
    /// The tensors of the file that the model has no parameter for, by their names after the
    /// remapping. PyTorch's `num_batches_tracked` is always among them.
    pub unused: Vec<String>,
}

impl WeightsFile {
    fn new(framework: Framework, path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            framework,
            layout: framework.layout(),
            remapper: KeyRemapper::new(),
            top_level_key: None,
            map_indices_contiguous: framework == Framework::PyTorch,
            allow_partial: false,
        }
    }

    /// A file of PyTorch: a state dict written by `torch.save`, or safetensors.
    ///
    /// See the example of [`WeightsFile`].
    pub fn pytorch(path: impl Into<PathBuf>) -> Self {
        Self::new(Framework::PyTorch, path)
    }

    /// A file of Keras 3: `.weights.h5` of `model.save_weights`, or `.keras` of `model.save`; or
    /// safetensors with names such as `up.kernel`.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::module::Module;
    /// use burn::tensor::Device;
    /// use burn_weights::WeightsFile;
    /// use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
    ///
    /// #[derive(Module, Debug)]
    /// struct Decoder {
    ///     up1: Deconv2dLayer,
    ///     up2: Deconv2dLayer,
    /// }
    ///
    /// let (device, up) = (Device::default(), Deconv2dLayerConfig::new);
    /// let mut decoder = Decoder {
    ///     up1: up([6, 4], [3, 3]).with_bias(false).init(&device),
    ///     up2: up([4, 3], [3, 3]).init(&device),
    /// };
    /// // Conv2DTranspose(.., name="up1") and the like
    /// WeightsFile::keras("tests/fixtures/models/keras_autoencoder.weights.h5")
    ///     .load_into(&mut decoder)?;
    /// # Ok::<(), burn_weights::WeightsError>(())
    /// ```
    pub fn keras(path: impl Into<PathBuf>) -> Self {
        Self::new(Framework::Keras, path)
    }

    /// A file of Flax, exported in two lines:
    ///
    /// ```python
    /// flat = flax.traverse_util.flatten_dict(variables, sep=".")
    /// safetensors.numpy.save_file({k: np.asarray(v) for k, v in flat.items()}, "decoder.safetensors")
    /// ```
    ///
    /// If its layers have `transpose_kernel=True`, say so with
    /// [`with_layout(KernelLayout::TensorFlow)`](Self::with_layout).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_deconv::Deconv2dLayerConfig;
    /// use burn_weights::WeightsFile;
    ///
    /// let mut layer = Deconv2dLayerConfig::new([6, 5], [3, 3]).init(&Device::default());
    /// WeightsFile::flax("tests/fixtures/models/flax_decoder.safetensors")
    ///     .with_top_level_key("up1")
    ///     .load_into(&mut layer)?;
    /// # Ok::<(), burn_weights::WeightsError>(())
    /// ```
    pub fn flax(path: impl Into<PathBuf>) -> Self {
        Self::new(Framework::Flax, path)
    }

    /// A checkpoint of the same model with Burn's own `ConvTranspose2d` in place of our layer:
    /// `.bpk`, or safetensors as burn-store writes it by default.
    ///
    /// A checkpoint of the model itself needs no conversion: `Module::load_file`.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::module::Module;
    /// use burn::nn::conv::ConvTranspose2dConfig;
    /// use burn::tensor::Device;
    /// use burn_deconv::Deconv2dLayerConfig;
    /// use burn_weights::WeightsFile;
    ///
    /// let device = Device::default();
    /// let path = std::env::temp_dir().join("burn-deconv-example.bpk");
    /// let burns = ConvTranspose2dConfig::new([4, 2], [3, 3]).init(&device);
    /// burns.save_file(&path).unwrap();
    ///
    /// let mut ours = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&device);
    /// WeightsFile::burn(&path).load_into(&mut ours)?;
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), burn_weights::WeightsError>(())
    /// ```
    pub fn burn(path: impl Into<PathBuf>) -> Self {
        Self::new(Framework::Burn, path)
    }

    /// Renames tensors: what the regular expression `pattern` matches in a name becomes
    /// `replacement`, in which `$1` is the first group. Those given first are applied first.
    ///
    /// # Errors
    ///
    /// A pattern that is no regular expression.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_weights::WeightsFile;
    ///
    /// // Keras' list of unnamed layers, blocks/up, blocks/up_1, .., as a `Vec`
    /// WeightsFile::keras("decoder.weights.h5")
    ///     .with_key_remapping(r"^blocks\.up\.", "blocks.0.")?
    ///     .with_key_remapping(r"^blocks\.up_(\d+)\.", "blocks.$1.")?;
    /// # Ok::<(), burn_weights::WeightsError>(())
    /// ```
    pub fn with_key_remapping(
        mut self,
        pattern: &str,
        replacement: &str,
    ) -> Result<Self, WeightsError> {
        let remapper = self.remapper.add_pattern(pattern, replacement);
        self.remapper = remapper.map_err(|error| WeightsError::Pattern {
            pattern: pattern.to_string(),
            cause: error.to_string(),
        })?;
        Ok(self)
    }

    /// Takes only the tensors under this key, and takes it off their names: `"model_state_dict"`
    /// of a PyTorch checkpoint that holds more than the state dict, `"module"` of a model within a
    /// `DataParallel`, or the path of a part. Comes before any remapping.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_deconv::Deconv2dLayerConfig;
    /// use burn_weights::WeightsFile;
    ///
    /// // torch.save({"epoch": 3, "model_state_dict": model.state_dict()}, ..), and its layer `up`
    /// let config = Deconv2dLayerConfig::new([6, 4], [3, 5]).with_groups(2);
    /// let mut layer = config.init(&Device::default());
    /// WeightsFile::pytorch("tests/fixtures/models/pytorch_grouped.pth")
    ///     .with_top_level_key("model_state_dict.up")
    ///     .load_into(&mut layer)?;
    /// # Ok::<(), burn_weights::WeightsError>(())
    /// ```
    pub fn with_top_level_key(mut self, key: &str) -> Self {
        self.top_level_key = Some(key.to_string());
        self
    }

    /// Whether gaps in the numbers of a list are closed after the remapping, so that `blocks.0` and
    /// `blocks.2` become `blocks.0` and `blocks.1`. Default: for PyTorch, whose lists number the
    /// layers without parameters too.
    pub fn map_indices_contiguous(mut self, map: bool) -> Self {
        self.map_indices_contiguous = map;
        self
    }

    /// The layout of the transposed convolutions' weights, where it is not the framework's usual
    /// one.
    pub fn with_layout(mut self, layout: KernelLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Whether parameters without a tensor in the file keep their values. Default: false, they are
    /// an error.
    pub fn allow_partial(mut self, allow: bool) -> Self {
        self.allow_partial = allow;
        self
    }

    /// Loads the file into `model`. Until it is done, both sets of values are in memory.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is of another kind, or corrupt; parameters of the model that
    /// have no tensor in the file, or one that cannot be theirs. `model` is then as it was.
    pub fn load_into<M: Module>(&self, model: &mut M) -> Result<LoadReport, WeightsError> {
        let tensors = self.tensors()?;
        let ours = Deconv2dAdapter::load(self.layout, model);
        let mut fit = Fit::new(self.framework, self.layout, ours, tensors);
        model.visit(&mut fit);

        let unused = fit.unused();
        let incomplete = !fit.missing.is_empty() && !self.allow_partial;
        if incomplete || !fit.misfits.is_empty() {
            return Err(WeightsError::DoesNotFit {
                path: self.path.clone(),
                missing: fit.missing,
                misfits: fit.misfits,
                unused,
            });
        }
        if fit.batch_norm_in_use {
            // A batch norm puts off the last update of its statistics, which would come down on
            // those that are loaded; this makes it.
            drop(model.valid());
        }
        // All that burn-store could find wrong, `Fit` has looked at.
        let skip_enum_variants = self.framework.skips_enum_variants();
        let result = model.apply(fit.fitted, None, None, skip_enum_variants);
        if !result.errors.is_empty() {
            let misfit = |error: ApplyError| {
                let cause = error.to_string();
                let (ApplyError::ShapeMismatch { path, .. }
                | ApplyError::DTypeMismatch { path, .. }
                | ApplyError::AdapterError { path, .. }
                | ApplyError::LoadError { path, .. }) = error;
                let tensor = path;
                Misfit::Data { tensor, cause }
            };
            return Err(WeightsError::DoesNotFit {
                path: self.path.clone(),
                missing: fit.missing,
                misfits: result.errors.into_iter().map(misfit).collect(),
                unused,
            });
        }
        Ok(LoadReport {
            loaded: result.applied,
            missing: fit.missing,
            unused,
        })
    }

    /// The file's tensors by their final names.
    fn tensors(&self) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
        let mut tensors = file::read_tensors(&self.path, self.framework.containers())?;
        for tensor in &mut tensors {
            tensor.name = self.framework.path(&tensor.name);
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(key) = &self.top_level_key {
            tensors = self.under(key, tensors)?;
        }
        let originals: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let (mut tensors, _) = self.remapper.remap(tensors);

        let mut by_name: BTreeMap<&str, &str> = BTreeMap::new();
        for (tensor, original) in tensors.iter().zip(&originals) {
            if let Some(first) = by_name.insert(&tensor.name, original) {
                return Err(WeightsError::NameCollision {
                    path: self.path.clone(),
                    name: tensor.name.clone(),
                    originals: (first.to_string(), original.clone()),
                });
            }
        }
        if self.map_indices_contiguous {
            (tensors, _) = map_indices_contiguous(tensors);
        }
        let named = tensors
            .into_iter()
            .map(|tensor| (tensor.name.clone(), tensor));
        Ok(named.collect())
    }

    /// The tensors under a key, without it.
    fn under(
        &self,
        key: &str,
        tensors: Vec<StoredTensor>,
    ) -> Result<Vec<StoredTensor>, WeightsError> {
        let prefix = format!("{key}.");
        let (mut inside, outside): (Vec<_>, Vec<_>) = tensors
            .into_iter()
            .partition(|tensor| tensor.name.starts_with(&prefix));
        if inside.is_empty() {
            let first = |tensor: &StoredTensor| tensor.name.split('.').next().map(str::to_string);
            let mut found: Vec<String> = outside.iter().filter_map(first).collect();
            found.dedup(); // they are sorted
            return Err(WeightsError::TopLevelKey {
                path: self.path.clone(),
                key: key.to_string(),
                found,
            });
        }
        for tensor in &mut inside {
            tensor.name.drain(..prefix.len());
        }
        Ok(inside)
    }
}
