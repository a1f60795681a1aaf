//! The input with its channels side by side, as the lanes of the weight's gradient.

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tuning::MIN_VALUES_PER_JOB;
use crate::vectors::{as_uninit, load, store, take_turns};

/// Transposes the input to `[group][block of channels][map, position][channel]`, with blocks of
/// `block` channels; anything past a group's last channel.
pub(crate) fn transpose<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    block: usize,
    input: &[T],
) -> Buffer<T> {
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
    threads.each(jobs.into_iter(), |job| arch.dispatch(job));
    transposed
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
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let positions = self.to.len() / self.block;
        let lanes = T::lanes::<S>();
        for first in (0..self.channels).step_by(lanes) {
            let squares = match lanes {
                16 => self.squares::<S, 16>(simd, first),
                8 => self.squares::<S, 8>(simd, first),
                4 => self.squares::<S, 4>(simd, first),
                _ => 0,
            };
            for channel in first..self.channels.min(first + lanes) {
                let from = &self.planes[channel * self.plane + self.position..][..positions];
                for (at, from) in from.iter().enumerate().skip(squares * lanes) {
                    self.to[at * self.block + channel] = *from;
                }
            }
        }
    }
}

impl<T: Element> Transpose<'_, T> {
    /// Transposes `N` channels, `N` positions at a time. Lanes past the last channel take its values.
    /// Returns how many times.
    #[inline(always)]
    fn squares<S: Simd, const N: usize>(&mut self, simd: S, first: usize) -> usize {
        let count = self.to.len() / self.block / N;
        for at in (0..count).map(|i| i * N) {
            let rows = core::array::from_fn(|row| {
                let channel = (first + row).min(self.channels - 1);
                load::<S, T>(simd, self.planes, channel * self.plane + self.position + at)
            });
            for (row, vector) in square::<S, T, N>(simd, rows).into_iter().enumerate() {
                store::<S, T>(
                    simd,
                    as_uninit(self.to),
                    (at + row) * self.block + first,
                    vector,
                );
            }
        }
        count
    }
}

/// Transposes `N` vectors of `N` numbers.
#[inline(always)]
fn square<S: Simd, T: Element, const N: usize>(
    simd: S,
    mut rows: [T::Vector<S>; N],
) -> [T::Vector<S>; N] {
    // A loop would move the vectors to memory.
    rows = take_turns::<S, T, N>(simd, rows);
    rows = take_turns::<S, T, N>(simd, rows);
    if N >= 8 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    if N >= 16 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    rows
}
