//! The input with its channels side by side, as the lanes of the weight's gradient; and the way back, from
//! sums with the channels side by side to the gradient.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tuning::MIN_VALUES_PER_JOB;
use crate::vectors::{as_uninit, load, store, take_all_turns};

/// Transposes the input to `[group][block of channels][map, position][channel]`, with blocks of
/// `block` channels; anything past a group's last channel. Nothing, if a value is infinite or NaN.
pub(crate) fn transpose<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    block: usize,
    input: &[T],
) -> Option<Buffer<T>> {
    let (plane, c_in) = (problem.input_plane(), problem.group_c_in());
    let blocks = c_in.div_ceil(block);
    let mut transposed = Buffer::new(problem.groups * blocks * problem.batch * plane * block);
    let positions = MIN_VALUES_PER_JOB / block;
    let mut jobs = Vec::new();
    for (i, to) in transposed.chunks_mut(plane * block).enumerate() {
        let (block_index, map) = (i / problem.batch, i % problem.batch);
        let (group, channel) = (block_index / blocks, block_index % blocks * block);
        let first = (map * problem.groups + group) * c_in + channel;
        for (piece, to) in to.chunks_mut(positions * block).enumerate() {
            jobs.push(Transpose {
                planes: &input[first * plane..],
                plane,
                channels: block.min(c_in - channel),
                position: piece * positions,
                block,
                to,
            });
        }
    }
    let finite = AtomicBool::new(true);
    threads.each(jobs.into_iter(), |job| {
        finite.fetch_and(arch.dispatch(job), Ordering::Relaxed);
    });
    finite.into_inner().then_some(transposed)
}

/// Writes some planes position by position.
struct Transpose<'a, T> {
    planes: &'a [T],
    /// Values of a plane.
    plane: usize,
    channels: usize,
    /// The first position.
    position: usize,
    /// From a position to the next.
    block: usize,
    /// `[position][block]`
    to: &'a mut [T],
}

impl<T: Element> WithSimd for Transpose<'_, T> {
    /// Whether all values are finite.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> bool {
        let positions = self.to.len() / self.block;
        let lanes = T::lanes::<S>();
        let mut finite = true;
        for first in (0..self.channels).step_by(lanes) {
            let (squares, are_finite) = match lanes {
                16 => self.squares::<S, 16>(simd, first),
                8 => self.squares::<S, 8>(simd, first),
                4 => self.squares::<S, 4>(simd, first),
                _ => (0, true),
            };
            finite &= are_finite;
            for channel in first..self.channels.min(first + lanes) {
                let from = &self.planes[channel * self.plane + self.position..][..positions];
                for (at, from) in from.iter().enumerate().skip(squares * lanes) {
                    finite &= from.below(T::INFINITY);
                    self.to[at * self.block + channel] = *from;
                }
            }
        }
        finite
    }
}

impl<T: Element> Transpose<'_, T> {
    /// Transposes `N` channels, `N` positions at a time. Lanes past the last channel take its values.
    /// Returns how many times, and whether all values are finite.
    #[inline(always)]
    fn squares<S: Simd, const N: usize>(&mut self, simd: S, first: usize) -> (usize, bool) {
        let count = self.to.len() / self.block / N;
        let zero = T::splat(simd, T::default());
        // Zero, or NaN after a value that is not finite.
        let mut zeros = zero;
        for at in (0..count).map(|i| i * N) {
            let rows: [T::Vector<S>; N] = core::array::from_fn(|row| {
                let channel = (first + row).min(self.channels - 1);
                let from = channel * self.plane + self.position + at;
                load::<S, T>(simd, self.planes, from)
            });
            for row in rows {
                zeros = T::mul_add(simd, row, zero, zeros);
            }
            for (row, vector) in take_all_turns::<S, T, N>(simd, rows)
                .into_iter()
                .enumerate()
            {
                let to = (at + row) * self.block + first;
                store::<S, T>(simd, as_uninit(self.to), to, vector);
            }
        }
        (count, T::sum_lanes(simd, zeros).below(T::INFINITY))
    }
}

/// The weight's gradient `[o][c][tap]` from its sums: those of one output channel and tap begin at the tap's
/// place, channel by channel, with whole vectors of channels. A tap without a place meets no value.
pub(crate) fn reorder<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    places: &[Option<usize>],
    sums: &[T],
) -> Vec<T> {
    let kernels = problem.group_c_in() * problem.taps();
    let mut grad = vec![T::default(); problem.c_out * kernels];
    let at_once = 1 + MIN_VALUES_PER_JOB / kernels;
    let sums = sums.chunks(at_once * (sums.len() / problem.c_out));
    let jobs = grad.chunks_mut(at_once * kernels).zip(sums);
    threads.each(jobs, |(grad, sums)| {
        arch.dispatch(Reorder {
            places,
            channels: problem.group_c_in(),
            sums,
            grad,
        });
    });
    grad
}

/// Writes the gradient of some output channels.
struct Reorder<'a, T> {
    /// Where the sums of each tap begin.
    places: &'a [Option<usize>],
    channels: usize,
    sums: &'a [T],
    grad: &'a mut [T],
}

impl<T: Element> WithSimd for Reorder<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (channels, places) = (self.channels, self.places);
        let kernels = channels * places.len();
        let stride = self.sums.len() / (self.grad.len() / kernels);
        let outputs = self.grad.chunks_exact_mut(kernels);
        for (grad, sums) in outputs.zip(self.sums.chunks_exact(stride)) {
            if let [Some(place)] = places {
                grad.copy_from_slice(&sums[*place..][..channels]);
                continue;
            }
            match T::lanes::<S>() {
                16 => kernels_of::<S, T, 16>(simd, channels, places, sums, grad),
                8 => kernels_of::<S, T, 8>(simd, channels, places, sums, grad),
                4 => kernels_of::<S, T, 4>(simd, channels, places, sums, grad),
                _ => {
                    for (c, grad) in grad.chunks_exact_mut(places.len()).enumerate() {
                        for (grad, place) in grad.iter_mut().zip(places) {
                            *grad = place.map_or(T::default(), |place| sums[place + c]);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the gradient of one output channel, `N` channels by `N` taps at a time. Where there are fewer taps,
/// a vector reaches into the next channel, which is written later.
#[inline(always)]
fn kernels_of<S: Simd, T: Element, const N: usize>(
    simd: S,
    channels: usize,
    places: &[Option<usize>],
    sums: &[T],
    grad: &mut [T],
) {
    let taps = places.len();
    for first in (0..channels).step_by(N) {
        for tap in (0..taps).step_by(N).rev() {
            let rows: [T::Vector<S>; N] =
                core::array::from_fn(|row| match places[(tap + row).min(taps - 1)] {
                    Some(place) => load::<S, T>(simd, sums, place + first),
                    None => T::splat(simd, T::default()),
                });
            let rows = take_all_turns::<S, T, N>(simd, rows);
            for (channel, vector) in (first..channels).zip(rows) {
                let at = channel * taps + tap;
                if at + N <= grad.len() {
                    store::<S, T>(simd, as_uninit(grad), at, vector);
                } else {
                    for (grad, place) in grad[at..(channel + 1) * taps]
                        .iter_mut()
                        .zip(&places[tap..])
                    {
                        *grad = place.map_or(T::default(), |place| sums[place + channel]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Axis;
    use crate::tests::archs;

    #[test]
    fn each_value_goes_to_its_place_and_must_be_finite() {
        let axis = |input| Axis {
            input,
            kernel: 1,
            stride: 1,
            dilation: 1,
            crop_begin: 0,
            output: input,
        };
        let problem = Problem {
            batch: 2,
            groups: 2,
            c_in: 38,
            c_out: 2,
            axes: [axis(5), axis(7)],
        };
        let (plane, channels) = (problem.input_plane(), problem.group_c_in());
        let mut input: Vec<f32> = (0..2 * 38 * plane).map(|i| i as f32).collect();
        for arch in archs() {
            let transposed = transpose(arch, Threads::all(), &problem, 32, &input).unwrap();
            for (i, value) in input.iter().enumerate() {
                let (map, channel) = (i / plane / 38, i / plane % 38);
                let (group, channel) = (channel / channels, channel % channels);
                let position = (group * 2 + map) * plane + i % plane;
                assert_eq!(transposed[position * 32 + channel], *value, "{arch:?}");
            }
            for i in 0..input.len() {
                let value = core::mem::replace(&mut input[i], f32::NEG_INFINITY);
                let transposed = transpose(arch, Threads::all(), &problem, 32, &input);
                assert!(transposed.is_none(), "value {i}, {arch:?}");
                input[i] = value;
            }
        }
    }
}
