//! What a comparison prints and writes: the table, the CSV file, the contact sheet.

use std::fmt::Write as _;
use std::path::Path;

use image::RgbImage;
use image::codecs::png::PngEncoder;

use crate::atomic::write_atomically;
use crate::error::PictureError;
use crate::eval::{Comparison, METHODS, Score, Setting};
use crate::sheet::{ROWS, contact_sheet};
use crate::stop::Stop;

/// The comparisons of several pictures.
#[derive(Default)]
pub struct Report {
    names: Vec<String>,
    scores: Vec<[Score; METHODS.len()]>,
    /// The versions of the first pictures.
    rows: Vec<[RgbImage; 5]>,
}

impl Report {
    /// Adds a picture and prints its line, below the heading if it is the first.
    pub fn add(&mut self, setting: &Setting, name: &str, comparison: Comparison) {
        let Comparison { score, versions } = comparison;
        if self.names.is_empty() {
            println!("{}", heading(setting));
        }
        println!("{}", picture_line(name, &score));
        if self.rows.len() < ROWS {
            self.rows.push(versions);
        }
        self.names.push(name.to_owned());
        self.scores.push(score);
    }

    /// How many dB of luma the network is better than bicubic enlargement, in the mean.
    pub fn gain(&self) -> f64 {
        let gains = self.scores.iter().map(gain);
        gains.sum::<f64>() / self.scores.len() as f64
    }

    /// The means over the pictures, a line for each method.
    pub fn mean_table(&self) -> String {
        mean_table(&self.scores)
    }

    /// Writes all figures as CSV.
    pub fn write_csv(&self, path: &Path, stop: Stop) -> Result<(), PictureError> {
        let csv = csv(&self.names, &self.scores);
        write_atomically(path, stop, |file| Ok(file.write_all(csv.as_bytes())?))
    }

    /// Writes the most detailed part of the first pictures as PNG.
    pub fn write_sheet(&self, path: &Path, stop: Stop) -> Result<(), PictureError> {
        let labels = ["INPUT", "BICUBIC", "LANCZOS", "OURS", "TRUTH"];
        let sheet = contact_sheet(labels, &self.rows);
        write_atomically(path, stop, |file| {
            sheet.write_with_encoder(PngEncoder::new(file))
        })
    }
}

fn gain(score: &[Score; METHODS.len()]) -> f64 {
    let [.., bicubic, _, ours] = score;
    ours.luma_psnr - bicubic.luma_psnr
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
    let _ = write!(line, "  {:+15.2}", gain(score));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_means() {
        let of = |psnr| {
            [0.0, 0.0, 30.0, 0.0, psnr].map(|luma_psnr| Score {
                luma_psnr,
                ..Score::default()
            })
        };
        let report = Report {
            names: vec!["a".into(), "b\"c".into()],
            scores: vec![of(31.0), of(34.0)],
            rows: Vec::new(),
        };
        assert!((report.gain() - 2.5).abs() < 1e-12);
        let table = report.mean_table();
        let ours = table.lines().last().unwrap();
        assert!(
            ours.starts_with("ours") && ours.contains("32.50"),
            "{table}"
        );
        assert!(!table.contains("YCbCr"), "{table}");
        let csv = csv(&report.names, &report.scores);
        assert!(csv.contains("\"b\"\"c\",ours,34.0000,"), "{csv}");
    }
}
