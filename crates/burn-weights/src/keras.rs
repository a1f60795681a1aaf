//! Keras' HDF5 files: a tree of groups, as the model is a tree of layers. This is Keras 3's tree;
//! [`keras2`](crate::keras2) has that of Keras 2.
//!
//! Names and shapes are read first. A variable's values are read when the model has a parameter of
//! that name and shape, and then once.

use std::io::{Read, Seek};
use std::sync::Arc;

use burn::store::bridge;
use burn::store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn::tensor::{DType, Shape, TensorData};
use hdf5_pure::{Dataset, Datatype, Error, File, FormatError, Group};

use crate::file::{Entry, Problem, Unsupported, corrupt, unsupported};
use crate::hdf5::{Allowance, Limited, dtype};
use crate::keras2;

/// No model is nested deeper.
const MOST_LEVELS: usize = 64;

/// A file may have this many links to groups and variables; ResNet-152 has about 2,000.
const MOST_LINKS: usize = 100_000;

/// A layer may have this many variables. The reader looks each up among all.
const MOST_VARIABLES: usize = 1_000;

/// So many bytes may be read for names and shapes, and sixteen times the file's size, up to 64 MiB.
/// An ordinary file takes less than its size, see the test.
const LEAST_ALLOWANCE: u64 = 16 << 20;
const ALLOWANCE_PER_BYTE: u64 = 16;
const MOST_ALLOWANCE: u64 = 64 << 20;

/// A dataset's chunks may be larger than the dataset up to this size in bytes: a whole chunk is
/// decompressed at a time.
const LARGEST_PADDED_CHUNK: u64 = 1 << 20;

/// The tensors of a Keras file, without those of the optimizer.
///
/// In Keras 3 a layer is a group that contains a group `vars`, and its variables are numbered: `vars/0` is the
/// kernel of most layers. The layers of a `Sequential` or functional model are in a group `layers`,
/// and the layers of a list are in a group of the attribute's name; there, a layer's group is named
/// after its class, `conv2d_transpose_1`, and the layer's own name is an attribute of its `vars`.
/// The tensors returned have the layers' own names where these are not automatic, `up1.0`, without
/// `layers` and `vars`.
pub(crate) fn read_tensors(
    reader: impl Read + Seek + Send + 'static,
) -> Result<Vec<Entry>, Problem> {
    let allowance = Allowance::new(LEAST_ALLOWANCE);
    let source = Limited::new(reader, allowance.clone()).map_err(corrupt)?;
    let file = File::from_source(source).map_err(problem)?;
    let (length, size) = (file.superblock().eof_address, file.file_size());
    if size < length {
        return Err(corrupt(format!("it ends after {size} of {length} bytes")));
    }
    let per_size = size.saturating_mul(ALLOWANCE_PER_BYTE);
    allowance.set(LEAST_ALLOWANCE + per_size.min(MOST_ALLOWANCE));

    let entries = Walk::new(size).root(&file.root());
    if allowance.is_used_up() {
        return Err(too_many_links());
    }
    allowance.set(LEAST_ALLOWANCE.saturating_add(per_size));
    entries
}

/// What to say of an error of the reader.
pub(crate) fn problem(error: Error) -> Problem {
    match error {
        // HDF5's address of nothing.
        Error::Format(FormatError::OffsetOverflow {
            offset: u64::MAX, ..
        }) => unsupported(
            "has a link that leads nowhere",
            "remove the link, or write the file anew with model.save_weights",
        ),
        Error::FileMarkedInUse(_) => unsupported(
            "was not closed by the program that wrote it",
            "close it there, or run h5clear -s on it",
        ),
        Error::Format(FormatError::UnsupportedVersion(_)) => unsupported(
            "has a newer version of HDF5's format",
            "write it anew with model.save_weights",
        ),
        error => corrupt(error),
    }
}

fn too_many_links() -> Problem {
    unsupported(
        "has more links between its groups than a model needs",
        "write it anew with model.save_weights in Keras 3",
    )
}

/// What was found so far, and how much more a file may have.
pub(crate) struct Walk {
    links_left: usize,
    /// In all names.
    bytes_left: u64,
    entries: Vec<Entry>,
}

impl Walk {
    fn new(file_size: u64) -> Self {
        Self {
            links_left: MOST_LINKS,
            bytes_left: file_size.saturating_add(LEAST_ALLOWANCE),
            entries: vec![],
        }
    }

    fn root(mut self, root: &Group) -> Result<Vec<Entry>, Problem> {
        let groups: Vec<(String, Group)> = root.iter_groups().map_err(problem)?.collect();
        if let Some(model) = keras2::model(root, &groups)? {
            self.keras_2(model)?;
            return Ok(self.entries);
        }
        for (name, group) in groups {
            match name.as_str() {
                "optimizer" => {}
                "vars" => self.vars(group, "")?,
                "layers" => self.group(&group, &[])?,
                _ => self.group(&group, &[name])?,
            }
        }
        Ok(self.entries)
    }

    /// Looks at the members of the group at the path `path`.
    fn group(&mut self, group: &Group, path: &[String]) -> Result<(), Problem> {
        check_depth(path)?;
        let members: Vec<(String, Group)> = group.iter_groups().map_err(problem)?.collect();
        self.count(members.len())?;
        let is_layer = members.iter().any(|(name, _)| name == "vars");
        for (name, member) in members {
            match name.as_str() {
                "vars" => self.vars(member, &path.join("."))?,
                "layers" if is_layer => self.group(&member, path)?,
                _ => {
                    // An attribute has no name but the group's.
                    let own_name = if is_layer {
                        None
                    } else {
                        own_name(&member, &name)
                    };
                    let name = own_name.unwrap_or(name);
                    self.group(&member, &[path, &[name]].concat())?;
                }
            }
        }
        Ok(())
    }

    /// Looks at the variables of the layer at the path `path`.
    fn vars(&mut self, vars: Group, path: &str) -> Result<(), Problem> {
        self.variables(vars, |number| match path {
            "" => number.to_string(),
            path => format!("{path}.{number}"),
        })
    }

    /// Looks at the variables in a group; `name` makes an entry's name of that in the group.
    pub(crate) fn variables(
        &mut self,
        group: Group,
        name: impl Fn(&str) -> String,
    ) -> Result<(), Problem> {
        let keys = group.datasets().map_err(problem)?;
        self.count(keys.len())?;
        if keys.len() > MOST_VARIABLES {
            return Err(too_many_links());
        }
        let group = Arc::new(group);
        for key in keys {
            let name = name(&key);
            let left = self.bytes_left.checked_sub(name.len() as u64);
            self.bytes_left = left.ok_or_else(too_many_links)?;
            let dataset = group.dataset(&key).map_err(problem)?;
            let tensor = Variable::new(&dataset, &name)?.tensor(&name, group.clone(), key);
            self.entries.push(Entry { name, tensor });
        }
        Ok(())
    }

    pub(crate) fn count(&mut self, links: usize) -> Result<(), Problem> {
        let left = self.links_left.checked_sub(links);
        self.links_left = left.ok_or_else(too_many_links)?;
        Ok(())
    }
}

pub(crate) fn check_depth(path: &[String]) -> Result<(), Problem> {
    if path.len() > MOST_LEVELS {
        return Err(unsupported(
            "has groups within groups, more than 64 levels deep",
            "write it anew with model.save_weights in Keras 3",
        ));
    }
    Ok(())
}

/// What is known of a variable before its values are read.
struct Variable {
    shape: Vec<usize>,
    dtype: Result<DType, Unsupported>,
}

impl Variable {
    fn new(dataset: &Dataset, name: &str) -> Result<Self, Problem> {
        let datatype = dataset.datatype().map_err(problem)?;
        let is_opaque = matches!(datatype, Datatype::Opaque { .. });
        let dtype = dtype(&datatype, is_opaque && is_bfloat16(dataset));
        let lengths = dataset.shape().map_err(problem)?;
        let element = dataset.element_size().map_err(problem)?;
        let Some(bytes) = bytes(element, &lengths) else {
            return Err(corrupt(format!("{name} has the shape {lengths:?}")));
        };
        let chunk = dataset.chunk_shape().map_err(problem)?;
        let chunk_bytes = chunk.map_or(Some(0), |lengths| self::bytes(element, &lengths));
        let dtype = dtype.map_err(|found| Unsupported {
            found: found.into(),
            way_out: "convert them in Python and write the file anew with h5py",
        });
        let fits = chunk_bytes.is_some_and(|chunk| chunk <= bytes.max(LARGEST_PADDED_CHUNK));
        Ok(Self {
            shape: lengths.iter().map(|&length| length as usize).collect(),
            dtype: if fits {
                dtype
            } else {
                Err(Unsupported {
                    found: "values in chunks that are larger than all values".into(),
                    way_out: "write it anew with model.save_weights",
                })
            },
        })
    }

    /// The variable `key` of the group `vars`, whose values are still to be read.
    fn tensor(
        self,
        name: &str,
        vars: Arc<Group>,
        key: String,
    ) -> Result<StoredTensor, Unsupported> {
        let (dtype, shape) = (self.dtype?, Shape::from(self.shape));
        let stored = shape.clone();
        let read = move || {
            let dataset = vars.dataset(&key);
            let values = dataset.and_then(|dataset| dataset.read_raw());
            let values = values.map_err(|error| PackError::ValidationError(error.to_string()))?;
            TensorData::try_from_bytes_vec(values, stored.clone(), dtype)
                .map_err(|error| PackError::TensorBytesSizeMismatch(error.to_string()))
        };
        Ok(bridge::deferred(name.to_string(), dtype, shape, None, read))
    }
}

/// The size of an array in bytes; `None` if no memory could hold it.
fn bytes(element: u64, lengths: &[u64]) -> Option<u64> {
    let multiplied = |bytes: u64, &length: &u64| bytes.checked_mul(length);
    let bytes = lengths.iter().try_fold(element, multiplied)?;
    (bytes <= isize::MAX as u64).then_some(bytes)
}

fn is_bfloat16(dataset: &Dataset) -> bool {
    let attributes = dataset.attrs().unwrap_or_default();
    let dtype = attributes.get("dtype").and_then(|dtype| dtype.as_str());
    dtype == Some("bfloat16")
}

/// The name that the model's author gave to the layer in the group `group_name`, if any.
fn own_name(layer: &Group, group_name: &str) -> Option<String> {
    let attributes = layer.group("vars").ok()?.attrs().ok()?;
    let name = attributes.get("name")?.as_str()?;
    let automatic = without_count(name) == without_count(group_name);
    (!automatic).then(|| name.to_string())
}

/// `conv2d_transpose_1` without its `_1`.
fn without_count(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((name, count)) if count.parse::<u32>().is_ok() => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits are far from what Keras writes: names and shapes take less reading than the
    /// file has bytes.
    #[test]
    fn ordinary_files_need_little_reading() {
        for name in [
            "keras_autoencoder.weights.h5",
            "keras_subclassed.weights.h5",
            "keras2_upscaler.h5",
            "keras2_subclassed.h5",
        ] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models");
            let file = std::fs::File::open(format!("{folder}/{name}")).unwrap();
            let size = file.metadata().unwrap().len();
            let allowance = Allowance::new(size);
            let source = Limited::new(file, allowance.clone()).unwrap();
            let file = File::from_source(source).unwrap();
            let Ok(entries) = Walk::new(size).root(&file.root()) else {
                panic!("{name} takes more than {size} bytes");
            };
            assert!(entries.len() > 7 && !allowance.is_used_up());
        }
    }
}
