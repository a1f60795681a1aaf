//! The contact sheet: the same detail of several versions of a picture side by side, zoomed.

use image::imageops::{FilterType, crop_imm, overlay, resize};
use image::{Rgb, RgbImage};

use crate::font::{ADVANCE, GLYPH_SIZE, dot};

/// How many pictures a sheet shows, how many pixels of them along each axis at high resolution, and
/// how large it draws a pixel.
pub const ROWS: usize = 4;
const CROP_SIZE: u32 = 80;
const ZOOM: u32 = 3;

/// Pixels between the places where a crop may begin.
const CROP_STEP: usize = 16;

const MARGIN: u32 = 6;
const CELL: u32 = CROP_SIZE * ZOOM;
const LABEL_DOT: u32 = 2;
const LABEL_HEIGHT: u32 = GLYPH_SIZE[0] as u32 * LABEL_DOT;

/// Draws a row for each of the first [`ROWS`] pictures, below one label for each column. The versions
/// of a picture have one size; the first is the input, enlarged with nearest neighbours, and the last
/// is the truth.
pub fn contact_sheet<const N: usize>(labels: [&str; N], rows: &[[RgbImage; N]]) -> RgbImage {
    let rows = &rows[..rows.len().min(ROWS)];
    let width = MARGIN + N as u32 * (CELL + MARGIN);
    let top = MARGIN + LABEL_HEIGHT + MARGIN;
    let height = top + rows.len() as u32 * (CELL + MARGIN);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let left = |column: usize| MARGIN + column as u32 * (CELL + MARGIN);
    for (column, label) in labels.into_iter().enumerate() {
        write_label(&mut sheet, [MARGIN, left(column)], label);
    }
    for (row, versions) in rows.iter().enumerate() {
        let place = busiest_crop(&versions[0], &versions[N - 1]);
        let top = top + row as u32 * (CELL + MARGIN);
        for (column, version) in versions.iter().enumerate() {
            let cell = cell(version, place);
            overlay(&mut sheet, &cell, left(column).into(), top.into());
        }
    }
    sheet
}

/// The crop at `[top, left]`, enlarged until it fills a cell.
fn cell(image: &RgbImage, [top, left]: [u32; 2]) -> RgbImage {
    let crop = crop_imm(image, left, top, CROP_SIZE, CROP_SIZE).to_image();
    let [height, width] = [crop.height(), crop.width()].map(|size| size * ZOOM);
    resize(&crop, width, height, FilterType::Nearest)
}

/// `[top, left]` of the most detailed crop: there, the truth differs most from the input enlarged
/// with nearest neighbours. The other enlargements do not influence the choice.
fn busiest_crop(nearest: &RgbImage, truth: &RgbImage) -> [u32; 2] {
    let size = [truth.height(), truth.width()].map(|size| size.min(CROP_SIZE));
    let places = |length: u32, size: u32| (0..=length - size).step_by(CROP_STEP);
    let detail = |top: u32, left: u32| -> u64 {
        let rows = (top..top + size[0]).step_by(2);
        rows.flat_map(|y| (left..left + size[1]).step_by(2).map(move |x| (x, y)))
            .map(|(x, y)| {
                let [got, expected] = [nearest, truth].map(|image| image.get_pixel(x, y).0);
                let square = |c: usize| u64::from(got[c].abs_diff(expected[c])).pow(2);
                (0..3).map(square).sum::<u64>()
            })
            .sum()
    };
    places(truth.height(), size[0])
        .flat_map(|top| places(truth.width(), size[1]).map(move |left| [top, left]))
        .max_by_key(|&[top, left]| detail(top, left))
        .unwrap_or_default()
}

/// Writes a label in black with its upper left corner at `[top, left]`.
fn write_label(picture: &mut RgbImage, [top, left]: [u32; 2], label: &str) {
    let width = (label.len() * ADVANCE) as u32 * LABEL_DOT;
    for (x, y) in (0..width).flat_map(|x| (0..LABEL_HEIGHT).map(move |y| (x, y))) {
        let [row, column] = [y, x].map(|at| (at / LABEL_DOT) as usize);
        if dot(label.as_bytes(), row, column) {
            picture.put_pixel(left + x, top + y, Rgb([0; 3]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_shows_where_the_detail_is() {
        let mut truth = RgbImage::from_pixel(240, 160, Rgb([128; 3]));
        let plain = truth.clone();
        for (x, y) in (180..200).flat_map(|x| (100..110).map(move |y| (x, y))) {
            truth.put_pixel(x, y, Rgb([255 * ((x + y) % 2) as u8; 3]));
        }
        let [top, left] = busiest_crop(&plain, &truth);
        assert!(top <= 100 && top + CROP_SIZE >= 110, "{top}");
        assert!(left <= 180 && left + CROP_SIZE >= 200, "{left}");

        let sheet = contact_sheet(["INPUT", "OURS", "TRUTH"], &[[plain.clone(), plain, truth]]);
        assert_eq!(sheet.dimensions(), (744, 272));
    }
}
