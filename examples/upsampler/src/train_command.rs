//! `upsampler train`, and `upsampler` without a command: trains a network, compares it with bicubic
//! enlargement, and writes a picture of the comparison.

use std::path::{Path, PathBuf};

use burn::config::Config;
use burn::module::Module;
use clap::Args;
use image::ImageFormat;

use crate::checkpoint::RunConfig;
use crate::data::prepare;
use crate::error::UpsamplerError;
use crate::images::Source;
use crate::lock::FolderLock;
use crate::model::UpsamplerConfig;
use crate::report::{Entry, Table, comparison};
use crate::train::train;

/// Trains a small network that enlarges images by 2 and compares it with bicubic enlargement.
///
/// Without options it trains on built-in images for about one minute. A checkpoint is written
/// after every epoch. Ctrl-C stops after the current step, and --resume continues from the last
/// complete epoch: at most one epoch is lost.
#[derive(Args)]
pub struct TrainArgs {
    /// Train on the PNG and JPEG photos directly in this folder (its subfolders are not searched).
    ///
    /// It takes at least 2 photos of at least 48 x 48 pixels. Sorted by name, the first photo and
    /// then every fifth are for validation (at most 12), the others for training. The program uses
    /// the central 1024 x 1024 pixels of a larger photo. It names and skips files that it cannot use.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// The folder for results and checkpoints. It is created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "target/upsampler")]
    output: PathBuf,

    /// The number of passes over the training patches [default: 7; with --short: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    epochs: Option<u16>,

    /// Continue from the last checkpoint in the output folder. It must come from a run with the
    /// same --images, --seed and --short; --epochs may be larger. Without --resume, the program
    /// removes the checkpoints in the output folder.
    #[arg(long)]
    resume: bool,

    /// Train for a few seconds only, a smaller network on fewer patches.
    #[arg(long)]
    short: bool,

    /// The seed of the built-in images, the patches and the initial weights.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Trains, compares and writes.
pub fn run(args: &TrainArgs) -> Result<(), UpsamplerError> {
    let config = run_config(args);
    let epochs = usize::from(args.epochs.unwrap_or(if args.short { 5 } else { 7 }));
    create_folder(&args.output)?;
    let _lock = FolderLock::acquire(&args.output)?;

    let source = match &args.images {
        Some(path) => Source::folder(path)?,
        None => Source::built_in(args.seed),
    };
    let (patches, valid_images) = prepare(&source, config.train_patches, args.seed)?;
    println!(
        "{} patches to train on, {} images to validate with",
        patches.train.len(),
        valid_images.len(),
    );

    let model = train(&config, patches, epochs, &args.output, args.resume)?;

    let entries: Vec<_> = valid_images
        .into_iter()
        .map(|pair| {
            let ours = model.enlarge_image(&pair.low);
            Entry::new(pair, ours)
        })
        .collect();
    let table = Table(&entries);
    print!("\n{table}\n");

    let [picture, weights, settings] =
        ["comparison.png", "upsampler.bpk", "upsampler.json"].map(|name| args.output.join(name));
    write_then_rename(&picture, |path| {
        let written = comparison(&entries).save_with_format(path, ImageFormat::Png);
        written.map_err(|source| UpsamplerError::WriteImage {
            path: picture.clone(),
            source,
        })
    })?;
    write_then_rename(&settings, |path| {
        let written = config.model.save(path);
        written.map_err(|source| UpsamplerError::Write {
            path: settings.clone(),
            source,
        })
    })?;
    // Burn itself writes a temporary file first.
    let written = model.save_file(&weights);
    written.map_err(|source| UpsamplerError::WriteWeights {
        path: weights.clone(),
        source,
    })?;
    for path in [&picture, &weights, &settings] {
        println!("wrote {}", path.display());
    }

    check_gain(args, &table)
}

fn run_config(args: &TrainArgs) -> RunConfig {
    let (model, train_patches) = if args.short {
        (UpsamplerConfig::new().with_channels(16).with_layers(3), 512)
    } else {
        (UpsamplerConfig::new(), 2048)
    };
    let images = args.images.as_ref().map(|path| path.display().to_string());
    RunConfig {
        model,
        images,
        seed: args.seed,
        train_patches,
        batch_size: 8,
        learning_rate: 1e-3,
    }
}

/// Checks that the network is better than bicubic enlargement: by 1 dB on the built-in images, by
/// 0.5 dB in the short form, by any amount on photos.
fn check_gain(args: &TrainArgs, table: &Table) -> Result<(), UpsamplerError> {
    let mean = table.mean();
    let gain = mean.ours - mean.bicubic;
    let expected = if args.images.is_some() {
        0.0
    } else if args.short {
        0.5
    } else {
        1.0
    };
    // A NaN is not greater.
    if gain > expected {
        println!("the network gains {gain:+.2} dB over bicubic");
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
            UpsamplerConfig::new().save(partial).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(
            UpsamplerConfig::load(&path).unwrap(),
            UpsamplerConfig::new()
        );
        assert_eq!(folder.read_dir().unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
