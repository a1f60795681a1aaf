//! The random numbers and sizes of the tests: one generator for all of this repository's tests.
//!
//! It names nothing of its crate, so that other tests include the file with `#[path]`.

#![allow(dead_code)] // Not every test that includes the file uses all of it.

/// A generator of random numbers: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
pub struct Draw(u64);

/// The sizes of a random layer. What is cropped is the test's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub batch: usize,
    pub groups: usize,
    /// Input channels of all groups.
    pub c_in: usize,
    /// Output channels of all groups.
    pub c_out: usize,
    /// Height and width.
    pub axes: [AxisSizes; 2],
}

/// The sizes of a random layer on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisSizes {
    pub input: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

/// The most products of a value and a weight in a layer with a large kernel: a test that computes
/// them one by one takes about a millisecond.
const MAX_LARGE_PRODUCTS: usize = 1 << 18;

impl Draw {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of the values.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Whole numbers from -3 to 3: sums of their products are exact in every type of numbers.
    pub fn whole_numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.below(7) as f64 - 3.0).collect()
    }

    /// Fractions in `-0.5..0.5`, exact in `f32`: another order of a sum gives another result.
    pub fn fractions(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.fraction() - 0.5).collect()
    }

    /// Numbers of the standard normal distribution (Box and Muller, 1958), rounded to `f32`.
    pub fn normal_numbers(&mut self, count: usize) -> Vec<f64> {
        let mut normal = || {
            let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
            f64::from((radius * (core::f64::consts::TAU * self.fraction()).cos()) as f32)
        };
        (0..count).map(|_| normal()).collect()
    }

    /// A multiple of 2^-24 in `0..1`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 40) as f64 / (1_u64 << 24) as f64
    }

    /// The sizes of a layer: about the edges of vectors and tiles, with 1, 2 or 3 groups, few or
    /// many channels; one in 16 has a large kernel.
    pub fn sizes(&mut self) -> Sizes {
        if self.below(16) == 0 {
            return self.large_kernel();
        }
        let groups = self.pick(&[1, 1, 1, 2, 3]);
        let many_channels = self.below(4) == 0;
        let [c_in, c_out] = [0, 1].map(|_| {
            if many_channels {
                groups * self.pick(&[1, 7, 13, 33, 70])
            } else {
                groups * (1 + self.below(5))
            }
        });
        Sizes {
            batch: 1 + self.below(3),
            groups,
            c_in,
            c_out,
            axes: [0, 1].map(|_| self.small_axis(many_channels)),
        }
    }

    fn small_axis(&mut self, short: bool) -> AxisSizes {
        let input = if short {
            1 + self.below(6)
        } else {
            self.pick(&[1, 2, 3, 5, 8, 15, 16, 17, 33])
        };
        AxisSizes {
            input,
            kernel: 1 + self.below(5),
            stride: 1 + self.below(4),
            dilation: 1 + self.below(3),
        }
    }

    /// A layer with more than 5 taps on an axis: a square kernel of up to 64 taps, a row of up to
    /// 256, or any two lengths. The maps are as large as [`MAX_LARGE_PRODUCTS`] allows.
    fn large_kernel(&mut self) -> Sizes {
        let kernel = match self.below(4) {
            0 => {
                let length = 6 + self.below(59);
                [length, length]
            }
            1 => [1, 6 + self.below(251)],
            // Whole vectors, which the kernels may treat in another way.
            2 => [1 + self.below(8), self.pick(&[16, 32, 48, 64])],
            _ => [1 + self.below(40), 1 + self.below(40)],
        };
        let groups = self.pick(&[1, 1, 2]);
        let mut sizes = Sizes {
            batch: 1 + self.below(2),
            groups,
            c_in: groups * (1 + self.below(3)),
            c_out: groups * (1 + self.below(3)),
            axes: kernel.map(|kernel| AxisSizes {
                input: 1 + self.below(40),
                kernel,
                stride: self.stride_up_to(kernel),
                dilation: self.pick(&[1, 1, 1, 2]),
            }),
        };
        while sizes.products() > MAX_LARGE_PRODUCTS {
            if sizes.batch > 1 {
                sizes.batch = 1;
            } else {
                let [height, width] = &mut sizes.axes;
                let longer = if height.input > width.input {
                    height
                } else {
                    width
                };
                longer.input = longer.input.div_ceil(2);
            }
        }
        sizes
    }

    /// A common stride of a kernel: 1, a half, a quarter or all of its length; or any.
    fn stride_up_to(&mut self, kernel: usize) -> usize {
        let stride = match self.below(5) {
            0 => 1,
            1 => kernel / 2,
            2 => kernel / 4,
            3 => kernel,
            _ => 1 + self.below(kernel),
        };
        stride.max(1)
    }
}

impl Sizes {
    /// The products of a value and a weight, those that are cropped included.
    pub fn products(&self) -> usize {
        let [height, width] = &self.axes;
        let channels = self.batch * self.c_in * (self.c_out / self.groups);
        channels * height.input * height.kernel * width.input * width.kernel
    }
}
