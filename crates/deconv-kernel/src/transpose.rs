//! The input with its channels side by side, as the lanes of the weight's gradient.

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tuning::MIN_VALUES_PER_JOB;

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
    fn with_simd<S: Simd>(self, _: S) {
        /// Positions of a cache line of `f32`.
        const AT_ONCE: usize = 16;
        let Self {
            planes,
            plane,
            channels,
            position,
            block,
            to,
        } = self;
        for (i, to) in to.chunks_mut(AT_ONCE * block).enumerate() {
            let at = position + i * AT_ONCE;
            let positions = to.len() / block;
            for channel in 0..channels {
                let from = &planes[channel * plane + at..][..positions];
                let to = to[channel..].iter_mut().step_by(block);
                for (to, from) in to.zip(from) {
                    *to = *from;
                }
            }
        }
    }
}
