//! `upsampler eval`: how near the network's enlargements come to the truth, beside other methods.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::enlarge_command::pictures_in;
use crate::error::UpsamplerError;
use crate::eval::{Setting, YCbCr, compare};
use crate::picture::Picture;
use crate::report::Report;
use crate::stop::Stop;
use crate::weights;

/// Compares the network with nearest, bilinear, bicubic and Lanczos enlargement.
///
/// Each picture is the truth. It is made smaller with bicubic interpolation, or the small pictures
/// are given with --low; then it is enlarged again.
///
/// PSNR is in dB over 8-bit values. "luma" is the Y of ITU-R BT.601 with head and foot room, as
/// papers on super-resolution measure it. SSIM has windows of 11 x 11 pixels, sigma 1.5.
#[derive(Args)]
pub struct EvalArgs {
    /// Pictures, or folders: of a folder, the PNG, JPEG and WebP files directly in it.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    inputs: Vec<PathBuf>,

    /// How much larger [default: 2, or that of --weights].
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=4))]
    scale: Option<u8>,

    /// The network, as in `enlarge`.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// A folder of small pictures, one for each truth, in the order of their names.
    #[arg(long, value_name = "FOLDER")]
    low: Option<PathBuf>,

    /// How many pixels of each border to leave out [default: the scale, as papers do].
    #[arg(long, value_name = "PIXELS")]
    crop: Option<usize>,

    /// Also measure the PSNR over Y, Cb and Cr, before the network's answer becomes a picture, in
    /// one of the conversions that people use.
    #[arg(long)]
    ycbcr: Option<YCbCr>,

    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write a PNG with the most detailed part of the first four pictures.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
}

/// Compares, prints the table, and writes the files asked for.
pub fn run(args: &EvalArgs, stop: Stop) -> Result<(), UpsamplerError> {
    let network = weights::network(args.weights.as_deref(), args.scale)?;
    if args.ycbcr.is_some() && network.channels != 3 {
        return Err(UpsamplerError::LumaOnly { name: network.name });
    }
    let mut truths = Vec::new();
    for input in &args.inputs {
        if input.is_dir() {
            truths.extend(pictures_in(input)?);
        } else {
            truths.push(input.clone());
        }
    }
    let lows = match &args.low {
        Some(folder) => Some(low_pictures(folder, &truths)?),
        None => None,
    };
    let setting = Setting {
        network: &network,
        crop: args.crop.unwrap_or(network.scale),
        ycbcr: args.ycbcr,
        stop,
    };
    let mut report = Report::default();
    for (index, path) in truths.iter().enumerate() {
        let truth = Picture::read(path)?;
        let low = match &lows {
            Some(lows) => Some((lows[index].as_path(), Picture::read(&lows[index])?)),
            None => None,
        };
        let low = low.as_ref().map(|(path, low)| (*path, &low.pixels));
        let comparison = compare(&setting, (path, &truth.pixels), low)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        report.add(&setting, &name, comparison);
    }
    print!("\n{}", report.mean_table());
    if let Some(path) = &args.csv {
        report.write_csv(path, stop)?;
        println!("wrote {}", path.display());
    }
    if let Some(path) = &args.sheet {
        report.write_sheet(path, stop)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The files of `--low`, as many as there are truths.
fn low_pictures(folder: &Path, truths: &[PathBuf]) -> Result<Vec<PathBuf>, UpsamplerError> {
    let lows = pictures_in(folder)?;
    if lows.len() == truths.len() {
        return Ok(lows);
    }
    let truth = truths[0].parent().unwrap_or(Path::new("")).into();
    Err(UpsamplerError::UnpairedFolders {
        low: folder.into(),
        truth,
        found_low: lows.len(),
        found: truths.len(),
    })
}
