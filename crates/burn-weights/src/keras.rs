//! Keras' HDF5 files: a tree of groups, as the model is a tree of layers.

use burn::store::bridge;
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::tensor::{DType, TensorData};
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, File, Group};

/// What a reader meets in a file of the right kind.
pub(super) enum Problem {
    /// The file contradicts itself or ends early, with the reader's words for it.
    Corrupt(String),
    /// The layout of Keras 2.
    LegacyKeras,
}

/// The words of a reader's error.
pub(super) fn cause(error: impl ToString) -> Problem {
    Problem::Corrupt(error.to_string())
}

/// No model is nested deeper.
const DEEPEST: usize = 64;

/// Deflate makes nothing smaller than by this factor.
const LARGEST_RATIO: u64 = 1032;

/// The tensors of a Keras 3 file, without those of the optimizer.
///
/// A layer is a group with a group `vars` in it, and its variables are numbered: `vars/0` is the
/// kernel of most. The layers of a `Sequential` or functional model stand in a group `layers`, and
/// those of a list in a group of the attribute's name; there, a layer's group is named after its
/// class, `conv2d_transpose_1`, and its own name is an attribute of its `vars`. The tensors
/// returned are named by the layers' own names where these are not automatic, `up1.0`, without
/// `layers` and `vars`.
pub(super) fn read_tensors(file: &File) -> Result<Vec<StoredTensor>, Problem> {
    let (length, size) = (file.superblock().eof_address, file.file_size());
    if size < length {
        return Err(cause(format!("it ends after {size} of {length} bytes")));
    }
    let root = file.root();
    let is_legacy = |name: &str| name == "model_weights" || name == "top_level_model_weights";
    if root.attrs().map_err(cause)?.contains_key("layer_names")
        || root
            .groups()
            .map_err(cause)?
            .iter()
            .any(|name| is_legacy(name))
    {
        return Err(Problem::LegacyKeras);
    }

    let mut walk = Walk {
        groups: size,
        bytes: size.saturating_mul(LARGEST_RATIO),
        tensors: vec![],
    };
    for (name, group) in root.iter_groups().map_err(cause)? {
        match name.as_str() {
            "optimizer" => {}
            "vars" => walk.vars(&group, "")?,
            "layers" => walk.group(&group, &[])?,
            _ => walk.group(&group, &[name])?,
        }
    }
    Ok(walk.tensors)
}

/// What was found so far, and how much more a file of this size can hold: a group may have many
/// parents, and a corrupt file may be a circle.
struct Walk {
    groups: u64,
    bytes: u64,
    tensors: Vec<StoredTensor>,
}

impl Walk {
    /// Reads what is in a group at the path `path`.
    fn group(&mut self, group: &Group, path: &[String]) -> Result<(), Problem> {
        self.groups = self.groups.saturating_sub(1);
        if self.groups == 0 || path.len() > DEEPEST {
            return Err(cause("its groups contain each other"));
        }
        let members: Vec<(String, Group)> = group.iter_groups().map_err(cause)?.collect();
        let is_layer = members.iter().any(|(name, _)| name == "vars");
        for (name, member) in &members {
            match name.as_str() {
                "vars" => self.vars(member, &path.join("."))?,
                "layers" if is_layer => self.group(member, path)?,
                _ => {
                    let own_name = match is_layer {
                        true => None, // an attribute has no other
                        false => own_name(member, name),
                    };
                    let name = own_name.unwrap_or_else(|| name.clone());
                    self.group(member, &[path, &[name]].concat())?;
                }
            }
        }
        Ok(())
    }

    /// Reads the variables of the layer at the path `path`.
    fn vars(&mut self, vars: &Group, path: &str) -> Result<(), Problem> {
        for (number, dataset) in vars.iter_datasets().map_err(cause)? {
            let name = match path {
                "" => number,
                path => format!("{path}.{number}"),
            };
            let data = self.values(&dataset, &name)?;
            self.tensors.push(bridge::from_data(data, name, None));
        }
        Ok(())
    }

    fn values(&mut self, dataset: &Dataset, name: &str) -> Result<TensorData, Problem> {
        let datatype = dataset.datatype().map_err(cause)?;
        let Some(dtype) = dtype(&datatype, dataset) else {
            return Err(cause(format!("{name} has the data type {datatype:?}")));
        };
        let lengths = dataset.shape().map_err(cause)?;
        let size = dtype.size() as u64;
        let left = lengths
            .iter()
            .try_fold(size, |bytes, &length| bytes.checked_mul(length))
            .and_then(|bytes| self.bytes.checked_sub(bytes));
        let Some(left) = left else {
            return Err(cause(format!(
                "{name} has the shape {lengths:?}, more than the file can hold"
            )));
        };
        self.bytes = left;
        let shape: Vec<usize> = lengths.iter().map(|&length| length as usize).collect();
        let values = dataset.read_raw().map_err(cause)?;
        TensorData::try_from_bytes_vec(values, shape, dtype).map_err(cause)
    }
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

/// The data type in Burn, if it has one.
fn dtype(datatype: &Datatype, dataset: &Dataset) -> Option<DType> {
    use DatatypeByteOrder::LittleEndian;
    match datatype {
        Datatype::FloatingPoint {
            size,
            byte_order: LittleEndian,
            ..
        } => match size {
            2 => Some(DType::F16),
            4 => Some(DType::F32),
            8 => Some(DType::F64),
            _ => None,
        },
        Datatype::FixedPoint {
            size,
            byte_order: LittleEndian,
            layout,
        } => match (size, layout.signed) {
            (1, true) => Some(DType::I8),
            (2, true) => Some(DType::I16),
            (4, true) => Some(DType::I32),
            (8, true) => Some(DType::I64),
            (1, false) => Some(DType::U8),
            (2, false) => Some(DType::U16),
            (4, false) => Some(DType::U32),
            (8, false) => Some(DType::U64),
            _ => None,
        },
        // HDF5 has no such type; Keras writes two bytes and says what they are.
        Datatype::Opaque { size: 2, .. } => {
            let attributes = dataset.attrs().ok()?;
            let is_bfloat16 = attributes.get("dtype")?.as_str()? == "bfloat16";
            is_bfloat16.then_some(DType::BF16)
        }
        _ => None,
    }
}
