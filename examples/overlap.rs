//! The number of taps that reach each output of a transposed convolution, for four kernels. Unequal
//! numbers make a checkerboard (Odena, Dumoulin and Olah,
//! <https://distill.pub/2016/deconv-checkerboard>). This program prints the numbers of one period
//! and draws `docs/overlap.svg`.
//!
//! ```text
//! cargo run --example overlap              # prints
//! cargo run --example overlap -- FILE.svg  # and draws
//! ```

use std::error::Error;
use std::fmt::Write;

use burn_deconv::{Deconv2dLayerConfig, Overlap, overlap};

/// Kernel size, stride, and the counts of one period, row by row.
const PANELS: [(usize, usize, &[usize]); 4] = [
    (3, 2, &[4, 2, 2, 1]),
    (5, 3, &[4, 2, 4, 2, 1, 2, 4, 2, 4]),
    (2, 2, &[1, 1, 1, 1]),
    (4, 2, &[4, 4, 4, 4]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut panels = vec![];
    for (kernel, stride, expected) in PANELS {
        let config = Deconv2dLayerConfig::new([1, 1], [kernel; 2]).with_stride([stride; 2]);
        let overlap = overlap(&config)?;
        println!("kernel {kernel}, stride {stride}:\n{overlap}");

        let counts: Vec<usize> = positions(stride).map(|at| overlap.taps(at)).collect();
        assert_eq!(counts, expected);
        assert_eq!(overlap.is_even(), kernel % stride == 0);
        panels.push((kernel, stride, overlap));
    }
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(path, draw(&panels)?)?;
    }
    Ok(())
}

fn positions(side: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..side).flat_map(move |y| (0..side).map(move |x| [y, x]))
}

/// Outputs in a row of a panel.
const SIDE: usize = 6;
/// Pixels of an output.
const CELL: usize = 30;
/// Pixels of a panel with the space to the next.
const PANEL: usize = SIDE * CELL + 24;
/// From few taps to many.
const COLOURS: [&str; 4] = ["#dbe9f6", "#8db8e0", "#5a93c8", "#2563a8"];

fn draw(panels: &[(usize, usize, Overlap)]) -> Result<String, std::fmt::Error> {
    let (width, height) = (24 + panels.len() * PANEL, SIDE * CELL + 132);
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' \
         font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif' fill='#24292f'>\n\
         <rect width='{width}' height='{height}' fill='#ffffff'/>\n\
         <text x='24' y='32' font-size='17' font-weight='600'>How many taps reach each output</text>"
    )?;
    for (panel, (kernel, stride, overlap)) in panels.iter().enumerate() {
        let (left, top) = (24 + panel * PANEL, 92);
        let verdict = if overlap.is_even() { "even" } else { "uneven" };
        writeln!(
            svg,
            "<text x='{left}' y='64' font-size='14' font-weight='600'>kernel {kernel}, stride \
             {stride}</text>\n<text x='{left}' y='82' font-size='13'>{verdict}</text>"
        )?;
        for [y, x] in positions(SIDE) {
            let taps = overlap.taps([y, x]);
            let (colour, ink) = (
                COLOURS[taps - 1],
                if taps > 2 { "#ffffff" } else { "#24292f" },
            );
            let (x, y) = (left + x * CELL, top + y * CELL);
            let size = CELL - 1;
            let (middle, base) = (x + size / 2, y + size / 2 + 5);
            writeln!(
                svg,
                "<rect x='{x}' y='{y}' width='{size}' height='{size}' fill='{colour}'/>\
                 <text x='{middle}' y='{base}' font-size='13' text-anchor='middle' \
                 fill='{ink}'>{taps}</text>"
            )?;
        }
    }
    writeln!(
        svg,
        "<text x='24' y='{}' font-size='13'>Away from the border. Even exactly if the stride divides \
         the kernel size.</text>\n</svg>",
        height - 16
    )?;
    Ok(svg)
}
