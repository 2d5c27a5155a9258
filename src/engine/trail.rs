//! What goes along with every event as soon as it is scored, though it is learnt only with its block.
//!
//! A trail is a fold over the events of one partition, one after the other. A site keeps the trail as of the events that it covers; a
//! restart goes on from there.

use super::Setup;
use crate::calibration::{Alarm, Observation, Verdict};
use crate::checkpoint::{CheckpointError, Tensor};
use crate::drift::{Change, Origin, Regimes};
use crate::features::derive::Memory;
use crate::models::Surprisal;
use crate::record::Head;

/// State that follows a partition event by event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// Decides which events people are told of.
    pub alarm: Alarm,
    /// The regimes of the series that are watched.
    pub regimes: Regimes,
    /// The past that derived columns look back at.
    pub memory: Memory,
}

impl Trail {
    /// Takes in the next event, of which `cells` are the columns: whether people are to be told of it, and which regimes have changed with
    /// it. `share` is this partition's of a budget by time; without a `surprisal` the model doesn't judge the event.
    pub fn follow(
        &mut self,
        setup: &Setup,
        head: &Head,
        cells: &[f64],
        surprisal: Option<Surprisal>,
        extremity: f64,
        share: f64,
    ) -> (Verdict, Vec<Change>) {
        let Head { offset, timestamp_ms: time_ms, .. } = *head;
        let judge = |Surprisal { sd, .. }| self.alarm.advance(&setup.alerts, Observation { extremity, sd, time_ms, share });
        let verdict = surprisal.map(judge).unwrap_or_default();
        let nats = surprisal.map_or(f64::NAN, |surprisal| surprisal.nats);
        (verdict, self.regimes.observe(&setup.watch, Origin { offset: offset.0, time_ms }, cells, nats))
    }

    /// The trail as named tensors, all that [`restore`](Self::restore) needs.
    pub fn tensors(&self) -> Vec<Tensor> {
        [self.alarm.tensors(), self.regimes.tensors(), self.memory.tensors()].concat()
    }

    /// The trail from the tensors that [`tensors`](Self::tensors) gave; from none, one that begins.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let (alarm, regimes) = (Alarm::restore(tensors)?, Regimes::restore(tensors)?);
        Ok(Self { alarm, regimes, memory: Memory::restore(tensors)? })
    }
}
