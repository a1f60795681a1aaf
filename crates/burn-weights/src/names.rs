//! From the names in a file to the paths in a model.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::map_indices_contiguous;
use burn::tensor::{Bytes, DType, Shape};

use crate::file::{Entry, Unsupported};
use crate::framework::Framework;
use crate::{WeightsError, WeightsFile};

/// The tensors of a file by their paths in the model.
pub(crate) type Named = BTreeMap<String, Result<StoredTensor, Unsupported>>;

/// A name on its way to a path, and the entry of the file that has it.
struct Name {
    text: String,
    entry: usize,
}

impl Name {
    /// burn-store renames tensors; this one has the name, no values, and the entry as its id.
    fn into_tensor(self) -> StoredTensor {
        let nothing = Bytes::from_bytes_vec(vec![]);
        let id = Some(self.entry as u64);
        StoredTensor::new(self.text, DType::U8, Shape::from([0]), id, nothing)
    }

    fn of(tensor: StoredTensor) -> Self {
        Self {
            text: tensor.name,
            entry: tensor.param_id.unwrap_or_default() as usize,
        }
    }
}

impl WeightsFile {
    /// Renames the entries of the file: by the framework's habits, the top-level key, the patterns,
    /// and the numbers of lists. Then copies those that are tied. `fields` are those of the model.
    pub(crate) fn named(
        &self,
        entries: Vec<Entry>,
        fields: &BTreeSet<String>,
    ) -> Result<Named, WeightsError> {
        let name = |(entry, text): (usize, &Entry)| Name {
            text: self.framework.path(&text.name),
            entry,
        };
        let mut names: Vec<Name> = entries.iter().enumerate().map(name).collect();
        names.sort_by(|a, b| a.text.cmp(&b.text));
        if let Some(key) = &self.top_level_key {
            names = self.under(key, names)?;
        }
        if self.framework == Framework::PyTorch {
            remove_wrappers(&mut names, fields);
        }
        let tensors = names.into_iter().map(Name::into_tensor).collect();
        let (mut tensors, _) = self.remapper.remap(tensors);
        if self.map_indices_contiguous {
            (tensors, _) = map_indices_contiguous(tensors);
        }
        self.check_collisions(&tensors, &entries)?;

        let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        let named = tensors.into_iter().filter_map(|tensor| {
            let Name { text, entry } = Name::of(tensor);
            let entry = entries.get_mut(entry)?.take()?;
            Some((text, entry.tensor))
        });
        let mut named: Named = named.collect();
        for (name, other) in &self.tied {
            if let (false, Some(tensor)) = (named.contains_key(name), named.get(other)) {
                named.insert(name.clone(), tensor.clone());
            }
        }
        Ok(named)
    }

    /// The names under a key, without it.
    fn under(&self, key: &str, names: Vec<Name>) -> Result<Vec<Name>, WeightsError> {
        let prefix = format!("{key}.");
        let (mut inside, outside): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| name.text.starts_with(&prefix));
        if inside.is_empty() {
            let first = |name: &Name| name.text.split('.').next().map(str::to_string);
            let mut found: Vec<String> = outside.iter().filter_map(first).collect();
            found.dedup(); // they are sorted
            return Err(WeightsError::TopLevelKey {
                path: self.path.clone(),
                key: key.to_string(),
                found,
            });
        }
        for name in &mut inside {
            name.text.drain(..prefix.len());
        }
        Ok(inside)
    }

    fn check_collisions(
        &self,
        tensors: &[StoredTensor],
        entries: &[Entry],
    ) -> Result<(), WeightsError> {
        let original = |tensor: &StoredTensor| {
            let entry = entries.get(tensor.param_id.unwrap_or_default() as usize);
            entry.map(|entry| entry.name.clone()).unwrap_or_default()
        };
        let mut by_name: BTreeMap<&str, &StoredTensor> = BTreeMap::new();
        for tensor in tensors {
            if let Some(first) = by_name.insert(&tensor.name, tensor) {
                return Err(WeightsError::NameCollision {
                    path: self.path.clone(),
                    name: tensor.name.clone(),
                    first: original(first),
                    second: original(tensor),
                });
            }
        }
        Ok(())
    }
}

/// What `DataParallel` and `torch.compile` write before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Removes them, unless it is the name of a field of the model.
fn remove_wrappers(names: &mut [Name], fields: &BTreeSet<String>) {
    let is_before_all = |names: &[Name], wrapper: &str| {
        let all = names.iter().all(|name| name.text.starts_with(wrapper));
        all && !names.is_empty() && !fields.contains(wrapper.trim_end_matches('.'))
    };
    while let Some(wrapper) = WRAPPERS
        .iter()
        .find(|wrapper| is_before_all(names, wrapper))
    {
        for name in names.iter_mut() {
            name.text.drain(..wrapper.len());
        }
    }
}

/// The fields of a model.
pub(crate) fn fields<M: Module>(model: &M) -> BTreeSet<String> {
    let mut visitor = FieldVisitor::default();
    model.visit(&mut visitor);
    visitor.fields
}

#[derive(Default)]
struct FieldVisitor {
    depth: usize,
    fields: BTreeSet<String>,
}

impl ModuleVisitor for FieldVisitor {
    fn enter_module(&mut self, name: &str, _container: &str) {
        if self.depth == 0 {
            self.fields.insert(name.to_string());
        }
        self.depth += 1;
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.depth -= 1;
    }
}
