//! Sizes and crops: the numbers of [`Geometry`], the sizes that are not legal, and the overlap,
//! which is held to a layer of ones that counts its own taps.

mod common;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use burn_deconv::{
    Algorithm, AxisGeometry, Deconv2dError, Deconv2dLayerConfig, Deconv2dOptions, Geometry,
    Padding, deconv2d, overlap, try_deconv2d,
};
use common::flat;

fn config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([4, 2], [3, 3])
}

/// The height of a square layer.
fn axis(h: usize, k: usize, s: usize, padding: Padding) -> AxisGeometry {
    let options = Deconv2dOptions::new()
        .with_stride([s; 2])
        .with_padding(padding);
    let geometry = Geometry::new([1, 1, h, h], [1, 1, k, k], &options).unwrap();
    geometry.axes()[0].clone()
}

fn crops(axis: &AxisGeometry) -> (usize, isize) {
    (axis.crop_begin(), axis.crop_end())
}

/// TensorFlow's `SAME`, by kernel and stride. A negative crop appends zeros.
#[test]
fn same_crops_an_odd_value_at_the_end() {
    #[rustfmt::skip]
    let cells = [
        ((2, 2), (0, 0)), ((3, 2), (0, 1)), ((4, 2), (1, 1)), ((5, 2), (1, 2)),
        ((3, 1), (1, 1)), ((2, 1), (0, 1)), ((4, 1), (1, 2)), ((3, 3), (0, 0)),
        ((5, 3), (1, 1)), ((1, 2), (0, -1)), ((2, 3), (0, -1)), ((1, 4), (0, -3)),
    ];
    for ((k, s), (begin, end)) in cells {
        let same = axis(5, k, s, Padding::Same);
        assert_eq!(crops(&same), (begin, end), "kernel {k}, stride {s}");
        let lower = axis(5, k, s, Padding::SameLower);
        let swapped = if end < 0 {
            (begin, end)
        } else {
            (end as usize, begin as isize)
        };
        assert_eq!(crops(&lower), swapped, "kernel {k}, stride {s}");
    }
}

#[test]
fn valid_keeps_the_full_map() {
    assert_eq!(axis(5, 3, 2, Padding::Valid).output(), 11);
    assert_eq!(axis(5, 1, 3, Padding::Valid).output(), 15);
    assert_eq!(crops(&axis(5, 1, 3, Padding::Valid)), (0, -2));
}

#[test]
fn lengths_of_the_article() {
    let axis = axis(3, 3, 2, Padding::Same);
    assert_eq!((axis.extent(), axis.full(), axis.filled()), (3, 7, 9));
    assert_eq!((axis.output(), axis.kept(), axis.appended()), (6, 0..6, 0));
}

#[test]
fn a_window_past_the_end_keeps_what_there_is() {
    let options = Deconv2dOptions::new()
        .with_stride([3, 3])
        .with_padding(Padding::Explicit(1, 0, 0, 0))
        .with_padding_out([2, 0]);
    let geometry = Geometry::new([1, 1, 2, 2], [1, 1, 2, 2], &options).unwrap();
    let [height, width] = geometry.axes();
    assert_eq!(
        (height.full(), height.output(), height.kept()),
        (5, 6, 1..5)
    );
    assert_eq!((height.appended(), height.crop_end()), (2, -2));
    assert_eq!(
        (width.output(), width.kept(), width.appended()),
        (5, 0..5, 0)
    );
}

/// The message of the functional form, for both algorithms.
fn call_error(input: [usize; 4], weight: [usize; 4], options: Deconv2dOptions) -> String {
    let [explicit, skip_zeros] = [Algorithm::Explicit, Algorithm::SkipZeros].map(|algorithm| {
        let device = Device::default();
        let (input, weight) = (
            Tensor::zeros(input, &device),
            Tensor::zeros(weight, &device),
        );
        let options = options.clone().with_algorithm(algorithm);
        let error = try_deconv2d(input, weight, None, options).unwrap_err();
        error.to_string()
    });
    assert_eq!(explicit, skip_zeros);
    skip_zeros
}

/// The message of a geometry whose tensors would be too large.
fn size_error(input: [usize; 4], weight: [usize; 4], options: Deconv2dOptions) -> String {
    Geometry::new(input, weight, &options)
        .unwrap_err()
        .to_string()
}

#[test]
fn crop_larger_than_the_map() {
    let crop = |padding| Deconv2dOptions::new().with_padding(padding);
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [2, 4, 3, 3],
            crop(Padding::Explicit(4, 0, 3, 0))
        ),
        "padding crops 4 + 3 from a full map of height 7: at most 6 at the beginning and 6 \
         in all is legal, because one value must be left"
    );
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [2, 4, 3, 3],
            crop(Padding::Explicit(0, 9, 0, 0))
        ),
        "padding crops 9 + 0 from a full map of width 7: at most 6 at the beginning and 6 \
         in all is legal, because one value must be left"
    );
    // One value left is legal; and padding_out may leave one where the crop takes all.
    let one = crop(Padding::Explicit(3, 6, 3, 0));
    assert_eq!(
        Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &one)
            .unwrap()
            .output_shape(),
        [1, 2, 1, 1]
    );
    let one = crop(Padding::Explicit(4, 0, 3, 0)).with_padding_out([1, 0]);
    assert_eq!(
        Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &one)
            .unwrap()
            .output_shape(),
        [1, 2, 1, 7]
    );
    let overflow = crop(Padding::Explicit(usize::MAX, 0, 1, 0));
    assert_eq!(
        size_error([1, 4, 3, 3], [2, 4, 3, 3], overflow),
        "the height of the full map does not fit a usize: an input height of 3 with this kernel \
         size, stride, dilation and padding is too large"
    );
}

#[test]
fn impossible_output_size() {
    let asked = |padding, size| {
        let options = Deconv2dOptions::new()
            .with_padding(padding)
            .with_output_size(Some(size));
        call_error([1, 4, 3, 3], [2, 4, 3, 3], options)
    };
    assert_eq!(
        asked(Padding::Same, [7, 6]),
        "requested an output height of 7, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
    assert_eq!(
        asked(Padding::SameLower, [5, 4]),
        "requested an output width of 4, but legal sizes range from 5 to 6 for an input width of 3"
    );
    assert_eq!(
        asked(Padding::Valid, [7, 9]),
        "requested an output width of 9, but legal sizes range from 7 to 8 for an input width of 3"
    );
    assert_eq!(
        asked(Padding::Explicit(1, 1, 1, 1), [4, 5]),
        "requested an output height of 4, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
    assert_eq!(
        asked(Padding::Explicit(4, 0, 4, 0), [1, 7]),
        "padding crops 4 + 4 from a full map of height 7: at most 6 at the beginning and 7 \
         in all is legal, because one value must be left"
    );
    assert_eq!(
        asked(Padding::Same, [0, 6]),
        "requested an output height of 0, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
}

#[test]
fn empty_map() {
    assert_eq!(
        call_error([1, 4, 0, 3], [2, 4, 3, 3], Deconv2dOptions::new()),
        "the input map must have at least one row and one column, got height 0 in [1, 4, 0, 3] \
         ([n, c, h, w]; an empty batch, n = 0, is legal)"
    );
    assert_eq!(
        config().output_size([3, 0]).unwrap_err(),
        Deconv2dError::EmptyMap {
            axis: burn_deconv::Axis::Width,
            input: [1, 4, 3, 0]
        }
    );
}

#[test]
fn sizes_that_overflow() {
    let huge = usize::MAX / 2;
    let axis = |axis, input| {
        format!(
            "the {axis} of the full map does not fit a usize: an input {axis} of {input} with \
             this kernel size, stride, dilation and padding is too large"
        )
    };
    let options = Deconv2dOptions::new();
    assert_eq!(
        size_error([1, 1, huge + 2, 3], [1, 1, 3, 3], options),
        axis("height", huge + 2)
    );
    let options = Deconv2dOptions::new().with_stride([1, usize::MAX]);
    assert_eq!(
        size_error([1, 1, 3, 1], [1, 1, 3, 3], options),
        axis("width", 1)
    );
    let options = Deconv2dOptions::new().with_dilation([huge, 1]);
    assert_eq!(
        size_error([1, 1, 3, 3], [1, 1, 4, 3], options),
        axis("height", 3)
    );

    // Each axis fits, the tensor does not.
    let edge = 1 << 31;
    assert_eq!(
        size_error([1, 1, edge, edge], [1, 1, 3, 3], Deconv2dOptions::new()),
        format!(
            "the zero-filled map would have the shape {:?}, more elements than memory can address",
            [1, 1, 2 * edge + 3, 2 * edge + 3]
        )
    );
    assert_eq!(
        Deconv2dLayerConfig::new([edge, edge], [3, 3])
            .try_init(&Device::default())
            .unwrap_err()
            .to_string(),
        format!(
            "the weight would have the shape {:?}, more elements than memory can address",
            [edge, edge, 3, 3]
        )
    );
    let options = Deconv2dOptions::new()
        .with_stride([huge / 4, 1])
        .with_padding(Padding::Same);
    assert!(matches!(
        Geometry::new([1, 1, 1, 1], [1, 1, 1, 1], &options).unwrap_err(),
        Deconv2dError::TensorOverflow {
            tensor: "output",
            ..
        }
    ));
}

/// A stride or a dilation beyond all bounds is legal where there is nothing to keep apart.
#[test]
fn huge_stride_of_one_value() {
    let device = Device::default();
    let far = usize::MAX / 4;
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let options = Deconv2dOptions::new()
            .with_stride([far, 2])
            .with_dilation([1, far])
            .with_padding(Padding::Explicit(0, 0, 0, 0))
            .with_algorithm(algorithm);
        let input = Tensor::<4>::full([1, 1, 1, 2], 2., &device);
        let weight = Tensor::<4>::from_data([[[[1.], [2.], [3.]]]], &device);
        let output = deconv2d(input, weight, None, options);
        assert_eq!(output.dims(), [1, 1, 3, 3]);
        assert_eq!(flat(output), [6., 0., 6., 4., 0., 4., 2., 0., 2.]);
    }
}

/// An empty batch has no elements, so only the check of one map bounds its lengths. Without it
/// `crop_end` overflows.
#[test]
fn an_empty_batch_does_not_hide_a_map_that_is_too_large() {
    let options = Deconv2dOptions::new().with_stride([1 << 62, 1]);
    for batch in [0, 1] {
        let geometry = Geometry::new([batch, 5, 2, 4], [2, 5, 65_535, 2], &options);
        let error = geometry.map(|geometry| geometry.to_string()).unwrap_err();
        assert!(
            matches!(error, Deconv2dError::TensorOverflow { shape, .. } if shape[0] == 1),
            "{error}"
        );
    }
}

/// The middle of the output of a layer of ones for a map of ones, from `[start, start]` on.
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

/// The rule of the docs, on one axis: `s` divides `k` and has no common factor with `d`.
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
