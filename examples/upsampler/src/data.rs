//! From images to batches: each image at both sizes, the split into training and validation, and
//! the patches.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Tensor, TensorData};
use image::Rgb32FImage;
use image::imageops::{FilterType, crop_imm, resize};

use crate::error::UpsamplerError;
use crate::images::Source;
use crate::rng::Rng;

/// From the low resolution to the high one.
pub const SCALE: u32 = 2;

/// Height and width of a patch at low resolution.
const PATCH_SIZE: usize = 24;

/// An image must hold one patch.
pub const MIN_IMAGE_SIZE: u32 = SCALE * PATCH_SIZE as u32;

/// One image in `VALID_EVERY` is for validation, up to `MAX_VALID` images; the others train.
const VALID_EVERY: usize = 5;
const MAX_VALID: usize = 12;

/// The number of patches in the validation loss.
const VALID_PATCHES: usize = 128;

/// An image at both resolutions.
pub struct Pair {
    pub name: String,
    /// `[h, w]` pixels: the truth, downscaled.
    pub low: Rgb32FImage,
    /// `[SCALE * h, SCALE * w]` pixels.
    pub truth: Rgb32FImage,
}

impl Pair {
    /// Crops the last row or column if their number is odd, and downscales with antialiasing.
    pub fn new(name: String, image: &Rgb32FImage) -> Self {
        let [width, height] = [image.width(), image.height()].map(|size| size / SCALE);
        let truth = crop_imm(image, 0, 0, width * SCALE, height * SCALE).to_image();
        let low = resize(&truth, width, height, FilterType::CatmullRom);
        Self { name, low, truth }
    }

    /// The low resolution image, enlarged to the truth's size without a network.
    pub fn enlarged(&self, filter: FilterType) -> Rgb32FImage {
        resize(&self.low, self.truth.width(), self.truth.height(), filter)
    }
}

/// A square from the same place of both images of a [`Pair`], turned and mirrored in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// `[3, PATCH_SIZE, PATCH_SIZE]`
    low: Vec<f32>,
    /// `[3, SCALE * PATCH_SIZE, SCALE * PATCH_SIZE]`
    truth: Vec<f32>,
}

/// Patches as tensors.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[n, 3, PATCH_SIZE, PATCH_SIZE]`
    pub low: Tensor<4>,
    /// `[n, 3, SCALE * PATCH_SIZE, SCALE * PATCH_SIZE]`
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
    train_patches: usize,
    seed: u64,
) -> Result<(Patches, Vec<Pair>), UpsamplerError> {
    let mut rng = Rng::new(seed);
    let valid_count = (0..source.len()).filter(|&index| validates(index)).count();
    let train_count = source.len() - valid_count;
    let mut patches = Patches::default();
    let mut valid_images = Vec::new();
    let mut usable = 0;
    for index in 0..source.len() {
        let pair = match source.image(index) {
            Ok((name, image)) => Pair::new(name, &image),
            Err(reason) => {
                eprintln!("{reason}");
                continue;
            }
        };
        let mut random = |count| {
            (0..count)
                .map(|_| Patch::random(&pair, &mut rng))
                .collect::<Vec<_>>()
        };
        if validates(usable) {
            patches
                .valid
                .extend(random(VALID_PATCHES.div_ceil(valid_count)));
            valid_images.push(pair);
        } else {
            patches
                .train
                .extend(random(train_patches.div_ceil(train_count)));
        }
        usable += 1;
    }
    source.check_usable(usable)?;
    Ok((patches, valid_images))
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
        let scale = SCALE as usize;
        let cut = |image: &Rgb32FImage, [top, left]: [usize; 2], size: usize| {
            let mut values = vec![0.0; 3 * size * size];
            for (index, value) in values.iter_mut().enumerate() {
                let [channel, row, column] =
                    [index / size / size, index / size % size, index % size];
                let turn = |at, around| if around { size - 1 - at } else { at };
                let [row, column] = if orientation & 1 == 0 {
                    [row, column]
                } else {
                    [column, row]
                };
                let row = top + turn(row, orientation & 2 != 0);
                let column = left + turn(column, orientation & 4 != 0);
                *value = image.get_pixel(column as u32, row as u32).0[channel];
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
        let stack = |values: Vec<f32>, size: usize| {
            Tensor::from_data(
                TensorData::new(values, [patches.len(), 3, size, size]),
                device,
            )
        };
        let low = patches
            .iter()
            .flat_map(|patch| patch.low.iter().copied())
            .collect();
        let truth = patches
            .iter()
            .flat_map(|patch| patch.truth.iter().copied())
            .collect();
        Batch {
            low: stack(low, PATCH_SIZE),
            truth: stack(truth, SCALE as usize * PATCH_SIZE),
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

    /// Red grows by 1/256 per column, green by 1/256 per row.
    fn ramp(width: u32, height: u32) -> Rgb32FImage {
        Rgb32FImage::from_fn(width, height, |x, y| {
            Rgb([x as f32 / 256.0, y as f32 / 256.0, 0.5])
        })
    }

    #[test]
    fn down_and_up_again_keeps_a_ramp_in_place() {
        let pair = Pair::new("ramp".into(), &ramp(101, 80));
        assert_eq!(pair.truth.dimensions(), (100, 80));
        assert_eq!(pair.low.dimensions(), (50, 40));
        for filter in [FilterType::Triangle, FilterType::CatmullRom] {
            let enlarged = pair.enlarged(filter);
            assert_eq!(enlarged.dimensions(), (100, 80));
            // away from the borders, where the filters reach beyond the image
            for (x, y) in (8..92).flat_map(|x| (8..72).map(move |y| (x, y))) {
                let [got, expected] = [&enlarged, &pair.truth].map(|image| image.get_pixel(x, y).0);
                for (got, expected) in got.into_iter().zip(expected) {
                    // a few roundings of values below 1
                    assert!((got - expected).abs() < 1e-6, "{filter:?} at ({x}, {y})");
                }
            }
        }
    }

    #[test]
    fn a_patch_is_the_same_place_at_both_resolutions() {
        let pair = Pair::new("ramp".into(), &ramp(100, 80));
        let patch = Patch::cut(&pair, [5, 9], 0);
        let (low, truth) = (PATCH_SIZE, 2 * PATCH_SIZE);
        for (channel, row, column) in [(0, 0, 0), (0, 3, 7), (1, 3, 7), (1, 23, 23)] {
            let value = patch.low[(channel * low + row) * low + column];
            let pixel = pair.low.get_pixel(9 + column as u32, 5 + row as u32);
            assert_eq!(value, pixel.0[channel]);
            let value = patch.truth[(channel * truth + 2 * row) * truth + 2 * column];
            let pixel = pair
                .truth
                .get_pixel(2 * (9 + column as u32), 2 * (5 + row as u32));
            assert_eq!(value, pixel.0[channel]);
        }
    }

    #[test]
    fn orientations_turn_both_resolutions_alike() {
        let pair = Pair::new("ramp".into(), &ramp(100, 80));
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
                for channel in [0, size * size] {
                    assert_eq!(turned[channel + 1], plain[channel + row * size + column]);
                }
            }
        }
    }

    #[test]
    fn every_fifth_image_validates() {
        let valid: Vec<_> = (0..100).filter(|&index| validates(index)).collect();
        assert_eq!(valid, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]);
    }

    #[test]
    fn a_batch_stacks_its_patches() {
        let pair = Pair::new("ramp".into(), &ramp(100, 80));
        let patches = [[0, 0], [3, 4]].map(|place| Patch::cut(&pair, place, 0));
        let batch = PatchBatcher.batch(patches.to_vec(), &Device::default());
        assert_eq!(batch.low.dims(), [2, 3, 24, 24]);
        assert_eq!(batch.truth.dims(), [2, 3, 48, 48]);
        let second = batch.truth.narrow(0, 1, 1).into_data();
        assert_eq!(second.as_slice::<f32>().unwrap(), patches[1].truth);
    }
}
