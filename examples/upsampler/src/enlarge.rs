//! Enlarges pixels: luma with the network, chroma and alpha with bicubic interpolation (or chroma
//! with a network of three channels).

use std::time::{Duration, Instant};

use crate::bicubic::enlarge_plane;
use crate::error::PictureError;
use crate::network::Network;
use crate::picture::Pixels;
use crate::stop::Stop;
use crate::tiles::{Tile, tiles};

/// The network is never given fewer pixels around a tile than bicubic interpolation needs.
const MIN_REACH: usize = 2;

/// How far the colour of visible pixels is carried into transparent ones.
const BLEED: usize = 8;

/// Enlarges pictures, tile by tile.
pub struct Enlarger<'a> {
    pub network: &'a Network,
    /// Height and width of a tile at low resolution.
    pub tile_size: usize,
    pub stop: Stop,
}

/// Where the time goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub network: Duration,
    /// Colours to planes and back, and bicubic interpolation.
    pub pixels: Duration,
}

/// A tile's channels, in 0 to 1; each `[h, w]`.
struct Planes {
    /// Y, and with a network of three channels or a colour picture Cb, Cr.
    colour: Vec<Vec<f32>>,
    alpha: Option<Vec<f32>>,
}

impl Enlarger<'_> {
    /// Enlarges a picture. After each tile, `done` is told how many pixels it had.
    ///
    /// # Errors
    ///
    /// There is not enough memory for the output, or the user has stopped the program.
    pub fn enlarge(
        &self,
        low: &Pixels,
        mut done: impl FnMut(usize),
    ) -> Result<(Pixels, Timings), PictureError> {
        let bled = low.has_alpha().then(|| bleed(low));
        let low = bled.as_ref().unwrap_or(low);
        let mut high = low.enlarged_blank(self.network.scale)?;
        let mut timings = Timings::default();
        for tile in tiles([low.height, low.width], self.tile_size) {
            if self.stop.is_requested() {
                return Err(PictureError::Stopped);
            }
            self.enlarge_tile(low, &tile, &mut high, &mut timings);
            done(tile.pixels());
        }
        Ok((high, timings))
    }

    fn enlarge_tile(&self, low: &Pixels, tile: &Tile, high: &mut Pixels, timings: &mut Timings) {
        let started = Instant::now();
        let scale = self.network.scale;
        let outer = tile.with_margin(self.network.reach.max(MIN_REACH), [low.height, low.width]);
        let planes = planes(low, &outer, self.network.channels);
        let by_network = planes.colour[..self.network.channels].concat();

        let network_started = Instant::now();
        let by_network = self.network.apply(by_network, outer.size());
        let network = network_started.elapsed();

        let bicubic = |plane: &Vec<f32>| enlarge_plane(plane, outer.size(), scale);
        let [rows, columns] = outer.size().map(|size| size * scale);
        let mut colour: Vec<_> = by_network.chunks_exact(rows * columns).collect();
        let chroma: Vec<_> = planes.colour[self.network.channels..]
            .iter()
            .map(bicubic)
            .collect();
        colour.extend(chroma.iter().map(Vec::as_slice));
        let alpha = planes.alpha.as_ref().map(bicubic);

        let inner = tile.within(&outer).times(scale);
        let tile = tile.times(scale);
        for (y, from_row) in tile.rows.zip(inner.rows) {
            for (x, from_column) in tile.columns.clone().zip(inner.columns.clone()) {
                let from = from_row * columns + from_column;
                let to = (y * high.width + x) * high.channels;
                if high.is_grey() {
                    high.set_sample(to, colour[0][from]);
                } else {
                    let ycbcr = [colour[0][from], colour[1][from], colour[2][from]];
                    for (channel, value) in rgb(ycbcr).into_iter().enumerate() {
                        high.set_sample(to + channel, value);
                    }
                }
                if let Some(alpha) = &alpha {
                    high.set_sample(to + high.channels - 1, alpha[from]);
                }
            }
        }
        timings.network += network;
        timings.pixels += started.elapsed() - network;
    }

    /// The largest difference, in 0 to 1, between the network's answer in tiles and in one piece,
    /// over the central `size x size` pixels (or the whole picture, if it is smaller).
    pub fn seam(&self, low: &Pixels, size: usize) -> f32 {
        let part = Tile {
            rows: centre(low.height, size),
            columns: centre(low.width, size),
        };
        let [height, width] = part.size();
        // Small enough for seams in both directions.
        let tile_size = self.tile_size.min(height.max(width).div_ceil(3));
        let mut planes = planes(low, &part, self.network.channels).colour;
        planes.truncate(self.network.channels);
        let whole = self.network.apply(planes.concat(), part.size());
        let tiled = self.network.apply_in_tiles(&planes, part.size(), tile_size);
        let differences = whole.iter().zip(&tiled).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    }
}

fn centre(length: usize, size: usize) -> std::ops::Range<usize> {
    let size = length.min(size);
    let start = (length - size) / 2;
    start..start + size
}

/// The channels of a part of a picture. A grey picture has chroma only if the network wants it.
fn planes(pixels: &Pixels, part: &Tile, network_channels: usize) -> Planes {
    let channels = network_channels.max(if pixels.is_grey() { 1 } else { 3 });
    let mut colour = vec![Vec::with_capacity(part.pixels()); channels];
    let mut alpha = pixels
        .has_alpha()
        .then(|| Vec::with_capacity(part.pixels()));
    for y in part.rows.clone() {
        for x in part.columns.clone() {
            let at = (y * pixels.width + x) * pixels.channels;
            let ycbcr = if pixels.is_grey() {
                [pixels.sample(at), CHROMA_CENTRE, CHROMA_CENTRE]
            } else {
                ycbcr([0, 1, 2].map(|channel| pixels.sample(at + channel)))
            };
            for (plane, value) in colour.iter_mut().zip(ycbcr) {
                plane.push(value);
            }
            if let Some(alpha) = &mut alpha {
                alpha.push(pixels.sample(at + pixels.channels - 1));
            }
        }
    }
    Planes { colour, alpha }
}

/// The chroma of grey.
const CHROMA_CENTRE: f32 = 128.0 / 255.0;

/// Red, green, blue to luma and chroma as in JPEG (ITU-T T.871), all in 0 to 1.
pub fn ycbcr([r, g, b]: [f32; 3]) -> [f32; 3] {
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    [
        y,
        (b - y) / 1.772 + CHROMA_CENTRE,
        (r - y) / 1.402 + CHROMA_CENTRE,
    ]
}

/// The inverse of [`ycbcr`].
pub fn rgb([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    let [cb, cr] = [cb - CHROMA_CENTRE, cr - CHROMA_CENTRE];
    [
        y + 1.402 * cr,
        y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587,
        y + 1.772 * cb,
    ]
}

/// Gives transparent pixels near visible ones the colour of these: programs leave any colour in
/// them, often black, and enlargement would mix it into the edge.
fn bleed(pixels: &Pixels) -> Pixels {
    let mut bled = pixels.clone();
    let channels = pixels.channels;
    let count = pixels.height * pixels.width;
    let mut has_colour: Vec<bool> = (0..count)
        .map(|pixel| pixels.sample(pixel * channels + channels - 1) > 0.0)
        .collect();
    for _ in 0..BLEED {
        let mut reached = Vec::new();
        for pixel in (0..count).filter(|&pixel| !has_colour[pixel]) {
            let mut sum = [0.0; 3];
            let mut neighbours = 0;
            for neighbour in neighbours_of(pixel, pixels) {
                if has_colour[neighbour] {
                    neighbours += 1;
                    for (channel, sum) in sum[..channels - 1].iter_mut().enumerate() {
                        *sum += bled.sample(neighbour * channels + channel);
                    }
                }
            }
            if neighbours > 0 {
                reached.push((pixel, sum.map(|sum| sum / neighbours as f32)));
            }
        }
        if reached.is_empty() {
            break;
        }
        for (pixel, colour) in reached {
            has_colour[pixel] = true;
            for (channel, value) in colour[..channels - 1].iter().enumerate() {
                bled.set_sample(pixel * channels + channel, *value);
            }
        }
    }
    bled
}

/// The pixels around a pixel, up to eight.
fn neighbours_of(pixel: usize, pixels: &Pixels) -> impl Iterator<Item = usize> {
    let [y, x] = [pixel / pixels.width, pixel % pixels.width];
    let [height, width] = [pixels.height, pixels.width];
    let rows = y.saturating_sub(1)..(y + 2).min(height);
    rows.flat_map(move |row| {
        (x.saturating_sub(1)..(x + 2).min(width)).map(move |column| row * width + column)
    })
    .filter(move |&neighbour| neighbour != pixel)
}
