//! Weights in several files, and other JSON.

use std::fs;
use std::path::PathBuf;

use burn_weights::{WeightsError, WeightsFile};

use crate::models::UNetDecoder;
use crate::{device, safetensors, state};

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("burn-weights-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn message(&self, error: WeightsError) -> String {
        error
            .to_string()
            .replace(self.0.to_str().unwrap(), "FOLDER")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

const FIRST: [(&str, &[usize]); 3] = [
    ("up.weight", &[12, 6, 2, 2]),
    ("up.bias", &[6]),
    ("conv.weight", &[6, 10, 3, 3]),
];
const SECOND: [(&str, &[usize]); 6] = [
    ("norm.weight", &[6]),
    ("norm.bias", &[6]),
    ("norm.running_mean", &[6]),
    ("norm.running_var", &[6]),
    ("head.weight", &[2, 6, 1, 1]),
    ("head.bias", &[2]),
];

/// An index as transformers writes it.
fn index(first: &str, second: &str) -> String {
    format!(
        r#"{{"metadata": {{"total_size": 9}}, "weight_map": {{"up.weight": "{first}",
        "up.bias": "{first}", "head.bias": "{second}"}}}}"#
    )
}

#[test]
fn an_index_of_safetensors() {
    let folder = Folder::new("index");
    folder.write("one.safetensors", &safetensors(&FIRST));
    let second = folder.write("two.safetensors", &safetensors(&SECOND));
    let path = folder.write(
        "model.safetensors.index.json",
        index("one.safetensors", "two.safetensors").as_bytes(),
    );
    let mut model = UNetDecoder::new(&device());
    let report = WeightsFile::pytorch(&path).load_into(&mut model).unwrap();
    assert_eq!((report.loaded.len(), report.unused.len()), (9, 0));

    let all = [&FIRST[..], &SECOND[..]].concat();
    let whole = folder.write("whole.safetensors", &safetensors(&all));
    let mut other = UNetDecoder::new(&device());
    WeightsFile::pytorch(&whole).load_into(&mut other).unwrap();
    assert_eq!(state(&model), state(&other));

    // A shard that is damaged or not there.
    let before = state(&model);
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() / 2]).unwrap();
    let error = WeightsFile::pytorch(&path).load_into(&mut model);
    let message = folder.message(error.unwrap_err());
    assert!(
        message.starts_with("FOLDER/two.safetensors is corrupt or truncated: "),
        "{message}"
    );
    fs::remove_file(second).unwrap();
    let error = WeightsFile::pytorch(&path).load_into(&mut model);
    let message = folder.message(error.unwrap_err());
    assert!(
        message.starts_with("FOLDER/two.safetensors cannot be read: "),
        "{message}"
    );
    assert_eq!(state(&model), before);
}

#[test]
fn wrong_indices() {
    let folder = Folder::new("wrong");
    folder.write("one.safetensors", &safetensors(&FIRST));
    let elsewhere = |name: &str| {
        format!(
            "FOLDER/index.json cannot be used: it lists \"{name}\", which is no name of a file \
             beside it; put the files into one folder, and their names into the index"
        )
    };
    let many: Vec<String> = (0..1001).map(|i| format!(r#""{i}": "{i}""#)).collect();
    for (json, expected) in [
        (
            index("../one.safetensors", "b"),
            elsewhere("../one.safetensors"),
        ),
        (index("/dev/zero", "b"), elsewhere("/dev/zero")),
        (index("..", "b"), elsewhere("..")),
        (index("", "b"), elsewhere("")),
        (
            index("index.json", "one.safetensors"),
            "FOLDER/index.json is a JSON file; expected: a file written by torch.save (.pt, \
             .pth), or safetensors"
                .to_string(),
        ),
        (
            r#"{"architectures": ["GPT2Model"]}"#.to_string(),
            "FOLDER/index.json cannot be used: it is JSON without a weight_map; give the file of \
             the weights, or the index that lists their files"
                .to_string(),
        ),
        (
            r#"{"format": "layers-model", "weightsManifest": [{"paths": ["a"]}]}"#.to_string(),
            "FOLDER/index.json cannot be used: it is a model of TensorFlow.js; convert it in \
             Python: tensorflowjs_converter --input_format=tfjs_layers_model \
             --output_format=keras model.json model.h5"
                .to_string(),
        ),
        (
            format!(r#"{{"weight_map": {{{}}}}}"#, many.join(",")),
            "FOLDER/index.json is corrupt or truncated: as a JSON file it cannot be read: more \
             than 1000 files"
                .to_string(),
        ),
        (
            r#"{"weight_map": {"up": 3}}"#.to_string(),
            "FOLDER/index.json is corrupt or truncated: as a JSON file it cannot be read: invalid \
             type: integer `3`, expected names of files"
                .to_string(),
        ),
        (
            index("a", "b")[..40].to_string(),
            "FOLDER/index.json is corrupt or truncated: as a JSON file it cannot be read: EOF"
                .to_string(),
        ),
    ] {
        let path = folder.write("index.json", json.as_bytes());
        let error = WeightsFile::pytorch(path).load_into(&mut UNetDecoder::new(&device()));
        let message = folder.message(error.unwrap_err());
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn a_saved_model_is_named() {
    let folder = Folder::new("saved");
    folder.write("saved_model.pb", &[8, 1, 18, 5]);
    let error = WeightsFile::keras(&folder.0).load_into(&mut UNetDecoder::new(&device()));
    assert_eq!(
        folder.message(error.unwrap_err()),
        "FOLDER cannot be used: it is a SavedModel of TensorFlow; load it in Python with \
         tf_keras.models.load_model and write it with model.save(\"NAME.h5\")"
    );
}
