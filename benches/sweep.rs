//! Our layer beside Burn's on random layers that are drawn like real ones: 1 to 1,024 channels, maps of
//! 1 to 512, kernels of 1 to 16, strides of 1 to 8, batches of 1 to 64, groups. The table of layers is
//! what one tunes on; this shows what that is worth elsewhere.
//!
//! Every second layer is kept aside. No rule and no constant of the kernels may be chosen on those:
//! they are the check. Before it is timed, each answer is compared with Burn's, gradients included.
//!
//! ```text
//! cargo bench --bench sweep                                  # 500 layers, in about 5 minutes
//! cargo bench --bench sweep -- --layers 2000 --seed 7
//! cargo bench --bench sweep -- --csv sweep.csv               # a line for each layer
//! ```

#[allow(dead_code, unused_imports)] // Not every bench uses everything.
mod common;
#[path = "../crates/deconv-kernel/src/draw.rs"]
mod draw;

use std::io::Write;
use std::time::{Duration, Instant};

use burn_deconv::Padding;
use common::{Backend, Case, Layer, Pass, Row};
use draw::Draw;

const PASSES: [Pass; 2] = [Pass::Forward, Pass::ForwardBackward];
const ROUNDS: usize = 5;
/// A round repeats a call for this time.
const ROUND: Duration = Duration::from_millis(4);
/// Larger layers would take minutes with Burn's backward pass.
const FLOPS: std::ops::RangeInclusive<u64> = 20_000..=500_000_000;
const MAX_BYTES: u64 = 64 << 20;
/// "Slower" means by more than this.
const NOISE: f64 = 1.05;

struct Options {
    layers: usize,
    seed: u64,
    csv: Option<String>,
}

fn options() -> Options {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: usize| {
        value(name).map_or(default, |value| match value.parse() {
            Ok(number) => number,
            Err(_) => panic!("{name} takes a number, got {value:?}"),
        })
    };
    // Cargo says `--bench` when it measures, and nothing when it tests.
    let is_test = !arguments.iter().any(|argument| argument == "--bench");
    Options {
        layers: number("--layers", if is_test { 10 } else { 500 }),
        seed: number("--seed", 1) as u64,
        csv: value("--csv"),
    }
}

fn main() {
    let options = options();
    let draw = &mut Draw::new(options.seed);
    let mut csv = options.csv.map(|path| match std::fs::File::create(&path) {
        Ok(file) => file,
        Err(error) => panic!("cannot write {path}: {error}"),
    });
    let began = Instant::now();
    let mut halves = [Half::default(), Half::default()];
    for number in 0..options.layers {
        let layer = random_layer(draw);
        let cases = [Row::SkipZeros, Row::Burn].map(|row| Case::new(&layer, row, Backend::Flex));
        let [ours, burns] = cases.each_ref().map(Case::digests);
        assert!(ours == burns, "another answer than Burn's: {layer:?}");

        let times = PASSES.map(|pass| medians(&cases, pass));
        halves[number % 2].add(&layer, times);
        if let Some(file) = &mut csv {
            let [[forward, burn_forward], [both, burn_both]] = times;
            let line = format!(
                "{},{forward},{burn_forward},{both},{burn_both},{}",
                ["fitted", "aside"][number % 2],
                layer.name
            );
            writeln!(file, "{line}").expect("the file takes a line");
        }
        if (number + 1).is_multiple_of(50) {
            let seconds = began.elapsed().as_secs();
            eprintln!("{} of {} layers, {seconds} s", number + 1, options.layers);
        }
    }
    for (name, half) in ["to fit rules on", "kept aside"].into_iter().zip(halves) {
        half.print(name);
    }
}

/// What one half of the layers took.
#[derive(Default)]
struct Half {
    /// For each pass, Burn's time over ours.
    ratios: [Vec<f64>; 2],
    slower: Vec<String>,
}

impl Half {
    fn add(&mut self, layer: &Layer, times: [[f64; 2]; 2]) {
        for ((pass, [ours, burns]), ratios) in PASSES.into_iter().zip(times).zip(&mut self.ratios) {
            ratios.push(burns / ours);
            if ours > NOISE * burns {
                self.slower.push(format!(
                    "{pass:?} {:.2}: {ours:.4} ms, Burn {burns:.4}: {}",
                    burns / ours,
                    layer.name
                ));
            }
        }
    }

    fn print(self, name: &str) {
        println!(
            "\n{} layers {name}: Burn's time / ours",
            self.ratios[0].len()
        );
        for (pass, ratios) in PASSES.into_iter().zip(self.ratios) {
            let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
            let mean = (logarithms / ratios.len() as f64).exp();
            let smallest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            println!("{pass:?}: geometric mean {mean:.2}, smallest {smallest:.2}");
        }
        println!("slower than Burn's by more than 5 %: {}", self.slower.len());
        for line in self.slower {
            println!("  {line}");
        }
    }
}

/// Milliseconds of one call: the medians of alternating rounds.
fn medians(cases: &[Case; 2], pass: Pass) -> [f64; 2] {
    let mut times = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (case, times) in cases.iter().zip(&mut times) {
            times.push(time(case, pass));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn time(case: &Case, pass: Pass) -> f64 {
    let (began, mut calls) = (Instant::now(), 0);
    while calls == 0 || began.elapsed() < ROUND {
        match pass {
            Pass::Forward => drop(case.forward()),
            Pass::ForwardBackward => drop(case.forward_backward(case.leaves())),
        }
        calls += 1;
    }
    began.elapsed().as_secs_f64() * 1e3 / f64::from(calls)
}

/// Kernels and strides of real layers; the last ones are rare.
const KERNELS: [(usize, usize); 20] = [
    (4, 2),
    (3, 2),
    (2, 2),
    (4, 2),
    (3, 2),
    (2, 2),
    (3, 1),
    (1, 1),
    (5, 2),
    (6, 2),
    (4, 4),
    (8, 4),
    (4, 1),
    (16, 8),
    (9, 3),
    (3, 3),
    (8, 8),
    (7, 1),
    (1, 2),
    (11, 5),
];
const CHANNELS: [usize; 20] = [
    1, 2, 3, 4, 8, 12, 16, 21, 24, 32, 48, 64, 64, 96, 128, 192, 256, 384, 512, 1024,
];
const MAPS: [usize; 22] = [
    1, 2, 4, 4, 7, 7, 8, 8, 13, 14, 16, 16, 20, 28, 32, 33, 56, 64, 92, 128, 256, 512,
];
const BATCHES: [usize; 10] = [1, 1, 1, 1, 2, 4, 8, 16, 32, 64];

fn random_layer(draw: &mut Draw) -> Layer {
    loop {
        let layer = any_layer(draw);
        let flops = layer.flops(Pass::Forward);
        if FLOPS.contains(&flops) && layer.bytes(Pass::Forward) <= MAX_BYTES {
            return layer;
        }
    }
}

fn any_layer(draw: &mut Draw) -> Layer {
    let (kernel, stride) = draw.pick(&KERNELS);
    let c_in = draw.pick(&CHANNELS);
    let c_out = match draw.below(4) {
        0 => c_in,
        1 | 2 => c_in.div_ceil(2),
        _ => draw.pick(&CHANNELS),
    };
    let height = draw.pick(&MAPS);
    let width = match draw.below(3) {
        0 => draw.pick(&MAPS),
        _ => height,
    };
    let batch = draw.pick(&BATCHES);
    // One in ten is a row, one in ten is depthwise, one in ten has a few groups.
    let is_row = draw.below(10) == 0;
    let (c_out, groups) = match draw.below(10) {
        0 => (c_in, c_in),
        1 if [c_in, c_out].iter().all(|c| c.is_multiple_of(4)) => (c_out, 4),
        _ => (c_out, 1),
    };
    let padding = draw.pick(&[Padding::Same, Padding::Same, Padding::Valid]);
    let [h, k_h, s_h] = if is_row {
        [1, 1, 1]
    } else {
        [height, kernel, stride]
    };
    Layer {
        name: format!(
            "batch {batch}; {c_in} to {c_out}; {h}x{width}; k {k_h}x{kernel}; s {s_h}x{stride}; \
             groups {groups}; {padding:?}"
        ),
        input: [batch, c_in, h, width],
        channels_out: c_out,
        kernel: [k_h, kernel],
        stride: [s_h, stride],
        dilation: [1, 1],
        groups,
        padding,
    }
}
