//! Files: what kind one is, and the tensors in it. The one place where the readers of the formats
//! are called.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use burn::store::burn_pack::{self, Tensor as StoredTensor};
use burn::store::pytorch_reader::PytorchReader;
use burn::store::{ModuleStore, SafetensorsStore, bridge};
use burn::tensor::TensorData;
use zip::ZipArchive;

use super::WeightsError;
use super::keras::{self, Problem, cause};
use crate::panic;

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// `torch.save`: an archive, or a bare pickle.
    PyTorch,
    /// safetensors.
    Safetensors,
    /// `.weights.h5`.
    Hdf5,
    /// `.keras`: an archive with an HDF5 file in it.
    KerasArchive,
    /// `.bpk`.
    Burnpack,
}

/// The weights' name in a `.keras` archive.
const KERAS_WEIGHTS: &str = "model.weights.h5";

/// All tensors of a file, still unread where the format allows it.
///
/// `accepted` are the formats that will do, and how an error calls them.
pub(super) fn read_tensors(
    path: &Path,
    (accepted, expected): (&[Container], &'static str),
) -> Result<Vec<StoredTensor>, WeightsError> {
    let unreadable = |source| WeightsError::Read {
        path: path.to_path_buf(),
        source,
    };
    let wrong_kind = |found| WeightsError::WrongKind {
        path: path.to_path_buf(),
        found,
        expected,
    };
    if path.is_dir() {
        return Err(wrong_kind("a folder"));
    }
    let (container, kind) = recognise(path).map_err(unreadable)?;
    let Some(container) = container.filter(|container| accepted.contains(container)) else {
        return Err(wrong_kind(kind));
    };

    let corrupt = |cause: String| WeightsError::Corrupt {
        path: path.to_path_buf(),
        kind,
        cause,
    };
    let read = || match container {
        Container::PyTorch => {
            let tensors = PytorchReader::new(path).map_err(cause)?.into_tensors();
            Ok(tensors.into_values().map(bridge::from_pytorch).collect())
        }
        Container::Safetensors => {
            let mut store = SafetensorsStore::from_file(path);
            let tensors = store.get_all_tensors().map_err(cause)?;
            Ok(tensors.values().cloned().collect())
        }
        Container::Hdf5 => read_hdf5(fs::read(path).map_err(cause)?),
        Container::KerasArchive => {
            let mut archive = ZipArchive::new(File::open(path).map_err(cause)?).map_err(cause)?;
            let mut weights = Vec::new();
            let mut entry = archive.by_name(KERAS_WEIGHTS).map_err(cause)?;
            entry.read_to_end(&mut weights).map_err(cause)?;
            read_hdf5(weights)
        }
        Container::Burnpack => burn_pack::Reader::from_file_exact(path)
            .and_then(burn_pack::Reader::into_tensors)
            .map_err(cause),
    };
    caught(read)
        .unwrap_or_else(|panic| Err(Problem::Corrupt(panic)))
        .map_err(|problem| match problem {
            Problem::Corrupt(cause) => corrupt(cause),
            Problem::LegacyKeras => WeightsError::LegacyKeras {
                path: path.to_path_buf(),
            },
        })
}

/// The values of one tensor.
pub(super) fn read_data(tensor: StoredTensor) -> Result<TensorData, String> {
    let data = caught(|| bridge::into_data(tensor));
    data.and_then(|data| data.map_err(|error| error.to_string()))
}

fn read_hdf5(bytes: Vec<u8>) -> Result<Vec<StoredTensor>, Problem> {
    keras::read_tensors(&hdf5_pure::File::from_bytes(bytes).map_err(cause)?)
}

/// Calls a reader; a panic in it, which only a corrupt file can cause, becomes an error.
fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    panic::caught(read).map_err(|message| format!("the reader panicked: {message}"))
}

/// The kind of a file by its first bytes, and what to call it.
fn recognise(path: &Path) -> io::Result<(Option<Container>, &'static str)> {
    let mut start = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut start)?;
    Ok(match start.as_slice() {
        [] => (None, "an empty file"),
        [b'P', b'K', 3, 4, ..] => archive(path),
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => {
            (Some(Container::Hdf5), "an HDF5 file")
        }
        [b'N', b'R', b'U', b'B', ..] => (Some(Container::Burnpack), "a Burn checkpoint"),
        // The length of the header, far below 2^32, and the header: JSON.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => (Some(Container::Safetensors), "safetensors"),
        [0x80, 2..=5, ..] => (Some(Container::PyTorch), "a Python pickle"),
        tar if tar.get(257..262) == Some(b"ustar") => (Some(Container::PyTorch), "a tar archive"),
        [0x89, b'P', b'N', b'G', ..] => (None, "a PNG image"),
        [0xff, 0xd8, 0xff, ..] => (None, "a JPEG image"),
        [0x1f, 0x8b, ..] => (None, "a gzip archive"),
        text if is_text(text) => (None, "a text file"),
        _ => (None, "a file of an unknown kind"),
    })
}

/// Whether this is UTF-8, perhaps cut within a character, without control characters.
fn is_text(start: &[u8]) -> bool {
    let text = match core::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            core::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_plain = |c: char| !c.is_control() || c.is_whitespace();
    !text.is_empty() && text.chars().all(is_plain)
}

/// The kind of a zip archive by its entries. One whose list of entries, at its end, is cut off
/// counts as PyTorch's or Keras' by its first entry.
fn archive(path: &Path) -> (Option<Container>, &'static str) {
    let pytorch = (Some(Container::PyTorch), "a PyTorch archive");
    let keras = (Some(Container::KerasArchive), "a Keras archive");
    let other = (None, "a zip archive of neither PyTorch nor Keras");
    let Ok(file) = File::open(path) else {
        return other;
    };
    let names: Vec<String> = match caught(|| ZipArchive::new(file)) {
        Ok(Ok(archive)) => archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.into_owned()))
            .collect(),
        _ => first_entry(path).into_iter().collect(),
    };
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    if has(KERAS_WEIGHTS) || has("metadata.json") {
        keras
    } else if has("data.pkl") {
        pytorch
    } else {
        other
    }
}

/// The name in the header at the beginning of a zip archive.
fn first_entry(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(512).read_to_end(&mut start).ok()?;
    let length = u16::from_le_bytes([*start.get(26)?, *start.get(27)?]);
    let name = start.get(30..30 + usize::from(length))?;
    String::from_utf8(name.to_vec()).ok()
}
