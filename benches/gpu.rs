//! Our layer beside Burn's on a wgpu device, on the layers of `layers.json`: the first call, the time
//! of later calls (medians of alternating rounds), kernel launches and memory. Our answers are checked
//! first, gradients included: they equal flex's to the last bit.
//!
//! ```text
//! cargo bench --features wgpu --bench gpu                  # add fusion,autotune to have those
//! CUBECL_WGPU_DEFAULT_DEVICE=Cpu cargo bench --features wgpu --bench gpu   # a software device
//! cargo bench --features wgpu --bench gpu -- unet dcgan    # layers with these in their names
//! cargo test --release --features wgpu --bench gpu         # only checks small layers' answers
//! ```

#[allow(dead_code, unused_imports)] // Not every bench uses everything.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use common::{Backend, Case, Layer, Pass, Row, TABLE};

const ROWS: [Row; 2] = [Row::SkipZeros, Row::Burn];
const PASSES: [Pass; 2] = [Pass::Forward, Pass::ForwardBackward];
const ROUNDS: usize = 5;
/// A round repeats a call for this time.
const ROUND: Duration = Duration::from_millis(200);
/// As a test, larger layers are left out.
const MAX_TEST_FLOPS: u64 = 300_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it measures, and nothing when it tests.
    let is_test = !arguments.iter().any(|argument| argument == "--bench");
    let names: Vec<_> = arguments
        .iter()
        .filter(|name| !name.starts_with("--"))
        .collect();
    let is_wanted = |layer: &&Layer| {
        let named = names.is_empty() || names.iter().any(|name| layer.name.contains(*name));
        named && !(is_test && layer.flops(Pass::Forward) > MAX_TEST_FLOPS)
    };

    println!(
        "{:?}; times in milliseconds, ours / Burn's = how often ours is faster",
        device()
    );
    println!("layer, pass: first call | call | launches | MiB");
    let mut ratios = [vec![], vec![]];
    for layer in TABLE
        .layers
        .iter()
        .chain(&TABLE.well_known)
        .filter(is_wanted)
    {
        let first = ROWS.map(|row| first_call(layer, row));
        check(layer);
        if is_test {
            println!("{}: right", layer.name);
            continue;
        }
        let cases = ROWS.map(|row| Case::new(layer, row, Backend::Wgpu));
        for (pass, ratios) in PASSES.into_iter().zip(&mut ratios) {
            let [ours, burn] = medians(&cases, pass);
            let [ours_launches, burn_launches] = cases.each_ref().map(|case| launches(case, pass));
            let [ours_memory, burn_memory] = cases.each_ref().map(|case| memory(case, pass));
            ratios.push(burn / ours);
            println!(
                "{:22} {pass:?}: {:.0} / {:.0} | {ours:.2} / {burn:.2} = {:.2} | {ours_launches} / \
                 {burn_launches} | {ours_memory:.1} / {burn_memory:.1}",
                layer.name,
                first[0],
                first[1],
                burn / ours,
            );
        }
    }
    for (pass, ratios) in PASSES.into_iter().zip(ratios) {
        let logarithms: f64 = ratios.iter().map(|ratio: &f64| ratio.ln()).sum();
        let mean = (logarithms / ratios.len() as f64).exp();
        let smallest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{pass:?}: geometric mean {mean:.2}, smallest {smallest:.2}");
    }
}

fn device() -> Device {
    Backend::Wgpu.device()
}

/// Ours must be right. Burn's may be wrong: Mesa's software device ends a loop after 65,535 turns,
/// and Burn's weight gradient has a loop over the whole map.
fn check(layer: &Layer) {
    let expected = Case::new(layer, Row::SkipZeros, Backend::Flex).digests();
    let [ours, burn] = ROWS.map(|row| Case::new(layer, row, Backend::Wgpu).digests());
    assert_eq!(ours, expected, "{}: another answer than flex", layer.name);
    if burn != expected {
        println!(
            "{}: Burn's layer gives another answer than flex",
            layer.name
        );
    }
}

fn run(case: &Case, pass: Pass) {
    match pass {
        Pass::Forward => drop(case.forward()),
        Pass::ForwardBackward => drop(case.forward_backward(case.leaves())),
    }
}

/// Calls until `time` is over, and waits for the device. Milliseconds of one call.
fn time(case: &Case, pass: Pass, time: Duration) -> f64 {
    let (began, mut calls) = (Instant::now(), 0);
    loop {
        run(case, pass);
        device().sync().expect("the device works");
        calls += 1;
        if began.elapsed() >= time {
            return began.elapsed().as_secs_f64() * 1e3 / f64::from(calls);
        }
    }
}

/// With what must be compiled, or tuned.
fn first_call(layer: &Layer, row: Row) -> f64 {
    let case = Case::new(layer, row, Backend::Wgpu);
    device().sync().expect("the device works");
    time(&case, Pass::ForwardBackward, Duration::ZERO)
}

fn medians(cases: &[Case; 2], pass: Pass) -> [f64; 2] {
    let mut times = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (case, times) in cases.iter().zip(&mut times) {
            times.push(time(case, pass, ROUND));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl LaunchObserver for Counter {
    fn launched(&self, _kernel: &'static str) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn launches(case: &Case, pass: Pass) -> usize {
    let counter = Arc::new(Counter::default());
    let observation = LaunchObservation::new(counter.clone());
    run(case, pass);
    device().sync().expect("the device works");
    drop(observation);
    counter.0.load(Relaxed)
}

/// What the device reserves for a call, in MiB, beyond what it holds before.
fn memory(case: &Case, pass: Pass) -> f64 {
    let usage = || {
        device().sync().expect("the device works");
        device()
            .memory_pool_usage()
            .map_or(0, |usage| usage.bytes_reserved)
    };
    device().memory_cleanup();
    let before = usage();
    run(case, pass);
    let after = usage();
    after.saturating_sub(before) as f64 / f64::from(1 << 20)
}
