//! How the kernels share work among threads: Rayon's, and the caller's own.
//!
//! To wake a thread that sleeps costs tens of microseconds, as much as many a call's work, and some
//! systems then start it on the caller's own processor. So the caller works too, and Rayon's threads
//! stay awake from one call to the next, as those of OpenMP do; meanwhile they take any job of
//! Rayon's.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::tuning::{AWAKE_MICROSECONDS, LOOKS_BEFORE_SLEEP, MIN_SHARED_MULADDS};

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
        keep_awake(helpers);
        let working = AtomicUsize::new(helpers);
        rayon::in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| {
                    work();
                    working.fetch_sub(1, Ordering::Release);
                });
            }
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

/// Keeps as many of Rayon's threads awake for a while.
fn keep_awake(threads: usize) {
    static END: AtomicU64 = AtomicU64::new(0);
    static THREADS: AtomicUsize = AtomicUsize::new(0);

    END.fetch_max(microseconds() + AWAKE_MICROSECONDS, Ordering::Relaxed);
    while THREADS.load(Ordering::Relaxed) < threads {
        THREADS.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(|| {
            for look in 0.. {
                if microseconds() > END.load(Ordering::Relaxed) {
                    break;
                }
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    pause(look);
                }
            }
            THREADS.fetch_sub(1, Ordering::Relaxed);
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

/// The time since the first call of this function.
fn microseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}
