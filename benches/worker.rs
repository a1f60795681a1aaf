//! Computes the layers of `layers.json` for `benches/peers/run.py`, which alternates between this
//! process and those of other frameworks. It reads one JSON request per line of the standard input,
//! and writes one JSON answer per line of the standard output.
//!
//! ```text
//! {"prepare": {"layer": "article", "row": "skip_zeros", "backend": "flex"}}
//! {"run": {"pass": "forward", "calls": 3}}         {"seconds": [..]}
//! {"memory": {}}                                   {"before": bytes, "forward": bytes, ..}
//! {"digest": {}}                                   {"output": .., "grad_input": .., ..}
//! ```

mod common;

use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use common::{Backend, Case, Layer, Pass, Row, TABLE};
use serde::Deserialize;
use serde_json::{Value, json};

const PASSES: [Pass; 2] = [Pass::Forward, Pass::ForwardBackward];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Prepare {
        layer: String,
        row: Row,
        backend: Backend,
    },
    Run {
        pass: Pass,
        calls: usize,
    },
    /// The memory of the process before any call, and the most during one of each pass.
    Memory {},
    Digest {},
}

fn main() -> io::Result<()> {
    if !std::env::args().any(|argument| argument == "--serve") {
        println!("worker: serves benches/peers/run.py, which starts it with --serve");
        return Ok(());
    }
    // The other frameworks' processes have held memory before they are timed, so their allocator
    // keeps what is freed instead of returning it to the system after each call. This does the same
    // here.
    drop(black_box(vec![1_u8; 31 << 20]));
    let mut case = None;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        let mut output = io::stdout().lock();
        writeln!(output, "{}", answer(request, &mut case)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(request: Request, case: &mut Option<Case>) -> io::Result<Value> {
    if let Request::Prepare {
        layer,
        row,
        backend,
    } = request
    {
        let layer = TABLE
            .find(&layer)
            .ok_or_else(|| io::Error::other("no such layer"))?;
        *case = Some(Case::new(layer, row, backend));
        return Ok(describe(layer));
    }
    let case = case.as_ref();
    let case = case.ok_or_else(|| io::Error::other("the first request is to prepare"))?;
    Ok(match request {
        Request::Run { pass, calls } => {
            let seconds: Vec<f64> = (0..calls).map(|_| time(case, pass)).collect();
            json!({ "seconds": seconds })
        }
        Request::Memory {} => {
            let before = memory("VmRSS:");
            let [forward, forward_backward] = PASSES.map(|pass| {
                // Resets the peak to what is held now; no such file, no peak.
                fs::write("/proc/self/clear_refs", "5").ok()?;
                time(case, pass);
                memory("VmHWM:")
            });
            json!({ "before": before, "forward": forward, "forward_backward": forward_backward })
        }
        Request::Digest {} => {
            let [output, grad_input, grad_weight] = case.digests();
            json!({ "output": output, "grad_input": grad_input, "grad_weight": grad_weight })
        }
        Request::Prepare { .. } => unreachable!("answered above"),
    })
}

/// What the other frameworks' workers and the report must know of a layer.
fn describe(layer: &Layer) -> Value {
    let geometry = layer.geometry();
    json!({
        "output": geometry.output_shape(),
        "weight": geometry.weight_shape(),
        "full": geometry.axes().map(|axis| axis.full()),
        "crop_begin": geometry.axes().map(|axis| axis.crop_begin()),
        "crop_end": geometry.axes().map(|axis| axis.crop_end()),
        "flops": PASSES.map(|pass| layer.flops(pass)),
        "bytes": PASSES.map(|pass| layer.bytes(pass)),
    })
}

/// The seconds of one call; to free its result is not part of it.
fn time(case: &Case, pass: Pass) -> f64 {
    match pass {
        Pass::Forward => {
            let clock = Instant::now();
            let output = black_box(case.forward());
            let seconds = clock.elapsed().as_secs_f64();
            drop(output);
            seconds
        }
        Pass::ForwardBackward => {
            let leaves = case.leaves();
            let clock = Instant::now();
            let gradients = black_box(case.forward_backward(leaves));
            let seconds = clock.elapsed().as_secs_f64();
            drop(gradients);
            seconds
        }
    }
}

/// A line of the process's status on Linux, in bytes.
fn memory(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|text| text.strip_prefix(line))?;
    let number = kibibytes.trim().strip_suffix(" kB")?;
    number.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
