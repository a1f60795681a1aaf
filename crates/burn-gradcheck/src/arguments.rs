//! What a checked function takes and returns: tensors of any number and rank, and modules.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

/// The arguments of a checked function: every float tensor among them is checked.
///
/// | argument | the function receives | named |
/// |---|---|---|
/// | `Tensor<D>` | the tensor | `input`, or `argument 1` by its place in a tuple |
/// | `("weight", argument)` | the argument | `weight` |
/// | [`module`]`(&layer)` | the module | each parameter by its path, `up1.weight` |
/// | a tuple of arguments | a tuple | |
/// | a `Vec` of arguments | a `Vec` | by their places |
///
/// Whatever else a function needs (integers, targets, masks), its closure captures.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_gradcheck::{GradcheckOptions, check};
///
/// let device = Device::default();
/// let a = Tensor::<2>::from_data([[0.3, -1.2], [0.7, 0.4]], &device);
/// let b = Tensor::<2>::from_data([[1.1], [0.2]], &device);
/// let report = check(
///     (("a", a), ("b", b)),
///     |(a, b)| a.matmul(b).tanh(),
///     &GradcheckOptions::new(),
/// )?;
/// assert_eq!(report.tensors[1].name, "b");
/// # Ok::<(), burn_gradcheck::GradcheckFailure>(())
/// ```
pub trait Arguments {
    /// What the function receives.
    type Values;

    /// Passes each tensor through `mapper`, always in the same order, and returns the whole.
    fn map<M: ArgumentMapper>(&self, name: &Name, mapper: &mut M) -> Self::Values;
}

/// Receives the tensors of [`Arguments`] one after the other.
pub trait ArgumentMapper {
    /// Returns the tensor to use in place of this one. `checked` is false for what the function
    /// depends on without a gradient: frozen parameters and running statistics.
    fn map<const D: usize>(&mut self, name: String, tensor: Tensor<D>, checked: bool) -> Tensor<D>;
}

/// Where an argument stands: the names given to it and to what contains it, or its place.
#[derive(Clone, Debug, Default)]
pub struct Name {
    given: String,
    place: Option<usize>,
}

impl Name {
    fn given(&self, name: &str) -> Self {
        Self {
            given: self.join(name),
            place: None,
        }
    }

    fn place(&self, place: usize) -> Self {
        let given = match self.place {
            Some(outer) => self.join(&outer.to_string()),
            None => self.given.clone(),
        };
        Self {
            given,
            place: Some(place),
        }
    }

    fn join(&self, name: &str) -> String {
        match self.given.as_str() {
            "" => name.to_string(),
            given => format!("{given}.{name}"),
        }
    }

    fn of_tensor(&self) -> String {
        match (self.given.as_str(), self.place) {
            ("", None) => "input".to_string(),
            ("", Some(place)) => format!("argument {place}"),
            (given, None) => given.to_string(),
            (_, Some(place)) => self.join(&place.to_string()),
        }
    }
}

impl<const D: usize> Arguments for Tensor<D> {
    type Values = Self;

    fn map<M: ArgumentMapper>(&self, name: &Name, mapper: &mut M) -> Self {
        mapper.map(name.of_tensor(), self.clone(), true)
    }
}

impl<A: Arguments> Arguments for (&str, A) {
    type Values = A::Values;

    fn map<M: ArgumentMapper>(&self, name: &Name, mapper: &mut M) -> A::Values {
        self.1.map(&name.given(self.0), mapper)
    }
}

impl<A: Arguments> Arguments for Vec<A> {
    type Values = Vec<A::Values>;

    fn map<M: ArgumentMapper>(&self, name: &Name, mapper: &mut M) -> Vec<A::Values> {
        self.iter()
            .enumerate()
            .map(|(place, argument)| argument.map(&name.place(place), mapper))
            .collect()
    }
}

macro_rules! tuples {
    ($($argument:ident $place:tt),+) => {
        impl<$($argument: Arguments),+> Arguments for ($($argument,)+) {
            type Values = ($($argument::Values,)+);

            fn map<M: ArgumentMapper>(&self, name: &Name, mapper: &mut M) -> Self::Values {
                ($(self.$place.map(&name.place($place), mapper),)+)
            }
        }

        impl<$($argument: Outputs),+> Outputs for ($($argument,)+) {
            fn visit<V: OutputVisitor>(self, visitor: &mut V) {
                $(self.$place.visit(visitor);)+
            }
        }
    };
}
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);

/// A module as an argument; [`module`] makes it.
#[derive(Clone, Debug)]
pub struct Parameters<M>(M);

/// Checks every float parameter of a module that requires a gradient, by its path.
///
/// The module itself stays as it is: the check works on a copy in training mode, running
/// statistics included. Frozen parameters and running statistics are cast with the rest but not
/// checked. Tensors that are no [`Param`] keep their data type: a module that holds such constants
/// is checked in theirs, with [`with_dtype`](super::GradcheckOptions::with_dtype).
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_gradcheck::{GradcheckOptions, check, module};
///
/// let device = Device::default();
/// let linear = LinearConfig::new(3, 2).init(&device);
/// let input = Tensor::<2>::from_data([[0.3, -1.2, 0.5]], &device);
/// let report = check(
///     (module(&linear), ("input", input)),
///     |(linear, input)| linear.forward(input),
///     &GradcheckOptions::new(),
/// )?;
/// let names: Vec<_> = report.tensors.iter().map(|tensor| &tensor.name).collect();
/// assert_eq!(names, ["weight", "bias", "input"]);
/// # Ok::<(), burn_gradcheck::GradcheckFailure>(())
/// ```
pub fn module<M: Module>(module: &M) -> Parameters<M> {
    Parameters(copy(module))
}

/// `valid` copies the running statistics, which clones of a module share.
fn copy<M: Module>(module: &M) -> M {
    module.valid().train()
}

impl<M: Module> Arguments for Parameters<M> {
    type Values = M;

    fn map<A: ArgumentMapper>(&self, name: &Name, mapper: &mut A) -> M {
        let path = match name.given.as_str() {
            "" => vec![],
            given => vec![given.to_string()],
        };
        copy(&self.0).map(&mut ParameterMapper { path, mapper })
    }
}

/// Passes a module's parameters to an [`ArgumentMapper`], with their paths.
struct ParameterMapper<'a, A> {
    path: Vec<String>,
    mapper: &'a mut A,
}

impl<A: ArgumentMapper> ModuleMapper for ParameterMapper<'_, A> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let checked = param.is_require_grad();
        param.map(|tensor| self.mapper.map(self.path.join("."), tensor, checked))
    }
}

/// What a checked function returns: a float tensor of any rank, or a tuple or `Vec` of them.
pub trait Outputs {
    /// Passes each tensor to `visitor`, always in the same order.
    fn visit<V: OutputVisitor>(self, visitor: &mut V);
}

/// Receives the tensors of [`Outputs`] one after the other.
pub trait OutputVisitor {
    /// Takes the next tensor.
    fn visit<const D: usize>(&mut self, tensor: Tensor<D>);
}

impl<const D: usize> Outputs for Tensor<D> {
    fn visit<V: OutputVisitor>(self, visitor: &mut V) {
        visitor.visit(self);
    }
}

impl<O: Outputs> Outputs for Vec<O> {
    fn visit<V: OutputVisitor>(self, visitor: &mut V) {
        for output in self {
            output.visit(visitor);
        }
    }
}
