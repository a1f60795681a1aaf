//! HDF5 files for [`keras`](crate::keras): a limit on what is read, and data types.

use std::io::{Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use burn::tensor::DType;
use hdf5_pure::{
    Datatype, DatatypeByteOrder, FixedPointLayout, FloatingPointLayout, FormatError,
    ReadSeekSource, Source,
};

/// How many more bytes may be read from a file. Groups may have many parents and objects many
/// links, so a small file can ask for more reading than anybody would wait for.
#[derive(Clone)]
pub(crate) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Relaxed);
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Takes `bytes`, or all that is left and returns false.
    fn take(&self, bytes: u64) -> bool {
        let left = self.0.load(Relaxed);
        self.0.store(left.saturating_sub(bytes), Relaxed);
        bytes < left
    }
}

/// A file, read only as far as its [`Allowance`] goes.
pub(crate) struct Limited<R> {
    source: ReadSeekSource<R>,
    allowance: Allowance,
}

impl<R: Read + Seek> Limited<R> {
    pub(crate) fn new(reader: R, allowance: Allowance) -> Result<Self, FormatError> {
        Ok(Self {
            source: ReadSeekSource::new(reader)?,
            allowance,
        })
    }
}

impl<R: Read + Seek> Source for Limited<R> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        if !self.allowance.take(buf.len() as u64) {
            return Err(FormatError::Source("too much reading".to_string()));
        }
        self.source.read_at(offset, buf)
    }
}

/// IEEE 754 binary16.
const F16: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 10,
    exponent_size: 5,
    mantissa_location: 0,
    mantissa_size: 10,
    exponent_bias: 15,
};

/// The upper half of an IEEE 754 binary32.
const BF16: FloatingPointLayout = FloatingPointLayout {
    exponent_location: 7,
    exponent_size: 8,
    mantissa_size: 7,
    exponent_bias: 127,
    ..F16
};

/// The data type in Burn of values of this type, or what they are called where Burn has none.
///
/// `opaque_bfloat16`: Keras writes bfloat16 as opaque values of two bytes, and says what they are
/// in an attribute.
pub(crate) fn dtype(datatype: &Datatype, opaque_bfloat16: bool) -> Result<DType, String> {
    match datatype {
        Datatype::FloatingPoint {
            size,
            byte_order,
            layout,
        } => {
            little_endian(*byte_order)?;
            match (*size, *layout) {
                (2, F16) => Ok(DType::F16),
                (2, BF16) => Ok(DType::BF16),
                (4, FloatingPointLayout::IEEE754_BINARY32) => Ok(DType::F32),
                (8, FloatingPointLayout::IEEE754_BINARY64) => Ok(DType::F64),
                _ => Err(format!(
                    "floats of {} bits that are no IEEE 754 floats",
                    8 * u64::from(*size)
                )),
            }
        }
        Datatype::FixedPoint {
            size,
            byte_order,
            layout,
        } => {
            little_endian(*byte_order)?;
            integer(*size, *layout).ok_or_else(|| "integers of an odd width".to_string())
        }
        Datatype::Opaque { size: 2, .. } if opaque_bfloat16 => Ok(DType::BF16),
        Datatype::Compound { .. } => Err("complex or compound values".to_string()),
        Datatype::Enumeration { .. } => Err("values of an enumeration".to_string()),
        Datatype::String { .. } | Datatype::VariableLength { .. } => Err("text".to_string()),
        _ => Err("values that are no numbers".to_string()),
    }
}

fn little_endian(order: DatatypeByteOrder) -> Result<(), String> {
    match order {
        DatatypeByteOrder::LittleEndian => Ok(()),
        DatatypeByteOrder::BigEndian => Err("big-endian values".to_string()),
        DatatypeByteOrder::Vax => Err("values in a VAX' byte order".to_string()),
    }
}

fn integer(size: u32, layout: FixedPointLayout) -> Option<DType> {
    if layout.bit_offset != 0 || u32::from(layout.bit_precision) != 8 * size {
        return None;
    }
    Some(match (size, layout.signed) {
        (1, true) => DType::I8,
        (2, true) => DType::I16,
        (4, true) => DType::I32,
        (8, true) => DType::I64,
        (1, false) => DType::U8,
        (2, false) => DType::U16,
        (4, false) => DType::U32,
        (8, false) => DType::U64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(size: u32, byte_order: DatatypeByteOrder, layout: FloatingPointLayout) -> Datatype {
        Datatype::FloatingPoint {
            size,
            byte_order,
            layout,
        }
    }

    /// A size does not make a float: bfloat16 and float16 have 16 bits each.
    #[test]
    fn floats_are_known_by_their_layout() {
        use DatatypeByteOrder::{BigEndian, LittleEndian};
        let binary32 = FloatingPointLayout::IEEE754_BINARY32;
        let kind = |size, layout| dtype(&float(size, LittleEndian, layout), false);
        assert_eq!(kind(2, F16), Ok(DType::F16));
        assert_eq!(kind(2, BF16), Ok(DType::BF16));
        assert_eq!(kind(4, binary32), Ok(DType::F32));
        let shifted = FloatingPointLayout {
            exponent_bias: 7,
            ..F16
        };
        assert_eq!(
            kind(2, shifted),
            Err("floats of 16 bits that are no IEEE 754 floats".to_string())
        );
        let padded = FloatingPointLayout {
            bit_precision: 24,
            ..binary32
        };
        assert!(kind(4, padded).is_err());
        assert_eq!(
            dtype(&float(4, BigEndian, binary32), false),
            Err("big-endian values".to_string())
        );
    }

    #[test]
    fn opaque_values_need_the_attribute() {
        let opaque = Datatype::Opaque {
            size: 2,
            tag: vec![],
        };
        assert_eq!(dtype(&opaque, true), Ok(DType::BF16));
        assert!(dtype(&opaque, false).is_err());
    }

    #[test]
    fn integers_fill_their_bytes() {
        let layout = |bit_precision| FixedPointLayout {
            signed: true,
            bit_offset: 0,
            bit_precision,
        };
        assert_eq!(integer(4, layout(32)), Some(DType::I32));
        assert_eq!(integer(4, layout(24)), None);
        assert_eq!(integer(3, layout(24)), None);
    }
}
