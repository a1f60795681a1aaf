//! The errors of the program. A message says what was wrong, what was expected and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use burn::config::ConfigError;
use burn::store::RecordError;
use burn::train::TrainingError;
use image::ImageError;

use crate::data::MIN_IMAGE_SIZE;

/// Why the program ends without a result, or with a bad one.
#[derive(Debug, thiserror::Error)]
pub enum UpsamplerError {
    #[error(
        "cannot read the folder {path}: {source}; --images takes a folder of PNG or JPEG files"
    )]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "no images in {path}: expected files named .png, .jpg or .jpeg directly in this folder"
    )]
    NoImages { path: PathBuf },
    #[error(
        "{usable} of the {found} images in {path} can be used, but at least 2 are needed, one for training and one for validation; add photos of at least {MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE} pixels"
    )]
    TooFewImages {
        path: PathBuf,
        usable: usize,
        found: usize,
    },
    #[error("cannot write {path}: {source}; choose another place with --output")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}; choose another place with --output")]
    WriteImage { path: PathBuf, source: ImageError },
    #[error("cannot write {path}: {source}; choose another place with --output")]
    WriteWeights { path: PathBuf, source: RecordError },
    #[error(
        "another run is writing to {folder} (it has locked {path}); wait until it ends, or choose another folder with --output"
    )]
    OutputInUse { folder: PathBuf, path: PathBuf },
    #[error("cannot lock {path}: {source}; choose another folder with --output")]
    Lock {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "there is no checkpoint in {path} to resume from; run once without --resume, or name the --output of that run"
    )]
    NoCheckpoint { path: PathBuf },
    #[error(
        "cannot read the checkpoint's settings in {path}: {source}; run once without --resume to start over"
    )]
    CheckpointSettings { path: PathBuf, source: ConfigError },
    #[error("cannot read the checkpoint {path}: {source}; run once without --resume to start over")]
    Checkpoint { path: PathBuf, source: RecordError },
    #[error(
        "the checkpoint in {path} belongs to another run: {differences}; repeat that run's options, or run without --resume to start over"
    )]
    OtherRun { path: PathBuf, differences: String },
    #[error(
        "the checkpoint in {path} is of epoch {epoch}, but the run ends with epoch {epochs}; ask for more with --epochs, or run without --resume to start over"
    )]
    PastTheEnd {
        path: PathBuf,
        epoch: usize,
        epochs: usize,
    },
    #[error("training failed: {0}")]
    Training(Arc<TrainingError>),
    #[error("stopped by Ctrl-C before the end of the first epoch; nothing was saved")]
    InterruptedAtOnce,
    #[error("stopped by Ctrl-C; {saved} of {epochs} epochs are saved; continue with --resume")]
    Interrupted { saved: usize, epochs: usize },
    #[error(
        "the network gains {gain:+.2} dB over bicubic, expected more than {expected:+.2} dB; train for longer with --epochs"
    )]
    NotBetter { gain: f64, expected: f64 },
}
