//! Buffers that are reused from call to call. The memory of a new one would cost a small call as
//! much as its work: the system clears each page when it is first touched.

use core::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::element::Element;
use crate::recycle::IdleResults;
use crate::tuning::{CACHE_LINE_BYTES, MAX_IDLE_BYTES};

/// Idle memory, kept for reuse.
pub struct Pool<T> {
    buffers: Mutex<Vec<Idle<T>>>,
    pub(crate) results: IdleResults<T>,
}

/// An idle buffer.
struct Idle<T> {
    values: Vec<T>,
    /// Which of Rayon's threads used it last, whose caches may still hold it; or a caller.
    thread: Option<usize>,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self {
            buffers: Mutex::new(Vec::new()),
            results: IdleResults::new(),
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Idle<T>>> {
        // Nothing under the lock leaves a buffer half-way.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slice of numbers that begins at a cache line. Its values are what the last call left.
pub(crate) struct Buffer<T: Element> {
    values: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Element> Buffer<T> {
    pub(crate) fn new(length: usize) -> Self {
        let line = CACHE_LINE_BYTES / size_of::<T>();
        let most = length + line;
        let mut buffers = T::pool().buffers();
        let thread = rayon::current_thread_index();
        // One that is long enough, if there is one. Of those, one that this thread used last, or one of its kind
        // (Rayon's threads, or callers); of those, the one of the nearest length.
        let fits = |idle: &Idle<T>| {
            let length = idle.values.len();
            let is_other = idle.thread.is_some() != thread.is_some();
            (
                length < most,
                is_other,
                idle.thread != thread,
                length.abs_diff(most),
            )
        };
        let best = (0..buffers.len()).min_by_key(|i| fits(&buffers[*i]));
        let mut values = best.map_or_else(Vec::new, |i| buffers.swap_remove(i).values);
        drop(buffers);
        if values.len() < most {
            values = vec![T::default(); most];
        }
        let start = values.as_ptr().align_offset(CACHE_LINE_BYTES).min(line);
        Self {
            values,
            start,
            length,
        }
    }
}

impl<T: Element> Default for Buffer<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            start: 0,
            length: 0,
        }
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        let values = core::mem::take(&mut self.values);
        if values.is_empty() {
            return;
        }
        let mut buffers = T::pool().buffers();
        let kept: usize = buffers.iter().map(|idle| idle.values.len()).sum();
        if (kept + values.len()) * size_of::<T>() <= MAX_IDLE_BYTES {
            let thread = rayon::current_thread_index();
            buffers.push(Idle { values, thread });
        }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..][..self.length]
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.length]
    }
}
