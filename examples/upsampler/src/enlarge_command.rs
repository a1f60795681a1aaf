//! `upsampler enlarge`: from files and folders to enlarged files.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::enlarge::Enlarger;
use crate::error::{PictureError, UpsamplerError};
use crate::picture::{Encoding, Format, Picture, has_image_name};
use crate::stop::Stop;
use crate::weights;

/// Enlarges pictures.
///
/// PNG, JPEG and WebP, grey or colour, 8 or 16 bits, with or without alpha. The result is upright;
/// the colour profile and the EXIF data are kept.
#[derive(Args)]
pub struct EnlargeArgs {
    /// Pictures, or folders: of a folder, the PNG, JPEG and WebP files directly in it.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    inputs: Vec<PathBuf>,

    /// How much larger [default: 2, or that of --weights].
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=4))]
    scale: Option<u8>,

    /// The network: a model of `upsampler train`, or published FSRCNN weights of PyTorch (.pt) or
    /// Keras (.h5).
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// The file to write, for one picture, or a folder [default: photo-x2.png beside photo.jpg].
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,

    /// The format [default: that of the name in --output, or PNG].
    #[arg(long)]
    format: Option<Format>,

    /// The quality of JPEG files.
    #[arg(long, value_name = "1-100", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,

    /// Leave pictures out whose result exists.
    #[arg(long)]
    skip_existing: bool,

    /// Also enlarge the middle of each picture (1024 x 1024 pixels) in one piece, and print the
    /// largest difference from the tiles.
    #[arg(long)]
    check: bool,

    /// Print where the time goes.
    #[arg(long)]
    timings: bool,

    /// Height and width of a tile; larger ones need more memory.
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(16..=4096))]
    tile: u16,
}

/// The part of a picture that `--check` looks at.
const CHECKED_SIZE: usize = 1024;

/// A picture to read and where to write it.
struct Job {
    input: PathBuf,
    output: PathBuf,
    encoding: Encoding,
}

/// Enlarges all pictures. One that fails is named; the others follow.
pub fn run(args: &EnlargeArgs, stop: Stop) -> Result<(), UpsamplerError> {
    let network = weights::network(args.weights.as_deref(), args.scale)?;
    let jobs = jobs(args, network.scale)?;
    if let Some(folder) = output_folder(args) {
        std::fs::create_dir_all(folder).map_err(|source| UpsamplerError::Write {
            path: folder.into(),
            source,
        })?;
    }
    let enlarger = Enlarger {
        network: &network,
        tile_size: args.tile.into(),
        stop,
    };
    let mut failed = 0;
    for job in &jobs {
        if args.skip_existing && job.output.is_file() {
            println!("{} exists", job.output.display());
            continue;
        }
        match enlarge_file(args, &enlarger, job) {
            Ok(lines) => print!("{lines}"),
            Err(PictureError::Stopped) => return Err(UpsamplerError::Stopped),
            // The last words of the program, without a count.
            Err(error) if jobs.len() == 1 => return Err(error.into()),
            Err(error) => {
                eprintln!("error: {error}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(UpsamplerError::SomeFailed {
            failed,
            count: jobs.len(),
        });
    }
    Ok(())
}

/// What to print about the picture.
fn enlarge_file(
    args: &EnlargeArgs,
    enlarger: &Enlarger,
    job: &Job,
) -> Result<String, PictureError> {
    let started = Instant::now();
    let picture = Picture::read(&job.input)?;
    let read = started.elapsed();

    let low = &picture.pixels;
    let bar = progress_bar(&job.input, low.height * low.width);
    let (pixels, timings) = enlarger.enlarge(low, |pixels| bar.inc(pixels as u64))?;
    bar.finish_and_clear();
    let seam = args.check.then(|| enlarger.seam(low, CHECKED_SIZE));
    let megapixels = (low.height * low.width) as f64 / 1e6;

    let writing = Instant::now();
    let high = Picture { pixels, ..picture };
    high.write(&job.output, job.encoding, enlarger.stop)?;
    let write = writing.elapsed();

    let network = timings.network + timings.pixels;
    let [height, width] = [high.pixels.height, high.pixels.width];
    let mut lines = format!(
        "{}: {width} x {height} pixels, {:.1} s, {:.2} MP/s\n",
        job.output.display(),
        (read + network + write).as_secs_f64(),
        megapixels / network.as_secs_f64(),
    );
    if args.timings {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let _ = writeln!(
            lines,
            "  read {:.0} ms, network {:.0} ms, colours and bicubic {:.0} ms, write {:.0} ms",
            milliseconds(read),
            milliseconds(timings.network),
            milliseconds(timings.pixels),
            milliseconds(write),
        );
    }
    if let Some(seam) = seam {
        let _ = writeln!(
            lines,
            "  tiles and one piece differ by at most {:.1e} (one level of 8 bits is {:.1e})",
            seam,
            1.0 / 255.0
        );
    }
    let lost = lost(&high, job.encoding.format);
    if !lost.is_empty() {
        let _ = writeln!(lines, "  this format does not keep {lost}; PNG does");
    }
    Ok(lines)
}

/// What a format does not keep of a picture, in words.
fn lost(picture: &Picture, format: Format) -> &'static str {
    let alpha = picture.pixels.has_alpha() && format == Format::Jpeg;
    let bits = picture.pixels.max() > 255.0 && format != Format::Png;
    match [alpha, bits] {
        [true, true] => "alpha and 16 bits",
        [true, false] => "alpha",
        [false, true] => "16 bits",
        [false, false] => "",
    }
}

fn progress_bar(input: &Path, pixels: usize) -> ProgressBar {
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent}%, {speed}, {eta} left")
        .expect("the template is sound")
        .with_key(
            "speed",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.2} MP/s", state.per_sec() / 1e6);
            },
        )
        .progress_chars("=> ");
    // On standard error, and only if that is a terminal.
    ProgressBar::new(pixels as u64)
        .with_style(style)
        .with_prefix(name.into_owned())
}

/// The folder that `--output` names, if it does not name a file.
fn output_folder(args: &EnlargeArgs) -> Option<&Path> {
    let output = args.output.as_deref()?;
    let is_file = !output.is_dir() && (output.exists() || Format::of_name(output).is_some());
    (!is_file).then_some(output)
}

fn jobs(args: &EnlargeArgs, scale: usize) -> Result<Vec<Job>, UpsamplerError> {
    let mut inputs = Vec::new();
    for input in &args.inputs {
        if input.is_dir() {
            inputs.extend(pictures_in(input)?);
        } else {
            inputs.push(input.clone());
        }
    }
    let output_file = args
        .output
        .as_deref()
        .filter(|_| output_folder(args).is_none());
    if let Some(path) = output_file
        && inputs.len() > 1
    {
        return Err(UpsamplerError::OneOutput {
            path: path.into(),
            count: inputs.len(),
        });
    }
    let format = args.format.or(output_file.and_then(Format::of_name));
    let encoding = Encoding {
        format: format.unwrap_or(Format::Png),
        quality: args.quality,
    };
    let mut jobs = Vec::new();
    let mut taken = HashMap::new();
    for input in inputs {
        let output = output_file.map_or_else(
            || {
                let stem = input.file_stem().unwrap_or_default().to_string_lossy();
                let name = format!("{stem}-x{scale}.{}", encoding.format.extension());
                match output_folder(args) {
                    Some(folder) => folder.join(name),
                    None => input.with_file_name(name),
                }
            },
            Path::to_path_buf,
        );
        if let Some(first) = taken.insert(output.clone(), input.clone()) {
            return Err(UpsamplerError::SameOutput {
                first,
                second: input,
                output,
            });
        }
        if is_same_file(&input, &output) {
            return Err(UpsamplerError::OverItself { path: input });
        }
        jobs.push(Job {
            input,
            output,
            encoding,
        });
    }
    Ok(jobs)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match [a, b].map(Path::canonicalize) {
        [Ok(a), Ok(b)] => a == b,
        _ => false,
    }
}

/// The pictures directly in a folder, in the order of their names, without earlier results.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, UpsamplerError> {
    let unreadable = |source| PictureError::Read {
        path: folder.into(),
        source,
    };
    let mut pictures = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_result = ["-x2", "-x3", "-x4"].iter().any(|end| stem.ends_with(end));
        if has_image_name(&path) && !is_result {
            pictures.push(path);
        }
    }
    if pictures.is_empty() {
        return Err(UpsamplerError::NoPictures {
            path: folder.into(),
        });
    }
    pictures.sort();
    Ok(pictures)
}
