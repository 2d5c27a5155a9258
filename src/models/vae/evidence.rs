//! What a partition's events say: about the decoder, the encoder's weights, the columns' units, their noise, and which texts there are.

use std::collections::BTreeMap;

use super::Vae;
use super::columns::{Column, Likelihood};
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::dist::lanes;
use crate::features::Schema;
use crate::inference::newton::Site;
use crate::inference::optimiser::State;
use crate::models::mixture::statistics::Moments;
use crate::models::{ColumnSummary, Evidence, memory};

/// Evidence of an autoencoder: everything adds, in the data's own units where it is about data.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeEvidence {
    /// Effective number of events.
    pub(super) events: f64,
    /// Of each of the design's numbers, where it is there.
    pub(super) inputs: Vec<Moments>,
    /// Of each column's values, where they are numbers, counts or booleans; of a category how many there were.
    pub(super) columns: Vec<Moments>,
    /// How often each column was missing.
    pub(super) missing: Vec<f64>,
    /// Squared distances of numbers from what was expected, as far as not faded: number and sum.
    pub(super) residuals: Vec<[f64; 2]>,
    /// How often each text has come, for each category.
    pub(super) texts: Vec<BTreeMap<String, f64>>,
    /// About the decoder's weights.
    pub(super) decoder: Site,
    /// What its steps remember; only a partition's own is of use.
    pub(super) memory: State<f64>,
    /// The encoder's weights, weighed by events: their mean over partitions is what is used.
    pub(super) encoder: Vec<f64>,
    /// What its optimiser remembers; again only a partition's own is of use.
    pub(super) optimiser: State<f64>,
}

impl VaeEvidence {
    /// Of no events.
    pub(super) fn nothing(vae: &Vae) -> Self {
        let of_kind = |wanted: fn(&Likelihood) -> bool| vae.columns.iter().filter(|column| wanted(&column.likelihood)).count();
        let parameters = vae.encoder.parameters();
        Self {
            events: 0.0,
            inputs: vec![Moments::default(); vae.inputs.width()],
            columns: vec![Moments::default(); vae.columns.len()],
            missing: vec![0.0; vae.columns.len()],
            residuals: vec![[0.0; 2]; of_kind(|likelihood| matches!(likelihood, Likelihood::Normal { .. }))],
            texts: vec![BTreeMap::new(); of_kind(|likelihood| matches!(likelihood, Likelihood::Softmax { .. }))],
            decoder: Site::nothing(vae.decoder.parameters()),
            memory: vae.config.rule.stepping.start(vae.decoder.parameters()),
            encoder: vec![0.0; parameters],
            optimiser: vae.config.encoder.start(parameters),
        }
    }

    /// Whether all numbers are finite.
    pub(super) fn is_finite(&self) -> bool {
        let moments = |m: &Moments| m.count.is_finite() && m.mean.is_finite() && m.scatter.is_finite();
        self.inputs.iter().chain(&self.columns).all(moments)
            && lanes::all_finite(self.residuals.as_flattened())
            && lanes::all_finite(&self.encoder)
            && self.decoder.is_finite()
            && self.memory.is_finite()
    }

    /// A column in words.
    pub(super) fn summary(&self, schema: &Schema, index: usize, column: &Column) -> ColumnSummary {
        let of = &schema.columns()[column.cell];
        let (moments, category) = (self.columns[index], matches!(column.likelihood, Likelihood::Softmax { .. }));
        let measured = moments.count > 0.0 && !category;
        ColumnSummary {
            name: of.name.clone(),
            kind: of.kind.name(),
            observed: moments.count,
            missing: self.missing[index],
            mean: measured.then_some(moments.mean),
            standard_deviation: (measured && column.likelihood != Likelihood::Bernoulli)
                .then(|| (moments.scatter / moments.count).sqrt()),
            distinct: category.then(|| self.texts[column.rank].len()),
        }
    }

    /// The evidence that [`Evidence::tensors`] has written down.
    pub(super) fn restore(vae: &Vae, tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let reader = Reader(tensors);
        let mut evidence = Self::nothing(vae);
        evidence.inputs = Moments::read(reader, "inputs", evidence.inputs.len())?;
        evidence.columns = Moments::read(reader, "columns", evidence.columns.len())?;
        evidence.missing = reader.at_least(0.0, "missing", &[evidence.missing.len()])?.to_vec();
        let residuals = reader.at_least(0.0, "residuals", &[evidence.residuals.len(), 2])?;
        evidence.residuals = residuals.chunks_exact(2).map(|row| [row[0], row[1]]).collect();
        for (index, texts) in evidence.texts.iter_mut().enumerate() {
            let names = reader.text(&format!("texts.{index}"))?;
            let counts = reader.at_least(0.0, &format!("texts.{index}.events"), &[names.len()])?;
            *texts = names.iter().cloned().zip(counts.iter().copied()).collect();
        }
        let (decoder, encoder) = (evidence.decoder.shift.len(), evidence.encoder.len());
        evidence.decoder.curvature = reader.at_least(0.0, "decoder.curvature", &[decoder])?.to_vec();
        evidence.decoder.shift = reader.f64("decoder.shift", &[decoder])?.to_vec();
        evidence.encoder = reader.f64("encoder", &[encoder])?.to_vec();
        evidence.memory = memory::restore(reader, "decoder", &evidence.memory)?;
        evidence.optimiser = memory::restore(reader, "encoder", &evidence.optimiser)?;
        let sums = reader.at_least(0.0, "sums", &[2])?;
        (evidence.events, evidence.decoder.weight) = (sums[0], sums[1]);
        Ok(evidence)
    }
}

impl Evidence for VaeEvidence {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        let moments = self.inputs.iter_mut().chain(&mut self.columns).zip(other.inputs.iter().chain(&other.columns));
        moments.for_each(|(sum, more)| sum.add(more));
        lanes::add(&mut self.missing, &other.missing);
        lanes::add(self.residuals.as_flattened_mut(), other.residuals.as_flattened());
        lanes::add(&mut self.encoder, &other.encoder);
        for (texts, more) in self.texts.iter_mut().zip(&other.texts) {
            more.iter().for_each(|(text, count)| *texts.entry(text.clone()).or_default() += count);
        }
        self.decoder.add(&other.decoder);
    }

    fn scale(&mut self, factor: f64) {
        self.events *= factor;
        for moments in self.inputs.iter_mut().chain(&mut self.columns) {
            moments.count *= factor;
            moments.scatter *= factor;
        }
        self.encoder.iter_mut().for_each(|sum| *sum *= factor);
        let sums = self.missing.iter_mut().chain(self.residuals.as_flattened_mut());
        sums.chain(self.texts.iter_mut().flat_map(BTreeMap::values_mut)).for_each(|sum| *sum *= factor);
        self.decoder.scale(factor);
    }

    fn events(&self) -> f64 {
        self.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let moments = |name: &str, of: &[Moments]| {
            Tensor::f64(name, &[of.len(), 3], of.iter().flat_map(|m| [m.count, m.mean, m.scatter]).collect())
        };
        let list = |name: &str, values: &[f64]| Tensor::f64(name, &[values.len()], values.to_vec());
        let mut tensors = vec![
            moments("inputs", &self.inputs),
            moments("columns", &self.columns),
            list("missing", &self.missing),
            Tensor::f64("residuals", &[self.residuals.len(), 2], self.residuals.as_flattened().to_vec()),
            list("decoder.curvature", &self.decoder.curvature),
            list("decoder.shift", &self.decoder.shift),
            list("encoder", &self.encoder),
            list("sums", &[self.events, self.decoder.weight]),
        ];
        tensors.extend(memory::tensors(&self.memory, "decoder"));
        tensors.extend(memory::tensors(&self.optimiser, "encoder"));
        for (index, texts) in self.texts.iter().enumerate() {
            tensors.push(Tensor::text(format!("texts.{index}"), texts.keys().cloned().collect()));
            let counts: Vec<f64> = texts.values().copied().collect();
            tensors.push(Tensor::f64(format!("texts.{index}.events"), &[counts.len()], counts));
        }
        tensors
    }
}
