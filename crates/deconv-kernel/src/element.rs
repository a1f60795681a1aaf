//! [`Element`]: the types of numbers that the kernels compute with, their vectors, and the kernels
//! for each.

#![allow(unsafe_code)] // Loads and stores of some lanes, which `vectors.rs` checks.

use core::fmt::Debug;
use core::ops::{Add, AddAssign, Mul, Sub};

pub(crate) use self::sealed::Number;
use crate::dispatch;
use crate::problem::Problem;

/// A type of numbers that the kernels compute with: `f32` or `f64`.
///
/// The trait is sealed: no other type can implement it.
///
/// ```
/// fn takes(_: impl deconv_kernel::Element) {}
/// takes(1.0_f32);
/// takes(1.0_f64);
/// ```
pub trait Element:
    Copy
    + Debug
    + Default
    + Send
    + Sync
    + PartialEq
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + Number
    + 'static
{
}

impl Element for f32 {}
impl Element for f64 {}

mod sealed {
    use pulp::{Arch, Simd};

    use crate::buffer::Pool;
    use crate::problem::Problem;

    /// What the kernels need of a type of numbers beyond arithmetic.
    pub trait Number: Sized {
        /// [`lanes`](Self::lanes) numbers without padding. Any bits are valid.
        type Vector<S: Simd>: Copy;

        /// The numbers in a vector.
        fn lanes<S: Simd>() -> usize {
            size_of::<Self::Vector<S>>() / size_of::<Self>()
        }

        /// A vector of one number in every lane.
        fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

        /// `a + b`
        fn add_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>)
        -> Self::Vector<S>;

        /// `a - b`
        fn sub_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>)
        -> Self::Vector<S>;

        /// The numbers of lanes `first..end`, zeros in the others.
        ///
        /// # Safety
        ///
        /// Those numbers can be read, where lane 0 is at `from`.
        unsafe fn load_lanes<S: Simd>(
            simd: S,
            from: *const Self,
            first: usize,
            end: usize,
        ) -> Self::Vector<S>;

        /// Writes the numbers of lanes `first..end`.
        ///
        /// # Safety
        ///
        /// Those places can be written, where lane 0 is at `to`.
        unsafe fn store_lanes<S: Simd>(
            simd: S,
            to: *mut Self,
            first: usize,
            end: usize,
            vector: Self::Vector<S>,
        );

        /// The sum of a vector's numbers.
        fn sum_lanes<S: Simd>(simd: S, vector: Self::Vector<S>) -> Self;

        /// `a * b + c`, rounded once where the machine can.
        fn mul_add<S: Simd>(
            simd: S,
            a: Self::Vector<S>,
            b: Self::Vector<S>,
            c: Self::Vector<S>,
        ) -> Self::Vector<S>;

        /// Far below the root of the largest number: a sum of millions of products of numbers of a smaller
        /// magnitude is finite.
        const MODERATE: Self;
        const INFINITY: Self;

        /// Whether the magnitude is less than `limit`; not that of NaN.
        fn below(self, limit: Self) -> bool;

        /// The idle memory of such numbers.
        fn pool() -> &'static Pool<Self>;

        // The kernels. As methods they are compiled here, once for each type, and not by every
        // package that calls the generic functions.

        /// See [`crate::forward`].
        fn forward(
            arch: Arch,
            problem: &Problem,
            input: &[Self],
            weight: &[Self],
            bias: Option<&[Self]>,
        ) -> Vec<Self>;

        /// See [`crate::grad_input`].
        fn grad_input(
            arch: Arch,
            problem: &Problem,
            weight: &[Self],
            grad_output: &[Self],
        ) -> Vec<Self>;

        /// See [`crate::grad_weight`].
        fn grad_weight(
            arch: Arch,
            problem: &Problem,
            input: &[Self],
            grad_output: &[Self],
        ) -> Vec<Self>;

        /// See [`crate::grad_bias`].
        fn grad_bias(problem: &Problem, grad_output: &[Self]) -> Vec<Self>;
    }
}

macro_rules! number {
    (
        $type:ty, $vector:ident, $splat:ident, $add:ident, $sub:ident, $between:ident as $lane:ty,
        $load:ident, $store:ident, $sum:ident, $mul_add:ident, $moderate:literal
    ) => {
        impl Number for $type {
            type Vector<S: pulp::Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: pulp::Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn add_vectors<S: pulp::Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn sub_vectors<S: pulp::Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }

            #[inline(always)]
            unsafe fn load_lanes<S: pulp::Simd>(
                simd: S,
                from: *const Self,
                first: usize,
                end: usize,
            ) -> S::$vector {
                // Without pulp's own functions for a range, which it calls through pointers.
                let lanes = simd.$between(first as $lane, end as $lane).mask().into();
                // SAFETY: as the caller promises.
                unsafe { simd.$load(lanes, from) }
            }

            #[inline(always)]
            unsafe fn store_lanes<S: pulp::Simd>(
                simd: S,
                to: *mut Self,
                first: usize,
                end: usize,
                vector: S::$vector,
            ) {
                let lanes = simd.$between(first as $lane, end as $lane).mask().into();
                // SAFETY: as the caller promises.
                unsafe { simd.$store(lanes, to, vector) }
            }

            #[inline(always)]
            fn sum_lanes<S: pulp::Simd>(simd: S, vector: S::$vector) -> Self {
                simd.$sum(vector)
            }

            #[inline(always)]
            fn mul_add<S: pulp::Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            const MODERATE: Self = $moderate;
            const INFINITY: Self = <$type>::INFINITY;

            #[inline(always)]
            fn below(self, limit: Self) -> bool {
                self.abs() < limit
            }

            fn pool() -> &'static crate::buffer::Pool<Self> {
                static POOL: crate::buffer::Pool<$type> = crate::buffer::Pool::new();
                &POOL
            }

            fn forward(
                arch: pulp::Arch,
                problem: &Problem,
                input: &[Self],
                weight: &[Self],
                bias: Option<&[Self]>,
            ) -> Vec<Self> {
                dispatch::forward(arch, problem, input, weight, bias)
            }

            fn grad_input(
                arch: pulp::Arch,
                problem: &Problem,
                weight: &[Self],
                grad_output: &[Self],
            ) -> Vec<Self> {
                dispatch::grad_input(arch, problem, weight, grad_output)
            }

            fn grad_weight(
                arch: pulp::Arch,
                problem: &Problem,
                input: &[Self],
                grad_output: &[Self],
            ) -> Vec<Self> {
                dispatch::grad_weight(arch, problem, input, grad_output)
            }

            fn grad_bias(problem: &Problem, grad_output: &[Self]) -> Vec<Self> {
                dispatch::grad_bias(problem, grad_output)
            }
        }
    };
}

number!(
    f32,
    f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mask_between_m32s as u32,
    mask_load_ptr_f32s,
    mask_store_ptr_f32s,
    reduce_sum_f32s,
    mul_add_e_f32s,
    1e14
);
number!(
    f64,
    f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mask_between_m64s as u64,
    mask_load_ptr_f64s,
    mask_store_ptr_f64s,
    reduce_sum_f64s,
    mul_add_e_f64s,
    1e115
);
