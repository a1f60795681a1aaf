//! The images: built in, or folders of photos.

use std::path::{Path, PathBuf};

use image::{Rgb, Rgb32FImage};

use crate::data::MIN_IMAGE_SIZE;
use crate::error::UpsamplerError;
use crate::picture::{Picture, Pixels, has_image_name};
use crate::rng::Rng;
use crate::scene::scene;

/// How many built-in images there are.
const SCENES: usize = 30;

/// The largest height and width of an image. The centre of a larger image is used.
pub const MAX_IMAGE_SIZE: u32 = 1024;

/// The source of the images. They are painted or read one at a time.
pub enum Source {
    BuiltIn { seeds: Vec<u64> },
    Folders { files: Vec<PathBuf> },
}

impl Source {
    /// The images that the program paints from a seed.
    pub fn built_in(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self::BuiltIn {
            seeds: (0..SCENES).map(|_| rng.bits()).collect(),
        }
    }

    /// The PNG, JPEG and WebP files in folders and their subfolders, in the order of their paths.
    ///
    /// # Errors
    ///
    /// A folder that is missing, cannot be read, or has no such file.
    pub fn folders(paths: &[PathBuf]) -> Result<Self, UpsamplerError> {
        let mut files = Vec::new();
        for path in paths {
            let before = files.len();
            collect_images(path, &mut files)?;
            if files.len() == before {
                return Err(UpsamplerError::NoImages { path: path.clone() });
            }
        }
        // A folder may be named twice, or inside another.
        files.sort();
        files.dedup();
        Ok(Self::Folders { files })
    }

    pub fn is_built_in(&self) -> bool {
        matches!(self, Self::BuiltIn { .. })
    }

    /// The number of images. Some files of a folder may turn out to be unusable.
    pub fn len(&self) -> usize {
        match self {
            Self::BuiltIn { seeds } => seeds.len(),
            Self::Folders { files } => files.len(),
        }
    }

    /// Image `index` with its name, or the reason why it cannot be used, in one line.
    ///
    /// # Shapes
    ///
    /// - output: from `MIN_IMAGE_SIZE` to `MAX_IMAGE_SIZE` pixels on each axis, RGB in 0 to 1
    pub fn image(&self, index: usize) -> Result<(String, Rgb32FImage), String> {
        match self {
            Self::BuiltIn { seeds } => Ok((format!("scene {index:02}"), scene(seeds[index]))),
            Self::Folders { files } => {
                let path = &files[index];
                let picture = Picture::read(path).map_err(|error| format!("skipped: {error}"))?;
                let Pixels { height, width, .. } = picture.pixels;
                if height.min(width) < MIN_IMAGE_SIZE as usize {
                    return Err(format!(
                        "skipped: {} has {width} x {height} pixels, expected at least \
                         {MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE}",
                        path.display(),
                    ));
                }
                let name = path.file_name().unwrap_or_default();
                Ok((name.to_string_lossy().into_owned(), centre(&picture.pixels)))
            }
        }
    }

    /// Checks that one image trains and one validates.
    ///
    /// # Errors
    ///
    /// Fewer than two images in a folder were `usable`.
    pub fn check_usable(&self, usable: usize) -> Result<(), UpsamplerError> {
        match self {
            Self::Folders { files } if usable < 2 => Err(UpsamplerError::TooFewImages {
                usable,
                found: files.len(),
            }),
            _ => Ok(()),
        }
    }
}

/// Adds the images in a folder and its subfolders. Links to folders are not followed: they may
/// lead in a circle.
fn collect_images(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), UpsamplerError> {
    let unreadable = |source| UpsamplerError::Folder {
        path: folder.into(),
        source,
    };
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            collect_images(&path, files)?;
        } else if has_image_name(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// The central pixels in colour, without alpha.
fn centre(pixels: &Pixels) -> Rgb32FImage {
    let [height, width] =
        [pixels.height, pixels.width].map(|size| size.min(MAX_IMAGE_SIZE as usize));
    let [top, left] = [(pixels.height - height) / 2, (pixels.width - width) / 2];
    let channels = if pixels.is_grey() { [0; 3] } else { [0, 1, 2] };
    Rgb32FImage::from_fn(width as u32, height as u32, |x, y| {
        let at = (top + y as usize) * pixels.width + left + x as usize;
        Rgb(channels.map(|channel| pixels.sample(at * pixels.channels + channel)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Samples;
    use image::RgbImage;

    /// An empty folder of a test's own.
    fn empty_folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("upsampler-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn message<T>(result: Result<T, UpsamplerError>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = empty_folder("missing");
        let path = folder.join("nowhere");
        let message = message(Source::folders(std::slice::from_ref(&path)));
        assert!(message.starts_with(&format!("cannot read the folder {}", path.display())));
        assert!(message.ends_with("--images takes a folder of photos"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_without_images_is_named() {
        let path = empty_folder("none");
        std::fs::write(path.join("notes.txt"), "no image").unwrap();
        let message = message(Source::folders(std::slice::from_ref(&path)));
        assert!(message.starts_with(&format!("no images in {}", path.display())));
        assert!(message.contains("expected files named .png, .jpg, .jpeg or .webp"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn unusable_files_are_named_with_the_reason() {
        let path = empty_folder("unusable");
        std::fs::write(path.join("a-broken.png"), b"\x89PNG\r\n\x1a\nand no more").unwrap();
        RgbImage::new(20, 70)
            .save(path.join("b-small.png"))
            .unwrap();
        let subfolder = path.join("d-folder.png");
        std::fs::create_dir_all(&subfolder).unwrap();
        RgbImage::new(97, 98)
            .save(subfolder.join("good.PNG"))
            .unwrap();
        std::fs::write(path.join("c-empty.jpg"), []).unwrap();
        let source = Source::folders(std::slice::from_ref(&path)).unwrap();
        assert_eq!(source.len(), 4);

        let broken = source.image(0).unwrap_err();
        assert!(broken.contains("a-broken.png"));
        assert!(broken.ends_with("expected a whole PNG, JPEG or WebP file"));
        let small = source.image(1).unwrap_err();
        assert!(small.contains("b-small.png"));
        assert!(small.ends_with("has 20 x 70 pixels, expected at least 96 x 96"));
        let empty = source.image(2).unwrap_err();
        assert!(empty.contains("c-empty.jpg is empty (0 bytes)"));
        let (name, image) = source.image(3).unwrap();
        assert_eq!((name.as_str(), image.dimensions()), ("good.PNG", (97, 98)));

        let message = message(source.check_usable(1));
        assert!(message.starts_with("1 of the 4 images in --images"));
        assert!(message.contains("at least 2 are needed"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn of_a_large_image_the_centre_is_used() {
        let [height, width] = [70, 1030];
        let mut samples = vec![0; height * width];
        samples[3] = 255;
        let centre = centre(&Pixels {
            height,
            width,
            channels: 1,
            samples: Samples::Bytes(samples),
        });
        assert_eq!(centre.dimensions(), (MAX_IMAGE_SIZE, 70));
        assert_eq!(centre.get_pixel(0, 0).0, [1.0; 3]);
        assert_eq!(centre.get_pixel(1, 0).0, [0.0; 3]);
    }
}
