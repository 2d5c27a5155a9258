//! What goes along with every event as soon as it is scored, though it is learnt only with its block.
//!
//! A trail is a fold over the events of one partition, one after the other. A site keeps the trail as of the events that it covers; a
//! restart goes on from there.

use crate::calibration::Alarm;
use crate::checkpoint::{CheckpointError, Tensor};
use crate::drift::Regimes;
use crate::features::derive::Memory;

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
