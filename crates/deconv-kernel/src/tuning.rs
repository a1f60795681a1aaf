//! Every constant that was chosen by measurement, or that should be.
//!
//! Where nothing is said of a measurement, none is on record: the value is a reasonable first
//! choice. A change is measured with `cargo bench -p deconv-kernel`. What decides which form a call takes is in
//! `cost.rs`.

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

/// Tiles that write whole rows ask for the source of the next unit, if all that is read and written takes so many
/// bytes, with so many input channels. On 19 random layers within these limits, time without over time with 1.0 to
/// 1.11, geometric mean 1.05; on 10 others 0.95 to 1.02. `unet_last` 1.07 (Zen 5, 2 threads).
pub(crate) const MIN_NEXT_BYTES: usize = 16 << 20;

/// See [`MIN_NEXT_BYTES`].
pub(crate) const MIN_NEXT_SOURCES: usize = 24;

/// See [`MIN_NEXT_BYTES`].
pub(crate) const MAX_NEXT_SOURCES: usize = 256;

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

/// Planes are copied to as many panels at once as fit in this. Seven layers and their gradients of the input
/// (Zen 5): 16 and 32 KiB are 0.82 to 1.03 times as fast, 1 MiB 0.89 to 1.05.
pub(crate) const MAX_COPIED_BYTES: usize = 1 << 16;

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

/// A call of fewer multiply-adds stays on the caller's thread: waking another costs tens of
/// microseconds, and `2^21` multiply-adds take 18 microseconds at 117 GFLOP/s (Zen 4).
pub(crate) const MIN_SHARED_MULADDS: usize = 1 << 21;

/// Multiply-adds that a value of the input or the output costs then. Of 309 layers of `benches/sweep.rs` (seeds 1 and
/// 3, fewer than `2^21` products, 8,192 and more values), the 232 that this shares took 1.43, 1.37 and 1.31 times less
/// time with two threads (forward, gradients of input and weight, Zen 5).
pub(crate) const SHARED_VALUE_COST: usize = 96;

/// Values that a job of the finite check looks at. 16,384 are 0.97 to 1.03 times as fast.
pub(crate) const FINITE_CHECK_VALUES: usize = 1 << 13;

/// So many values and more are checked by all threads of a call, which read them next. With 524,288, `decoder_32`
/// (98,304) took 1.14 times as long, the gradient of its input 1.13, `decoder_16` 1.05 (Zen 5, 2 threads).
pub(crate) const MIN_SHARED_CHECK_VALUES: usize = 1 << 16;

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

/// Weights of so many bytes and more, which scattering reads from memory, are fetched while those before them are
/// multiplied: 16.8 to 33.6 MB of k 4 and k 5 took 1.1 to 1.6 times less time (Zen 5, a third-level cache of 32
/// MiB), 8.4 MB and less 1.0 to 1.2 times more.
pub(crate) const MIN_FETCHED_WEIGHTS_BYTES: usize = 16 << 20;

/// In parts of so many steps: about 16 lines of the cache, for which a processor waits at once. With 32 and 128
/// steps they gained 0.9 to 1.0 times as much.
pub(crate) const FETCH_STEPS: usize = 64;

/// So many positions and fewer are multiplied with eight output channels at once (`scatter/few.rs`): six layers took
/// 1.26 to 1.8 times less time (Zen 5). With three, tiles are as fast.
pub(crate) const MAX_FEW_POSITIONS: usize = 2;

/// Positions of some maps whose products are computed at once and then scattered: `k 4` has 16 products
/// for each, in 16 KiB. Not measured against other values.
pub(crate) const MAX_SCATTERED_POSITIONS: usize = 256;

/// The same from many input channels ([`MIN_SCATTERED_FEW_SOURCES`]) to at most [`MAX_FEW_TARGETS`] output channels and
/// taps: there, to copy the positions takes longer than to multiply them. 1,024 to 3 channels, 4 maps of 1x32, k 1: 6
/// in place of 28 microseconds; seven layers 1.02 to 4.3 times less time. From 24 channels, one took 1.8 times as long.
pub(crate) const MAX_SCATTERED_FEW_POSITIONS: usize = 32;

/// See [`MAX_SCATTERED_FEW_POSITIONS`].
pub(crate) const MIN_SCATTERED_FEW_SOURCES: usize = 64;

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

/// Fewer products than this are computed in plain loops: to ask for the costs of all forms takes as long.
pub(crate) const MIN_PLANNED_PRODUCTS: usize = 1 << 11;

/// Inputs of more values are read from the third-level cache or from memory, which the copies of lines wait for. The
/// costs of forms were fitted with this value.
pub(crate) const LARGE_INPUT_VALUES: f64 = (1 << 17) as f64;

/// Scattering from many input channels to so many output channels and taps takes few positions at a time; see
/// [`MIN_SCATTERED_FEW_SOURCES`].
pub(crate) const MAX_FEW_TARGETS: usize = 12;

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

/// Each thread copies a map's input: 4 MiB of `f32`. The layers measured had up to 524,288 values.
pub(crate) const MAX_SCATTERED_VALUES: usize = 1 << 20;
