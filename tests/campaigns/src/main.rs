//! Long random tests and measurements that are too slow for the test suite.
//!
//! ```text
//! cargo run --release -p campaigns -- layer --cases 10000
//! ```
//!
//! Every campaign prints its counts and its time, and exits with an error if anything was wrong. A
//! seed makes it repeat.

mod digits;
#[path = "../../../crates/deconv-kernel/src/draw.rs"]
mod draw;
mod files;
mod gradients;
#[path = "../../../crates/burn-weights/examples/import.rs"]
#[allow(dead_code)] // its `main`
mod import;
mod layer;
#[path = "../../../crates/burn-weights/tests/weights/models.rs"]
#[allow(dead_code)] // the models' outputs
mod models;
mod neighbours;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Long random tests and measurements that are too slow for the test suite")]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// Damaged files of weights.
    Files(Cases),
    /// Random layers on Flex against plain loops and an independent formula of the sizes.
    Layer(Cases),
    /// The gradient checker on random right functions, and on functions with a planted fault.
    Gradients(Cases),
    /// The digits of the weight's gradient over millions of positions, beside Burn's layer.
    Digits,
    /// What code that shares Rayon's threads sees, beside Burn's layer and beside nothing.
    Neighbours(neighbours::Options),
}

/// What every campaign takes.
#[derive(Args)]
struct Cases {
    /// The number of random cases.
    #[arg(long, default_value_t = 1_000)]
    cases: usize,
    /// The seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match Arguments::parse().campaign {
        Campaign::Files(cases) => files::run(&cases),
        Campaign::Layer(Cases { cases, seed }) => layer::run(cases, seed),
        Campaign::Gradients(Cases { cases, seed }) => gradients::run(cases, seed),
        Campaign::Digits => digits::run(),
        Campaign::Neighbours(options) => neighbours::run(&options),
    }
}
