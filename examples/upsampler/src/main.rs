//! Enlarges pictures with a small network whose last layer is a transposed convolution; trains such
//! networks, and compares them with bicubic enlargement.

mod atomic;
mod bicubic;
mod checkpoint;
mod curves;
mod data;
mod device;
mod enlarge;
mod enlarge_command;
mod error;
mod eval;
mod eval_command;
mod font;
mod images;
mod lock;
mod model;
mod network;
mod picture;
mod progress;
mod quality;
mod report;
mod rng;
mod scene;
#[cfg(feature = "remote")]
mod serve;
mod sheet;
mod steps;
mod stop;
mod tiles;
mod train;
mod train_command;
mod weights;

use std::process::ExitCode;

use burn::tensor::Device;
use clap::{Parser, Subcommand};

use enlarge_command::EnlargeArgs;
use error::{PictureError, UpsamplerError};
use eval_command::EvalArgs;
use steps::StepsArgs;
use stop::{INTERRUPTED_STATUS, Stop};
use train_command::TrainArgs;

/// Enlarges pictures with a small network.
///
/// Without a command it trains one on built-in images, as `upsampler train` does, and draws a
/// comparison with other methods.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Compute on flex (the CPU), or on wgpu, cuda and others, which need a build with the feature of
    /// that name. `remote:ws://HOST:PORT` is a device of another machine.
    #[arg(long, global = true, value_name = "NAME", value_parser = device::parse)]
    device: Option<Device>,

    #[command(flatten)]
    train: TrainArgs,
}

#[derive(Subcommand)]
enum Command {
    Enlarge(EnlargeArgs),
    Eval(EvalArgs),
    Train(TrainArgs),
    Steps(StepsArgs),
    #[cfg(feature = "remote")]
    Serve(serve::ServeArgs),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                UpsamplerError::Interrupted { .. }
                | UpsamplerError::InterruptedAtOnce
                | UpsamplerError::Stopped
                | UpsamplerError::Picture(PictureError::Stopped) => INTERRUPTED_STATUS.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: &Cli) -> Result<(), UpsamplerError> {
    let stop = Stop::on_signals();
    if let Some(device) = &cli.device {
        device::choose(device.clone());
    }
    match &cli.command {
        Some(Command::Enlarge(args)) => enlarge_command::run(args, stop),
        Some(Command::Eval(args)) => eval_command::run(args, stop),
        Some(Command::Train(args)) => train_command::run(args, stop),
        Some(Command::Steps(args)) => steps::run(args),
        #[cfg(feature = "remote")]
        Some(Command::Serve(args)) => serve::run(args),
        None => train_command::run(&cli.train, stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
