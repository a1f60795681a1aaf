//! One line of progress. A terminal shows it in place; elsewhere it is printed once an epoch.

use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use burn::train::Interrupter;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use crate::quality::psnr_of_mse;
use crate::stop::Stop;

/// Shows the epoch, the patches done, the losses and the time left, and stops the training on
/// Ctrl-C.
pub struct ProgressLine {
    stop: Stop,
    interrupter: Interrupter,
    quiet: bool,
    rewrite: bool,
    started: Instant,
    first_epoch: usize,
    epoch: usize,
    epochs: usize,
    training: bool,
    items_done: usize,
    items: usize,
    train_loss: Mean,
    valid_loss: Mean,
}

/// The mean of a loss over the steps of an epoch.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, state: MetricState) {
        if let MetricState::Numeric(_, Some(entry)) = state {
            match entry {
                // The mean of all steps of the epoch, at its end.
                NumericEntry::Final(mean) => (self.sum, self.count) = (mean, 1),
                step => (self.sum, self.count) = (self.sum + step.current(), self.count + 1),
            }
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl ProgressLine {
    /// Starts the clock. When `stop` is requested, `interrupter` is told to stop after the step.
    pub fn new(stop: Stop, interrupter: Interrupter) -> Self {
        Self {
            stop,
            interrupter,
            quiet: false,
            rewrite: stdout().is_terminal(),
            started: Instant::now(),
            first_epoch: 1,
            epoch: 1,
            epochs: 1,
            training: true,
            items_done: 0,
            items: 0,
            train_loss: Mean::default(),
            valid_loss: Mean::default(),
        }
    }

    /// Shows nothing, for a run with a dashboard; it still stops the training.
    pub fn silent(self) -> Self {
        Self {
            quiet: true,
            rewrite: false,
            ..self
        }
    }

    fn line(&self) -> String {
        let mut line = format!(
            "epoch {}/{}, {}/{} patches",
            self.epoch, self.epochs, self.items_done, self.items
        );
        if let Some(loss) = self.train_loss.value() {
            line += &format!(", train loss {loss:.6}");
        }
        if let Some(loss) = self.valid_loss.value() {
            line += &format!(", valid {:.2} dB", psnr_of_mse(loss));
        }
        if let Some(seconds) = self.seconds_left() {
            line += &format!(", {}:{:02} left", seconds / 60, seconds % 60);
        }
        line
    }

    /// Estimated from the time so far.
    fn seconds_left(&self) -> Option<u64> {
        let epoch = self.items_done as f64 / self.items.max(1) as f64;
        let done = (self.epoch - self.first_epoch) as f64 + epoch;
        let left = (self.epochs - self.epoch) as f64 + 1.0 - epoch;
        (done > 0.0).then(|| (self.started.elapsed().as_secs_f64() * left / done).round() as u64)
    }

    /// The training continues even if the line cannot be written.
    fn show(&self) {
        if self.quiet {
            return;
        }
        let mut out = stdout().lock();
        let _ = if self.rewrite {
            write!(out, "\r{}\x1b[K", self.line()).and_then(|()| out.flush())
        } else {
            writeln!(out, "{}", self.line())
        };
    }
}

impl TrainingProgressLogger for ProgressLine {
    fn start(&mut self, epochs: usize, first_epoch: usize, _: Option<usize>, _: Option<&str>) {
        self.started = Instant::now();
        (self.epoch, self.first_epoch, self.epochs) = (first_epoch, first_epoch, epochs);
    }

    fn start_split(&mut self, split: &str, items: usize) {
        self.training = split == "train";
        if self.training {
            (self.items_done, self.items) = (0, items);
            self.train_loss = Mean::default();
        } else {
            self.valid_loss = Mean::default();
        }
    }

    fn update_split(&mut self, items_done: usize) {
        if self.stop.is_requested() {
            self.interrupter.stop(Some("Ctrl-C"));
        }
        if self.training {
            self.items_done = items_done;
            if self.rewrite {
                self.show();
            }
        }
    }

    fn end_split(&mut self) {}

    fn update_epoch(&mut self, epoch: usize) {
        self.show();
        if epoch < self.epochs {
            (self.epoch, self.items_done) = (epoch + 1, 0);
        }
    }

    fn end(&mut self) {
        if self.rewrite {
            println!();
        }
    }

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererTraining for ProgressLine {
    fn update_train(&mut self, state: MetricState) {
        self.train_loss.add(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.valid_loss.add(state);
    }
}

impl MetricsRenderer for ProgressLine {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}

/// [`MetricsRenderer`] requires it. The evaluation is our own, in [`report`](crate::report).
impl MetricsRendererEvaluation for ProgressLine {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl EvaluationProgressLogger for ProgressLine {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}
