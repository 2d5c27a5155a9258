//! Logistic and Poisson regression: a boolean or a count, with a full-covariance normal posterior over all coefficients.
//!
//! `p(y | η)` with `η = α + βᵀz`: a Bernoulli with `logit p = η`, or a Poisson with `ln rate = η`. Intercept and coefficients are
//! `N(0, prior_scale²)` a priori. Each block is taken in by the step that [`fit`](super::fit) describes, and evidence is what its
//! pseudo-observations add up to. The predictive is `∫ p(y | η) N(η; m, s²) dη` by quadrature.

use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::features::{RowsView, Schema, Task};
use crate::inference::likelihood::{Bernoulli, Likelihood, Poisson};
use crate::models::{Block, ColumnSummary, Evidence, Learnt, Model, NotFinite, Part, Surprisal};

use super::batch::{Raw, Table};
use super::census::Census;
use super::first::{ENOUGH, First};
use super::fit::{Before, PLAIN, Rows, Site, statistics};
use super::joint::Joint;
use super::predictor::{Predicted, Predictor, Prior};
use super::units::Units;
use super::words;
use super::{Layout, RegressionConfig, RegressionError};

/// A likelihood that a regression can have.
pub trait Target: Likelihood + Default {
    /// The model's name.
    const KIND: &'static str;
    /// The kind of column that it predicts.
    const COLUMN: &'static str;
}

impl Target for Bernoulli {
    const KIND: &'static str = "logistic_regression";
    const COLUMN: &'static str = "boolean";
}

impl Target for Poisson {
    const KIND: &'static str = "poisson_regression";
    const COLUMN: &'static str = "count";
}

/// A boolean from other columns.
pub type LogisticRegression = GeneralisedRegression<Bernoulli>;

/// A count from other columns.
pub type PoissonRegression = GeneralisedRegression<Poisson>;

/// A generalised linear model with one predictor (McCullagh & Nelder 1989).
#[derive(Clone, Debug)]
pub struct GeneralisedRegression<L> {
    layout: Layout,
    config: RegressionConfig,
    likelihood: L,
}

/// What data say about a generalised linear model.
#[derive(Clone, Debug, PartialEq)]
pub struct PseudoEvidence {
    /// What has been seen of each column.
    census: Census,
    /// The joint moments of inputs and pseudo-targets.
    pseudo: Joint,
    /// Whose pseudo-observations are not final.
    first: First,
}

impl Evidence for PseudoEvidence {
    fn add(&mut self, other: &Self) {
        self.census.add(&other.census);
        self.pseudo.add(&other.pseudo);
        self.first.add(&other.first);
    }

    fn scale(&mut self, factor: f64) {
        self.census.scale(factor);
        self.pseudo.scale(factor);
        self.first.times.iter_mut().for_each(|times| *times *= factor);
    }

    fn events(&self) -> f64 {
        self.census.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        [self.census.tensors(), self.pseudo.tensors(), self.first.tensors()].concat()
    }
}

/// q(α, β) of a generalised linear model.
#[derive(Clone, Debug)]
pub struct PseudoPosterior {
    units: Units,
    pseudo: Joint,
    pub(super) predictor: Predictor,
}

impl PseudoPosterior {
    /// Mean and variance of each active coefficient, in standard units and in the order of [`Model::parts`].
    pub fn coefficients(&self) -> Vec<Predicted> {
        self.predictor.coefficients()
    }

    /// The same of the predictor where every input is at its location.
    pub fn intercept(&self) -> Predicted {
        self.predictor.intercept()
    }
}

impl<L: Target> GeneralisedRegression<L> {
    /// The regression of `task`.
    pub fn new(schema: &Schema, task: &Task, config: RegressionConfig) -> Result<Self, RegressionError> {
        Ok(Self { layout: Layout::new(schema, task, L::COLUMN, &config)?, config, likelihood: L::default() })
    }

    fn prior(&self) -> Prior {
        let variance = self.config.prior_scale.powi(2);
        Prior { variance, intercept: 1.0 / variance }
    }

    /// Units and q of so much evidence.
    fn believe(&self, census: &Census, pseudo: &Joint) -> Result<(Units, Predictor), NotFinite> {
        if !(census.is_finite() && pseudo.is_finite()) {
            return Err(NotFinite { quantity: "the evidence".into() });
        }
        let units = Units::new(&self.layout, census.events, |input| census.observed(input));
        let predictor = Predictor::new(units.clone(), pseudo, PLAIN, self.prior())?;
        Ok((units, predictor))
    }

    /// Learns a partition's first events anew, given what all other partitions say.
    fn learn_first(&self, rest: &PseudoEvidence, site: &PseudoEvidence) -> Result<(Joint, Vec<Site>), NotFinite> {
        let mut census = rest.census.clone();
        census.add(&site.census);
        let (units, predictor) = self.believe(&census, &rest.pseudo)?;
        let before = Before { units: &units, prior: self.prior(), pseudo: &rest.pseudo, predictor: &predictor };
        let First { table, times, sites } = &site.first;
        let raw = Raw::new(&site.pseudo, table);
        let rows = Rows { table, raw: &raw, times };
        let (sites, _) = before.take(self.likelihood, &rows, Some(sites.clone()), self.config.inner_steps)?;
        let pseudo = statistics(&raw, &sites, times);
        if pseudo.is_finite() { Ok((pseudo, sites)) } else { Err(NotFinite { quantity: "the first events' evidence".into() }) }
    }
}

impl<L: Target> Model for GeneralisedRegression<L> {
    type Evidence = PseudoEvidence;
    type Posterior = PseudoPosterior;

    fn kind(&self) -> &'static str {
        L::KIND
    }

    fn fingerprint(&self) -> u64 {
        self.layout.fingerprint(self.kind())
    }

    fn nothing(&self) -> PseudoEvidence {
        let pseudo = Joint::nothing(self.layout.inputs());
        PseudoEvidence { census: Census::nothing(&self.layout), pseudo, first: First::default() }
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<PseudoEvidence, CheckpointError> {
        let reader = Reader(tensors);
        Ok(PseudoEvidence {
            census: Census::restore(&self.layout, reader)?,
            pseudo: Joint::restore(self.layout.inputs(), reader)?,
            first: First::restore(self.layout.inputs(), reader)?,
        })
    }

    fn posterior(&self, evidence: &PseudoEvidence) -> Result<PseudoPosterior, NotFinite> {
        let (units, predictor) = self.believe(&evidence.census, &evidence.pseudo)?;
        Ok(PseudoPosterior { units, pseudo: evidence.pseudo.clone(), predictor })
    }

    fn score(&self, posterior: &PseudoPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        let start = surprisals.len();
        surprisals.resize(start + rows.len(), Surprisal::default());
        let table = Table::new(&self.layout, rows);
        let predicted = posterior.predictor.predict(&table);
        for ((place, y), predicted) in table.places.iter().zip(&table.targets).zip(predicted) {
            let Predicted { mean, variance } = predicted.within_reach();
            let found = self.likelihood.predictive(*y, mean, variance);
            surprisals[start + place] = Surprisal { nats: -found.log_density, sd: found.sd };
        }
    }

    fn learn(
        &self,
        posterior: &PseudoPosterior,
        site: &PseudoEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<PseudoEvidence>, NotFinite> {
        let table = Table::new(&self.layout, block.rows);
        let raw = Raw::new(&site.pseudo, &table);
        let PseudoPosterior { units, pseudo, predictor } = posterior;
        let before = Before { units, prior: self.prior(), pseudo, predictor };
        let rows = Rows { table: &table, raw: &raw, times: &vec![block.pace.weight; table.len()] };
        let (sites, progress) = before.take(self.likelihood, &rows, None, self.config.inner_steps)?;
        let pseudo = statistics(&raw, &sites, &vec![1.0; table.len()]);
        let census = Census::of(&self.layout, block.rows, &table);
        if !(census.is_finite() && pseudo.is_finite()) {
            return Err(NotFinite { quantity: "what the block says of the coefficients".into() });
        }
        let is_first = site.census.events == 0.0 || !site.first.sites.is_empty();
        let first = if is_first { First::new(table, sites) } else { First::default() };
        let mut evidence = block.pace.apply(site, PseudoEvidence { census, pseudo, first });
        evidence.pseudo.settle();
        Ok(Learnt { evidence, progress })
    }

    fn reorganise(&self, rest: &PseudoEvidence, site: &mut PseudoEvidence) {
        if site.first.sites.is_empty() {
            return;
        }
        if let Ok((pseudo, sites)) = self.learn_first(rest, site) {
            (site.pseudo, site.first.sites) = (pseudo, sites);
        }
        if site.first.sites.len() >= ENOUGH {
            site.first = First::default();
        }
    }

    fn divergence(&self, posterior: &PseudoPosterior) -> Option<f64> {
        Some(posterior.predictor.kl(1.0))
    }

    /// Coefficients that the data say something of.
    fn active(&self, posterior: &PseudoPosterior) -> usize {
        posterior.predictor.axes.len()
    }

    fn columns(&self, evidence: &PseudoEvidence) -> Vec<ColumnSummary> {
        let census = &evidence.census;
        words::columns(&self.layout, census.events, |input| census.observed(input), &census.missing)
    }

    fn parts(&self, posterior: &PseudoPosterior) -> Vec<Part> {
        words::predictor(&self.layout, &posterior.predictor)
    }
}
