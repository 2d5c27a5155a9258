//! How many components there are: splitting, merging and pruning, in the light of the last rows and of everyone's evidence.
//!
//! A mixture starts as one component. A component splits where the marginal likelihood of the last rows says that they are two; a pair
//! merges where being two is worth next to nothing (delete and birth moves of Hughes & Sudderth 2013, on closed-form evidence). All of
//! it is a function of the evidence, which is a function of the log.

use super::MixtureConfig;
use super::evidence::{ComponentId, MixtureEvidence};
use super::frame::{Batch, Layout, MISSING};
use super::kernel::Matrix;
use super::posterior::{Expectation, MixturePosterior, largest};
use super::statistics::Statistics;
use crate::dist::special::ln_gamma;
use crate::models::Evidence;
use crate::models::vocabulary::Vocabulary;

/// No search before so many rows.
const FIRST_SEARCH_ROWS: i64 = 32;

/// A search at most every so many rows, however many have been learnt: what keeps its cost beside learning's small.
const SEARCH_ROWS: i64 = 1024;

/// With so many texts told apart a search takes twice as long, and is made half as often.
const SEARCH_TEXTS: i64 = 512;

/// Rows that a component must have taken of the last ones before it may split, and each part of it.
const LEAST_MEMBERS: usize = 16;

/// See [`LEAST_MEMBERS`].
const LEAST_PART: f64 = 4.0;

/// Nats by which a split must be better: odds of about 150 to 1.
const SPLIT_NATS: f64 = 5.0;

/// Nats a row by which a split must be better besides: finer structure is not worth a component.
const SPLIT_NATS_PER_ROW: f64 = 0.02;

/// A pair that is worth fewer nats an event merges: half of what a split must gain, so that the two don't take turns.
const MERGE_NATS_PER_EVENT: f64 = 0.5 * SPLIT_NATS_PER_ROW;

/// Rounds of local learning for the two parts of a split.
const SPLIT_ROUNDS: usize = 10;

/// Rounds of power iteration for the direction along which to split.
const POWER_ROUNDS: usize = 8;

/// A component with fewer events has been forgotten.
const FORGOTTEN_EVENTS: f64 = 0.01;

/// A text that is worth fewer events has been forgotten.
const FORGOTTEN_TEXT: f64 = 1e-6;

/// Aliases remembered, the latest ones. Should someone's evidence still go by an older one, its component is merged anew.
const MOST_ALIASES: usize = 1024;

/// Simplifies `site` in the light of `rest`, which is what everyone else has learnt.
pub fn reorganise(layout: &Layout, config: &MixtureConfig, rest: &MixtureEvidence, site: &mut MixtureEvidence) {
    for (from, to) in &rest.aliases {
        site.unite(*from, *to);
    }
    forget(rest, site);
    let search = &mut site.search;
    let texts: usize = site.vocabularies.iter().map(Vocabulary::len).sum();
    let every = (search.rows / 64).clamp(1, SEARCH_ROWS) * (1 + texts as i64 / SEARCH_TEXTS);
    let due = search.rows - search.searched >= every;
    if config.components == 1 || search.rows < FIRST_SEARCH_ROWS || !due {
        return;
    }
    search.searched = search.rows;
    search.searches += 1;
    let mut merged = rest.clone();
    merged.add(site);
    // Evidence that gives no posterior will be refused by whoever asked.
    let Ok(posterior) = MixturePosterior::new(layout, config, &merged) else { return };
    let cells = site.recent.cells();
    let rows: Vec<usize> = (0..cells.len() / layout.width()).collect();
    let batch = Batch::from_cells(layout, &posterior.frame, cells, &rows);
    let (responsibilities, _) = posterior.expectation.responsibilities(&batch);
    let count = posterior.ids.len();
    if count < config.components && split(layout, config, &posterior, &responsibilities, site).is_some() {
        return;
    }
    if count > 1 {
        merge(config, &posterior, &responsibilities, site);
    }
    prune(&posterior, site);
}

/// Splits one component, in turn by size from the largest, if the last rows say so. `None` if it stays whole.
fn split(
    layout: &Layout,
    config: &MixtureConfig,
    posterior: &MixturePosterior,
    responsibilities: &Matrix,
    site: &mut MixtureEvidence,
) -> Option<()> {
    let mut order: Vec<usize> = (0..posterior.ids.len()).collect();
    order.sort_by(|a, b| posterior.components[*b].events.total_cmp(&posterior.components[*a].events));
    let parent = order[(site.search.searches - 1).max(0) as usize % order.len()];
    let cells = site.recent.cells();
    let rows = 0..cells.len() / layout.width();
    let members: Vec<usize> = rows.filter(|row| responsibilities.get(parent, *row) > 0.5).collect();
    let born = site.search.latest?;
    let owned = site.components.get(&posterior.ids[parent])?.events;
    if members.len() < LEAST_MEMBERS {
        return None;
    }
    let batch = Batch::from_cells(layout, &posterior.frame, cells, &members);
    let (parts, whole, entropy) = part(posterior, &batch, &posterior.components[parent])?;
    let count = members.len() as f64;
    let settled = |statistics: &Statistics| posterior.prior.log_evidence(&posterior.frame.settle(statistics.clone())).ok();
    let gain = config.concentration.ln() + ln_gamma(parts[0].events) + ln_gamma(parts[1].events) - ln_gamma(count)
        + settled(&parts[0])?
        + settled(&parts[1])?
        - settled(&whole)?
        + entropy;
    if gain <= SPLIT_NATS + SPLIT_NATS_PER_ROW * count {
        return None;
    }
    // The parts share the parent's events, with the shapes that the last rows gave them. The larger part keeps its name.
    let [mut kept, mut new] = parts.map(|part| posterior.frame.restore(part));
    if new.events > kept.events {
        std::mem::swap(&mut kept, &mut new);
    }
    for part in [&mut kept, &mut new] {
        part.scale(owned / count);
    }
    site.components.insert(posterior.ids[parent], kept);
    site.components.insert(born, new);
    Some(())
}

/// The two parts of a batch that local learning finds, the statistics of the whole, and the entropy of who is in which.
fn part(posterior: &MixturePosterior, batch: &Batch, parent: &Statistics) -> Option<([Statistics; 2], Statistics, f64)> {
    let (prior, live) = (&posterior.prior, &posterior.frame.live);
    let sides = sides(batch, live);
    let mut q = Matrix::filled([0.0, 0.0], batch.groups);
    for (event, first) in sides.into_iter().enumerate() {
        *q.at(usize::from(!first), event) = 1.0;
    }
    let start = Expectation::new(prior, live, &[parent.clone(), parent.clone()], vec![0.0; 2]).ok()?;
    let whole = start.statistics(batch, &Matrix::ones(batch.events, batch.groups)).into_iter().next()?;
    let mut parts = start.statistics(batch, &q);
    for _ in 0..SPLIT_ROUNDS {
        let settled: Vec<_> = parts.iter().map(|part| posterior.frame.settle(part.clone())).collect();
        let sizes = parts.iter().map(|part| (part.events + 0.5).ln()).collect();
        let expectation = Expectation::new(prior, live, &settled, sizes).ok()?;
        (q, _) = expectation.responsibilities(batch);
        parts = expectation.statistics(batch, &q);
    }
    let parts: [Statistics; 2] = parts.try_into().ok()?;
    if parts.iter().any(|part| part.events < LEAST_PART) {
        return None;
    }
    let entropy = -q.lanes.as_flattened().iter().map(|r| if *r > 0.0 { r * r.ln() } else { 0.0 }).sum::<f64>();
    Some((parts, whole, entropy))
}

/// On which side of their middle events lie along the direction in which they vary most, all columns taken in their own spread.
fn sides(batch: &Batch, live: &[bool]) -> Vec<bool> {
    let count = batch.events;
    let mut features: Vec<Vec<f64>> = Vec::new();
    for d in (0..live.len()).filter(|d| live[*d]) {
        features.push((0..count).map(|event| batch.number(event, d).unwrap_or(f64::NAN)).collect());
    }
    features.extend(batch.sums.iter().map(|cells| cells.iter().map(|x| x.ln_1p()).collect::<Vec<f64>>()));
    for slots in &batch.categories {
        // Values that a part could consist of, each against all others.
        let mut often = std::collections::BTreeMap::<usize, usize>::new();
        slots.iter().filter(|slot| **slot != MISSING).for_each(|slot| *often.entry(*slot).or_default() += 1);
        for value in often.into_iter().filter(|(_, times)| *times as f64 >= LEAST_PART).map(|(value, _)| value) {
            let is = |slot: &usize| if *slot == MISSING { f64::NAN } else { f64::from(u8::from(*slot == value)) };
            features.push(slots.iter().map(is).collect());
        }
    }
    for feature in &mut features {
        let seen: Vec<f64> = feature.iter().copied().filter(|x| !x.is_nan()).collect();
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        let spread = (seen.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / seen.len().max(1) as f64).sqrt() + 1e-9;
        feature.iter_mut().for_each(|x| *x = if x.is_nan() { 0.0 } else { (*x - mean) / spread });
    }
    let norm = |event: usize| features.iter().map(|feature| feature[event] * feature[event]).sum::<f64>();
    let norms: Vec<f64> = (0..count).map(norm).collect();
    let farthest = largest(&norms);
    let mut direction: Vec<f64> = features.iter().map(|feature| feature[farthest]).collect();
    let mut projected = vec![0.0; count];
    for round in 0..=POWER_ROUNDS {
        projected.fill(0.0);
        for (feature, weight) in features.iter().zip(&direction) {
            projected.iter_mut().zip(feature).for_each(|(sum, x)| *sum += weight * x);
        }
        if round < POWER_ROUNDS {
            direction = features.iter().map(|feature| feature.iter().zip(&projected).map(|(x, p)| x * p).sum()).collect();
            let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt() + f64::MIN_POSITIVE;
            direction.iter_mut().for_each(|x| *x /= length);
        }
    }
    projected.into_iter().map(|p| p > 0.0).collect()
}

/// Merges the pair for which being two is worth least, if that is too little, or if there are too many.
fn merge(config: &MixtureConfig, posterior: &MixturePosterior, responsibilities: &Matrix, site: &mut MixtureEvidence) {
    let components = &posterior.components;
    let Some(alone) = components.iter().map(|component| posterior.prior.log_evidence(component).ok()).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let stay = vec![None; posterior.vocabularies.len()];
    let size = |k: usize| components[k].events.max(f64::MIN_POSITIVE);
    let mut least: Option<(f64, usize, usize)> = None;
    for i in 0..components.len() {
        for j in i + 1..components.len() {
            let mut both = components[i].clone();
            both.add(&components[j], &stay);
            let Ok(together) = posterior.prior.log_evidence(&posterior.frame.settle(both)) else { return };
            let gain = config.concentration.ln() + ln_gamma(size(i)) + ln_gamma(size(j)) - ln_gamma(size(i) + size(j))
                + alone[i]
                + alone[j]
                - together;
            let gain = gain / (size(i) + size(j));
            if least.is_none_or(|(found, ..)| gain < found) {
                least = Some((gain, i, j));
            }
        }
    }
    let Some((gain, i, j)) = least else { return };
    let worth = gain + indecision(responsibilities, i, j);
    if worth < MERGE_NATS_PER_EVENT || components.len() > config.components {
        site.unite(posterior.ids[i], posterior.ids[j]);
    }
}

/// Mean entropy of which of two components an event is in, given that it is in one of them.
fn indecision(responsibilities: &Matrix, i: usize, j: usize) -> f64 {
    let (mut entropy, mut count) = (0.0, 0.0);
    for (a, b) in responsibilities.row(i).as_flattened().iter().zip(responsibilities.row(j).as_flattened()) {
        let both = a + b;
        count += both;
        for r in [a, b] {
            if *r > 0.0 {
                entropy -= r * (r / both).ln();
            }
        }
    }
    if count >= 1.0 { entropy / count } else { 0.0 }
}

/// Drops components that nobody remembers, but for the largest.
fn prune(posterior: &MixturePosterior, site: &mut MixtureEvidence) {
    let sizes: Vec<f64> = posterior.components.iter().map(|component| component.events).collect();
    let largest = largest(&sizes);
    for (k, id) in posterior.ids.iter().enumerate() {
        if k != largest && sizes[k] < FORGOTTEN_EVENTS {
            site.components.remove(id);
        }
    }
}

/// Drops texts that nobody remembers, and the oldest aliases.
fn forget(rest: &MixtureEvidence, site: &mut MixtureEvidence) {
    while site.aliases.len() > MOST_ALIASES {
        let oldest = site.aliases.keys().copied().min_by_key(|id: &ComponentId| id.offset);
        oldest.map(|id| site.aliases.remove(&id));
    }
    let first = site.shape.numbers + site.shape.sums;
    let width = site.shape.width();
    for column in 0..site.shape.categories {
        let vocabulary = &site.vocabularies[column];
        let elsewhere = |slot: usize| {
            let known = rest.vocabularies[column].slot(vocabulary.text(slot));
            known.map_or(0.0, |slot| rest.total.slot(column, slot + 1))
        };
        let remembered = |slot: usize| {
            let here = site.total.slot(column, slot + 1);
            here >= FORGOTTEN_TEXT || here + elsewhere(slot) >= FORGOTTEN_TEXT
        };
        let kept: Vec<bool> = (0..vocabulary.len()).map(remembered).collect();
        if kept.iter().all(|kept| *kept) {
            continue;
        }
        site.vocabularies[column] = vocabulary.keep(|slot| kept[slot]);
        // What a row of the last ones said is forgotten with the text: it becomes one of the others.
        let mut places = vec![0];
        let mut next = 0;
        places.extend(kept.iter().map(|kept| {
            next += usize::from(*kept);
            if *kept { next } else { 0 }
        }));
        let at = first + column;
        site.recent =
            site.recent.map(width, |c, cell| if c == at && !cell.is_nan() { places[cell as usize] as f64 } else { cell });
        for statistics in site.components.values_mut().chain([&mut site.total]) {
            let slots = &mut statistics.categories[column];
            let mut slot = 0;
            slots.retain(|_| {
                slot += 1;
                slot == 1 || kept[slot - 2]
            });
        }
    }
}
