//! Files: what kind one is, and the tensors in it. The formats' readers are called here, in
//! [`pytorch`] and in [`keras`], and nowhere else.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::Path;

use burn::store::burn_pack::{self, Tensor as StoredTensor};
use burn::store::{ModuleStore, SafetensorsStore, SafetensorsStoreError, bridge};
use burn::tensor::TensorData;
use zip::ZipArchive;

use crate::panic::caught;
use crate::{Misfit, WeightsError, index, keras, pytorch};

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// `torch.save`: an archive, or a bare pickle.
    PyTorch,
    /// safetensors.
    Safetensors,
    /// `.weights.h5`, and Keras 2's `.h5`.
    Hdf5,
    /// `.keras`: an archive with an HDF5 file in it.
    KerasArchive,
    /// `.bpk`.
    Burnpack,
    /// JSON that lists the files of the weights.
    Index,
}

/// What a framework writes.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) containers: &'static [Container],
    /// Whether an index of several such files will do.
    pub(crate) with_index: bool,
    /// What errors call them.
    pub(crate) name: &'static str,
}

/// A tensor of a file, its values still unread where the format allows it.
pub(crate) struct Entry {
    /// The name in the file.
    pub(crate) name: String,
    pub(crate) tensor: Result<StoredTensor, Unsupported>,
}

impl Entry {
    fn of(tensor: StoredTensor) -> Self {
        Self {
            name: tensor.name.clone(),
            tensor: Ok(tensor),
        }
    }
}

/// Something that may be whole, but is not read here.
#[derive(Clone, Debug)]
pub(crate) struct Unsupported {
    pub(crate) found: Cow<'static, str>,
    pub(crate) way_out: &'static str,
}

impl Unsupported {
    /// What is wrong with the parameter `tensor`.
    pub(crate) fn of(self, tensor: String) -> Misfit {
        Misfit::Unsupported {
            tensor,
            found: self.found.into_owned(),
            way_out: self.way_out,
        }
    }
}

/// What a reader meets in a file of the right kind.
pub(crate) enum Problem {
    /// The system cannot read the file.
    Read(io::Error),
    /// The file contradicts itself or ends early, with the reader's words for it.
    Corrupt(String),
    /// `found` completes "it ..".
    Unsupported(Unsupported),
}

impl Problem {
    /// The error about the file at `path`, which claims to be `kind`.
    fn of(self, path: &Path, kind: &'static str) -> WeightsError {
        let path = path.to_path_buf();
        match self {
            Self::Read(source) => WeightsError::Read { path, source },
            Self::Corrupt(cause) => WeightsError::Corrupt { path, kind, cause },
            Self::Unsupported(Unsupported { found, way_out }) => WeightsError::Unsupported {
                path,
                found: found.into_owned(),
                way_out,
            },
        }
    }
}

pub(crate) fn corrupt(error: impl ToString) -> Problem {
    Problem::Corrupt(error.to_string())
}

pub(crate) fn unsupported(found: impl Into<Cow<'static, str>>, way_out: &'static str) -> Problem {
    Problem::Unsupported(Unsupported {
        found: found.into(),
        way_out,
    })
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => corrupt(error),
            _ => Self::Read(error),
        }
    }
}

/// All tensors of a file.
pub(crate) fn read_tensors(path: &Path, accepted: Accepted) -> Result<Vec<Entry>, WeightsError> {
    let unreadable = |source| WeightsError::Read {
        path: path.to_path_buf(),
        source,
    };
    let wrong_kind = |found| WeightsError::WrongKind {
        path: path.to_path_buf(),
        found,
        expected: accepted.name,
    };
    if path.join("saved_model.pb").is_file() {
        return Err(WeightsError::Unsupported {
            path: path.to_path_buf(),
            found: "is a SavedModel of TensorFlow".to_string(),
            way_out: "load it in Python with tf_keras.models.load_model and write it with \
                      model.save(\"NAME.h5\")",
        });
    }
    // Before it is opened: to open a pipe is to wait for its other end.
    if let Some(found) = other_than_regular(&fs::metadata(path).map_err(unreadable)?) {
        return Err(wrong_kind(found));
    }
    let (container, kind) = recognise(path).map_err(unreadable)?;
    let is_accepted = |container: &Container| match container {
        Container::Index => accepted.with_index,
        container => accepted.containers.contains(container),
    };
    let Some(container) = container.filter(is_accepted) else {
        return Err(wrong_kind(kind));
    };

    if container == Container::Index {
        let shards = index::shards(path).map_err(|problem| problem.of(path, kind))?;
        return read_shards(path, accepted, shards);
    }
    let read = caught(|| read_container(path, container));
    let read = read.unwrap_or_else(|panic| Err(corrupt(reader_panicked(&panic))));
    read.map_err(|problem| problem.of(path, kind))
}

/// All tensors of the files `shards`, which are in the folder of their index. A shard is no index.
fn read_shards(
    index: &Path,
    accepted: Accepted,
    shards: Vec<String>,
) -> Result<Vec<Entry>, WeightsError> {
    let mut entries = vec![];
    for shard in shards {
        let accepted = Accepted {
            with_index: false,
            ..accepted
        };
        entries.extend(read_tensors(&index.with_file_name(shard), accepted)?);
    }
    Ok(entries)
}

/// What a file is, if it is not a regular file.
pub(crate) fn other_than_regular(metadata: &fs::Metadata) -> Option<&'static str> {
    if metadata.is_file() {
        None
    } else if metadata.is_dir() {
        Some("a folder")
    } else {
        Some("a pipe, a socket or a device")
    }
}

fn read_container(path: &Path, container: Container) -> Result<Vec<Entry>, Problem> {
    match container {
        Container::PyTorch => pytorch::read_tensors(path),
        Container::Safetensors => {
            let mut store = SafetensorsStore::from_file(path);
            let tensors = store.get_all_tensors().map_err(safetensors_problem)?;
            let tied = index::tied(path)?.into_iter().filter_map(|(name, other)| {
                let mut tensor = tensors.get(&other)?.clone();
                tensor.name = name;
                Some(tensor)
            });
            let tied = tied.filter(|tensor| !tensors.contains_key(&tensor.name));
            let tensors = tensors.values().cloned().chain(tied);
            Ok(tensors.map(Entry::of).collect())
        }
        Container::Hdf5 => keras::read_tensors(File::open(path)?),
        Container::KerasArchive => {
            let weights = unpacked(File::open(path)?, KERAS_WEIGHTS)?;
            keras::read_tensors(Cursor::new(weights))
        }
        Container::Burnpack => {
            check_burnpack_header(path)?;
            let reader = burn_pack::Reader::from_file_exact(path).map_err(corrupt)?;
            let tensors = reader.into_tensors().map_err(corrupt)?;
            Ok(tensors.into_iter().map(Entry::of).collect())
        }
        Container::Index => Ok(vec![]), // its shards are containers
    }
}

fn safetensors_problem(error: SafetensorsStoreError) -> Problem {
    match error {
        SafetensorsStoreError::Io(error) => error.into(),
        // A data type that Burn does not have, complex or with 8 or fewer bits.
        SafetensorsStoreError::Other(words) => unsupported(
            format!("has a tensor of another kind ({words})"),
            "save it as a plain float tensor",
        ),
        error => corrupt(error),
    }
}

/// The values of one tensor, in memory: those of a Burn checkpoint would be read at first use, when
/// the file may be gone.
pub(crate) fn read_data(tensor: StoredTensor) -> Result<TensorData, String> {
    let read = || {
        let data = bridge::into_data(tensor);
        data.inspect(|data| _ = data.as_bytes())
    };
    match caught(read) {
        Ok(data) => data.map_err(|error| error.to_string()),
        Err(panic) => Err(reader_panicked(&panic)),
    }
}

/// Only a corrupt file makes a reader panic.
fn reader_panicked(message: &str) -> String {
    format!("the reader panicked: {message}")
}

/// The weights' name in a `.keras` archive.
const KERAS_WEIGHTS: &str = "model.weights.h5";

/// An entry of an archive may be larger than the archive by this factor. Keras and PyTorch do not
/// compress; weights that another program compressed shrink little, unless they are zeros.
pub(crate) const MOST_EXPANSION: u64 = 16;

/// A small entry may be larger than that: up to this number of bytes.
const SMALL_ENTRY: u64 = 1 << 20;

/// Whether an entry of `size` bytes is larger than what an archive of `archive` bytes may unpack
/// to.
pub(crate) fn is_bomb(size: u64, archive: u64) -> bool {
    size > archive.saturating_mul(MOST_EXPANSION).max(SMALL_ENTRY)
}

/// The bytes of an entry of an archive.
fn unpacked(file: File, name: &str) -> Result<Vec<u8>, Problem> {
    let length = file.metadata()?.len();
    let mut archive = ZipArchive::new(file).map_err(corrupt)?;
    let entry = archive.by_name(name).map_err(corrupt)?;
    let size = entry.size();
    if is_bomb(size, length) {
        return Err(unsupported(
            format!("unpacks to {size} bytes, more than {MOST_EXPANSION} times its own size"),
            "write it anew with model.save in Keras 3",
        ));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    entry.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// burn-pack allocates what the header says before it reads.
fn check_burnpack_header(path: &Path) -> Result<(), Problem> {
    let mut file = File::open(path)?;
    let mut header = [0; 10]; // four bytes of a magic number, two of a version
    file.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    let (names, length) = (u32::from_le_bytes([a, b, c, d]), file.metadata()?.len());
    if u64::from(names) > length {
        return Err(corrupt(format!(
            "its header has {names} bytes, and the file {length}"
        )));
    }
    Ok(())
}

/// The kind of a file by its first bytes, and what errors call it.
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
        text if is_text(text) && text.trim_ascii_start().starts_with(b"{") => {
            (Some(Container::Index), "a JSON file")
        }
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

/// The kind of a zip archive by its entries. If the list of entries at the archive's end is cut
/// off, the first entry decides.
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
