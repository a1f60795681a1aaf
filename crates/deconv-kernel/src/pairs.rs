//! The weights of a pass with minimal filtering: sums of taps, in the order in which its tiles read
//! them.

use pulp::{Arch, Simd, WithSimd};

use crate::class::Class;
use crate::cut::Cut;
use crate::element::Element;
use crate::pack::Packed;
use crate::plan::{Plan, TapSum};
use crate::threads::Threads;

/// Packs for minimal filtering: each class has one phase, so a block of rows is the same target
/// channels in all classes, whose weights are sums of the same taps.
pub(crate) fn pack<T: Element>(
    arch: Arch,
    threads: Threads,
    classes: &mut [Packed<T>],
    plan: &Plan,
    cut: &Cut,
    weight: &[T],
) {
    let Some(&Packed { blocks, rows, .. }) = classes.first() else {
        return;
    };
    let units = plan.problem.groups * cut.target_blocks(plan);
    let jobs = (0..units * blocks).map(|index| Job {
        plan,
        cut,
        weight,
        blocks,
        rows,
        index,
        classes: vec![],
    });
    let mut jobs: Vec<Job<T>> = jobs.collect();
    for packed in classes {
        let weights = packed.weights.chunks_exact_mut(packed.block_stride);
        for (job, weights) in jobs.iter_mut().zip(weights) {
            job.classes.push((&packed.class, weights));
        }
    }
    threads.each(jobs.into_iter(), |job| arch.dispatch(job));
}

/// Channels whose kernels are turned at once: with 16 taps, 12 KiB of `f32`.
const PACKED_CHANNELS: usize = 16;

/// One block of rows of all classes.
struct Job<'a, T> {
    plan: &'a Plan,
    cut: &'a Cut,
    weight: &'a [T],
    /// Blocks of rows of a unit.
    blocks: usize,
    /// Rows of a block.
    rows: usize,
    /// The index of this block among all units' blocks.
    index: usize,
    classes: Vec<(&'a Class, &'a mut [T])>,
}

impl<T: Element> WithSimd for Job<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // With a constant number of rows, the compiler uses vectors.
        match self.rows {
            12 => self.pack::<12>(),
            11 => self.pack::<11>(),
            10 => self.pack::<10>(),
            9 => self.pack::<9>(),
            8 => self.pack::<8>(),
            6 => self.pack::<6>(),
            _ => self.pack::<1>(),
        }
    }
}

impl<T: Element> Job<'_, T> {
    /// Packs `N` rows at a time.
    #[inline(always)]
    fn pack<const N: usize>(mut self) {
        let (plan, units) = (self.plan, self.cut.target_blocks(self.plan));
        let (unit, block) = (self.index / self.blocks, self.index % self.blocks);
        let first_row = block * self.rows;
        let first_target = unit % units * self.cut.targets;
        let group = unit / units * plan.problem.group_weights();
        let taps = plan.problem.taps();
        // The weights of `N` target channels, `[channel][tap][row]`.
        let mut kernels = vec![[T::default(); N]; PACKED_CHANNELS * taps];
        for first in (0..self.rows).step_by(N) {
            let left = |targets: usize| targets.saturating_sub(first_row + first);
            let rows = left(self.cut.targets)
                .min(left(plan.target.count - first_target))
                .min(N);
            for first_channel in (0..plan.source.count).step_by(PACKED_CHANNELS) {
                let channels = PACKED_CHANNELS.min(plan.source.count - first_channel);
                for (i, kernels) in kernels.chunks_exact_mut(taps).take(channels).enumerate() {
                    for row in 0..rows {
                        let target = first_target + first_row + first + row;
                        let kernel = group
                            + target * plan.target.weight_stride
                            + (first_channel + i) * plan.source.weight_stride;
                        for (to, tap) in kernels.iter_mut().zip(&self.weight[kernel..][..taps]) {
                            to[row] = *tap;
                        }
                    }
                }
                for (class, packed) in &mut self.classes {
                    let sums = &class.phases[0].taps;
                    let step = sums.len() * self.rows;
                    let packed = &mut packed[first_channel * step + first..];
                    for (i, sum) in sums.iter().enumerate() {
                        let kernels = kernels.chunks_exact(taps).take(channels);
                        let to = packed[i * self.rows..].chunks_mut(step);
                        sum.write::<T, N>(kernels.zip(to));
                    }
                }
            }
        }
    }
}

impl TapSum {
    /// Writes the weights of some rows for some channels.
    #[inline(always)]
    fn write<'a, T: Element, const N: usize>(
        &self,
        channels: impl Iterator<Item = (&'a [[T; N]], &'a mut [T])>,
    ) {
        let add = |a: [T; N], b: [T; N]| core::array::from_fn(|i| a[i] + b[i]);
        let minus = |a: [T; N]| a.map(|value| T::default() - value);
        let channels = channels.map(|(kernels, to)| {
            let to: &mut [T; N] = to.first_chunk_mut().expect("N rows");
            (kernels, to)
        });
        match (self.taps(), self.negative) {
            (&[a], false) => channels.for_each(|(k, to)| *to = k[a]),
            (&[a], true) => channels.for_each(|(k, to)| *to = minus(k[a])),
            (&[a, b], false) => channels.for_each(|(k, to)| *to = add(k[a], k[b])),
            (&[a, b], true) => channels.for_each(|(k, to)| *to = minus(add(k[a], k[b]))),
            (&[a, b, c, d], false) => {
                channels.for_each(|(k, to)| *to = add(add(k[a], k[b]), add(k[c], k[d])));
            }
            (taps, negative) => unreachable!("a sum of {} taps, negative {negative}", taps.len()),
        }
    }
}
