//! A model of one's own: say the prior and ln p(x | θ) in candle tensors, and the rest follows.
//!
//! [`LogJoint`] is what there is to write; [`MeanField`] makes a [`Model`] of it. Gradients are candle's. The posterior is
//! approximated by independent Gaussians on the unconstrained scale, and each block moves them to the best fit there is given the
//! ones before (`inference::mean_field`), so a site is a precision and a shift per parameter. The score is
//! `−ln mean_s p(x | θ_s)` over draws of q that are made of the same noise every time.
//!
//! Independent Gaussians know nothing of correlation: each sd is that of a parameter whose companions are known, which is too
//! small where they are correlated, and means then settle slowly. Centre columns and keep parameters apart where you can.
//!
//! Numbers come in their own units, and prior and density are in these. `examples/robust_regression.rs` is a complete example.

mod config;
mod draws;
mod evidence;
mod joint;
mod observations;
mod parameter;
mod posterior;
mod table;

use std::sync::Arc;

use candle_core::DType;
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::{CheckpointError, Tensor};
use crate::features::{Kind, RowsView, Schema};
use crate::inference::mean_field::{Steps, fit, matched_draws};
use crate::models::mixture::statistics::Moments;
use crate::models::{Block, ColumnSummary, Learnt, Model, NotFinite, Part, Progress, Surprisal};
use crate::noise::Noise;

use joint::Joint;
use observations::Observations;
use table::Table;

pub use config::{MeanFieldConfig, MeanFieldError};
pub use draws::Draws;
pub use evidence::MeanFieldEvidence;
pub use parameter::{Estimate, Parameter, Support};
pub use posterior::MeanFieldPosterior;
pub use table::Events;

/// Parameters at most: learning takes two gradients for each.
const MOST_PARAMETERS: usize = 256;

/// The stream of noise that scores are made with; partitions have theirs by their number.
const SCORING: u32 = u32::MAX;

/// A prior and a likelihood.
///
/// Evidence of one model doesn't fit another: give a likelihood that means something else another name.
pub trait LogJoint: std::fmt::Debug + Send + Sync + 'static {
    /// The model's name in snapshots: lower-case words with `_` between.
    fn name(&self) -> &'static str;

    /// The columns that the likelihood reads.
    fn columns(&self) -> Vec<&str>;

    /// θ, and the prior of it.
    fn parameters(&self) -> Vec<Parameter>;

    /// `ln p(x_i | θ_s)` `[draws, events]` of each event under each draw of θ, by candle operations throughout, which is how its
    /// gradient is known. A parameter is `[draws, length]`, a column `[1, events]`; candle's `broadcast_*` operations meet them.
    fn log_likelihood(&self, theta: &Draws, events: &Events) -> candle_core::Result<candle_core::Tensor>;

    /// Whether the likelihood deals with missing values itself ([`Events::present`]). If not, an event that lacks one of the columns
    /// has surprisal 0 and teaches nothing.
    fn takes_missing(&self) -> bool {
        false
    }
}

/// A user's own model, learnt with a mean-field Gaussian.
#[derive(Debug)]
pub struct MeanField<L> {
    schema: Schema,
    table: Table,
    joint: Joint<L>,
    config: MeanFieldConfig,
    /// The noise of scores, `[scoring pairs, parameters]`.
    scoring: Arc<nalgebra::DMatrix<f64>>,
}

// Derived, it would ask for a likelihood that can be cloned.
impl<L> Clone for MeanField<L> {
    fn clone(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            table: self.table.clone(),
            joint: self.joint.clone(),
            config: self.config.clone(),
            scoring: Arc::clone(&self.scoring),
        }
    }
}

impl<L: LogJoint> MeanField<L> {
    /// The model that `joint` describes over events of `schema`. The likelihood is tried on a few made-up events.
    pub fn new(schema: &Schema, joint: L, config: MeanFieldConfig) -> Result<Self, MeanFieldError> {
        let device = config.device.open()?.unwrap_or(candle_core::Device::Cpu);
        let dtype = if device.is_cpu() { DType::F64 } else { DType::F32 };
        Self::with(schema, joint, config, device, dtype)
    }

    fn with(
        schema: &Schema,
        joint: L,
        config: MeanFieldConfig,
        device: candle_core::Device,
        dtype: DType,
    ) -> Result<Self, MeanFieldError> {
        config.check()?;
        let table = Table::new(schema, &joint)?;
        let joint = Joint::new(joint, device, dtype)?;
        joint.try_on(&table)?;
        let scoring = matched_draws(Noise::new(config.seed), 0, SCORING, config.scoring_pairs, joint.dim());
        Ok(Self { schema: schema.clone(), table, joint, config, scoring: Arc::new(scoring) })
    }

    /// `Σ_i ln p(x_i | θ)` of `rows` at one θ, on the unconstrained scale, and its gradient: for checks.
    pub fn log_likelihood(&self, theta: &[f64], rows: RowsView<'_>) -> Result<(f64, Vec<f64>), NotFinite> {
        let (_, observations) = self.table.observations(rows, |_| 1.0);
        let passes = self.joint.passes(&self.table, &observations)?;
        let (values, gradient) = self.joint.values(theta, &passes)?;
        Ok((values.iter().sum(), gradient))
    }

    /// The site with a block in it as far as the columns and the counts go.
    fn seen(&self, site: &MeanFieldEvidence, block: &Block<'_>, taught: f64) -> MeanFieldEvidence {
        let mut news = self.nothing();
        news.events = taught;
        for (row, count) in (0..block.rows.len()).map(|event| (block.rows.row(event), block.believed(event))) {
            news.rows += count;
            for (cell, column) in self.table.cells().zip(&mut news.columns).filter(|(cell, _)| !row[*cell].is_nan()) {
                column.add(&Moments { count, mean: row[cell], scatter: 0.0 });
            }
        }
        block.pace.apply(site, news)
    }
}

impl<L: LogJoint> Model for MeanField<L> {
    type Evidence = MeanFieldEvidence;
    type Posterior = MeanFieldPosterior;

    fn kind(&self) -> &'static str {
        self.joint.name()
    }

    fn fingerprint(&self) -> u64 {
        let mut text = format!("mean field 1\n{}\n", self.joint.name());
        for parameter in self.joint.parameters() {
            text += &format!("{:?} {:?} {}\n", parameter.name, parameter.support, parameter.length);
        }
        for column in self.table.cells().map(|cell| &self.schema.columns()[cell]) {
            let capacity = if let Kind::Category { capacity } = column.kind { capacity } else { 0 };
            text += &format!("{:?} {:?} {} {capacity}\n", column.name, column.path, column.kind.name());
        }
        xxh3_64(text.as_bytes())
    }

    fn nothing(&self) -> MeanFieldEvidence {
        MeanFieldEvidence::nothing(self.joint.dim(), self.table.widths())
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<MeanFieldEvidence, CheckpointError> {
        MeanFieldEvidence::restore(self.joint.dim(), self.table.widths(), tensors)
    }

    fn posterior(&self, evidence: &MeanFieldEvidence) -> Result<MeanFieldPosterior, NotFinite> {
        MeanFieldPosterior::new(&self.joint, evidence, &self.scoring)
    }

    fn judges(&self, row: &[f64]) -> bool {
        self.table.is_usable(row)
    }

    fn score(&self, posterior: &MeanFieldPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let start = surprisals.len();
        surprisals.resize(start + rows.len(), Surprisal::default());
        let (events, observations) = self.table.observations(rows, |_| 1.0);
        let found = self.joint.surprisals(&self.table, posterior.draws(), &observations);
        events.into_iter().zip(found).for_each(|(event, surprisal)| surprisals[start + event] = surprisal);
    }

    fn shuns_doubted(&self) -> bool {
        true
    }

    fn learn(
        &self,
        posterior: &MeanFieldPosterior,
        site: &MeanFieldEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<MeanFieldEvidence>, NotFinite> {
        let MeanFieldConfig { pairs, steps, tolerance, longest_step, .. } = self.config;
        let (events, observations) = self.table.observations(block.rows, |row| block.pace.weight * block.believed(row));
        let mut evidence = self.seen(site, &block, events.into_iter().map(|row| block.believed(row)).sum());
        if !evidence.is_finite() {
            return Err(NotFinite { quantity: format!("the sum of squares of a column of `{}`", self.joint.name()) });
        }
        if observations.is_empty() {
            return Ok(Learnt { evidence, progress: Progress::default() });
        }
        let mut passes = self.joint.passes(&self.table, &evidence.first)?;
        let known = passes.len();
        passes.extend(self.joint.passes(&self.table, &observations)?);
        let (base, start);
        if site.is_first() {
            // All of the site's events are at hand, and what it says of θ is found anew.
            (base, start) = (posterior.without(site, 1.0), posterior.gaussians().clone());
            evidence.forget();
            evidence.first.extend(&observations);
            if evidence.first.len() >= self.config.first_events {
                evidence.first = Observations::new(self.table.widths());
            }
        } else {
            base = posterior.without(site, 1.0 - block.pace.retention);
            start = base.clone();
        }
        let (noise, stream) = (Noise::new(self.config.seed), block.partition.0 as u32);
        let draws = matched_draws(noise, block.step, stream, pairs.max(self.joint.dim()), self.joint.dim());
        let steps = Steps { most: steps, tolerance, longest: longest_step };
        let mut expected_log_likelihood = None;
        let gradients = |theta: Vec<f64>| {
            let (values, gradients) = self.joint.values(&theta, &passes)?;
            expected_log_likelihood.get_or_insert(values[known..].iter().sum::<f64>() / block.pace.weight);
            Ok(gradients)
        };
        let fit = fit(&base, evidence.precision(), start, &draws, steps, gradients)?;
        evidence.learn(&fit);
        if !evidence.is_finite() {
            return Err(NotFinite { quantity: format!("the step of `{}`", self.joint.name()) });
        }
        let progress = Progress { expected_log_likelihood, step_norm: Some(fit.step_norm), clipped: fit.clipped };
        Ok(Learnt { evidence, progress })
    }

    fn divergence(&self, posterior: &MeanFieldPosterior) -> Option<f64> {
        Some(posterior.divergence())
    }

    fn active(&self, _: &MeanFieldPosterior) -> usize {
        1
    }

    fn columns(&self, evidence: &MeanFieldEvidence) -> Vec<ColumnSummary> {
        let columns = self.table.cells().zip(&evidence.columns);
        let summaries = columns.map(|(cell, Moments { count, mean, scatter })| {
            let column = &self.schema.columns()[cell];
            let number = *count > 0.0 && !matches!(column.kind, Kind::Category { .. });
            ColumnSummary {
                name: column.name.clone(),
                kind: column.kind.name(),
                observed: *count,
                missing: (evidence.rows - count).max(0.0),
                mean: number.then_some(*mean),
                standard_deviation: number.then(|| (scatter / count).sqrt()),
                distinct: None,
            }
        });
        summaries.collect()
    }

    fn parts(&self, posterior: &MeanFieldPosterior) -> Vec<Part> {
        vec![Part { name: self.joint.name().into(), weight: 1.0, expects: posterior.words() }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{Column, Rows};
    use crate::inference::rule::Pace;
    use crate::record::{Offset, Partition};

    /// `x ~ N(centre, spread²)`.
    #[derive(Debug)]
    struct Normal;

    impl LogJoint for Normal {
        fn name(&self) -> &'static str {
            "normal"
        }

        fn columns(&self) -> Vec<&str> {
            vec!["x"]
        }

        fn parameters(&self) -> Vec<Parameter> {
            vec![Parameter::real("centre", 1, 0.0, 5.0), Parameter::positive("spread", 1, 1.0, 1.0)]
        }

        fn log_likelihood(&self, theta: &Draws, events: &Events) -> candle_core::Result<candle_core::Tensor> {
            let z = events["x"].broadcast_sub(&theta["centre"])?.broadcast_div(&theta["spread"])?;
            ((z.sqr()? * -0.5)? - 0.5 * std::f64::consts::TAU.ln())?.broadcast_sub(&theta["spread"].log()?)
        }
    }

    /// What a GPU does in f32 is what the processor does in f64, as far as f32 goes.
    #[test]
    fn single_precision_is_enough() {
        let schema = Schema::new(vec![Column { name: "x".into(), path: vec!["x".into()], kind: Kind::Number }]);
        let noise = Noise::new(5);
        let rows = Rows::from_cells(1, (0..2_000).map(|event| 3.0 + 0.5 * noise.normal(0, 0, event)).collect());
        let learn = |dtype| {
            let model = MeanField::with(&schema, Normal, MeanFieldConfig::default(), candle_core::Device::Cpu, dtype).unwrap();
            let mut evidence = model.nothing();
            for (step, from) in (0..2_000).step_by(50).enumerate() {
                let (rows, step) = (rows.view().slice(from..from + 50), step as u64);
                let block = Block { rows, partition: Partition(0), offset: Offset(0), step, pace: Pace::BAYES, weights: &[] };
                evidence = model.learn(&model.posterior(&evidence).unwrap(), &evidence, block).unwrap().evidence;
            }
            let posterior = model.posterior(&evidence).unwrap();
            let mut surprisals = Vec::new();
            model.score(&posterior, rows.view(), &mut surprisals);
            (["centre", "spread"].map(|name| posterior.moments(name)[0]), surprisals)
        };
        let ((exact, expected), (single, found)) = (learn(DType::F64), learn(DType::F32));
        for ((mean, sd), (single_mean, single_sd)) in exact.into_iter().zip(single) {
            assert!((single_mean - mean).abs() < 0.02 * sd, "{single_mean} is not {mean} ± {sd}");
            assert!((single_sd / sd - 1.0).abs() < 1e-3, "{single_sd} is not {sd}");
        }
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.nats - expected.nats).abs() < 1e-3 * expected.nats.abs().max(1.0));
        }
        assert!((exact[0].0 - 3.0).abs() < 0.05 && (exact[1].0 - 0.5_f64.ln()).abs() < 0.05, "{exact:?}");
    }
}
