//! Pictures as people have them: 8 or 16 bits, grey or colour, with or without alpha, with a colour
//! profile and EXIF data, in PNG, JPEG or WebP files.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use clap::ValueEnum;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat};
use image::{ImageReader, ImageResult, Limits, Rgb32FImage};

use crate::atomic::write_atomically;
use crate::error::PictureError;
use crate::stop::Stop;

/// The largest picture, in bytes once it is decoded: 340 megapixels of 8-bit RGB. A header that
/// claims more is refused before anything is allocated.
pub const MAX_BYTES: u64 = 1 << 30;

/// The names that image files have.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// The formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lossless, 8 or 16 bits.
    Png,
    /// 8 bits, no alpha.
    Jpeg,
    /// Lossless, 8 bits.
    Webp,
}

impl Format {
    /// The usual ending of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// The format that a file's name promises.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            _ => None,
        }
    }

    /// The largest height and width that a file can have.
    fn max_side(self) -> usize {
        match self {
            Self::Png => i32::MAX as usize,
            Self::Jpeg => 65_535,
            Self::Webp => 16_383,
        }
    }
}

/// How a picture is written.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub format: Format,
    /// Of JPEG, 1 to 100.
    pub quality: u8,
}

/// The values of the pixels, as many bits as in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

/// Pixels in rows from the top, each pixel's channels side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    pub height: usize,
    pub width: usize,
    /// 1: grey; 2: grey, alpha; 3: red, green, blue; 4: red, green, blue, alpha.
    pub channels: usize,
    /// `[height, width, channels]`
    pub samples: Samples,
}

impl Pixels {
    /// Black pixels, transparent if there is alpha, of the same kind as `self`.
    ///
    /// # Errors
    ///
    /// The system has not enough memory.
    pub fn enlarged_blank(&self, scale: usize) -> Result<Self, PictureError> {
        let [height, width] = [self.height * scale, self.width * scale];
        let count = height * width * self.channels;
        let samples = match self.samples {
            Samples::Bytes(_) => Samples::Bytes(zeros(count)?),
            Samples::Words(_) => Samples::Words(zeros(count)?),
        };
        Ok(Self {
            height,
            width,
            samples,
            ..*self
        })
    }

    pub fn has_alpha(&self) -> bool {
        self.channels.is_multiple_of(2)
    }

    pub fn is_grey(&self) -> bool {
        self.channels < 3
    }

    /// The largest value of a sample: 255 or 65535.
    pub fn max(&self) -> f32 {
        match self.samples {
            Samples::Bytes(_) => f32::from(u8::MAX),
            Samples::Words(_) => f32::from(u16::MAX),
        }
    }

    /// A sample in 0 to 1.
    pub fn sample(&self, index: usize) -> f32 {
        match &self.samples {
            Samples::Bytes(samples) => f32::from(samples[index]) / f32::from(u8::MAX),
            Samples::Words(samples) => f32::from(samples[index]) / f32::from(u16::MAX),
        }
    }

    /// Sets a sample to the nearest of its steps; the value is clamped to 0 to 1.
    pub fn set_sample(&mut self, index: usize, value: f32) {
        let level = value.clamp(0.0, 1.0) * self.max() + 0.5;
        match &mut self.samples {
            Samples::Bytes(samples) => samples[index] = level as u8,
            Samples::Words(samples) => samples[index] = level as u16,
        }
    }

    /// Red, green and blue of 8 bits; the values are clamped to 0 to 1.
    pub fn from_colours(image: &Rgb32FImage) -> Self {
        let level = |&value: &f32| (value.clamp(0.0, 1.0) * f32::from(u8::MAX) + 0.5) as u8;
        Self {
            height: image.height() as usize,
            width: image.width() as usize,
            channels: 3,
            samples: Samples::Bytes(image.iter().map(level).collect()),
        }
    }

    fn from_image(image: DynamicImage) -> Self {
        let [height, width] = [image.height() as usize, image.width() as usize];
        let channels = usize::from(image.color().channel_count());
        let samples = match image {
            DynamicImage::ImageLuma8(image) => Samples::Bytes(image.into_raw()),
            DynamicImage::ImageLumaA8(image) => Samples::Bytes(image.into_raw()),
            DynamicImage::ImageRgb8(image) => Samples::Bytes(image.into_raw()),
            DynamicImage::ImageRgba8(image) => Samples::Bytes(image.into_raw()),
            DynamicImage::ImageLuma16(image) => Samples::Words(image.into_raw()),
            DynamicImage::ImageLumaA16(image) => Samples::Words(image.into_raw()),
            DynamicImage::ImageRgb16(image) => Samples::Words(image.into_raw()),
            DynamicImage::ImageRgba16(image) => Samples::Words(image.into_raw()),
            // Only formats that are not built in have real numbers.
            other if other.color().has_alpha() => Samples::Words(other.into_rgba16().into_raw()),
            other => Samples::Words(other.into_rgb16().into_raw()),
        };
        Self {
            height,
            width,
            channels,
            samples,
        }
    }

    /// The pixels as a file of this format can hold them: JPEG has no alpha, and JPEG and WebP have
    /// 8 bits. `None` if nothing changes.
    fn reduced(&self, format: Format) -> Option<Self> {
        let drop_alpha = format == Format::Jpeg && self.has_alpha();
        // WebP's encoder takes colour only, for pictures with alpha.
        let drop_bits = format != Format::Png && matches!(self.samples, Samples::Words(_));
        if !drop_alpha && !drop_bits {
            return None;
        }
        let channels = self.channels - usize::from(drop_alpha);
        let pixels = self.height * self.width;
        let mut bytes = Vec::with_capacity(pixels * channels);
        for pixel in 0..pixels {
            for channel in 0..channels {
                let value = self.sample(pixel * self.channels + channel);
                bytes.push((value * f32::from(u8::MAX) + 0.5) as u8);
            }
        }
        Some(Self {
            channels,
            samples: Samples::Bytes(bytes),
            ..*self
        })
    }

    fn color_type(&self) -> ExtendedColorType {
        match (&self.samples, self.channels) {
            (Samples::Bytes(_), 1) => ExtendedColorType::L8,
            (Samples::Bytes(_), 2) => ExtendedColorType::La8,
            (Samples::Bytes(_), 3) => ExtendedColorType::Rgb8,
            (Samples::Bytes(_), _) => ExtendedColorType::Rgba8,
            (Samples::Words(_), 1) => ExtendedColorType::L16,
            (Samples::Words(_), 2) => ExtendedColorType::La16,
            (Samples::Words(_), 3) => ExtendedColorType::Rgb16,
            (Samples::Words(_), _) => ExtendedColorType::Rgba16,
        }
    }
}

fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, PictureError> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| PictureError::Memory {
            megabytes: count * size_of::<T>() / 1_000_000,
        })?;
    values.resize(count, T::default());
    Ok(values)
}

/// A picture upright, with what its file says about it.
#[derive(Clone, Debug)]
pub struct Picture {
    pub pixels: Pixels,
    /// The colour profile.
    pub icc: Option<Vec<u8>>,
    /// The EXIF data. Its orientation is that of `pixels`: none.
    pub exif: Option<Vec<u8>>,
}

impl Picture {
    /// Reads a PNG, JPEG or WebP file; its contents say which it is, not its name.
    ///
    /// # Errors
    ///
    /// The file is missing, empty, cut off, of another kind, or its header claims more than
    /// [`MAX_BYTES`].
    pub fn read(path: &Path) -> Result<Self, PictureError> {
        let unreadable = |source| PictureError::Read {
            path: path.into(),
            source,
        };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(PictureError::NotAFile { path: path.into() });
        }
        if metadata.len() == 0 {
            return Err(PictureError::Empty { path: path.into() });
        }
        if metadata.len() > MAX_BYTES {
            return Err(PictureError::TooLarge {
                path: path.into(),
                size: format!("{} bytes", metadata.len()),
            });
        }
        let bytes = fs::read(path).map_err(unreadable)?;

        let reader = ImageReader::new(Cursor::new(&bytes));
        let reader = reader.with_guessed_format().map_err(unreadable)?;
        let format = reader.format();
        if !matches!(
            format,
            Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)
        ) {
            return Err(PictureError::NotAnImage { path: path.into() });
        }
        let broken = |source| PictureError::Broken {
            path: path.into(),
            source,
        };
        let decoder = decoder(reader).map_err(broken)?;
        let [width, height] = [decoder.dimensions().0, decoder.dimensions().1];
        if decoder.total_bytes() > MAX_BYTES {
            return Err(PictureError::TooLarge {
                path: path.into(),
                size: format!("{width} x {height} pixels"),
            });
        }
        if format == Some(ImageFormat::Jpeg) && !jpeg_has_its_end(&bytes) {
            return Err(PictureError::CutOff { path: path.into() });
        }
        decode(decoder).map_err(broken)
    }

    /// Writes a temporary file beside `path` and renames it once it is complete: nobody reads half a
    /// file. If the user stops the program, the temporary file is removed.
    ///
    /// # Errors
    ///
    /// The file cannot be written, the picture is too large for the format, or the user has stopped
    /// the program.
    pub fn write(&self, path: &Path, encoding: Encoding, stop: Stop) -> Result<(), PictureError> {
        let side = encoding.format.max_side();
        if self.pixels.height.max(self.pixels.width) > side {
            return Err(PictureError::Format {
                path: path.into(),
                height: self.pixels.height,
                width: self.pixels.width,
                side,
            });
        }
        write_atomically(path, stop, |file| self.encode(file, encoding))
    }

    fn encode(&self, file: &mut dyn Write, encoding: Encoding) -> ImageResult<()> {
        match encoding.format {
            Format::Png => self.encode_with(PngEncoder::new(file), Format::Png),
            Format::Jpeg => {
                let encoder = JpegEncoder::new_with_quality(file, encoding.quality);
                self.encode_with(encoder, Format::Jpeg)
            }
            Format::Webp => self.encode_with(WebPEncoder::new_lossless(file), Format::Webp),
        }
    }

    fn encode_with(&self, mut encoder: impl ImageEncoder, format: Format) -> ImageResult<()> {
        if let Some(icc) = &self.icc {
            encoder
                .set_icc_profile(icc.clone())
                .map_err(ImageError::Unsupported)?;
        }
        if let Some(exif) = &self.exif {
            encoder
                .set_exif_metadata(exif.clone())
                .map_err(ImageError::Unsupported)?;
        }
        let reduced = self.pixels.reduced(format);
        let pixels = reduced.as_ref().unwrap_or(&self.pixels);
        let bytes = match &pixels.samples {
            Samples::Bytes(bytes) => bytes.as_slice(),
            Samples::Words(words) => bytemuck::cast_slice(words),
        };
        let [height, width] = [pixels.height as u32, pixels.width as u32];
        encoder.write_image(bytes, width, height, pixels.color_type())
    }
}

/// Our own limit takes the place of the reader's.
fn decoder<'a>(
    mut reader: ImageReader<Cursor<&'a Vec<u8>>>,
) -> ImageResult<impl ImageDecoder + 'a> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 * MAX_BYTES);
    reader.limits(limits);
    reader.into_decoder()
}

fn decode(mut decoder: impl ImageDecoder) -> ImageResult<Picture> {
    // A profile or EXIF data that cannot be read is no reason to refuse the picture.
    let icc = decoder.icc_profile().ok().flatten();
    let mut exif = decoder.exif_metadata().ok().flatten();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if let Some(exif) = &mut exif {
        let _ = Orientation::remove_from_exif_chunk(exif);
    }
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let pixels = Pixels::from_image(image);
    let icc = icc.filter(|icc| profile_fits(icc, pixels.is_grey()));
    Ok(Picture { pixels, icc, exif })
}

/// A profile names the colours that it is for; the reader has turned CMYK into RGB.
fn profile_fits(icc: &[u8], grey: bool) -> bool {
    let expected = if grey { b"GRAY" } else { b"RGB " };
    icc.get(16..20) == Some(expected)
}

/// The reader of JPEG fills what is missing of a file with grey. So look for the marker of the end
/// after the start of the last scan; what a camera adds behind it does not matter.
fn jpeg_has_its_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    // The segments before the scan have lengths. One may hold a whole JPEG file, a preview.
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk())
    {
        if marker == 0xFF {
            at += 1; // filling
            continue;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == START_OF_SCAN {
            let scan = bytes.get(at..).unwrap_or_default();
            return scan.windows(2).any(|pair| pair == END_OF_IMAGE);
        }
    }
    false
}

/// True if a file in a folder counts as an image.
pub fn has_image_name(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    path.is_file() && EXTENSIONS.iter().any(|known| extension == *known)
}
