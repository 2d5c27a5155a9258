//! A model of any kind behind one type: what the program is put together from, where the kind is known only from the configuration.
//!
//! One virtual call a block. Evidence and posteriors of different models never meet, so a mismatch is a defect and panics.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::{Block, ColumnSummary, Evidence, Explanation, Learnt, Model, NotFinite, Part, Prediction, Surprisal};
use crate::checkpoint::{CheckpointError, Tensor};
use crate::features::{Rows, RowsView};
use crate::noise::Noise;

/// A model of some kind.
#[derive(Clone, Debug)]
pub struct AnyModel(Arc<dyn DynModel>);

/// Evidence of some model.
#[derive(Debug)]
pub struct AnyEvidence(Box<dyn DynEvidence>);

/// q(θ) of some model.
#[derive(Debug)]
pub struct AnyPosterior(Box<dyn DynPosterior>);

impl AnyModel {
    /// `model`, its type forgotten.
    pub fn new(model: impl Model) -> Self {
        Self(Arc::new(model))
    }
}

trait DynEvidence: Debug + Send + Sync {
    fn clone_box(&self) -> Box<dyn DynEvidence>;
    fn same(&self, other: &dyn DynEvidence) -> bool;
    fn add_dyn(&mut self, other: &dyn DynEvidence);
    fn scale_dyn(&mut self, factor: f64);
    fn subtract_dyn(&mut self, other: &dyn DynEvidence) -> bool;
    fn events_dyn(&self) -> f64;
    fn gathered_dyn(&self) -> f64;
    fn tensors_dyn(&self) -> Vec<Tensor>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<E: Evidence> DynEvidence for E {
    fn clone_box(&self) -> Box<dyn DynEvidence> {
        Box::new(self.clone())
    }

    fn same(&self, other: &dyn DynEvidence) -> bool {
        self == evidence::<E>(other)
    }

    fn add_dyn(&mut self, other: &dyn DynEvidence) {
        self.add(evidence(other));
    }

    fn scale_dyn(&mut self, factor: f64) {
        self.scale(factor);
    }

    fn subtract_dyn(&mut self, other: &dyn DynEvidence) -> bool {
        self.subtract(evidence(other))
    }

    fn events_dyn(&self) -> f64 {
        self.events()
    }

    fn gathered_dyn(&self) -> f64 {
        self.gathered()
    }

    fn tensors_dyn(&self) -> Vec<Tensor> {
        self.tensors()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

fn evidence<E: Evidence>(of: &dyn DynEvidence) -> &E {
    of.as_any().downcast_ref().expect("evidence of this model")
}

trait DynPosterior: Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
}

impl<P: Debug + Send + Sync + 'static> DynPosterior for P {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn posterior<M: Model>(of: &AnyPosterior) -> &M::Posterior {
    // Not the box itself, which has this method as well.
    (*of.0).as_any().downcast_ref().expect("a posterior of this model")
}

impl Clone for AnyEvidence {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl PartialEq for AnyEvidence {
    fn eq(&self, other: &Self) -> bool {
        self.0.same(&*other.0)
    }
}

impl Evidence for AnyEvidence {
    fn add(&mut self, other: &Self) {
        self.0.add_dyn(&*other.0);
    }

    fn scale(&mut self, factor: f64) {
        self.0.scale_dyn(factor);
    }

    fn subtract(&mut self, other: &Self) -> bool {
        self.0.subtract_dyn(&*other.0)
    }

    fn events(&self) -> f64 {
        self.0.events_dyn()
    }

    fn gathered(&self) -> f64 {
        self.0.gathered_dyn()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.0.tensors_dyn()
    }
}

trait DynModel: Debug + Send + Sync {
    fn kind_dyn(&self) -> &'static str;
    fn fingerprint_dyn(&self) -> u64;
    fn nothing_dyn(&self) -> AnyEvidence;
    fn restore_dyn(&self, tensors: &[Tensor]) -> Result<AnyEvidence, CheckpointError>;
    fn posterior_dyn(&self, evidence: &AnyEvidence) -> Result<AnyPosterior, NotFinite>;
    fn belief_dyn(&self, own: &AnyEvidence, others: &AnyEvidence) -> Result<AnyPosterior, NotFinite>;
    fn reconcile_dyn(&self, own: &AnyEvidence, others: &AnyEvidence, news: &AnyEvidence, site: &mut AnyEvidence);
    fn reconciles_dyn(&self) -> bool;
    fn judges_dyn(&self, row: &[f64]) -> bool;
    fn score_dyn(&self, posterior: &AnyPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>);
    fn multiplications_dyn(&self) -> usize;
    fn scales_dyn(&self, posterior: &AnyPosterior) -> Vec<(usize, f64)>;
    fn predict_dyn(&self, posterior: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>>;
    fn extremity_dyn(&self, posterior: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<f64>>;
    fn explain_dyn(&self, posterior: &AnyPosterior, row: RowsView<'_>) -> Option<Explanation>;
    fn shuns_doubted_dyn(&self) -> bool;
    fn credence_dyn(&self, posterior: &AnyPosterior, row: &[f64], weight: f64) -> f64;
    fn learn_dyn(&self, posterior: &AnyPosterior, site: &AnyEvidence, block: Block<'_>)
    -> Result<Learnt<AnyEvidence>, NotFinite>;
    fn contribution_dyn(&self, site: &AnyEvidence, rows: RowsView<'_>) -> Option<AnyEvidence>;
    fn reorganise_dyn(&self, rest: &AnyEvidence, site: &mut AnyEvidence);
    fn divergence_dyn(&self, posterior: &AnyPosterior) -> Option<f64>;
    fn sample_dyn(&self, posterior: &AnyPosterior, noise: Noise, count: usize) -> Option<Rows>;
    fn memory_dyn(&self, posterior: &AnyPosterior) -> Vec<(f64, f64)>;
    fn active_dyn(&self, posterior: &AnyPosterior) -> usize;
    fn columns_dyn(&self, evidence: &AnyEvidence) -> Vec<ColumnSummary>;
    fn parts_dyn(&self, posterior: &AnyPosterior) -> Vec<Part>;
}

impl<M: Model> DynModel for M {
    fn kind_dyn(&self) -> &'static str {
        self.kind()
    }

    fn fingerprint_dyn(&self) -> u64 {
        self.fingerprint()
    }

    fn nothing_dyn(&self) -> AnyEvidence {
        AnyEvidence(Box::new(self.nothing()))
    }

    fn restore_dyn(&self, tensors: &[Tensor]) -> Result<AnyEvidence, CheckpointError> {
        Ok(AnyEvidence(Box::new(self.restore(tensors)?)))
    }

    fn posterior_dyn(&self, of: &AnyEvidence) -> Result<AnyPosterior, NotFinite> {
        Ok(AnyPosterior(Box::new(self.posterior(evidence(&*of.0))?)))
    }

    fn belief_dyn(&self, own: &AnyEvidence, others: &AnyEvidence) -> Result<AnyPosterior, NotFinite> {
        Ok(AnyPosterior(Box::new(self.belief(evidence(&*own.0), evidence(&*others.0))?)))
    }

    fn reconcile_dyn(&self, own: &AnyEvidence, others: &AnyEvidence, news: &AnyEvidence, site: &mut AnyEvidence) {
        let site = site.0.as_any_mut().downcast_mut().expect("evidence of this model");
        self.reconcile(evidence(&*own.0), evidence(&*others.0), evidence(&*news.0), site);
    }

    fn reconciles_dyn(&self) -> bool {
        self.reconciles()
    }

    fn judges_dyn(&self, row: &[f64]) -> bool {
        self.judges(row)
    }

    fn multiplications_dyn(&self) -> usize {
        self.multiplications()
    }

    fn score_dyn(&self, of: &AnyPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        self.score(posterior::<M>(of), rows, surprisals);
    }

    fn scales_dyn(&self, of: &AnyPosterior) -> Vec<(usize, f64)> {
        self.scales(posterior::<M>(of))
    }

    fn predict_dyn(&self, of: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        self.predict(posterior::<M>(of), rows)
    }

    fn extremity_dyn(&self, of: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<f64>> {
        self.extremity(posterior::<M>(of), rows)
    }

    fn explain_dyn(&self, of: &AnyPosterior, row: RowsView<'_>) -> Option<Explanation> {
        self.explain(posterior::<M>(of), row)
    }

    fn shuns_doubted_dyn(&self) -> bool {
        self.shuns_doubted()
    }

    fn credence_dyn(&self, of: &AnyPosterior, row: &[f64], weight: f64) -> f64 {
        self.credence(posterior::<M>(of), row, weight)
    }

    fn learn_dyn(&self, of: &AnyPosterior, site: &AnyEvidence, block: Block<'_>) -> Result<Learnt<AnyEvidence>, NotFinite> {
        let Learnt { evidence, progress } = self.learn(posterior::<M>(of), evidence(&*site.0), block)?;
        Ok(Learnt { evidence: AnyEvidence(Box::new(evidence)), progress })
    }

    fn contribution_dyn(&self, site: &AnyEvidence, rows: RowsView<'_>) -> Option<AnyEvidence> {
        Some(AnyEvidence(Box::new(self.contribution(evidence(&*site.0), rows)?)))
    }

    fn reorganise_dyn(&self, rest: &AnyEvidence, site: &mut AnyEvidence) {
        let site = site.0.as_any_mut().downcast_mut().expect("evidence of this model");
        self.reorganise(evidence(&*rest.0), site);
    }

    fn divergence_dyn(&self, of: &AnyPosterior) -> Option<f64> {
        self.divergence(posterior::<M>(of))
    }

    fn sample_dyn(&self, of: &AnyPosterior, noise: Noise, count: usize) -> Option<Rows> {
        self.sample(posterior::<M>(of), noise, count)
    }

    fn memory_dyn(&self, of: &AnyPosterior) -> Vec<(f64, f64)> {
        self.memory(posterior::<M>(of))
    }

    fn active_dyn(&self, of: &AnyPosterior) -> usize {
        self.active(posterior::<M>(of))
    }

    fn columns_dyn(&self, of: &AnyEvidence) -> Vec<ColumnSummary> {
        self.columns(evidence(&*of.0))
    }

    fn parts_dyn(&self, of: &AnyPosterior) -> Vec<Part> {
        self.parts(posterior::<M>(of))
    }
}

impl Model for AnyModel {
    type Evidence = AnyEvidence;
    type Posterior = AnyPosterior;

    fn kind(&self) -> &'static str {
        self.0.kind_dyn()
    }

    fn fingerprint(&self) -> u64 {
        self.0.fingerprint_dyn()
    }

    fn nothing(&self) -> AnyEvidence {
        self.0.nothing_dyn()
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<AnyEvidence, CheckpointError> {
        self.0.restore_dyn(tensors)
    }

    fn posterior(&self, evidence: &AnyEvidence) -> Result<AnyPosterior, NotFinite> {
        self.0.posterior_dyn(evidence)
    }

    fn belief(&self, own: &AnyEvidence, others: &AnyEvidence) -> Result<AnyPosterior, NotFinite> {
        self.0.belief_dyn(own, others)
    }

    fn reconcile(&self, own: &AnyEvidence, others: &AnyEvidence, news: &AnyEvidence, site: &mut AnyEvidence) {
        self.0.reconcile_dyn(own, others, news, site);
    }

    fn reconciles(&self) -> bool {
        self.0.reconciles_dyn()
    }

    fn judges(&self, row: &[f64]) -> bool {
        self.0.judges_dyn(row)
    }

    fn multiplications(&self) -> usize {
        self.0.multiplications_dyn()
    }

    fn score(&self, posterior: &AnyPosterior, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        self.0.score_dyn(posterior, rows, surprisals);
    }

    fn scales(&self, posterior: &AnyPosterior) -> Vec<(usize, f64)> {
        self.0.scales_dyn(posterior)
    }

    fn predict(&self, posterior: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<Option<Prediction>>> {
        self.0.predict_dyn(posterior, rows)
    }

    fn extremity(&self, posterior: &AnyPosterior, rows: RowsView<'_>) -> Option<Vec<f64>> {
        self.0.extremity_dyn(posterior, rows)
    }

    fn explain(&self, posterior: &AnyPosterior, row: RowsView<'_>) -> Option<Explanation> {
        self.0.explain_dyn(posterior, row)
    }

    fn shuns_doubted(&self) -> bool {
        self.0.shuns_doubted_dyn()
    }

    fn credence(&self, posterior: &AnyPosterior, row: &[f64], weight: f64) -> f64 {
        self.0.credence_dyn(posterior, row, weight)
    }

    fn learn(&self, posterior: &AnyPosterior, site: &AnyEvidence, block: Block<'_>) -> Result<Learnt<AnyEvidence>, NotFinite> {
        self.0.learn_dyn(posterior, site, block)
    }

    fn contribution(&self, site: &AnyEvidence, rows: RowsView<'_>) -> Option<AnyEvidence> {
        self.0.contribution_dyn(site, rows)
    }

    fn reorganise(&self, rest: &AnyEvidence, site: &mut AnyEvidence) {
        self.0.reorganise_dyn(rest, site);
    }

    fn divergence(&self, posterior: &AnyPosterior) -> Option<f64> {
        self.0.divergence_dyn(posterior)
    }

    fn sample(&self, posterior: &AnyPosterior, noise: Noise, count: usize) -> Option<Rows> {
        self.0.sample_dyn(posterior, noise, count)
    }

    fn memory(&self, posterior: &AnyPosterior) -> Vec<(f64, f64)> {
        self.0.memory_dyn(posterior)
    }

    fn active(&self, posterior: &AnyPosterior) -> usize {
        self.0.active_dyn(posterior)
    }

    fn columns(&self, evidence: &AnyEvidence) -> Vec<ColumnSummary> {
        self.0.columns_dyn(evidence)
    }

    fn parts(&self, posterior: &AnyPosterior) -> Vec<Part> {
        self.0.parts_dyn(posterior)
    }
}
