//! `upsampler eval`: how near the network's enlargements come to the truth, beside other methods.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;

use crate::atomic::write_atomically;
use crate::enlarge_command::pictures_in;
use crate::error::{PictureError, UpsamplerError};
use crate::eval::{Comparison, METHODS, Score, Setting, YCbCr, compare};
use crate::picture::Picture;
use crate::sheet::{ROWS, contact_sheet};
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
    let mut names = Vec::new();
    let mut scores = Vec::new();
    let mut rows = Vec::new();
    for (index, path) in truths.iter().enumerate() {
        let truth = Picture::read(path)?;
        let low = match &lows {
            Some(lows) => Some((lows[index].as_path(), Picture::read(&lows[index])?)),
            None => None,
        };
        let Comparison { score, versions } = compare(&setting, (path, truth), low)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if index == 0 {
            println!("{}", heading(&setting));
        }
        println!("{}", picture_line(&name, &score));
        if rows.len() < ROWS {
            rows.push(versions);
        }
        names.push(name.into_owned());
        scores.push(score);
    }
    print!("\n{}", mean_table(&scores));
    if let Some(path) = &args.csv {
        let csv = csv(&names, &scores);
        write_atomically(path, stop, |file| Ok(file.write_all(csv.as_bytes())?))?;
        println!("wrote {}", path.display());
    }
    if let Some(path) = &args.sheet {
        write_sheet(path, &rows, stop)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn write_sheet(path: &Path, rows: &[[RgbImage; 5]], stop: Stop) -> Result<(), PictureError> {
    let sheet = contact_sheet(["INPUT", "BICUBIC", "LANCZOS", "OURS", "TRUTH"], rows);
    write_atomically(path, stop, |file| {
        sheet.write_with_encoder(image::codecs::png::PngEncoder::new(file))
    })
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

const NAME_WIDTH: usize = 24;

fn heading(setting: &Setting) -> String {
    let mut line = format!(
        "{}, x{}, {} pixels of each border left out\nluma PSNR in dB\n{:NAME_WIDTH$}",
        setting.network.name, setting.network.scale, setting.crop, ""
    );
    for method in METHODS {
        let _ = write!(line, "  {method:>8}");
    }
    line + "  gain on bicubic"
}

fn picture_line(name: &str, score: &[Score; METHODS.len()]) -> String {
    let mut line = format!("{name:NAME_WIDTH$}");
    for score in score {
        let _ = write!(line, "  {:8.2}", score.luma_psnr);
    }
    let [.., bicubic, _, ours] = score;
    let _ = write!(line, "  {:+15.2}", ours.luma_psnr - bicubic.luma_psnr);
    line
}

/// The means over the pictures, a line for each method.
fn mean_table(scores: &[[Score; METHODS.len()]]) -> String {
    let has_ycbcr = scores
        .iter()
        .flatten()
        .any(|score| score.ycbcr_psnr.is_some());
    let mut table = format!(
        "mean of {} pictures  luma PSNR  luma SSIM  RGB PSNR  RGB SSIM",
        scores.len()
    );
    let name_width = table.find("  luma").unwrap_or_default();
    table += if has_ycbcr { "  YCbCr PSNR\n" } else { "\n" };
    for (index, method) in METHODS.into_iter().enumerate() {
        let mean = |value: fn(&Score) -> f64| {
            scores.iter().map(|score| value(&score[index])).sum::<f64>() / scores.len() as f64
        };
        let _ = write!(
            table,
            "{method:name_width$}  {:9.2}  {:9.4}  {:8.2}  {:8.4}",
            mean(|score| score.luma_psnr),
            mean(|score| score.luma_ssim),
            mean(|score| score.rgb_psnr),
            mean(|score| score.rgb_ssim),
        );
        if has_ycbcr {
            let _ = write!(
                table,
                "  {:10.3}",
                mean(|s| s.ycbcr_psnr.unwrap_or(f64::NAN))
            );
        }
        table.push('\n');
    }
    table
}

fn csv(names: &[String], scores: &[[Score; METHODS.len()]]) -> String {
    let mut csv = "picture,method,luma_psnr,luma_ssim,rgb_psnr,rgb_ssim,ycbcr_psnr\n".to_string();
    for (name, scores) in names.iter().zip(scores) {
        let name = name.replace('"', "\"\"");
        for (method, score) in METHODS.into_iter().zip(scores) {
            let ycbcr = score.ycbcr_psnr.map(|psnr| format!("{psnr:.4}"));
            let _ = writeln!(
                csv,
                "\"{name}\",{method},{:.4},{:.6},{:.4},{:.6},{}",
                score.luma_psnr,
                score.luma_ssim,
                score.rgb_psnr,
                score.rgb_ssim,
                ycbcr.unwrap_or_default(),
            );
        }
    }
    csv
}
