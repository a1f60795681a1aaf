//! The overlap held to brute force: a layer of ones over ones counts its own taps.

mod common;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dLayerConfig, Padding, overlap};
use common::flat;

/// What a layer of ones answers in the middle of a map of ones, from `[start, start]` on.
fn middle(config: &Deconv2dLayerConfig, start: usize, size: usize) -> Vec<usize> {
    let device = Device::default();
    let mut layer = config.init(&device);
    layer.weight = Param::from_tensor(Tensor::ones(layer.weight.dims(), &device));
    let side = 4 * size;
    let output = layer.forward(Tensor::ones([1, config.channels[0], side, side], &device));
    let end = start + size;
    let middle = output.slice([0..1, 0..1, start..end, start..end]);
    flat(middle)
        .into_iter()
        .map(|count| count as usize)
        .collect()
}

#[test]
fn a_layer_of_ones_counts_its_taps() {
    let paddings = [
        Padding::Same,
        Padding::SameLower,
        Padding::Valid,
        Padding::Explicit(2, 1, 0, 3),
    ];
    let mut even = [0; 2];
    for k in 1..=6 {
        for s in 1..=4 {
            for d in 1..=3 {
                // Other numbers on the width.
                let (k_w, s_w, d_w) = (7 - k, 5 - s, 4 - d);
                let config = Deconv2dLayerConfig::new([3, 1], [k, k_w])
                    .with_stride([s, s_w])
                    .with_dilation([d, d_w])
                    .with_bias(false)
                    .with_padding(paddings[(k + s + d) % paddings.len()]);
                let overlap = overlap(&config).unwrap();
                assert_eq!(overlap.phases(), [s, s_w]);

                // Far enough from the border: at most 5 * 3 + 1 rows of a kernel, 2 cropped.
                let (start, size) = (20, 12);
                let counts = middle(&config, start, size);
                for (at, count) in counts.iter().enumerate() {
                    let position = [start + at / size, start + at % size];
                    assert_eq!(
                        3 * overlap.taps(position),
                        *count,
                        "{position:?} of {config:?}"
                    );
                }
                let all_equal = counts.iter().all(|count| *count == counts[0]);
                assert_eq!(overlap.is_even(), all_equal, "{config:?}");
                even[usize::from(all_equal)] += 1;
            }
        }
    }
    assert!(even.iter().all(|count| *count > 0), "{even:?}");
}

/// The rule of the docs, on one axis: `s` divides `k` and shares no factor with `d`.
#[test]
fn even_if_the_stride_divides_the_kernel() {
    for (k, s, d, expected) in [
        (4, 2, 1, true),
        (2, 2, 1, true),
        (3, 2, 1, false),
        (5, 3, 1, false),
        (6, 3, 1, true),
        (7, 1, 5, true),
        (4, 2, 3, true),
        (4, 2, 2, false), // every second output sees nothing
        (6, 6, 4, false),
    ] {
        let config = Deconv2dLayerConfig::new([1, 1], [k, 1])
            .with_stride([s, 1])
            .with_dilation([d, 1]);
        assert_eq!(overlap(&config).unwrap().is_even(), expected, "{k} {s} {d}");
    }
}

#[test]
fn the_crop_shifts_the_phases() {
    let config = Deconv2dLayerConfig::new([1, 1], [3, 3]);
    let shown = |padding| {
        let config = config.clone().with_padding(padding);
        overlap(&config).unwrap().to_string()
    };
    assert_eq!(shown(Padding::Same), "4 2\n2 1\n"); // crops 0, 1
    assert_eq!(shown(Padding::SameLower), "1 2\n2 4\n"); // crops 1, 0
    assert_eq!(shown(Padding::Explicit(1, 0, 0, 0)), "2 1\n4 2\n");
}

#[test]
fn a_config_that_is_no_layer_is_an_error() {
    let config = Deconv2dLayerConfig::new([1, 1], [3, 3]).with_stride([2, 0]);
    assert_eq!(
        overlap(&config).unwrap_err().to_string(),
        "stride must be at least 1, got 0 on the width axis"
    );
    let config = Deconv2dLayerConfig::new([1, 1], [3, 3]).with_padding(Padding::Explicit(
        usize::MAX,
        0,
        1,
        0,
    ));
    assert!(overlap(&config).is_err());
}
