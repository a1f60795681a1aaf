//! What code that shares Rayon's threads with the layer sees: beside nothing, beside this crate's
//! layer, and beside Burn's own.
//!
//! Two measurements in a pool of two threads, while one other thread calls the layer (32 to 32
//! channels, 4x4 kernel at stride 2, on 24x24: about 0.3 ms a call):
//!
//! - `rayon::join` of a sleep of 20 ms and one of 300 ms: the first half's thread waits for the
//!   second's, and must not be held by the layer's work;
//! - parallel sums of 200,000 numbers for some seconds: how many, and how long they take.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dOptions, deconv2d};
use clap::Args;
use rayon::prelude::*;

/// How long the sums are taken.
#[derive(Args)]
pub struct Options {
    /// Seconds of each series of sums.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Threads that call the layer during `join`; one calls it during the sums.
    #[arg(long, default_value_t = 3)]
    callers: usize,
}

#[derive(Clone, Copy)]
enum Neighbour {
    Nothing,
    Ours,
    Burns,
}

impl Neighbour {
    const ALL: [Self; 3] = [Self::Nothing, Self::Ours, Self::Burns];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Ours => "burn-deconv",
            Self::Burns => "Burn's layer",
        }
    }

    /// Calls the layer until `end`, and counts the calls.
    fn call(self, end: &AtomicBool, calls: &AtomicUsize) {
        let device = Device::flex();
        let input = Tensor::<4>::ones([1, 32, 24, 24], &device);
        let weight = Tensor::<4>::ones([32, 32, 4, 4], &device);
        while !end.load(Ordering::Relaxed) {
            let (input, weight) = (input.clone(), weight.clone());
            match self {
                Self::Nothing => return,
                Self::Ours => {
                    let options = Deconv2dOptions::new().with_stride([2, 2]);
                    black_box(deconv2d(input, weight, None, options));
                }
                Self::Burns => {
                    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
                    black_box(conv_transpose2d(input, weight, None, options));
                }
            }
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Measures beside `callers` threads that call the layer. Returns what was measured and the calls.
fn beside<R>(neighbour: Neighbour, callers: usize, measure: impl FnOnce() -> R) -> (R, usize) {
    let (end, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                // By then, the thread of a `join`'s first half waits for the second.
                thread::sleep(Duration::from_millis(50));
                neighbour.call(&end, &calls);
            });
        }
        let result = measure();
        end.store(true, Ordering::Relaxed);
        (result, calls.load(Ordering::Relaxed))
    })
}

fn join() -> Duration {
    let begin = Instant::now();
    rayon::join(
        || thread::sleep(Duration::from_millis(20)),
        || thread::sleep(Duration::from_millis(300)),
    );
    begin.elapsed()
}

/// The times of parallel sums, in order of length.
fn sums(seconds: u64) -> Vec<Duration> {
    let numbers: Vec<f64> = (0..200_000).map(f64::from).collect();
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < Duration::from_secs(seconds) {
        let sum = Instant::now();
        black_box(numbers.par_iter().map(|number| number.sqrt()).sum::<f64>());
        times.push(sum.elapsed());
    }
    times.sort_unstable();
    times
}

/// Prints both measurements. Fails if a `join` beside this crate's layer takes twice its time.
pub fn run(options: &Options) -> ExitCode {
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build_global()
        .expect("no pool yet");
    let mut held = false;
    println!("join of sleeps of 20 and 300 ms");
    for neighbour in Neighbour::ALL {
        let times: Vec<Duration> = (0..3)
            .map(|_| beside(neighbour, options.callers, join).0)
            .collect();
        println!("  beside {:<14} {times:.0?}", neighbour.name());
        let best = times.iter().min().expect("three times");
        held |= matches!(neighbour, Neighbour::Ours) && *best > Duration::from_millis(600);
    }
    println!("parallel sums of 200,000 numbers, {} s", options.seconds);
    for neighbour in Neighbour::ALL {
        let (times, calls) = beside(neighbour, 1, || sums(options.seconds));
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!(
            "  beside {:<14} {:>6} sums, median {:.2?}, 99 % {:.2?}, largest {:.2?}; {calls} calls",
            neighbour.name(),
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    if held {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
