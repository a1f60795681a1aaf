//! How the kernels share work among threads: Rayon's, and the caller's own.
//!
//! To wake a thread that sleeps costs tens of microseconds, as much as the work of a small call, and
//! some systems then start it on the caller's own processor. So the caller works too, and Rayon's
//! threads look for the next call for some microseconds before they sleep.

use std::collections::VecDeque;
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
            Self::one()
        } else {
            Self::all()
        }
    }

    /// The caller's.
    pub(crate) fn one() -> Self {
        Self(1)
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
        I: ExactSizeIterator<Item: Send>,
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
        I: ExactSizeIterator<Item: Send>,
    {
        let count = items.len().min(self.0);
        if count < 2 {
            let mut scratch = init();
            return items.for_each(|item| f(&mut scratch, item));
        }
        let shares = Shares::new(items, count);
        let work = || {
            let mut scratch = init();
            let own = own_share(count);
            while let Some(item) = shares.next(own) {
                f(&mut scratch, item);
            }
        };
        together(count, &work);
    }
}

/// Calls `work` on so many threads, the caller's among them. It is no generic function: all kernels share its
/// code, which Rayon makes long.
fn together(threads: usize, work: &(dyn Fn() + Sync)) {
    let helpers = threads - 1;
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

/// The items of each thread. A thread takes its own in their order, and then the last ones of others. So from
/// call to call a thread works on the same part of the data, which its processor's caches still hold: to fetch it
/// from those of another one takes as long as dozens of products.
struct Shares<I>(Vec<Mutex<VecDeque<I>>>);

impl<I> Shares<I> {
    fn new(mut items: impl ExactSizeIterator<Item = I>, count: usize) -> Self {
        let all = items.len();
        let length = |i: usize| (i + 1) * all / count - i * all / count;
        let share = |i: usize| items.by_ref().take(length(i)).collect();
        Self((0..count).map(share).map(Mutex::new).collect())
    }

    fn next(&self, own: usize) -> Option<I> {
        // Nothing under the lock panics.
        let share = |i: usize| self.0[i].lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.0.len();
        let of_others = || (1..count).find_map(|i| share((own + i) % count).pop_back());
        let item = share(own).pop_front();
        item.or_else(of_others)
    }
}

/// Which share is this thread's: the first is the caller's, the others are those of Rayon's threads.
fn own_share(count: usize) -> usize {
    rayon::current_thread_index().map_or(0, |thread| 1 + thread % (count - 1))
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
