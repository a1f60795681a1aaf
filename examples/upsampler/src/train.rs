//! Training with burn-train: the step, and the run from the first epoch to the last.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::ExecutionError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::{Adaptor, LossInput, LossMetric};
use burn::train::{
    InferenceStep, Interrupter, ItemLazy, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use signal_hook::consts::SIGINT;

use crate::checkpoint::{RunConfig, check_checkpoint, last_checkpoint, start_over};
use crate::data::{Batch, Patches, loader};
use crate::error::UpsamplerError;
use crate::model::Upsampler;
use crate::progress::ProgressLine;
use crate::stop::INTERRUPTED_STATUS;

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

impl Upsampler {
    fn loss(&self, batch: Batch) -> Tensor<1> {
        MseLoss::new().forward(self.forward(batch.low), batch.truth, Reduction::Mean)
    }
}

impl TrainStep for Upsampler {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> TrainOutput<StepOutput> {
        let loss = self.loss(batch);
        TrainOutput::new(self, loss.backward(), StepOutput { loss })
    }
}

impl InferenceStep for Upsampler {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, batch: Batch) -> StepOutput {
        StepOutput {
            loss: self.loss(batch),
        }
    }
}

/// Trains a new network, or the network of the last checkpoint in `folder`, until the end of epoch
/// `epochs`. Every epoch ends with a checkpoint.
///
/// # Errors
///
/// A checkpoint that is missing, broken, from another run or cannot be written, and Ctrl-C.
pub fn train(
    config: &RunConfig,
    patches: Patches,
    epochs: usize,
    folder: &Path,
    resume: bool,
) -> Result<Upsampler, UpsamplerError> {
    let device = Device::default().autodiff();
    device.seed(config.seed);
    let model = config.model.init(&device);

    let done = if resume {
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

    let stop = stop_on_ctrl_c();
    let interrupter = Interrupter::new();
    let progress = ProgressLine::new(stop.clone(), interrupter.clone());
    // A resumed run continues with another order of the patches.
    let shuffle = config.seed.wrapping_add(done as u64);
    let mut training = SupervisedTraining::new(
        folder,
        loader(patches.train, config.batch_size, Some(shuffle)),
        loader(patches.valid, config.batch_size, None),
    )
    .metrics((LossMetric::new(),))
    .with_metric_logger(InMemoryMetricLogger::new())
    .with_application_logger(None)
    .with_default_checkpointers()
    .with_checkpointing_strategy(KeepLastNCheckpoints::new(2))
    .renderer(Box::new(progress))
    .with_interrupter(interrupter)
    .num_epochs(epochs);
    if done > 0 {
        training = training.checkpoint(done);
    }
    let result = training.launch(Learner::new(model, optimizer, learning_rate));

    // From here on, Ctrl-C ends the program at once.
    stop.store(true, Ordering::Relaxed);
    match (result.error, result.interrupted) {
        (Some(error), _) => Err(UpsamplerError::Training(error)),
        (None, Some(_)) => Err(match last_checkpoint(folder) {
            Some(saved) => UpsamplerError::Interrupted { saved, epochs },
            None => UpsamplerError::InterruptedAtOnce,
        }),
        (None, None) => Ok(result.model),
    }
}

/// The flag that the first Ctrl-C sets. The second ends the program.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let status = i32::from(INTERRUPTED_STATUS);
    // On a system without this signal, Ctrl-C ends the program at once. The checkpoints remain.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, status, stop.clone())
        .and_then(|_| signal_hook::flag::register(SIGINT, stop.clone()));
    stop
}
