//! The quality of the result: PSNR beside the baselines, as a table and as a picture.

use std::fmt::{self, Display, Formatter};

use image::imageops::{FilterType, crop_imm, overlay, resize};
use image::{Rgb, Rgb32FImage, RgbImage};

use crate::data::{Pair, SCALE};
use crate::font::{ADVANCE, GLYPH_SIZE, dot};

/// An exact match counts as this many dB.
const MAX_PSNR: f64 = 100.0;

/// Peak signal-to-noise ratio in dB of a mean squared error of values in 0 to 1:
/// `10 log10(1 / mse)`.
pub fn psnr_of_mse(mse: f64) -> f64 {
    // `min` would turn a NaN into the best value of all.
    let psnr = -10.0 * mse.log10();
    if psnr > MAX_PSNR { MAX_PSNR } else { psnr }
}

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

/// How many images the comparison shows, how many pixels of them along each axis at high
/// resolution, and how large it draws a pixel.
const ROWS: usize = 4;
const CROP_SIZE: u32 = 80;
const ZOOM: u32 = 3;

const MARGIN: u32 = 6;
const CELL: u32 = CROP_SIZE * ZOOM;
const LABELS: [&str; 4] = ["INPUT", "BICUBIC", "OURS", "TRUTH"];
const LABEL_DOT: u32 = 2;
const LABEL_HEIGHT: u32 = GLYPH_SIZE[0] as u32 * LABEL_DOT;

/// Draws crops of the first images side by side: input, bicubic, ours, truth.
pub fn comparison(entries: &[Entry]) -> RgbImage {
    let rows = entries.len().min(ROWS) as u32;
    let width = MARGIN + LABELS.len() as u32 * (CELL + MARGIN);
    let top = MARGIN + LABEL_HEIGHT + MARGIN;
    let mut picture = RgbImage::from_pixel(width, top + rows * (CELL + MARGIN), Rgb([255; 3]));
    let left = |column: usize| MARGIN + column as u32 * (CELL + MARGIN);

    for (column, label) in LABELS.into_iter().enumerate() {
        write_label(&mut picture, [MARGIN, left(column)], label);
    }
    for (row, entry) in entries.iter().take(ROWS).enumerate() {
        let nearest = entry.pair.enlarged(FilterType::Nearest);
        let place = busiest_crop(&nearest, &entry.pair.truth);
        let top = top + row as u32 * (CELL + MARGIN);
        let images = [&nearest, &entry.bicubic, &entry.ours, &entry.pair.truth];
        for (column, image) in images.into_iter().enumerate() {
            let cell = cell(image, place);
            overlay(&mut picture, &cell, left(column).into(), top.into());
        }
    }
    picture
}

/// The crop at `[top, left]`, enlarged until it fills a cell.
fn cell(image: &Rgb32FImage, [top, left]: [u32; 2]) -> RgbImage {
    let crop = crop_imm(image, left, top, CROP_SIZE, CROP_SIZE).to_image();
    let crop = RgbImage::from_fn(crop.width(), crop.height(), |x, y| {
        Rgb(crop
            .get_pixel(x, y)
            .0
            .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8))
    });
    resize(&crop, CELL, CELL, FilterType::Nearest)
}

/// `[top, left]` of the most detailed crop: there, the truth differs most from the input enlarged
/// with nearest neighbours. The other enlargements do not influence the choice.
fn busiest_crop(nearest: &Rgb32FImage, truth: &Rgb32FImage) -> [u32; 2] {
    let size = [truth.height(), truth.width()].map(|size| size.min(CROP_SIZE));
    let places = |length: u32, size: u32| (0..=length - size).step_by(8 * SCALE as usize);
    let detail = |top: u32, left: u32| -> f32 {
        let rows = (top..top + size[0]).step_by(2);
        rows.flat_map(|y| (left..left + size[1]).step_by(2).map(move |x| (x, y)))
            .map(|(x, y)| {
                let [got, expected] = [nearest, truth].map(|image| image.get_pixel(x, y).0);
                (0..3).map(|c| (got[c] - expected[c]).powi(2)).sum::<f32>()
            })
            .sum()
    };
    places(truth.height(), size[0])
        .flat_map(|top| places(truth.width(), size[1]).map(move |left| [top, left]))
        .max_by(|a, b| detail(a[0], a[1]).total_cmp(&detail(b[0], b[1])))
        .unwrap_or_default()
}

/// Writes a label in black with its upper left corner at `[top, left]`.
fn write_label(picture: &mut RgbImage, [top, left]: [u32; 2], label: &str) {
    let width = (label.len() * ADVANCE) as u32 * LABEL_DOT;
    for (x, y) in (0..width).flat_map(|x| (0..LABEL_HEIGHT).map(move |y| (x, y))) {
        let [row, column] = [y, x].map(|at| (at / LABEL_DOT) as usize);
        if dot(label.as_bytes(), row, column) {
            picture.put_pixel(left + x, top + y, Rgb([0; 3]));
        }
    }
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
    fn psnr_clamps_and_has_an_end() {
        assert_eq!(psnr(&grey(1.7), &grey(1.0)), MAX_PSNR);
        assert_eq!(psnr(&grey(-0.1), &grey(0.0)), MAX_PSNR);
        assert!(psnr_of_mse(f64::NAN).is_nan());
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

    #[test]
    fn the_comparison_shows_where_the_detail_is() {
        let mut image = Rgb32FImage::from_pixel(240, 160, Rgb([0.5; 3]));
        for (x, y) in (180..200).flat_map(|x| (100..110).map(move |y| (x, y))) {
            image.put_pixel(x, y, Rgb([((x + y) % 2) as f32; 3]));
        }
        let pair = Pair::new("dots".into(), &image);
        let [top, left] = busiest_crop(&pair.enlarged(FilterType::Nearest), &image);
        assert!(top <= 100 && top + CROP_SIZE >= 110, "{top}");
        assert!(left <= 180 && left + CROP_SIZE >= 200, "{left}");

        let ours = pair.enlarged(FilterType::CatmullRom);
        let picture = comparison(&[Entry::new(pair, ours)]);
        assert_eq!(picture.dimensions(), (990, 272));
    }
}
