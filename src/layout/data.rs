//! Conversions of stored data, whose type no tensor operation may know: bytes are moved, not
//! numbers.

use burn::tensor::{DType, TensorData};

use super::{COLUMN, Description, KernelLayout, Parts, ROW, convert_shape};
use crate::Deconv2dError;

/// Converts the bytes of a weight, whatever their type.
pub(super) fn convert(
    from: KernelLayout,
    to: KernelLayout,
    weight: TensorData,
    groups: usize,
) -> Result<TensorData, Deconv2dError> {
    let (bytes, dtype) = (weight.as_bytes(), weight.dtype());
    let lengths: Vec<usize> = weight.shape().iter().copied().collect();
    let Ok(shape) = <[usize; 4]>::try_from(lengths.as_slice()) else {
        return Err(Deconv2dError::WeightRank { shape: lengths });
    };
    let converted = convert_shape(from, to, shape, groups)?;
    let parts = from.parts(shape, groups)?;
    let size = dtype.size();
    let stored = Deconv2dError::WeightBytes {
        shape,
        dtype,
        bytes: bytes.len(),
    };
    // `check_tensor` has bounded the number of values, so this product does not overflow.
    let complete = bytes.len() == parts.iter().product::<usize>() * size;
    if matches!(dtype, DType::QFloat(_)) || !complete {
        return Err(stored);
    }

    let (from, to) = (from.description(), to.description());
    let source = Source {
        lengths: parts,
        strides: strides(&from, parts),
        turned: from.turned != to.turned,
    };
    let (outer, inner) = to.order.split_at(3);
    let (outer, inner) = (source.offsets(outer), source.offsets(inner));
    let mut result = Vec::with_capacity(bytes.len());
    for outer in &outer {
        for inner in &inner {
            let at = (outer + inner) * size;
            result.extend_from_slice(&bytes[at..at + size]);
        }
    }
    TensorData::try_from_bytes_vec(result, converted, dtype).map_err(|_| stored)
}

/// Where the values of a stored weight are.
struct Source {
    lengths: Parts,
    strides: Parts,
    /// Whether to read rows and columns from the last to the first.
    turned: bool,
}

impl Source {
    /// The offsets, in values, of all indices of some parts. The index of the last part runs
    /// fastest.
    fn offsets(&self, parts: &[usize]) -> Vec<usize> {
        let mut offsets = vec![0];
        for &part in parts {
            let length = self.lengths[part];
            let mut longer = Vec::with_capacity(offsets.len() * length);
            for offset in offsets {
                for index in 0..length {
                    let turned = self.turned && (part == ROW || part == COLUMN);
                    let index = if turned { length - 1 - index } else { index };
                    longer.push(offset + index * self.strides[part]);
                }
            }
            offsets = longer;
        }
        offsets
    }
}

/// The distance in memory, in values, between neighbours of each part.
fn strides(layout: &Description, parts: Parts) -> Parts {
    let mut strides = [0; 5];
    let mut stride = 1;
    for &part in layout.order.iter().rev() {
        strides[part] = stride;
        stride *= parts[part];
    }
    strides
}
