//! The errors of the program. A message says what was wrong, what was expected and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use burn::config::ConfigError;
use burn::store::RecordError;
use burn::train::TrainingError;
use burn_weights::WeightsError;
use image::ImageError;

use crate::data::MIN_IMAGE_SIZE;
use crate::picture::MAX_BYTES;

/// Why the program ends without a result, or with a bad one.
#[derive(Debug, thiserror::Error)]
pub enum UpsamplerError {
    #[error("cannot read the folder {path}: {source}; --images takes a folder of photos")]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "no images in {path}: expected files named .png, .jpg, .jpeg or .webp in this folder or its subfolders"
    )]
    NoImages { path: PathBuf },
    #[error(
        "{usable} of the {found} images in --images can be used, but at least 2 are needed, one for training and one for validation; add photos of at least {MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE} pixels"
    )]
    TooFewImages { usable: usize, found: usize },
    #[error("cannot write {path}: {source}; choose another place with --output")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
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
    #[cfg(feature = "remote")]
    #[error("cannot serve on port {port}: {reason}; choose another with --port")]
    Serve { port: u16, reason: String },
    #[error("this build has no dashboard; build with --features dashboard")]
    NoDashboard,
    #[error("training failed: {0}")]
    Training(Arc<TrainingError>),
    #[error("stopped before the end of the first epoch; nothing was saved")]
    InterruptedAtOnce,
    #[error("stopped; {saved} of {epochs} epochs are saved; continue with --resume")]
    Interrupted { saved: usize, epochs: usize },
    #[error(
        "the network gains {gain:+.2} dB of luma over bicubic, expected more than {expected:+.2} dB; train for longer with --epochs"
    )]
    NotBetter { gain: f64, expected: f64 },
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("{failed} of {count} pictures could not be enlarged; the lines above say why")]
    SomeFailed { failed: usize, count: usize },
    #[error("stopped; no picture is half-written, and --skip-existing continues")]
    Stopped,
    #[error(
        "{first} and {second} would both become {output}; enlarge them one by one, with --output"
    )]
    SameOutput {
        first: PathBuf,
        second: PathBuf,
        output: PathBuf,
    },
    #[error("{path} would be replaced by its own enlargement; choose another --output")]
    OverItself { path: PathBuf },
    #[error(
        "no pictures in {path}: expected files named .png, .jpg, .jpeg or .webp directly in this folder (names that end in -x2, -x3 or -x4 do not count)"
    )]
    NoPictures { path: PathBuf },
    #[error("--output {path} is one file, but there are {count} pictures; name a folder")]
    OneOutput { path: PathBuf, count: usize },
    #[error(
        "{low} has {found_low} pictures and {truth} has {found}; they are compared in the order of their names, so --low needs one for each"
    )]
    UnpairedFolders {
        low: PathBuf,
        truth: PathBuf,
        found_low: usize,
        found: usize,
    },
    #[error(
        "{low} has {low_height} x {low_width} pixels, {truth} has {height} x {width}: not {scale} times as many; is --scale right?"
    )]
    UnpairedSizes {
        low: PathBuf,
        truth: PathBuf,
        low_height: usize,
        low_width: usize,
        height: usize,
        width: usize,
        scale: usize,
    },
    #[error(
        "{path} has {height} x {width} pixels; to compare, {least} x {least} are needed (11 x 11 windows for SSIM, besides --crop)"
    )]
    TooSmall {
        path: PathBuf,
        height: usize,
        width: usize,
        least: usize,
    },
    #[error("--ycbcr needs a network of three channels; {name} has one, for luma")]
    LumaOnly { name: String },
}

/// Why a picture cannot be read, enlarged or written.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no file; expected a PNG, JPEG or WebP file")]
    NotAFile { path: PathBuf },
    #[error("{path} is empty (0 bytes); expected a PNG, JPEG or WebP file")]
    Empty { path: PathBuf },
    #[error("{path} is no picture; expected a PNG, JPEG or WebP file")]
    NotAnImage { path: PathBuf },
    #[error("{path} cannot be decoded: {source}; expected a whole PNG, JPEG or WebP file")]
    Broken { path: PathBuf, source: ImageError },
    #[error("{path} is cut off: the end of the JPEG file is missing; copy it again")]
    CutOff { path: PathBuf },
    #[error(
        "{path} has {size}; at most {} MB of pixels can be read",
        MAX_BYTES / 1_000_000
    )]
    TooLarge { path: PathBuf, size: String },
    #[error("there is not enough memory for the enlarged picture: it takes {megabytes} MB")]
    Memory { megabytes: usize },
    #[error(
        "{path} would have {height} x {width} pixels, and this format has at most {side} each way; choose another --format"
    )]
    Format {
        path: PathBuf,
        height: usize,
        width: usize,
        side: usize,
    },
    #[error("{path} is no file, and only files are replaced; choose another --output")]
    NotReplaced { path: PathBuf },
    #[error("cannot write {path}: {source}; choose another place with --output")]
    Write { path: PathBuf, source: ImageError },
    #[error("stopped; no picture is half-written")]
    Stopped,
}

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("cannot read {path}: {source}; --weights takes a file")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} is {found}; --weights takes a file of PyTorch (.pt, .safetensors) or Keras (.h5) with FSRCNN's weights, or a model that `upsampler train` wrote"
    )]
    Kind { path: PathBuf, found: &'static str },
    #[error(
        "cannot read {path}, the settings of the model: {source}; `upsampler train` writes both, keep them together"
    )]
    Settings { path: PathBuf, source: ConfigError },
    #[error("{path} is not of `upsampler train`: {reason}")]
    BadSettings { path: PathBuf, reason: String },
    #[error("cannot read the model {path}: {source}; expected a file that `upsampler train` wrote")]
    Record { path: PathBuf, source: RecordError },
    #[error(
        "{path} holds a network of other sizes than the one to train; --from takes a model of `upsampler train` for another scale"
    )]
    OtherNetwork { path: PathBuf },
    #[error("{}", one_line(source))]
    Weights { source: WeightsError },
    #[error("{path} holds a network that enlarges by {found}, expected one for --scale {expected}")]
    Scale {
        path: PathBuf,
        found: usize,
        expected: usize,
    },
    #[error(
        "{path} fits, but enlarges neither by 2, 3 nor 4: at best, a smooth picture is off by {error:.2} (of 1); expected the weights of a trained FSRCNN"
    )]
    Untrained { path: PathBuf, error: f32 },
}

/// A message of several lines, a list of tensors for example, as one.
fn one_line(message: impl ToString) -> String {
    let message = message.to_string();
    let lines: Vec<_> = message.lines().map(str::trim).collect();
    lines.join("; ").replace(":;", ":")
}
