//! Ctrl-C, and the signals with which schedulers end programs: the first asks, the second ends the
//! program at once.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The usual exit status of a program that Ctrl-C has ended.
pub const INTERRUPTED_STATUS: u8 = 130;

/// Tells whether the user has asked the program to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    _private: (),
}

impl Stop {
    /// From now on, Ctrl-C, SIGTERM and SIGHUP ask.
    pub fn on_signals() -> Self {
        // Where it cannot be set, Ctrl-C ends the program at once. It only leaves temporary files.
        let _ = ctrlc::set_handler(|| {
            if REQUESTED.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(INTERRUPTED_STATUS));
            }
        });
        Self { _private: () }
    }

    pub fn is_requested(self) -> bool {
        REQUESTED.load(Ordering::Relaxed)
    }
}
