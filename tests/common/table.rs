//! The one table of layers, `benches/layers.json`: the benches, their peers in Python and the tests
//! read it.

use std::sync::LazyLock;

use burn_deconv::{Deconv2dOptions, Geometry, Padding};
use serde::Deserialize;

pub static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let json = include_str!("../../benches/layers.json");
    serde_json::from_str(json).expect("layers.json is a table of layers")
});

/// What `layers.json` holds.
#[derive(Deserialize)]
pub struct Table {
    /// Layers in real use.
    pub layers: Vec<Layer>,
    /// Layers of well-known networks that nothing was tuned on.
    pub well_known: Vec<Layer>,
    /// Layers with 16 to 2,048 taps on an axis.
    pub large_kernels: Vec<Layer>,
    /// One layer on growing maps and batches.
    scaling: Vec<Layer>,
}

impl Table {
    pub fn find(&self, name: &str) -> Option<&Layer> {
        let parts = [
            &self.layers,
            &self.well_known,
            &self.large_kernels,
            &self.scaling,
        ];
        let mut layers = parts.into_iter().flatten();
        layers.find(|layer| layer.name == name)
    }
}

/// One layer of the table, without a bias.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    pub name: String,
    /// `[n, c_in, h, w]`
    pub input: [usize; 4],
    pub channels_out: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    pub padding: Padding,
}

impl Layer {
    pub fn options(&self) -> Deconv2dOptions {
        Deconv2dOptions::new()
            .with_stride(self.stride)
            .with_dilation(self.dilation)
            .with_groups(self.groups)
            .with_padding(self.padding)
    }

    /// `[c_out, c_in / groups, k_h, k_w]`
    pub fn weight(&self) -> [usize; 4] {
        let [k_h, k_w] = self.kernel;
        [self.channels_out, self.input[1] / self.groups, k_h, k_w]
    }

    pub fn geometry(&self) -> Geometry {
        Geometry::new(self.input, self.weight(), &self.options()).expect("a legal layer")
    }
}
