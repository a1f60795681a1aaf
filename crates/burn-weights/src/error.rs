//! [`WeightsError`]: why weights could not be loaded or saved, by file and by tensor.

use core::fmt;
use std::io;
use std::path::PathBuf;

use burn::tensor::DType;
use thiserror::Error;

use burn_deconv::KernelLayout;

/// Why a file's weights could not be loaded into a model, or a model's not saved.
///
/// After any of them the model is what it was before, bit for bit, and so is a file that was to be
/// written.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_deconv::Deconv2dLayerConfig;
/// use burn_weights::{WeightsError, WeightsFile};
///
/// let mut model = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&Device::default());
/// let error = WeightsFile::pytorch("Cargo.toml").load_into(&mut model).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Cargo.toml is a text file; expected: a file written by torch.save (.pt, .pth), or \
///      safetensors"
/// );
/// assert!(matches!(error, WeightsError::WrongKind { .. }));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file begins as a file of another kind.
    #[error("{} is {found}; expected: {expected}", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What can be read here.
        expected: &'static str,
    },
    /// The file begins as it should, and then contradicts itself or ends early.
    #[error("{} is corrupt or truncated: as {kind} it cannot be read: {cause}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it claims to be.
        kind: &'static str,
        /// What its reader says.
        cause: String,
    },
    /// No tensor of the file stands under the key asked for.
    #[error(
        "{} has nothing under \"{key}\"; at its top level are: {}",
        path.display(), found.join(", ")
    )]
    TopLevelKey {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// The keys that there are.
        found: Vec<String>,
    },
    /// A Keras file of the older layout, which names its tensors otherwise.
    #[error(
        "{} has the HDF5 layout of Keras 2: load it in Keras 3 and write it anew with \
         model.save_weights(\"NAME.weights.h5\")",
        path.display()
    )]
    LegacyKeras {
        /// The file.
        path: PathBuf,
    },
    /// A pattern of [`with_key_remapping`](super::WeightsFile::with_key_remapping) that is no
    /// regular expression.
    #[error("\"{pattern}\" is not a regular expression: {cause}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Two tensors of the file have one name after the remapping.
    #[error(
        "{}: both \"{}\" and \"{}\" are named \"{name}\" after the remapping",
        path.display(), originals.0, originals.1
    )]
    NameCollision {
        /// The file.
        path: PathBuf,
        /// The name that both have.
        name: String,
        /// Their names in the file.
        originals: (String, String),
    },
    /// The tensors of the file are not those of the model.
    #[error("{}", DoesNotFit { path, missing, misfits, unused })]
    DoesNotFit {
        /// The file.
        path: PathBuf,
        /// Parameters of the model that the file has no tensor for.
        missing: Vec<String>,
        /// Parameters of the model whose tensor in the file cannot be theirs.
        misfits: Vec<Misfit>,
        /// Tensors of the file that no parameter has the name of.
        unused: Vec<String>,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What its writer says.
        cause: String,
    },
}

/// Why a tensor of a file cannot be a parameter of the model.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The weight of a [`Deconv2dLayer`](burn_deconv::Deconv2dLayer), in no number of groups.
    #[error(
        "{tensor}: {found:?} in the layout {layout} is not the layer's {expected:?} ([out, in / \
         groups, k_h, k_w]){}",
        OtherLayouts(fits)
    )]
    Kernel {
        /// The parameter's path in the model.
        tensor: String,
        /// The layer's shape, `[out, in / groups, k_h, k_w]`.
        expected: [usize; 4],
        /// The shape in the file.
        found: Vec<usize>,
        /// The layout that the file was read as.
        layout: KernelLayout,
        /// The layouts in which the file's shape would be the layer's.
        fits: Vec<KernelLayout>,
    },
    /// Any other parameter of another shape.
    #[error("{tensor}: {found:?} in the file, {expected:?} in the model")]
    Shape {
        /// The parameter's path in the model.
        tensor: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// The file's shape, its axes in the model's order.
        found: Vec<usize>,
    },
    /// Whole numbers or truth values where real numbers belong, or the reverse.
    #[error("{tensor}: {found:?} in the file, {expected} in the model")]
    Kind {
        /// The parameter's path in the model.
        tensor: String,
        /// `"float"`, `"int"` or `"bool"`.
        expected: &'static str,
        /// The file's data type.
        found: DType,
    },
    /// The values cannot be read from the file.
    #[error("{tensor}: cannot be read: {cause}")]
    Data {
        /// The parameter's path in the model.
        tensor: String,
        /// What the reader says.
        cause: String,
    },
}

/// How many tensors of each list a message names.
const NAMED: usize = 10;

struct DoesNotFit<'a> {
    path: &'a PathBuf,
    missing: &'a [String],
    misfits: &'a [Misfit],
    unused: &'a [String],
}

impl fmt::Display for DoesNotFit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not fit the model", self.path.display())?;
        list(f, "missing in the file", self.missing)?;
        list(f, "not as in the model", self.misfits)?;
        list(f, "unused in the file", self.unused)?;
        match prefix(self.missing, self.unused) {
            None => Ok(()),
            Some(key) => write!(
                f,
                "\nmissing names stand in the file behind \"{key}.\": \
                 with_top_level_key(\"{key}\") takes it off"
            ),
        }
    }
}

/// What stands in front of a missing name in the file, as `module` of PyTorch's `DataParallel`.
fn prefix<'a>(missing: &[String], unused: &'a [String]) -> Option<&'a str> {
    let in_front = |name: &String| {
        let ends = |other: &'a String| other.strip_suffix(name.as_str())?.strip_suffix('.');
        unused.iter().find_map(ends)
    };
    missing.iter().find_map(in_front)
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, items: &[impl fmt::Display]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n{what} ({}):", items.len())?;
    for item in items.iter().take(NAMED) {
        write!(f, "\n  {item}")?;
    }
    match items.len().checked_sub(NAMED) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, "\n  and {more} more"),
    }
}

struct OtherLayouts<'a>(&'a [KernelLayout]);

impl fmt::Display for OtherLayouts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(layouts) = self;
        for (i, layout) in layouts.iter().enumerate() {
            let before = if i == 0 { "; it would be in" } else { " or" };
            write!(f, "{before} {layout}")?;
        }
        Ok(())
    }
}
