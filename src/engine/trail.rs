//! What goes along with every event as soon as it is scored, though it is learnt only with its block.
//!
//! A trail is a fold over the events of one partition, one after the other. A site keeps the trail as of the events that it covers; a
//! restart goes on from there.

use crate::checkpoint::{CheckpointError, Tensor};

/// State that follows a partition event by event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {}

impl Trail {
    /// The trail as named tensors, all that [`restore`](Self::restore) needs.
    pub fn tensors(&self) -> Vec<Tensor> {
        Vec::new()
    }

    /// The trail from the tensors that [`tensors`](Self::tensors) gave.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let _ = tensors;
        Ok(Self {})
    }
}
