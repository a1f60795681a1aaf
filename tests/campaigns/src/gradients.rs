//! Campaign `gradients`: does the gradient checker pass random right functions, and does it find
//! random faults?
//!
//! ```text
//! cargo run --release -p campaigns -- gradients --cases 10000
//! ```
//!
//! As many right functions are checked, and as many with a fault, in f32 and in f64. A right
//! function that fails is a false alarm. A fault that passes is missed if it is larger than the
//! resolution that the report states. [`functions`] has the functions, [`fault`] the faults.

mod fault;
mod functions;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_gradcheck::{
    Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, TensorReport, Verdict,
    check,
};

use fault::{Fault, Planted};
use functions::{Case, KINDS, Random};

/// A direction of a projection shows at least this share of a fault, relative to the whole gradient:
/// a component of the direction is at least 0.5, the derivative along it may be some times the norm
/// of the gradient, and parts of the fault may cancel.
const SHARE_IN_PROJECTIONS: f64 = 0.05;

/// The longest tensor that is checked element by element.
const EVERY_ELEMENT: usize = 150;

/// What came of the cases of one kind.
#[derive(Default)]
struct Counts {
    cases: usize,
    /// Right functions that agree to the tolerance, and those that agree to a coarser resolution.
    agree: usize,
    coarse: usize,
    /// Findings that nothing can be decided, of functions in which that is so.
    undecided: usize,
    false_alarms: usize,
    faults: usize,
    found: usize,
    /// Faults that change nothing, as swapping two zeros.
    no_effect: usize,
    /// Faults that pass and are smaller than the resolution stated, or in an element on a kink, which
    /// the report counts.
    below: usize,
    missed: usize,
}

impl Counts {
    fn row(&self) -> [usize; 10] {
        [
            self.cases,
            self.agree,
            self.coarse,
            self.undecided,
            self.false_alarms,
            self.faults,
            self.found,
            self.no_effect,
            self.below,
            self.missed,
        ]
    }
}

fn print_row(kind: &str, cells: [String; 10]) {
    let cells = cells.map(|cell| format!("{cell:>9}"));
    println!("{kind:<23}{}", cells.join(" "));
}

/// Runs the campaign and prints what it found.
pub fn run(cases: usize, seed: u64) -> ExitCode {
    let began = Instant::now();
    let counts = campaign(cases, seed);
    let heads = [
        "right",
        "agree",
        "coarse",
        "undecided",
        "alarms",
        "faults",
        "found",
        "none",
        "below",
        "missed",
    ];
    print_row("kind", heads.map(String::from));
    let total = sum(counts.values());
    for (kind, counts) in counts.iter().chain([(&"all".to_string(), &total)]) {
        print_row(kind, counts.row().map(|count| count.to_string()));
    }
    println!("seed {seed}, {:.1} s", began.elapsed().as_secs_f64());
    if total.false_alarms + total.missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a Counts>) -> Counts {
    counts.fold(Counts::default(), |a, b| Counts {
        cases: a.cases + b.cases,
        agree: a.agree + b.agree,
        coarse: a.coarse + b.coarse,
        undecided: a.undecided + b.undecided,
        false_alarms: a.false_alarms + b.false_alarms,
        faults: a.faults + b.faults,
        found: a.found + b.found,
        no_effect: a.no_effect + b.no_effect,
        below: a.below + b.below,
        missed: a.missed + b.missed,
    })
}

/// Checks `cases` right functions and `cases` with a fault.
fn campaign(cases: usize, seed: u64) -> BTreeMap<String, Counts> {
    let mut counts = BTreeMap::<_, Counts>::new();
    for nth in 0..cases {
        let mut random = Random::new(seed ^ (nth as u64) << 20);
        let dtype = random.pick(&[DType::F32, DType::F64]);
        let kind = random.pick(&KINDS);
        let case = (kind.make)(&mut random, dtype);
        let mode = mode(&case, &mut random);
        let counts = counts
            .entry(format!("{} {dtype:?}", kind.name))
            .or_default();
        check_right(&case, dtype, mode, nth, counts);
        check_fault(&case, dtype, mode, nth, &mut random, counts);
    }
    counts
}

fn mode(case: &Case, random: &mut Random) -> Mode {
    let count: usize = case.arguments.iter().map(Vec::len).sum();
    if count <= EVERY_ELEMENT && random.chance(0.5) {
        Mode::EveryElement
    } else {
        Mode::Projections
    }
}

fn check_case(
    case: &Case,
    dtype: DType,
    mode: Mode,
    planted: Option<&Planted>,
) -> Result<GradcheckReport, GradcheckFailure> {
    let device = Device::flex();
    let arguments: Vec<Tensor<1>> = (case.arguments.iter())
        .map(|values| {
            let data = TensorData::new(values.clone(), [values.len()]);
            Tensor::from_data(data, (&device, DType::F64))
        })
        .collect();
    let function = |mut arguments: Vec<Tensor<1>>| {
        if let Some(planted) = planted {
            let spoiled = arguments[planted.argument].clone();
            arguments[planted.argument] = planted.spoil(spoiled);
        }
        (case.function)(&arguments)
    };
    let options = GradcheckOptions::new().with_mode(mode).with_dtype(dtype);
    check(arguments, function, &options)
}

fn check_right(case: &Case, dtype: DType, mode: Mode, nth: usize, counts: &mut Counts) {
    counts.cases += 1;
    match check_case(case, dtype, mode, None) {
        Ok(report) => {
            let is_coarse = |tensor: &TensorReport| tensor.verdict == Verdict::Coarse;
            if report.tensors.iter().any(is_coarse) {
                counts.coarse += 1;
            } else {
                counts.agree += 1;
            }
        }
        Err(failure) => {
            let is_undecided = |finding: &Finding| matches!(finding, Finding::Unresolved { .. });
            if case.hopeless && failure.findings.iter().all(is_undecided) {
                counts.undecided += 1;
                return;
            }
            counts.false_alarms += 1;
            println!("case {nth}: false alarm, {mode}\n{failure}");
        }
    }
}

fn check_fault(
    case: &Case,
    dtype: DType,
    mode: Mode,
    nth: usize,
    random: &mut Random,
    counts: &mut Counts,
) {
    let argument = random.below(case.arguments.len());
    let fault = Fault::random(random, case.arguments[argument].len(), dtype);
    let planted = Planted::new(argument, fault);
    counts.faults += 1;
    let report = match check_case(case, dtype, mode, Some(&planted)) {
        Ok(report) => report,
        Err(_) => {
            counts.found += 1;
            return;
        }
    };
    let tensor = &report.tensors[argument];
    let size = match mode {
        Mode::Projections => planted.share_of_gradient() * SHARE_IN_PROJECTIONS,
        _ => planted.share_of_element(),
    };
    // Nor does a fault matter in a gradient of nothing but rounding errors.
    if size == 0.0 || tensor.verdict == Verdict::Unused {
        counts.no_effect += 1;
        return;
    }
    // A fault in an element on a kink is not seen, and the kink is reported.
    if size <= tensor.resolution || tensor.kinks > 0 {
        counts.below += 1;
        return;
    }
    counts.missed += 1;
    println!("case {nth}: missed {planted:?} of size {size:.1e}, {mode}\n{report:#}");
}

#[cfg(test)]
mod tests {
    /// A small share of the campaign.
    #[test]
    fn right_functions_pass_and_faults_are_found() {
        let counts = super::campaign(200, 1);
        let total = super::sum(counts.values());
        assert_eq!((total.cases, total.faults), (200, 200));
        assert_eq!((total.false_alarms, total.missed), (0, 0));
        assert!(total.found > 100, "only {} faults found", total.found);
    }
}
