//! The quality of the result: PSNR beside the baselines, as a table and as a picture.

use std::fmt::{self, Display, Formatter};

use image::imageops::FilterType;
use image::{Rgb, Rgb32FImage, RgbImage};

use crate::data::Pair;
use crate::quality::psnr_of_mse;
use crate::sheet::{ROWS, contact_sheet};

/// PSNR in dB over all three channels of whole images, with values clamped to 0 to 1.
///
/// # Shapes
///
/// - image, truth: `[h, w]` pixels, the same size
pub fn psnr(image: &Rgb32FImage, truth: &Rgb32FImage) -> f64 {
    assert_eq!(image.dimensions(), truth.dimensions());
    let squared_error = |(&got, &expected): (&f32, &f32)| {
        (f64::from(got.clamp(0.0, 1.0)) - f64::from(expected)).powi(2)
    };
    let sum: f64 = image.iter().zip(truth.iter()).map(squared_error).sum();
    psnr_of_mse(sum / truth.as_raw().len() as f64)
}

/// One validation image, enlarged with bicubic interpolation and with the network.
pub struct Entry {
    pub pair: Pair,
    /// `[SCALE * h, SCALE * w]` pixels, as the next.
    pub bicubic: Rgb32FImage,
    pub ours: Rgb32FImage,
    pub psnr: Psnr,
}

/// PSNR in dB of the baselines and of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Psnr {
    pub nearest: f64,
    pub bilinear: f64,
    pub bicubic: f64,
    pub ours: f64,
}

impl Entry {
    /// Enlarges an image with the baselines of the `image` crate and compares.
    pub fn new(pair: Pair, ours: Rgb32FImage) -> Self {
        let bicubic = pair.enlarged(FilterType::CatmullRom);
        let psnr = Psnr {
            nearest: psnr(&pair.enlarged(FilterType::Nearest), &pair.truth),
            bilinear: psnr(&pair.enlarged(FilterType::Triangle), &pair.truth),
            bicubic: psnr(&bicubic, &pair.truth),
            ours: psnr(&ours, &pair.truth),
        };
        Self {
            pair,
            bicubic,
            ours,
            psnr,
        }
    }
}

/// The PSNR of each validation image and the mean.
pub struct Table<'a>(pub &'a [Entry]);

impl Table<'_> {
    /// The mean of the PSNR over the images.
    pub fn mean(&self) -> Psnr {
        let mean = |value: fn(&Psnr) -> f64| {
            self.0.iter().map(|entry| value(&entry.psnr)).sum::<f64>() / self.0.len() as f64
        };
        Psnr {
            nearest: mean(|psnr| psnr.nearest),
            bilinear: mean(|psnr| psnr.bilinear),
            bicubic: mean(|psnr| psnr.bicubic),
            ours: mean(|psnr| psnr.ours),
        }
    }
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|entry| entry.pair.name.chars().count());
        let width = names.chain([4]).max().unwrap_or_default();
        writeln!(
            f,
            "PSNR in dB over whole images: RGB, no border left out, values clamped to 0 to 1"
        )?;
        writeln!(
            f,
            "{:width$}  {:>7}  {:>8}  {:>7}  {:>6}  {:>15}",
            "", "nearest", "bilinear", "bicubic", "ours", "gain on bicubic"
        )?;
        let mean = ("mean", self.mean());
        let entries = self
            .0
            .iter()
            .map(|entry| (entry.pair.name.as_str(), entry.psnr));
        for (name, psnr) in entries.chain([mean]) {
            let Psnr {
                nearest,
                bilinear,
                bicubic,
                ours,
            } = psnr;
            let gain = ours - bicubic;
            writeln!(
                f,
                "{name:width$}  {nearest:7.2}  {bilinear:8.2}  {bicubic:7.2}  {ours:6.2}  {gain:+15.2}"
            )?;
        }
        Ok(())
    }
}

/// Draws crops of the first images side by side: input, bicubic, ours, truth.
pub fn comparison(entries: &[Entry]) -> RgbImage {
    let rows: Vec<_> = entries
        .iter()
        .take(ROWS)
        .map(|entry| {
            let nearest = entry.pair.enlarged(FilterType::Nearest);
            [&nearest, &entry.bicubic, &entry.ours, &entry.pair.truth].map(eight_bits)
        })
        .collect();
    contact_sheet(["INPUT", "BICUBIC", "OURS", "TRUTH"], &rows)
}

fn eight_bits(image: &Rgb32FImage) -> RgbImage {
    let level = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        Rgb(image.get_pixel(x, y).0.map(level))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(value: f32) -> Rgb32FImage {
        Rgb32FImage::from_pixel(4, 2, Rgb([value; 3]))
    }

    #[test]
    fn psnr_is_that_of_the_mean_squared_error() {
        // an error of 0.1 everywhere is 10 log10(1 / 0.01)
        assert!((psnr(&grey(0.6), &grey(0.5)) - 20.0).abs() < 1e-5);
        // of 0.1 at one value of the 24
        let mut image = grey(0.5);
        image.get_pixel_mut(3, 1).0[2] = 0.4;
        assert!((psnr(&image, &grey(0.5)) - (20.0 + 10.0 * 24f64.log10())).abs() < 1e-5);
    }

    #[test]
    fn psnr_clamps() {
        assert_eq!(psnr(&grey(1.7), &grey(1.0)), psnr_of_mse(0.0));
        assert_eq!(psnr(&grey(-0.1), &grey(0.0)), psnr_of_mse(0.0));
    }

    #[test]
    fn the_table_ends_with_the_mean() {
        let entry = |name: &str, value| {
            let pair = Pair::new(
                name.into(),
                &Rgb32FImage::from_pixel(64, 64, Rgb([value; 3])),
            );
            let ours = Rgb32FImage::from_pixel(64, 64, Rgb([0.5; 3]));
            Entry::new(pair, ours)
        };
        let entries = [entry("a", 0.6), entry("b", 0.49)];
        let table = Table(&entries);
        assert!((table.mean().ours - 30.0).abs() < 1e-4);
        let text = table.to_string();
        assert!(text.lines().last().unwrap().starts_with("mean"), "{text}");
        assert_eq!(text.lines().count(), 5);
    }
}
