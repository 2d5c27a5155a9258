//! A truncated Dirichlet-process mixture over mixed columns: the default model.
//!
//! Events are of several kinds, nobody says how many, and each kind is a component: independent conjugate families over numbers,
//! counts, booleans and categories, or one Normal-Wishart over all numbers. Learning is streaming variational Bayes (Lin 2013; Hughes &
//! Sudderth 2013): responsibilities under the posterior, and sufficient statistics that add. The score is the exact predictive under q,
//! `Σ_k E[π_k] Π_d p_kd(x_d) + E[rest] · background(x)`, with missing columns marginalised, and each number in units of its column's
//! own spread, so that a change of units changes nothing.
//!
//! A component is *known* once it holds a share `rare` of all events; until then it learns but lends its weight to the background, because
//! a cluster of anomalies is not normal for being tight.
//!
//! Owns beliefs and their arithmetic; holds no state beside its configuration.

mod batch;
mod diagonal;
mod discrete;
pub mod evidence;
mod expectation;
mod explain;
mod full;
mod kernel;
mod posterior;
mod predictive;
mod prior;
mod recent;
pub(super) mod statistics;
mod structure;
mod tally;
mod tensor;
mod units;
mod values;
mod weights;
mod words;

use std::collections::BTreeMap;

use candle_core::Device;
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::{CheckpointError, Tensor, TooLarge};
use crate::dist::beta::Beta;
use crate::features::{Kind, RowsView, Schema};
use crate::models::{Block, ColumnSummary, Explanation, Learnt, Model, NotFinite, Part, Progress, Surprisal};
use crate::record::{Offset, Partition};

use batch::Batch;
use evidence::{ComponentId, MixtureEvidence};
use kernel::Matrix;
use statistics::Numbers;
use units::Layout;

pub use super::Standard;

pub use posterior::MixturePosterior;

/// What components know of how numbers go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Covariance {
    /// Nothing: numbers are independent within a component.
    #[default]
    Diagonal,
    /// Everything: one covariance matrix a component.
    Full,
}

/// The mixture's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct MixtureConfig {
    /// Components at most. With 1 the model is one conjugate distribution, and its posterior exact.
    pub components: usize,
    /// What components know of how numbers go together.
    pub covariance: Covariance,
    /// α of the Dirichlet process: about how many kinds of events there are beside the large ones.
    pub concentration: f64,
    /// A component that holds a smaller share of all events is not normal life yet. 0 takes every component for known.
    pub rare: f64,
    /// How many events the expected variance of a number within a component is worth.
    pub scale_prior_events: f64,
    /// Units of number columns, by the column's name, where they are not to be learnt from the data. The scale is the standard
    /// deviation that the prior expects within a component.
    pub standards: BTreeMap<String, Standard>,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            components: 16,
            covariance: Covariance::Diagonal,
            concentration: 1.0,
            rare: 0.07,
            scale_prior_events: 200.0,
            standards: BTreeMap::new(),
        }
    }
}

/// A configuration that makes no model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MixtureError {
    /// A field out of its range.
    #[error("the mixture's {field} is {value}; it must be {expected}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// Units of a column that is no number.
    #[error("column `{column}` has a location and scale, but is no number column")]
    NoNumber {
        /// The column's name.
        column: String,
    },
    /// Units that measure nothing.
    #[error("column `{column}`: location {location} and scale {scale} must be finite, and the scale above 1e-150")]
    BadStandard {
        /// The column's name.
        column: String,
        /// Its location.
        location: f64,
        /// Its scale.
        scale: f64,
    },
    /// A mixture of more than a snapshot holds.
    #[error("the mixture is too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// A schema with nothing but timestamps.
    #[error("there is no column to model: add a number, category, count or boolean column")]
    NoColumn,
}

/// A mixture over a schema's columns.
#[derive(Clone, Debug)]
pub struct Mixture {
    schema: Schema,
    layout: Layout,
    config: MixtureConfig,
    /// Where the arithmetic of numbers is done, if not on the processor.
    device: Option<Device>,
}

impl Mixture {
    /// The mixture over `schema` that `config` describes.
    pub fn new(schema: &Schema, config: MixtureConfig) -> Result<Self, MixtureError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let ranges = [
            ("components", config.components as f64, (1..=1024).contains(&config.components), "from 1 to 1024"),
            ("concentration", config.concentration, positive(config.concentration), "above 0"),
            ("rare", config.rare, (0.0..1.0).contains(&config.rare), "at least 0 and below 1"),
            ("scale_prior_events", config.scale_prior_events, positive(config.scale_prior_events), "above 0"),
        ];
        for (field, value, right, expected) in ranges {
            if !right {
                return Err(MixtureError::OutOfRange { field, value, expected });
            }
        }
        let mut layout = Layout {
            numbers: Vec::new(),
            fixed: Vec::new(),
            counts: Vec::new(),
            booleans: Vec::new(),
            categories: Vec::new(),
            full: config.covariance == Covariance::Full,
        };
        for (cell, column) in schema.columns().iter().enumerate() {
            match column.kind {
                Kind::Number => {
                    layout.numbers.push(cell);
                    layout.fixed.push(config.standards.get(&column.name).map(|standard| (standard.location, standard.scale)));
                }
                Kind::Count => layout.counts.push(cell),
                Kind::Boolean => layout.booleans.push(cell),
                Kind::Category { capacity } => layout.categories.push((cell, capacity)),
                Kind::Timestamp => {}
            }
        }
        if layout.width() == 0 {
            return Err(MixtureError::NoColumn);
        }
        for (name, &Standard { location, scale }) in &config.standards {
            if !layout.numbers.iter().any(|cell| schema.columns()[*cell].name == *name) {
                return Err(MixtureError::NoNumber { column: name.clone() });
            }
            if !(Standard { location, scale }).is_right() {
                return Err(MixtureError::BadStandard { column: name.clone(), location, scale });
            }
        }
        let cure = "fewer components or columns, smaller capacities, or covariance = \"diagonal\"";
        TooLarge::check(layout.evidence_numbers(config.components), cure)?;
        Ok(Self { schema: schema.clone(), layout, config, device: None })
    }

    /// The same model with the arithmetic of numbers done as tensors on `device`: worth it for large blocks of many columns. Batches
    /// that have no tensor form there, or that the device fails on, are done by the processor; both agree to rounding.
    pub fn on(self, device: Device) -> Self {
        Self { device: Some(device), ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &MixtureConfig {
        &self.config
    }

    /// The evidence lower bound of `rows`, if they are all that `posterior` has learnt:
    /// `Σ_i ln Σ_k exp(E ln π_k + E ln p(x_i | θ_k)) − KL(q(θ) ‖ p(θ))`, with the optimal q(z) put in.
    pub fn elbo(&self, posterior: &MixturePosterior, rows: RowsView<'_>) -> Result<f64, NotFinite> {
        let batch = Batch::from_rows(&self.layout, &posterior.units, &posterior.vocabularies, rows);
        let (_, totals) = posterior.expectation.responsibilities(&batch);
        Ok(totals.iter().sum::<f64>() - posterior.kl()?)
    }

    /// What `rows` say: the statistics of each component under the optimal q(z). `birthplace` is where the first of the rows stands.
    pub fn news(
        &self,
        posterior: &MixturePosterior,
        rows: RowsView<'_>,
        birthplace: (Partition, Offset),
    ) -> Result<MixtureEvidence, NotFinite> {
        self.taught(posterior, rows, &[], birthplace).map(|(news, _)| news)
    }

    /// What `rows` say, and `E ln p(rows | θ)` with the optimal q(z) put in.
    fn taught(
        &self,
        posterior: &MixturePosterior,
        rows: RowsView<'_>,
        weights: &[f64],
        birthplace: (Partition, Offset),
    ) -> Result<(MixtureEvidence, f64), NotFinite> {
        let mut batch = Batch::from_rows(&self.layout, &posterior.units, &posterior.vocabularies, rows);
        batch.check()?;
        let (mut responsibilities, totals) = posterior.responsibilities(&batch);
        responsibilities.weigh(weights);
        let mut news = MixtureEvidence::nothing(self.layout.shape());
        news.vocabularies = posterior.vocabularies.clone();
        self.meet_texts(&mut news, &mut batch, rows);
        for (id, statistics) in posterior.ids.iter().zip(posterior.statistics(&batch, &responsibilities)) {
            if statistics.events > 0.0 {
                news.components.insert(*id, batch.units.restore(statistics));
            }
        }
        let mut ones = Matrix::ones(batch.events(), batch.numbers.groups);
        ones.weigh(weights);
        let numbers = diagonal::moments(&batch.numbers, &ones, 0, &vec![0.0; self.layout.numbers.len()]);
        let total = discrete::gather(&batch, &ones, vec![Numbers::Diagonal(numbers)]).remove(0);
        news.total = batch.units.restore(total);
        let cells = self.cells(&batch, rows);
        let remembered = cells.len() / self.layout.width();
        news.recent = recent::Recent::new(cells, vec![1.0; remembered]);
        news.search.rows = rows.len() as i64;
        news.search.latest = Some(ComponentId { partition: birthplace.0, offset: birthplace.1 });
        if news.is_finite() {
            let believed = |event: usize| weights.get(event).copied().unwrap_or(1.0);
            Ok((news, totals.iter().enumerate().map(|(event, total)| believed(event) * total).sum()))
        } else {
            Err(NotFinite { quantity: "a statistic of the batch".into() })
        }
    }

    /// Cells in the model's own order, categories as slots.
    fn cells(&self, batch: &Batch, rows: RowsView<'_>) -> Vec<f64> {
        let mut cells = Vec::with_capacity(rows.len().min(recent::REMEMBERED) * self.layout.width());
        let sums = || self.layout.counts.iter().chain(&self.layout.booleans);
        for event in rows.len().saturating_sub(recent::REMEMBERED)..rows.len() {
            let row = rows.row(event);
            cells.extend(self.layout.numbers.iter().chain(sums()).map(|cell| row[*cell]));
            let slot = |slots: &Vec<usize>| if slots[event] == batch::MISSING { f64::NAN } else { slots[event] as f64 };
            cells.extend(batch.categories.iter().map(slot));
        }
        cells
    }
}

impl Model for Mixture {
    type Evidence = MixtureEvidence;
    type Posterior = MixturePosterior;

    fn kind(&self) -> &'static str {
        "mixture"
    }

    fn fingerprint(&self) -> u64 {
        let mut text = format!("mixture 2\n{}\n{}\n", self.layout.full, self.config.components == 1);
        for column in self.schema.columns() {
            let capacity = if let Kind::Category { capacity } = column.kind { capacity } else { 0 };
            text += &format!("{:?} {:?} {} {capacity}\n", column.name, column.path, column.kind.name());
        }
        xxh3_64(text.as_bytes())
    }

    fn nothing(&self) -> MixtureEvidence {
        MixtureEvidence::nothing(self.layout.shape())
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<MixtureEvidence, CheckpointError> {
        MixtureEvidence::restore(self.layout.shape(), tensors)
    }

    fn posterior(&self, evidence: &MixtureEvidence) -> Result<MixturePosterior, NotFinite> {
        let posterior = MixturePosterior::new(&self.layout, &self.config, evidence)?;
        Ok(match &self.device {
            Some(device) => posterior.on(device),
            None => posterior,
        })
    }

    fn score(&self, posterior: &MixturePosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let batch = Batch::from_rows(&self.layout, &posterior.units, &posterior.vocabularies, rows);
        let (densities, mut variances) = posterior.log_density(&batch);
        let mut nats: Vec<f64> = densities.into_iter().map(|density| -density).collect();
        // A column that has always been the same changes with a probability of q = Beta(1, n + 1) (Laplace's rule of succession).
        let units = &posterior.units;
        for d in (0..self.layout.numbers.len()).filter(|d| !units.live[*d] && units.count[*d] > 0.0) {
            let change = Beta { yes: 1.0, no: units.count[d] + 1.0 };
            let ([mass, _], [variance, _]) = (change.predictive_log_mass(), change.log_mass_variance());
            for event in 0..rows.len() {
                let x = rows.row(event)[self.layout.numbers[d]];
                if Standard::differs(x, units.location[d]) {
                    nats[event] -= mass;
                    variances[event] += variance;
                }
            }
        }
        let pairs = nats.into_iter().zip(variances);
        surprisals.extend(pairs.map(|(nats, variance)| Surprisal { nats, sd: variance.max(0.0).sqrt() }));
    }

    fn scales(&self, posterior: &MixturePosterior) -> Vec<(usize, f64)> {
        let units = &posterior.units;
        let live = (0..self.layout.numbers.len()).filter(|d| units.live[*d]);
        live.map(|d| (self.layout.numbers[d], units.scale[d])).collect()
    }

    fn explain(&self, posterior: &MixturePosterior, row: RowsView<'_>) -> Option<Explanation> {
        self.account(posterior, row)
    }

    fn learn(
        &self,
        posterior: &MixturePosterior,
        site: &MixtureEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<MixtureEvidence>, NotFinite> {
        let (news, likelihood) = self.taught(posterior, block.rows, block.weights, (block.partition, block.offset))?;
        let progress = Progress { expected_log_likelihood: Some(likelihood), ..Progress::default() };
        Ok(Learnt { evidence: block.pace.apply(site, news), progress })
    }

    /// With one component all events are its own. Joint numbers with gaps, and categories' vocabularies, are as they are by what came
    /// before.
    fn contribution(&self, site: &MixtureEvidence, rows: RowsView<'_>) -> Option<MixtureEvidence> {
        let separable = self.config.components == 1 && !self.layout.full && self.layout.categories.is_empty();
        let posterior = separable.then(|| self.posterior(site).ok()).flatten()?;
        self.news(&posterior, rows, (Partition(-1), Offset(-1))).ok()
    }

    fn reorganise(&self, rest: &MixtureEvidence, site: &mut MixtureEvidence) {
        structure::reorganise(&self.layout, &self.config, rest, site);
    }

    fn divergence(&self, posterior: &MixturePosterior) -> Option<f64> {
        posterior.kl().ok()
    }

    /// Components that are known: the others lend their weight to the background.
    fn active(&self, posterior: &MixturePosterior) -> usize {
        posterior.known.iter().filter(|known| **known).count()
    }

    fn columns(&self, evidence: &MixtureEvidence) -> Vec<ColumnSummary> {
        words::columns(&self.schema, &self.layout, evidence)
    }

    fn parts(&self, posterior: &MixturePosterior) -> Vec<Part> {
        words::parts(&self.schema, &self.layout, posterior)
    }
}

impl Mixture {
    /// Gives texts that come for the first time a slot, as far as there are any left.
    fn meet_texts(&self, news: &mut MixtureEvidence, batch: &mut Batch, rows: RowsView<'_>) {
        for (column, (cell, capacity)) in self.layout.categories.iter().enumerate() {
            let vocabulary = &mut news.vocabularies[column];
            for (event, slot) in batch.categories[column].iter_mut().enumerate().filter(|(_, slot)| **slot == 0) {
                let Some(text) = rows.text(rows.row(event)[*cell]) else { continue };
                if let Some(known) = vocabulary.slot(text) {
                    *slot = known + 1;
                } else if vocabulary.len() < *capacity {
                    *slot = vocabulary.insert(text) + 1;
                }
            }
        }
    }
}
