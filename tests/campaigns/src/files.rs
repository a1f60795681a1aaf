//! Damaged files of weights: nothing panics, and after an error the model is as it was.
//!
//! Every case takes one of the fixtures of `burn-weights`, changes bytes, cuts it, or fills a part
//! of it with zeros, and loads it into its model.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{Device, TensorData};
use burn_deconv::KernelLayout;
use burn_weights::{LoadReport, WeightsError, WeightsFile};

use crate::Cases;
use crate::import::{Autoencoder, Generator};
use crate::models::{FlaxDecoder, Grouped, KerasDecoder, Single, UNetDecoder, Upscaler};

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../crates/burn-weights/tests/fixtures"
);

/// What loading a file into a model gives.
enum Outcome {
    Loaded,
    Refused,
    /// An error, and another model than before.
    Changed,
}

/// A fixture, and what has happened to it.
struct Subject {
    name: String,
    bytes: Vec<u8>,
    load: Box<dyn FnMut(&Path) -> Outcome>,
    loaded: usize,
    refused: usize,
    changed: usize,
    panics: usize,
    worst_time: Duration,
    /// By how much the process grew at the most, in KiB.
    worst_growth: Option<u64>,
}

impl Subject {
    fn new<M: Module + 'static>(
        path: &Path,
        new: impl Fn(&Device) -> M + 'static,
        load: impl Fn(&Path, &mut M) -> Result<LoadReport, WeightsError> + 'static,
    ) -> Self {
        let device = Device::flex();
        let mut model = new(&device);
        let mut before = state(&model);
        let load = move |path: &Path| {
            if load(path, &mut model).is_ok() {
                before = state(&model);
                return Outcome::Loaded;
            }
            let after = state(&model);
            if after == before {
                return Outcome::Refused;
            }
            before = after;
            Outcome::Changed
        };
        let name = path.strip_prefix(FIXTURES).unwrap_or(path).display();
        Self {
            name: name.to_string(),
            bytes: fs::read(path).expect("fixtures are readable"),
            load: Box::new(load),
            loaded: 0,
            refused: 0,
            changed: 0,
            panics: 0,
            worst_time: Duration::ZERO,
            worst_growth: None,
        }
    }

    /// Loads a damaged copy of the file, written to `path`.
    fn case(&mut self, path: &Path, random: &mut Random) {
        fs::write(path, damaged(&self.bytes, random)).expect("the temporary folder is writable");
        let memory = Memory::now();
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.load)(path)));
        self.worst_time = self.worst_time.max(began.elapsed());
        self.worst_growth = self.worst_growth.max(memory.and_then(Memory::growth));
        match outcome {
            Ok(Outcome::Loaded) => self.loaded += 1,
            Ok(Outcome::Refused) => self.refused += 1,
            Ok(Outcome::Changed) => self.changed += 1,
            Err(_) => self.panics += 1,
        }
    }
}

/// All values of a model.
fn state(model: &impl Module) -> Vec<Option<TensorData>> {
    let tensors = model.collect(None, None, false);
    let data = |tensor| bridge::into_data(tensor).ok();
    tensors.into_iter().map(data).collect()
}

/// The process's memory, as Linux reports it.
struct Memory {
    kib: u64,
}

impl Memory {
    /// The memory in use; its peak starts anew. `None` on other systems.
    fn now() -> Option<Self> {
        fs::write("/proc/self/clear_refs", "5").ok()?;
        let kib = Self::field("VmRSS:")?;
        Some(Self { kib })
    }

    fn growth(self) -> Option<u64> {
        Some(Self::field("VmHWM:")?.saturating_sub(self.kib))
    }

    fn field(name: &str) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    /// A place in a file: half of them among the first 512 bytes, where the headers are.
    fn place(&mut self, length: usize) -> usize {
        let end = if self.below(2) == 0 {
            length.min(512)
        } else {
            length
        };
        self.below(end)
    }
}

fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match random.below(10) {
        0..7 => {
            for _ in 0..=random.below(4) {
                let at = random.place(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << random.below(8)),
                    _ => random.below(256) as u8,
                };
            }
        }
        7 => bytes.truncate(random.below(bytes.len())),
        8 => {
            let at = random.below(bytes.len());
            bytes[at..].fill(0);
        }
        _ => {
            let at = random.below(bytes.len());
            let end = (at + 1 + random.below(256)).min(bytes.len());
            bytes[at..end].fill(0);
        }
    }
    bytes
}

fn pytorch<M: Module>(path: &Path, model: &mut M) -> Result<LoadReport, WeightsError> {
    WeightsFile::pytorch(path).load_into(model)
}

fn keras<M: Module>(path: &Path, model: &mut M) -> Result<LoadReport, WeightsError> {
    WeightsFile::keras(path).load_into(model)
}

/// The fixtures that are loaded into a model of their own.
fn models() -> Vec<Subject> {
    let path = |name: &str| Path::new(FIXTURES).join("models").join(name);
    let mut subjects = vec![
        Subject::new(&path("pytorch_dcgan.pt"), Generator::new, |path, model| {
            Generator::file(path)?.load_into(model)
        }),
        Subject::new(&path("pytorch_grouped.pth"), Grouped::new, |path, model| {
            WeightsFile::pytorch(path)
                .with_top_level_key("model_state_dict")
                .load_into(model)
        }),
        Subject::new(
            &path("keras_subclassed.weights.h5"),
            KerasDecoder::new,
            |path, model| {
                WeightsFile::keras(path)
                    .with_key_remapping(r"^blocks\.up\.", "blocks.0.")?
                    .with_key_remapping(r"^blocks\.up_1\.", "blocks.1.")?
                    .with_key_remapping(r"^dense\.", "project.")?
                    .load_into(model)
            },
        ),
        Subject::new(
            &path("flax_decoder.safetensors"),
            FlaxDecoder::new,
            |path, model| WeightsFile::flax(path).load_into(model),
        ),
        Subject::new(&path("pytorch_dilated.pt"), Single::dilated, pytorch),
        Subject::new(
            &path("pytorch_output_padding.pt"),
            Single::output_padding,
            pytorch,
        ),
    ];
    for name in ["pytorch_unet.safetensors", "pytorch_unet_f16.safetensors"] {
        subjects.push(Subject::new(&path(name), UNetDecoder::new, pytorch));
    }
    for name in [
        "keras_autoencoder.keras",
        "keras_autoencoder.weights.h5",
        "keras_legacy.h5",
    ] {
        subjects.push(Subject::new(&path(name), Autoencoder::new, keras));
    }
    for name in ["keras2_upscaler.h5", "keras2_upscaler_weights.h5"] {
        subjects.push(Subject::new(&path(name), Upscaler::new, keras));
    }
    subjects
}

/// The fixtures that are whole and cannot be loaded.
fn unsupported() -> Vec<Subject> {
    let folder = Path::new(FIXTURES).join("unsupported");
    let files = fs::read_dir(folder).expect("fixtures are there");
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let subject = |path: &PathBuf| {
        if path.extension().is_some_and(|extension| extension == "h5") {
            Subject::new(path, Single::dilated, keras)
        } else {
            Subject::new(path, Single::dilated, pytorch)
        }
    };
    paths.iter().map(subject).collect()
}

/// A checkpoint of Burn, written to `path`.
fn burn(path: &Path) -> Subject {
    let model = Single::dilated(&Device::flex());
    model.save_file(path).expect("the checkpoint is writable");
    Subject::new(path, Single::dilated, |path, model| {
        WeightsFile::burn(path)
            .with_layout(KernelLayout::Article)
            .load_into(model)
    })
}

/// Runs the campaign, prints its counts, and fails if anything panicked or a model was changed.
pub fn run(cases: &Cases) -> ExitCode {
    let folder = std::env::temp_dir().join(format!("campaign-files-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let mut subjects = models();
    subjects.extend(unsupported());
    subjects.push(burn(&folder.join("checkpoint.bpk")));

    let mut random = Random(cases.seed);
    let path = folder.join("damaged");
    let began = Instant::now();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // the readers' panics are caught
    for case in 0..cases.cases {
        let index = case % subjects.len();
        subjects[index].case(&path, &mut random);
    }
    std::panic::set_hook(hook);
    fs::remove_dir_all(&folder).ok();

    println!(
        "file                                  loads errors changed panics worst ms worst KiB"
    );
    for subject in &subjects {
        let growth = subject.worst_growth.map(|kib| kib.to_string());
        println!(
            "{:<37} {:>5} {:>6} {:>7} {:>6} {:>8.1} {:>9}",
            subject.name,
            subject.loaded,
            subject.refused,
            subject.changed,
            subject.panics,
            subject.worst_time.as_secs_f64() * 1e3,
            growth.unwrap_or_default(),
        );
    }
    let sum = |count: fn(&Subject) -> usize| subjects.iter().map(count).sum::<usize>();
    let [loaded, refused, changed, panics] = [
        sum(|subject| subject.loaded),
        sum(|subject| subject.refused),
        sum(|subject| subject.changed),
        sum(|subject| subject.panics),
    ];
    println!(
        "{} cases in {:.1} s: {loaded} load, {refused} errors, {changed} changed models, {panics} \
         panics",
        cases.cases,
        began.elapsed().as_secs_f64(),
    );
    if changed + panics > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
