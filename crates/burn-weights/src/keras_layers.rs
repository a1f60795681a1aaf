//! Keras' layers for [`Framework`](crate::framework::Framework): the names and numbers of their
//! variables, and shapes that Burn's layers do not have.

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::tensor::TensorData;

use crate::adapter::converted;
use crate::file::Unsupported;
use crate::framework::{PRELU, has_kernel, is_convolution};

/// Keras' names of the parameter `param` of a Burn module, if there are others; or its number among
/// the `numbered` variables that a file of Keras 3 has for the layer.
pub(crate) fn names(module: &str, param: &str, numbered: usize) -> Vec<String> {
    if numbered > 0 {
        let numbers = order(module, numbered)
            .iter()
            .position(|&name| name == param);
        return numbers.iter().map(usize::to_string).collect();
    }
    let names: &[&str] = match (module, param) {
        ("Struct:BatchNorm", "running_mean") => &["moving_mean"],
        ("Struct:BatchNorm", "running_var") => &["moving_variance"],
        ("Struct:Embedding", "weight") => &["embeddings"],
        (module, "weight") if is_convolution(module) => &["kernel", "depthwise_kernel"],
        (module, "weight") if has_kernel(module) => &["kernel"],
        _ => &[],
    };
    names.iter().map(ToString::to_string).collect()
}

/// The order in which Keras numbers the `count` variables of a layer. Empty if the count does not
/// say which they are: a batch norm of three has no scale, or no centre.
fn order(module: &str, count: usize) -> &'static [&'static str] {
    match (module, count) {
        ("Struct:BatchNorm", 4) => &["gamma", "beta", "running_mean", "running_var"],
        ("Struct:BatchNorm", 2) => &["running_mean", "running_var"],
        ("Struct:LayerNorm" | "Struct:GroupNorm", 2) => &["gamma", "beta"],
        ("Struct:RmsNorm", 1) => &["gamma"],
        ("Struct:Embedding", 1) => &["weight"],
        (PRELU, 1) => &["alpha"],
        (module, 1 | 2) if has_kernel(module) => &["weight", "bias"],
        _ => &[],
    }
}

/// The name or number of a parameter of a separable convolution, which is two convolutions in Burn:
/// in the field `depthwise`, without a bias, and in the field `pointwise`.
pub(crate) fn separable_name(part: &str, param: &str, numbered: usize) -> Option<&'static str> {
    let (name, number) = match (part, param) {
        ("depthwise", "weight") => ("depthwise_kernel", "0"),
        ("pointwise", "weight") => ("pointwise_kernel", "1"),
        ("pointwise", "bias") => ("bias", "2"),
        _ => return None,
    };
    match numbered {
        0 => Some(name),
        2 | 3 => Some(number),
        _ => None,
    }
}

/// The tensor in a shape that a convolution or a PReLU of one slope for each channel has in Keras.
pub(crate) fn reshaped(
    module: &str,
    tensor: StoredTensor,
    expected: &[usize],
) -> Result<StoredTensor, Unsupported> {
    let shape = tensor.shape.to_vec();
    let is = |param: &str| tensor.name.rsplit('.').next() == Some(param);
    if module == PRELU && is("alpha") {
        let shape = slopes(&shape)?;
        return Ok(viewed(tensor, shape));
    }
    if is_convolution(module)
        && is("weight")
        && let Some(shape) = depthwise_kernel(&shape, expected)
    {
        return Ok(viewed(tensor, shape));
    }
    Ok(tensor)
}

/// `[1, 1, channels]` to `[channels]`.
fn slopes(shape: &[usize]) -> Result<Vec<usize>, Unsupported> {
    match shape {
        [others @ .., channels] if others.iter().all(|&length| length == 1) => Ok(vec![*channels]),
        _ => Err(Unsupported {
            found: format!("a slope for each place of a map, {shape:?},").into(),
            way_out: "Burn's PRelu has one for each channel, as Keras' PReLU(shared_axes=[1, 2])",
        }),
    }
}

/// A depthwise kernel `[k_1, .., in, multiplier]` to `[k_1, .., 1, in * multiplier]`, the kernel of
/// a convolution in `in` groups. `expected` is Burn's `[in * multiplier, 1, k_1, ..]`.
fn depthwise_kernel(shape: &[usize], expected: &[usize]) -> Option<Vec<usize>> {
    let (&[c_in, multiplier], taps) = shape.split_last_chunk().map(|(taps, c)| (c, taps))?;
    let c_out = c_in.checked_mul(multiplier)?;
    let grouped = [&[c_out, 1], taps].concat();
    (grouped == expected).then(|| [taps, &[1, c_out]].concat())
}

/// The tensor with as many values in another shape.
fn viewed(tensor: StoredTensor, shape: Vec<usize>) -> StoredTensor {
    let to = shape.clone();
    converted(tensor, shape.into(), move |data| {
        let dtype = data.dtype();
        Ok(TensorData::from_bytes(data.into_bytes(), to.clone(), dtype))
    })
}
