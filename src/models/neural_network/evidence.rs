//! What a partition's events say: about the weights, the columns' units, the noise, and which classes there are.

use super::Network;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::inference::newton::Site;
use crate::inference::optimiser::State;
use crate::models::mixture::statistics::Moments;
use crate::models::vocabulary::Vocabulary;
use crate::models::{Evidence, memory};

/// Evidence of a network: everything adds, in the data's own units where it is about data.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkEvidence {
    /// Effective number of events with a target.
    pub(super) events: f64,
    /// Of each of the design's numbers, where it is there.
    pub(super) inputs: Vec<Moments>,
    /// Of the target, if it is a number or 0 or 1.
    pub(super) target: Moments,
    /// Effective number of events without a target, then without each category of the inputs.
    pub(super) missing: Vec<f64>,
    /// Squared distances of targets from what was expected, as far as not faded: their number and sum.
    pub(super) residuals: [f64; 2],
    /// Classes of the target that have been seen, if it is a category: slot k is output k + 1, and output 0 is any other.
    pub(super) vocabulary: Vocabulary,
    /// How often each output was the target.
    pub(super) classes: Vec<f64>,
    /// About the weights.
    pub(super) site: Site,
    /// What the steps of the weights remember; only a partition's own is of use.
    pub(super) memory: State<f64>,
    /// Rows of the last layer, the bias among them.
    pub(super) rows: usize,
}

impl NetworkEvidence {
    /// Of no events.
    pub(super) fn nothing(Network { layout, config, .. }: &Network) -> Self {
        let shape = layout.shape(0);
        let (rows, columns) = shape.layer(shape.layers() - 1);
        Self {
            events: 0.0,
            inputs: vec![Moments::default(); layout.inputs.width()],
            target: Moments::default(),
            missing: vec![0.0; 1 + layout.categories.len()],
            residuals: [0.0; 2],
            vocabulary: Vocabulary::default(),
            classes: vec![0.0; columns],
            site: Site::nothing(shape.parameters()),
            memory: config.rule.stepping.start(shape.parameters()),
            rows,
        }
    }

    /// Numbers the classes as `vocabulary` does, which has all of those known and perhaps more.
    pub(super) fn conform(&mut self, vocabulary: &Vocabulary) {
        let known = std::mem::replace(&mut self.vocabulary, vocabulary.clone());
        if known == *vocabulary {
            return;
        }
        let (before, after) = (self.classes.len(), vocabulary.len() + 1);
        let text = |column: usize| vocabulary.slot(known.text(column - 1)).expect("a vocabulary of all classes") + 1;
        let place = |column: usize| if column == 0 { 0 } else { text(column) };
        let mut classes = vec![0.0; after];
        (0..before).for_each(|column| classes[place(column)] = self.classes[column]);
        self.classes = classes;
        let State { first, second, .. } = &mut self.memory;
        for weights in
            [&mut self.site.curvature, &mut self.site.shift, first, second].into_iter().filter(|weights| !weights.is_empty())
        {
            *weights = rearranged(weights, self.rows, before, after, place);
        }
    }

    /// Adds what is numbered by class, of one numbering.
    fn add_aligned(&mut self, other: &Self) {
        self.classes.iter_mut().zip(&other.classes).for_each(|(ours, theirs)| *ours += theirs);
        self.site.add(&other.site);
    }

    /// Whether all numbers are finite.
    pub(super) fn is_finite(&self) -> bool {
        let moments = |m: &Moments| m.count.is_finite() && m.mean.is_finite() && m.scatter.is_finite();
        self.inputs.iter().chain([&self.target]).all(moments)
            && self.residuals.iter().chain(&self.classes).all(|x| x.is_finite())
            && self.site.is_finite()
            && self.memory.is_finite()
    }

    /// The evidence that [`Evidence::tensors`] has written down.
    pub(super) fn restore(network: &Network, tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let reader = Reader(tensors);
        let layout = &network.layout;
        let mut evidence = Self::nothing(network);
        let (texts, mut classes) = (reader.text("classes.texts")?, evidence.classes.len());
        if layout.is_category() {
            evidence.vocabulary = texts.iter().map(String::as_str).collect();
            classes = texts.len() + 1;
        }
        evidence.inputs = Moments::read(reader, "inputs", evidence.inputs.len())?;
        evidence.target = Moments::read(reader, "target", 1)?[0];
        evidence.missing = reader.at_least(0.0, "missing", &[evidence.missing.len()])?.to_vec();
        evidence.classes = reader.at_least(0.0, "classes.events", &[classes])?.to_vec();
        let parameters = layout.shape(evidence.vocabulary.len()).parameters();
        evidence.site.curvature = reader.at_least(0.0, "weights.curvature", &[parameters])?.to_vec();
        evidence.site.shift = reader.f64("weights.shift", &[parameters])?.to_vec();
        evidence.memory = memory::restore(reader, "weights", &network.config.rule.stepping.start(parameters))?;
        let sums = reader.at_least(0.0, "sums", &[4])?;
        (evidence.events, evidence.site.weight, evidence.residuals) = (sums[0], sums[1], [sums[2], sums[3]]);
        Ok(evidence)
    }
}

/// Weights whose last layer, at their end, has `rows` rows, with its columns in new places of more.
fn rearranged(weights: &[f64], rows: usize, before: usize, after: usize, place: impl Fn(usize) -> usize) -> Vec<f64> {
    let hidden = weights.len() - rows * before;
    let mut out = weights[..hidden].to_vec();
    out.resize(hidden + rows * after, 0.0);
    for (row, values) in weights[hidden..].chunks_exact(before).enumerate() {
        for (column, value) in values.iter().enumerate() {
            out[hidden + row * after + place(column)] = *value;
        }
    }
    out
}

impl Evidence for NetworkEvidence {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.inputs.iter_mut().zip(&other.inputs).for_each(|(ours, theirs)| ours.add(theirs));
        self.target.add(&other.target);
        self.missing.iter_mut().zip(&other.missing).for_each(|(ours, theirs)| *ours += theirs);
        self.residuals.iter_mut().zip(&other.residuals).for_each(|(ours, theirs)| *ours += theirs);
        let mut vocabulary = self.vocabulary.clone();
        if vocabulary.absorb(&other.vocabulary).is_none() && vocabulary == other.vocabulary {
            self.conform(&vocabulary);
            self.add_aligned(other);
        } else {
            self.conform(&vocabulary);
            let mut other = other.clone();
            other.conform(&vocabulary);
            self.add_aligned(&other);
        }
    }

    fn scale(&mut self, factor: f64) {
        self.events *= factor;
        for moments in self.inputs.iter_mut().chain([&mut self.target]) {
            moments.count *= factor;
            moments.scatter *= factor;
        }
        let sums = self.missing.iter_mut().chain(&mut self.residuals).chain(&mut self.classes);
        sums.for_each(|sum| *sum *= factor);
        self.site.scale(factor);
    }

    fn events(&self) -> f64 {
        self.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let moments = |of: &[Moments]| of.iter().flat_map(|m| [m.count, m.mean, m.scatter]).collect();
        let Site { weight, curvature, shift } = &self.site;
        let mut tensors = vec![
            Tensor::f64("inputs", &[self.inputs.len(), 3], moments(&self.inputs)),
            Tensor::f64("target", &[1, 3], moments(&[self.target])),
            Tensor::f64("missing", &[self.missing.len()], self.missing.clone()),
            Tensor::text("classes.texts", self.vocabulary.texts().map(str::to_owned).collect()),
            Tensor::f64("classes.events", &[self.classes.len()], self.classes.clone()),
            Tensor::f64("weights.curvature", &[curvature.len()], curvature.clone()),
            Tensor::f64("weights.shift", &[shift.len()], shift.clone()),
            Tensor::f64("sums", &[4], vec![self.events, *weight, self.residuals[0], self.residuals[1]]),
        ];
        tensors.extend(memory::tensors(&self.memory, "weights"));
        tensors
    }
}
