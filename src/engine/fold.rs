//! A run through the engine: events are scored, followed, and learnt block by block.

use super::{Engine, Explain, Judged, Place, Refused, Score, cores, plausibility};
use crate::calibration::{Alarm, Calibrator, Verdict};
use crate::features::derive::About;
use crate::features::{Rows, RowsView};
use crate::models::{Block, Evidence, Learnt, Model, Progress, Surprisal};
use crate::noise::Noise;
use crate::record::{Head, Offset, Partition, Run};

/// The seed of the draws that normal scores take.
const NORMAL_SCORES: u64 = 0x5c0e;

impl<M: Model> Engine<M> {
    /// Scores a run and learns the blocks that it fills.
    pub(super) fn take(&mut self, run: &Run, refused: &mut Refused) -> Vec<Score> {
        let mut scores = Vec::with_capacity(run.heads.len());
        let rest = Rest::of(self, run.partition);
        let mut place = self.places.remove(&run.partition).expect("checked: the partition is assigned");
        let others: Vec<&Alarm> = self.sites().map(|(_, site)| &site.trail.alarm).filter(|alarm| alarm.events() > 0).collect();
        place.trail.alarm.inherit(&others);
        // A budget by time is split evenly among the partitions that have events.
        let share = 1.0 / (1 + others.len()) as f64;
        let (mut wide, mut start) = (Vec::new(), 0);
        while start < run.heads.len() {
            let block = self.setup.learning.block_len(place.site.events);
            let most = run.heads.len().min(start + block - place.surprisals.len());
            let (forgotten, count) = place.site.stretch(&run.heads[start..most]);
            let end = start + count;
            let rows = run.rows.view().slice(start..end);
            let rows = if self.setup.derivation.is_empty() {
                rows
            } else {
                wide.clear();
                let about =
                    run.heads[start..end].iter().map(|head| About { key: head.key.as_deref(), time_ms: head.timestamp_ms });
                self.setup.derivation.derive(&mut place.trail.memory, rows, about, !forgotten, &mut wide);
                rows.with_cells(self.width, &wide)
            };
            let (told, surprisals) = self.score(&mut place, &run.heads[start..end], rows, (!forgotten).then_some(share));
            scores.extend(told);
            // What is to be forgotten is scored like any event, and leaves no trace in what is learnt.
            if forgotten {
                start = end;
                continue;
            }
            let whole = place.surprisals.is_empty() && end - start == block;
            if place.surprisals.is_empty() {
                place.pending_from = run.heads[start].offset;
            }
            place.surprisals.extend(surprisals);
            place.times.extend(run.heads[start..end].iter().filter_map(|head: &Head| head.timestamp_ms));
            if !whole {
                place.pending.extend(rows, &self.categories);
            }
            if place.surprisals.len() == block {
                let covers_to = run.heads[end - 1].offset.next();
                let pending = std::mem::replace(&mut place.pending, Rows::new(self.width));
                let rows = if whole { rows } else { pending.view() };
                self.learn(run.partition, &mut place, &rest, rows, covers_to, refused);
                place.surprisals.clear();
                place.times.clear();
            }
            start = end;
        }
        place.next = run.next;
        self.places.insert(run.partition, place);
        scores
    }

    /// Scores events, follows them with this `share` of a budget by time, and gives the surprisals of those that the model judges. Without
    /// a share they are to be forgotten, and nobody is told of them.
    fn score(
        &self,
        place: &mut Place<M>,
        heads: &[Head],
        rows: RowsView<'_>,
        share: Option<f64>,
    ) -> (Vec<Score>, Vec<Option<f64>>) {
        let posterior = &self.belief.posterior;
        let surprisals = cores::score(&self.model, posterior, rows);
        let (predictions, extremities) = (self.model.predict(posterior, rows), self.model.extremity(posterior, rows));
        let watched = self.setup.watch.series.iter().any(|series| series.cell.is_none());
        let draw = |offset: Offset| Noise::new(NORMAL_SCORES).uniform(offset.0 as u64, 0, 0);
        let score = |(at, (surprisal, head)): (usize, (Surprisal, &Head))| {
            let surprisal = surprisal.told();
            let tail = &self.belief.tail;
            let judged = self.model.judges(rows.row(at)).then(|| Judged {
                extremity: extremities.as_ref().map_or(surprisal.nats, |extremities| extremities[at]),
                sd: surprisal.sd,
                normal_score: watched.then(|| tail.normal_score(surprisal.nats, draw(head.offset))).flatten(),
            });
            let follow = |share| place.trail.follow(&self.setup, head, rows.row(at), judged, share);
            let (Verdict { severity, alert, rarity }, changes) = share.map(follow).unwrap_or_default();
            let wanted = match self.setup.explain {
                Explain::Never => false,
                Explain::Alerts => alert,
                Explain::Always => true,
            };
            let explain = || self.model.explain(posterior, rows.slice(at..at + 1)).map(Box::new);
            let score = Score {
                surprisal: surprisal.nats,
                surprisal_sd: surprisal.sd,
                tail_probability: if judged.is_some() { tail.probability(surprisal.nats) } else { 1.0 },
                alert,
                severity,
                rarity: if alert { rarity } else { 0.0 },
                step: self.step,
                prediction: predictions.as_ref().and_then(|predictions| predictions[at]),
                // No account is given again.
                explanation: if wanted && head.offset >= place.scored_to { explain() } else { None },
                changes,
            };
            (score, judged.map(|_| surprisal.nats))
        };
        surprisals.into_iter().zip(heads).enumerate().map(score).unzip()
    }

    /// Learns a block: `λ_p ← γⁿ λ_p + ∇_m E_q[ln p(block | θ)]`. A block that would bring in a number that is not finite
    /// is refused: the evidence stays as it was.
    fn learn(
        &mut self,
        partition: Partition,
        place: &mut Place<M>,
        rest: &Rest<M>,
        rows: RowsView<'_>,
        covers_to: Offset,
        refused: &mut Refused,
    ) {
        let (time, elapsed_ms) = place.site.time.after(&place.times);
        let pace = self.setup.learning.rule.pace(place.site.events, rows.len(), elapsed_ms);
        let plausible = || plausibility::weights(&self.belief.tail, &place.surprisals);
        let mut weights = if self.setup.robust { plausible() } else { Vec::new() };
        for (row, weight) in weights.iter_mut().enumerate().filter(|(_, weight)| **weight < 1.0) {
            *weight = self.model.credence(&self.belief.posterior, rows.row(row), *weight);
        }
        let doubted = self.model.shuns_doubted() && weights.contains(&0.0);
        let believed = doubted.then(|| plausibility::believed(rows, &mut weights, &self.categories));
        let heard = believed.as_ref().map_or(rows, Rows::view);
        let block = Block { rows: heard, partition, offset: place.pending_from, step: place.site.step, pace, weights: &weights };
        let learnt = match heard.is_empty() {
            true => {
                let mut evidence = place.site.evidence.clone();
                evidence.scale(pace.retention);
                Ok(Learnt { evidence, progress: Progress::default() })
            }
            false => self.model.learn(&self.belief.posterior, &place.site.evidence, block),
        };
        let learnt = learnt.and_then(|Learnt { mut evidence, progress }| {
            self.model.reorganise(&rest.whole, &mut evidence);
            let mut calibrator = place.site.calibrator.clone();
            let finite: Vec<f64> = place.surprisals.iter().copied().flatten().filter(|surprisal| surprisal.is_finite()).collect();
            calibrator.learn(pace.retention, &finite);
            let mut own = rest.own.clone();
            own.add(&evidence);
            let belief = self.believe(&own, &rest.others, [&rest.calibrator, &calibrator].into_iter())?;
            Ok((evidence, calibrator, belief, progress))
        });
        let site = &mut place.site;
        site.events += rows.len() as u64;
        site.covers_to = covers_to;
        site.trail = place.trail.clone();
        site.step += 1;
        site.time = time;
        self.step += 1;
        place.unpublished = true;
        match learnt {
            Ok((evidence, calibrator, belief, progress)) => {
                site.evidence = evidence;
                site.calibrator = calibrator;
                self.belief = belief;
                refused.clipped += u64::from(progress.clipped);
                self.progress = (progress, if weights.is_empty() { heard.len() as f64 } else { weights.iter().sum() });
            }
            Err(cause) => {
                site.refused += rows.len() as u64;
                refused.events += rows.len() as u64;
                refused.cause = Some(cause);
            }
        }
    }
}

/// What everyone but one partition has learnt.
struct Rest<M: Model> {
    /// Of the partitions that this engine learns.
    own: M::Evidence,
    others: M::Evidence,
    /// Both together.
    whole: M::Evidence,
    calibrator: Calibrator,
}

impl<M: Model> Rest<M> {
    fn of(engine: &Engine<M>, without: Partition) -> Self {
        let sites = || engine.places.iter().filter(|(partition, _)| **partition != without).map(|(_, place)| &place.site);
        let (own, others) = (engine.sum(sites()), engine.others.evidence.clone());
        let mut whole = own.clone();
        whole.add(&others);
        let calibrators = sites().map(|site| &site.calibrator).chain([&engine.others.calibrator]);
        Self { own, others, whole, calibrator: Calibrator::sum(calibrators) }
    }
}
