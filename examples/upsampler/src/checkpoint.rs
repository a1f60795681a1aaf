//! The settings of a run, and its checkpoints, from which a run with the same settings can resume.

use std::path::Path;

use burn::config::Config;
use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;

use crate::error::UpsamplerError;
use crate::model::{Fsrcnn, FsrcnnConfig};

/// The settings of a run. Only a run with the same settings can resume its checkpoints.
#[derive(Config, Debug, PartialEq)]
pub struct RunConfig {
    pub model: FsrcnnConfig,
    /// The folders of photos; none for the built-in images.
    pub images: Vec<String>,
    /// The model whose convolutions the training begins with.
    pub from: Option<String>,
    pub seed: u64,
    pub train_patches: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
}

impl RunConfig {
    /// The differences from the settings of a checkpoint, in words; empty if there are none.
    fn differences(&self, saved: &Self) -> String {
        fn compare<T: PartialEq + std::fmt::Debug>(
            name: &str,
            saved: &T,
            now: &T,
        ) -> Option<String> {
            (saved != now).then(|| format!("{name} was {saved:?} and is now {now:?}"))
        }
        let images = |config: &Self| match config.images.as_slice() {
            [] => "built in".to_string(),
            folders => folders.join(" and "),
        };
        [
            compare("images", &images(saved), &images(self)),
            compare("from", &saved.from, &self.from),
            compare("seed", &saved.seed, &self.seed),
            compare("model", &saved.model, &self.model),
            compare("patches", &saved.train_patches, &self.train_patches),
            compare("batch size", &saved.batch_size, &self.batch_size),
            compare("learning rate", &saved.learning_rate, &self.learning_rate),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    }
}

/// The folder in which burn-train keeps its checkpoints; we keep the settings of the run there too.
const CHECKPOINTS: &str = "checkpoint";
const SETTINGS: &str = "run.json";

/// burn-train's names of the three files of an epoch.
fn checkpoint_files(epoch: usize) -> [String; 3] {
    ["model", "optim", "scheduler"].map(|part| format!("{part}-{epoch}.bpk"))
}

/// The last epoch with all its files. Burn gives a file its final name once it is complete.
pub fn last_checkpoint(folder: &Path) -> Option<usize> {
    let folder = folder.join(CHECKPOINTS);
    let epoch_of = |name: &str| {
        name.strip_prefix("model-")?
            .strip_suffix(".bpk")?
            .parse()
            .ok()
    };
    folder
        .read_dir()
        .ok()?
        .filter_map(|entry| epoch_of(entry.ok()?.file_name().to_str()?))
        .filter(|&epoch| {
            checkpoint_files(epoch)
                .iter()
                .all(|file| folder.join(file).is_file())
        })
        .max()
}

/// Reads the network of an epoch.
///
/// # Errors
///
/// The file is missing, broken, or of another network.
pub fn load_epoch(model: Fsrcnn, folder: &Path, epoch: usize) -> Result<Fsrcnn, UpsamplerError> {
    let [weights, ..] = checkpoint_files(epoch);
    let path = folder.join(CHECKPOINTS).join(weights);
    ModuleRecord::load(&path)
        .and_then(|record| model.try_load_record(record))
        .map_err(|source| UpsamplerError::Checkpoint { path, source })
}

/// True if the network of an epoch is saved.
pub fn has_epoch(folder: &Path, epoch: usize) -> bool {
    let [weights, ..] = checkpoint_files(epoch);
    folder.join(CHECKPOINTS).join(weights).is_file()
}

/// The epoch to resume from.
pub fn check_checkpoint(
    config: &RunConfig,
    model: &Fsrcnn,
    folder: &Path,
    epochs: usize,
) -> Result<usize, UpsamplerError> {
    let path = folder.join(CHECKPOINTS);
    let Some(epoch) = last_checkpoint(folder) else {
        return Err(UpsamplerError::NoCheckpoint { path });
    };
    let settings = path.join(SETTINGS);
    let saved =
        RunConfig::load(&settings).map_err(|source| UpsamplerError::CheckpointSettings {
            path: settings,
            source,
        })?;
    let differences = config.differences(&saved);
    if !differences.is_empty() {
        return Err(UpsamplerError::OtherRun { path, differences });
    }
    if epoch > epochs {
        return Err(UpsamplerError::PastTheEnd {
            path,
            epoch,
            epochs,
        });
    }

    // burn-train panics on a broken file: read each file first.
    load_epoch(model.clone(), folder, epoch)?;
    let [_, optimizer, scheduler] = checkpoint_files(epoch).map(|file| path.join(file));
    let broken = |path: &Path, source| UpsamplerError::Checkpoint {
        path: path.into(),
        source,
    };
    OptimizerRecord::load(&optimizer).map_err(|source| broken(&optimizer, source))?;
    LrSchedulerRecord::load(&scheduler).map_err(|source| broken(&scheduler, source))?;
    Ok(epoch)
}

/// Removes the checkpoints of an earlier run and saves the settings of this one.
pub fn start_over(config: &RunConfig, folder: &Path) -> Result<(), UpsamplerError> {
    let path = folder.join(CHECKPOINTS);
    let failed = |source| UpsamplerError::Write {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(&path).map_err(failed)?;
    while let Some(epoch) = last_checkpoint(folder) {
        for file in checkpoint_files(epoch) {
            std::fs::remove_file(path.join(file)).map_err(failed)?;
        }
    }
    config.save(path.join(SETTINGS)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn config() -> RunConfig {
        RunConfig {
            model: FsrcnnConfig::new(2),
            images: Vec::new(),
            from: None,
            seed: 0,
            train_patches: 64,
            batch_size: 16,
            learning_rate: 1e-3,
        }
    }

    #[test]
    fn differences_are_named() {
        assert_eq!(config().differences(&config()), "");
        let other = RunConfig {
            images: vec!["photos".into()],
            seed: 3,
            ..config()
        };
        assert_eq!(
            config().differences(&other),
            "images was \"photos\" and is now \"built in\", seed was 3 and is now 0"
        );
    }

    #[test]
    fn resuming_without_a_checkpoint_says_so() {
        let folder = std::env::temp_dir().join(format!("upsampler-resume-{}", std::process::id()));
        let model = config().model.init(&Device::default());
        let error = check_checkpoint(&config(), &model, &folder, 1).unwrap_err();
        assert!(error.to_string().starts_with("there is no checkpoint in"));

        // a file that is missing makes no checkpoint, a broken one is named
        start_over(&config(), &folder).unwrap();
        for file in checkpoint_files(4) {
            assert_eq!(last_checkpoint(&folder), None);
            std::fs::write(folder.join(CHECKPOINTS).join(file), "no record").unwrap();
        }
        assert_eq!(last_checkpoint(&folder), Some(4));
        let error = check_checkpoint(&config(), &model, &folder, 9).unwrap_err();
        assert!(error.to_string().contains("model-4.bpk"));
        let error = check_checkpoint(&config(), &model, &folder, 3).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is of epoch 4, but the run ends with epoch 3")
        );

        start_over(&config(), &folder).unwrap();
        assert_eq!(last_checkpoint(&folder), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
