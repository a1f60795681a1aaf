//! [`WeightsError`] and [`Misfit`]: why weights could not be loaded or saved, by file and by
//! tensor.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

use burn::store::ApplyError;
use burn::tensor::DType;
use burn_deconv::KernelLayout;
use thiserror::Error;

use crate::text::{joined, plain, write_list};

/// Why a file's weights could not be loaded into a model, or a model's weights not be saved.
///
/// After an error the model is as it was before, bit for bit, and so is the file that was to be
/// written. Messages escape control characters in names from files, and cut long names and long
/// lists; the fields hold everything.
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
    #[error("{} cannot be read: {source}", plain(path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file begins as a file of another kind, or is no regular file.
    #[error("{} is {found}; expected: {expected}", plain(path.display()))]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What can be read here.
        expected: &'static str,
    },
    /// The file begins as it should, and then contradicts itself or ends early.
    #[error(
        "{} is corrupt or truncated: as {kind} it cannot be read: {}",
        plain(path.display()), plain(cause)
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it claims to be.
        kind: &'static str,
        /// What its reader says.
        cause: String,
    },
    /// The file may well be whole, but holds something that this package does not read.
    #[error("{} cannot be used: it {}; {way_out}", plain(path.display()), plain(found))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is or holds, as in "it is a TorchScript archive".
        found: String,
        /// What to do about it.
        way_out: &'static str,
    },
    /// No tensor of the file stands under the key asked for.
    #[error(
        "{} has nothing under \"{}\"; at its top level are: {}",
        plain(path.display()), plain(key), joined(found)
    )]
    TopLevelKey {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// The keys that there are.
        found: Vec<String>,
    },
    /// A pattern of [`with_key_remapping`](crate::WeightsFile::with_key_remapping) that is no
    /// regular expression.
    #[error("\"{}\" is not a regular expression: {cause}", plain(pattern))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Two tensors of the file have one name after the renaming.
    #[error(
        "{}: both \"{}\" and \"{}\" become \"{}\"",
        plain(path.display()), plain(first), plain(second), plain(name)
    )]
    NameCollision {
        /// The file.
        path: PathBuf,
        /// The name that both have.
        name: String,
        /// The first tensor's name in the file.
        first: String,
        /// The second tensor's name in the file.
        second: String,
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
    /// Burn does not take a tensor that fits.
    #[error("{}: Burn refuses a tensor: {cause}", plain(path.display()))]
    Apply {
        /// The file.
        path: PathBuf,
        /// What burn-store says.
        cause: Box<ApplyError>,
    },
    /// The path to write to is a folder, a device, a pipe or a socket.
    #[error("{} is {found}; only a regular file is replaced", plain(path.display()))]
    NotReplaced {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {}", plain(path.display()), plain(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the writer says.
        cause: String,
    },
}

/// Why a tensor of a file cannot be a parameter of the model.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The weight of a [`Deconv2dLayer`](burn_deconv::Deconv2dLayer) has another shape.
    #[error(
        "{}: {} in the layout {layout} is not the layer's {expected:?} ([out, in / groups, k_h, \
         k_w]){}",
        plain(tensor), plain(format_args!("{found:?}")), OtherLayouts(fits)
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
    /// Any other parameter has another shape.
    #[error(
        "{}: {} in the file, {expected:?} in the model",
        plain(tensor), plain(format_args!("{found:?}"))
    )]
    Shape {
        /// The parameter's path in the model.
        tensor: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// The file's shape, its axes in the model's order.
        found: Vec<usize>,
    },
    /// The file has whole numbers or truth values where the model has real numbers, or the reverse.
    #[error("{}: {found:?} in the file, {expected} in the model", plain(tensor))]
    Kind {
        /// The parameter's path in the model.
        tensor: String,
        /// `"float"`, `"int"` or `"bool"`.
        expected: &'static str,
        /// The file's data type.
        found: DType,
    },
    /// The values are of a kind that this package does not read.
    #[error("{}: {} in the file; {way_out}", plain(tensor), plain(found))]
    Unsupported {
        /// The parameter's path in the model.
        tensor: String,
        /// What the file has there.
        found: String,
        /// What to do about it.
        way_out: &'static str,
    },
    /// The values cannot be read from the file.
    #[error("{}: cannot be read: {}", plain(tensor), plain(cause))]
    Data {
        /// The parameter's path in the model.
        tensor: String,
        /// What the reader says.
        cause: String,
    },
}

struct DoesNotFit<'a> {
    path: &'a Path,
    missing: &'a [String],
    misfits: &'a [Misfit],
    unused: &'a [String],
}

impl fmt::Display for DoesNotFit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not fit the model", plain(self.path.display()))?;
        write_list(f, "missing in the file", &Plain::all(self.missing))?;
        write_list(f, "not as in the model", self.misfits)?;
        write_list(f, "unused in the file", &Plain::all(self.unused))?;
        if let Some(key) = prefix(self.missing, self.unused) {
            let key = plain(key);
            write!(
                f,
                "\nin the file, \"{key}.\" stands before missing names: \
                 with_top_level_key(\"{key}\") removes it"
            )?;
        }
        Ok(())
    }
}

/// A name in a list.
struct Plain<'a>(&'a String);

impl<'a> Plain<'a> {
    fn all(names: &'a [String]) -> Vec<Self> {
        names.iter().map(Self).collect()
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.0))
    }
}

/// What the file writes before a missing name, as `model_state_dict` of a PyTorch checkpoint.
fn prefix<'a>(missing: &[String], unused: &'a [String]) -> Option<&'a str> {
    let before = |name: &String| {
        let ends = |other: &'a String| other.strip_suffix(name.as_str())?.strip_suffix('.');
        unused.iter().find_map(ends)
    };
    missing.iter().find_map(before)
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
