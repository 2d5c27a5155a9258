//! What data say about a generalised linear model: pseudo-observations, and what has been seen of the columns.

use super::Layout;
use super::census::Census;
use super::first::First;
use super::joint::Joint;
use super::labels::{Labels, renumber_sites, renumber_sums};
use super::target::Target;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::models::Evidence;

/// What data say about a generalised linear model.
#[derive(Clone, Debug, PartialEq)]
pub struct PseudoEvidence {
    /// What has been seen of each column.
    pub(super) census: Census,
    /// Which texts the classes are.
    pub(super) labels: Labels,
    /// The joint moments of inputs and pseudo-targets, for each contrast.
    pub(super) pseudo: Vec<Joint>,
    /// Whose pseudo-observations are not final.
    pub(super) first: First,
}

impl PseudoEvidence {
    /// Of no events.
    pub(super) fn nothing(layout: &Layout, target: &impl Target) -> Self {
        Self {
            census: Census::nothing(layout),
            labels: Labels::new(target.classes()),
            pseudo: vec![Joint::nothing(layout.inputs()); target.contrasts()],
            first: First::default(),
        }
    }

    /// What [`tensors`](Evidence::tensors) gave.
    pub(super) fn restore(layout: &Layout, target: &impl Target, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let (inputs, contrasts) = (layout.inputs(), target.contrasts());
        let pseudo = (0..contrasts).map(|contrast| Joint::restore(&name(contrast, contrasts), inputs, reader));
        Ok(Self {
            census: Census::restore(layout, reader)?,
            labels: Labels::restore(target.classes(), reader)?,
            pseudo: pseudo.collect::<Result<_, _>>()?,
            first: First::restore(inputs, target, reader)?,
        })
    }

    /// Calls the classes as `labels` does, too.
    pub(super) fn adopt(&mut self, labels: &Labels) {
        let mut all = labels.clone();
        if let Some(moved) = all.absorb(&self.labels) {
            self.renumber(&moved);
        }
        self.labels = all;
    }

    fn renumber(&mut self, moved: &[usize]) {
        self.pseudo = renumber_sums(&self.pseudo, moved);
        self.first.table.targets.iter_mut().for_each(|class| *class = moved[*class as usize] as f64);
        self.first.sites = renumber_sites(&self.first.sites, moved);
    }
}

/// What a contrast's tensors are called.
fn name(contrast: usize, contrasts: usize) -> String {
    if contrasts == 1 { "joint".into() } else { format!("joint.{contrast}") }
}

impl Evidence for PseudoEvidence {
    fn add(&mut self, other: &Self) {
        let mut renumbered;
        let other = match self.labels.absorb(&other.labels) {
            None => other,
            Some(moved) => {
                renumbered = other.clone();
                renumbered.renumber(&moved);
                &renumbered
            }
        };
        self.census.add(&other.census);
        self.pseudo.iter_mut().zip(&other.pseudo).for_each(|(own, other)| own.add(other));
        self.first.add(&other.first);
    }

    fn scale(&mut self, factor: f64) {
        self.census.scale(factor);
        self.pseudo.iter_mut().for_each(|joint| joint.scale(factor));
        self.first.times.iter_mut().for_each(|times| *times *= factor);
    }

    fn events(&self) -> f64 {
        self.census.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let contrasts = self.pseudo.len();
        let joints = self.pseudo.iter().enumerate().flat_map(|(contrast, joint)| joint.tensors(&name(contrast, contrasts)));
        let others = self.census.tensors().into_iter().chain(self.labels.tensor()).chain(self.first.tensors(contrasts));
        others.chain(joints).collect()
    }
}
