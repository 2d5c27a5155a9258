//! What becomes of each partition's site.

use std::collections::BTreeMap;

use super::{AmendError, Amender, Amendment, Change, Found, SILENCE_LIMIT};
use crate::engine::{Forgotten, Means, Site, separable, subtract};
use crate::features::Rows;
use crate::models::Model;
use crate::pipeline::{Clock, SLICE, read};
use crate::record::{Offset, Span};
use crate::stream::{History, Incoming, StreamError};

impl<M: Model, S: History, C: Clock> Amender<'_, M, S, C> {
    pub(super) fn plan(
        &mut self,
        amendment: &Amendment,
        found: Vec<Found<M::Evidence>>,
    ) -> Result<Vec<Change<M::Evidence>>, AmendError> {
        let only = match *amendment {
            Amendment::ForgetOffsets { partition, .. } | Amendment::RollBack { partition, .. } => Some(partition),
            Amendment::ForgetTimes { partition, .. } => partition,
            Amendment::RollBackAll { .. } => None,
        };
        if let Some(partition) = only {
            if usize::try_from(partition.0).map_or(true, |number| number >= self.partitions) {
                let topic = self.settings.topic.clone();
                return Err(AmendError::NoPartition { partition, topic, partitions: self.partitions });
            }
            if found.iter().all(|found| found.partition != partition) {
                return Err(AmendError::NothingLearnt { partition });
            }
        }
        let mut changes = Vec::new();
        for found in found.into_iter().filter(|found| only.is_none_or(|only| only == found.partition)) {
            let partition = found.partition;
            changes.extend(match *amendment {
                Amendment::ForgetOffsets { span, .. } => {
                    let end = self.stream.end_of(partition)?;
                    if span.to > end {
                        return Err(AmendError::BeyondEnd { partition, end });
                    }
                    self.forget(found, span)?
                }
                Amendment::ForgetTimes { since_ms, until_ms, .. } => {
                    let from = self.stream.at_time(partition, since_ms)?;
                    let to = self.stream.at_time(partition, until_ms)?;
                    self.forget(found, Span { from, to })?
                }
                Amendment::RollBack { covers_to, .. } => self.roll_back(found, covers_to)?,
                Amendment::RollBackAll { to_ms } => {
                    let archive = &found.published.archive;
                    let Some(kept) = archive.iter().rev().find(|kept| kept.created_ms <= to_ms) else {
                        let wanted = format!("of {to_ms} ms since 1970 or before");
                        return Err(AmendError::NoSnapshot { partition, wanted, there: found.archived() });
                    };
                    let covers_to = kept.covers_to;
                    self.roll_back(found, covers_to)?
                }
            });
        }
        if changes.is_empty() {
            return Err(AmendError::Nothing(match amendment {
                Amendment::ForgetOffsets { .. } | Amendment::ForgetTimes { .. } => "no events of that span, or all are forgotten",
                Amendment::RollBack { .. } | Amendment::RollBackAll { .. } => "nothing was learnt or scored since",
            }));
        }
        Ok(changes)
    }

    /// Takes the events of `span` out. `None` if there are none that aren't forgotten.
    fn forget(&mut self, found: Found<M::Evidence>, span: Span) -> Result<Option<Change<M::Evidence>>, AmendError> {
        let site = &found.site;
        let from = site.first_kept(span.from.max(site.begun_at));
        if from >= span.to {
            return Ok(None);
        }
        let at_ms = self.clock.unix_ms();
        if from >= site.covers_to {
            let site = site.clone();
            return Ok(Some(found.into_change(site, Forgotten { span, means: Means::Unlearnt, at_ms })));
        }
        let learnt = Span { from, to: span.to.min(site.covers_to) };
        let why = match self.subtracted(&found, learnt)? {
            Ok(site) => return Ok(Some(found.into_change(site, Forgotten { span, means: Means::Subtracted, at_ms }))),
            Err(why) => why,
        };
        let forgotten = Forgotten { span, means: Means::Relearnt, at_ms };
        let site = self.before(&found, from, forgotten, why)?;
        Ok(Some(found.into_change(site, forgotten)))
    }

    /// The site without the events of `span`, or why they can't be told from the others.
    fn subtracted(
        &mut self,
        found: &Found<M::Evidence>,
        span: Span,
    ) -> Result<Result<Site<M::Evidence>, &'static str>, AmendError> {
        let site = &found.site;
        if let Err(why) = separable(self.model, &self.setup, site, self.schema.width()) {
            return Ok(Err(why));
        }
        if found.earliest > span.from {
            return Ok(Err("they are no longer in the log"));
        }
        let (offsets, rows) = self.events(found, span)?;
        let scores = self.stream.surprisals(&self.settings.model_id, found.partition, span, self.settings.scores_format)?;
        let scores: BTreeMap<_, _> = scores.into_iter().filter(|(offset, _)| !site.is_forgotten(*offset)).collect();
        // What was learnt was scored. Under other limits a record is another's event or dead letter.
        if !scores.keys().eq(&offsets) {
            return Ok(Err("they aren't those that have a score: scores were deleted, or a limit on events is another now"));
        }
        let judged = (0..rows.len()).filter(|row| self.model.judges(rows.view().row(*row)));
        let surprisals: Vec<f64> = judged.map(|row| scores[&offsets[row]]).collect();
        Ok(subtract(self.model, &self.setup, site, rows.view(), &surprisals))
    }

    /// The events of `span` that are in the evidence, with their offsets.
    fn events(&mut self, found: &Found<M::Evidence>, span: Span) -> Result<(Vec<Offset>, Rows), AmendError> {
        let Found { partition, ref site, committed, .. } = *found;
        let categories = self.schema.categories();
        let (mut offsets, mut rows) = (Vec::new(), Rows::new(self.schema.width()));
        self.stream.resume(&[(partition, span.from)])?;
        let mut read_to = span.from;
        let mut deadline = self.clock.monotonic() + SILENCE_LIMIT;
        while read_to < span.to {
            match self.stream.next(SLICE)? {
                Some(Incoming::Run(run)) if run.partition == partition => {
                    let wanted = |offset| span.contains(offset) && !site.is_forgotten(offset);
                    for (index, head) in run.heads.iter().enumerate().filter(|(_, head)| wanted(head.offset)) {
                        offsets.push(head.offset);
                        rows.extend(run.events().slice(index..index + 1), &categories);
                    }
                    read_to = run.next;
                    deadline = self.clock.monotonic() + SILENCE_LIMIT;
                }
                Some(Incoming::Revoked(_) | Incoming::Lost(_)) => {
                    return Err(StreamError::Stop("another instance has joined the group; nothing has changed".into()).into());
                }
                _ if self.clock.monotonic() > deadline => {
                    let text = format!("partition {partition}: no record came from offset {read_to} on; nothing has changed");
                    return Err(StreamError::Stop(text).into());
                }
                _ => {}
            }
        }
        // No more of it, while other partitions are read.
        self.stream.resume(&[(partition, committed)])?;
        Ok((offsets, rows))
    }

    /// The latest site that the rest can be learnt from again: an archived one that ends before `from`, or that of nothing.
    fn before(
        &mut self,
        found: &Found<M::Evidence>,
        from: Offset,
        forgotten: Forgotten,
        why: &'static str,
    ) -> Result<Site<M::Evidence>, AmendError> {
        let mut rest = Site::<M::Evidence>::new(self.model.nothing(), found.site.begun_at);
        rest.forgotten = found.site.forgotten.iter().copied().chain([forgotten]).collect();
        let needed = |covers_to| rest.first_kept(covers_to);
        let held = |covers_to| needed(covers_to) >= found.earliest.min(found.committed);
        let mut latest = found.site.begun_at;
        for kept in found.published.archive.iter().rev().filter(|kept| kept.covers_to <= from) {
            latest = latest.max(kept.covers_to);
            if held(kept.covers_to)
                && let Some(snapshot) = self.stream.archived(found.partition, kept.covers_to)?
            {
                return Ok(read(self.model, self.settings, &snapshot)?.1);
            }
        }
        if held(rest.begun_at) {
            return Ok(rest);
        }
        let rollback = found.published.archive.iter().rev().find(|kept| kept.covers_to <= from);
        let possible = match rollback {
            Some(kept) => format!(
                "`surprisal rollback --to {}@{}`, which forgets all since that snapshot, or another model id",
                found.partition, kept.covers_to
            ),
            None => "another model id, to begin anew".into(),
        };
        Err(AmendError::OutOfReach {
            partition: found.partition,
            span: forgotten.span,
            why,
            needed: needed(latest),
            earliest: found.earliest,
            possible,
        })
    }

    /// Goes back to an archived snapshot: what has come since is forgotten, up to the group's offset. `None` if nothing has.
    fn roll_back(&mut self, found: Found<M::Evidence>, covers_to: Offset) -> Result<Option<Change<M::Evidence>>, AmendError> {
        let partition = found.partition;
        let known = found.published.archive.iter().any(|kept| kept.covers_to == covers_to);
        let snapshot = if known { self.stream.archived(partition, covers_to)? } else { None };
        let Some(snapshot) = snapshot else {
            return Err(AmendError::NoSnapshot {
                partition,
                wanted: format!("{partition}@{covers_to}"),
                there: found.archived(),
            });
        };
        let span = Span { from: covers_to, to: found.committed };
        if found.site.first_kept(covers_to) >= found.committed {
            return Ok(None);
        }
        let mut site = read(self.model, self.settings, &snapshot)?.1;
        // All up to the group's offset is either in the evidence or forgotten.
        site.covers_to = found.committed;
        let forgotten = Forgotten { span, means: Means::RolledBack, at_ms: self.clock.unix_ms() };
        Ok(Some(found.into_change(site, forgotten)))
    }
}

impl<E> Found<E> {
    /// The archived snapshots in words.
    fn archived(&self) -> String {
        let names: Vec<String> =
            self.published.archive.iter().map(|kept| format!("{}@{}", self.partition, kept.covers_to)).collect();
        if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) }
    }
}
