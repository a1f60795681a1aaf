//! The built-in images: scenes painted from a seed. Each has sharp edges at many angles, strokes,
//! stripes, texture and gradients.

use std::f32::consts::TAU;

use image::{Rgb, Rgb32FImage};

use crate::font::{ADVANCE, GLYPH_SIZE, dot};
use crate::rng::Rng;

/// Height and width of a built-in image.
pub const SCENE_SIZE: u32 = 256;

/// A pixel is the mean over this many points along each axis.
const SAMPLES: u32 = 3;

type Colour = [f32; 3];

/// What covers a point, in coordinates along the layer's own axes.
enum Shape {
    Everywhere,
    Box { half: [f32; 2] },
    Ellipse { half: [f32; 2] },
    Ring { radius: f32, width: f32 },
    Star { radius: f32, rays: f32 },
    Text { line: Vec<u8>, dot_size: f32 },
}

/// The colour of a covered point, in the same coordinates.
enum Paint {
    Gradient {
        from: Colour,
        to: Colour,
        length: f32,
    },
    Stripes {
        colours: [Colour; 2],
        period: f32,
    },
    Texture {
        base: Colour,
        contrast: f32,
        cell: f32,
        seed: u64,
    },
}

/// A painted shape, turned about its centre.
struct Layer {
    centre: [f32; 2],
    /// Cosine and sine of the angle.
    turn: [f32; 2],
    shape: Shape,
    paint: Paint,
}

/// Paints the scene of a seed.
///
/// # Shapes
///
/// - output: `[SCENE_SIZE, SCENE_SIZE]` pixels of RGB in 0 to 1
pub fn scene(seed: u64) -> Rgb32FImage {
    let mut rng = Rng::new(seed);
    let layers = layers(&mut rng);
    Rgb32FImage::from_fn(SCENE_SIZE, SCENE_SIZE, |x, y| {
        let mut sum = [0.0; 3];
        for sample in 0..SAMPLES * SAMPLES {
            let [dx, dy] = [sample % SAMPLES, sample / SAMPLES]
                .map(|step| (step as f32 + 0.5) / SAMPLES as f32);
            let point = [x as f32 + dx, y as f32 + dy];
            let colour = layers
                .iter()
                .rev()
                .find_map(|layer| layer.colour(point))
                .unwrap_or_default();
            sum = std::array::from_fn(|c| sum[c] + colour[c]);
        }
        Rgb(sum.map(|value| (value / (SAMPLES * SAMPLES) as f32).clamp(0.0, 1.0)))
    })
}

/// The layers of a scene, from the back to the front.
fn layers(rng: &mut Rng) -> Vec<Layer> {
    let mut layers = vec![Layer::random(rng, |rng| {
        (Shape::Everywhere, gradient(rng, SCENE_SIZE as f32))
    })];
    for _ in 0..3 {
        layers.push(Layer::random(rng, |rng| (large(rng), texture(rng))));
    }
    for _ in 0..5 {
        layers.push(Layer::random(rng, |rng| (large(rng), gradient(rng, 60.0))));
    }
    for _ in 0..2 {
        layers.push(Layer::random(rng, |rng| (large(rng), stripes(rng))));
    }
    layers.push(Layer::random(rng, |rng| {
        let (radius, rays) = (rng.range(25.0, 45.0), rng.range(7.0, 16.0).floor());
        (Shape::Star { radius, rays }, gradient(rng, 60.0))
    }));
    for _ in 0..4 {
        layers.push(Layer::random(rng, |rng| {
            let (radius, width) = (rng.range(6.0, 40.0), rng.range(0.7, 3.0));
            (Shape::Ring { radius, width }, gradient(rng, 60.0))
        }));
        layers.push(Layer::random(rng, |rng| {
            let half = [rng.range(20.0, 90.0), rng.range(0.4, 1.5)];
            (Shape::Box { half }, gradient(rng, 60.0))
        }));
        layers.push(Layer::random(rng, |rng| {
            let line = (0..12).map(|_| b'A' + rng.below(26) as u8).collect();
            let dot_size = rng.range(1.2, 3.0);
            (Shape::Text { line, dot_size }, gradient(rng, 200.0))
        }));
    }
    layers
}

fn large(rng: &mut Rng) -> Shape {
    let half = [rng.range(15.0, 60.0), rng.range(15.0, 60.0)];
    if rng.below(2) == 0 {
        Shape::Box { half }
    } else {
        Shape::Ellipse { half }
    }
}

fn colour(rng: &mut Rng) -> Colour {
    let grey = rng.range(0.0, 1.0);
    std::array::from_fn(|_| (grey + rng.range(-0.3, 0.3)).clamp(0.02, 0.98))
}

fn gradient(rng: &mut Rng, length: f32) -> Paint {
    let from = colour(rng);
    let to = from.map(|value| value + rng.range(-0.25, 0.25));
    Paint::Gradient { from, to, length }
}

fn stripes(rng: &mut Rng) -> Paint {
    let colours = [colour(rng), colour(rng)];
    Paint::Stripes {
        colours,
        period: rng.range(3.5, 14.0),
    }
}

fn texture(rng: &mut Rng) -> Paint {
    Paint::Texture {
        base: colour(rng),
        contrast: rng.range(0.1, 0.35),
        cell: rng.range(1.5, 6.0),
        seed: rng.bits(),
    }
}

impl Layer {
    /// A layer at a random place and angle.
    fn random(rng: &mut Rng, draw: impl FnOnce(&mut Rng) -> (Shape, Paint)) -> Self {
        let size = SCENE_SIZE as f32;
        let (sin, cos) = rng.range(0.0, TAU).sin_cos();
        let centre = [rng.range(0.0, size), rng.range(0.0, size)];
        let (shape, paint) = draw(rng);
        Self {
            centre,
            turn: [cos, sin],
            shape,
            paint,
        }
    }

    /// The colour of a point in pixels, `None` where the layer does not cover it.
    fn colour(&self, point: [f32; 2]) -> Option<Colour> {
        let [x, y] = [point[0] - self.centre[0], point[1] - self.centre[1]];
        let [cos, sin] = self.turn;
        let local = [x * cos + y * sin, y * cos - x * sin];
        self.shape.covers(local).then(|| self.paint.colour(local))
    }
}

impl Shape {
    fn covers(&self, [x, y]: [f32; 2]) -> bool {
        match self {
            Shape::Everywhere => true,
            Shape::Box { half } => x.abs() < half[0] && y.abs() < half[1],
            Shape::Ellipse { half } => (x / half[0]).powi(2) + (y / half[1]).powi(2) < 1.0,
            Shape::Ring { radius, width } => (x.hypot(y) - radius).abs() < width / 2.0,
            Shape::Star { radius, rays } => {
                x.hypot(y) < *radius && (y.atan2(x) / TAU * rays).rem_euclid(1.0) < 0.5
            }
            Shape::Text { line, dot_size } => {
                let [height, width] = [GLYPH_SIZE[0], line.len() * ADVANCE];
                let column = (x / dot_size + width as f32 / 2.0).floor();
                let row = (y / dot_size + height as f32 / 2.0).floor();
                column >= 0.0 && row >= 0.0 && dot(line, row as usize, column as usize)
            }
        }
    }
}

impl Paint {
    fn colour(&self, [x, y]: [f32; 2]) -> Colour {
        match self {
            Paint::Gradient { from, to, length } => {
                let way = (x / length + 0.5).clamp(0.0, 1.0);
                std::array::from_fn(|c| from[c] + way * (to[c] - from[c]))
            }
            Paint::Stripes { colours, period } => {
                colours[usize::from((x / period).rem_euclid(1.0) < 0.5)]
            }
            Paint::Texture {
                base,
                contrast,
                cell,
                seed,
            } => {
                let noise = noise([x / cell, y / cell], *seed) - 0.5;
                base.map(|value| (value + 2.0 * contrast * noise).clamp(0.0, 1.0))
            }
        }
    }
}

/// Smooth noise of 0 to 1: a random value at each whole point, blended in between.
fn noise([x, y]: [f32; 2], seed: u64) -> f32 {
    let [left, top] = [x.floor(), y.floor()];
    let [across, down] = [x - left, y - top].map(|way| way * way * (3.0 - 2.0 * way));
    let at = |dx: i64, dy: i64| {
        let place = (left as i64 + dx) as u64 ^ ((top as i64 + dy) as u64).rotate_left(32);
        Rng::new(seed ^ place).range(0.0, 1.0)
    };
    let blend = |from: f32, to: f32, way: f32| from + way * (to - from);
    blend(
        blend(at(0, 0), at(1, 0), across),
        blend(at(0, 1), at(1, 1), across),
        down,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_image() {
        assert!(scene(3) == scene(3));
        assert!(scene(3) != scene(4));
    }

    #[test]
    fn values_are_colours_and_not_flat() {
        let scene = scene(0);
        let values = scene.as_raw();
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f32>();
        assert!(variance / values.len() as f32 > 0.01);
    }
}
