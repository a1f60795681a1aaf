//! What is saved for PyTorch.

use burn_weights::{WeightsError, WeightsFile, save_pytorch};

use crate::models::{Grouped, UNetDecoder};
use crate::{TemporaryFile, device, fixture, read_safetensors, state};

/// What PyTorch wrote comes back from `save_pytorch` to the last bit, under the same names.
#[test]
fn a_pytorch_file_survives_the_round_trip() {
    let original = fixture("pytorch_unet.safetensors");
    let mut model = UNetDecoder::new(&device());
    WeightsFile::pytorch(&original)
        .load_into(&mut model)
        .unwrap();

    let saved = TemporaryFile::new("unet.safetensors");
    save_pytorch(&model, &saved.0).unwrap();
    let mut expected = read_safetensors(&original);
    expected.remove("norm.num_batches_tracked").unwrap();
    assert_eq!(read_safetensors(&saved.0), expected);

    let mut other = UNetDecoder::new(&device());
    WeightsFile::pytorch(&saved.0)
        .load_into(&mut other)
        .unwrap();
    assert_eq!(state(&other), state(&model));
}

#[test]
fn groups_survive_the_round_trip() {
    let model = Grouped::new(&device());
    let saved = TemporaryFile::new("grouped.safetensors");
    save_pytorch(&model, &saved.0).unwrap();
    let tensors = read_safetensors(&saved.0);
    assert_eq!(tensors["up.weight"].shape().as_slice(), [6, 2, 3, 5]);
    assert_eq!(tensors["depthwise.weight"].shape().as_slice(), [4, 1, 4, 4]);
    assert_eq!(tensors["project.weight"].shape().as_slice(), [72, 5]);
    assert!(tensors.contains_key("norm.bias"));

    let mut other = Grouped::new(&device());
    WeightsFile::pytorch(&saved.0)
        .load_into(&mut other)
        .unwrap();
    assert_eq!(state(&other), state(&model));
}

#[test]
fn what_cannot_be_saved() {
    let model = Grouped::new(&device());
    let nowhere = std::env::temp_dir().join("burn-weights-no-such-folder/model.safetensors");
    let error = save_pytorch(&model, &nowhere).unwrap_err();
    assert!(matches!(error, WeightsError::Write { .. }), "{error}");
    assert!(error.to_string().contains("burn-weights-no-such-folder"));

    let folder = std::env::temp_dir();
    let message = save_pytorch(&model, &folder).unwrap_err().to_string();
    let expected = format!(
        "{} is a folder; only a regular file is replaced",
        folder.display()
    );
    assert_eq!(message, expected);
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    /// `rename` does not look at what it replaces. (A device is the same to `save_pytorch` as a
    /// pipe; no test risks one.)
    #[test]
    fn pipes_and_sockets_stay() {
        let model = Grouped::new(&device());
        let pipe = TemporaryFile::new("pipe.safetensors");
        let status = Command::new("mkfifo").arg(&pipe.0).status().unwrap();
        assert!(status.success());
        let socket = TemporaryFile::new("socket.safetensors");
        let _listener = UnixListener::bind(&socket.0).unwrap();
        let link = TemporaryFile::new("pipe-link.safetensors");
        symlink(&pipe.0, &link.0).unwrap();
        for path in [&pipe.0, &link.0, &socket.0] {
            let error = save_pytorch(&model, path).unwrap_err();
            assert!(matches!(error, WeightsError::NotReplaced { .. }), "{error}");
        }
        let kind = |file: &TemporaryFile| fs::symlink_metadata(&file.0).unwrap().file_type();
        assert!(kind(&pipe).is_fifo() && kind(&socket).is_socket() && kind(&link).is_symlink());
    }

    /// The file that a link leads to is replaced, in its own folder, and keeps its permissions.
    #[test]
    fn links_are_followed() {
        let model = Grouped::new(&device());
        let file = TemporaryFile::with("target.safetensors", b"older");
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o640)).unwrap();
        let link = TemporaryFile::new("link.safetensors");
        symlink(&file.0, &link.0).unwrap();
        save_pytorch(&model, &link.0).unwrap();
        assert!(fs::symlink_metadata(&link.0).unwrap().is_symlink());
        assert_eq!(read_safetensors(&file.0).len(), state(&model).len());
        assert_eq!(fs::metadata(&file.0).unwrap().mode() & 0o777, 0o640);

        let dangling = TemporaryFile::new("dangling.safetensors");
        symlink("no-such-folder/model.safetensors", &dangling.0).unwrap();
        let error = save_pytorch(&model, &dangling.0).unwrap_err();
        assert!(matches!(error, WeightsError::Write { .. }), "{error}");
    }

    /// A new file has the permissions of any other new file.
    #[test]
    fn new_files_have_the_usual_permissions() {
        let usual = TemporaryFile::with("usual.txt", b"");
        let saved = TemporaryFile::new("mode.safetensors");
        save_pytorch(&Grouped::new(&device()), &saved.0).unwrap();
        let mode = |file: &TemporaryFile| fs::metadata(&file.0).unwrap().mode() & 0o777;
        assert_eq!(mode(&saved), mode(&usual));
    }

    /// Names the file that the child process is to write.
    const TOO_LARGE: &str = "BURN_WEIGHTS_TOO_LARGE";

    /// As on a full disk: a write that fails halfway leaves the older file, and nothing else.
    #[test]
    fn a_write_that_fails_leaves_nothing() {
        if let Some(path) = std::env::var_os(TOO_LARGE) {
            let error = save_pytorch(&UNetDecoder::new(&device()), path).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("File too large"), "{message}");
            return;
        }
        let folder = std::env::temp_dir().join(format!("burn-weights-full-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("model.safetensors");
        fs::write(&path, b"older").unwrap();
        // No file of the child grows beyond 512 or 1,024 bytes; the model has 4,000.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "saving::unix::a_write_that_fails_leaves_nothing"])
            .env(TOO_LARGE, &path)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && output.contains("1 passed"),
            "{output}"
        );
        let left = fs::read_dir(&folder).unwrap().count();
        assert_eq!((left, fs::read(&path).unwrap()), (1, b"older".to_vec()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
