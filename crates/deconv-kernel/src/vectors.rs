//! Vectors from and to slices, and the numbers of several vectors in turns.

#![allow(unsafe_code)] // Loads and stores of checked slices; vectors as the machine's own types.

#[cfg(target_arch = "x86_64")]
mod x86;

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

/// `[a0 b0 c0 a1 b1 c1 ..]`, in three vectors.
#[inline(always)]
fn take_three_turns<S: Simd, T: Element>(simd: S, vectors: [T::Vector<S>; 3]) -> [T::Vector<S>; 3] {
    #[cfg(target_arch = "x86_64")]
    if let Some(turns) = x86::take_three_turns::<S, T>(simd, vectors) {
        return turns;
    }
    let lanes = T::lanes::<S>();
    let mut turns = vectors;
    let numbers = core::ptr::from_ref(&vectors).cast::<T>();
    let to = core::ptr::from_mut(&mut turns).cast::<T>();
    for at in 0..3 * lanes {
        // SAFETY: three vectors are `3 * lanes` numbers.
        unsafe { *to.add(at) = *numbers.add(at % 3 * lanes + at / 3) }
    }
    turns
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

/// The numbers of `N` vectors in turns: of `N` numbers in each, the transpose. `N` is 1, 2, 3, 4, 8 or 16.
#[inline(always)]
pub(crate) fn take_all_turns<S: Simd, T: Element, const N: usize>(
    simd: S,
    mut rows: [T::Vector<S>; N],
) -> [T::Vector<S>; N] {
    if N == 3 {
        let turns = take_three_turns::<S, T>(simd, [rows[0], rows[1], rows[2]]);
        [rows[0], rows[1], rows[2]] = turns;
        return rows;
    }
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

            let numbers: Vec<T> = (0..3 * lanes).map(|i| T::from(i as u8)).collect();
            let vectors = [0, 1, 2].map(|i| load::<S, T>(simd, &numbers, i * lanes));
            let mut turns = vec![T::default(); 3 * lanes];
            let rows = take_all_turns::<S, T, 3>(simd, vectors);
            for (i, vector) in rows.into_iter().enumerate() {
                store::<S, T>(simd, as_uninit(&mut turns), i * lanes, vector);
            }
            let expected: Vec<T> = (0..3 * lanes)
                .map(|i| numbers[i % 3 * lanes + i / 3])
                .collect();
            assert_eq!(turns, expected);
        }
    }

    #[test]
    fn numbers_of_two_or_three_vectors_take_turns() {
        for arch in archs() {
            arch.dispatch(Turns::<f32>(PhantomData));
            arch.dispatch(Turns::<f64>(PhantomData));
        }
    }
}
