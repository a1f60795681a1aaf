//! Keras 2's HDF5 files, for [`keras`](crate::keras): `model.save("x.h5")` and
//! `model.save_weights("x.h5")`. Keras 3 still writes them for this ending.
//!
//! Each layer of the model is a group of the layer's name, in which the variables have the names
//! that TensorFlow gives them:
//!
//! ```text
//! model_weights           only of a whole model, beside optimizer_weights
//!   up                    the layer
//!     up/kernel:0         its variable, within groups
//!     up/bias:0
//!   block                 a layer of layers, or a model in the model
//!     conv/kernel:0       perhaps block/conv/kernel:0 or decoder/block/conv/kernel:0
//!   top_level_model_weights
//!     scale:0             a variable of the model itself
//! ```
//!
//! They become `up.kernel`, `up.bias`, `block.conv.kernel` and `scale`.

use hdf5_pure::Group;

use crate::file::Problem;
use crate::keras::{Walk, check_depth, problem};

/// Attributes of the group of all layers; a long list has several, `layer_names0` and so on.
const LAYER_NAMES: [&str; 2] = ["layer_names", "layer_names0"];

/// The layers of a whole model, in the root.
const MODEL_WEIGHTS: &str = "model_weights";

/// The variables that belong to no layer.
const OF_THE_MODEL: &str = "top_level_model_weights";

/// The group of all layers, if this is a file of Keras 2; `members` are the groups in `root`.
pub(crate) fn model<'a>(
    root: &'a Group,
    members: &'a [(String, Group)],
) -> Result<Option<&'a Group>, Problem> {
    if has_layer_names(root)? {
        return Ok(Some(root));
    }
    let mut groups = members.iter();
    match groups.find(|(name, _)| name == MODEL_WEIGHTS) {
        Some((_, group)) if has_layer_names(group)? => Ok(Some(group)),
        _ => Ok(None),
    }
}

fn has_layer_names(group: &Group) -> Result<bool, Problem> {
    let attributes = group.attr_datatypes().map_err(problem)?;
    Ok(LAYER_NAMES
        .iter()
        .any(|&name| attributes.contains_key(name)))
}

impl Walk {
    /// Looks at all layers of a file of Keras 2.
    pub(crate) fn keras_2(&mut self, model: &Group) -> Result<(), Problem> {
        let layers: Vec<(String, Group)> = model.iter_groups().map_err(problem)?.collect();
        self.count(layers.len())?;
        for (layer, group) in layers {
            self.scope(group, &layer, &[])?;
        }
        Ok(())
    }

    /// Looks at the variables of a layer in the group at the path `path` within the layer's.
    fn scope(&mut self, group: Group, layer: &str, path: &[String]) -> Result<(), Problem> {
        check_depth(path)?;
        let scopes: Vec<(String, Group)> = group.iter_groups().map_err(problem)?.collect();
        self.count(scopes.len())?;
        self.variables(group, |variable| name(layer, path, variable))?;
        for (scope, group) in scopes {
            self.scope(group, layer, &[path, &[scope]].concat())?;
        }
        Ok(())
    }
}

/// The name of a variable: without what the layer's name repeats, without the models and layers
/// around it, and without the number of the output that TensorFlow counts.
fn name(layer: &str, scopes: &[String], variable: &str) -> String {
    let mut parts = vec![];
    if layer != OF_THE_MODEL {
        parts.push(layer);
    }
    let repeated = scopes.iter().position(|scope| scope == layer);
    let own = repeated.map_or(0, |at| at + 1);
    parts.extend(scopes[own..].iter().map(String::as_str));
    parts.push(match variable.rsplit_once(':') {
        Some((name, output)) if output.parse::<u32>().is_ok() => name,
        _ => variable,
    });
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables() {
        for (layer, path, expected) in [
            ("up", "up/kernel:0", "up.kernel"),
            ("up", "decoder/up/kernel:0", "up.kernel"),
            ("up", "sequential/up/kernel", "up.kernel"), // Keras 3
            ("up", "kernel:0", "up.kernel"),
            ("block", "conv/kernel:0", "block.conv.kernel"),
            ("block", "decoder/block/conv/kernel:0", "block.conv.kernel"),
            ("block", "block/block/kernel:0", "block.block.kernel"),
            ("up_1", "up/kernel:0", "up_1.up.kernel"),
            (OF_THE_MODEL, "decoder/scale:0", "decoder.scale"),
            (OF_THE_MODEL, "scale:0", "scale"),
            ("up", "up/half:kernel:12", "up.half:kernel"),
            ("up", "up/half:kernel", "up.half:kernel"),
        ] {
            let mut scopes: Vec<String> = path.split('/').map(str::to_string).collect();
            let variable = scopes.pop().unwrap();
            assert_eq!(name(layer, &scopes, &variable), expected, "{layer}, {path}");
        }
    }
}
