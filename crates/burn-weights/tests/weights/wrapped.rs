//! What PyTorch's wrappers write before names, and weights that two layers share.
//! `fixtures/wrapped.py` made the files.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn_weights::WeightsFile;

use crate::{TemporaryFile, device, fixture, safetensors, state};

/// `Model` of the script.
#[derive(Module, Debug)]
struct Model {
    embedding: Embedding,
    head: Conv1d,
    copy: Embedding,
}

impl Model {
    fn new() -> Self {
        Self {
            embedding: EmbeddingConfig::new(6, 5).init(&device()),
            head: Conv1dConfig::new(5, 6, 1).init(&device()),
            copy: EmbeddingConfig::new(6, 5).init(&device()),
        }
    }

    fn from(file: WeightsFile) -> Self {
        let mut model = Self::new();
        let report = file.load_into(&mut model).unwrap();
        assert_eq!(report.loaded.len(), 4);
        assert_eq!(report.unused, [""; 0]);
        model
    }
}

#[test]
fn prefixes_of_wrappers() {
    let plain = Model::from(WeightsFile::pytorch(fixture("pytorch_tied.pt")));
    let parallel = || WeightsFile::pytorch(fixture("pytorch_parallel.pt"));
    let compiled = WeightsFile::pytorch(fixture("pytorch_compiled.pt"));
    for file in [
        parallel(),
        parallel().with_top_level_key("module"),
        compiled.clone().with_top_level_key("model"),
        compiled.with_top_level_key("model._orig_mod"),
    ] {
        assert_eq!(state(&Model::from(file)), state(&plain));
    }
}

/// They stay if one name is without, and if the model has such a field.
#[test]
fn names_that_only_look_like_wrappers() {
    let tensors: [(&str, &[usize]); 2] = [("module.weight", &[6, 5]), ("head.weight", &[6])];
    let some = TemporaryFile::with("some.safetensors", &safetensors(&tensors));
    let all = TemporaryFile::with("all.safetensors", &safetensors(&tensors[..1]));

    let mut layer = EmbeddingConfig::new(6, 5).init(&device());
    WeightsFile::pytorch(&all.0).load_into(&mut layer).unwrap();
    let error = WeightsFile::pytorch(&some.0).load_into(&mut layer);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("missing in the file (1):\n  weight\n")
    );
    let error = WeightsFile::flax(&all.0).load_into(&mut layer);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("missing in the file (1):\n  weight\n")
    );

    #[derive(Module, Debug)]
    struct Outer {
        module: Embedding,
    }
    let mut outer = Outer { module: layer };
    let report = WeightsFile::pytorch(&all.0).load_into(&mut outer);
    assert_eq!(report.unwrap().loaded, ["module.weight"]);
}

#[test]
fn tied_weights() {
    for name in ["pytorch_tied.pt", "pytorch_tied.safetensors"] {
        let model = Model::from(WeightsFile::pytorch(fixture(name)));
        let weight = model.embedding.weight.to_data();
        assert_eq!(model.copy.weight.to_data(), weight, "{name}");
        assert_ne!(Model::new().copy.weight.to_data(), weight);
    }

    // Without a note of the other name.
    let tensors: [(&str, &[usize]); 3] = [
        ("embedding.weight", &[6, 5]),
        ("head.weight", &[6, 5, 1]),
        ("head.bias", &[6]),
    ];
    let file = TemporaryFile::with("tied.safetensors", &safetensors(&tensors));
    let file = WeightsFile::pytorch(&file.0);
    let error = file.load_into(&mut Model::new()).unwrap_err().to_string();
    assert!(
        error.contains("missing in the file (1):\n  copy.weight"),
        "{error}"
    );
    let model = Model::from(file.with_tied("copy.weight", "embedding.weight"));
    assert_eq!(
        model.copy.weight.to_data(),
        model.embedding.weight.to_data()
    );
}
