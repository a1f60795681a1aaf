//! A folder of a test's own, the program in it, pictures, and a network whose answer is known.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, Rgb, RgbImage};
use tempfile::TempDir;

pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = self.0.path().read_dir().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upsampler"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What the program prints; it must succeed.
    pub fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error line: there is only one, the status is 1, and no file is new.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let before = self.names();
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(self.names(), before);
        let line = error.trim_end().strip_prefix("error: ");
        line.unwrap_or_else(|| panic!("{error}")).to_string()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes a network of this scale, with the names of the published ones.
    pub fn write_network(&self, name: &str, scale: usize) {
        self.write(name, &linear_network(scale));
    }
}

/// A picture with a dark square in its upper left corner, red to the right and green below.
pub fn marked(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        if x < width / 3 && y < height / 3 {
            Rgb([20, 20, 60])
        } else {
            Rgb([
                (60 + 150 * x / width) as u8,
                (60 + 150 * y / height) as u8,
                90,
            ])
        }
    })
}

pub fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .into()
        .write_with_encoder(PngEncoder::new(&mut bytes))
        .unwrap();
    bytes
}

/// A JPEG file with an EXIF orientation and a colour profile.
pub fn jpeg(image: &RgbImage, orientation: u8, icc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.set_icc_profile(icc.to_vec()).unwrap();
    image.write_with_encoder(encoder).unwrap();
    bytes
}

/// EXIF data with one entry: the orientation.
pub fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0".to_vec(); // one entry, at byte 8
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    exif.extend([0; 4]); // no further directory
    exif
}

/// The head of a colour profile, long enough to say what colours it is for.
pub fn profile(colours: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![0; 132];
    profile[..4].copy_from_slice(&132u32.to_be_bytes());
    profile[16..20].copy_from_slice(colours);
    profile
}

/// FSRCNN's weights such that the network is linear and enlarges with bilinear interpolation, as
/// safetensors. (At scale 4 the kernel lacks the outermost tap.)
fn linear_network(scale: usize) -> Vec<u8> {
    let [features, shrunk, kernel] = [56, 12, 9];
    let delta = |channels: [usize; 2], size: usize| {
        let [c_in, c_out] = channels;
        let mut weight = vec![0f32; c_out * c_in * size * size];
        for channel in 0..3 {
            weight[(channel * c_in + channel) * size * size + size * size / 2] = 1.0;
        }
        (vec![c_out, c_in, size, size], weight)
    };
    let mut tensors = vec![
        ("feature_extract.weight", delta([3, features], 5)),
        ("shrink.weight", delta([features, shrunk], 1)),
        ("map_1.weight", delta([shrunk, shrunk], 3)),
        ("map_2.weight", delta([shrunk, shrunk], 3)),
        ("map_3.weight", delta([shrunk, shrunk], 3)),
        ("map_4.weight", delta([shrunk, shrunk], 3)),
        ("expand.weight", delta([shrunk, features], 1)),
    ];
    for (name, count, value) in [
        ("feature_extract.bias", features, 0.0),
        ("activation_1.weight", features, 1.0),
        ("shrink.bias", shrunk, 0.0),
        ("activation_2.weight", shrunk, 1.0),
        ("map_1.bias", shrunk, 0.0),
        ("map_2.bias", shrunk, 0.0),
        ("map_3.bias", shrunk, 0.0),
        ("map_4.bias", shrunk, 0.0),
        ("activation_3.weight", shrunk, 1.0),
        ("expand.bias", features, 0.0),
        ("activation_4.weight", features, 1.0),
        ("deconv.bias", 3, 0.0),
    ] {
        tensors.push((name, (vec![count], vec![value; count])));
    }
    // PyTorch's padding of 4 puts input value 0 at output value 0 for the middle tap.
    let tap = |at: usize| {
        let centre = (kernel / 2) as f32 + (scale as f32 - 1.0) / 2.0;
        (1.0 - (at as f32 - centre).abs() / scale as f32).max(0.0)
    };
    let mut deconv = vec![0f32; features * 3 * kernel * kernel];
    for channel in 0..3 {
        for (y, x) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
            deconv[((channel * 3 + channel) * kernel + y) * kernel + x] = tap(y) * tap(x);
        }
    }
    tensors.push(("deconv.weight", (vec![features, 3, kernel, kernel], deconv)));
    safetensors(&tensors)
}

/// A name, a shape and its values.
type NamedTensor<'a> = (&'a str, (Vec<usize>, Vec<f32>));

fn safetensors(tensors: &[NamedTensor]) -> Vec<u8> {
    let mut values = Vec::new();
    let mut entries = Vec::new();
    for (name, (shape, tensor)) in tensors {
        let start = values.len();
        values.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
        let end = values.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend(values);
    bytes
}

/// A decoder of a file that the program has written.
pub fn decoder(path: &Path) -> impl image::ImageDecoder + use<> {
    let reader = image::ImageReader::open(path).unwrap();
    reader
        .with_guessed_format()
        .unwrap()
        .into_decoder()
        .unwrap()
}
