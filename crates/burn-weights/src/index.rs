//! JSON files: the index of weights in several files, and the header of safetensors.
//!
//! Of either only a limited part is kept, so that a file of many names takes little memory.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::file::{Problem, corrupt, unsupported};

/// Weights may be in this many files; 5 GB each is the default of Keras.
const MOST_SHARDS: usize = 1_000;

/// A safetensors file may name this many tensors that it leaves out.
const MOST_TIED: usize = 1_000;

/// Keras' `model.weights.json` and safetensors' `model.safetensors.index.json`: the file or files
/// of each weight.
#[derive(Deserialize)]
struct Index {
    weight_map: Option<Files>,
    /// What a model of TensorFlow.js has instead.
    #[serde(rename = "weightsManifest")]
    manifest: Option<IgnoredAny>,
}

/// The names of the files that an index lists, each once.
pub(crate) fn shards(path: &Path) -> Result<Vec<String>, Problem> {
    let reader = BufReader::new(File::open(path)?);
    let index: Index = serde_json::from_reader(reader).map_err(problem)?;
    let Some(Files(files)) = index.weight_map else {
        return Err(if index.manifest.is_some() {
            unsupported(
                "is a model of TensorFlow.js",
                "convert it in Python: tensorflowjs_converter --input_format=tfjs_layers_model \
                 --output_format=keras model.json model.h5",
            )
        } else {
            unsupported(
                "is JSON without a weight_map",
                "give the file of the weights, or the index that lists their files",
            )
        });
    };
    let is_beside = |name: &String| Path::new(name).file_name() == Some(name.as_ref());
    match files.iter().find(|name| !is_beside(name)) {
        Some(elsewhere) => Err(unsupported(
            format!("lists \"{elsewhere}\", which is no name of a file beside it"),
            "put the files into one folder, and their names into the index",
        )),
        None => Ok(files.into_iter().collect()),
    }
}

/// The names of the weights that a safetensors file leaves out because they are others' too, each
/// with the other: `safetensors.torch.save_model` writes them into the header.
pub(crate) fn tied(path: &Path) -> Result<Vec<(String, String)>, Problem> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: Option<Pairs>,
    }
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let header = BufReader::new(file.take(u64::from_le_bytes(length)));
    let header: Header = serde_json::from_reader(header).map_err(problem)?;
    Ok(header.metadata.map_or(vec![], |Pairs(pairs)| pairs))
}

fn problem(error: serde_json::Error) -> Problem {
    match error.io_error_kind() {
        Some(kind) => std::io::Error::from(kind).into(),
        None => corrupt(error),
    }
}

/// All strings in a value, each once; without the keys of objects.
struct Files(BTreeSet<String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FilesVisitor)
    }
}

struct FilesVisitor;

impl<'de> Visitor<'de> for FilesVisitor {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names of files")
    }

    fn visit_str<E>(self, name: &str) -> Result<Files, E> {
        Ok(Files([name.to_string()].into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Files, A::Error> {
        let mut files = BTreeSet::new();
        while let Some(Files(more)) = values.next_element()? {
            extend(&mut files, more)?;
        }
        Ok(Files(files))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Files, A::Error> {
        let mut files = BTreeSet::new();
        while let Some((IgnoredAny, Files(more))) = values.next_entry()? {
            extend(&mut files, more)?;
        }
        Ok(Files(files))
    }
}

fn extend<E: Error>(files: &mut BTreeSet<String>, more: BTreeSet<String>) -> Result<(), E> {
    files.extend(more);
    if files.len() > MOST_SHARDS {
        return Err(E::custom(format!("more than {MOST_SHARDS} files")));
    }
    Ok(())
}

/// An object of strings, up to [`MOST_TIED`] of them.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Pairs, A::Error> {
        let mut pairs = vec![];
        while pairs.len() < MOST_TIED {
            match values.next_entry()? {
                Some(pair) => pairs.push(pair),
                None => return Ok(Pairs(pairs)),
            }
        }
        while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Pairs(pairs))
    }
}
