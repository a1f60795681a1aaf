//! Vectors from and to slices, and two vectors in turns.

#![allow(unsafe_code)] // Loads and stores of checked slices; vectors as the machine's own types.

use core::mem::MaybeUninit;
use core::ops::Range;

use pulp::Simd;

use crate::element::Element;

/// The vector that begins at `at`.
#[inline(always)]
pub(crate) fn load<S: Simd, T: Element>(_: S, values: &[T], at: usize) -> T::Vector<S> {
    let values = &values[at..][..T::lanes::<S>()];
    // SAFETY: a vector is `lanes` numbers, without padding.
    unsafe { values.as_ptr().cast::<T::Vector<S>>().read_unaligned() }
}

/// Writes a vector to `at`.
#[inline(always)]
pub(crate) fn store<S: Simd, T: Element>(
    _: S,
    values: &mut [MaybeUninit<T>],
    at: usize,
    vector: T::Vector<S>,
) {
    let values = &mut values[at..][..T::lanes::<S>()];
    // SAFETY: a vector is `lanes` numbers, without padding.
    unsafe {
        values
            .as_mut_ptr()
            .cast::<T::Vector<S>>()
            .write_unaligned(vector)
    }
}

/// The lanes `first..end` of the vector that begins at `at`, zeros in the others. Only those lanes must lie in
/// the slice.
#[inline(always)]
pub(crate) fn load_part<S: Simd, T: Element>(
    simd: S,
    values: &[T],
    at: isize,
    [first, end]: [usize; 2],
) -> T::Vector<S> {
    assert!(
        first <= end
            && end <= T::lanes::<S>()
            && at + first as isize >= 0
            && at + end as isize <= values.len() as isize
    );
    // SAFETY: the lanes are in the slice, by the assertion.
    unsafe { T::load_lanes(simd, values.as_ptr().wrapping_offset(at), first, end) }
}

/// Writes a vector to `at`, as far as it lies in the slice.
#[inline(always)]
pub(crate) fn store_part<S: Simd, T: Element>(
    simd: S,
    values: &mut [MaybeUninit<T>],
    at: isize,
    vector: T::Vector<S>,
) {
    let lanes = T::lanes::<S>() as isize;
    let first = (-at).clamp(0, lanes) as usize;
    let end = (values.len() as isize - at).clamp(0, lanes) as usize;
    let to = values.as_mut_ptr().cast::<T>().wrapping_offset(at);
    if end - first.min(end) == lanes as usize {
        // SAFETY: all lanes are in the slice.
        unsafe { to.cast::<T::Vector<S>>().write_unaligned(vector) }
    } else if first < end {
        // SAFETY: lanes from `-at` on and before `length - at` are in the slice.
        unsafe { T::store_lanes(simd, to, first, end, vector) }
    }
}

/// Asks the processor to fetch a cache line, which need not exist.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Numbers as memory to write numbers to.
#[inline(always)]
pub(crate) fn as_uninit<T: Element>(values: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: the same layout, and nothing but numbers is written through it.
    unsafe { &mut *(core::ptr::from_mut(values) as *mut [MaybeUninit<T>]) }
}

/// Copies `count` values. A last vector may reach behind them.
#[inline(always)]
pub(crate) fn copy<S: Simd, T: Element>(simd: S, from: &[T], to: &mut [T], count: usize) {
    let lanes = T::lanes::<S>();
    let mut at = 0;
    while at < count && at + lanes <= from.len().min(to.len()) {
        store::<S, T>(simd, as_uninit(to), at, load::<S, T>(simd, from, at));
        at += lanes;
    }
    if at < count {
        to[at..count].copy_from_slice(&from[at..count]);
    }
}

/// Writes a value to some places. A last vector may reach behind them.
#[inline(always)]
pub(crate) fn fill<S: Simd, T: Element>(
    simd: S,
    to: &mut [MaybeUninit<T>],
    places: Range<usize>,
    value: T,
) {
    let lanes = T::lanes::<S>();
    let mut at = places.start;
    // The system's function writes long lines faster: 4 to 2 channels, 512x512, k 1, stride 2 took 1.27 times as long.
    let is_short = places.len() <= 8 * lanes;
    while is_short && at < places.end && at + lanes <= to.len() {
        store::<S, T>(simd, to, at, T::splat(simd, value));
        at += lanes;
    }
    if at < places.end {
        to[at..places.end].fill(MaybeUninit::new(value));
    }
}

/// `[a0 b0 a1 b1 ..]`, in two vectors.
#[inline(always)]
fn interleave<S: Simd, T: Element>(simd: S, a: T::Vector<S>, b: T::Vector<S>) -> [T::Vector<S>; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(vectors) = x86::interleave::<S, T>(simd, [a, b]) {
        return vectors;
    }
    let lanes = T::lanes::<S>();
    let (both, mut turns) = ([a, b], [a, b]);
    let numbers = core::ptr::from_ref(&both).cast::<T>();
    let to = core::ptr::from_mut(&mut turns).cast::<T>();
    for at in 0..2 * lanes {
        // SAFETY: two vectors are `2 * lanes` numbers.
        unsafe { *to.add(at) = *numbers.add(at % 2 * lanes + at / 2) }
    }
    turns
}

/// Interleaves each vector of the first half with one of the second.
///
/// That moves the first bit of a vector's index behind the bits of its numbers' indices. After all bits of
/// `N` have moved, the numbers of all `N` vectors are in turns; of as many vectors as each has numbers, this
/// is the transpose.
#[inline(always)]
fn take_turns<S: Simd, T: Element, const N: usize>(
    simd: S,
    rows: [T::Vector<S>; N],
) -> [T::Vector<S>; N] {
    let mut turns = rows;
    macro_rules! take {
        ($($i:literal)*) => {
            $(if $i < N / 2 {
                let pair = interleave::<S, T>(simd, rows[$i], rows[$i + N / 2]);
                [turns[2 * $i], turns[2 * $i + 1]] = pair;
            })*
        };
    }
    take!(0 1 2 3 4 5 6 7);
    turns
}

/// `[a0 a1 ..]` and `[b0 b1 ..]` as the even and the odd numbers of both.
#[inline(always)]
fn deinterleave<S: Simd, T: Element>(
    simd: S,
    a: T::Vector<S>,
    b: T::Vector<S>,
) -> [T::Vector<S>; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(vectors) = x86::deinterleave::<S, T>(simd, [a, b]) {
        return vectors;
    }
    let lanes = T::lanes::<S>();
    let (both, mut apart) = ([a, b], [a, b]);
    let numbers = core::ptr::from_ref(&both).cast::<T>();
    let to = core::ptr::from_mut(&mut apart).cast::<T>();
    for at in 0..2 * lanes {
        // SAFETY: two vectors are `2 * lanes` numbers.
        unsafe { *to.add(at) = *numbers.add(at % lanes * 2 + at / lanes) }
    }
    apart
}

/// Every `N`th number of `N` vectors, from each of the first `N` on. `N` is 1, 2 or 4.
#[inline(always)]
pub(crate) fn take_apart<S: Simd, T: Element, const N: usize>(
    simd: S,
    vectors: [T::Vector<S>; N],
) -> [T::Vector<S>; N] {
    let mut apart = vectors;
    if N == 1 {
        return apart;
    }
    if N == 2 {
        [apart[0], apart[1]] = deinterleave::<S, T>(simd, vectors[0], vectors[1]);
    } else {
        assert!(N == 4, "{N} vectors");
        let [a, b] = deinterleave::<S, T>(simd, vectors[0], vectors[1]);
        let [c, d] = deinterleave::<S, T>(simd, vectors[2], vectors[3]);
        [apart[0], apart[2]] = deinterleave::<S, T>(simd, a, c);
        [apart[1], apart[3]] = deinterleave::<S, T>(simd, b, d);
    }
    apart
}

/// The numbers of `N` vectors in turns: of `N` numbers in each, the transpose. `N` is 1, 2, 4, 8 or 16.
#[inline(always)]
pub(crate) fn take_all_turns<S: Simd, T: Element, const N: usize>(
    simd: S,
    mut rows: [T::Vector<S>; N],
) -> [T::Vector<S>; N] {
    // A loop would move the vectors to memory.
    if N >= 2 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    if N >= 4 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    if N >= 8 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    if N >= 16 {
        rows = take_turns::<S, T, N>(simd, rows);
    }
    rows
}

/// The same with the instructions themselves: of a chain of such loops, the compiler makes moves of
/// single numbers. Without closures, which would be compiled without the instructions.
#[cfg(target_arch = "x86_64")]
mod x86 {
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
            return Some(permute::<S, T>(simd, [a, b], order));
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
            return Some(permute::<S, T>(simd, [a, b], order));
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

    /// The 32-bit words of two vectors of 512 bits in another order.
    #[inline(always)]
    fn permute<S: Simd, T: Element>(
        simd: V4,
        [a, b]: [T::Vector<S>; 2],
        [first, second]: Order,
    ) -> [T::Vector<S>; 2] {
        let (a, b): (__m512, __m512) = (cast(a), cast(b));
        let (first, second): (__m512i, __m512i) = (cast(first), cast(second));
        [
            cast(simd.avx512f._mm512_permutex2var_ps(a, first, b)),
            cast(simd.avx512f._mm512_permutex2var_ps(a, second, b)),
        ]
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
}

#[cfg(test)]
mod tests {
    use core::marker::PhantomData;

    use pulp::WithSimd;

    use super::*;
    use crate::tests::archs;

    struct Turns<T>(PhantomData<T>);

    impl<T: Element + From<u8>> WithSimd for Turns<T> {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let lanes = T::lanes::<S>();
            let numbers: Vec<T> = (0..2 * lanes).map(|i| T::from(i as u8)).collect();
            let [a, b] = [0, lanes].map(|at| load::<S, T>(simd, &numbers, at));
            let mut turns = vec![T::default(); 2 * lanes];
            for (i, vector) in interleave::<S, T>(simd, a, b).into_iter().enumerate() {
                store::<S, T>(simd, as_uninit(&mut turns), i * lanes, vector);
            }
            let expected: Vec<T> = (0..2 * lanes)
                .map(|i| numbers[i % 2 * lanes + i / 2])
                .collect();
            assert_eq!(turns, expected);
            let [a, b] = [0, lanes].map(|at| load::<S, T>(simd, &turns, at));
            for (i, vector) in deinterleave::<S, T>(simd, a, b).into_iter().enumerate() {
                store::<S, T>(simd, as_uninit(&mut turns), i * lanes, vector);
            }
            assert_eq!(turns, numbers);
        }
    }

    #[test]
    fn numbers_of_two_vectors_take_turns() {
        for arch in archs() {
            arch.dispatch(Turns::<f32>(PhantomData));
            arch.dispatch(Turns::<f64>(PhantomData));
        }
    }
}
