//! `upsampler train`: stopped, killed, resumed, and its model used.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Folder, marked, png};

/// A network and pictures that train within seconds. So little training need not beat bicubic
/// enlargement, so the status says nothing.
fn train(arguments: &[&'static str]) -> Vec<&'static str> {
    let small = ["train", "--short", "--patches", "64", "--output", "run"];
    [&small[..], &["--images", "photos"], arguments].concat()
}

fn with_photos() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("photos/sub")).unwrap();
    folder.write("photos/a.png", &png(marked(120, 100)));
    folder.write("photos/b.png", &png(marked(101, 140)));
    folder.write("photos/sub/c.png", &png(marked(110, 110)));
    folder
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The epochs in the file of the curves.
fn epochs(folder: &Folder) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path("run/curves.csv")).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.split(',').next().unwrap().to_string())
        .collect()
}

#[test]
fn a_trained_model_enlarges_and_starts_another() {
    let folder = with_photos();
    let output = folder.run(&train(&["--epochs", "2", "--scale", "3"]));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("wrote run/upsampler.bpk"), "{printed}");
    assert!(printed.contains("gain on bicubic"), "{printed}");
    assert_eq!(epochs(&folder), ["1", "2"]);
    for file in ["comparison.png", "curves.svg", "upsampler.json"] {
        assert!(folder.path("run").join(file).is_file(), "{file}");
    }

    let model = ["--weights", "run/upsampler.bpk"];
    let enlarge = [&["enlarge", "photos/a.png"], &model[..]].concat();
    folder.prints(&enlarge);
    let large = image::open(folder.path("photos/a-x3.png")).unwrap();
    assert_eq!([large.width(), large.height()], [360, 300]);
    let line = folder.fails(&[&enlarge[..], &["--scale", "2"]].concat());
    assert!(line.contains("enlarges by 3"), "{line}");

    // the built-in network is larger than this one
    let line = folder.fails(&["train", "--output", "run2", "--from", "run/upsampler.bpk"]);
    assert!(line.contains("other sizes"), "{line}");

    let settings = folder.path("run/upsampler.json");
    let text = std::fs::read_to_string(&settings).unwrap();
    let other = text.replace("\"scale\": 3", "\"scale\": 30");
    assert_ne!(text, other);
    std::fs::write(&settings, other).unwrap();
    let line = folder.fails(&enlarge);
    assert!(line.contains("scale is 30, expected 2 to 4"), "{line}");
    std::fs::remove_file(&settings).unwrap();
    let line = folder.fails(&enlarge);
    assert!(line.contains("run/upsampler.json"), "{line}");
}

#[test]
fn a_killed_run_resumes() {
    let folder = with_photos();
    let mut command = folder.command(&train(&["--epochs", "6"]));
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = quiet.spawn().unwrap();
    let checkpoint = folder.path("run/checkpoint/scheduler-2.bpk");
    let started = Instant::now();
    while !checkpoint.is_file() {
        assert!(running.try_wait().unwrap().is_none(), "the run has ended");
        assert!(started.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().unwrap(); // SIGKILL on Unix
    running.wait().unwrap();

    let other = folder.run(&train(&["--epochs", "6", "--resume", "--seed", "2"]));
    assert!(error(&other).contains("seed was 1 and is now 2"));
    // one line for every epoch, those before the kill too
    folder.run(&train(&["--epochs", "6", "--resume"]));
    let expected: Vec<_> = (1..=6).map(|epoch| epoch.to_string()).collect();
    assert_eq!(epochs(&folder), expected);
    assert!(folder.path("run/upsampler.bpk").is_file());
}

#[cfg(unix)]
#[test]
fn sigterm_stops_between_steps() {
    let folder = with_photos();
    let mut command = folder.command(&train(&["--epochs", "500"]));
    let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let process = running.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &process])
        .status();
    assert!(sent.unwrap().success());
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(error(&output).starts_with("error: stopped"), "{output:?}");
    assert!(!folder.path("run/upsampler.bpk").exists());
}

#[test]
fn patience_ends_a_run() {
    let folder = with_photos();
    // At once after the first epoch that is not the best.
    folder.run(&train(&["--epochs", "200", "--patience", "1"]));
    let count = epochs(&folder).len();
    assert!(count > 1 && count < 200, "{count}");
    assert!(folder.path("run/upsampler.bpk").is_file());
}

#[test]
fn what_cannot_train_is_one_line() {
    let folder = with_photos();
    std::fs::create_dir(folder.path("none")).unwrap();
    folder.write("file", b"");
    for (arguments, words) in [
        (["--images", "nowhere"], "cannot read the folder nowhere"),
        (["--images", "none"], "no images in none"),
        (["--output", "file/x"], "cannot write file/x"),
        (["--from", "photos/a.png"], "is a picture"),
    ] {
        let line = folder.fails(&[&["train"], &arguments[..]].concat());
        assert!(line.contains(words), "{arguments:?}: {line}");
    }
}
