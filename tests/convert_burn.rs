//! Conversions from and to Burn's own layer: the outputs of random layers with every padding are
//! equal to the last bit, and parameters keep their ids and whether they are trained.

mod common;

use burn::module::Param;
use burn::nn::Initializer;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Crop, Deconv2dError, Deconv2dLayer, Deconv2dLayerConfig, Fan, Padding};
use common::{Draw, flat, tensor};

on_every_backend!(burns_layers_become_ours, our_layers_become_burns);

/// A number from `least` to `most`.
fn number(draw: &mut Draw, least: usize, most: usize) -> usize {
    least + draw.below(most - least + 1)
}

fn pair(draw: &mut Draw, least: usize, most: usize) -> [usize; 2] {
    [0, 1].map(|_| number(draw, least, most))
}

fn random<const D: usize>(
    draw: &mut Draw,
    shape: [usize; D],
    device: &Device,
    dtype: DType,
) -> Tensor<D> {
    let values = draw.whole_numbers(shape.iter().product());
    tensor(&values, shape, device, dtype)
}

fn param<const D: usize>(
    draw: &mut Draw,
    shape: [usize; D],
    device: &Device,
    dtype: DType,
) -> Param<Tensor<D>> {
    Param::from_tensor(random(draw, shape, device, dtype))
}

fn burns_layers_become_ours(device: Device, dtype: DType) {
    let draw = &mut Draw::new(7);
    let mut compared = 0;
    for _ in 0..150 {
        let (stride, dilation) = (pair(draw, 1, 3), pair(draw, 1, 3));
        let (kernel_size, padding) = (pair(draw, 1, 4), pair(draw, 0, 2));
        let groups = number(draw, 1, 3);
        let [c_in, c_out] = [number(draw, 1, 3) * groups, number(draw, 1, 3) * groups];
        let padding_out = [0, 1].map(|i| number(draw, 0, stride[i].max(dilation[i]) - 1));
        let bias = number(draw, 0, 1) == 1;
        let burns = ConvTranspose2d {
            weight: param(
                draw,
                [c_in, c_out / groups, kernel_size[0], kernel_size[1]],
                &device,
                dtype,
            ),
            bias: bias.then(|| param(draw, [c_out], &device, dtype)),
            stride,
            kernel_size,
            dilation,
            groups,
            padding,
            padding_out,
            channels: [c_in, c_out],
        };
        let ours = Deconv2dLayer::from_conv_transpose2d(&burns).unwrap();
        let config = config_of(&burns);
        assert_eq!(ours.config, Deconv2dLayerConfig::from(config.clone()));
        let again = ConvTranspose2dConfig::try_from(ours.config.clone()).unwrap();
        assert_eq!(again.to_string(), config.to_string());
        assert_eq!(ours.config.channels, burns.channels);
        assert_eq!(ours.config.kernel_size, burns.kernel_size);
        assert_eq!(ours.config.bias, bias);

        let shape @ [.., h, w] = [2, c_in, number(draw, 1, 4), number(draw, 1, 4)];
        if ours.config.output_size([h, w]).is_ok() {
            let input = random(draw, shape, &device, dtype);
            let (got, expected) = (ours.forward(input.clone()), burns.forward(input));
            assert_eq!(got.dims(), expected.dims(), "{burns:?}");
            assert_eq!(flat(got), flat(expected), "{burns:?}");
            compared += 1;
        }
        assert_same(&ours.to_conv_transpose2d().unwrap(), &burns);
    }
    assert!(compared > 75, "{compared} layers with a legal output");
}

fn config_of(conv: &ConvTranspose2d) -> ConvTranspose2dConfig {
    ConvTranspose2dConfig::new(conv.channels, conv.kernel_size)
        .with_stride(conv.stride)
        .with_dilation(conv.dilation)
        .with_groups(conv.groups)
        .with_padding(conv.padding)
        .with_padding_out(conv.padding_out)
        .with_bias(conv.bias.is_some())
}

fn assert_same(got: &ConvTranspose2d, expected: &ConvTranspose2d) {
    let fields = |conv: &ConvTranspose2d| {
        let sizes = [
            conv.stride,
            conv.kernel_size,
            conv.dilation,
            conv.padding,
            conv.padding_out,
            conv.channels,
        ];
        let bias = conv.bias.as_ref().map(|bias| (bias.id, flat(bias.val())));
        let weight = (conv.weight.id, conv.weight.dims(), conv.weight.dtype());
        (sizes, conv.groups, bias, weight, flat(conv.weight.val()))
    };
    assert_eq!(fields(got), fields(expected));
}

fn our_layers_become_burns(device: Device, dtype: DType) {
    let draw = &mut Draw::new(8);
    let mut exact = [0; 2];
    for _ in 0..300 {
        let groups = number(draw, 1, 2);
        let channels = [number(draw, 1, 3) * groups, number(draw, 1, 3) * groups];
        let (stride, dilation) = (pair(draw, 1, 3), pair(draw, 1, 2));
        let mut config = Deconv2dLayerConfig::new(channels, pair(draw, 1, 5))
            .with_stride(stride)
            .with_dilation(dilation)
            .with_groups(groups)
            .with_bias(number(draw, 0, 1) == 1);
        config = match number(draw, 0, 4) {
            0 => config.with_padding(Padding::Same),
            1 => config.with_padding(Padding::SameLower),
            2 => config.with_padding(Padding::Valid),
            _ => {
                let ([top, left], [bottom, right]) = (pair(draw, 0, 4), pair(draw, 0, 2));
                let padding_out = [0, 1].map(|i| number(draw, 0, stride[i].max(dilation[i]) - 1));
                config
                    .with_padding(Padding::Explicit(top, left, bottom, right))
                    .with_padding_out(padding_out)
            }
        };
        let mut ours = config.init(&device);
        ours.weight = param(draw, ours.weight.dims(), &device, dtype);
        ours.bias = config
            .bias
            .then(|| param(draw, [channels[1]], &device, dtype));
        let (burns, crop) = ours.to_conv_transpose2d_and_crop().unwrap();

        let uncropped = ours.to_conv_transpose2d();
        exact[usize::from(uncropped.is_ok())] += 1;
        let converted = ConvTranspose2dConfig::try_from(config.clone());
        assert_eq!(
            converted.map(|config| config.to_string()),
            uncropped
                .as_ref()
                .map(|conv| config_of(conv).to_string())
                .map_err(Deconv2dError::clone),
        );
        match &uncropped {
            Ok(uncropped) => {
                assert_eq!(crop, Crop::default());
                assert_same(uncropped, &burns);
            }
            Err(Deconv2dError::NotSymmetric {
                begin, end, most, ..
            }) => {
                assert_ne!(crop, Crop::default());
                let back = *begin as isize - end;
                assert!(!(0..*most as isize).contains(&back), "{config:?}");
            }
            Err(error) => panic!("{error}"),
        }

        let [h, w] = pair(draw, 1, 4);
        let Ok([h_out, w_out]) = config.output_size([h, w]) else {
            continue;
        };
        let shape = [2, channels[0], h, w];
        let input = random(draw, shape, &device, dtype);
        let expected = ours.forward(input.clone());
        assert_eq!(expected.dims(), [2, channels[1], h_out, w_out]);
        let got = crop.apply(burns.forward(input));
        assert_eq!(got.dims(), expected.dims(), "{config:?}");
        assert_eq!(flat(got), flat(expected), "{config:?}");

        // The way back gives the same weight.
        let again = Deconv2dLayer::from_conv_transpose2d(&burns).unwrap();
        assert_eq!(flat(again.weight.val()), flat(ours.weight.val()));
    }
    assert!(exact.iter().all(|count| *count > 50), "{exact:?}");
}

/// By kernel and stride, as the docs of `to_conv_transpose2d` say.
#[test]
fn what_burns_layer_can_crop() {
    for k in 1..=7 {
        for s in 1..=4 {
            for (padding, fits) in [
                (Padding::Same, k < s || (k - s) % 2 == 0),
                (Padding::SameLower, k < s || (k - s) % 2 == 0 || s > 1),
                (Padding::Valid, true),
            ] {
                let layer = Deconv2dLayerConfig::new([1, 1], [k, k])
                    .with_stride([s, s])
                    .with_padding(padding)
                    .init(&Device::default());
                let got = layer.to_conv_transpose2d().is_ok();
                assert_eq!(got, fits, "kernel {k}, stride {s}, {padding:?}");
            }
        }
    }
}

/// A dilation of 2^63 has no effect on one tap, but it is in the message.
#[test]
fn the_message_of_a_huge_dilation() {
    let layer = Deconv2dLayerConfig::new([1, 1], [1, 3])
        .with_dilation([1 << 63, 1])
        .with_padding(Padding::Explicit(0, 0, 1, 0))
        .init(&Device::default());
    let message = layer.to_conv_transpose2d().unwrap_err().to_string();
    assert!(
        message.contains("with 0 at the beginning, -9223372036854775807 to 0 at the end is legal"),
        "{message}"
    );
}

#[test]
fn a_crop_at_the_beginning_that_padding_out_cannot_give_back() {
    let layer = Deconv2dLayerConfig::new([1, 1], [5, 5])
        .with_padding(Padding::Explicit(3, 0, 1, 0))
        .init(&Device::default());
    assert_eq!(
        layer.to_conv_transpose2d().unwrap_err().to_string(),
        "Burn's ConvTranspose2d cannot crop 3 at the beginning and 1 at the end of the height axis: \
         with 3 at the beginning, 2 to 3 at the end is legal (a negative crop appends zeros); call \
         to_conv_transpose2d_and_crop and apply the crop to the output"
    );
    let (burns, crop) = layer.to_conv_transpose2d_and_crop().unwrap();
    assert_eq!((burns.padding, burns.padding_out), ([1, 0], [0, 0]));
    let expected = Crop {
        top: 2,
        ..Crop::default()
    };
    assert_eq!(crop, expected);
}

/// A trained parameter stays trained, a frozen one frozen, on a device with gradients or without.
#[test]
fn parameters_stay_what_they_are() {
    for device in [Device::default(), Device::default().autodiff()] {
        let mut burns = ConvTranspose2dConfig::new([2, 3], [2, 2]).init(&device);
        burns.weight = burns.weight.set_require_grad(false);
        let ours = Deconv2dLayer::from_conv_transpose2d(&burns).unwrap();
        let again = ours.to_conv_transpose2d().unwrap();
        for (weight, bias) in [
            (&ours.weight, ours.bias.as_ref().unwrap()),
            (&again.weight, again.bias.as_ref().unwrap()),
        ] {
            assert_eq!(weight.device(), burns.weight.device());
            assert_eq!(weight.id, burns.weight.id);
            assert_eq!(bias.id, burns.bias.as_ref().unwrap().id);
            assert!(!weight.is_require_grad());
            assert_eq!(bias.is_require_grad(), device.is_autodiff());
        }
    }
}

#[test]
fn the_layer_that_burns_becomes_trains() {
    let device = Device::default().autodiff();
    let burns = ConvTranspose2dConfig::new([2, 3], [3, 2]).init(&device);
    let ours = Deconv2dLayer::from_conv_transpose2d(&burns).unwrap();
    let input = Tensor::<4>::ones([1, 2, 3, 4], &device);
    let gradients = ours.forward(input).sum().backward();
    assert_eq!(ours.weight.grad(&gradients).unwrap().dims(), [3, 2, 3, 2]);
    assert!(ours.bias.unwrap().grad(&gradients).is_some());
    assert!(
        burns.weight.grad(&gradients).is_none(),
        "a weight of its own"
    );
}

#[test]
fn layers_of_burns_that_ours_cannot_be() {
    let device = Device::default();
    let error = |conv: &ConvTranspose2d| {
        Deconv2dLayer::from_conv_transpose2d(conv)
            .unwrap_err()
            .to_string()
    };
    let burns = ConvTranspose2dConfig::new([4, 6], [3, 3])
        .with_stride([2, 2])
        .with_padding_out([0, 2])
        .init(&device);
    assert_eq!(
        error(&burns),
        "padding_out must be smaller than the stride or the dilation, got 2 on the width axis, \
         where stride = 2 and dilation = 1: 0 to 1 is legal"
    );
    let mut burns = ConvTranspose2dConfig::new([4, 6], [3, 3]).init(&device);
    burns.groups = 3;
    let message = error(&burns);
    assert!(
        message.contains("got 4 in the shape [4, 6, 3, 3]"),
        "{message}"
    );
    burns.groups = 2;
    assert_eq!(
        error(&burns),
        "the bias must have one value for each of the 12 output channels, got 6"
    );
}

/// Burn's layer starts with the same distribution, or the config is not converted.
#[test]
fn initializers() {
    let ours = |initializer: &Initializer, fan| {
        Deconv2dLayerConfig::pytorch([4, 6], [4, 4], [2, 2], [1, 1], [0, 0])
            .with_initializer(initializer.clone())
            .with_fan(fan)
    };
    let gain = 2.0;
    for (initializer, converts) in [
        (Initializer::Constant { value: 3.0 }, [true, true]),
        (
            Initializer::Normal {
                mean: 0.0,
                std: 0.02,
            },
            [true, true],
        ),
        (
            Initializer::KaimingNormal {
                gain,
                fan_out_only: false,
            },
            [true, false],
        ),
        (
            Initializer::KaimingUniform {
                gain,
                fan_out_only: true,
            },
            [false, false],
        ),
        (Initializer::XavierUniform { gain }, [false, false]),
        (Initializer::Orthogonal { gain }, [false, false]),
    ] {
        let burns = ConvTranspose2dConfig::new([4, 6], [4, 4])
            .with_stride([2, 2])
            .with_padding([1, 1])
            .with_initializer(initializer.clone());
        assert_eq!(
            Deconv2dLayerConfig::from(burns.clone()),
            ours(&initializer, Fan::Burn)
        );
        for (fan, converts) in [Fan::Burn, Fan::Taps].into_iter().zip(converts) {
            match ConvTranspose2dConfig::try_from(ours(&initializer, fan)) {
                Ok(got) => assert_eq!((got.to_string(), true), (burns.to_string(), converts)),
                Err(error) => {
                    let initializer = initializer.clone();
                    let expected = Deconv2dError::BurnInitializer { initializer, fan };
                    assert_eq!((error, false), (expected, converts));
                }
            }
        }
    }
    // 16 channels in and 4 out at stride [2, 2]: both ways to count give the same fan_in.
    let square = Deconv2dLayerConfig::new([16, 4], [4, 4]).with_fan(Fan::Taps);
    assert!(ConvTranspose2dConfig::try_from(square).is_ok());
}

#[test]
fn a_config_of_wrong_parameters_is_not_converted() {
    let ours = Deconv2dLayerConfig::new([4, 6], [3, 3]).with_groups(4);
    let error = ours.try_init(&Device::default()).unwrap_err();
    assert_eq!(ConvTranspose2dConfig::try_from(ours).unwrap_err(), error);
}

#[test]
fn the_message_of_an_initializer_that_burn_does_not_have() {
    let ours = Deconv2dLayerConfig::new([4, 6], [4, 4])
        .with_initializer(Initializer::XavierNormal { gain: 1.0 });
    assert_eq!(
        ConvTranspose2dConfig::try_from(ours)
            .unwrap_err()
            .to_string(),
        "Burn's ConvTranspose2d cannot start with the values of XavierNormal { gain: 1.0 } and \
         Fan::Burn: it counts fan_in as Fan::Burn does, has no fan_out, and stores the weight as \
         [in, out, ..]; choose another initializer, or initialize the layer and call \
         to_conv_transpose2d"
    );
}
