//! Networks from files: published weights of PyTorch and Keras. What a file is, and by how much its
//! network enlarges, is found out from its contents.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use burn_weights::{WeightsError, WeightsFile};

use crate::error::ModelError;
use crate::network::{Framework, Network, PublishedFsrcnn};

const SCALES: [usize; 3] = [2, 3, 4];

/// The mean difference from a smooth picture, of values in 0 to 1, above which a network does not
/// enlarge. The published ones are at 0.01 at their own scale and at 0.2 or more at any other.
const MAX_ERROR: f32 = 0.08;

/// Reads a network. Without `scale`, it may be any.
///
/// # Errors
///
/// The file cannot be read, holds other weights, or those of another scale.
pub fn load(path: &Path, scale: Option<usize>) -> Result<Network, ModelError> {
    let framework = framework_of(path)?;
    let model = read_published(path, framework, SCALES[0])?;
    // Nothing in the file names the scale, and the kernels of all three have the same size. But a
    // kernel of scale 3 gives wrong brightness at any other scale.
    let candidates: Vec<_> = SCALES
        .into_iter()
        .map(|scale| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let model = model.clone().with_scale(framework, scale);
            Network::published(model, scale, name.into_owned())
        })
        .collect();
    let errors = candidates.iter().map(smooth_error);
    let (network, error) = candidates
        .iter()
        .zip(errors)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("there are three scales");
    if error.is_nan() || error > MAX_ERROR {
        return Err(ModelError::Untrained {
            path: path.into(),
            error,
        });
    }
    let found = network.scale;
    match scale {
        Some(expected) if expected != found => Err(ModelError::Scale {
            path: path.into(),
            found,
            expected,
        }),
        _ => Ok(candidates
            .into_iter()
            .find(|network| network.scale == found)
            .expect("it is one of the three")),
    }
}

/// What wrote a file, from its first bytes.
fn framework_of(path: &Path) -> Result<Framework, ModelError> {
    let unreadable = |source| ModelError::Read {
        path: path.into(),
        source,
    };
    let kind = |found| ModelError::Kind {
        path: path.into(),
        found,
    };
    let mut start = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(kind("no file"));
    }
    file.take(16).read_to_end(&mut start).map_err(unreadable)?;
    // An archive, the start of a pickle, and the length and first character of safetensors' header.
    let pytorch = start.starts_with(b"PK") || start.starts_with(b"\x80\x02");
    if start.is_empty() {
        Err(kind("empty (0 bytes)"))
    } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        Ok(Framework::Keras)
    } else if pytorch || start.get(8) == Some(&b'{') {
        Ok(Framework::PyTorch)
    } else if image::guess_format(&start).is_ok() {
        Err(kind("a picture"))
    } else {
        Err(kind("no file of weights that is known here"))
    }
}

fn read_published(
    path: &Path,
    framework: Framework,
    scale: usize,
) -> Result<PublishedFsrcnn, ModelError> {
    let failed = |source: WeightsError| ModelError::Weights { source };
    let renamed = |mut file: WeightsFile, names: &[(&str, &str)]| {
        for (from, to) in names {
            file = file.with_key_remapping(from, to)?;
        }
        Ok(file)
    };
    let file = match framework {
        Framework::PyTorch => renamed(WeightsFile::pytorch(path), &PYTORCH_NAMES),
        Framework::Keras => renamed(WeightsFile::keras(path), &KERAS_NAMES),
    };
    let mut model = PublishedFsrcnn::new(framework, scale, &Device::default());
    file.and_then(|file| file.load_into(&mut model))
        .map_err(failed)?;
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

/// The network that the options name.
///
/// # Errors
///
/// As [`load`].
pub fn network(weights: Option<&Path>, scale: Option<u8>) -> Result<Network, ModelError> {
    let scale = scale.map(usize::from);
    match weights {
        Some(path) => load(path, scale),
        None => Err(ModelError::NoModel),
    }
}
