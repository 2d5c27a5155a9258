//! The evidence of a forecast: series by key.
//!
//! A site has one map of its own, and a sum is the maps of all: a key belongs to one partition, so what there is to add up are different
//! series. Maps are persistent: a copy shares all series but those that have changed since.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::series::Series;
use super::tensors;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::models::Evidence;

/// Series of one site, by key.
type Map = RedBlackTreeMapSync<Arc<str>, Arc<Series>>;

/// What data say about series.
#[derive(Clone, Debug, Default)]
pub struct ForecastEvidence {
    /// One a site that has any.
    sites: Vec<Map>,
    /// Events with a target that were learnt, and those without one.
    events: f64,
    missing: f64,
}

impl PartialEq for ForecastEvidence {
    fn eq(&self, other: &Self) -> bool {
        (self.events, self.missing) == (other.events, other.missing) && self.union() == other.union()
    }
}

impl ForecastEvidence {
    /// The series of `key`. Where two sites have it, the one that has seen more of it.
    pub fn series(&self, key: &str) -> Option<&Series> {
        let found = self.sites.iter().filter_map(|site| site.get(key));
        found.map(|series| &**series).reduce(|one, other| if other.rows > one.rows { other } else { one })
    }

    /// All series.
    fn union(&self) -> Map {
        let Some((first, others)) = self.sites.split_first() else { return Map::new_sync() };
        let mut union = first.clone();
        for (key, series) in others.iter().flatten() {
            if union.get(key).is_none_or(|known| known.rows < series.rows) {
                union.insert_mut(key.clone(), series.clone());
            }
        }
        union
    }

    /// Each key and its series, in the order of keys.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<Series>)> {
        self.union().iter().map(|(key, series)| (key.clone(), series.clone())).collect()
    }

    /// Events with a target that were learnt.
    pub fn learnt(&self) -> f64 {
        self.events
    }

    /// Events without a target.
    pub fn missing(&self) -> f64 {
        self.missing
    }

    /// Counts an event without a target.
    pub fn miss(&mut self) {
        self.missing += 1.0;
    }

    /// Puts `series` in the place of the one of `key`. With more than `most` keys the one that was learnt longest ago goes.
    pub fn put(&mut self, key: &str, mut series: Series, most: usize) {
        if self.sites.len() != 1 {
            self.sites = vec![self.union()];
        }
        let map = &mut self.sites[0];
        self.events += 1.0;
        series.seen = self.events as u64;
        map.insert_mut(key.into(), Arc::new(series));
        if map.size() > most {
            let oldest = map.iter().min_by_key(|(_, series)| series.seen).map(|(key, _)| key.clone());
            map.remove_mut(&oldest.expect("more than none"));
        }
    }

    /// What [`tensors`](Evidence::tensors) gave.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let reader = Reader(tensors);
        let keys = reader.text("keys")?;
        let counts = reader.at_least(0.0, "events", &[2])?;
        let series = tensors::read(reader, keys.len())?;
        let pairs = keys.iter().zip(series).map(|(key, series)| (Arc::from(key.as_str()), Arc::new(series)));
        Ok(Self { sites: vec![pairs.collect()], events: counts[0], missing: counts[1] })
    }
}

impl Evidence for ForecastEvidence {
    fn add(&mut self, other: &Self) {
        self.sites.extend(other.sites.iter().filter(|site| !site.is_empty()).cloned());
        self.events += other.events;
        self.missing += other.missing;
    }

    /// A series forgets by itself, as its own evidence says.
    fn scale(&mut self, _factor: f64) {}

    fn events(&self) -> f64 {
        self.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let all = self.all();
        let keys = all.iter().map(|(key, _)| key.to_string()).collect();
        let series: Vec<&Series> = all.iter().map(|(_, series)| &**series).collect();
        let mut tensors = vec![Tensor::text("keys", keys), Tensor::f64("events", &[2], vec![self.events, self.missing])];
        tensors.extend(tensors::of(&series));
        tensors
    }
}
