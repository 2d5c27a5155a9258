//! What goes along with every event as soon as it is scored, though it is learnt only with its block.
//!
//! A trail is a fold over the events of one partition, one after the other. A site keeps the trail as of the events that it covers; a
//! restart goes on from there.

use super::Setup;
use crate::calibration::{Alarm, Observation, Verdict};
use crate::checkpoint::{CheckpointError, Tensor};
use crate::drift::{Change, Origin, Regimes};
use crate::features::derive::Memory;
use crate::record::Head;

/// What the model makes of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// How extreme it is, in nats.
    pub extremity: f64,
    /// Standard deviation of its surprisal.
    pub sd: f64,
    /// Its [normal score](crate::calibration::Tail::normal_score), once it has one.
    pub normal_score: Option<f64>,
}

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
    /// it. `share` is this partition's of a budget by time; of an event that the model doesn't judge nothing is `judged`.
    pub fn follow(
        &mut self,
        setup: &Setup,
        head: &Head,
        cells: &[f64],
        judged: Option<Judged>,
        share: f64,
    ) -> (Verdict, Vec<Change>) {
        let Head { offset, timestamp_ms: time_ms, .. } = *head;
        let verdict = judged
            .map(|Judged { extremity, sd, .. }| self.alarm.advance(&setup.alerts, Observation { extremity, sd, time_ms, share }));
        let surprisal = judged.and_then(|judged| judged.normal_score).unwrap_or(f64::NAN);
        let changes = self.regimes.observe(&setup.watch, Origin { offset: offset.0, time_ms }, cells, surprisal);
        (verdict.unwrap_or_default(), changes)
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
