//! Training with burn-train: the step, and the run from the first epoch to the last.

use std::path::Path;

use burn::backend::ExecutionError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::AdamConfig;
use burn::tensor::Tensor;
use burn::train::checkpoint::{
    ComposedCheckpointingStrategy, KeepLastNCheckpoints, MetricCheckpointingStrategy,
};
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::metric::{Adaptor, LossInput, LossMetric};
use burn::train::{
    InferenceStep, Interrupter, ItemLazy, Learner, MetricEarlyStoppingStrategy, StoppingCondition,
    SupervisedTraining, TrainOutput, TrainStep,
};

use crate::checkpoint::{
    RunConfig, check_checkpoint, has_epoch, last_checkpoint, load_epoch, start_over,
};
use crate::curves::Curves;
use crate::data::{Batch, Patches, loader};
use crate::device::device;
use crate::error::UpsamplerError;
use crate::model::Fsrcnn;
use crate::progress::ProgressLine;
use crate::stop::Stop;

/// The values of a step that the metrics read.
pub struct StepOutput {
    /// The mean squared error: `[1]`
    loss: Tensor<1>,
}

impl Adaptor<LossInput> for StepOutput {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        Ok(Self {
            loss: self.loss.without_autodiff(),
        })
    }
}

/// The mean squared error, which PSNR is made of.
pub fn loss(output: Tensor<4>, truth: Tensor<4>) -> Tensor<1> {
    MseLoss::new().forward(output, truth, Reduction::Mean)
}

impl TrainStep for Fsrcnn {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> TrainOutput<StepOutput> {
        let loss = loss(self.forward(batch.low), batch.truth);
        TrainOutput::new(self, loss.backward(), StepOutput { loss })
    }
}

impl InferenceStep for Fsrcnn {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> StepOutput {
        StepOutput {
            loss: loss(self.forward(batch.low), batch.truth),
        }
    }
}

/// How long a run trains, and how it is watched.
pub struct Run<'a> {
    /// For checkpoints and curves.
    pub folder: &'a Path,
    pub epochs: usize,
    /// The run ends after so many epochs without a better validation loss.
    pub patience: Option<usize>,
    /// Continues from the last checkpoint.
    pub resume: bool,
    /// Shows burn-train's dashboard instead of the line of progress.
    pub dashboard: bool,
    pub stop: Stop,
}

/// Trains a network, `start` or that of the last checkpoint, until the end of the last epoch. Every
/// epoch ends with a checkpoint. Returns the network of the epoch with the best validation loss.
///
/// # Errors
///
/// A checkpoint that is missing, broken, from another run or cannot be written, and Ctrl-C.
pub fn train(
    config: &RunConfig,
    start: Fsrcnn,
    patches: Patches,
    run: &Run,
) -> Result<Fsrcnn, UpsamplerError> {
    let Run { folder, epochs, .. } = *run;
    let device = device().autodiff();
    let model = config.model.init(&device).load_record(start.into_record());

    let done = if run.resume {
        check_checkpoint(config, &model, folder, epochs)?
    } else {
        start_over(config, folder)?;
        0
    };

    let steps = epochs * patches.train.len().div_ceil(config.batch_size);
    let learning_rate = CosineAnnealingLrSchedulerConfig::new(config.learning_rate, steps)
        .init()
        .expect("the learning rate is below 1 and there is a step");
    let optimizer = AdamConfig::new().with_epsilon(1e-8).init();

    let interrupter = Interrupter::new();
    let progress = ProgressLine::new(run.stop, interrupter.clone());
    // A resumed run continues with another order of the patches.
    let shuffle = config.seed.wrapping_add(done as u64);
    let mut training = SupervisedTraining::new(
        folder,
        loader(patches.train, config.batch_size, Some(shuffle)),
        loader(patches.valid, config.batch_size, None),
    )
    .metrics((LossMetric::new(),))
    .with_metric_logger(Curves::until(done, folder))
    .with_application_logger(None)
    .with_default_checkpointers()
    .with_checkpointing_strategy(
        ComposedCheckpointingStrategy::builder()
            .add(KeepLastNCheckpoints::new(2))
            .add(MetricCheckpointingStrategy::new(
                &LossMetric::new(),
                Aggregate::Mean,
                Direction::Lowest,
                Split::Valid,
            ))
            .build(),
    )
    .with_interrupter(interrupter)
    .num_epochs(epochs);
    if run.dashboard {
        // Burn's own, which Ctrl-C does not reach through the line of progress.
        training = training.with_progress_logger(progress.silent());
    } else {
        training = training.renderer(Box::new(progress));
    }
    if let Some(n_epochs) = run.patience {
        training = training.early_stopping(MetricEarlyStoppingStrategy::new(
            &LossMetric::new(),
            Aggregate::Mean,
            Direction::Lowest,
            Split::Valid,
            StoppingCondition::NoImprovementSince { n_epochs },
        ));
    }
    if done > 0 {
        training = training.checkpoint(done);
    }
    let result = training.launch(Learner::new(model, optimizer, learning_rate));

    match (result.error, result.interrupted) {
        (Some(error), _) => Err(UpsamplerError::Training(error)),
        (None, Some(_)) => Err(match last_checkpoint(folder) {
            Some(saved) => UpsamplerError::Interrupted { saved, epochs },
            None => UpsamplerError::InterruptedAtOnce,
        }),
        (None, None) => best_of(result.model, folder),
    }
}

/// The network of the best epoch that is saved; `last` is that of the last.
fn best_of(last: Fsrcnn, folder: &Path) -> Result<Fsrcnn, UpsamplerError> {
    let Some(end) = last_checkpoint(folder) else {
        return Ok(last);
    };
    let best = Curves::until(end, folder)
        .best_epochs()
        .into_iter()
        .find(|&epoch| has_epoch(folder, epoch));
    match best {
        Some(best) if best != end => {
            println!("epoch {best} of {end} was the best: its network is the result");
            load_epoch(last, folder, best)
        }
        _ => Ok(last),
    }
}
