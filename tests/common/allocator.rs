//! The memory that a process holds, for tests that are the only one of their process. A test of
//! another package includes this file by its path.

// An allocator needs it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counting the bytes that the process holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most bytes held since [`peak_of`] began.
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(allocated: *mut u8, size: usize) -> *mut u8 {
    if !allocated.is_null() {
        PEAK.fetch_max(HELD.fetch_add(size, Relaxed) + size, Relaxed);
    }
    allocated
}

// SAFETY: every method hands its arguments to `System`'s, which keeps the trait's contract, and
// returns what that returned; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's obligations are the same.
        count(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's obligations are the same.
        count(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same; the block came from `System`.
        unsafe { System.dealloc(pointer, layout) };
        HELD.fetch_sub(layout.size(), Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's obligations are the same; the block came from `System`.
        let moved = count(unsafe { System.realloc(pointer, layout, size) }, size);
        if !moved.is_null() {
            HELD.fetch_sub(layout.size(), Relaxed);
        }
        moved
    }
}

/// The bytes that the process holds now.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// The most bytes that were held at once while `f` ran, those held before included.
pub fn peak_of<R>(f: impl FnOnce() -> R) -> (R, usize) {
    PEAK.store(held(), Relaxed);
    let result = f();
    (result, PEAK.load(Relaxed))
}
