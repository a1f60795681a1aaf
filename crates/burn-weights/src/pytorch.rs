//! PyTorch's files: what `pytorch-reader` reads, and what it passes over or calls wrong.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use burn::store::bridge;
use burn::store::pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader};
use zip::ZipArchive;

use crate::file::{Entry, Problem, Unsupported, corrupt, is_bomb, unsupported};
use crate::pickle::{self, Found};

/// A bare file of `torch.save` is a sequence of pickles: a magic number, a version, the system, and
/// the object.
const LEGACY_PICKLES: usize = 4;

/// A file may have this many Python objects, or one for every 64 of its bytes: a state dict has
/// about 32 for each tensor, and `pytorch-reader` takes up to 400 bytes for each.
const MOST_OBJECTS: u64 = 250_000;
const BYTES_PER_OBJECT: u64 = 64;

const STATE_DICT: &str = "save the model's state dict: torch.save(model.state_dict(), ..)";

/// The tensors of a file that `torch.save` wrote, and NumPy's arrays, which are not read.
pub(crate) fn read_tensors(path: &Path) -> Result<Vec<Entry>, Problem> {
    let Found {
        lazy_sign,
        without_torch_save,
        objects,
    } = scan(path)?;
    let size = fs::metadata(path)?.len();
    if objects > MOST_OBJECTS.max(size / BYTES_PER_OBJECT) {
        return Err(unsupported(
            format!("has {objects} Python objects, more than a state dict needs"),
            STATE_DICT,
        ));
    }
    if without_torch_save {
        return Err(unsupported(
            "is a pickle of tensors that torch.save did not write",
            STATE_DICT,
        ));
    }
    if lazy_sign {
        return Err(unsupported(
            "has tensors with torch's negative or conjugate bit, whose stored values are not theirs",
            "save tensor.resolve_neg().resolve_conj() in place of each tensor",
        ));
    }

    let root = PytorchReader::read_pickle_data(path, None).map_err(problem)?;
    let PickleValue::Dict(root) = root else {
        return Err(unsupported(
            format!("holds {} in place of a dictionary", name(&root)),
            STATE_DICT,
        ));
    };
    let mut entries = vec![];
    push_arrays(&mut entries, "", root);
    let tensors = PytorchReader::new(path).map_err(problem)?.into_tensors();
    entries.extend(tensors.into_iter().map(|(name, tensor)| Entry {
        name,
        tensor: Ok(bridge::from_pytorch(tensor)),
    }));
    Ok(entries)
}

/// Looks at the pickle; in an archive, at the other entries too.
fn scan(path: &Path) -> Result<Found, Problem> {
    let mut start = [0; 2];
    File::open(path)?.read_exact(&mut start)?;
    if &start != b"PK" {
        return Ok(pickle::scan(
            BufReader::new(File::open(path)?),
            LEGACY_PICKLES,
        ));
    }

    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut archive = ZipArchive::new(file).map_err(corrupt)?;
    let names = archive.file_names().filter_map(Result::ok);
    let names: Vec<String> = names.map(Cow::into_owned).collect();
    let find = |end: &str| names.iter().find(|name| name.ends_with(end));
    if find("/constants.pkl").is_some() {
        return Err(unsupported(
            "is a TorchScript archive (torch.jit.save)",
            "save its state dict: torch.save(torch.jit.load(path).state_dict(), ..)",
        ));
    }
    let Some(name) = find("data.pkl") else {
        return Err(corrupt("it has no entry data.pkl"));
    };
    let entry = archive.by_name(name).map_err(corrupt)?;
    let size = entry.size();
    if is_bomb(size, length) {
        return Err(unsupported(
            format!("unpacks to {size} bytes of names, far more than its own size"),
            "save it anew with torch.save",
        ));
    }
    Ok(pickle::scan(BufReader::new(entry.take(size)), 1))
}

/// NumPy's arrays in a dictionary. Other objects are a checkpoint's settings.
fn push_arrays(entries: &mut Vec<Entry>, prefix: &str, values: HashMap<String, PickleValue>) {
    for (key, value) in values {
        let name = format!("{prefix}{key}");
        match value {
            PickleValue::Dict(values) => push_arrays(entries, &format!("{name}."), values),
            PickleValue::Unsupported(class)
                if class.starts_with("numpy") && class.ends_with("_reconstruct") =>
            {
                entries.push(Entry {
                    name,
                    tensor: Err(Unsupported {
                        found: "a NumPy array".into(),
                        way_out: "save torch.from_numpy(array) in its place",
                    }),
                });
            }
            _ => {}
        }
    }
}

/// What a message calls a value.
fn name(value: &PickleValue) -> Cow<'_, str> {
    match value {
        PickleValue::None => "None".into(),
        PickleValue::Bool(_) => "a truth value".into(),
        PickleValue::Int(_) | PickleValue::Float(_) => "a number".into(),
        PickleValue::String(_) => "a string".into(),
        PickleValue::Bytes(_) => "bytes".into(),
        PickleValue::List(_) => "a list or tuple".into(),
        PickleValue::Dict(_) => "a dictionary".into(),
        PickleValue::Unsupported(class) => format!("an object of the type {class}").into(),
    }
}

/// Errors that `pytorch-reader` tells apart only by its words, with what they mean. Where the words
/// change, such a file is called corrupt again, and a test fails.
const BY_WORDS: [(&str, &str, &str); 3] = [
    (
        "dict key must be a str or int",
        "has a dictionary whose keys are neither strings nor whole numbers",
        STATE_DICT,
    ),
    (
        "storage persistent id has 4 fields",
        "is a whole model, pickled by an old torch.save",
        STATE_DICT,
    ),
    (
        "Big-endian",
        "was written on a big-endian machine",
        "load and save it anew on a little-endian one",
    ),
];

fn problem(error: PytorchError) -> Problem {
    match error {
        PytorchError::Io(error) => error.into(),
        PytorchError::Pickle(PickleError::Io(error)) => error.into(),
        PytorchError::Pickle(PickleError::UnsupportedType(class)) => {
            let way_out = way_out(&class);
            unsupported(format!("has a tensor of the type {class}"), way_out)
        }
        PytorchError::Pickle(PickleError::UnsupportedOpCode(opcode)) => unsupported(
            format!("is a pickle with the opcode {opcode:?}"),
            "save it anew with torch.save",
        ),
        error => {
            let words = error.to_string();
            let known = BY_WORDS.iter().find(|(known, ..)| words.contains(known));
            match known {
                Some(&(_, found, way_out)) => unsupported(found, way_out),
                None => corrupt(words),
            }
        }
    }
}

/// What to do about tensors that are no plain arrays of numbers that Burn has.
fn way_out(class: &str) -> &'static str {
    let class = class.to_lowercase();
    if class.contains("complex") {
        "save torch.view_as_real(tensor) in its place"
    } else if class.contains("sparse") {
        "save tensor.to_dense() in its place"
    } else if class.contains("float8") {
        "save tensor.float() in its place"
    } else if class.contains("qtensor") || class.contains("torch.q") {
        "save tensor.dequantize() in its place"
    } else {
        "save a plain float tensor in its place"
    }
}
