//! The engine: the posterior's state, and the step that scores events and learns them.
//!
//! Pure: records and positions come in, scores and evidence go out; clocks, network and threads are someone else's. State is a
//! fold over the log. The evidence of a partition is its *site*, and the posterior is the prior plus the sum of all sites.
//!
//! **Blocks.** An event is scored at once, by the posterior that has not seen it, and learnt when its block is full. Blocks are cut
//! by the number of events that the partition has taught so far ([`block_len`]), not by arrival, so the posterior is the same
//! function of the log however the records came in, and a restart relearns the very same blocks. A block is at most a 32nd of
//! what has been learnt before and is not forgotten, so the delay costs next to nothing.

mod cores;
mod fold;
mod forget;
mod others;
mod plausibility;
mod ready;
mod setup;
mod site;
mod time;
mod trail;

use std::collections::BTreeMap;

use crate::calibration::{Calibrator, Tail};
use crate::drift::Change;
use crate::features::derive::Memory;
use crate::features::{Rows, Schema};
use crate::inference::rule::Rule;
use crate::models::{Evidence, Explanation, Model, NotFinite, Prediction, Progress};
use crate::record::{Offset, Partition, Run};

use others::Others;

pub use forget::{separable, subtract};
pub use ready::{Ready, Refused, Taken};
pub use setup::{Explain, Setup};
pub use site::{Forgotten, Means, Site};
pub use time::{EventTime, RECENT};
pub use trail::{Judged, Trail};

/// How the engine learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learning {
    /// What a step keeps, and how much it counts what is new.
    pub rule: Rule,
    /// Events in a block at most.
    pub max_block: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Self { rule: Rule::default(), max_block: 256 }
    }
}

impl Learning {
    /// Events in the block that follows `learnt` events, of which no more count than are remembered.
    pub fn block_len(&self, learnt: u64) -> usize {
        block_len(self.rule.remembered(learnt), self.max_block)
    }
}

/// Events in the block that follows `learnt` events: the power of two at most `learnt / 32`, within `1..=max_block`.
pub fn block_len(learnt: u64, max_block: usize) -> usize {
    let share = (learnt / 32).max(1);
    (1_u64 << share.ilog2()).min(max_block as u64) as usize
}

/// What an event was found to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// `-ln p(event | everything before)`, in nats.
    pub surprisal: f64,
    /// Standard deviation of `-ln p(event | θ)` under the posterior, in nats: large where the model doesn't know yet.
    pub surprisal_sd: f64,
    /// Share of experience at least as surprising, in (0, 1].
    pub tail_probability: f64,
    /// Whether people are to be told.
    pub alert: bool,
    /// How severe the incident was that gets no worse with this event, in decades; 0 for any other event. See
    /// [`Verdict::severity`](crate::calibration::Verdict::severity).
    pub severity: f64,
    /// Of an alert: decades by which its surprise, as alerts are judged, is rarer than any. 0 for any other event.
    pub rarity: f64,
    /// Learning steps behind the posterior that scored.
    pub step: u64,
    /// What the model expected, if it predicts a number.
    pub prediction: Option<Prediction>,
    /// Which fields made the surprisal, where that was asked for.
    pub explanation: Option<Box<Explanation>>,
    /// Series that were found to be in another regime.
    pub changes: Vec<Change>,
}

/// A partition that this engine learns.
#[derive(Clone, Debug, PartialEq)]
struct Place<M: Model> {
    site: Site<M::Evidence>,
    /// As of the events scored.
    trail: Trail,
    /// The next record to come.
    next: Offset,
    /// Records before this one have committed scores: they are learnt, but not scored again.
    scored_to: Offset,
    /// Events scored and not yet learnt, with the surprisals of those that were judged.
    pending: Rows,
    surprisals: Vec<Option<f64>>,
    /// Times of the pending events that have one, in milliseconds since 1970.
    times: Vec<i64>,
    /// Where the first pending event stands.
    pending_from: Offset,
    /// Whether the site has changed since it was last published.
    unpublished: bool,
    /// Whether the consumer group has committed an offset.
    settled: bool,
}

/// q(θ) as of now, and what goes with it.
#[derive(Debug)]
struct Belief<M: Model> {
    posterior: M::Posterior,
    tail: Tail,
}

/// A Bayesian model that follows a log.
#[derive(Debug)]
pub struct Engine<M: Model> {
    model: M,
    setup: Setup,
    categories: Vec<usize>,
    width: usize,
    places: BTreeMap<Partition, Place<M>>,
    /// Sites of partitions that others learn.
    others: Others<M>,
    belief: Belief<M>,
    /// Whether sites of others have come that the belief doesn't know of.
    stale: bool,
    /// Learning steps behind the belief: those of all sites together.
    step: u64,
    /// How the latest step went, and how many events it learnt.
    progress: (Progress, f64),
}

/// Why the engine can't take what it was given. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// A run of a partition that is not assigned.
    #[error("records of partition {partition}, which is not assigned")]
    NotAssigned {
        /// The partition.
        partition: Partition,
    },
    /// A run that doesn't follow what came before: events would be lost or counted twice.
    #[error("partition {partition}: records from offset {found}, expected {expected} or later")]
    OutOfOrder {
        /// The partition.
        partition: Partition,
        /// First offset of the run.
        found: Offset,
        /// First offset that has not been taken.
        expected: Offset,
    },
    /// A snapshot that says more than was committed, which no replay explains.
    #[error(
        "partition {partition}: the snapshot covers offsets up to {covers_to}, but only those up to {committed} were committed; \
         posterior and offsets do not belong together. Another group has learnt under this model id, or the group's offset was set \
         back: set it to {covers_to} or later to go on from there, where what lies between is learnt unscored, or give the model \
         another id to begin anew"
    )]
    AheadOfCommit {
        /// The partition.
        partition: Partition,
        /// Where the snapshot ends.
        covers_to: Offset,
        /// What the consumer group has committed.
        committed: Offset,
    },
    /// A snapshot whose scores nobody can tell the end of.
    #[error(
        "partition {partition}: the snapshot covers offsets up to {covers_to}, but the group has no committed offset, so that what \
         was scored since isn't known. Offsets expire while a group is down, and another group has none: set the group's offset to \
         where scoring is to go on, {covers_to} or later, where what lies between is learnt unscored, or give the model another id \
         to begin anew"
    )]
    NothingCommitted {
        /// The partition.
        partition: Partition,
        /// Where the snapshot ends.
        covers_to: Offset,
    },
    /// A snapshot of an engine that derived other columns.
    #[error(
        "partition {partition}: the snapshot was made with the derived columns {found:?}, expected {expected:?}: write [[features]] as they \
         were, or give the model another id"
    )]
    OtherFeatures {
        /// The partition.
        partition: Partition,
        /// Those of the snapshot, in words.
        found: Vec<String>,
        /// Those of this engine, in words.
        expected: Vec<String>,
    },
    /// Evidence that gives no posterior.
    #[error("the posterior of the restored evidence cannot be computed: {0}")]
    NotFinite(#[from] NotFinite),
}

impl<M: Model> Engine<M> {
    /// An engine that knows the prior only.
    pub fn new(model: M, schema: &Schema, setup: impl Into<Setup>) -> Result<Self, EngineError> {
        let belief = Belief { posterior: model.posterior(&model.nothing())?, tail: Tail::default() };
        let (others, setup) = (Others::new(&model), setup.into());
        Ok(Self {
            model,
            categories: schema.categories(),
            width: schema.width() + setup.derivation.columns().len(),
            setup,
            places: BTreeMap::new(),
            others,
            belief,
            stale: false,
            step: 0,
            progress: (Progress::default(), 0.0),
        })
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// q(θ) as of now.
    pub fn posterior(&self) -> &M::Posterior {
        &self.belief.posterior
    }

    /// How the latest step went, and how many events it learnt, each as far as it was believed.
    pub fn progress(&self) -> (Progress, f64) {
        self.progress
    }

    /// The evidence of all partitions together.
    pub fn evidence(&self) -> M::Evidence {
        self.sum(self.sites().map(|(_, site)| site))
    }

    fn sum<'a>(&self, sites: impl Iterator<Item = &'a Site<M::Evidence>>) -> M::Evidence {
        sites.fold(self.model.nothing(), |mut sum, site| {
            sum.add(&site.evidence);
            sum
        })
    }

    /// The evidence of the partitions that this engine learns, and of all others.
    fn shares(&self) -> (M::Evidence, M::Evidence) {
        (self.sum(self.places.values().map(|place| &place.site)), self.others.evidence.clone())
    }

    /// All sites, those learnt here and those of others.
    pub fn sites(&self) -> impl Iterator<Item = (Partition, &Site<M::Evidence>)> {
        let own = self.places.iter().map(|(partition, place)| (*partition, &place.site));
        own.chain(self.others.sites.iter().map(|(partition, site)| (*partition, site)))
    }

    /// Decades of `−log10 p` from which an incident alerts, in the partition learnt here where that is least.
    pub fn alert_threshold(&self) -> Option<f64> {
        let share = 1.0 / self.sites().filter(|(_, site)| site.trail.alarm.events() > 0).count().max(1) as f64;
        let thresholds = self.places.values().map(|place| place.trail.alarm.threshold(&self.setup.alerts, share));
        thresholds.min_by(f64::total_cmp)
    }

    /// Events with a value since a watched series entered its regime, in the partition learnt here where these are fewest.
    pub fn youngest_regime(&self) -> Option<u64> {
        self.places.values().filter_map(|place| place.trail.regimes.youngest()).min()
    }

    /// Whether a site has changed since it was last published.
    pub fn has_unpublished(&self) -> bool {
        self.places.values().any(|place| place.unpublished)
    }

    /// Partitions of which the consumer group has committed nothing yet, and where each begins.
    pub fn unsettled(&self) -> impl Iterator<Item = (Partition, Offset)> {
        self.places.iter().filter(|(_, place)| !place.settled).map(|(partition, place)| (*partition, place.scored_to))
    }

    /// Where partitions begin was committed, of all that were [`unsettled`](Self::unsettled).
    pub fn begun(&mut self) {
        self.places.values_mut().for_each(|place| place.settled = true);
    }

    /// Partitions that this engine learns.
    pub fn assigned(&self) -> impl Iterator<Item = Partition> {
        self.places.keys().copied()
    }

    /// Takes a partition over and says from which offset its records are to come.
    ///
    /// `site` is its last committed snapshot, `committed` the consumer group's offset. Records between the two are learnt again
    /// without being scored again. Without a snapshot the partition begins at `initial`, or at what was committed before it.
    pub fn assign(
        &mut self,
        partition: Partition,
        site: Option<Site<M::Evidence>>,
        committed: Option<Offset>,
        initial: Offset,
    ) -> Result<Offset, EngineError> {
        let from = match (&site, committed) {
            (Some(site), Some(committed)) if site.covers_to > committed => {
                return Err(EngineError::AheadOfCommit { partition, covers_to: site.covers_to, committed });
            }
            (Some(site), Some(_)) => site.covers_to,
            (Some(site), None) => return Err(EngineError::NothingCommitted { partition, covers_to: site.covers_to }),
            (None, Some(committed)) => initial.min(committed),
            (None, None) => initial,
        };
        let site = site.unwrap_or_else(|| Site::new(self.model.nothing(), from));
        let mut trail = site.trail.clone();
        trail.regimes.follow(&self.setup.watch);
        let memory = self.setup.derivation.memory();
        if trail.memory.is_blank() && site.events == 0 {
            trail.memory = memory;
        } else if !trail.memory.is_of_the_same(&memory) {
            let words = |memory: &Memory| memory.formulas().to_vec();
            return Err(EngineError::OtherFeatures { partition, found: words(&trail.memory), expected: words(&memory) });
        }
        let place = Place {
            next: from,
            scored_to: committed.unwrap_or(from),
            pending: Rows::new(self.width),
            surprisals: Vec::new(),
            times: Vec::new(),
            pending_from: from,
            unpublished: false,
            trail,
            settled: committed.is_some(),
            site,
        };
        let other = self.others.sites.remove(&partition);
        let before = self.places.insert(partition, place);
        if let Err(error) = self.refresh() {
            // Put back what was there.
            match before {
                Some(place) => self.places.insert(partition, place),
                None => self.places.remove(&partition),
            };
            self.others.sites.extend(other.map(|site| (partition, site)));
            self.others.add_up(&self.model);
            return Err(error.into());
        }
        Ok(from)
    }

    /// Gives a partition up: from now on its evidence is whatever others publish.
    pub fn release(&mut self, partition: Partition) {
        if let Some(place) = self.places.remove(&partition) {
            self.others.insert(partition, place.site);
            self.stale = true;
        }
    }

    /// Takes in the site that another instance has committed. Sites of one's own partitions and older ones change nothing. The belief
    /// follows when it is next needed, or by [`settle`](Self::settle): many sites come between two runs of events.
    pub fn absorb(&mut self, partition: Partition, site: Site<M::Evidence>) -> Result<(), NotFinite> {
        // What was forgotten only grows, and going back for it makes a later site cover less.
        let age = |site: &Site<M::Evidence>| (site.forgotten.len(), site.covers_to);
        let newer = self.others.sites.get(&partition).is_none_or(|known| age(known) < age(&site));
        if self.places.contains_key(&partition) || !newer {
            return Ok(());
        }
        let before = self.others.insert(partition, site);
        self.stale = true;
        if !self.model.reconciles() {
            return Ok(());
        }
        self.others.add_up(&self.model);
        let (own, others) = self.shares();
        let news = &self.others.sites[&partition].evidence;
        let mut kept = Vec::with_capacity(self.places.len());
        for place in self.places.values_mut() {
            kept.push(place.site.evidence.clone());
            self.model.reconcile(&own, &others, news, &mut place.site.evidence);
        }
        self.refresh().inspect_err(|_| {
            self.others.sites.remove(&partition);
            self.others.sites.extend(before.map(|site| (partition, site)));
            self.places.values_mut().zip(kept).for_each(|(place, evidence)| place.site.evidence = evidence);
        })
    }

    /// Brings the belief up to what has been absorbed.
    pub fn settle(&mut self) -> Result<(), NotFinite> {
        if self.stale { self.refresh() } else { Ok(()) }
    }

    /// Recomputes the belief from all sites.
    fn refresh(&mut self) -> Result<(), NotFinite> {
        self.others.add_up(&self.model);
        let (own, others) = self.shares();
        let calibrators = self.places.values().map(|place| &place.site.calibrator);
        self.belief = self.believe(&own, &others, calibrators.chain([&self.others.calibrator]))?;
        self.step = self.sites().map(|(_, site)| site.step).sum();
        self.stale = false;
        Ok(())
    }

    fn believe<'a>(
        &self,
        own: &M::Evidence,
        others: &M::Evidence,
        calibrators: impl Iterator<Item = &'a Calibrator>,
    ) -> Result<Belief<M>, NotFinite> {
        Ok(Belief { posterior: self.model.belief(own, others)?, tail: Calibrator::sum(calibrators).tail() })
    }

    /// Opens a step, in which nothing has been taken yet.
    pub fn open(&mut self) -> Ready<'_, M> {
        Ready::new(self)
    }

    /// Scores and learns `runs`, in order, as one step. Nothing is final before [`Ready::advance`].
    pub fn step(&mut self, runs: Vec<Run>) -> Result<Ready<'_, M>, EngineError> {
        let mut ready = self.open();
        for run in runs {
            ready.take(run)?;
        }
        Ok(ready)
    }
}
