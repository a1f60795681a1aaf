//! The sums of classes: products of their weights with the copies that they read.

use core::ops::Range;

use pulp::Simd;

use super::Block;
use crate::class::Class;
use crate::element::Element;
use crate::plan::Plan;
use crate::tile::{SideBySide, Step, Steps, Storing, Sums, Tile, VECTORS};

/// What a class multiplies.
pub(super) struct Operands {
    /// Where the first copy that it reads begins.
    pub(super) copies: usize,
    /// The index of its steps.
    pub(super) steps: usize,
}

/// The steps of classes, one list for all that read copies at the same distances; and where each class
/// has its operands.
pub(super) fn steps(
    plan: &Plan,
    classes: &[Class],
    rows: usize,
    panel: usize,
    copy_stride: usize,
) -> (Vec<Steps>, Vec<Operands>) {
    let channels = plan.source.count;
    let mut patterns: Vec<Vec<usize>> = Vec::new();
    let mut operands = Vec::new();
    for class in classes {
        let copy = class.taps[0].copy;
        let pattern: Vec<usize> = class.taps.iter().map(|tap| tap.copy - copy).collect();
        let index = patterns.iter().position(|other| *other == pattern);
        operands.push(Operands {
            copies: copy * copy_stride,
            steps: index.unwrap_or(patterns.len()),
        });
        if index.is_none() {
            patterns.push(pattern);
        }
    }
    let steps_of = |pattern: &Vec<usize>| {
        let steps =
            (0..channels).flat_map(|channel| pattern.iter().map(move |copy| (channel, copy)));
        let steps = steps.enumerate().map(|(i, (channel, copy))| Step {
            source: copy * copy_stride + channel * panel,
            weight: i * rows,
        });
        Steps::new(steps.collect())
    };
    (patterns.iter().map(steps_of).collect(), operands)
}

impl<T: Element> Block<'_, T> {
    /// Computes the sums of some classes for a panel.
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(&mut self, simd: S, panel: usize, classes: Range<usize>) {
        let [_, count] = self.channels();
        let panels = self.panels;
        let rows = panels.weights.rows;
        let in_copies: [usize; VECTORS] = core::array::from_fn(|i| i * panels.panel / VECTORS);
        let scratch = &mut *self.scratch;
        let copies = &mut scratch.copies[panel * panels.panel_copies()..];
        let sums = scratch.sums.chunks_exact_mut(rows * panels.panel);
        for (class, sums) in classes.zip(sums) {
            let operands = &panels.operands[class];
            let starts = scratch.starts[panel].filter(|_| self.is_first && class == 0);
            let in_source = panels.source_steps.as_ref().zip(starts);
            let steps = in_source.map_or(&panels.steps[operands.steps], |(steps, _)| steps);
            let end = steps.all().len();
            let block = [self.group, self.block];
            let weights = panels.weights.of(&scratch.weights, block, class..class + 1);
            for first in (0..end).step_by(panels.tile_steps) {
                let tile = |source| Tile {
                    source,
                    weights,
                    rows: SideBySide(count),
                    steps,
                    range: first..end.min(first + panels.tile_steps),
                };
                let sums = Sums {
                    values: &mut *sums,
                    stride: panels.panel,
                    begin: first == 0,
                };
                if let Some((_, starts)) = in_source {
                    let copies = Storing::to(&mut copies[first * panels.panel..]);
                    tile(panels.source).run_beside(simd, starts, sums, copies);
                } else {
                    let copies = &copies[operands.copies..];
                    tile(copies).run(simd, &in_copies, sums);
                }
            }
        }
    }
}
