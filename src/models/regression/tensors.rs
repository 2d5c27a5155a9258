//! The regressions' two products on a device that has many more arms than the processor, a launch each: see `device::joint`.
//!
//! Rows go there once a block, in raw units; what they are measured by goes with each product. Whatever the device doesn't do,
//! the processor does: `panel` and `logits`.

use candle_core::shape::ShapeWithOneHole;
use candle_core::{Device, Result, Tensor};

use super::Layout;
use super::batch::{Lens, Observed, Table};
use super::factor::Factor;
use super::joint::Gap;
use super::units::Source;
use crate::device::{self, joint};

/// A table where its arithmetic is done.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its inputs `[inputs, rows]` on a device, if there is one that will have them.
    cells: Option<Tensor>,
}

impl<'a> Placed<'a> {
    /// `table` on the layout's device, if that has one.
    pub fn new(layout: &Layout, table: &'a Table) -> Self {
        let there = layout.device.as_ref().filter(|_| table.len() > 0);
        Self { table, cells: there.and_then(|device| cells(table, layout.inputs(), device).inspect_err(device::given_up).ok()) }
    }

    /// Whether a device has it.
    pub fn is_on_device(&self) -> bool {
        self.cells.is_some()
    }

    /// Of each row, `[classes (classes + 1) / 2 + classes, rows]`: the lower triangle of `U Uᵀ` and below it `U b`, where row c
    /// of U is `L⁻¹ (e_c ⊗ φ)` and φ are so many ones, then the row through the lens. `None` if the processor has to do it.
    pub fn predictions(&self, lens: &Lens, ones: usize, factor: &Factor, b: &[f64]) -> Option<Vec<Vec<f64>>> {
        let cells = self.cells.as_ref().filter(|_| !b.is_empty())?;
        let predictions = || joint::predictions(cells, &through(lens, ones, cells)?, &posterior(factor, b, cells)?)?.to_vec2();
        predictions().inspect_err(device::given_up).ok()
    }

    /// Weighted means of inputs, target and gaps, and their scatter's lower triangle, row after row, for each of `observed`.
    /// `None` if the processor has to do it.
    pub fn moments(&self, inputs: usize, gaps: &[Gap], observed: &[Observed]) -> Option<Vec<(Vec<f64>, Vec<f64>)>> {
        let cells = self.cells.as_ref()?;
        let moments = || joint::scatter(cells, &columns(inputs, gaps, cells)?, &to_tensor(observed, cells)?)?.to_vec2();
        let found: Vec<Vec<f64>> = moments().inspect_err(device::given_up).ok()?;
        let apart = |mut all: Vec<f64>| {
            let scatter = all.split_off(inputs + 1 + gaps.len());
            (all, scatter)
        };
        Some(found.into_iter().map(apart).collect())
    }
}

/// Inputs `[inputs, rows]`, NaN where missing.
fn cells(table: &Table, inputs: usize, device: &Device) -> Result<Tensor> {
    let column = |input: usize| table.cells.iter().skip(input).step_by(inputs).copied();
    Tensor::from_vec((0..inputs).flat_map(column).collect(), (inputs, table.len()), device)
}

/// `numbers` where `cells` are.
fn beside(cells: &Tensor, shape: impl ShapeWithOneHole, numbers: Vec<f64>) -> Result<Tensor> {
    Tensor::from_vec(numbers, shape, cells.device())
}

/// The lens, behind so many ones, `[4, features]`.
fn through(lens: &Lens, ones: usize, cells: &Tensor) -> Result<Tensor> {
    let inputs = cells.dim(0)?;
    let source = |source| match source {
        Source::Input(input) => input,
        Source::Gap(input) => inputs + input,
    };
    let axes = || (0..ones).map(|_| (2 * inputs, [0.0, 1.0, 0.0])).chain(lens.axes().map(|(of, numbers)| (source(of), numbers)));
    let numbers = |at: usize| axes().map(move |(_, numbers)| numbers[at]);
    let [centre, inverse, absent] = [0, 1, 2].map(numbers);
    let all: Vec<f64> = axes().map(|(source, _)| source as f64).chain(absent).chain(centre).chain(inverse).collect();
    beside(cells, (4, ()), all)
}

/// The rows of L⁻¹, and b, `[dim + 1, dim]`.
fn posterior(factor: &Factor, b: &[f64], cells: &Tensor) -> Result<Tensor> {
    let dim = b.len();
    let mut rows = Vec::with_capacity((dim + 1) * dim);
    for (at, row) in factor.rows().enumerate() {
        rows.extend_from_slice(row);
        rows.resize((at + 1) * dim, 0.0);
    }
    rows.extend_from_slice(b);
    beside(cells, (dim + 1, dim), rows)
}

/// Where inputs, target and gaps come from, and what stands in for a missing value, `[2, columns]`.
fn columns(inputs: usize, gaps: &[Gap], cells: &Tensor) -> Result<Tensor> {
    let sources = (0..inputs).chain([2 * inputs]).chain(gaps.iter().map(|gap| inputs + gap.input));
    let mut rows: Vec<f64> = sources.map(|source| source as f64).collect();
    let columns = rows.len();
    rows.resize(2 * columns, 0.0);
    gaps.iter().for_each(|gap| rows[columns + gap.input] = gap.anchor);
    beside(cells, (2, columns), rows)
}

/// Weights and targets `[2, contrasts, rows]`.
fn to_tensor(observed: &[Observed], cells: &Tensor) -> Result<Tensor> {
    let weights = observed.iter().flat_map(|of| &of.weights);
    let all = weights.chain(observed.iter().flat_map(|of| &of.targets)).copied().collect();
    beside(cells, (2, observed.len(), ()), all)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::dist::testing::{assert_close, uniform};
    use crate::features::{Column, Kind, Rows, Schema, Task};
    use crate::models::Standard;
    use crate::models::regression::RegressionConfig;
    use crate::models::regression::batch::Raw;
    use crate::models::regression::joint::Joint;
    use crate::models::regression::logits::LogitCoefficients;
    use crate::models::regression::predictor::{Predictor, Prior};
    use crate::models::regression::target::Coefficients;
    use crate::models::regression::units::Units;

    const INPUTS: usize = 7;

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(found, expected)| assert_close(*found, *expected, 1e-12));
    }

    fn assert_same(found: &Joint, expected: &Joint) {
        assert_close(found.count, expected.count, 1e-12);
        assert_eq!(found.gaps(), expected.gaps());
        assert_near(&found.mean, &expected.mean);
        assert_near(&found.scatter, &expected.scatter);
    }

    fn layout() -> Layout {
        let column = |at: usize| Column { name: format!("x{at}"), path: vec![format!("x{at}")], kind: Kind::Number };
        let schema = Schema::new((0..=INPUTS).map(column).collect());
        let task = Task { target: INPUTS, inputs: (0..INPUTS).collect() };
        Layout::new(&schema, &task, "number", &RegressionConfig::default()).expect("a right configuration")
    }

    /// Both products of numbers in one range by the reference and by the processor's own code.
    #[test]
    fn the_reference_agrees_with_the_processor() {
        let own = layout();
        let there = Layout { device: Some(Device::Cpu), ..own.clone() };
        for (count, missing) in [(1, 0.0), (5, 0.5), (300, 0.0), (301, 0.2)] {
            let cell = |at: u64| if uniform((1 << 40) + at) < missing { f64::NAN } else { 2.0 * uniform(at) - 1.0 };
            let target = |at: u64| if at % (INPUTS as u64 + 1) == INPUTS as u64 { uniform(at) } else { cell(at) };
            let rows = Rows::from_cells(INPUTS + 1, (0..count * (INPUTS as u64 + 1)).map(target).collect());
            let table = Table::new(&own, rows.view());
            let (here, away) = (Placed::new(&own, &table), Placed::new(&there, &table));
            assert!(!here.is_on_device() && away.is_on_device());
            let site = Joint::nothing(INPUTS);
            let raws = || (Raw::new(&site, &here), Raw::new(&site, &away));
            let ones = Observed { weights: vec![1.0; table.len()], targets: table.targets.clone() };
            assert!(away.moments(INPUTS, &[], &[ones]).is_some(), "the device has taken the moments");
            let numbers = |stream: u64| (0..count).map(|row| uniform((stream << 34) + row)).collect();
            let observed =
                [(1, 2), (3, 4), (5, 6)].map(|(one, other)| Observed { weights: numbers(one), targets: numbers(other) });
            let (raw, other) = raws();
            let (pseudo, found) = (raw.weighted(&observed), other.weighted(&observed));
            found.iter().zip(&pseudo).for_each(|(found, expected)| assert_same(found, expected));
            assert_same(&other.statistics(Some(&observed[0].weights)), &raw.statistics(Some(&observed[0].weights)));
            let (raw, other) = raws();
            let joint = raw.statistics(None);
            assert_same(&other.statistics(None), &joint);
            let units = Units::new(&own, joint.count, |input| joint.observed(input));
            let prior = Prior { variance: 1.0, intercept: 1.0 };
            let predictor = Predictor::new(units.clone(), &joint, Standard { location: 0.0, scale: 1.0 }, prior).expect("finite");
            for (found, expected) in predictor.predict(&away).iter().zip(predictor.predict(&here)) {
                assert_near(&[found.mean, found.variance], &[expected.mean, expected.variance]);
            }
            let logits = LogitCoefficients::new(units, &pseudo, prior).expect("finite");
            for (found, expected) in logits.predict(&away).iter().zip(logits.predict(&here)) {
                assert_near(&found.mean, &expected.mean);
                assert_near(&found.covariance, &expected.covariance);
            }
        }
    }

    #[test]
    fn what_the_device_fails_on_the_processor_does() {
        let own = layout();
        let rows = Rows::from_cells(INPUTS + 1, (0..20 * (INPUTS as u64 + 1)).map(uniform).collect());
        let table = Table::new(&own, rows.view());
        let here = Placed::new(&own, &table);
        // Numbers of a kind that the operations refuse.
        let refused = cells(&table, INPUTS, &Device::Cpu).and_then(|cells| cells.to_dtype(DType::F32)).ok();
        let failing = Placed { table: &table, cells: refused };
        let site = Joint::nothing(INPUTS);
        let joint = Raw::new(&site, &here).statistics(None);
        assert_eq!(Raw::new(&site, &failing).statistics(None), joint);
        let units = Units::new(&own, joint.count, |input| joint.observed(input));
        let prior = Prior { variance: 1.0, intercept: 1.0 };
        let predictor = Predictor::new(units, &joint, Standard { location: 0.0, scale: 1.0 }, prior).expect("finite");
        assert_eq!(predictor.predict(&failing), predictor.predict(&here));
    }
}
