//! The layouts: values, gradients and shapes of every conversion. They are compared with the index
//! formula of `KernelLayout`'s docs, which `place` has a second time, and with Burn's own
//! operation.

mod common;

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::quantization::QuantScheme;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_deconv::{Deconv2dOptions, KernelLayout, Padding, deconv2d};
use common::{Draw, flat, strided, tensor};

on_every_backend!(
    values,
    gradients,
    weights_that_do_not_lie_in_order,
    burns_layout_is_burns,
);

/// A layout, the layer's shape, the groups, and the shape in that layout. The sizes are unequal.
type Case = (KernelLayout, [usize; 4], usize, [usize; 4]);

const CASES: [Case; 10] = [
    (KernelLayout::Article, [4, 3, 2, 5], 1, [4, 3, 2, 5]),
    (KernelLayout::Article, [4, 3, 2, 5], 2, [4, 3, 2, 5]),
    (KernelLayout::Burn, [4, 3, 2, 5], 1, [3, 4, 2, 5]),
    (KernelLayout::Burn, [4, 3, 2, 5], 2, [6, 2, 2, 5]),
    (KernelLayout::Burn, [6, 1, 3, 1], 6, [6, 1, 3, 1]),
    (KernelLayout::TensorFlow, [4, 3, 2, 5], 1, [2, 5, 4, 3]),
    (KernelLayout::TensorFlow, [4, 3, 2, 5], 2, [2, 5, 2, 6]),
    (KernelLayout::TensorFlow, [9, 2, 1, 4], 3, [1, 4, 3, 6]),
    (KernelLayout::Flax, [4, 3, 2, 5], 1, [2, 5, 3, 4]),
    (KernelLayout::Flax, [1, 7, 3, 1], 1, [3, 1, 7, 1]),
];

/// Where `article[o, i, y, x]` is stored, counted from the first value.
fn place(layout: KernelLayout, article: [usize; 4], groups: usize, at: [usize; 4]) -> usize {
    let [c_out, c_in_per_group, k_h, k_w] = article;
    let [o, i, y, x] = at;
    let c_out_per_group = c_out / groups;
    let (group, p) = (o / c_out_per_group, o % c_out_per_group);
    let (c, c_in) = (group * c_in_per_group + i, groups * c_in_per_group);
    let (turned_y, turned_x) = (k_h - 1 - y, k_w - 1 - x);
    match layout {
        KernelLayout::Article => ((o * c_in_per_group + i) * k_h + y) * k_w + x,
        KernelLayout::Burn => ((c * c_out_per_group + p) * k_h + turned_y) * k_w + turned_x,
        KernelLayout::TensorFlow => ((turned_y * k_w + turned_x) * c_out_per_group + p) * c_in + c,
        KernelLayout::Flax => ((y * k_w + x) * c_in + c) * c_out + o,
    }
}

/// The values of a stored weight in the layer's order.
fn gather(layout: KernelLayout, article: [usize; 4], groups: usize, stored: &[f64]) -> Vec<f64> {
    let [c_out, c_in_per_group, k_h, k_w] = article;
    let mut values = vec![];
    for o in 0..c_out {
        for i in 0..c_in_per_group {
            for y in 0..k_h {
                for x in 0..k_w {
                    values.push(stored[place(layout, article, groups, [o, i, y, x])]);
                }
            }
        }
    }
    values
}

fn values(device: Device, dtype: DType) {
    for (layout, article, groups, shape) in CASES {
        let stored = Draw::new(1).whole_numbers(shape.iter().product());
        let weight = tensor(&stored, shape, &device, dtype);
        let converted = layout.to_article(weight, groups).unwrap();
        assert_eq!((converted.dims(), converted.dtype()), (article, dtype));
        let expected = gather(layout, article, groups, &stored);
        assert_eq!(flat(converted.clone()), expected, "{layout}, {groups}");

        let back = layout.from_article(converted, groups).unwrap();
        assert_eq!((back.dims(), back.dtype()), (shape, dtype));
        assert_eq!(flat(back), stored, "{layout}, {groups}");
    }
}

fn gradients(device: Device, dtype: DType) {
    let device = device.autodiff();
    for (layout, article, groups, shape) in CASES {
        let count = shape.iter().product();
        let (weight, grad) = (
            Draw::new(2).whole_numbers(count),
            Draw::new(3).whole_numbers(count),
        );

        // The gradient of a rearrangement is the output gradient, rearranged back.
        let stored = tensor(&weight, shape, &device, dtype).require_grad();
        let converted = layout.to_article(stored.clone(), groups).unwrap();
        let loss = (converted * tensor(&grad, article, &device, dtype)).sum();
        let grad_stored = flat(stored.grad(&loss.backward()).unwrap());
        assert_eq!(gather(layout, article, groups, &grad_stored), grad);

        let ours = tensor(&weight, article, &device, dtype).require_grad();
        let converted = layout.from_article(ours.clone(), groups).unwrap();
        let loss = (converted * tensor(&grad, shape, &device, dtype)).sum();
        let grad_ours = flat(ours.grad(&loss.backward()).unwrap());
        assert_eq!(grad_ours, gather(layout, article, groups, &grad));
    }
}

fn weights_that_do_not_lie_in_order(device: Device, dtype: DType) {
    for (layout, article, groups, shape) in CASES {
        let stored = Draw::new(4).whole_numbers(shape.iter().product());
        let weight = strided(tensor(&stored, shape, &device, dtype));
        let converted = layout.to_article(weight, groups).unwrap();
        assert_eq!(flat(converted), gather(layout, article, groups, &stored));
    }
}

fn burns_layout_is_burns(device: Device, dtype: DType) {
    for (groups, stored, input) in [
        (1, [3, 4, 2, 5], [2, 3, 4, 3]),
        (2, [6, 2, 5, 3], [1, 6, 3, 4]),
        (3, [3, 2, 1, 4], [2, 3, 2, 5]),
    ] {
        let [weight, input] = [stored, input].map(|shape: [usize; 4]| {
            tensor(
                &Draw::new(5).whole_numbers(shape.iter().product()),
                shape,
                &device,
                dtype,
            )
        });
        let options = ConvTransposeOptions::new([2, 3], [0, 0], [0, 0], [1, 2], groups);
        let burns = conv_transpose2d(input.clone(), weight.clone(), None, options);

        let article = KernelLayout::Burn.to_article(weight, groups).unwrap();
        let options = Deconv2dOptions::new()
            .with_stride([2, 3])
            .with_dilation([1, 2])
            .with_groups(groups)
            .with_padding(Padding::Explicit(0, 0, 0, 0));
        let ours = deconv2d(input, article, None, options);
        assert_eq!((ours.dims(), flat(ours)), (burns.dims(), flat(burns)));
    }
}

#[test]
fn shapes() {
    for (layout, article, groups, shape) in CASES {
        assert_eq!(layout.shape_of(article, groups), Ok(shape));
        assert_eq!(layout.article_shape(shape, groups), Ok(article));
    }
}

#[test]
fn other_names() {
    assert_eq!(KernelLayout::PYTORCH, KernelLayout::Burn);
    assert_eq!(KernelLayout::ONNX, KernelLayout::Burn);
    assert_eq!(KernelLayout::KERAS, KernelLayout::TensorFlow);
    assert_eq!(KernelLayout::EQUINOX, KernelLayout::Article);
}

#[test]
fn serializes_by_name() {
    for layout in CASES.map(|(layout, ..)| layout) {
        let json = serde_json::to_string(&layout).unwrap();
        assert_eq!(json, format!("\"{layout:?}\""));
        assert_eq!(serde_json::from_str::<KernelLayout>(&json).unwrap(), layout);
    }
}

#[test]
fn impossible_shapes() {
    use KernelLayout::{Article, Burn, Flax, TensorFlow};
    #[rustfmt::skip]
    let cases = [
        (Burn, [6, 2, 3, 3], 0, "groups must be at least 1, got 0"),
        (Article, [5, 2, 3, 3], 2,
            "groups must divide the number of out channels of a weight, got 5 in the shape [5, 2, \
             3, 3] of the layout Article ([out, in / groups, k_h, k_w]) and groups = 2"),
        (Burn, [5, 2, 3, 3], 2,
            "groups must divide the number of in channels of a weight, got 5 in the shape [5, 2, \
             3, 3] of the layout Burn ([in, out / groups, k_h, k_w]) and groups = 2"),
        (TensorFlow, [3, 3, 2, 5], 2,
            "groups must divide the number of in channels of a weight, got 5 in the shape [3, 3, \
             2, 5] of the layout TensorFlow ([k_h, k_w, out / groups, in]) and groups = 2"),
        (Flax, [3, 3, 4, 4], 2,
            "the layout Flax ([k_h, k_w, in, out]) has no groups: groups must be 1, got 2"),
        (TensorFlow, [3, 0, 2, 4], 2,
            "a weight must have a length of at least 1 on each axis, got the shape [3, 0, 2, 4] \
             of the layout TensorFlow ([k_h, k_w, out / groups, in])"),
    ];
    for (layout, shape, groups, message) in cases {
        let error = layout.article_shape(shape, groups).unwrap_err();
        assert_eq!(error.to_string(), message);
        if shape.iter().all(|length| *length < 100) {
            let weight = Tensor::zeros(shape, &Device::default());
            assert_eq!(layout.to_article(weight, groups).unwrap_err(), error);
        }
    }
    let error = Burn.article_shape([usize::MAX, 2, 3, 3], 1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more elements than memory can address")
    );
    // From the layer's side, too.
    let flax = KernelLayout::Flax.shape_of([4, 2, 3, 3], 2).unwrap_err();
    assert!(
        flax.to_string()
            .contains("Flax ([k_h, k_w, in, out]) has no groups")
    );
    let burn = KernelLayout::Burn.shape_of([5, 2, 3, 3], 2).unwrap_err();
    assert!(burn.to_string().contains("layout Article"), "{burn}");
}

/// The conversions of data and of tensors agree for every type.
#[test]
fn bytes_move_as_tensors_do() {
    use KernelLayout::{Article, Burn, Flax, TensorFlow};
    for layout in [Article, Burn, TensorFlow, Flax] {
        for groups in [1, 2, 3] {
            if layout == Flax && groups != 1 {
                continue;
            }
            let article = [6, 5, 2, 3];
            let shape = layout.shape_of(article, groups).unwrap();
            let values: Vec<f32> = (0..180).map(|value| value as f32).collect();
            let stored = TensorData::new(values, shape);
            let moved = layout
                .to_article(
                    Tensor::from_data(stored.clone(), &Device::default()),
                    groups,
                )
                .unwrap()
                .into_data();
            for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8] {
                let [stored, moved] =
                    [&stored, &moved].map(|data| data.clone().convert_dtype(dtype));
                let got = layout.data_to_article(stored.clone(), groups).unwrap();
                assert_eq!(got, moved, "{layout}, {groups}, {dtype:?}");
                let back = layout.data_from_article(got, groups).unwrap();
                assert_eq!(back, stored, "{layout}, {groups}, {dtype:?}");
            }
        }
    }
}

#[test]
fn data_that_is_no_weight_is_an_error() {
    let message = |data, groups| {
        let error = KernelLayout::Burn
            .data_to_article(data, groups)
            .unwrap_err();
        error.to_string()
    };
    assert_eq!(
        message(TensorData::new(vec![0f32; 6], [2, 3]), 1),
        "a weight must have 4 axes, got 2 in the shape [2, 3]"
    );
    assert_eq!(
        message(TensorData::new(vec![0f32; 6], [3, 2, 1, 1]), 2),
        "groups must divide the number of in channels of a weight, got 3 in the shape [3, 2, 1, \
         1] of the layout Burn ([in, out / groups, k_h, k_w]) and groups = 2"
    );
    let scheme = QuantScheme::default();
    let quantized = TensorData::quantized(vec![0i8; 8], [2, 2, 1, 2], scheme, &[1.0], None);
    let message = message(quantized, 1);
    assert!(message.contains("dequantize it first"), "{message}");
}
