//! Tiles: a picture is enlarged piece by piece, so that memory does not grow with it. Each piece is
//! computed with as much around it as its outermost values depend on; so there are no seams.

use std::ops::Range;

/// A rectangle of pixels at low resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Tile {
    /// The rectangle with `reach` more pixels on each side, up to the picture's border.
    pub fn with_margin(&self, reach: usize, [height, width]: [usize; 2]) -> Self {
        Self {
            rows: grown(&self.rows, reach, height),
            columns: grown(&self.columns, reach, width),
        }
    }

    /// The same pixels, counted from the start of `outer`.
    pub fn within(&self, outer: &Self) -> Self {
        let moved = |range: &Range<usize>, start| range.start - start..range.end - start;
        Self {
            rows: moved(&self.rows, outer.rows.start),
            columns: moved(&self.columns, outer.columns.start),
        }
    }

    /// The same part of the enlarged picture.
    pub fn times(&self, scale: usize) -> Self {
        let times = |range: &Range<usize>| scale * range.start..scale * range.end;
        Self {
            rows: times(&self.rows),
            columns: times(&self.columns),
        }
    }

    /// `[h, w]`
    pub fn size(&self) -> [usize; 2] {
        [self.rows.len(), self.columns.len()]
    }

    pub fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

fn grown(range: &Range<usize>, reach: usize, end: usize) -> Range<usize> {
    range.start.saturating_sub(reach)..(range.end + reach).min(end)
}

/// Tiles of at most `size x size` pixels that cover `[height, width]`, about equal in size.
pub fn tiles([height, width]: [usize; 2], size: usize) -> impl Iterator<Item = Tile> {
    parts(height, size).flat_map(move |rows| {
        parts(width, size).map(move |columns| Tile {
            rows: rows.clone(),
            columns,
        })
    })
}

fn parts(length: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let count = length.div_ceil(size);
    (0..count).map(move |part| part * length / count..(part + 1) * length / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_in_one_tile() {
        for (size, [height, width]) in [(4, [13, 9]), (5, [5, 1]), (64, [3, 7])] {
            let mut count = vec![0; height * width];
            for tile in tiles([height, width], size) {
                let [h, w] = tile.size();
                assert!(h <= size && w <= size && h * w > 0);
                for (y, x) in tile
                    .rows
                    .clone()
                    .flat_map(|y| tile.columns.clone().map(move |x| (y, x)))
                {
                    count[y * width + x] += 1;
                }
            }
            assert!(count.iter().all(|&count| count == 1));
        }
    }

    #[test]
    fn the_margin_ends_at_the_border() {
        let tile = Tile {
            rows: 2..5,
            columns: 8..12,
        };
        let grown = tile.with_margin(3, [20, 13]);
        assert_eq!(grown.rows, 0..8);
        assert_eq!(grown.columns, 5..13);
    }
}
