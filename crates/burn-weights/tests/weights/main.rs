//! Weights of whole models: the frameworks' own files and outputs, round trips, and every way in
//! which a file can be wrong. The scripts in `fixtures/` made the files.

#[path = "../../examples/import.rs"]
#[allow(dead_code)] // its `main`
mod import;
mod keras2;
mod layers;
mod misfits;
mod models;
mod names;
mod outputs;
mod saving;
mod shards;
mod unsupported;
mod wrapped;
mod wrong_files;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::{ModuleSnapshot, ModuleStore, SafetensorsStore, bridge};
use burn::tensor::{Device, TensorData};
use burn_deconv::KernelLayout;

const LAYOUTS: [KernelLayout; 4] = [
    KernelLayout::Article,
    KernelLayout::Burn,
    KernelLayout::TensorFlow,
    KernelLayout::Flax,
];

fn fixture(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models");
    Path::new(folder).join(name)
}

fn device() -> Device {
    Device::flex()
}

/// A file that is removed at the end of the test.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("burn-weights-{}-{name}", std::process::id())))
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let file = Self::new(name);
        fs::write(&file.0, bytes).unwrap();
        file
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// All tensors of a safetensors file.
fn read_safetensors(path: &Path) -> BTreeMap<String, TensorData> {
    let mut file = SafetensorsStore::from_file(path);
    let tensors = file.get_all_tensors().unwrap();
    let data = |tensor| bridge::to_data(tensor).unwrap();
    tensors.iter().map(|(k, v)| (k.clone(), data(v))).collect()
}

/// A safetensors file of whole numbers in f32.
fn safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut header, mut values) = (vec![], vec![]);
    for (name, shape) in tensors {
        let begin = values.len();
        let count: usize = shape.iter().product();
        values.extend((0..count).flat_map(|i| ((i % 7) as f32 - 3.).to_le_bytes()));
        let end = values.len();
        header.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &values].concat()
}

/// All values of a model, by path.
fn state(model: &impl Module) -> BTreeMap<String, TensorData> {
    let tensors = model.collect(None, None, false);
    let data = |tensor| bridge::into_data(tensor).unwrap();
    tensors
        .into_iter()
        .map(|tensor| (tensor.name.clone(), data(tensor)))
        .collect()
}
