//! `upsampler train`, and `upsampler` without a command: trains a network, compares it with other
//! methods, and writes a picture of the comparison.

use std::path::{Path, PathBuf};

use burn::config::Config;
use burn::module::Module;
use clap::Args;

use crate::checkpoint::RunConfig;
use crate::data::prepare;
use crate::device::device;
use crate::error::{ModelError, UpsamplerError};
use crate::eval::{Setting, compare};
use crate::images::Source;
use crate::lock::FolderLock;
use crate::model::{Fsrcnn, FsrcnnConfig};
use crate::network::Network;
use crate::report::Report;
use crate::stop::Stop;
use crate::train::{Run, train};
use crate::weights;

/// Trains a small network (FSRCNN) that enlarges pictures, and compares it with other methods.
///
/// Without options it trains on built-in images for a few minutes. A checkpoint is written after
/// every epoch. Ctrl-C and SIGTERM stop after the current step, and --resume continues from the last
/// complete epoch: at most one epoch is lost, also if the program is killed.
#[derive(Args)]
pub struct TrainArgs {
    /// Train on the PNG, JPEG and WebP photos in this folder and its subfolders. It can be given
    /// several times.
    ///
    /// At least 2 photos of at least 96 x 96 pixels are needed. Sorted by path, the first photo and
    /// then every fifth are for validation (at most 12), the others for training. The program uses
    /// the central 1024 x 1024 pixels of a larger photo, and smaller versions of each. It names and
    /// skips files that it cannot use.
    #[arg(long, value_name = "DIR")]
    images: Vec<PathBuf>,

    /// How much larger.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=4))]
    scale: u8,

    /// The folder for results and checkpoints. It is created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "target/upsampler")]
    output: PathBuf,

    /// The number of passes over the training patches [default: 7; with --short: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    epochs: Option<u16>,

    /// End after so many epochs without a better validation loss.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    patience: Option<u16>,

    /// The number of patches to train on [default: 2048; with --short: 512].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    patches: Option<u32>,

    /// Begin with the convolutions of this model of `upsampler train`, of any scale; only its last
    /// layer begins anew.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Continue from the last checkpoint in the output folder. It must come from a run with the
    /// same options; only --epochs may be larger, and --patience may differ. Without --resume, the
    /// program removes the checkpoints in the output folder.
    #[arg(long)]
    resume: bool,

    /// Train for a few seconds only, a smaller network on fewer patches.
    #[arg(long, conflicts_with = "from")]
    short: bool,

    /// The seed of the built-in images, the patches and the initial weights.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Show burn-train's dashboard (needs a build with --features dashboard).
    #[arg(long, hide = !cfg!(feature = "dashboard"))]
    dashboard: bool,
}

/// Trains, compares and writes.
pub fn run(args: &TrainArgs, stop: Stop) -> Result<(), UpsamplerError> {
    if args.dashboard && !cfg!(feature = "dashboard") {
        return Err(UpsamplerError::NoDashboard);
    }
    let config = run_config(args);
    let start = start(args, &config)?;
    let source = if args.images.is_empty() {
        Source::built_in(args.seed)
    } else {
        Source::folders(&args.images)?
    };
    create_folder(&args.output)?;
    let _lock = FolderLock::acquire(&args.output)?;

    let (patches, valid_images) =
        prepare(&source, args.scale.into(), config.train_patches, args.seed)?;
    println!(
        "{} patches to train on, {} images to validate with",
        patches.train.len(),
        valid_images.len(),
    );

    let epochs = args.epochs.unwrap_or(if args.short { 5 } else { 7 });
    let run = Run {
        folder: &args.output,
        epochs: epochs.into(),
        patience: args.patience.map(usize::from),
        resume: args.resume,
        dashboard: args.dashboard,
        stop,
    };
    let model = train(&config, start, patches, &run)?;
    save(args, &config.model, &model)?;

    let network = Network::new(model.valid(), config.model, "the trained network".into());
    let setting = Setting {
        network: &network,
        crop: network.scale,
        ycbcr: None,
        stop,
    };
    let mut report = Report::default();
    println!();
    for image in &valid_images {
        let comparison = compare(&setting, (Path::new(&image.name), &image.pixels), None)?;
        report.add(&setting, &image.name, comparison);
    }
    print!("\n{}\n", report.mean_table());
    let picture = args.output.join("comparison.png");
    report.write_sheet(&picture, stop)?;
    println!("wrote {}", picture.display());
    check_gain(args, report.gain())
}

fn run_config(args: &TrainArgs) -> RunConfig {
    let model = FsrcnnConfig::new(args.scale.into());
    let (model, train_patches) = if args.short {
        (model.with_features(24).with_shrunk(8).with_maps(2), 512)
    } else {
        (model, 2048)
    };
    let text = |path: &PathBuf| path.display().to_string();
    RunConfig {
        model,
        images: args.images.iter().map(text).collect(),
        from: args.from.as_ref().map(text),
        seed: args.seed,
        train_patches: args.patches.map_or(train_patches, |count| count as usize),
        batch_size: 8,
        learning_rate: 1e-3,
    }
}

/// The network before the training.
fn start(args: &TrainArgs, config: &RunConfig) -> Result<Fsrcnn, UpsamplerError> {
    let device = device();
    device.seed(config.seed);
    let new = config.model.init(&device);
    let Some(path) = &args.from else {
        return Ok(new);
    };
    let other = weights::network(Some(path), None)?;
    let rescaled = FsrcnnConfig {
        scale: config.model.scale,
        ..other.config
    };
    if rescaled != config.model {
        return Err(ModelError::OtherNetwork { path: path.clone() }.into());
    }
    Ok(other.model.with_head_of(new))
}

/// Writes the model and its settings, which `upsampler enlarge --weights` takes.
fn save(args: &TrainArgs, config: &FsrcnnConfig, model: &Fsrcnn) -> Result<(), UpsamplerError> {
    let [weights, settings] =
        ["upsampler.bpk", "upsampler.json"].map(|name| args.output.join(name));
    write_then_rename(&settings, |path| {
        let written = config.save(path);
        written.map_err(|source| UpsamplerError::Write {
            path: settings.clone(),
            source,
        })
    })?;
    // Burn itself writes a temporary file first.
    let written = model.clone().save_file(&weights);
    written.map_err(|source| UpsamplerError::WriteWeights {
        path: weights.clone(),
        source,
    })?;
    for path in [&weights, &settings] {
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Checks that the network is better than bicubic enlargement: by 1 dB on the built-in images, by
/// 0.5 dB in the short form, by any amount on photos.
fn check_gain(args: &TrainArgs, gain: f64) -> Result<(), UpsamplerError> {
    let expected = if !args.images.is_empty() {
        0.0
    } else if args.short {
        0.5
    } else {
        1.0
    };
    // A NaN is not greater.
    if gain > expected {
        println!("the network gains {gain:+.2} dB of luma over bicubic");
        Ok(())
    } else {
        Err(UpsamplerError::NotBetter { gain, expected })
    }
}

fn create_folder(path: &Path) -> Result<(), UpsamplerError> {
    std::fs::create_dir_all(path).map_err(|source| UpsamplerError::Write {
        path: path.into(),
        source,
    })
}

/// Writes a temporary file beside `path` and renames it: nobody reads half a file.
fn write_then_rename(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), UpsamplerError>,
) -> Result<(), UpsamplerError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    write(&partial)?;
    std::fs::rename(&partial, path).map_err(|source| UpsamplerError::Write {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_complete_file_stays() {
        let folder = std::env::temp_dir().join(format!("upsampler-write-{}", std::process::id()));
        create_folder(&folder).unwrap();
        let path = folder.join("config.json");
        write_then_rename(&path, |partial| {
            assert!(!path.exists());
            FsrcnnConfig::new(2).save(partial).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(FsrcnnConfig::load(&path).unwrap(), FsrcnnConfig::new(2));
        assert_eq!(folder.read_dir().unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
