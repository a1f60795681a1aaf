//! Both algorithms and Burn's own `conv_transpose2d` on the layers of `layers.json`: forward, and
//! forward with backward, on each CPU backend. Before it is timed, each answer is checked,
//! gradients included: it equals the explicit algorithm's answer on flex to the last bit.
//!
//! ```text
//! cargo bench --features ndarray --bench speed
//! cargo bench --features ndarray --bench speed -- flex::forward::skip_zeros
//! cargo bench --features ndarray --bench speed -- flex.*mask_rcnn
//! cargo bench --features ndarray --bench speed -- --test    # only checks the answers
//! ```
//!
//! An "item" is a floating-point operation whose result reaches the output. The bytes are those of
//! the layer's tensors, each counted once. `benches/peers` compares with other frameworks.

mod common;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use common::{Backend, Case, Digest, Layer, Pass, Row, TABLE};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

fn main() {
    divan::main();
}

/// The three functions of a backend and pass.
macro_rules! rows {
    ($backend:ident, $pass:ident, explicit on $explicit:expr) => {
        use super::super::*;

        #[divan::bench(args = names($explicit), max_time = 1, sample_count = 50)]
        fn explicit(bencher: Bencher, name: &str) {
            bench(bencher, name, Row::Explicit, Backend::$backend, Pass::$pass);
        }

        #[divan::bench(args = names(u64::MAX), max_time = 1, sample_count = 50)]
        fn skip_zeros(bencher: Bencher, name: &str) {
            bench(
                bencher,
                name,
                Row::SkipZeros,
                Backend::$backend,
                Pass::$pass,
            );
        }

        #[divan::bench(args = names(u64::MAX), max_time = 1, sample_count = 50)]
        fn burn(bencher: Bencher, name: &str) {
            bench(bencher, name, Row::Burn, Backend::$backend, Pass::$pass);
        }
    };
}

mod flex {
    mod forward {
        rows!(Flex, Forward, explicit on u64::MAX);
    }
    mod forward_backward {
        rows!(Flex, ForwardBackward, explicit on u64::MAX);
    }
}

#[cfg(feature = "ndarray")]
mod ndarray {
    // The explicit algorithm's backward pass takes 15 s per GFLOP here, so only small layers run.
    const MAX_EXPLICIT_FLOPS: u64 = 100_000_000;

    mod forward {
        rows!(Ndarray, Forward, explicit on super::MAX_EXPLICIT_FLOPS);
    }
    mod forward_backward {
        rows!(Ndarray, ForwardBackward, explicit on super::MAX_EXPLICIT_FLOPS);
    }
}

/// The layers whose forward pass has at most so many FLOPs.
fn names(most_flops: u64) -> Vec<&'static str> {
    TABLE
        .layers
        .iter()
        .chain(&TABLE.well_known)
        .filter(|layer| layer.flops(Pass::Forward) <= most_flops)
        .map(|layer| layer.name.as_str())
        .collect()
}

fn bench(bencher: Bencher, name: &str, row: Row, backend: Backend, pass: Pass) {
    let layer = TABLE.find(name).expect("a name of the table");
    let case = Case::new(layer, row, backend);
    assert_eq!(
        case.digests(),
        reference(layer),
        "{name}: {row:?} on {backend:?} gives other answers than the explicit algorithm"
    );

    let bencher = bencher
        .counter(ItemsCount::new(layer.flops(pass)))
        .counter(BytesCount::new(layer.bytes(pass)));
    match pass {
        Pass::Forward => bencher.bench(|| case.forward()),
        Pass::ForwardBackward => bencher
            .with_inputs(|| case.leaves())
            .bench_values(|leaves| case.forward_backward(leaves)),
    }
}

/// The digests of the explicit algorithm on flex, computed once a layer.
fn reference(layer: &Layer) -> [Digest; 3] {
    static KNOWN: LazyLock<Mutex<HashMap<String, [Digest; 3]>>> = LazyLock::new(Mutex::default);

    let mut known = KNOWN.lock().expect("no check has failed before");
    let explicit = || Case::new(layer, Row::Explicit, Backend::Flex).digests();
    let digests = known.entry(layer.name.clone()).or_insert_with(explicit);
    digests.clone()
}
