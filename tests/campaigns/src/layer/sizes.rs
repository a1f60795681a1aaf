//! The sizes of layers with extreme and illegal parameters, against a formula written anew.

use std::sync::atomic::Ordering::Relaxed;

use burn_deconv::{Deconv2dOptions, Geometry, Padding};

use super::Counts;
use crate::draw::Draw;

/// The part of the full map that is the output.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    pub(super) output: usize,
    pub(super) begin: usize,
}

/// The table of the padding rule, written anew from the documents of TensorFlow and PyTorch: `None`
/// if the parameters are not legal, or do not fit the numbers. `lengths` is input, kernel, stride
/// and dilation.
pub(super) fn window(
    lengths: [usize; 4],
    padding: Padding,
    padding_out: usize,
    asked: Option<usize>,
    axis: usize,
) -> Option<Window> {
    let [h, k, s, d] = lengths.map(|length| length as u128);
    let full = ((h - 1) * s).checked_add((k - 1) * d)?.checked_add(1)?;
    let asked = asked.map(|length| length as u128);
    let (output, begin) = match padding {
        Padding::Same | Padding::SameLower => {
            // The sizes from which a strided convolution with SAME padding gives `h`.
            let output = asked.unwrap_or(h * s);
            if output.div_ceil(s) != h {
                return None;
            }
            let crop = full.max(output) - output;
            let smaller = crop / 2;
            (
                output,
                if padding == Padding::Same {
                    smaller
                } else {
                    crop - smaller
                },
            )
        }
        Padding::Valid => {
            let output = asked.unwrap_or((h - 1) * s + ((k - 1) * d + 1).max(s));
            // The sizes from which a strided convolution without padding gives `h`.
            let extent = (k - 1) * d + 1;
            if output < extent || (output - extent) / s + 1 != h {
                return None;
            }
            (output, 0)
        }
        Padding::Explicit(top, left, bottom, right) => {
            let begin = [top, left][axis] as u128;
            let cropped = begin + [bottom, right][axis] as u128;
            let output = match asked {
                Some(output) => {
                    let more = (output + cropped).checked_sub(full)?;
                    if more >= s.max(d) {
                        return None;
                    }
                    output
                }
                None => (full + padding_out as u128).checked_sub(cropped)?,
            };
            if output == 0 || begin >= full {
                return None;
            }
            (output, begin)
        }
    };
    Some(Window {
        output: usize::try_from(output).ok()?,
        begin: usize::try_from(begin).ok()?,
    })
}

/// Extreme and illegal parameters: only the sizes.
pub(super) fn check_sizes(draw: &mut Draw, counts: &Counts) {
    fn number(draw: &mut Draw) -> usize {
        let extremes = [
            0,
            1 << 31,
            1 << 32,
            1 << 62,
            usize::MAX / 2,
            usize::MAX - 1,
            usize::MAX,
        ];
        if draw.below(12) == 0 {
            draw.pick(&extremes)
        } else {
            1 + draw.below(6)
        }
    }
    let mut pair = || [number(draw), number(draw)];
    let ([h, w], [k_h, k_w]) = (pair(), pair());
    let (stride, dilation) = (pair(), pair());
    let ([top, left], [bottom, right]) = (pair(), pair());
    let [groups, c_out] = pair();
    let ([batch, c_in_per_group], size) = (pair(), pair());
    let explicit = Padding::Explicit(top - top.min(2), left - left.min(2), bottom, right);
    let padding = draw.pick(&[Padding::Same, Padding::SameLower, Padding::Valid, explicit]);
    let (padding_out, output_size) = match draw.below(3) {
        0 => ([draw.below(3), draw.below(3)], None),
        1 => ([0, 0], Some(size)),
        _ => ([0, 0], None),
    };
    let c_out = if draw.below(4) == 0 {
        c_out
    } else {
        groups.saturating_mul(c_out)
    };
    let c_in = c_in_per_group.saturating_mul(groups);
    let (input, weight) = ([batch, c_in, h, w], [c_out, c_in_per_group, k_h, k_w]);
    let options = Deconv2dOptions::new()
        .with_stride(stride)
        .with_dilation(dilation)
        .with_groups(groups)
        .with_padding(padding)
        .with_padding_out(padding_out)
        .with_output_size(output_size);
    let got = Geometry::new(input, weight, &options);
    let got = got.ok().map(|geometry| {
        let crops = geometry
            .axes()
            .map(|axis| (axis.crop_begin(), axis.crop_end()));
        (geometry.output_shape(), crops.map(|(begin, _)| begin))
    });
    let expected = expected_sizes(input, weight, &options);
    counts.sizes.fetch_add(1, Relaxed);
    counts.compare("sizes", &(input, weight, &options), &got, &expected);
}

/// The output's shape and the crops at the beginning, if everything is legal.
fn expected_sizes(
    input: [usize; 4],
    weight: [usize; 4],
    options: &Deconv2dOptions,
) -> Option<([usize; 4], [usize; 2])> {
    let [batch, c_in, h, w] = input;
    let [c_out, c_in_per_group, k_h, k_w] = weight;
    let Deconv2dOptions {
        stride,
        dilation,
        groups,
        padding,
        padding_out,
        ..
    } = options.clone();
    let positive = [
        c_in,
        h,
        w,
        c_out,
        k_h,
        k_w,
        groups,
        stride[0],
        stride[1],
        dilation[0],
        dilation[1],
    ];
    let explicit = matches!(padding, Padding::Explicit(..));
    if positive.contains(&0)
        || c_in_per_group.checked_mul(groups) != Some(c_in)
        || c_out % groups != 0
        || (padding_out != [0, 0] && !explicit)
        || [0, 1]
            .iter()
            .any(|&i| padding_out[i] >= stride[i].max(dilation[i]))
    {
        return None;
    }
    let axis = |i: usize, h: usize, k: usize| {
        let asked = options.output_size.map(|size| size[i]);
        window(
            [h, k, stride[i], dilation[i]],
            padding,
            padding_out[i],
            asked,
            i,
        )
    };
    let (height, width) = (axis(0, h, k_h)?, axis(1, w, k_w)?);
    let extents =
        [(k_h, dilation[0]), (k_w, dilation[1])].map(|(k, d)| (k as u128 - 1) * d as u128 + 1);
    let fulls = [(h, stride[0], extents[0]), (w, stride[1], extents[1])]
        .map(|(h, s, extent)| (h as u128 - 1) * s as u128 + extent);
    // Every legal size must fit a `usize`, the largest one too.
    if (0..2).any(|i| fulls[i] + stride[i].max(dilation[i]) as u128 > usize::MAX as u128) {
        return None;
    }
    let filled = [0, 1].map(|i| fulls[i] + extents[i] - 1);
    let wide = |length: usize| length as u128;
    let n = wide(batch.max(1));
    let tensors = [
        [wide(c_out), wide(c_in_per_group), wide(k_h), wide(k_w)],
        [n, wide(c_in), filled[0], filled[1]],
        [n, wide(c_out), fulls[0], fulls[1]],
        [n, wide(c_out), wide(height.output), wide(width.output)],
        [n, wide(c_out), wide(k_h) * wide(k_w), wide(h) * wide(w)],
    ];
    let most = isize::MAX as u128 / 8;
    let fits = |shape: &[u128; 4]| {
        let elements = shape
            .iter()
            .try_fold(1, |product: u128, &length| product.checked_mul(length));
        elements.is_some_and(|elements| elements <= most)
    };
    let output = [batch, c_out, height.output, width.output];
    tensors
        .iter()
        .all(fits)
        .then_some((output, [height.begin, width.begin]))
}
