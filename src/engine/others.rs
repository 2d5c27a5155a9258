//! What other instances have learnt: their sites, and what these add up to.
//!
//! There may be hundreds. They are added up once for all that has come of them, not with each of them, nor with each run of events.

use std::collections::BTreeMap;

use super::Site;
use crate::calibration::Calibrator;
use crate::drift::Regimes;
use crate::features::derive::Memory;
use crate::models::{Evidence, Model};
use crate::record::Partition;

/// Sites of partitions that others learn.
#[derive(Debug)]
pub(super) struct Others<M: Model> {
    pub(super) sites: BTreeMap<Partition, Site<M::Evidence>>,
    /// What they add up to, as of the last [`add_up`](Self::add_up).
    pub(super) evidence: M::Evidence,
    pub(super) calibrator: Calibrator,
}

impl<M: Model> Others<M> {
    pub(super) fn new(model: &M) -> Self {
        Self { sites: BTreeMap::new(), evidence: model.nothing(), calibrator: Calibrator::default() }
    }

    /// Takes a site in and returns the one before. What it looks back at is of no use here, and can be large.
    pub(super) fn insert(&mut self, partition: Partition, mut site: Site<M::Evidence>) -> Option<Site<M::Evidence>> {
        (site.trail.regimes, site.trail.memory) = (Regimes::default(), Memory::default());
        self.sites.insert(partition, site)
    }

    pub(super) fn add_up(&mut self, model: &M) {
        self.evidence = model.nothing();
        self.sites.values().for_each(|site| self.evidence.add(&site.evidence));
        self.calibrator = Calibrator::sum(self.sites.values().map(|site| &site.calibrator));
    }
}
