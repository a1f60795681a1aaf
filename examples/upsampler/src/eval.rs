//! The comparison of one picture: made smaller, enlarged by every method, and measured.

use std::path::Path;

use clap::ValueEnum;
use image::RgbImage;
use image::imageops::{FilterType, crop_imm, resize};

use crate::enlarge::{Enlarger, ycbcr};
use crate::error::UpsamplerError;
use crate::network::Network;
use crate::picture::{Pixels, Samples};
use crate::quality::{mean_squared_error, psnr_of_mse, ssim};
use crate::stop::Stop;

/// The methods, in the order of the scores.
pub const METHODS: [&str; 5] = ["nearest", "bilinear", "bicubic", "Lanczos", "ours"];

const FILTERS: [FilterType; 4] = [
    FilterType::Nearest,
    FilterType::Triangle,
    FilterType::CatmullRom,
    FilterType::Lanczos3,
];

/// Height and width of the network's tiles.
const TILE_SIZE: usize = 256;

/// The windows of SSIM.
const WINDOW: usize = 11;

/// How red, green and blue become Y, Cb and Cr. Figures that were measured in different ways differ
/// by more than a decibel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum YCbCr {
    /// The formula of JPEG, without rounding.
    Exact,
    /// As Pillow's `convert("YCbCr")`: whole numbers, with 6 bits behind the point in between.
    Pillow,
    /// As the publishers of the three-channel FSRCNN weights measure: 8 bits, rounded down, luma
    /// clamped to 16 to 235 and chroma to 16 to 240.
    Clamped,
}

impl YCbCr {
    /// From 8-bit red, green and blue to values in 0 to 1.
    fn convert(self, rgb: [u8; 3]) -> [f32; 3] {
        match self {
            Self::Exact => ycbcr(rgb.map(|value| f32::from(value) / 255.0)),
            Self::Pillow => pillow(rgb).map(|value| value as f32 / 255.0),
            Self::Clamped => {
                let [y, cb, cr] = levels(rgb);
                [
                    y.clamp(16.0, 235.0),
                    cb.clamp(16.0, 240.0),
                    cr.clamp(16.0, 240.0),
                ]
                .map(|level| level.floor() / 255.0)
            }
        }
    }
}

/// The coefficients of JPEG with five digits, as many programs have them.
const COEFFICIENTS: [[f32; 3]; 3] = [
    [0.299, 0.587, 0.114],
    [-0.16874, -0.33126, 0.5],
    [0.5, -0.41869, -0.08131],
];

fn levels(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(f32::from);
    let [y, cb, cr] = COEFFICIENTS.map(|[of_r, of_g, of_b]| of_r * r + of_g * g + of_b * b);
    [y, cb + 128.0, cr + 128.0]
}

fn pillow(rgb: [u8; 3]) -> [i32; 3] {
    let [y, cb, cr] = COEFFICIENTS.map(|coefficients| {
        let products = coefficients
            .into_iter()
            .zip(rgb)
            .map(|(of, value)| (of * f32::from(value) * 64.0).round() as i32);
        products.sum::<i32>() >> 6
    });
    [y, cb + 128, cr + 128].map(|level| level.clamp(0, 255))
}

/// What is the same for all pictures.
pub struct Setting<'a> {
    pub network: &'a Network,
    /// Pixels of each border that are left out.
    pub crop: usize,
    pub ycbcr: Option<YCbCr>,
    pub stop: Stop,
}

/// How near one enlargement comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub rgb_psnr: f64,
    pub rgb_ssim: f64,
    pub luma_psnr: f64,
    pub luma_ssim: f64,
    pub ycbcr_psnr: Option<f64>,
}

/// The scores of one picture, and its versions for the contact sheet.
pub struct Comparison {
    pub score: [Score; METHODS.len()],
    /// Nearest, bicubic, Lanczos, ours, truth.
    pub versions: [RgbImage; 5],
}

/// Enlarges one picture with every method and compares.
///
/// # Errors
///
/// The picture is too small to compare, or `low` is not the truth made smaller.
pub fn compare(
    setting: &Setting,
    (truth_path, truth): (&Path, &Pixels),
    low: Option<(&Path, &Pixels)>,
) -> Result<Comparison, UpsamplerError> {
    let scale = setting.network.scale;
    let [height, width] = [truth.height, truth.width];
    // Rows and columns that the scale does not divide are left out.
    let size = [height, width].map(|size| size / scale * scale);
    let least = WINDOW + 2 * setting.crop;
    if size[0].min(size[1]) < least.max(scale) {
        return Err(UpsamplerError::TooSmall {
            path: truth_path.into(),
            height,
            width,
            least,
        });
    }
    let truth = eight_bits(truth);
    let truth = crop_imm(&truth, 0, 0, size[1] as u32, size[0] as u32).to_image();
    let low_size = size.map(|size| size / scale);
    let low = match low {
        None => resize(
            &truth,
            low_size[1] as u32,
            low_size[0] as u32,
            FilterType::CatmullRom,
        ),
        Some((_, low)) if [low.height, low.width] == low_size => eight_bits(low),
        Some((low_path, low)) => {
            return Err(UpsamplerError::UnpairedSizes {
                low: low_path.into(),
                truth: truth_path.into(),
                low_height: low.height,
                low_width: low.width,
                height,
                width,
                scale,
            });
        }
    };

    let ours = enlarged(setting, &low)?;
    let [nearest, bilinear, bicubic, lanczos] =
        FILTERS.map(|filter| resize(&low, truth.width(), truth.height(), filter));
    let images = [&nearest, &bilinear, &bicubic, &lanczos, &ours];
    let mut score = images.map(|image| measure(setting, image, &truth));
    if let Some(conversion) = setting.ycbcr {
        score[METHODS.len() - 1].ycbcr_psnr =
            Some(network_ycbcr_psnr(setting, conversion, &low, &truth));
    }
    Ok(Comparison {
        score,
        versions: [nearest, bicubic, lanczos, ours, truth],
    })
}

/// The picture that `upsampler enlarge` writes.
fn enlarged(setting: &Setting, low: &RgbImage) -> Result<RgbImage, UpsamplerError> {
    let low = Pixels {
        height: low.height() as usize,
        width: low.width() as usize,
        channels: 3,
        samples: Samples::Bytes(low.as_raw().clone()),
    };
    let enlarger = Enlarger {
        network: setting.network,
        tile_size: TILE_SIZE,
        stop: setting.stop,
    };
    let (high, _) = enlarger.enlarge(&low, |_| ())?;
    Ok(eight_bits(&high))
}

/// Red, green and blue of 8 bits, without alpha.
fn eight_bits(pixels: &Pixels) -> RgbImage {
    RgbImage::from_fn(pixels.width as u32, pixels.height as u32, |x, y| {
        let at = (y as usize * pixels.width + x as usize) * pixels.channels;
        let channels = if pixels.is_grey() { [0; 3] } else { [0, 1, 2] };
        image::Rgb(channels.map(|channel| (pixels.sample(at + channel) * 255.0 + 0.5) as u8))
    })
}

fn measure(setting: &Setting, image: &RgbImage, truth: &RgbImage) -> Score {
    let [image_inside, truth_inside] = [image, truth].map(|image| inside(image, setting.crop));
    let size = [
        truth_inside.height() as usize,
        truth_inside.width() as usize,
    ];
    let rgb = |image: &RgbImage| planes(image, |rgb| rgb.map(|value| f32::from(value) / 255.0));
    let [got, expected] = [rgb(&image_inside), rgb(&truth_inside)];
    let luma = |planes: &[Vec<f32>; 3]| -> Vec<f32> {
        let [r, g, b] = planes;
        (0..r.len())
            .map(|at| (16.0 + 65.481 * r[at] + 128.553 * g[at] + 24.966 * b[at]) / 255.0)
            .collect()
    };
    let [got_luma, expected_luma] = [luma(&got), luma(&expected)];
    let similarity =
        |got: &[f32], expected: &[f32]| ssim(got, expected, size).expect("a window fits");
    let of_channels = [0, 1, 2].map(|channel| similarity(&got[channel], &expected[channel]));
    Score {
        rgb_psnr: psnr_of_planes(&got, &expected),
        rgb_ssim: of_channels.iter().sum::<f64>() / 3.0,
        luma_psnr: psnr_of_mse(mean_squared_error(&got_luma, &expected_luma)),
        luma_ssim: similarity(&got_luma, &expected_luma),
        ycbcr_psnr: setting.ycbcr.map(|conversion| {
            let [got, expected] = [&image_inside, &truth_inside]
                .map(|image| planes(image, |rgb| conversion.convert(rgb)));
            psnr_of_planes(&got, &expected)
        }),
    }
}

/// The PSNR of the network's answer itself.
fn network_ycbcr_psnr(
    setting: &Setting,
    conversion: YCbCr,
    low: &RgbImage,
    truth: &RgbImage,
) -> f64 {
    let size = [low.height() as usize, low.width() as usize];
    let low = planes(low, |rgb| conversion.convert(rgb));
    let answer = setting.network.apply_in_tiles(&low, size, TILE_SIZE);
    let [height, width] = [truth.height() as usize, truth.width() as usize];
    let answer: Vec<_> = answer
        .chunks_exact(height * width)
        .map(|plane| {
            let rows = setting.crop..height - setting.crop;
            let columns = setting.crop..width - setting.crop;
            let row = |y: usize| &plane[y * width..][columns.clone()];
            rows.flat_map(row).copied().collect()
        })
        .collect();
    let truth = planes(&inside(truth, setting.crop), |rgb| conversion.convert(rgb));
    psnr_of_planes(&answer, &truth)
}

fn psnr_of_planes(got: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let errors = got.iter().zip(expected);
    let sum: f64 = errors
        .map(|(got, expected)| mean_squared_error(got, expected))
        .sum();
    psnr_of_mse(sum / got.len() as f64)
}

fn inside(image: &RgbImage, crop: usize) -> RgbImage {
    let crop = crop as u32;
    let [height, width] = [image.height(), image.width()].map(|size| size - 2 * crop);
    crop_imm(image, crop, crop, width, height).to_image()
}

fn planes(image: &RgbImage, convert: impl Fn([u8; 3]) -> [f32; 3]) -> [Vec<f32>; 3] {
    let mut planes = [const { Vec::new() }; 3];
    for pixel in image.pixels() {
        for (plane, value) in planes.iter_mut().zip(convert(pixel.0)) {
            plane.push(value);
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversions_agree_about_grey_and_differ_about_black() {
        for conversion in [YCbCr::Exact, YCbCr::Pillow, YCbCr::Clamped] {
            let got = conversion.convert([100; 3]).map(|value| value * 255.0);
            let expected = [100.0, 128.0, 128.0];
            for (got, expected) in got.into_iter().zip(expected) {
                // one level where the conversion rounds down
                assert!((got - expected).abs() < 1.01, "{conversion:?}: {got}");
            }
        }
        assert_eq!(YCbCr::Exact.convert([0; 3])[0], 0.0);
        assert_eq!(YCbCr::Clamped.convert([0; 3])[0], 16.0 / 255.0);
    }
}
