//! Which form a call takes: the limits that `dispatch.rs` and `panels/choice.rs` ask for.

/// Fewer products than this are computed in plain loops: a plan and packed weights cost more than they save. On random
/// layers (Zen 5), the time of plain loops over the other way's was 1.36 and 1.98 (gradients of input and weight) with
/// 8,192 to 12,000 products, 0.74 and 1.13 from 4,096.
pub(crate) const MIN_PLANNED_PRODUCTS: usize = 1 << 13;

/// The same for maps of at most [`MAX_TINY_PLANE`] positions, where the plain loops are short: 64 to 32
/// channels, 8 maps of 1x1, k 1 has 16,384 products, and took 190 microseconds in them, 6 by scattering.
pub(crate) const MIN_TINY_PRODUCTS: usize = 1 << 11;

/// A copy with zeros around it may be this many times as large as its map; beyond that (taps far
/// apart on small maps) plain loops are used. Not measured.
pub(crate) const MAX_COPY_GROWTH: usize = 16;

/// Groups with one input channel, on lines of so many values and more, take scalar products for the weight's
/// gradient. On 13 random layers with lines of 16 and 20 on smaller maps than [`MIN_SCALAR_PRODUCT_PLANE`] (Zen 5), the
/// time of scalar products over that of tiles was 0.19 to 3.4, geometric mean 1.33.
pub(crate) const MIN_SCALAR_PRODUCT_WIDTH: usize = 28;

/// Or, on shorter lines, maps of so many values and more: 64 groups of 56x7, k 1, batch 64 took 56 in place of 7 ms
/// with tiles, which pad each channel to a vector.
pub(crate) const MIN_SCALAR_PRODUCT_PLANE: usize = 65;

/// On lines of [`MIN_FEW_CHANNELS_WIDTH`], groups of a few more channels do so too: tiles hold them as 16 (`f32`),
/// and so does the memory of the transposed input. 66 layers of `benches/sweep.rs` within these limits (seeds 1 and 3;
/// Zen 5, 2 threads) took 0.6 to 15 times less time, geometric mean 1.54.
pub(crate) const MAX_FEW_CHANNELS: usize = 4;

/// With so many pairs of an input and an output channel. See [`MAX_FEW_CHANNELS`].
pub(crate) const MAX_FEW_CHANNEL_PAIRS: usize = 9;

/// On lines of so many values. See [`MAX_FEW_CHANNELS`].
pub(crate) const MIN_FEW_CHANNELS_WIDTH: usize = 16;

/// On maps of so many positions. See [`MAX_FEW_CHANNELS`].
pub(crate) const MIN_FEW_CHANNELS_PLANE: usize = 256;

/// Where each channel becomes one or two ([`MAX_PLAIN_TARGETS`]), plain loops are the better gradient of the input if a
/// map and its kernel have at most so many products: 42 of 220 random layers (k 1 to 16, strides 1 to 8, lines of 1 to
/// 56 values; Zen 5, 2 threads) took 0.45 to 10 times less time than in the best other way, geometric mean 1.7.
pub(crate) const MAX_PLAIN_GRADIENT_PRODUCTS: usize = 2000;

/// If taps do not overlap, so many: 78 layers, 0.71 to 5.8, geometric mean 1.94.
pub(crate) const MAX_PLAIN_UNSHARED_PRODUCTS: usize = 20_000;

/// The same for the gradient of the weight: 66 layers, 0.53 to 10.7, geometric mean 1.81.
pub(crate) const MAX_PLAIN_WEIGHT_PRODUCTS: usize = 1000;

/// On lines of at most [`MAX_PLAIN_WIDTH`] values, both gradients, and of [`MAX_PLAIN_UNSHARED_WIDTH`] if taps do not
/// overlap, the weight's: 5 and 21 layers, 1.1 to 4.8 and 0.58 to 3.9, geometric means 2.6 and 1.4.
pub(crate) const MAX_PLAIN_NARROW_PRODUCTS: usize = 12_000;

/// See [`MAX_PLAIN_NARROW_PRODUCTS`].
pub(crate) const MAX_PLAIN_WIDTH: usize = 2;

/// See [`MAX_PLAIN_NARROW_PRODUCTS`].
pub(crate) const MAX_PLAIN_UNSHARED_WIDTH: usize = 8;

/// Output channels of a group; more were not measured.
pub(crate) const MAX_PLAIN_TARGETS: usize = 2;

/// Calls of fewer products are not computed in panels: to find out takes some microseconds, which these take
/// in all.
pub(crate) const MIN_PANEL_PRODUCTS: usize = 1 << 18;

/// Minimal filtering is used if its products (each [`PAIR_PRODUCT_COST`]), plus this for each copied value,
/// [`PAIR_SUM_COST`] for each sum and [`PAIR_WEIGHT_COST`] for each packed weight, are fewer than without it.
/// Fitted to 400 random layers (k 2 to 6, strides 1 and 2, 3 to 512 channels, 8 to 4,096 positions; forward
/// and gradient of the input; Zen 5, 2 threads): of the 226 that this rule takes, time without over time with
/// was 0.79 to 1.8, geometric mean 1.23, 18 below 0.95.
pub(crate) const PAIR_COPY_COST: usize = 22;

/// A product in a panel's tile costs 17 of 20 of another: the tile reads its operands in order. See
/// [`PAIR_COPY_COST`].
pub(crate) const PAIR_PRODUCT_COST: [usize; 2] = [17, 20];

/// See [`PAIR_COPY_COST`].
pub(crate) const PAIR_SUM_COST: usize = 2;

/// See [`PAIR_COPY_COST`].
pub(crate) const PAIR_WEIGHT_COST: usize = 35;

/// Where no products are saved, a forward pass takes panels for so many input channels of a group,
/// [`MIN_UNPAIRED_TARGETS`] and lines of up to [`MAX_UNPAIRED_WIDTH`] cells; on narrow maps and on single lines, for
/// fewer channels. Elsewhere a [pass](crate::pass) is faster: it writes whole lines. On 466 random layers (k up to
/// the stride, strides 1, 2 and 4, Zen 5, 2 threads), in the mean over the time of the faster way: with this rule
/// 1.023, always in panels 1.11, always in a pass 1.05.
pub(crate) const MIN_UNPAIRED_SOURCES: usize = 64;

/// See [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MIN_UNPAIRED_TARGETS: usize = 32;

/// See [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MAX_UNPAIRED_WIDTH: usize = 48;

/// Where a tile holds both phases of a row ([`rows`](crate::panels)), panels are also for lines of any length, for so
/// many input channels. On 100 random layers (k 2, s 2 and k 4, s 4, maps of 48 to 320 columns, Zen 5, 2 threads), in
/// the mean over the time of the faster way: with this rule 1.013, always in panels 1.035, always in a pass 1.055.
pub(crate) const MIN_ROW_SOURCES: usize = 48;

/// The same, if lines are whole vectors, or one more half.
pub(crate) const MIN_ALIGNED_ROW_SOURCES: usize = 16;

/// Output channels from which that holds: 10 layers with 8 or 16, and up to 192 input channels, took 1.1 to 1.36 times
/// as long in panels.
pub(crate) const MIN_ROW_TARGETS: usize = 24;

/// Cells of a line up to which a pass computes and writes vectors that are partly idle. See
/// [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MAX_NARROW_WIDTH: usize = 20;

/// Weights of a group from which narrow maps take panels. See [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MIN_NARROW_WEIGHTS: usize = 1 << 9;

/// Input channels from which maps of one line take panels: a pass cuts maps into bands of lines only. See
/// [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MIN_ONE_LINE_SOURCES: usize = 100;

/// Cells of all maps; see [`MIN_UNPAIRED_SOURCES`].
pub(crate) const MIN_UNPAIRED_CELLS: usize = 200;

/// The gradient of the input takes panels for so many channels of the input, which share the copies. Without
/// over time with panels, on 150 random layers (k up to the stride, strides 1, 2 and 4, Zen 5, 2 threads): with
/// 96 channels and more, 66 of them, 0.86 to 2.4, geometric mean 1.21; with fewer than 16, 0.66.
pub(crate) const MIN_UNPAIRED_GRADIENT_TARGETS: usize = 96;

/// If the kernel is smaller than the stride, so part of the output's gradient is read for nothing: 12 layers of so
/// many channels took 1.01 to 2.4 times less time, geometric mean 1.46; 13 of 96 to 192, 1.06; with fewer, 0.8.
pub(crate) const MIN_GAPPED_GRADIENT_TARGETS: usize = 192;

/// Or for so many on lines of up to [`MAX_NARROW_GRADIENT_WIDTH`] values, from [`MIN_NARROW_GRADIENT_PRODUCTS`] on: 108
/// layers of `benches/sweep.rs` (seeds 1 and 3) took 0.67 to 3.2 times less time,
/// 1.08 in the mean.
pub(crate) const MIN_NARROW_GRADIENT_TARGETS: usize = 12;

/// See [`MIN_NARROW_GRADIENT_TARGETS`].
pub(crate) const MAX_NARROW_GRADIENT_WIDTH: usize = 8;

/// See [`MIN_NARROW_GRADIENT_TARGETS`].
pub(crate) const MIN_NARROW_GRADIENT_PRODUCTS: usize = 1 << 15;

/// With any channels, if the kernel covers the stride and a map has at most so many cells: 8 channels with k 4
/// and stride 4 take 1.4 to 2 times less time.
pub(crate) const MAX_UNPAIRED_SMALL_MAP: usize = 1024;

/// Of the copies of a panel, which a tile reads for each block of target channels: 1.75 times a
/// second-level cache of 1 MiB. 512 channels of k 4 take 1.56 MiB and gain 1.1 to 1.2 times; of k 5, with
/// 2 MiB, they lose half.
pub(crate) const MAX_PANEL_BYTES: usize = 7 << 18;

/// Of a group's packed weights, which each panel reads. 512 to 256 channels of k 4 take 18.9 MB and gain 1.0 to
/// 1.2 times; k 5 and k 6, with 33 and 42 MB, lose half.
pub(crate) const MAX_PANEL_WEIGHTS_BYTES: usize = 20 << 20;

/// Panels interleave 1, 2 or 4 vectors.
pub(crate) const MAX_PANEL_STEP: usize = 4;

/// Panels are possible for kernels up to this.
pub(crate) const MAX_PANEL_KERNEL: usize = 9;

/// The forward pass scatters its products if the input has at most so many positions, of all maps.
/// `benches/sweep.rs`, seed 1, the half to fit rules on (Zen 5, 2 threads), time without over time with:
/// 54 layers of up to 200 positions 0.98 to 26 (median 2.0), 19 layers of 256 to 3,136 positions 0.45 to 2.7
/// (median 1.03). `mnist_gan` (3,136 positions) 0.70, `dcgan_4_to_8` (512) 0.92.
pub(crate) const MAX_SCATTER_POSITIONS: usize = 200;

/// It also scatters if the positions are at most so many for each input channel of a group, and at most
/// [`MAX_MANY_SOURCES_POSITIONS`] in all, on maps of at most [`MAX_MANY_SOURCES_PLANE`] positions. On 130 random
/// layers of 40 to 900 positions and 64 to 1,024 channels (Zen 5, 2 threads), time without over time with: 44 within
/// these limits that no other rule takes 0.91 to 3.5, geometric mean 1.42; others down to 0.43. With one position
/// for each channel and more, panels are better: on 44 layers without overlap, scattering took 0.86 to 3.4 times
/// as long with more, 0.45 to 1.33 with fewer.
pub(crate) const MAX_POSITIONS_PER_SOURCE: usize = 2;

/// See [`MAX_POSITIONS_PER_SOURCE`].
pub(crate) const MAX_MANY_SOURCES_POSITIONS: usize = 800;

/// See [`MAX_POSITIONS_PER_SOURCE`].
pub(crate) const MAX_MANY_SOURCES_PLANE: usize = 256;

/// Kernels of so many taps that do not overlap scatter too, on maps of up to [`MAX_PHASES_PLANE`] positions: 11 layers
/// of 4x4 to 8x8, k 8 and k 16, took 0.78 to 1.8 times less time, geometric mean 1.21 (Zen 5, 2 threads). On 24 larger
/// maps, the noise was larger than the gain; five depthwise layers took 1.6 to 2.8 times as long.
pub(crate) const MIN_PHASES_TAPS: usize = 64;

/// See [`MIN_PHASES_TAPS`].
pub(crate) const MAX_PHASES_PLANE: usize = 64;

/// It also scatters to at most so many output channels of a group, from many
/// ([`MIN_FEW_TARGETS_SOURCES`], [`MIN_SOURCES_PER_FEW_TARGET`]). Of 840 random layers (1 to 1,024 channels, k 1
/// to 9, strides 1 to 8, maps of 1 to 4,096 positions), 89 within these limits that the other rules do not take:
/// time without over time with 0.67 to 19, geometric mean 1.9, 8 below 0.95.
pub(crate) const MAX_FEW_TARGETS: usize = 12;

/// On larger maps only if output channels and phases, the rows of a pass's tiles, are at most
/// [`MAX_FEW_TARGETS_ROWS`].
pub(crate) const MAX_FEW_TARGETS_PLANE: usize = 512;

/// See [`MAX_FEW_TARGETS_PLANE`].
pub(crate) const MAX_FEW_TARGETS_ROWS: usize = 4;

/// Each thread copies a map's input: 4 MiB of `f32`. The layers measured had up to 524,288 values.
pub(crate) const MAX_SCATTERED_VALUES: usize = 1 << 20;

/// See [`MAX_FEW_TARGETS`].
pub(crate) const MIN_FEW_TARGETS_SOURCES: usize = 32;

/// One output channel at stride 1, from so many: five random layers of 12 to 31 took 1.07 to 1.86 times as long
/// otherwise.
pub(crate) const MIN_ONE_TARGET_SOURCES: usize = 12;

/// With k 1 and stride 1, for so many channels of the input: 13 layers of 64 and more, 0.91 to 4.3, geometric mean
/// 1.4; two with fewer, 0.86 and 0.91.
pub(crate) const MIN_ONE_TAP_SOURCES: usize = 64;

/// See [`MAX_FEW_TARGETS`].
pub(crate) const MIN_SOURCES_PER_FEW_TARGET: usize = 8;

/// Fewer input channels do not scatter where products overlap: 8 of those layers took 0.9 to 4.5 times as long.
pub(crate) const MIN_OVERLAPPING_CHANNELS: usize = 8;

/// Maps of one column scatter if taps do not overlap, or if they do from so many channels on, or to at most
/// [`MAX_FEW_TARGETS`]. On 70 random layers of one column with overlapping taps (Zen 5, 2 threads), time of the best
/// other way over that by scattering: 49 within these limits 0.53 to 7.9, geometric mean 1.85; 21 others 0.61 to 1.46,
/// 0.98. 18 layers without overlap took 1.64 times as long in lines.
pub(crate) const MIN_COLUMN_CHANNELS: usize = 12;

/// Lines of so many values scatter, if the stride is larger than their kernel of at most [`MAX_GAPPED_KERNEL`], with
/// two input channels and more in a group: 75 random layers took 0.78 to 3.3 times less time than in the best other
/// way, geometric mean 1.52; 25 with k 3 at stride 4 and k 4 at stride 8, 0.44 to 2.2, 0.98.
pub(crate) const MAX_GAPPED_WIDTH: usize = 8;

/// See [`MAX_GAPPED_WIDTH`].
pub(crate) const MAX_GAPPED_KERNEL: usize = 2;

/// One map has at most so many positions then.
pub(crate) const MAX_TINY_PLANE: usize = 16;

/// With [`MIN_SCATTER_CHANNELS`] and more, maps may have this many positions.
pub(crate) const MAX_SCATTER_PLANE: usize = 64;

/// Input channels of a group.
pub(crate) const MIN_SCATTER_CHANNELS: usize = 16;

/// The forward pass computes lines from beginning to end if an output value is a sum of at most so many
/// products, and if there is one input channel in a group, or at most [`MAX_SHORT_SUM_PRODUCTS`] in all, or if lines
/// are no longer than [`MAX_NARROW_WIDTH`] on maps of [`MAX_TINY_PLANE`] positions and more (29 random layers 0.79 to
/// 2.3, geometric mean 1.18).
/// `benches/sweep.rs`, seed 1, the half to fit rules on (Zen 5, 2 threads), time without over time with: on
/// the 102 layers of 250 that this rule takes, 0.76 to 5.5, geometric mean 1.74; 5 of them below 0.95.
pub(crate) const MAX_SHORT_SUM: usize = 200;

/// See [`MAX_SHORT_SUM`].
pub(crate) const MAX_SHORT_SUM_PRODUCTS: usize = 1 << 23;

/// But not if a map's values for a group are more, and its input channels at least [`MIN_LARGE_MAP_SOURCES`]: of 16
/// random layers, the best other way took 0.42 to 1.12 times as long, geometric mean 0.79; with fewer values (40
/// layers), 1.3.
pub(crate) const MAX_SHORT_SUM_VALUES: usize = 1 << 15;

/// See [`MAX_SHORT_SUM_VALUES`].
pub(crate) const MIN_LARGE_MAP_SOURCES: usize = 16;

/// On narrow maps with more products, a group has at most [`MAX_NARROW_SOURCES`] input channels, and a sum
/// [`MAX_SHORTEST_SUM`] products in the mean: of 43 layers of `benches/sweep.rs` (seeds 31 to 38, Zen 5, 2 threads), a
/// pass took 1.0 to 2.1 times as long for 18 within these limits, geometric mean 1.51, 0.43 to 2.2 for others, 0.88.
pub(crate) const MAX_NARROW_PRODUCTS: usize = 1 << 24;

/// See [`MAX_NARROW_PRODUCTS`].
pub(crate) const MAX_NARROW_SOURCES: usize = 32;

/// If it is a sum of at most so many, that is better than scattering on maps of [`MAX_TINY_PLANE`] positions and more,
/// but for few output channels ([`MAX_FEW_TARGETS`]): on 43 random layers of less than 64 positions, the time by
/// scattering over this was 0.46 to 5.7, geometric mean 1.39, 2 below 0.87.
pub(crate) const MAX_SHORTEST_SUM: usize = 100;

/// Only on lines of so many values: maps of 16x1 and 33x1 took 1.5 to 3 times as long as by scattering.
pub(crate) const MIN_SHORTEST_SUM_WIDTH: usize = 4;

/// On maps of so many positions it is also better than panels: 22 layers of `benches/sweep.rs` (seeds 1 and 3) and 24
/// random ones 0.7 to 2, geometric means 1.35 and 1.30. On 15 layers of less, 0.66 to 1.9, 1.0.
pub(crate) const MIN_SHORTEST_SUM_PLANE: usize = 64;
