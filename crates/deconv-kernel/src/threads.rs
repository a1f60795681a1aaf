//! How the kernels share work among threads: Rayon's, and the caller's own.
//!
//! To wake a thread that sleeps costs tens of microseconds, as much as the work of a small call, and
//! some systems then start it on the caller's own processor. So the caller works too, and Rayon's
//! threads look for the next call for some microseconds before they sleep.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tuning::{LINGER_MICROSECONDS, LOOKS_BEFORE_SLEEP, MIN_SHARED_MULADDS};

/// How many threads a call takes.
#[derive(Clone, Copy)]
pub(crate) struct Threads(usize);

impl Threads {
    /// As many as so many multiply-adds are worth.
    pub(crate) fn worth(muladds: usize) -> Self {
        if muladds < MIN_SHARED_MULADDS {
            Self(1)
        } else {
            Self::all()
        }
    }

    #[cfg(test)]
    pub(crate) fn new(count: usize) -> Self {
        Self(count)
    }

    /// Rayon's threads.
    pub(crate) fn all() -> Self {
        Self(rayon::current_num_threads())
    }

    pub(crate) fn count(self) -> usize {
        self.0
    }

    /// Calls `f` with each item.
    pub(crate) fn each<I>(self, items: I, f: impl Fn(I::Item) + Sync)
    where
        I: ExactSizeIterator + Send,
    {
        self.each_with(items, || (), |(), item| f(item));
    }

    /// Calls `f` with each item, and with what `init` has made for the thread.
    pub(crate) fn each_with<I, S>(
        self,
        items: I,
        init: impl Fn() -> S + Sync,
        f: impl Fn(&mut S, I::Item) + Sync,
    ) where
        I: ExactSizeIterator + Send,
    {
        let helpers = items.len().min(self.0).saturating_sub(1);
        let items = Mutex::new(items);
        let work = || {
            let mut scratch = init();
            // The iterators' `next` do not panic.
            let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(item) = next() {
                f(&mut scratch, item);
            }
        };
        if helpers == 0 {
            return work();
        }
        let working = AtomicUsize::new(helpers);
        rayon::in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| {
                    work();
                    working.fetch_sub(1, Ordering::Release);
                });
            }
            linger(helpers);
            work();
            for look in 0..LOOKS_BEFORE_SLEEP {
                if working.load(Ordering::Acquire) == 0 {
                    break;
                }
                pause(look);
            }
        });
    }
}

/// Rayon's threads look for a next job for some microseconds before they sleep.
///
/// The job that does so may run on top of a worker that waits in `join`, `scope` or a parallel
/// iterator, and that worker cannot go on until the job ends. So each job ends at a time that no
/// later call puts off, and at once when it has run another job. A caller that is one of Rayon's
/// threads makes none: it would lie in the way of the caller's own jobs.
fn linger(threads: usize) {
    static LINGERING: AtomicUsize = AtomicUsize::new(0);

    if rayon::current_thread_index().is_some() {
        return;
    }
    while LINGERING.load(Ordering::Relaxed) < threads {
        LINGERING.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(|| {
            let end = Instant::now() + Duration::from_micros(LINGER_MICROSECONDS);
            let mut look = 0;
            while Instant::now() < end && rayon::yield_now() != Some(rayon::Yield::Executed) {
                pause(look);
                look += 1;
            }
            LINGERING.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Between two looks: now and then the processor goes to another thread that waits for it, which may
/// be the one that is looked for.
fn pause(look: usize) {
    if look % 64 == 63 {
        std::thread::yield_now();
    } else {
        spin_loop();
    }
}
