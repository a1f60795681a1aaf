//! [`WeightsFile`]: reads a file, renames its tensors, compares them with the model, and loads them.

use std::path::PathBuf;

use burn::module::Module;
use burn::store::{KeyRemapper, ModuleSnapshot};
use burn_deconv::KernelLayout;

use crate::fit::Fit;
use crate::framework::Framework;
use crate::names::fields;
use crate::{Deconv2dAdapter, WeightsError, file};

/// A file of weights, to load into a Burn model whose transposed convolutions are
/// [`Deconv2dLayer`](burn_deconv::Deconv2dLayer)s.
///
/// The whole file is first compared with the model. It loads if everything fits; after an error the
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
    pub(crate) path: PathBuf,
    pub(crate) framework: Framework,
    layout: KernelLayout,
    pub(crate) remapper: KeyRemapper,
    pub(crate) top_level_key: Option<String>,
    pub(crate) map_indices_contiguous: bool,
    /// Names, each with the one whose tensor it has too.
    pub(crate) tied: Vec<(String, String)>,
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
            tied: vec![],
            allow_partial: false,
        }
    }

    /// A file of PyTorch: a state dict written by `torch.save`, or safetensors, or the index
    /// `model.safetensors.index.json` of several.
    ///
    /// `module.` of a `DataParallel` and `_orig_mod.` of `torch.compile` are removed if all names
    /// begin with it and the model has no field of that name. This comes after the top-level key
    /// and before any remapping.
    ///
    /// See the example of [`WeightsFile`].
    pub fn pytorch(path: impl Into<PathBuf>) -> Self {
        Self::new(Framework::PyTorch, path)
    }

    /// A file of Keras: `.weights.h5` of `model.save_weights` or `.keras` of `model.save`; `.h5` of
    /// Keras 2, of either call; the index `.weights.json` of weights in several files; or
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
    /// let path = std::env::temp_dir().join("burn-weights-example.bpk");
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

    /// Renames tensors: the part of a name that the regular expression `pattern` matches becomes
    /// `replacement`, in which `$1` is the first group. Patterns are applied in the order in which
    /// they are given.
    ///
    /// # Errors
    ///
    /// A pattern that is not a regular expression.
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

    /// Uses only the tensors under this key, and removes it from their names: `"model_state_dict"`
    /// of a PyTorch checkpoint that holds more than the state dict, or the path of a part. This
    /// comes before any remapping.
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

    /// Loads the tensor of `other` into `name` too, if the file has none of that name. Both names
    /// are those after any remapping.
    ///
    /// Some models use one weight in two layers. A file of `torch.save` has it under both names;
    /// safetensors has it under one. `safetensors.torch.save_model` notes the other name in the
    /// file, which then loads without this.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_weights::WeightsFile;
    ///
    /// let file = WeightsFile::pytorch("model.safetensors")
    ///     .with_tied("head.weight", "embedding.weight");
    /// ```
    pub fn with_tied(mut self, name: &str, other: &str) -> Self {
        self.tied.push((name.to_string(), other.to_string()));
        self
    }

    /// Whether gaps in the numbers of a list are closed after the remapping: `blocks.0` and
    /// `blocks.2` become `blocks.0` and `blocks.1`. Default: true for PyTorch, whose lists number
    /// the layers without parameters too, and false otherwise.
    pub fn map_indices_contiguous(mut self, map: bool) -> Self {
        self.map_indices_contiguous = map;
        self
    }

    /// The layout of the transposed convolutions' weights. Default: the framework's usual one.
    pub fn with_layout(mut self, layout: KernelLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Whether parameters without a tensor in the file keep their values. Default: false; a missing
    /// tensor is an error.
    pub fn allow_partial(mut self, allow: bool) -> Self {
        self.allow_partial = allow;
        self
    }

    /// Loads the file into `model`.
    ///
    /// Names and shapes are read and compared first. Values are read only for the parameters of the
    /// model, each once, and only if everything fits. [The memory](crate#memory) that this takes is
    /// bounded.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is of another kind, corrupt, or unsupported; parameters of the
    /// model that have no tensor in the file, or a tensor that cannot be theirs. The model is then
    /// as it was before.
    pub fn load_into<M: Module>(&self, model: &mut M) -> Result<LoadReport, WeightsError> {
        let entries = file::read_tensors(&self.path, self.framework.accepted())?;
        let ours = Deconv2dAdapter::load(self.layout, model);
        let mut fit = Fit::new(
            self.framework,
            self.layout,
            ours,
            self.named(entries, &fields(model))?,
        );
        model.visit(&mut fit);

        let incomplete = !fit.missing.is_empty() && !self.allow_partial;
        if incomplete || !fit.misfits.is_empty() {
            return Err(self.does_not_fit(fit));
        }
        let values = fit.read();
        if !fit.misfits.is_empty() {
            return Err(self.does_not_fit(fit));
        }
        let unused = fit.unused();
        if fit.batch_norm_in_use {
            // Burn's BatchNorm updates its running statistics lazily. Force the pending update now,
            // or it would overwrite the loaded values.
            drop(model.valid());
        }
        let skip_enum_variants = self.framework.skips_enum_variants();
        let result = model.apply(values, None, None, skip_enum_variants);
        if let Some(cause) = result.errors.into_iter().next() {
            return Err(WeightsError::Apply {
                path: self.path.clone(),
                cause: Box::new(cause),
            });
        }
        Ok(LoadReport {
            loaded: result.applied,
            missing: fit.missing,
            unused,
        })
    }

    fn does_not_fit(&self, fit: Fit) -> WeightsError {
        WeightsError::DoesNotFit {
            path: self.path.clone(),
            unused: fit.unused(),
            missing: fit.missing,
            misfits: fit.misfits,
        }
    }
}
