//! The kernels, in CubeCL. Every map lies in memory in the order `[n, h, w, c]`, so that the units
//! of a plane, which differ in their channels, read neighbouring values. A unit keeps a tile of sums
//! in its registers: no intermediate tensor, no shared memory, no tensor cores.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

/// How the positions of two maps meet on one axis. Tap `a` (counted from the kernel's end, as the
/// correlation turns the kernel) brings value `q` of the source to position `p` of the result:
///
/// ```text
/// q = (p * up + a * per_tap + offset) / down      if that is a whole number inside the source
///
/// forward     p: output, q: input    up 1, down s, per_tap -d, offset  b
/// grad input  p: input, q: output    up s, down 1, per_tap  d, offset -b
/// ```
#[derive(CubeLaunch, CubeType)]
pub struct Axis {
    pub up: i32,
    pub down: i32,
    pub per_tap: i32,
    pub offset: i32,
    /// The kernel's size.
    pub taps: i32,
    /// The taps that reach one position are this far apart: `down / gcd(down, d)`.
    pub tap_step: i32,
    /// The length of the source.
    pub source: i32,
    /// The length of the result.
    pub result: i32,
}

#[cube]
impl Axis {
    /// The dividend of `q`.
    fn reach(&self, position: i32, tap: i32) -> i32 {
        position * self.up + tap * self.per_tap + self.offset
    }

    /// The first tap that reaches a position. It is `tap_step` or more if none does.
    fn first_tap(&self, position: i32) -> i32 {
        let mut tap = 0i32;
        while tap < self.tap_step && self.reach(position, tap) % self.down != 0 {
            tap += 1;
        }
        if tap == self.tap_step {
            tap = self.taps;
        }
        tap
    }

    fn is_inside(&self, position: i32) -> bool {
        position >= 0 && position < self.source
    }
}

#[derive(CubeLaunch, CubeType)]
pub struct GatherArgs {
    pub height: Axis,
    pub width: Axis,
    /// Channels of the source, and of the result, that belong to one group.
    pub c_source: usize,
    pub c_result: usize,
    pub groups: usize,
    /// Tiles on a row of the result.
    pub tiles: usize,
    /// The weight's `rows` and `columns`. A group's rows begin at `group_rows` times the group, and
    /// the columns that it does not have are `skipped_columns` times the group.
    pub rows: usize,
    pub columns: usize,
    pub group_rows: usize,
    pub skipped_columns: usize,
    pub units: usize,
}

/// The output, or the gradient of the input: every position of the result gathers its products.
/// A unit computes `pixels` positions of a row that the same taps reach, in one vector of channels.
///
/// - source: `[n, h, w, c]`
/// - weight: `[k_h, k_w, rows, columns]`: the source's channels times those of the result
/// - result: `[n, h, w, c]`
#[cube(launch, address_type = "dynamic")]
pub fn gather<E: Numeric, A: Numeric, NS: Size, NR: Size>(
    source: &Tensor<Vector<E, NS>>,
    weight: &Tensor<Vector<E, NR>>,
    bias: ComptimeOption<&[Vector<E, NR>]>,
    result: &mut Tensor<Vector<E, NR>>,
    args: &GatherArgs,
    #[comptime] pixels: usize,
    #[define(E)] _values: ElemType,
    #[define(A)] _sums: ElemType,
) {
    if ABSOLUTE_POS >= args.units {
        terminate!();
    }
    let ns = source.vector_size();
    let nr = result.vector_size();

    // From the fastest: vector of channels, phase, tile, row, map.
    let vectors = args.c_result * args.groups / nr;
    let phases = args.width.down as usize;
    let vector = ABSOLUTE_POS % vectors;
    let rest = ABSOLUTE_POS / vectors;
    let phase = rest % phases;
    let rest = rest / phases;
    let tile = rest % args.tiles;
    let rest = rest / args.tiles;
    let height = args.height.result as usize;
    let row = (rest % height) as i32;
    let map = rest / height;
    let column = (tile * pixels * phases + phase) as i32;

    let group = vector * nr / args.c_result;
    let first_channel = group * args.c_source / ns;
    let weight_column = (vector * nr - group * args.skipped_columns) / nr;
    let weight_row = group * args.group_rows;
    let source_vectors = args.c_source * args.groups / ns;

    let mut sums = Array::<Vector<A, NR>>::new(pixels);
    #[unroll]
    for p in 0..pixels {
        sums[p] = Vector::broadcast(A::from_int(0));
    }

    let mut tap_h = args.height.first_tap(row);
    while tap_h < args.height.taps {
        let q_h = args.height.reach(row, tap_h) / args.height.down;
        if args.height.is_inside(q_h) {
            let source_row =
                (map * args.height.source as usize + q_h as usize) * args.width.source as usize;
            let mut tap_w = args.width.first_tap(column);
            while tap_w < args.width.taps {
                let q_w = args.width.reach(column, tap_w) / args.width.down;
                let last = q_w + args.width.up * (pixels as i32 - 1);
                let tap = (args.height.taps - 1 - tap_h) * args.width.taps
                    + (args.width.taps - 1 - tap_w);
                let weight_at =
                    ((tap as usize * args.rows + weight_row) * args.columns) / nr + weight_column;
                if args.width.is_inside(q_w) && args.width.is_inside(last) {
                    let at = (source_row + q_w as usize) * source_vectors + first_channel;
                    let step = args.width.up as usize * source_vectors;
                    multiply::<E, A, NS, NR>(
                        source,
                        weight,
                        &mut sums,
                        at,
                        step,
                        weight_at,
                        args.columns / nr,
                        args.c_source / ns,
                        0usize,
                        pixels,
                    );
                } else {
                    #[unroll]
                    for p in 0..pixels {
                        let q = q_w + args.width.up * (p as i32);
                        if args.width.is_inside(q) {
                            let at = (source_row + q as usize) * source_vectors + first_channel;
                            multiply::<E, A, NS, NR>(
                                source,
                                weight,
                                &mut sums,
                                at,
                                0usize.runtime(),
                                weight_at,
                                args.columns / nr,
                                args.c_source / ns,
                                p,
                                1usize,
                            );
                        }
                    }
                }
                tap_w += args.width.tap_step;
            }
        }
        tap_h += args.height.tap_step;
    }

    let bias: ComptimeOption<Vector<E, NR>> = bias.as_ref().map(|bias| bias[vector]);
    let bias = Vector::<A, NR>::cast_from(bias.unwrap_or(Vector::broadcast(E::from_int(0))));
    let width = args.width.result as usize;
    #[unroll]
    for p in 0..pixels {
        let column = column as usize + p * phases;
        if column < width {
            let at = ((map * height + row as usize) * width + column) * vectors + vector;
            result[at] = Vector::cast_from(sums[p] + bias);
        }
    }
}

/// Adds one tap's products to the sums `first..first + count`, over all channels of the source.
/// Positions count vectors.
#[cube]
#[allow(clippy::too_many_arguments)]
fn multiply<E: Numeric, A: Numeric, NS: Size, NR: Size>(
    source: &Tensor<Vector<E, NS>>,
    weight: &Tensor<Vector<E, NR>>,
    sums: &mut Array<Vector<A, NR>>,
    at: usize,
    step: usize,
    weight_at: usize,
    weight_step: usize,
    vectors: usize,
    #[comptime] first: usize,
    #[comptime] count: usize,
) {
    let ns = source.vector_size();
    let mut weight_at = weight_at;
    for c in 0..vectors {
        let mut values = Array::<Vector<A, NS>>::new(count);
        #[unroll]
        for p in 0..count {
            values[p] = Vector::cast_from(source[at + p * step + c]);
        }
        #[unroll]
        for i in 0..ns {
            let weights = Vector::<A, NR>::cast_from(weight[weight_at]);
            #[unroll]
            for p in 0..count {
                sums[first + p] += Vector::broadcast(values[p].extract(i)) * weights;
            }
            weight_at += weight_step;
        }
    }
}

#[derive(CubeLaunch, CubeType)]
pub struct GradWeightArgs {
    /// From the input to the output, as for the gradient of the input.
    pub height: Axis,
    pub width: Axis,
    /// Channels of the input, and of the output, that belong to one group.
    pub c_in: usize,
    pub c_out: usize,
    pub groups: usize,
    /// Rows of all input maps, and of one part.
    pub rows: usize,
    pub part: usize,
    pub units: usize,
}

/// The gradient of the weight. The rows of all maps are divided into parts, and each part has its
/// own sums. A unit computes those of one tap, of a vector of the input's channels times a vector of
/// the output's.
///
/// - input: `[n, h, w, c_in]`
/// - grad_output: `[n, O_h, O_w, c_out]`
/// - result: `[parts, k_h, k_w, c_in / groups, c_out]`
#[cube(launch, address_type = "dynamic")]
pub fn grad_weight<E: Numeric, A: Numeric, NI: Size, NO: Size>(
    input: &Tensor<Vector<E, NI>>,
    grad_output: &Tensor<Vector<E, NO>>,
    result: &mut Tensor<Vector<A, NO>>,
    args: &GradWeightArgs,
    #[define(E)] _values: ElemType,
    #[define(A)] _sums: ElemType,
) {
    if ABSOLUTE_POS >= args.units {
        terminate!();
    }
    let ni = input.vector_size();
    let no = grad_output.vector_size();

    // From the fastest: vector of the output's channels, of the input's channels, tap, part.
    let vectors_out = args.c_out * args.groups / no;
    let vectors_in = args.c_in / ni;
    let vector_out = ABSOLUTE_POS % vectors_out;
    let rest = ABSOLUTE_POS / vectors_out;
    let vector_in = rest % vectors_in;
    let rest = rest / vectors_in;
    let taps = (args.height.taps * args.width.taps) as usize;
    let tap = (rest % taps) as i32;
    let part = rest / taps;

    let tap_h = args.height.taps - 1 - tap / args.width.taps;
    let tap_w = args.width.taps - 1 - tap % args.width.taps;
    let group = vector_out * no / args.c_out;
    let channel = group * vectors_in + vector_in;
    let step_in = vectors_in * args.groups;

    // The columns whose product lies inside the output's row.
    let shift = args.width.reach(0i32, tap_w);
    let mut first = 0i32;
    if shift < 0 {
        first = (args.width.up - 1 - shift) / args.width.up;
    }
    let mut end = 0i32;
    if shift < args.width.source {
        end = (args.width.source - 1 - shift) / args.width.up + 1;
    }
    let end = end.min(args.width.result);

    let mut sums = Array::<Vector<A, NO>>::new(ni);
    #[unroll]
    for i in 0..ni {
        sums[i] = Vector::broadcast(A::from_int(0));
    }

    let height = args.height.result as usize;
    let rows_end = (part * args.part + args.part).min(args.rows);
    for row in part * args.part..rows_end {
        let q_h = args.height.reach((row % height) as i32, tap_h);
        if args.height.is_inside(q_h) {
            let map = row / height;
            let row_out =
                (map * args.height.source as usize + q_h as usize) * args.width.source as usize;
            let row_in = row * args.width.result as usize;
            for column in first..end {
                let at_out = row_out + args.width.reach(column, tap_w) as usize;
                let at_in = row_in + column as usize;
                let x = Vector::<A, NI>::cast_from(input[at_in * step_in + channel]);
                let dy = Vector::<A, NO>::cast_from(grad_output[at_out * vectors_out + vector_out]);
                #[unroll]
                for i in 0..ni {
                    sums[i] += Vector::broadcast(x.extract(i)) * dy;
                }
            }
        }
    }

    #[unroll]
    for i in 0..ni {
        let row = (part * taps + tap as usize) * args.c_in + vector_in * ni + i;
        result[row * vectors_out + vector_out] = sums[i];
    }
}
