//! Long random tests and measurements that are too slow for the test suite.
//!
//! ```text
//! cargo run --release -p campaigns -- layer --cases 10000
//! ```
//!
//! Every campaign prints its counts and its time, and exits with an error if anything was wrong. A
//! seed makes it repeat.

mod gradients;

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
    /// Placeholder until the first campaign is written.
    Layer(Cases),
    /// The gradient checker on random right functions, and on ones with a planted fault.
    Gradients(Cases),
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
        Campaign::Layer(_) => ExitCode::FAILURE,
        Campaign::Gradients(Cases { cases, seed }) => gradients::run(cases, seed),
    }
}
