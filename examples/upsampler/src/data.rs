//! From images to batches: each image at both sizes, the split into training and validation, and
//! the patches.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Tensor, TensorData};
use image::imageops::{FilterType, crop_imm, resize};
use image::{ImageBuffer, Luma, Rgb32FImage};

use crate::enlarge::ycbcr;
use crate::error::UpsamplerError;
use crate::images::Source;
use crate::picture::Pixels;
use crate::rng::Rng;

/// Height and width of a patch at low resolution.
const PATCH_SIZE: usize = 24;

/// An image must hold one patch at every scale.
pub const MIN_IMAGE_SIZE: u32 = 4 * PATCH_SIZE as u32;

/// One image in `VALID_EVERY` is for validation, up to `MAX_VALID` images; the others train.
const VALID_EVERY: usize = 5;
const MAX_VALID: usize = 12;

/// The number of patches in the validation loss.
const VALID_PATCHES: usize = 128;

/// Photos train at these sizes too, as in the FSRCNN paper (section 4.1): what is near in one photo
/// is far away in another.
const SCALINGS: [f32; 5] = [1.0, 0.9, 0.8, 0.7, 0.6];

/// `[h, w]` luma values.
pub type Plane = ImageBuffer<Luma<f32>, Vec<f32>>;

/// The luma of an image, as the program feeds it to a network.
pub fn luma(image: &Rgb32FImage) -> Plane {
    Plane::from_fn(image.width(), image.height(), |x, y| {
        Luma([ycbcr(image.get_pixel(x, y).0)[0]])
    })
}

/// The luma of an image at both resolutions.
struct Pair {
    /// `[h, w]`: the truth, downscaled.
    low: Plane,
    /// `[scale * h, scale * w]`
    truth: Plane,
    scale: usize,
}

impl Pair {
    /// Crops rows and columns that the scale does not divide, and downscales with the literature's
    /// bicubic filter, with antialiasing.
    fn new(image: &Rgb32FImage, scale: u32) -> Self {
        let [width, height] = [image.width(), image.height()].map(|size| size / scale);
        let truth = crop_imm(image, 0, 0, width * scale, height * scale).to_image();
        let low = resize(&truth, width, height, FilterType::CatmullRom);
        Self {
            low: luma(&low),
            truth: luma(&truth),
            scale: scale as usize,
        }
    }
}

/// An image for the comparison after the training.
pub struct ValidImage {
    pub name: String,
    pub pixels: Pixels,
}

/// A square from the same place of both planes of a [`Pair`], turned and mirrored in the same
/// way.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// `[PATCH_SIZE, PATCH_SIZE]`
    low: Vec<f32>,
    /// `[scale * PATCH_SIZE, scale * PATCH_SIZE]`
    truth: Vec<f32>,
}

/// Patches as tensors.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[n, 1, PATCH_SIZE, PATCH_SIZE]`
    pub low: Tensor<4>,
    /// `[n, 1, scale * PATCH_SIZE, scale * PATCH_SIZE]`
    pub truth: Tensor<4>,
}

/// The patches of the training and of its validation loss.
#[derive(Default)]
pub struct Patches {
    pub train: Vec<Patch>,
    pub valid: Vec<Patch>,
}

/// Reads the images one at a time. The first and then every fifth are for validation: a few of
/// their patches during training, the whole images at the end. The other images give about
/// `train_patches` patches in total. An unusable image is named on stderr and skipped.
///
/// # Errors
///
/// Too few images are usable.
pub fn prepare(
    source: &Source,
    scale: u32,
    train_patches: usize,
    seed: u64,
) -> Result<(Patches, Vec<ValidImage>), UpsamplerError> {
    let mut rng = Rng::new(seed);
    let valid_count = (0..source.len()).filter(|&index| validates(index)).count();
    let train_count = source.len() - valid_count;
    let mut patches = Patches::default();
    let mut valid_images = Vec::new();
    let mut usable = 0;
    for index in 0..source.len() {
        let (name, image) = match source.image(index) {
            Ok(found) => found,
            Err(reason) => {
                eprintln!("{reason}");
                continue;
            }
        };
        if validates(usable) {
            let pair = Pair::new(&image, scale);
            let count = VALID_PATCHES.div_ceil(valid_count);
            patches
                .valid
                .extend((0..count).map(|_| Patch::random(&pair, &mut rng)));
            let pixels = Pixels::from_colours(&image);
            valid_images.push(ValidImage { name, pixels });
        } else {
            let count = train_patches.div_ceil(train_count);
            patches
                .train
                .extend(train_patches_of(source, image, scale, count, &mut rng));
        }
        usable += 1;
    }
    source.check_usable(usable)?;
    Ok((patches, valid_images))
}

/// `count` patches of an image. Drawn shapes are as sharp at any size, so only photos are scaled.
fn train_patches_of(
    source: &Source,
    image: Rgb32FImage,
    scale: u32,
    count: usize,
    rng: &mut Rng,
) -> Vec<Patch> {
    let scalings = if source.is_built_in() {
        &SCALINGS[..1]
    } else {
        &SCALINGS[..]
    };
    let sizes: Vec<_> = scalings
        .iter()
        .map(|scaling| {
            [image.width(), image.height()].map(|size| (size as f32 * scaling).round() as u32)
        })
        .filter(|[width, height]| *width.min(height) >= MIN_IMAGE_SIZE)
        .collect();
    let mut patches = Vec::with_capacity(count);
    for (index, [width, height]) in sizes.iter().copied().enumerate() {
        let scaled = if [width, height] == [image.width(), image.height()] {
            image.clone()
        } else {
            resize(&image, width, height, FilterType::CatmullRom)
        };
        let pair = Pair::new(&scaled, scale);
        // together exactly `count`
        let share = count * (index + 1) / sizes.len() - count * index / sizes.len();
        patches.extend((0..share).map(|_| Patch::random(&pair, rng)));
    }
    patches
}

/// True if usable image `index` is for validation.
fn validates(index: usize) -> bool {
    index.is_multiple_of(VALID_EVERY) && index / VALID_EVERY < MAX_VALID
}

impl Patch {
    /// A patch at a random place, in one of the eight orientations of a square.
    fn random(pair: &Pair, rng: &mut Rng) -> Self {
        let [height, width] = [pair.low.height(), pair.low.width()].map(|size| size as usize);
        let top = rng.below(height - PATCH_SIZE + 1);
        let left = rng.below(width - PATCH_SIZE + 1);
        Self::cut(pair, [top, left], rng.below(8))
    }

    /// The patch at `[top, left]` of the low resolution image. The three bits of `orientation` swap
    /// the axes, reverse the rows and reverse the columns.
    fn cut(pair: &Pair, place: [usize; 2], orientation: usize) -> Self {
        let scale = pair.scale;
        let cut = |plane: &Plane, [top, left]: [usize; 2], size: usize| {
            let mut values = vec![0.0; size * size];
            for (index, value) in values.iter_mut().enumerate() {
                let [row, column] = [index / size, index % size];
                let turn = |at, around| if around { size - 1 - at } else { at };
                let [row, column] = if orientation & 1 == 0 {
                    [row, column]
                } else {
                    [column, row]
                };
                let row = top + turn(row, orientation & 2 != 0);
                let column = left + turn(column, orientation & 4 != 0);
                *value = plane.get_pixel(column as u32, row as u32).0[0];
            }
            values
        };
        Self {
            low: cut(&pair.low, place, PATCH_SIZE),
            truth: cut(&pair.truth, place.map(|at| scale * at), scale * PATCH_SIZE),
        }
    }
}

/// Stacks patches into a [`Batch`].
struct PatchBatcher;

impl Batcher<Patch, Batch> for PatchBatcher {
    fn batch(&self, patches: Vec<Patch>, device: &Device) -> Batch {
        let stack = |values: fn(&Patch) -> &[f32]| {
            let size = values(&patches[0]).len().isqrt();
            let all: Vec<_> = patches.iter().flat_map(values).copied().collect();
            Tensor::from_data(TensorData::new(all, [patches.len(), 1, size, size]), device)
        };
        Batch {
            low: stack(|patch| &patch.low),
            truth: stack(|patch| &patch.truth),
        }
    }
}

/// Loads batches of `batch_size` patches. With a seed, each epoch has another order.
pub fn loader(
    patches: Vec<Patch>,
    batch_size: usize,
    shuffle: Option<u64>,
) -> Arc<dyn DataLoader<Batch>> {
    let builder = DataLoaderBuilder::new(PatchBatcher).batch_size(batch_size);
    match shuffle {
        Some(seed) => builder.shuffle(seed),
        None => builder,
    }
    .build(InMemDataset::new(patches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// Grows by 1/512 per column and by 1/256 per row.
    fn ramp(width: u32, height: u32) -> Rgb32FImage {
        Rgb32FImage::from_fn(width, height, |x, y| {
            Rgb([x as f32 / 512.0 + y as f32 / 256.0; 3])
        })
    }

    #[test]
    fn downscaling_keeps_a_ramp_in_place() {
        for scale in [2, 3, 4] {
            let pair = Pair::new(&ramp(24 * scale + 1, 20 * scale), scale);
            assert_eq!(pair.truth.dimensions(), (24 * scale, 20 * scale));
            assert_eq!(pair.low.dimensions(), (24, 20));
            // away from the borders, where the filter reaches beyond the image
            for (x, y) in (4..20).flat_map(|x| (4..16).map(move |y| (x, y))) {
                // the centre of the pixels that became one
                let [x_high, y_high] = [x, y].map(|at| (at as f32 + 0.5) * scale as f32 - 0.5);
                let expected = x_high / 512.0 + y_high / 256.0;
                let got = pair.low.get_pixel(x, y).0[0];
                // a few roundings of values below 1
                assert!((got - expected).abs() < 1e-6, "x{scale} at ({x}, {y})");
            }
        }
    }

    #[test]
    fn luma_weighs_the_colours() {
        let image = Rgb32FImage::from_fn(3, 1, |x, _| {
            let mut pixel = [0.0; 3];
            pixel[x as usize] = 1.0;
            Rgb(pixel)
        });
        assert_eq!(luma(&image).as_raw(), &[0.299, 0.587, 0.114]);
    }

    #[test]
    fn a_patch_is_the_same_place_at_both_resolutions() {
        for scale in [2, 3, 4] {
            let pair = Pair::new(&ramp(150, 160), scale as u32);
            let patch = Patch::cut(&pair, [5, 9], 0);
            let (low, truth) = (PATCH_SIZE, scale * PATCH_SIZE);
            for (row, column) in [(0, 0), (3, 7), (23, 23)] {
                let pixel = pair.low.get_pixel(9 + column as u32, 5 + row as u32);
                assert_eq!(patch.low[row * low + column], pixel.0[0]);
                let value = patch.truth[scale * row * truth + scale * column];
                let [x, y] = [9 + column, 5 + row].map(|at| (scale * at) as u32);
                assert_eq!(value, pair.truth.get_pixel(x, y).0[0]);
            }
        }
    }

    #[test]
    fn orientations_turn_both_resolutions_alike() {
        let pair = Pair::new(&ramp(100, 80), 2);
        let plain = Patch::cut(&pair, [0, 0], 0);
        for orientation in 1..8 {
            let turned = Patch::cut(&pair, [0, 0], orientation);
            assert_ne!(turned, plain);
            for (turned, plain, size) in [
                (&turned.low, &plain.low, PATCH_SIZE),
                (&turned.truth, &plain.truth, 2 * PATCH_SIZE),
            ] {
                // where the value at row 0, column 1 comes from
                let [mut row, mut column] = [orientation & 1, 1 - (orientation & 1)];
                if orientation & 2 != 0 {
                    row = size - 1 - row;
                }
                if orientation & 4 != 0 {
                    column = size - 1 - column;
                }
                assert_eq!(turned[1], plain[row * size + column]);
            }
        }
    }

    #[test]
    fn photos_train_at_several_sizes() {
        let photos = Source::Folders { files: Vec::new() };
        let built_in = Source::built_in(1);
        // 100 pixels leave no room for a smaller size
        for (source, size, sizes) in [
            (&photos, 200, &[6, 7, 8, 9, 10][..]),
            (&photos, 100, &[10]),
            (&built_in, 200, &[10]),
        ] {
            let columns = Rgb32FImage::from_fn(size, size, |x, _| Rgb([x as f32 / 256.0; 3]));
            let patches = train_patches_of(source, columns, 2, 17, &mut Rng::new(1));
            assert_eq!(patches.len(), 17);
            // The ramp of 1/256 is steeper in a smaller image: tenths of the full size.
            let mut tenths: Vec<_> = patches
                .iter()
                .map(|patch| {
                    let step = |place: usize, to: usize| patch.truth[to] - patch.truth[place];
                    let middle = patch.truth.len() / 2 + 24;
                    let slope = step(middle, middle + 1).abs() + step(middle, middle + 48).abs();
                    (10.0 / (slope * 256.0)).round() as u32
                })
                .collect();
            tenths.sort_unstable();
            tenths.dedup();
            assert_eq!(tenths, sizes, "{size}");
        }
    }

    #[test]
    fn every_fifth_image_validates() {
        let valid: Vec<_> = (0..100).filter(|&index| validates(index)).collect();
        assert_eq!(valid, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]);
    }

    #[test]
    fn a_batch_stacks_its_patches() {
        let pair = Pair::new(&ramp(100, 80), 2);
        let patches = [[0, 0], [3, 4]].map(|place| Patch::cut(&pair, place, 0));
        let batch = PatchBatcher.batch(patches.to_vec(), &Device::default());
        assert_eq!(batch.low.dims(), [2, 1, 24, 24]);
        assert_eq!(batch.truth.dims(), [2, 1, 48, 48]);
        let second = batch.truth.narrow(0, 1, 1).into_data();
        assert_eq!(second.as_slice::<f32>().unwrap(), patches[1].truth);
    }
}
