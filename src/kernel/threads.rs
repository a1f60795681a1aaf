//! How the kernels share work among threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Looks before a thread sleeps: about 100 microseconds.
const LOOKS: usize = 5_000;

/// Calls `f` with each item: on the calling thread, and on as many of Rayon's as there are items
/// for. `init` makes what a thread reuses from item to item.
///
/// The caller works too, and then looks for the others' end for a while before it sleeps: to wake a
/// thread costs tens of microseconds, as much as many a call's work.
pub(super) fn for_each<I, S>(
    items: I,
    init: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, I::Item) + Sync,
) where
    I: ExactSizeIterator + Send,
{
    let helpers = items.len().min(rayon::current_num_threads()).saturating_sub(1);
    let items = Mutex::new(items);
    let work = || {
        let mut scratch = init();
        // The iterators' `next` do not panic.
        let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(item) = next() {
            f(&mut scratch, item);
        }
    };
    let working = AtomicUsize::new(helpers);
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| {
                work();
                working.fetch_sub(1, Ordering::Release);
            });
        }
        work();
        for _ in 0..LOOKS {
            if working.load(Ordering::Acquire) == 0 {
                break;
            }
            spin_loop();
        }
    });
}
