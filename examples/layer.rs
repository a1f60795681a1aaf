//! The smallest program that uses the layer: it doubles the size of a map.
//!
//! ```text
//! cargo run --example layer
//! ```

use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dError, Deconv2dLayerConfig, init};

fn main() -> Result<(), Deconv2dError> {
    let device = Device::default();
    // One channel to one channel, a kernel of 4x4, stride 2. Its first values interpolate.
    let config = Deconv2dLayerConfig::new([1, 1], [4, 4]);
    let layer = init::bilinear(&config, &device)?;

    let map = Tensor::<4>::from_data([[[[0., 4.], [8., 12.]]]], &device);
    let output = layer.forward(map);
    assert_eq!(output.dims(), [1, 1, 4, 4]);
    let middle: Tensor<4> = output.clone().slice([0..1, 0..1, 1..3, 1..3]);
    let middle = middle.into_data();
    assert_eq!(middle.as_slice::<f32>().unwrap(), [3., 5., 7., 9.]);
    println!("{layer}\n{output}");
    Ok(())
}
