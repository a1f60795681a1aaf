//! A network that is ready to enlarge: ours, or a published FSRCNN of PyTorch or Keras.

use burn::tensor::{Tensor, TensorData};

use crate::device::device;
use crate::model::{Fsrcnn, FsrcnnConfig};
use crate::tiles::tiles;

/// A network with what is needed to apply it to a part of a picture.
pub struct Network {
    pub model: Fsrcnn,
    pub config: FsrcnnConfig,
    /// How much larger the output is.
    pub scale: usize,
    /// 1: luma; 3: luma and both chroma channels.
    pub channels: usize,
    /// An output pixel depends on no input pixel that is farther away than this.
    pub reach: usize,
    /// For messages.
    pub name: String,
}

impl Network {
    pub fn new(model: Fsrcnn, config: FsrcnnConfig, name: String) -> Self {
        Self {
            model,
            scale: config.scale,
            channels: config.channels,
            reach: config.reach(),
            config,
            name,
        }
    }

    /// Enlarges a part of a picture.
    ///
    /// # Shapes
    ///
    /// - planes: `[channels, h, w]`, values in 0 to 1
    /// - output: `[channels, scale * h, scale * w]`, values in 0 to 1
    pub fn apply(&self, planes: Vec<f32>, [height, width]: [usize; 2]) -> Vec<f32> {
        let shape = [1, self.channels, height, width];
        let input = Tensor::<4>::from_data(TensorData::new(planes, shape), &device());
        let output = self.model.forward(input).clamp(0.0, 1.0).into_data();
        output.try_into_vec().expect("the network computes in f32")
    }

    /// [`apply`](Self::apply) with less memory: in tiles of at most `size x size` pixels.
    ///
    /// # Shapes
    ///
    /// - planes: `[channels][h, w]`
    pub fn apply_in_tiles(
        &self,
        planes: &[Vec<f32>],
        [height, width]: [usize; 2],
        size: usize,
    ) -> Vec<f32> {
        let scale = self.scale;
        let mut output = vec![0.0; planes.len() * scale * height * scale * width];
        for tile in tiles([height, width], size) {
            let outer = tile.with_margin(self.reach, [height, width]);
            let mut piece = Vec::with_capacity(planes.len() * outer.pixels());
            for plane in planes {
                for y in outer.rows.clone() {
                    piece.extend(&plane[y * width..][outer.columns.clone()]);
                }
            }
            let piece = self.apply(piece, outer.size());
            let inner = tile.within(&outer).times(scale);
            let [rows, columns] = outer.size().map(|size| size * scale);
            let tile = tile.times(scale);
            for channel in 0..planes.len() {
                for (to, from) in tile.rows.clone().zip(inner.rows.clone()) {
                    let to = (channel * scale * height + to) * scale * width;
                    let from = (channel * rows + from) * columns;
                    output[to..][tile.columns.clone()]
                        .copy_from_slice(&piece[from..][inner.columns.clone()]);
                }
            }
        }
        output
    }
}
