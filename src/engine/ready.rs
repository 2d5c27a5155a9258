//! A step: what was scored and learnt and is not yet final.
//!
//! The protocol of a step is its type: it borrows the engine, [`Ready::advance`] and [`Ready::abort`] consume it, and dropping it is
//! an abort. Learns nothing itself.

use std::collections::BTreeMap;

use super::{Engine, EngineError, Place, Score, Site};
use crate::models::{Model, NotFinite};
use crate::record::{Dead, Head, Offset, Partition, Run};

/// Blocks that were scored and not learnt, because a number would not have been finite, and those that were learnt in shorter steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refused {
    /// Events of the blocks not learnt.
    pub events: u64,
    /// Which number it was, in the last of them.
    pub cause: Option<NotFinite>,
    /// Blocks learnt in shorter steps than they asked for: see [`Progress::clipped`](crate::models::Progress::clipped).
    pub clipped: u64,
}

/// A run that was scored, in a step that is not yet final.
#[derive(Debug)]
pub struct Taken {
    run: Run,
    scores: Vec<Score>,
    /// Records before this one have committed scores.
    scored_to: Offset,
}

impl Taken {
    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Scores to publish: those of events that have no committed score yet.
    pub fn scores(&self) -> impl Iterator<Item = (&Head, &Score)> {
        self.run.heads.iter().zip(&self.scores).filter(|(head, _)| head.offset >= self.scored_to)
    }

    /// Dead letters to publish: those that have none committed yet.
    pub fn dead_letters(&self) -> impl Iterator<Item = &Dead> {
        self.run.dead.iter().filter(|dead| dead.head.offset >= self.scored_to)
    }
}

/// A step taken and not yet final. Publish what it says, then [`advance`](Self::advance) if the transaction was committed or
/// [`abort`](Self::abort) if it was not. Dropping it aborts.
#[derive(Debug)]
#[must_use = "a step is final only when it has advanced"]
pub struct Ready<'engine, M: Model> {
    engine: &'engine mut Engine<M>,
    /// Places as they were before the step.
    undo: BTreeMap<Partition, Place<M>>,
    taken: Vec<Taken>,
    refused: Refused,
    settled: bool,
}

impl<'engine, M: Model> Ready<'engine, M> {
    /// A step of `engine` in which nothing has been taken yet.
    pub(super) fn new(engine: &'engine mut Engine<M>) -> Self {
        Self { engine, undo: BTreeMap::new(), taken: Vec::new(), refused: Refused::default(), settled: false }
    }

    /// Scores a run and learns the blocks that it fills. After an error the step is as before.
    pub fn take(&mut self, run: Run) -> Result<&Taken, EngineError> {
        let partition = run.partition;
        let place = self.engine.places.get(&partition).ok_or(EngineError::NotAssigned { partition })?;
        if run.from < place.next {
            return Err(EngineError::OutOfOrder { partition, found: run.from, expected: place.next });
        }
        if let Some((found, expected)) = run.disorder() {
            return Err(EngineError::OutOfOrder { partition, found, expected });
        }
        let scored_to = place.scored_to;
        self.engine.settle()?;
        let place = &self.engine.places[&partition];
        self.undo.entry(partition).or_insert_with(|| place.clone());
        let scores = self.engine.take(&run, &mut self.refused);
        self.taken.push(Taken { run, scores, scored_to });
        Ok(&self.taken[self.taken.len() - 1])
    }

    /// Takes in the site that another instance has committed, as [`Engine::absorb`] does. It stays if the step is aborted, but for what a
    /// model that reconciles has made of it in the partitions of the step.
    pub fn absorb(&mut self, partition: Partition, site: Site<M::Evidence>) -> Result<(), NotFinite> {
        self.engine.absorb(partition, site)
    }

    /// Scores to publish, of all runs.
    pub fn scores(&self) -> impl Iterator<Item = (Partition, &Head, &Score)> {
        self.taken.iter().flat_map(|taken| taken.scores().map(|(head, score)| (taken.run.partition, head, score)))
    }

    /// Dead letters to publish, of all runs.
    pub fn dead_letters(&self) -> impl Iterator<Item = (Partition, &Dead)> {
        self.taken.iter().flat_map(|taken| taken.dead_letters().map(|dead| (taken.run.partition, dead)))
    }

    /// The engine, as the step has left it.
    pub fn engine(&self) -> &Engine<M> {
        self.engine
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.engine.model
    }

    /// Offsets to commit: one a partition, the first that has not been taken. Partitions whose site may be published are among them:
    /// with its offset, a snapshot is refused where the partition has another owner. So are those of which nothing was committed yet.
    pub fn consumed(&self) -> impl Iterator<Item = (Partition, Offset)> {
        let places = self.engine.places.iter();
        let concerned =
            places.filter(|(partition, place)| place.unpublished || !place.settled || self.undo.contains_key(partition));
        concerned.map(|(partition, place)| (*partition, place.next.max(place.scored_to)))
    }

    /// Sites that have changed since they were last published, of all partitions.
    pub fn unpublished(&self) -> impl Iterator<Item = (Partition, &Site<M::Evidence>)> {
        self.engine.places.iter().filter(|(_, place)| place.unpublished).map(|(partition, place)| (*partition, &place.site))
    }

    /// What was scored but not learnt.
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// The step was committed. `published` says whether [`unpublished`](Self::unpublished) sites were part of it.
    pub fn advance(mut self, published: bool) {
        self.settled = true;
        let consumed: Vec<_> = self.consumed().collect();
        for (partition, next) in consumed {
            let place = self.engine.places.get_mut(&partition).expect("assigned");
            (place.scored_to, place.settled) = (next, true);
        }
        if published {
            self.engine.places.values_mut().for_each(|place| place.unpublished = false);
        }
    }

    /// The step was not committed: the engine is as it was before it. Returns the offsets from which records are to come again.
    pub fn abort(self) -> Vec<(Partition, Offset)> {
        self.undo.iter().map(|(partition, place)| (*partition, place.next)).collect()
    }
}

impl<M: Model> Drop for Ready<'_, M> {
    fn drop(&mut self) {
        if !self.settled && !self.undo.is_empty() {
            self.engine.places.append(&mut self.undo);
            // What was absorbed meanwhile may not go with it: the next step says so.
            self.engine.stale = self.engine.refresh().is_err();
        }
    }
}
