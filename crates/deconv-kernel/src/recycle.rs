//! The memory of large results, which the caller gives back, serves later results.
//!
//! The system clears each page of new memory when it is first touched, and the C library returns large memory
//! to the system as soon as it is freed. So a large result costs a clearing at each call. It asks for huge
//! pages, of which there are 512 times fewer, and its memory is kept: the system may still take the pages back
//! if it needs them.

#![allow(unsafe_code)] // `madvise`.

use core::mem::MaybeUninit;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tuning::{LARGE_RESULT_BYTES, MAX_IDLE_RESULT_BYTES};

/// Memory of large results that the caller gave back, the oldest first.
pub(crate) struct IdleResults<T> {
    idle: Mutex<VecDeque<Vec<T>>>,
}

impl<T> IdleResults<T> {
    pub(crate) const fn new() -> Self {
        Self {
            idle: Mutex::new(VecDeque::new()),
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Vec<T>>> {
        // Nothing under the lock leaves the list half-way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty vector for `length` values: that of an idle result which is at most a quarter longer, or a new
    /// one.
    pub(crate) fn take(&self, length: usize) -> Vec<T> {
        if length * size_of::<T>() < LARGE_RESULT_BYTES {
            return Vec::with_capacity(length);
        }
        let lengths = length..=length + length / 4;
        let mut idle = self.idle();
        let found = idle
            .iter()
            .rposition(|one| lengths.contains(&one.capacity()));
        let found = found.and_then(|i| idle.remove(i));
        drop(idle);
        found.unwrap_or_else(|| {
            let mut new = Vec::with_capacity(length);
            advise(new.spare_capacity_mut(), Advice::UseHugePages);
            new
        })
    }

    /// Keeps the memory of a large result; the oldest ones make room for it. Frees others.
    pub(crate) fn give(&self, mut result: Vec<T>) {
        let bytes = |one: &Vec<T>| one.capacity() * size_of::<T>();
        if !(LARGE_RESULT_BYTES..=MAX_IDLE_RESULT_BYTES).contains(&bytes(&result)) {
            return;
        }
        result.clear();
        advise(result.spare_capacity_mut(), Advice::MayTakeBack);
        let mut freed = Vec::new(); // without the lock
        let mut idle = self.idle();
        idle.push_back(result);
        while idle.iter().map(bytes).sum::<usize>() > MAX_IDLE_RESULT_BYTES {
            freed.extend(idle.pop_front());
        }
        drop(idle);
    }
}

/// What the system may do with the pages of a memory that holds no values.
#[derive(Clone, Copy)]
enum Advice {
    /// Use huge pages for it.
    UseHugePages,
    /// Take the pages back when it needs memory. The next write takes new ones.
    MayTakeBack,
}

/// Advises the system about the pages of a large memory. On Linux only; a refusal does no harm.
#[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
fn advise<T>(memory: &mut [MaybeUninit<T>], advice: Advice) {
    #[cfg(target_os = "linux")]
    {
        use core::ffi::{c_int, c_void};

        use crate::tuning::HUGE_PAGE_BYTES;

        unsafe extern "C" {
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        // `MADV_HUGEPAGE` and `MADV_FREE` of the kernel's `asm-generic/mman-common.h`.
        let advice = match advice {
            Advice::UseHugePages => 14,
            Advice::MayTakeBack => 8,
        };
        // Whole pages within the memory.
        let start = memory.as_mut_ptr().cast::<c_void>();
        let skipped = start.align_offset(HUGE_PAGE_BYTES);
        let pages = size_of_val(memory).saturating_sub(skipped) / HUGE_PAGE_BYTES;
        let length = pages * HUGE_PAGE_BYTES;
        // SAFETY: the range is within `memory`, which holds no values.
        unsafe { madvise(start.wrapping_byte_add(skipped), length, advice) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = LARGE_RESULT_BYTES / size_of::<f32>();

    #[test]
    fn large_memory_serves_results_of_about_its_length() {
        let results = IdleResults::<f32>::new();
        let mut first = results.take(LARGE + LARGE / 8);
        first.push(1.0);
        let memory = first.as_ptr();
        results.give(first);
        let [longer, shorter] = [LARGE + LARGE / 4, LARGE / 2].map(|length| results.take(length));
        let [again, other] = [LARGE; 2].map(|length| results.take(length));
        assert!(again.is_empty(), "{again:?}");
        assert_eq!(again.as_ptr(), memory);
        for unfit in [longer, shorter, other] {
            assert_ne!(unfit.as_ptr(), memory, "of {} values", unfit.capacity());
        }
    }

    #[test]
    fn idle_results_are_bounded() {
        let results = IdleResults::<f32>::new();
        let most = MAX_IDLE_RESULT_BYTES / size_of::<f32>();
        let kept = |results: &IdleResults<f32>| -> Vec<usize> {
            results.idle().iter().map(Vec::capacity).collect()
        };
        results.give(Vec::with_capacity(LARGE - 1));
        results.give(Vec::with_capacity(most + 1));
        assert_eq!(kept(&results), []);
        results.give(Vec::with_capacity(LARGE));
        results.give(Vec::with_capacity(LARGE + 1));
        results.give(Vec::with_capacity(most - LARGE - 1));
        assert_eq!(
            kept(&results),
            [LARGE + 1, most - LARGE - 1],
            "without the oldest"
        );
    }
}
