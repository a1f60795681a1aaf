//! Vectors in turns by the instructions themselves: of a chain of loops, the compiler makes moves of single numbers.
//! Without closures, which would be compiled without the instructions.

use core::any::Any;
use core::arch::x86_64::{__m256, __m512, __m512i};
use core::mem::transmute_copy;

use pulp::Simd;
use pulp::x86::{V3, V4};

use crate::element::Element;

/// Where the 32-bit words of both results come from: `b`'s words are 16 and up.
type Order = [[i32; 16]; 2];

const SINGLE_WORDS: Order = [
    [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23],
    [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31],
];
const PAIRS_OF_WORDS: Order = [
    [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23],
    [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31],
];

const EVERY_OTHER_WORD: Order = [
    [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30],
    [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31],
];
const EVERY_OTHER_PAIR: Order = [
    [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29],
    [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31],
];

#[inline(always)]
pub(super) fn interleave<S: Simd, T: Element>(
    simd: S,
    [a, b]: [T::Vector<S>; 2],
) -> Option<[T::Vector<S>; 2]> {
    if let Some(simd) = instructions::<S, V4>(simd) {
        let order = if size_of::<T>() == 4 {
            SINGLE_WORDS
        } else {
            PAIRS_OF_WORDS
        };
        let [first, second] = order;
        return Some([
            permute::<S, T>(simd, [a, b], first),
            permute::<S, T>(simd, [a, b], second),
        ]);
    }
    let avx = instructions::<S, V3>(simd)?.avx;
    let [low, high]: [__m256; 2] = if size_of::<T>() == 4 {
        let (a, b) = (cast(a), cast(b));
        [avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b)]
    } else {
        let (a, b) = (cast(a), cast(b));
        [
            cast(avx._mm256_unpacklo_pd(a, b)),
            cast(avx._mm256_unpackhi_pd(a, b)),
        ]
    };
    // Each half of the vectors is interleaved.
    Some([
        cast(avx._mm256_permute2f128_ps::<0x20>(low, high)),
        cast(avx._mm256_permute2f128_ps::<0x31>(low, high)),
    ])
}

#[inline(always)]
pub(super) fn deinterleave<S: Simd, T: Element>(
    simd: S,
    [a, b]: [T::Vector<S>; 2],
) -> Option<[T::Vector<S>; 2]> {
    if let Some(simd) = instructions::<S, V4>(simd) {
        let order = if size_of::<T>() == 4 {
            EVERY_OTHER_WORD
        } else {
            EVERY_OTHER_PAIR
        };
        let [first, second] = order;
        return Some([
            permute::<S, T>(simd, [a, b], first),
            permute::<S, T>(simd, [a, b], second),
        ]);
    }
    let simd = instructions::<S, V3>(simd)?;
    // The halves of both vectors, one after the other.
    let [even, odd]: [__m256; 2] = if size_of::<T>() == 4 {
        let (a, b) = (cast(a), cast(b));
        [
            simd.avx._mm256_shuffle_ps::<0x88>(a, b),
            simd.avx._mm256_shuffle_ps::<0xdd>(a, b),
        ]
    } else {
        let (a, b) = (cast(a), cast(b));
        [
            cast(simd.avx._mm256_unpacklo_pd(a, b)),
            cast(simd.avx._mm256_unpackhi_pd(a, b)),
        ]
    };
    Some([
        cast(simd.avx2._mm256_permute4x64_pd::<0xd8>(cast(even))),
        cast(simd.avx2._mm256_permute4x64_pd::<0xd8>(cast(odd))),
    ])
}

/// `[a0 b0 c0 a1 b1 c1 ..]`, in three vectors, of 512 bits.
#[inline(always)]
pub(super) fn take_three_turns<S: Simd, T: Element>(
    simd: S,
    [a, b, c]: [T::Vector<S>; 3],
) -> Option<[T::Vector<S>; 3]> {
    let simd = instructions::<S, V4>(simd)?;
    let [of_two, of_three] = if size_of::<T>() == 4 {
        const { [three_turns(1, false), three_turns(1, true)] }
    } else {
        const { [three_turns(2, false), three_turns(2, true)] }
    };
    let mut turns = [a; 3];
    for (i, turn) in turns.iter_mut().enumerate() {
        let both = permute::<S, T>(simd, [a, b], of_two[i]);
        *turn = permute::<S, T>(simd, [both, c], of_three[i]);
    }
    Some(turns)
}

/// Where the words of `[a0 b0 c0 a1 ..]` come from; a number is `words` of them. A first step takes the numbers of `a`
/// and `b` and leaves any in the places of `c`; the second fills these in.
const fn three_turns(words: i32, is_second: bool) -> [[i32; 16]; 3] {
    let mut order = [[0; 16]; 3];
    let mut at = 0;
    while at < 48 {
        let (number, word) = (at / words, at % words);
        let source = number / 3 * words + word;
        order[at as usize / 16][at as usize % 16] = match (number % 3, is_second) {
            (0, false) => source,
            (1, false) => 16 + source,
            (2, true) => 16 + source,
            // Any number, or the one that is there.
            _ => at % 16,
        };
        at += 1;
    }
    order
}

/// The 32-bit words of two vectors of 512 bits in another order; `b`'s are 16 and up.
#[inline(always)]
fn permute<S: Simd, T: Element>(
    simd: V4,
    [a, b]: [T::Vector<S>; 2],
    order: [i32; 16],
) -> T::Vector<S> {
    let (a, b): (__m512, __m512) = (cast(a), cast(b));
    let order: __m512i = cast(order);
    cast(simd.avx512f._mm512_permutex2var_ps(a, order, b))
}

/// The same instructions, if they are those of type `I`.
#[inline(always)]
fn instructions<S: Simd, I: Copy + 'static>(simd: S) -> Option<I> {
    let simd: &dyn Any = &simd;
    simd.downcast_ref().copied()
}

/// The same bits as another type.
///
/// # Panics
///
/// If that is of another size.
#[inline(always)]
fn cast<A: Copy, B: Copy>(a: A) -> B {
    assert!(size_of::<A>() == size_of::<B>());
    // SAFETY: all callers' types are vectors of numbers: any bits are valid.
    unsafe { transmute_copy(&a) }
}
