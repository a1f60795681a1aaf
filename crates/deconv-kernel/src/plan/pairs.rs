//! Minimal filtering.
//!
//! Two cells of a phase with two neighbouring taps are four products. Three suffice (Winograd,
//! Arithmetic Complexity of Computations, 1980; Lavin and Gray, arXiv 1509.09308, for convolutions):
//!
//! ```text
//! d0   d1   d2             m1 = (d0 - d1) * a             target[2q]     = m1 + m2
//! a    b                   m2 = d1 * (a + b)              target[2q + 1] = m2 + m3
//!      a    b              m3 = (d1 - d2) * -b
//! ```
//!
//! `m1` adds `d0 * a` and takes away `d1 * a`, which `m2` has too much. On an axis with this *pairing*
//! the steps of source and target are doubled: there are twice as many phases, of half as many cells.
//! A class is then a set of products that belong to the same phases, and a phase is the sum of its
//! classes. The source's copies hold values, or differences of neighbours, and a weight is a sum of
//! taps. Taps without a neighbour stay as they are. Products of two cells and all phases:
//!
//! ```text
//! kernel and stride    k4 s2   k3 s2   k2 s2   k3 s1   k4 s1   k5 s2
//! as it is                 8       6       4       6       8      10
//! in pairs                 6       5       4       5       6       8
//! ```
//!
//! Two axes multiply: k4 s2 takes 36 products in place of 64, k3 s2 takes 25 in place of 36.

use super::axis::{Copied, Product, RawPhase, Tap, TapSum};

/// Whether two of a phase's taps meet neighbours.
pub(super) fn has_neighbours(taps: &[Tap]) -> bool {
    let next = |tap: &Tap| (tap.plane, tap.shift + 1);
    taps.iter().any(|tap| {
        taps.iter()
            .any(|other| next(tap) == (other.plane, other.shift))
    })
}

/// The products of two neighbouring cells of a phase: those of the first alone, of both, and of the
/// second alone. `steps` are those of source and target before they are doubled.
pub(super) fn pair_cells(phase: usize, taps: &[Tap], steps: [usize; 2]) -> [RawPhase; 3] {
    let [source_step, target_step] = steps;
    let product = |taps: &[usize], negative, tap: Tap, difference| Product {
        weight: TapSum::new(taps, negative),
        read: Copied {
            plane: tap.plane + source_step * tap.shift.rem_euclid(2) as usize,
            difference,
            shift: tap.shift.div_euclid(2),
        },
    };
    let [mut first, mut both, mut second] = [vec![], vec![], vec![]];
    let mut taps = taps.to_vec();
    taps.sort_unstable_by_key(|tap| (tap.plane, tap.shift));
    let mut rest = &taps[..];
    while let [a, after @ ..] = rest {
        let next = Tap {
            shift: a.shift + 1,
            ..*a
        };
        match after {
            [b, after @ ..] if (b.plane, b.shift) == (next.plane, next.shift) => {
                first.push(product(&[a.tap], false, *a, true));
                both.push(product(&[a.tap, b.tap], false, next, false));
                second.push(product(&[b.tap], true, next, true));
                rest = after;
            }
            _ => {
                first.push(product(&[a.tap], false, *a, false));
                second.push(product(&[a.tap], false, next, false));
                rest = after;
            }
        }
    }
    let pair = [phase, phase + target_step];
    [(&pair[..1], first), (&pair[..], both), (&pair[1..], second)].map(|(phases, products)| {
        RawPhase {
            phases: phases.to_vec(),
            products,
        }
    })
}
