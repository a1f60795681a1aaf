//! The images: built in, or a folder of photos.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, ImageResult, Rgb32FImage};

use crate::data::MIN_IMAGE_SIZE;
use crate::error::UpsamplerError;
use crate::rng::Rng;
use crate::scene::scene;

/// How many built-in images there are.
const SCENES: usize = 30;

/// The largest height and width of an image. The centre of a larger image is used.
pub const MAX_IMAGE_SIZE: u32 = 1024;

/// The source of the images. They are painted or read one at a time.
pub enum Source {
    BuiltIn { seeds: Vec<u64> },
    Folder { path: PathBuf, files: Vec<PathBuf> },
}

impl Source {
    /// The images that the program paints from a seed.
    pub fn built_in(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self::BuiltIn {
            seeds: (0..SCENES).map(|_| rng.bits()).collect(),
        }
    }

    /// The PNG and JPEG files directly in a folder, in the order of their names.
    ///
    /// # Errors
    ///
    /// A folder that is missing, cannot be read, or has no such file.
    pub fn folder(path: &Path) -> Result<Self, UpsamplerError> {
        let unreadable = |source| UpsamplerError::Folder {
            path: path.into(),
            source,
        };
        let mut files = Vec::new();
        for entry in path.read_dir().map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if has_image_name(&file) {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Err(UpsamplerError::NoImages { path: path.into() });
        }
        files.sort();
        Ok(Self::Folder {
            path: path.into(),
            files,
        })
    }

    /// The number of images. Some files of a folder may turn out to be unusable.
    pub fn len(&self) -> usize {
        match self {
            Self::BuiltIn { seeds } => seeds.len(),
            Self::Folder { files, .. } => files.len(),
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
            Self::Folder { files, .. } => {
                let path = &files[index];
                let image = read(path).map_err(|error| {
                    let path = path.display();
                    format!("skipped {path}: {error}; expected a whole PNG or JPEG file")
                })?;
                let [height, width] = [image.height(), image.width()];
                if height.min(width) < MIN_IMAGE_SIZE {
                    return Err(format!(
                        "skipped {}: it has {width} x {height} pixels, expected at least \
                         {MIN_IMAGE_SIZE} x {MIN_IMAGE_SIZE}",
                        path.display(),
                    ));
                }
                let name = path.file_name().unwrap_or_default();
                Ok((
                    name.to_string_lossy().into_owned(),
                    centre(image).to_rgb32f(),
                ))
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
            Self::Folder { path, files } if usable < 2 => Err(UpsamplerError::TooFewImages {
                path: path.clone(),
                usable,
                found: files.len(),
            }),
            _ => Ok(()),
        }
    }
}

fn has_image_name(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    path.is_file()
        && ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| extension == *known)
}

/// The format is read from the file's contents, not from its name.
fn read(path: &Path) -> ImageResult<DynamicImage> {
    ImageReader::open(path)?.with_guessed_format()?.decode()
}

fn centre(image: DynamicImage) -> DynamicImage {
    let [height, width] = [image.height(), image.width()].map(|size| size.min(MAX_IMAGE_SIZE));
    let [top, left] = [(image.height() - height) / 2, (image.width() - width) / 2];
    image.crop_imm(left, top, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let message = message(Source::folder(&path));
        assert!(message.starts_with(&format!("cannot read the folder {}", path.display())));
        assert!(message.ends_with("--images takes a folder of PNG or JPEG files"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_without_images_is_named() {
        let path = empty_folder("none");
        std::fs::write(path.join("notes.txt"), "no image").unwrap();
        let message = message(Source::folder(&path));
        assert!(message.starts_with(&format!("no images in {}", path.display())));
        assert!(message.contains("expected files named .png, .jpg or .jpeg"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn unusable_files_are_named_with_the_reason() {
        let path = empty_folder("unusable");
        std::fs::write(path.join("a-broken.png"), b"\x89PNG\r\n\x1a\nand no more").unwrap();
        RgbImage::new(20, 70)
            .save(path.join("b-small.png"))
            .unwrap();
        RgbImage::new(70, 80).save(path.join("c-good.PNG")).unwrap();
        let source = Source::folder(&path).unwrap();
        assert_eq!(source.len(), 3);

        let broken = source.image(0).unwrap_err();
        assert!(broken.contains("a-broken.png"));
        assert!(broken.ends_with("expected a whole PNG or JPEG file"));
        let small = source.image(1).unwrap_err();
        assert!(small.contains("b-small.png"));
        assert!(small.ends_with("it has 20 x 70 pixels, expected at least 48 x 48"));
        let (name, image) = source.image(2).unwrap();
        assert_eq!(
            (name.as_str(), image.dimensions()),
            ("c-good.PNG", (70, 80))
        );

        let message = message(source.check_usable(1));
        assert!(message.starts_with("1 of the 3 images in"));
        assert!(message.contains("at least 2 are needed"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn of_a_large_image_the_centre_is_used() {
        let mut image = RgbImage::new(1030, 70);
        image.put_pixel(3, 0, image::Rgb([255; 3]));
        let centre = centre(image.into()).to_rgb8();
        assert_eq!(centre.dimensions(), (MAX_IMAGE_SIZE, 70));
        assert_eq!(centre.get_pixel(0, 0).0, [255; 3]);
    }
}
