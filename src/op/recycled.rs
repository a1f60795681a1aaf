//! Results on Flex whose memory goes back to the kernels when Burn drops them: a large one is the memory of a
//! later result, and the system need not clear it again.

#![allow(unsafe_code)] // The bytes of a vector, as Burn's trait asks for them.

use core::mem::{ManuallyDrop, MaybeUninit, take};
use core::ptr::NonNull;
use core::slice;

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
use deconv_kernel::{Element, recycle};

/// The values' memory, for a tensor of Flex.
pub(super) fn bytes<T: Element>(values: Vec<T>) -> Bytes {
    let length = size_of_val(values.as_slice());
    // SAFETY: the first `length` bytes are those of the values. Numbers have no padding.
    unsafe { Bytes::from_controller(Box::new(Recycled(values)), length) }
}

/// Memory of the global allocator, with the alignment of `T`.
struct Recycled<T: Element>(Vec<T>);

impl<T: Element> Recycled<T> {
    fn capacity(&self) -> usize {
        self.0.capacity() * size_of::<T>()
    }
}

impl<T: Element> AllocationController for Recycled<T> {
    fn alloc_align(&self) -> usize {
        align_of::<T>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Native
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        // SAFETY: the vector owns so many bytes. The caller writes only initialised ones, and every
        // pattern of bits is a number.
        Ok(unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.capacity()) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        // SAFETY: the vector owns so many bytes, which may be uninitialised.
        Ok(unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.capacity()) })
    }

    fn try_detach(&mut self) -> Option<NonNull<u8>> {
        NonNull::new(ManuallyDrop::new(take(&mut self.0)).as_mut_ptr().cast())
    }
}

impl<T: Element> Drop for Recycled<T> {
    fn drop(&mut self) {
        recycle(take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::bytes;
    use crate::{Deconv2dOptions, deconv2d};

    #[test]
    fn a_large_output_is_the_memory_of_a_later_one() {
        let device = Device::flex();
        let input = Tensor::<4>::ones([1, 1, 1024, 1030], &device);
        let weight = Tensor::ones([1, 1, 2, 2], &device);
        let output = || deconv2d(input.clone(), weight.clone(), None, Deconv2dOptions::new());
        let memory = |output: Tensor<4>| output.into_data().as_slice::<f32>().unwrap().as_ptr();
        let first = memory(output());
        let held = output();
        assert_ne!(memory(output()), first, "a tensor in use");
        assert_eq!(memory(held), first);
        assert_eq!(memory(output()), first);
    }

    #[test]
    fn values_are_read_written_and_taken_out_without_a_copy() {
        let mut values = Vec::with_capacity(5);
        values.extend([1.0_f32, 2.0, 3.0]);
        let memory = values.as_ptr();
        let mut bytes = bytes(values);
        bytes[4..8].copy_from_slice(&7.0_f32.to_ne_bytes());
        assert_eq!(bytes.len(), 12);
        assert_eq!(bytes.clone(), bytes);
        let values: Vec<f32> = bytes.try_into_vec().unwrap();
        assert_eq!(
            (values.as_slice(), values.as_ptr()),
            ([1.0, 7.0, 3.0].as_slice(), memory)
        );
        drop(values);
    }

    #[test]
    fn bytes_may_be_added() {
        let mut bytes = bytes(vec![1.0_f64]);
        bytes.extend_from_byte_slice(&2.0_f64.to_ne_bytes());
        assert_eq!(&bytes[..8], 1.0_f64.to_ne_bytes());
        assert_eq!(&bytes[8..], 2.0_f64.to_ne_bytes());
    }
}
