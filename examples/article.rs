//! The article's transposed convolution, step by step: four 3x3 maps, two kernels of 4x3x3, stride
//! 2, and a crop that aligns the result with TensorFlow's `conv2d_transpose(padding='SAME')`.
//!
//! ```text
//! cargo run --example article
//! ```

use std::error::Error;

use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Algorithm, Deconv2dLayerConfig, Deconv2dOptions, Geometry, explicit};
use serde::Deserialize;

#[derive(Deserialize)]
struct Article {
    input: [[[f32; 3]; 3]; 4],
    weight: [[[[f32; 3]; 3]; 4]; 2],
    full_map: [[[f32; 7]; 7]; 2],
    output: [[[f32; 6]; 6]; 2],
}

fn main() -> Result<(), Box<dyn Error>> {
    let article: Article = serde_json::from_str(include_str!("../tests/fixtures/article.json"))?;
    let device = Device::default();
    let input = Tensor::<4>::from_data([article.input], &device);
    let weight = Tensor::<4>::from_data(article.weight, &device);

    let geometry = Geometry::new(input.dims(), weight.dims(), &Deconv2dOptions::new())?;
    let [height, width] = geometry.axes();
    println!("{geometry}\n");

    println!("The input's channels:\n");
    print_maps(&maps(&input)?, |_, _| true);

    let filled = explicit::zero_fill(input.clone(), &geometry);
    println!("1. zero_fill: stride 2 apart, inserted zeros are dots.\n");
    let border = [height, width].map(|axis| axis.extent() - 1);
    let is_input = |i: usize, axis: usize| {
        let (border, axis) = (border[axis], geometry.axes()[axis]);
        (border..border + axis.full()).contains(&i)
            && (i - border).is_multiple_of(axis.stride())
            && (i - border) / axis.stride() < axis.input()
    };
    print_maps(&maps(&filled)?, |i, j| is_input(i, 0) && is_input(j, 1));

    let full = explicit::correlate(filled, weight.clone(), &geometry);
    println!("2. correlate: the full map of each kernel, summed over the input's channels.\n");
    print_maps(&maps(&full)?, |_, _| true);

    check("the full map", &full, [article.full_map].into())?;

    let output = explicit::crop(full, &geometry);
    println!(
        "3. crop: {} rows are cut at the top and {} at the bottom (row {}, counted from 0), {} \
         columns on the left and {} on the right (column {}).\n",
        height.crop_begin(),
        height.crop_end(),
        height.kept().end,
        width.crop_begin(),
        width.crop_end(),
        width.kept().end,
    );
    print_maps(&maps(&output)?, |_, _| true);
    check("the output", &output, [article.output].into())?;
    println!("These are the article's numbers, and TensorFlow's.");

    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let config = Deconv2dLayerConfig::new([4, 2], [3, 3]).with_algorithm(algorithm);
        let mut layer = config.with_bias(false).init(&device);
        layer.weight = layer.weight.map(|_| weight.clone());
        check(
            "the layer's output",
            &layer.forward(input.clone()),
            [article.output].into(),
        )?;
        println!("Deconv2dLayer with Algorithm::{algorithm:?} gives the same.");
    }
    Ok(())
}

fn check(what: &str, got: &Tensor<4>, expected: TensorData) -> Result<(), Box<dyn Error>> {
    if got.to_data() == expected {
        return Ok(());
    }
    Err(format!("{what} is not the article's").into())
}

type Map = Vec<Vec<f32>>;

/// The channels of the first image.
fn maps(tensor: &Tensor<4>) -> Result<Vec<Map>, Box<dyn Error>> {
    let [_, _, h, w] = tensor.dims();
    let values = tensor.clone().try_into_vec_as::<f32>()?;
    Ok(values
        .chunks(h * w)
        .map(|map| map.chunks(w).map(<[f32]>::to_vec).collect())
        .collect())
}

/// Prints maps side by side, with a dot for each value that is not shown.
fn print_maps(maps: &[Map], shown: impl Fn(usize, usize) -> bool) {
    for i in 0..maps[0].len() {
        let row = |map: &Map| -> String {
            let cell = |(j, value): (usize, &f32)| {
                if shown(i, j) {
                    format!("{value:3}")
                } else {
                    "  .".to_string()
                }
            };
            map[i].iter().enumerate().map(cell).collect()
        };
        let rows: Vec<String> = maps.iter().map(row).collect();
        println!("  {}", rows.join("    "));
    }
    println!();
}
