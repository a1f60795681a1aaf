//! Bicubic enlargement by a whole number, for the channels that the network does not enlarge.

/// Taps of one output value.
const TAPS: usize = 4;

/// The weights of the four nearest input values, for each of the `scale` output values that fall
/// between two input values (Keys 1981, a = -1/2: what the literature calls bicubic).
fn weights(scale: usize) -> Vec<(isize, [f32; TAPS])> {
    let weight = |phase: usize| {
        // where the output value's centre is, in input values from the centre of value 0
        let centre = (phase as f32 + 0.5) / scale as f32 - 0.5;
        let first = centre.floor() as isize - 1;
        let taps = std::array::from_fn(|tap| keys((centre - (first + tap as isize) as f32).abs()));
        (first, taps)
    };
    (0..scale).map(weight).collect()
}

fn keys(x: f32) -> f32 {
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Enlarges one channel. At a border, the outermost values are repeated.
///
/// # Shapes
///
/// - plane: `[h, w]`
/// - output: `[scale * h, scale * w]`
pub fn enlarge_plane(plane: &[f32], [height, width]: [usize; 2], scale: usize) -> Vec<f32> {
    let weights = weights(scale);
    // [h, scale * w]
    let mut wide = vec![0.0; height * width * scale];
    for (row, wide) in plane
        .chunks_exact(width)
        .zip(wide.chunks_exact_mut(width * scale))
    {
        for (x, values) in wide.chunks_exact_mut(scale).enumerate() {
            for (value, (first, taps)) in values.iter_mut().zip(&weights) {
                for (tap, weight) in taps.iter().enumerate() {
                    *value += weight * row[clamped(x as isize + first + tap as isize, width)];
                }
            }
        }
    }
    let mut output = vec![0.0; wide.len() * scale];
    for (y, row) in output.chunks_exact_mut(width * scale).enumerate() {
        let (first, taps) = &weights[y % scale];
        for (tap, weight) in taps.iter().enumerate() {
            let from = clamped((y / scale) as isize + first + tap as isize, height);
            let from = &wide[from * width * scale..][..width * scale];
            for (value, from) in row.iter_mut().zip(from) {
                *value += weight * from;
            }
        }
    }
    output
}

fn clamped(at: isize, length: usize) -> usize {
    at.clamp(0, length as isize - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::imageops::{FilterType, resize};
    use image::{ImageBuffer, Luma};

    #[test]
    fn inside_it_is_the_catmull_rom_of_the_image_crate() {
        let [height, width] = [13, 17];
        // The crate clamps to 0 to 1 after each axis: far from both.
        let value = |x: usize, y: usize| 0.35 + ((x * 7 + y * y * 3) % 11) as f32 * 0.03;
        let plane: Vec<_> = (0..height)
            .flat_map(|y| (0..width).map(move |x| value(x, y)))
            .collect();
        let image =
            ImageBuffer::<Luma<f32>, _>::from_raw(width as u32, height as u32, plane.clone());
        let image = image.unwrap();
        for scale in [2, 3, 4] {
            let ours = enlarge_plane(&plane, [height, width], scale);
            let [h, w] = [scale * height, scale * width];
            let theirs = resize(&image, w as u32, h as u32, FilterType::CatmullRom).into_raw();
            // theirs leaves out what is beyond the border and scales the rest up
            for (y, x) in (2 * scale..h - 2 * scale)
                .flat_map(|y| (2 * scale..w - 2 * scale).map(move |x| (y, x)))
            {
                // a few roundings of values below 2
                let difference = (ours[y * w + x] - theirs[y * w + x]).abs();
                assert!(difference < 2e-6, "x{scale} at ({x}, {y}): {difference}");
            }
        }
    }

    #[test]
    fn a_constant_stays_one_up_to_the_border() {
        for scale in [2, 3, 4] {
            let output = enlarge_plane(&[0.75; 6], [2, 3], scale);
            assert_eq!(output.len(), 6 * scale * scale);
            // the weights sum to 1 but for rounding
            assert!(output.iter().all(|value| (value - 0.75).abs() < 1e-6));
        }
    }
}
