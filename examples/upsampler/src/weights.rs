//! Networks from files: models of `upsampler train`, and published weights of PyTorch and Keras. What
//! a file is, and by how much its network enlarges, is found out from its contents.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::config::Config;
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn_weights::{WeightsError, WeightsFile};

use crate::device::device;
use crate::error::ModelError;
use crate::model::{Fsrcnn, FsrcnnConfig, HeadPadding, MapActivations};
use crate::network::Network;

const SCALES: [usize; 3] = [2, 3, 4];

/// The models that `models/README.md` says how to train, for [`SCALES`].
const BUILT_IN: [&[u8]; 3] = [
    include_bytes!("../models/fsrcnn-x2.bpk"),
    include_bytes!("../models/fsrcnn-x3.bpk"),
    include_bytes!("../models/fsrcnn-x4.bpk"),
];

/// The mean difference from a smooth picture, of values in 0 to 1, above which a network does not
/// enlarge. The published ones are at 0.01 at their own scale and at 0.2 or more at any other.
const MAX_ERROR: f32 = 0.08;

/// The network that the options name; without `weights` a built-in one, by default for scale 2.
///
/// # Errors
///
/// The file cannot be read, holds other weights, or those of another scale.
pub fn network(weights: Option<&Path>, scale: Option<u8>) -> Result<Network, ModelError> {
    let scale = scale.map(usize::from);
    let Some(path) = weights else {
        return Ok(built_in(scale.unwrap_or(SCALES[0])));
    };
    let network = load(path)?;
    match scale {
        Some(expected) if expected != network.scale => Err(ModelError::Scale {
            path: path.into(),
            found: network.scale,
            expected,
        }),
        _ => Ok(network),
    }
}

fn built_in(scale: usize) -> Network {
    let index = SCALES.iter().position(|&known| known == scale);
    let bytes = BUILT_IN[index.expect("the options allow no other scale")];
    let config = FsrcnnConfig::new(scale);
    let model = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()))
        .and_then(|record| config.init(&device()).try_load_record(record))
        .expect("the built-in models are those of the configuration");
    Network::new(model, config, format!("the built-in network for x{scale}"))
}

/// Reads a network of any scale.
fn load(path: &Path) -> Result<Network, ModelError> {
    match kind_of(path)? {
        Kind::Ours => load_ours(path),
        Kind::PyTorch => load_published(path, HeadPadding::PyTorch),
        Kind::Keras => load_published(path, HeadPadding::Keras),
    }
}

/// A model of `upsampler train`, and its settings, which lie beside it.
fn load_ours(path: &Path) -> Result<Network, ModelError> {
    let settings = path.with_extension("json");
    let config = FsrcnnConfig::load(&settings).map_err(|source| ModelError::Settings {
        path: settings.clone(),
        source,
    })?;
    config.check().map_err(|reason| ModelError::BadSettings {
        path: settings,
        reason,
    })?;
    let model = ModuleRecord::load(path)
        .and_then(|record| config.init(&device()).try_load_record(record))
        .map_err(|source| ModelError::Record {
            path: path.into(),
            source,
        })?;
    Ok(Network::new(model, config, name_of(path)))
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Nothing in a published file names the scale, and the kernels of all three have the same size. But
/// a kernel of scale 3 gives wrong brightness at any other scale.
fn load_published(path: &Path, head: HeadPadding) -> Result<Network, ModelError> {
    let device = device();
    let config = |scale| {
        FsrcnnConfig::new(scale)
            .with_channels(3)
            .with_activations(MapActivations::Last)
            .with_head(head)
            .with_skip(false)
    };
    let model = read_published(path, head, config(SCALES[0]).init(&device))?;
    let candidates = SCALES.map(|scale| {
        let config = config(scale);
        let head = config.init(&device).with_head_weights_of(&model);
        Network::new(model.clone().with_head_of(head), config, name_of(path))
    });
    let errors = candidates.each_ref().map(smooth_error);
    let (network, error) = candidates
        .into_iter()
        .zip(errors)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("there are three scales");
    if error.is_nan() || error > MAX_ERROR {
        return Err(ModelError::Untrained {
            path: path.into(),
            error,
        });
    }
    Ok(network)
}

/// What wrote a file.
enum Kind {
    Ours,
    PyTorch,
    Keras,
}

/// What wrote a file, from its first bytes.
fn kind_of(path: &Path) -> Result<Kind, ModelError> {
    let unreadable = |source| ModelError::Read {
        path: path.into(),
        source,
    };
    let unknown = |found| ModelError::Kind {
        path: path.into(),
        found,
    };
    let mut start = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unknown("no file"));
    }
    file.take(16).read_to_end(&mut start).map_err(unreadable)?;
    // An archive, the start of a pickle, and the length and first character of safetensors' header.
    let pytorch = start.starts_with(b"PK") || start.starts_with(b"\x80\x02");
    if start.is_empty() {
        Err(unknown("empty (0 bytes)"))
    } else if start.starts_with(b"NRUB") {
        Ok(Kind::Ours)
    } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        Ok(Kind::Keras)
    } else if pytorch || start.get(8) == Some(&b'{') {
        Ok(Kind::PyTorch)
    } else if image::guess_format(&start).is_ok() {
        Err(unknown("a picture"))
    } else {
        Err(unknown("no file of weights that is known here"))
    }
}

fn read_published(path: &Path, head: HeadPadding, mut model: Fsrcnn) -> Result<Fsrcnn, ModelError> {
    let renamed = |mut file: WeightsFile, names: &[(&str, &str)]| {
        for (from, to) in names {
            file = file.with_key_remapping(from, to)?;
        }
        Ok(file)
    };
    let file = match head {
        HeadPadding::PyTorch => renamed(WeightsFile::pytorch(path), &PYTORCH_NAMES),
        HeadPadding::Keras => renamed(WeightsFile::keras(path), &KERAS_NAMES),
    };
    file.and_then(|file| file.load_into(&mut model))
        .map_err(|source: WeightsError| ModelError::Weights { source })?;
    Ok(model)
}

/// The names in the published files, and ours.
const PYTORCH_NAMES: [(&str, &str); 5] = [
    (r"^(activation_\d)\.weight$", "${1}.alpha"),
    (r"^map_1\.", "maps.0."),
    (r"^map_2\.", "maps.1."),
    (r"^map_3\.", "maps.2."),
    (r"^map_4\.", "maps.3."),
];

const KERAS_NAMES: [(&str, &str); 12] = [
    (r"^p_re_lu\.", "activation_1."),
    (r"^p_re_lu_1\.", "activation_2."),
    (r"^p_re_lu_2\.", "activation_3."),
    (r"^p_re_lu_3\.", "activation_4."),
    (r"^conv2d\.", "feature_extract."),
    (r"^conv2d_1\.", "shrink."),
    (r"^conv2d_2\.", "maps.0."),
    (r"^conv2d_3\.", "maps.1."),
    (r"^conv2d_4\.", "maps.2."),
    (r"^conv2d_5\.", "maps.3."),
    (r"^conv2d_6\.", "expand."),
    (r"^conv2d_transpose\.", "deconv."),
];

/// The mean difference between a smooth picture and the network's enlargement of it, away from the
/// border.
fn smooth_error(network: &Network) -> f32 {
    const SIZE: usize = 24;
    let high = SIZE * network.scale;
    let value = |channel: usize, y: f32, x: f32| match channel {
        0 => 0.3 + 0.4 * (x + y) / 2.0,
        1 => 0.45 + 0.1 * x,
        _ => 0.55 - 0.1 * y,
    };
    let at = |index: usize, size: usize| (index as f32 + 0.5) / size as f32;
    let planes: Vec<_> = (0..network.channels * SIZE * SIZE)
        .map(|index| {
            let [y, x] = [index / SIZE % SIZE, index % SIZE].map(|place| at(place, SIZE));
            value(index / (SIZE * SIZE), y, x)
        })
        .collect();
    let output = network.apply(planes, [SIZE, SIZE]);
    let inside = network.scale * 8..network.scale * (SIZE - 8);
    let differences = inside.clone().flat_map(|row| {
        let (inside, output) = (inside.clone(), &output);
        inside.map(move |column| {
            (output[row * high + column] - value(0, at(row, high), at(column, high))).abs()
        })
    });
    differences.sum::<f32>() / (inside.len() * inside.len()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_networks_enlarge() {
        for scale in SCALES {
            let network = built_in(scale);
            assert_eq!((network.scale, network.channels), (scale, 1));
            // far below what bicubic enlargement by another scale would be off
            assert!(smooth_error(&network) < 0.01, "x{scale}");
        }
    }
}
