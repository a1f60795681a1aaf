//! The memory and the time that a file takes, whatever it asks for: the bound of the crate's
//! documentation.
//!
//! `cargo test -p burn-weights --test file_memory -- --nocapture` prints what was measured.

#[path = "../../../tests/common/allocator.rs"]
mod allocator;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use allocator::{held, peak_of};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
use burn_weights::{LoadReport, WeightsError, WeightsFile, save_pytorch};
use zip::write::SimpleFileOptions;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The bound: this many times the file and the model, and a constant.
const PER_FILE: usize = 32;
const PER_MODEL: usize = 4;
const CONSTANT: usize = 2 * MIB;
/// In its place for `torch.save`'s pickles.
const PICKLE_CONSTANT: usize = 512 * MIB;

/// Every file below ends within this time, also without optimisation on a slow machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Loads a file into a layer, prints and checks what that takes.
fn measure(
    name: &str,
    path: &Path,
    mut model: Deconv2dLayer,
    load: impl FnOnce(&Path, &mut Deconv2dLayer) -> Result<LoadReport, WeightsError>,
) -> Result<LoadReport, WeightsError> {
    let file_size = fs::metadata(path).unwrap().len() as usize;
    let model_size = 4 * model.num_params();
    let began = Instant::now();
    let before = held();
    let (result, peak) = peak_of(|| load(path, &mut model));
    let peak = peak - before;
    let time = began.elapsed();
    let constant = if path.extension().is_some_and(|extension| extension == "pt") {
        PICKLE_CONSTANT
    } else {
        CONSTANT
    };
    let bound = PER_FILE * file_size + PER_MODEL * model_size + constant;
    println!(
        "{name:<28} {:>9} {:>9} {:>9} {:>9} {:>8.1}",
        file_size / KIB,
        model_size / KIB,
        peak / KIB,
        bound / KIB,
        time.as_secs_f64() * 1e3,
    );
    assert!(peak <= bound, "{name}: {peak} bytes, at most {bound}");
    assert!(time <= LONGEST, "{name}: {time:?}");
    result
}

fn layer(channels: [usize; 2], kernel: usize) -> Deconv2dLayer {
    let config = Deconv2dLayerConfig::new(channels, [kernel, kernel]).with_bias(false);
    let mut layer = config.init(&Device::flex());
    // Its values are there before anything is measured.
    let weight = Tensor::ones(layer.weight.lazy_shape(), &Device::flex());
    layer.weight = Param::from_tensor(weight);
    layer
}

fn small() -> Deconv2dLayer {
    layer([2, 3], 2)
}

/// A folder for this test's files, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("burn-weights-memory-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/unsupported")
        .join(name)
}

/// A zip archive with one entry, `name`, of 16 MiB of zeros.
fn bomb(folder: &Folder, file: &str, name: &str) -> PathBuf {
    let path = folder.0.join(file);
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    archive
        .start_file(name, SimpleFileOptions::default())
        .unwrap();
    for _ in 0..16 {
        archive.write_all(&vec![0; MIB]).unwrap();
    }
    archive.finish().unwrap();
    path
}

fn keras(path: &Path, model: &mut Deconv2dLayer) -> Result<LoadReport, WeightsError> {
    WeightsFile::keras(path)
        .with_top_level_key("up")
        .load_into(model)
}

fn pytorch(path: &Path, model: &mut Deconv2dLayer) -> Result<LoadReport, WeightsError> {
    WeightsFile::pytorch(path).load_into(model)
}

/// The only test of this file, so nothing else allocates meanwhile.
#[test]
fn a_file_takes_no_more_than_is_documented() {
    let folder = Folder::new();
    println!("KiB                               file     model      peak     bound       ms");

    // A small file that asks for much. Each took its size times a hundred or more, or did not end.
    let path = bomb(&folder, "bomb.keras", "model.weights.h5");
    let error = measure("Keras archive, zeros", &path, small(), keras).unwrap_err();
    assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");
    for (title, name) in [
        ("HDF5, 8 GiB never written", "declared.h5"),
        ("HDF5, 1,970 links to 4 MiB", "links.h5"),
        ("HDF5, 32 MiB compressed", "compressed.h5"),
        ("HDF5, a chunk of 1 GiB", "chunk.h5"),
        ("HDF5, 2^59 paths", "shared.h5"),
        ("Keras 2, 2^59 paths", "shared_keras2.h5"),
    ] {
        measure(title, &fixture(name), small(), keras).unwrap_err();
    }
    let path = bomb(&folder, "bomb.pt", "archive/data.pkl");
    let error = measure("PyTorch archive, zeros", &path, small(), pytorch).unwrap_err();
    assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");

    // Objects of Python are larger than their opcodes.
    let list = |items: &[u8]| [b"\x80\x02}X\x01\0\0\0a](", items, b"es."].concat();
    for (title, items) in [
        ("pickle, 2^20 None", &[b'N'; MIB][..]),
        ("pickle, 249,000 None", &[b'N'; 249_000]),
        ("pickle, 62,000 dictionaries", &b"}U\0Ns".repeat(62_000)),
        ("pickle, 999 copies of 1,000", &{
            let thousand = [b"](".as_slice(), &[b'N'; 1000], b"eq\0"].concat();
            [thousand, b"h\0".repeat(999)].concat()
        }),
    ] {
        let path = folder.write("objects.pt", &list(items));
        measure(title, &path, small(), pytorch).unwrap_err();
    }
    let names: Vec<String> = (0..20_000)
        .map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let header = format!("{{{}}}", names.join(","));
    let length = (header.len() as u64).to_le_bytes();
    let path = folder.write("names.safetensors", &[&length, header.as_bytes()].concat());
    measure("safetensors, 20,000 names", &path, small(), pytorch).unwrap_err();
    let tied: Vec<String> = (0..100_000).map(|i| format!(r#""{i}":"a""#)).collect();
    let header = format!(
        r#"{{"__metadata__":{{{}}},"a":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}}}"#,
        tied.join(",")
    );
    let length = (header.len() as u64).to_le_bytes();
    let path = folder.write("tied.safetensors", &[&length, header.as_bytes()].concat());
    measure("safetensors, 100,000 tied", &path, small(), pytorch).unwrap_err();
    let shards: Vec<String> = (0..100_000).map(|i| format!(r#""{i}":"{i}""#)).collect();
    let json = format!(r#"{{"weight_map":{{{}}}}}"#, shards.join(","));
    let path = folder.write("shards.json", json.as_bytes());
    measure("an index of 100,000 files", &path, small(), pytorch).unwrap_err();
    let json = format!(r#"{{"weight_map":[{}"a"]}}"#, r#""a","#.repeat(MIB));
    let path = folder.write("list.json", json.as_bytes());
    measure("an index of 2^20 equal names", &path, small(), pytorch).unwrap_err();
    let mut header = b"NRUB\x01\x00".to_vec();
    header.extend(u32::MAX.to_le_bytes());
    let path = folder.write("header.bpk", &header);
    let burn = |path: &Path, model: &mut Deconv2dLayer| WeightsFile::burn(path).load_into(model);
    measure("Burn, a header of 4 GiB", &path, small(), burn).unwrap_err();

    // A file as large as its model, of whole 64-bit floats in the last: the conversions' buffers.
    let large = || layer([256, 256], 5);
    let path = folder.0.join("large.safetensors");
    save_pytorch(&large(), &path).unwrap();
    measure("safetensors, 6 MiB", &path, large(), pytorch).unwrap();
    let path = folder.0.join("large.bpk");
    large().save_file(&path).unwrap();
    measure("Burn checkpoint, 6 MiB", &path, large(), burn).unwrap();
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut up = builder.create_group("up");
    let mut vars = up.create_group("vars");
    vars.create_dataset("0")
        .with_f64_data(&vec![1.0; 256 * 256 * 25])
        .with_shape(&[5, 5, 256, 256]);
    up.add_group(vars.finish());
    builder.add_group(up.finish());
    let path = folder.write("large.h5", &builder.finish().unwrap());
    measure("HDF5, 12 MiB in f64", &path, large(), keras).unwrap();
}
