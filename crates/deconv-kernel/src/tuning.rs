//! Every constant that was chosen by measurement, or that should be.
//!
//! Where nothing is said of a measurement, none is on record: the value is a reasonable first
//! choice. A change is measured with `cargo bench -p deconv-kernel`.

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
/// gradient. On 160 random layers of groups with 1 to 4 channels, time with scalar products over that with
/// tiles: 26 within this limit 0.10 to 1.6, 134 others 0.64 to 16, geometric mean 2.4.
pub(crate) const MIN_SCALAR_PRODUCT_WIDTH: usize = 16;

/// Or, on shorter lines, maps of so many values and more: 64 groups of 56x7, k 1, batch 64 took 56 in place of 7 ms
/// with tiles, which pad each channel to a vector.
pub(crate) const MIN_SCALAR_PRODUCT_PLANE: usize = 65;

/// On lines of [`MIN_SCALAR_PRODUCT_WIDTH`], groups of a few more channels do so too: tiles hold them as 16 (`f32`),
/// and so does the memory of the transposed input. 66 layers of `benches/sweep.rs` within these limits (seeds 1 and 3;
/// Zen 5, 2 threads) took 0.6 to 15 times less time, geometric mean 1.54.
pub(crate) const MAX_FEW_CHANNELS: usize = 4;

/// With so many pairs of an input and an output channel. See [`MAX_FEW_CHANNELS`].
pub(crate) const MAX_FEW_CHANNEL_PAIRS: usize = 9;

/// On maps of so many positions. See [`MAX_FEW_CHANNELS`].
pub(crate) const MIN_FEW_CHANNELS_PLANE: usize = 256;

/// Where each channel becomes one, plain loops are the better gradient of the input if a map's products are at most
/// so many. 33 layers of `benches/sweep.rs` (seeds 1 and 3; Zen 5, 2 threads) took 0.75 to 4.5 times less time,
/// geometric mean 1.64.
pub(crate) const MAX_PLAIN_GRADIENT_PRODUCTS: usize = 1500;

/// The same for the weight's, on lines of up to [`MAX_NARROW_WIDTH`] or maps below [`MIN_SCALAR_PRODUCT_PLANE`]: 15
/// layers, 1.1 to 5.4, geometric mean 1.79.
pub(crate) const MAX_PLAIN_WEIGHT_PRODUCTS: usize = 400;

/// Below this many target channels in a group, phases with the same taps at another shift share a
/// tile: a tile has 12 rows (6 with AVX2), and a few channels leave most of them idle. Not measured.
pub(crate) const MIN_UNMERGED_CHANNELS: usize = 6;

/// The most steps of a tile. All rows pass over the same `2 * 16` values of a step: 512 steps of
/// 128 bytes are 64 KiB at most, less where taps share values. Not measured.
pub(crate) const MAX_TILE_STEPS: usize = 512;

/// Steps that pay for loading and storing the sums of a tile once: 24 loads and stores against 64
/// times 24 multiply-adds. Not measured.
pub(crate) const MIN_TILE_STEPS: usize = 64;

/// Bytes of a unit's sums, and as many of its copy of the source. Both fit in a second-level cache
/// of 1 MiB with the packed weights beside them. Not measured against other values.
pub(crate) const L2_SHARE_BYTES: usize = 320 << 10;

/// Where a row of cells alone needs more than its share, it may take this many; beyond, channels and
/// copies are cut down to one. Not measured.
pub(crate) const MAX_L2_SHARES: usize = 4;

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

/// Tiles that write whole rows ask for the source of the next unit, if all that is read and written takes so many
/// bytes, with so many input channels. On 19 random layers within these limits, time without over time with 1.0 to
/// 1.11, geometric mean 1.05; on 10 others 0.95 to 1.02. `unet_last` 1.07 (Zen 5, 2 threads).
pub(crate) const MIN_NEXT_BYTES: usize = 16 << 20;

/// See [`MIN_NEXT_BYTES`].
pub(crate) const MIN_NEXT_SOURCES: usize = 24;

/// See [`MIN_NEXT_BYTES`].
pub(crate) const MAX_NEXT_SOURCES: usize = 256;

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

/// With any channels, if the kernel covers the stride and a map has at most so many cells: 8 channels with k 4
/// and stride 4 take 1.4 to 2 times less time.
pub(crate) const MAX_UNPAIRED_SMALL_MAP: usize = 1024;

/// Of the copies of a panel, which a tile reads for each block of target channels: 1.75 times a
/// second-level cache of 1 MiB. 512 channels of k 4 take 1.56 MiB and gain 1.1 to 1.2 times; of k 5, with
/// 2 MiB, they lose half.
pub(crate) const MAX_PANEL_BYTES: usize = 7 << 18;

/// A unit takes so many panels that their copies fit in this, of a second-level cache of 1 MiB.
pub(crate) const MAX_PANEL_UNIT_BYTES: usize = 1 << 18;

/// Up to so many bytes of packed weights, each thread of panels packs its own: what another thread has packed must
/// come from its processor's caches. Where [`MIN_OWN_WEIGHTS_CELLS`] share the work of packing, five layers and
/// gradients took 0.94 to 1.06 times less time; in minutes in which processors exchange data slowly,
/// `decoder_32` 1.1 to 1.27 times less (Zen 5, 2 threads). `decoder_16`, with 1.2 MB and 32 cells for each thread,
/// took 0.83 and 1.5 times.
pub(crate) const MAX_OWN_WEIGHTS_BYTES: usize = 1 << 19;

/// For each thread; see [`MAX_OWN_WEIGHTS_BYTES`].
pub(crate) const MIN_OWN_WEIGHTS_CELLS: usize = 128;

/// While kernels are packed, those so many vectors further on are asked for, since a dozen target channels are too many
/// streams for the processor to follow. Five layers with 131,072 and more weights took 0.99 to 1.05 times less time,
/// 1.016 in the mean (Zen 5, 2 threads), with 2 and with 8 as well.
pub(crate) const FETCHED_WEIGHT_VECTORS: usize = 4;

/// Where there are at most so many cells, a thread takes all of them for some of the target channels, with minimal
/// filtering: it copies the source for itself, but packs only weights that nobody else needs. Between two processors
/// that answered each other within 0.1 microseconds, five layers and their gradients of the input took 0.86 to 1.02
/// times less time (`decoder_16` 1.02 and 0.90); the same two at times took 0.4 (they are virtual), and then 1.23 to
/// 1.65 times less (1.60 and 1.62). With few cells, packed weights are what threads exchange most.
pub(crate) const MAX_BY_BLOCKS_CELLS: usize = 128;

/// Of all copies, for which each thread needs room. See [`MAX_BY_BLOCKS_CELLS`].
pub(crate) const MAX_BY_BLOCKS_BYTES: usize = 2 << 20;

/// Target channels of a thread, at least. See [`MAX_BY_BLOCKS_CELLS`].
pub(crate) const MIN_BY_BLOCKS_TARGETS: usize = 12;

/// Of a group's packed weights, which each panel reads. 512 to 256 channels of k 4 take 18.9 MB and gain 1.0 to
/// 1.2 times; k 5 and k 6, with 33 and 42 MB, lose half.
pub(crate) const MAX_PANEL_WEIGHTS_BYTES: usize = 20 << 20;

/// Panels interleave 1, 2 or 4 vectors.
pub(crate) const MAX_PANEL_STEP: usize = 4;

/// Planes are copied to as many panels at once as fit in this. Seven layers and their gradients of the input
/// (Zen 5): 16 and 32 KiB are 0.82 to 1.03 times as fast, 1 MiB 0.89 to 1.05.
pub(crate) const MAX_COPIED_BYTES: usize = 1 << 16;

/// Panels are possible for kernels up to this.
pub(crate) const MAX_PANEL_KERNEL: usize = 9;

/// The most neighbours on a line that the copies of a cell are made of.
pub(crate) const MAX_PANEL_READS: usize = 16;

/// Blocks of target channels that take as long as the copies of a panel. Not measured.
pub(crate) const PANEL_COPY_BLOCKS: usize = 2;

/// The most steps of a tile with minimal filtering. Its products are larger than what they add up to,
/// so partial sums are shorter: the errors of the test `minimal_filtering_keeps_the_digits` are 0.88
/// and 0.79 times those without it; with 128 steps they are 1.21 and 1.03, with 512 steps 1.21 and 1.99
/// times. The pix2pix layer takes 1 % longer than with 128.
pub(crate) const PAIR_TILE_STEPS: usize = 64;

/// Above this many copies of a row of planes, a line of the source is read for all of them before the
/// next line: the lines of a large map leave the cache before the next copy. For few copies, one
/// copy after the other costs 2 % less of a layer's time.
pub(crate) const MAX_SINGLE_COPIES: usize = 4;

/// Bytes of a line whose successor in the next map is asked for while it is copied, if all maps are more than
/// [`MIN_FETCHED_BYTES`] (Zen 5): `unet_last` takes 1.13 times less time, `dbnet_head` 1.06, the gradients of its input
/// and weight 1.2, that of 384 groups of 92x92, k 1, 1.3; `super_resolution_x3`, with 2 MB, 1.03 times more.
pub(crate) const MIN_FETCHED_LINE_BYTES: usize = 256;

/// Small maps are copied value by value, once for each shift: only where there are at most so many
/// copies. DCGAN's layers (k 4) have up to 16; more were not measured.
pub(crate) const MAX_SMALL_COPIES: usize = 64;

/// Multiply-adds of vectors that a copied vector costs: a load, a store, and its place. Not measured.
pub(crate) const COPY_COST: usize = 3;

/// From this stride on, scalar products with windows are the better gradient of the input. FCN-8s,
/// channel by channel: 1.1 in place of 3.4 ms; smaller strides were not tried.
pub(crate) const MIN_WIDE_STRIDE: usize = 8;

/// The most values that one output is made of, per channel, at a wide stride: the input's zeros grow
/// with it. FCN's layers have 4, inverse Fourier transforms 4. Others were not measured.
pub(crate) const MAX_WIDE_REPEATS: usize = 16;

/// The most input channels of a group that take scalar products with windows of the output's
/// gradient. 21 (FCN) gain; with 514 (inverse Fourier transform) copies of planes reach 172 of 233
/// GFLOP/s.
pub(crate) const MAX_WIDE_CHANNELS: usize = 32;

/// Bands whose sums are added up one after the other. After so many, a new sum begins: sums of
/// millions of positions would lose digits in one chain.
pub(crate) const BANDS_PER_SUM: usize = 64;

/// A copy for each column shift is made where lines with zeros between them would take more than
/// `9 / 8` of the vectors. Not measured.
pub(crate) const MAX_VECTORS_WITH_ZEROS: [usize; 2] = [9, 8];

/// Units that each thread gets at least: two threads that end at different times wait for half as
/// long. Not measured against other values.
pub(crate) const UNITS_PER_THREAD: usize = 2;

/// Values of a line-by-line copy that a scalar product runs over: 8 KiB of `f32` for each of the
/// two operands, in a first-level cache of 32 KiB. Not measured.
pub(crate) const SCALAR_PRODUCT_VALUES: usize = 2048;

/// A pass whose only copy would be the source as it is reads the source in its first tiles, which write the copy,
/// if a group has at most so many channels. Time without over time with, on random layers with outputs of 2 MiB
/// and more (Zen 5, 2 threads): 43 of up to 32 channels 0.98 to 1.47, geometric mean 1.13. 72 to 112 channels that
/// become 8 took 0.79 to 0.94 times: so many streams from memory are slower than one channel after the other.
pub(crate) const MAX_IN_PANELS_CHANNELS: usize = 32;

/// A pass of fewer channels copies first: the gradient of 384 groups of one channel (92x92, k 1) took 1.13 times as
/// long without.
pub(crate) const MIN_IN_PANELS_CHANNELS: usize = 4;

/// Maps of at most so many bytes may have more channels than [`MAX_IN_PANELS_CHANNELS`]: 76 random layers with
/// outputs below 4 MiB, time without over time with, 0.75 to 2.1, geometric mean 1.16.
pub(crate) const MAX_IN_PANELS_PLANE_BYTES: usize = 48 << 10;

/// While a tile multiplies, it asks for the memory of later results, one place in each step, if all results take
/// more bytes, which do not fit in second-level caches. Time without over time with, on 60 random layers with
/// outputs of 2 MiB and more and up to 48 input channels (Zen 5, 2 threads): 0.86 to 1.36, geometric mean 1.07;
/// their gradients of the input 1.02; `unet_last` 1.2.
pub(crate) const MIN_FETCHED_BYTES: usize = 2 << 20;

/// Rows of a tile that asks for later results: with one, it would do so for every two multiply-adds.
pub(crate) const MIN_FETCHING_ROWS: usize = 4;

/// A pass reads the weights where they are if so many vectors of cells meet them, of all units. Time with 4 over
/// that with 16, on 40 random layers of 5 to 40 vectors (Zen 5, 2 threads): 0.96 to 1.31, geometric mean 1.05 for the
/// gradient of the input, 1.03 forward. With 32, it was 1.05 and 1.01.
pub(crate) const MAX_IN_PLACE_VECTORS: usize = 16;

/// A tile has at most so many rows if their weights lie apart: the place of each takes a register, of 16. With 12,
/// the gradients of the weight of 14 layers took 1.3 to 1.7 times as long as with 8 (Zen 5), the gradients of the
/// input of 40 layers with few positions 0.97 to 1.6 times as long as with 10.
pub(crate) const MAX_SPREAD_ROWS: usize = 10;

/// Values that a job packs, transposes or reorders at least. Not measured.
pub(crate) const MIN_VALUES_PER_JOB: usize = 1 << 14;

/// Values that a job of the finite check looks at. 16,384 are 0.97 to 1.03 times as fast.
pub(crate) const FINITE_CHECK_VALUES: usize = 1 << 13;

/// So many values and more are checked by all threads of a call, which read them next. With 524,288, `decoder_32`
/// (98,304) took 1.14 times as long, the gradient of its input 1.13, `decoder_16` 1.05 (Zen 5, 2 threads).
pub(crate) const MIN_SHARED_CHECK_VALUES: usize = 1 << 16;

/// A call of fewer multiply-adds stays on the caller's thread: waking another costs tens of
/// microseconds, and `2^21` multiply-adds take 18 microseconds at 117 GFLOP/s (Zen 4).
pub(crate) const MIN_SHARED_MULADDS: usize = 1 << 21;

/// Multiply-adds that a value of the input or the output costs then. Of 309 layers of `benches/sweep.rs` (seeds 1 and
/// 3, fewer than `2^21` products, 8,192 and more values), the 232 that this shares took 1.43, 1.37 and 1.31 times less
/// time with two threads (forward, gradients of input and weight, Zen 5).
pub(crate) const SHARED_VALUE_COST: usize = 96;

/// Bytes of idle buffers that are kept for each type of numbers. Not measured; the largest buffers
/// of the benches' layers are some MiB.
pub(crate) const MAX_IDLE_BYTES: usize = 32 << 20;

/// Bytes of a huge page of Linux on x86-64 and most 64-bit ARM systems.
#[cfg(target_os = "linux")]
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Results of so many bytes and more ask for huge pages, and their memory is kept: up to 32 MiB, glibc keeps
/// memory itself. With huge pages, outputs of 34 MB to 540 MB took 1.1 to 1.4 times less time on a Zen 5.
/// With the memory of the last output, `unet_last` (34 MB) took 1.5 times less time again, and 1.2 with its
/// gradients.
pub(crate) const LARGE_RESULT_BYTES: usize = 16 << 20;

/// Bytes of idle results that are kept for each type of numbers: the output and the gradients of some layers.
/// That the system may take their pages back costs no time that can be measured.
pub(crate) const MAX_IDLE_RESULT_BYTES: usize = 256 << 20;

/// Bytes of a cache line on x86-64 and most 64-bit ARM processors.
pub(crate) const CACHE_LINE_BYTES: usize = 64;

/// Microseconds that one of Rayon's threads looks for a next job before it may sleep. With none, two threads at times
/// share one processor for a call: `large_kernel_31` took 2.0 in place of 1.0 ms. With 1,000, calls after a pause of
/// 150 or 600 microseconds gain 20 to 30.
pub(crate) const LINGER_MICROSECONDS: u64 = 50;

/// How often the caller looks whether the others have ended before it sleeps: about 100
/// microseconds.
pub(crate) const LOOKS_BEFORE_SLEEP: usize = 5_000;

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

/// Weights of so many bytes and more, which scattering reads from memory, are fetched while those before them are
/// multiplied: 16.8 to 33.6 MB of k 4 and k 5 took 1.1 to 1.6 times less time (Zen 5, a third-level cache of 32
/// MiB), 8.4 MB and less 1.0 to 1.2 times more.
pub(crate) const MIN_FETCHED_WEIGHTS_BYTES: usize = 16 << 20;

/// In parts of so many steps: about 16 lines of the cache, for which a processor waits at once. With 32 and 128
/// steps they gained 0.9 to 1.0 times as much.
pub(crate) const FETCH_STEPS: usize = 64;

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

/// With k 1 and stride 1, for so many channels of the input: 13 layers of 64 and more, 0.91 to 4.3, geometric mean
/// 1.4; two with fewer, 0.86 and 0.91.
pub(crate) const MIN_ONE_TAP_SOURCES: usize = 64;

/// See [`MAX_FEW_TARGETS`].
pub(crate) const MIN_SOURCES_PER_FEW_TARGET: usize = 8;

/// Fewer input channels do not scatter where products overlap: 8 of those layers took 0.9 to 4.5 times as long.
pub(crate) const MIN_OVERLAPPING_CHANNELS: usize = 8;

/// One map has at most so many positions then.
pub(crate) const MAX_TINY_PLANE: usize = 16;

/// With [`MIN_SCATTER_CHANNELS`] and more, maps may have this many positions.
pub(crate) const MAX_SCATTER_PLANE: usize = 64;

/// Input channels of a group.
pub(crate) const MIN_SCATTER_CHANNELS: usize = 16;

/// Positions of some maps whose products are computed at once and then scattered: `k 4` has 16 products
/// for each, in 16 KiB. Not measured against other values.
pub(crate) const MAX_SCATTERED_POSITIONS: usize = 256;

/// The forward pass computes lines from beginning to end if an output value is a sum of at most so many
/// products, and if there is one input channel in a group, or at most [`MAX_SHORT_SUM_PRODUCTS`] in all, or if lines
/// are no longer than [`MAX_NARROW_WIDTH`] on maps of [`MAX_TINY_PLANE`] positions and more (29 random layers 0.79 to
/// 2.3, geometric mean 1.18).
/// `benches/sweep.rs`, seed 1, the half to fit rules on (Zen 5, 2 threads), time without over time with: on
/// the 102 layers of 250 that this rule takes, 0.76 to 5.5, geometric mean 1.74; 5 of them below 0.95.
pub(crate) const MAX_SHORT_SUM: usize = 200;

/// See [`MAX_SHORT_SUM`].
pub(crate) const MAX_SHORT_SUM_PRODUCTS: usize = 1 << 23;

/// If it is a sum of at most so many, that is better than scattering on maps of [`MAX_TINY_PLANE`] positions and more,
/// but for few output channels ([`MAX_FEW_TARGETS`]): on 43 random layers of less than 64 positions, the time by
/// scattering over this was 0.46 to 5.7, geometric mean 1.39, 2 below 0.87.
pub(crate) const MAX_SHORTEST_SUM: usize = 100;

/// And on lines of so many values: 16x1 and 33x1 took 0.33 to 0.65 times less.
pub(crate) const MIN_SHORTEST_SUM_WIDTH: usize = 4;

/// On maps of so many positions it is also better than panels: 22 layers of `benches/sweep.rs` (seeds 1 and 3) and 24
/// random ones 0.7 to 2, geometric means 1.35 and 1.30. On 15 layers of less, 0.66 to 1.9, 1.0.
pub(crate) const MIN_SHORTEST_SUM_PLANE: usize = 64;

/// Bytes that a block of cells may take: what it reads, and its sums. First-level caches have 32 KiB and
/// more. Not measured against other values.
pub(crate) const L1_VALUES_BYTES: usize = 24 << 10;

/// Up to so many input channels, lines that could be read in place are not copied. `unet_up`, with 128
/// channels and maps of 16 KiB, took 2.1 times as long without copies: maps whose sizes are multiples of
/// [`CACHE_SETS_BYTES`] fall on a few sets of the cache. Of other maps, up to 8 times as many channels are
/// read in place, and any number if a map is smaller than a page.
pub(crate) const MAX_UNCOPIED_CHANNELS: usize = 8;

/// Bytes of an eighth of a first-level cache's sets: 64 sets of 64 bytes. Not measured.
pub(crate) const CACHE_SETS_BYTES: usize = 512;

/// Bytes of a page of memory on x86-64 and most other systems.
pub(crate) const SMALL_PAGE_BYTES: usize = 4096;
