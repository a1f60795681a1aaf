//! The memory that a call holds besides its tensors: no zero-filled map, no column matrix.
//!
//! `cargo test --test memory -- --nocapture` prints what was measured.

#[path = "common/allocator.rs"]
mod allocator;
mod common;

use std::process::Command;

use allocator::{held, peak_of};
use burn::tensor::{Device, Tensor};
use burn_deconv::{Algorithm, Deconv2dOptions};
use common::table::TABLE;
use common::{Case, ours};

const F32: usize = size_of::<f32>();

fn layers() -> Vec<(&'static str, Case)> {
    let case = |input, weight, options| Case {
        input,
        weight,
        options,
        bias: true,
        strided: false,
        seed: 1,
    };
    let mut layers = vec![];
    for name in ["unet_up", "segmentation_up", "decoder_16"] {
        let layer = TABLE.find(name).expect("a layer of the table");
        layers.push((name, case(layer.input, layer.weight(), layer.options())));
    }
    let options = Deconv2dOptions::new();
    let large = case([1, 16, 256, 256], [8, 16, 4, 4], options.clone());
    layers.push(("large_map", large));
    // A copy of its input is larger than what is kept between calls.
    let huge = case([1, 16, 512, 1056], [8, 16, 2, 2], options);
    layers.push(("huge_map", huge));
    layers
}

/// What a thread works in: rows of the source and of sums, 320 KiB each, which fit its second-level
/// cache; and everything that does not grow with the layer.
const A_THREAD: usize = 1 << 20;

/// The most that calls keep for the next call, without the memory of large results.
const KEPT: usize = 32 << 20;

/// The memory of results of so many bytes and more is kept: here the output and the input's gradient.
const LARGE_RESULT: usize = 16 << 20;

/// What the first call may hold besides its tensors. Forward: packed weights, with minimal filtering 25 for
/// each 9 (k 3) or 36 for each 16 (k 4), rounded up to whole tiles; and no copy of a map. Backward: also a
/// copy of the input.
fn bounds(case: &Case, threads: usize) -> [usize; 2] {
    let [input, weight] = [case.input, case.weight].map(bytes);
    let packed = match case.weight[3] {
        3 => 3 * weight,
        4 => 5 * weight / 2,
        _ => 2 * weight,
    };
    let forward = packed + threads * A_THREAD;
    [forward, forward + input]
}

fn bytes(shape: [usize; 4]) -> usize {
    shape.iter().product::<usize>() * F32
}

/// Prints and checks what the calls of this process hold besides their tensors. Later calls use the
/// buffers of the first one, which count as held.
fn check(name: &str, case: &Case, threads: usize) {
    let device = Device::flex().autodiff();
    let none = held();
    // Memory does not depend on the values.
    let input = Tensor::<4>::ones(case.input, &device).require_grad();
    let weight = Tensor::<4>::ones(case.weight, &device).require_grad();
    let bias = Tensor::<1>::ones([case.weight[0]], &device).require_grad();
    let f = ours(case, Algorithm::SkipZeros);

    let parameters = bytes(case.input) + bytes(case.weight) + case.weight[0] * F32;
    let output_bytes = bytes(case.geometry().output_shape());
    let results = [output_bytes, bytes(case.input)];
    let large = results.iter().filter(|bytes| **bytes >= LARGE_RESULT);
    let kept_bound = KEPT + large.sum::<usize>();
    let [forward_bound, backward_bound] = bounds(case, threads);
    for call in ["first", "second", "third"] {
        let (output, peak) = peak_of(|| f(input.clone(), weight.clone(), Some(bias.clone())));
        let forward = peak - none - (parameters + output_bytes);
        // Begins with the output's gradient, ones.
        let (gradients, peak) = peak_of(|| output.backward());
        let backward = peak - none - 2 * (parameters + output_bytes);
        drop((output, gradients));
        let kept = held() - none - parameters;

        let forward_bound = if call == "first" {
            forward_bound
        } else {
            backward_bound
        };
        let kib = [forward, forward_bound, backward, backward_bound, kept]
            .map(|bytes| format!("{:>8}", bytes / 1024));
        println!("{name:<15} {threads:>7} {call:<6} {}", kib.join(" "));
        assert!(forward <= forward_bound, "{forward} bytes, forward");
        assert!(backward <= backward_bound, "{backward} bytes, backward");
        assert!(kept <= kept_bound, "{kept} bytes, kept");
    }
}

/// Names the layer of a child process.
const LAYER: &str = "BURN_DECONV_MEMORY_LAYER";
const THREADS: &str = "RAYON_NUM_THREADS";

/// The only test of this file, because nothing may run beside it. Each layer has its own process,
/// where the first call has to make all buffers.
#[test]
fn a_call_holds_little_beside_its_tensors() {
    if let Ok(layer) = std::env::var(LAYER) {
        let threads = std::env::var(THREADS).unwrap().parse().unwrap();
        let all = layers();
        let (name, case) = all.iter().find(|(name, _)| *name == layer).unwrap();
        println!(); // libtest may have begun the line
        return check(name, case, threads);
    }

    println!("KiB held besides the tensors, with the bounds, and KiB kept between calls");
    println!("layer           threads call    forward    bound backward    bound     kept");
    for (name, _) in layers() {
        for threads in ["1", "4"] {
            let this = "a_call_holds_little_beside_its_tensors";
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", this, "--nocapture"])
                .envs([(LAYER, name), (THREADS, threads)])
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&child.stdout);
            output
                .lines()
                .filter(|line| line.starts_with(name))
                .for_each(|row| println!("{row}"));
            assert!(
                child.status.success(),
                "{name} on {threads} threads: {}",
                String::from_utf8_lossy(&child.stderr)
            );
        }
    }
}
