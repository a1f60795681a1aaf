//! Buffers that are reused from call to call. The memory of a new one would cost a small call as
//! much as its work: the system clears each page when it is first touched.

use core::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::element::Element;
use crate::tuning::{CACHE_LINE_BYTES, MAX_IDLE_BYTES};

/// Idle buffers, kept for reuse.
pub struct Pool<T> {
    buffers: Mutex<Vec<Vec<T>>>,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self {
            buffers: Mutex::new(Vec::new()),
        }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<T>>> {
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
        // The smallest that is long enough, or else the longest.
        let fits = |values: &Vec<T>| (values.len() < most, values.len().abs_diff(most));
        let best = (0..buffers.len()).min_by_key(|i| fits(&buffers[*i]));
        let mut values = best.map_or_else(Vec::new, |i| buffers.swap_remove(i));
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
        let kept: usize = buffers.iter().map(Vec::len).sum();
        if (kept + values.len()) * size_of::<T>() <= MAX_IDLE_BYTES {
            buffers.push(values);
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
