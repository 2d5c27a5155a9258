//! Generalised linear models: a boolean, a count or one of several classes, with a full-covariance normal posterior over all
//! coefficients.
//!
//! `p(y | η)` with `η = α + βᵀz`: a Bernoulli with `logit p = η`, a Poisson with `ln rate = η`, or a softmax with such a predictor for
//! each class. Intercepts and coefficients are `N(0, prior_scale²)` a priori. Each block is taken in by the step that
//! [`fit`](super::fit) describes, and evidence is what its pseudo-observations add up to. The predictive is `∫ p(y | η) N(η; m, s²) dη`
//! by quadrature, or by cubature for three classes and more.

use candle_core::Device;

use crate::checkpoint::{CheckpointError, Reader, Tensor, TooLarge};
use crate::features::{Kind, RowsView, Schema, Task};
use crate::inference::likelihood::{Bernoulli, Poisson};
use crate::models::{Block, ColumnSummary, Expected, Explanation, Learnt, Model, NotFinite, Part, Surprisal};

use super::batch::{Raw, Table};
use super::census::Census;
use super::classes::{Classes, MOST_CLASSES};
use super::first::{ENOUGH, First};
use super::fit::{Before, Rows, statistics};
use super::joint::{Joint, most_numbers};
use super::labels::{Labels, renumber_sums};
use super::predictor::{Predicted, Prior};
use super::pseudo::PseudoEvidence;
use super::target::{Coefficients, Site, Target};
use super::tensors::Placed;
use super::units::Units;
use super::words;
use super::{Layout, RegressionConfig, RegressionError, SMALLER};

/// Variance of a log rate below which something is known of it.
const KNOWN: f64 = 4.0;

/// Standard deviations above its mean that a count is looked for.
const FARTHEST_COUNT: f64 = 12.0;

/// A boolean from other columns.
pub type LogisticRegression = GeneralisedRegression<Bernoulli>;

/// A count from other columns.
pub type PoissonRegression = GeneralisedRegression<Poisson>;

/// A category from other columns.
pub type SoftmaxRegression = GeneralisedRegression<Classes>;

/// A generalised linear model (McCullagh & Nelder 1989).
#[derive(Clone, Debug)]
pub struct GeneralisedRegression<T> {
    layout: Layout,
    config: RegressionConfig,
    target: T,
}

/// q(α, β) of a generalised linear model.
#[derive(Clone, Debug)]
pub struct PseudoPosterior<C> {
    units: Units,
    labels: Labels,
    pseudo: Vec<Joint>,
    coefficients: C,
}

impl<C: Coefficients> PseudoPosterior<C> {
    /// Mean and variance, in standard units, of the predictor where every input is at its location, then of each active coefficient in
    /// the order of [`Model::parts`]: of the only predictor, or of each class about the mean of all classes.
    pub fn coefficients(&self) -> Vec<Vec<Predicted>> {
        self.coefficients.coefficients()
    }
}

impl<T: Target> GeneralisedRegression<T> {
    /// The regression of `task`.
    pub fn new(schema: &Schema, task: &Task, config: RegressionConfig) -> Result<Self, RegressionError> {
        let layout = Layout::new(schema, task, T::COLUMN, &config)?;
        let column = &schema.columns()[task.target];
        match column.kind {
            Kind::Category { capacity } if !(2..=MOST_CLASSES).contains(&capacity) => {
                Err(RegressionError::Classes { column: column.name.clone(), capacity })
            }
            kind => {
                let (target, inputs) = (T::new(kind), layout.inputs());
                let contrasts = target.contrasts();
                TooLarge::check(contrasts * most_numbers(inputs) + ENOUGH * (inputs + 3 + 2 * contrasts), SMALLER)?;
                Ok(Self { layout, config, target })
            }
        }
    }

    /// The same model with its products taken on `device`: worth it for large blocks of many inputs. Blocks that the device fails
    /// on are done by the processor; both agree to rounding.
    pub fn on(mut self, device: Device) -> Self {
        self.layout.device = Some(device);
        self
    }

    fn prior(&self) -> Prior {
        let variance = self.config.prior_scale.powi(2);
        Prior { variance, intercept: 1.0 / variance }
    }

    /// Units and q of so much evidence.
    fn believe(&self, census: &Census, pseudo: &[Joint]) -> Result<(Units, T::Coefficients), NotFinite> {
        if !(census.is_finite() && pseudo.iter().all(Joint::is_finite)) {
            return Err(NotFinite { quantity: "the evidence".into() });
        }
        let units = Units::new(&self.layout, census.events, |input| census.observed(input));
        let coefficients = T::Coefficients::new(units.clone(), pseudo, self.prior())?;
        Ok((units, coefficients))
    }

    /// Rows with a target; a text is the class that `class` says.
    fn table(&self, rows: RowsView<'_>, mut class: impl FnMut(&str) -> usize) -> Table {
        let mut table = Table::new(&self.layout, rows);
        if self.target.classes() > 0 {
            table.targets.iter_mut().for_each(|cell| *cell = rows.text(*cell).map_or(0.0, |text| class(text) as f64));
        }
        table
    }

    /// All pseudo-observations where of the site's only `retention` is left, and q of them: what a block is learnt from. Nothing where
    /// rounding lets no q be.
    fn faded(
        &self,
        posterior: &PseudoPosterior<T::Coefficients>,
        site: &PseudoEvidence,
        retention: f64,
    ) -> Option<(Vec<Joint>, T::Coefficients)> {
        let mut own = match posterior.labels.clone().absorb(&site.labels) {
            Some(moved) => renumber_sums(&site.pseudo, &moved),
            None => site.pseudo.clone(),
        };
        let mut pseudo = posterior.pseudo.clone();
        if own == pseudo {
            pseudo.iter_mut().for_each(|sum| sum.scale(retention));
        } else {
            own.iter_mut().for_each(|own| own.scale(retention - 1.0));
            pseudo.iter_mut().zip(&own).for_each(|(sum, own)| sum.add(own));
        }
        let there = pseudo.iter().all(|sum| sum.count >= 0.0 && sum.is_finite());
        let coefficients = there.then(|| T::Coefficients::new(posterior.units.clone(), &pseudo, self.prior()))?.ok()?;
        Some((pseudo, coefficients))
    }

    /// What was to be expected of the target of `row`, which has one; nothing of a count whose rate is not known yet.
    fn expected(&self, posterior: &PseudoPosterior<T::Coefficients>, row: RowsView<'_>) -> Option<Expected> {
        let table = self.table(row, |text| posterior.labels.class(text));
        let predicted = posterior.coefficients.predict(&Placed::new(&self.layout, &table));
        let probability = |y: f64| self.target.predictive(&[y], &predicted).first().map_or(0.0, |found| found.log_density.exp());
        match self.layout.schema.columns()[self.layout.task.target].kind {
            Kind::Count => {
                let Predicted { mean, variance } = self.target.contrasts_of(predicted.first()?).next()?;
                let rate = (mean + 0.5 * variance).exp();
                let sd = (rate + rate * rate * variance.exp_m1()).sqrt();
                (variance < KNOWN && rate.is_finite()).then(|| Expected::count(rate, rate + FARTHEST_COUNT * sd, probability))
            }
            Kind::Boolean => Expected::likeliest([0.0, 1.0].map(|y| ((y == 1.0).to_string(), probability(y))).into_iter()),
            _ => {
                let known =
                    (0..posterior.labels.known()).filter_map(|class| Some((class, posterior.labels.text(class)?.to_owned())));
                Expected::likeliest(known.map(|(class, text)| (text, probability(class as f64))))
            }
        }
    }

    /// Learns a partition's first events anew, given what all other partitions say.
    fn learn_first(&self, rest: &PseudoEvidence, site: &PseudoEvidence) -> Result<(Vec<Joint>, Vec<Site>), NotFinite> {
        let mut census = rest.census.clone();
        census.add(&site.census);
        let (units, coefficients) = self.believe(&census, &rest.pseudo)?;
        let before = Before { units: &units, prior: self.prior(), pseudo: &rest.pseudo, coefficients: &coefficients };
        let First { table, times, sites } = &site.first;
        let placed = Placed::new(&self.layout, table);
        let raw = Raw::new(&site.pseudo[0], &placed);
        let rows = Rows { placed: &placed, raw: &raw, times };
        let (sites, _) = before.take(&self.target, &rows, Some(sites.clone()), self.config.inner_steps)?;
        let pseudo = statistics(&raw, &sites, times, self.target.contrasts());
        let finite = pseudo.iter().all(Joint::is_finite);
        if finite { Ok((pseudo, sites)) } else { Err(NotFinite { quantity: "the first events' evidence".into() }) }
    }
}

impl<T: Target> Model for GeneralisedRegression<T> {
    type Evidence = PseudoEvidence;
    type Posterior = PseudoPosterior<T::Coefficients>;

    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn fingerprint(&self) -> u64 {
        self.layout.fingerprint(self.kind())
    }

    fn nothing(&self) -> PseudoEvidence {
        PseudoEvidence::nothing(&self.layout, &self.target)
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<PseudoEvidence, CheckpointError> {
        PseudoEvidence::restore(&self.layout, &self.target, Reader(tensors))
    }

    fn posterior(&self, evidence: &PseudoEvidence) -> Result<Self::Posterior, NotFinite> {
        let (units, coefficients) = self.believe(&evidence.census, &evidence.pseudo)?;
        Ok(PseudoPosterior { units, labels: evidence.labels.clone(), pseudo: evidence.pseudo.clone(), coefficients })
    }

    fn judges(&self, row: &[f64]) -> bool {
        !row[self.layout.task.target].is_nan()
    }

    fn score(&self, posterior: &Self::Posterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let start = surprisals.len();
        surprisals.resize(start + rows.len(), Surprisal::default());
        let table = self.table(rows, |text| posterior.labels.class(text));
        let predicted = posterior.coefficients.predict(&Placed::new(&self.layout, &table));
        let found = self.target.predictive(&table.targets, &predicted);
        for (place, found) in table.places.iter().zip(found) {
            // A mass is at most 1, to rounding.
            surprisals[start + place] = Surprisal { nats: -found.log_density.min(0.0), sd: found.sd };
        }
    }

    fn explain(&self, posterior: &Self::Posterior, row: RowsView<'_>) -> Option<Explanation> {
        let expected = || self.expected(posterior, row);
        Explanation::of_target(self, posterior, row, (&self.layout.schema, self.layout.task.target), expected)
    }

    fn learn(
        &self,
        posterior: &Self::Posterior,
        site: &PseudoEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<PseudoEvidence>, NotFinite> {
        let mut labels = posterior.labels.clone();
        let table = self.table(block.rows, |text| labels.meet(text));
        let placed = Placed::new(&self.layout, &table);
        let raw = Raw::new(&site.pseudo[0], &placed);
        let faded = if block.pace.retention == 1.0 { None } else { self.faded(posterior, site, block.pace.retention) };
        let (pseudo, coefficients) =
            faded.as_ref().map_or((&posterior.pseudo, &posterior.coefficients), |(pseudo, coefficients)| (pseudo, coefficients));
        let before = Before { units: &posterior.units, prior: self.prior(), pseudo, coefficients };
        let rows = Rows { placed: &placed, raw: &raw, times: &vec![block.pace.weight; table.len()] };
        let (sites, progress) = before.take(&self.target, &rows, None, self.config.inner_steps)?;
        let pseudo = statistics(&raw, &sites, &vec![1.0; table.len()], self.target.contrasts());
        let census = Census::of(&self.layout, block.rows, &table);
        if !(census.is_finite() && pseudo.iter().all(Joint::is_finite)) {
            return Err(NotFinite { quantity: "what the block says of the coefficients".into() });
        }
        let is_first = site.census.events == 0.0 || !site.first.sites.is_empty();
        let first = if is_first { First::new(table, sites) } else { First::default() };
        let mut evidence = block.pace.apply(site, PseudoEvidence { census, labels, pseudo, first });
        evidence.pseudo.iter_mut().for_each(Joint::settle);
        Ok(Learnt { evidence, progress })
    }

    fn reorganise(&self, rest: &PseudoEvidence, site: &mut PseudoEvidence) {
        if site.first.sites.is_empty() {
            return;
        }
        site.adopt(&rest.labels);
        if let Ok((pseudo, sites)) = self.learn_first(rest, site) {
            (site.pseudo, site.first.sites) = (pseudo, sites);
        }
        if site.first.times.len() >= ENOUGH {
            site.first = First::default();
        }
    }

    fn divergence(&self, posterior: &Self::Posterior) -> Option<f64> {
        Some(posterior.coefficients.kl())
    }

    /// Coefficients that the data say something of.
    fn active(&self, posterior: &Self::Posterior) -> usize {
        posterior.coefficients.axes().len()
    }

    fn columns(&self, evidence: &PseudoEvidence) -> Vec<ColumnSummary> {
        let (census, labels) = (&evidence.census, &evidence.labels);
        let distinct = (self.target.classes() > 0).then(|| labels.known());
        words::columns(&self.layout, census.events, |input| census.observed(input), &census.missing, distinct)
    }

    fn parts(&self, posterior: &Self::Posterior) -> Vec<Part> {
        let PseudoPosterior { labels, coefficients, .. } = posterior;
        words::coefficients(&self.layout, coefficients.axes(), &coefficients.coefficients(), labels)
    }
}
