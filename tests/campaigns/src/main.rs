//! Long random tests and measurements that are too slow for the test suite.
//!
//! ```text
//! cargo run --release -p campaigns -- layer --cases 10000
//! ```
//!
//! Every campaign prints its counts and its time, and exits with an error if anything was wrong. A
//! seed makes it repeat.

mod files;
#[path = "../../../crates/burn-weights/examples/import.rs"]
#[allow(dead_code)] // its `main`
mod import;
#[path = "../../../crates/burn-weights/tests/weights/models.rs"]
#[allow(dead_code)] // the models' outputs
mod models;

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
    /// Placeholder until the first campaign is written.
    Layer(Cases),
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
        Campaign::Layer(_) => ExitCode::FAILURE,
    }
}
