//! The mixture's evidence: sufficient statistics by component, which add by the components' identities.
//!
//! A component is named by the event that bore it, not by its place in a list, so evidence from two partitions can't be added to the
//! wrong one. When components are found to be the same, one becomes an alias of the other; aliases are part of the evidence, so
//! every partition's evidence can be read in any order of arrival.

use std::collections::BTreeMap;
use std::fmt;

use nalgebra::{DMatrix, DVector};

use super::recent::{REMEMBERED, Recent};
use super::statistics::{JointMoments, Moments, Numbers, Statistics, Sum};
use super::tally::Tally;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::models::Evidence;
use crate::models::vocabulary::Vocabulary;
use crate::record::{Offset, Partition};

/// A component's lasting name: where the event stands that bore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId {
    /// The event's partition.
    pub partition: Partition,
    /// The event's offset.
    pub offset: Offset,
}

impl ComponentId {
    /// The component that is there before any event, the same for all partitions. It is the smallest of all names.
    pub const ORIGIN: Self = Self { partition: Partition(-1), offset: Offset(-1) };
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ORIGIN { write!(f, "origin") } else { write!(f, "{}:{}", self.partition, self.offset) }
    }
}

/// How many columns of each kind a model has, and whether its numbers are joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number columns.
    pub numbers: usize,
    /// Count columns and boolean columns.
    pub sums: usize,
    /// Category columns.
    pub categories: usize,
    /// Whether components know the covariance of numbers.
    pub full: bool,
}

impl Shape {
    /// All modelled columns.
    pub fn width(&self) -> usize {
        self.numbers + self.sums + self.categories
    }

    /// Statistics of no event, the numbers jointly if `full`.
    pub fn nothing(&self, full: bool) -> Statistics {
        let numbers = if full {
            Numbers::Full(JointMoments::nothing(self.numbers))
        } else {
            Numbers::Diagonal(vec![Moments::default(); self.numbers])
        };
        Statistics {
            events: 0.0,
            numbers,
            sums: vec![Sum::default(); self.sums],
            categories: vec![Tally::default(); self.categories],
        }
    }
}

/// What data say about a mixture.
#[derive(Clone, Debug, PartialEq)]
pub struct MixtureEvidence {
    pub(super) shape: Shape,
    /// One a category column. Slot s of the statistics is text s − 1.
    pub(super) vocabularies: Vec<Vocabulary>,
    /// All events, whichever component took them; numbers each by itself. The columns' scales come from it.
    pub(super) total: Statistics,
    pub(super) components: BTreeMap<ComponentId, Statistics>,
    /// From components that were merged to those they are now part of, which are no aliases themselves.
    pub(super) aliases: BTreeMap<ComponentId, ComponentId>,
    /// The last rows learnt. The posterior doesn't depend on them.
    pub(super) recent: Recent,
    /// How the search for structure goes.
    pub(super) search: Search,
}

/// How far the search for structure has come: a function of the log, like all evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// Rows learnt, never forgotten.
    pub rows: i64,
    /// Rows learnt when the last search was made.
    pub searched: i64,
    /// Searches made.
    pub searches: i64,
    /// Where the first row of the last block stands: the name of what the next search may bear.
    pub latest: Option<ComponentId>,
}

impl MixtureEvidence {
    /// No evidence.
    pub fn nothing(shape: Shape) -> Self {
        Self {
            vocabularies: vec![Vocabulary::default(); shape.categories],
            total: shape.nothing(false),
            components: BTreeMap::new(),
            aliases: BTreeMap::new(),
            recent: Recent::default(),
            search: Search::default(),
            shape,
        }
    }

    /// The component that `id` is part of now.
    pub fn representative(&self, id: ComponentId) -> ComponentId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// Components with evidence, in the order of their names, and the effective number of events in each.
    pub fn components(&self) -> impl Iterator<Item = (ComponentId, f64)> {
        self.components.iter().map(|(id, statistics)| (*id, statistics.events))
    }

    /// Declares two components to be one, which keeps the smaller name.
    pub(super) fn unite(&mut self, one: ComponentId, other: ComponentId) {
        let (one, other) = (self.representative(one), self.representative(other));
        if one == other {
            return;
        }
        let (kept, merged) = (one.min(other), one.max(other));
        self.aliases.values_mut().filter(|to| **to == merged).for_each(|to| *to = kept);
        self.aliases.insert(merged, kept);
        if let Some(statistics) = self.components.remove(&merged) {
            let stay = vec![None; self.shape.categories];
            self.components.entry(kept).or_insert_with(|| self.shape.nothing(self.shape.full)).add(&statistics, &stay);
        }
    }

    /// Number columns that have no value here but have one in `total`, and where that lies.
    fn unseen(&self, total: &Statistics) -> Vec<(usize, f64)> {
        match (&self.total.numbers, &total.numbers) {
            (Numbers::Diagonal(ours), Numbers::Diagonal(theirs)) if self.shape.full => {
                let columns = ours.iter().zip(theirs).enumerate();
                columns
                    .filter(|(_, (ours, theirs))| ours.count == 0.0 && theirs.count > 0.0)
                    .map(|(d, (_, seen))| (d, seen.mean))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Joint moments have a place for every column. Before a column's first value that place means nothing, and is moved to where
    /// values turn out to lie, lest the way there be taken for scatter.
    fn place_unseen(&mut self, unseen: &[(usize, f64)]) {
        for component in self.components.values_mut() {
            if let Numbers::Full(joint) = &mut component.numbers {
                for (d, mean) in unseen.iter().filter(|(d, _)| joint.scatter[(*d, *d)] == 0.0).copied().collect::<Vec<_>>() {
                    joint.mean[d] = mean;
                }
            }
        }
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.total.is_finite() && self.components.values().all(Statistics::is_finite)
    }
}

impl Evidence for MixtureEvidence {
    fn add(&mut self, other: &Self) {
        assert_eq!(self.shape, other.shape, "evidence of different models");
        self.place_unseen(&self.unseen(&other.total));
        let unseen = other.unseen(&self.total);
        let mut placed = None;
        if !unseen.is_empty() {
            placed.insert(other.clone()).place_unseen(&unseen);
        }
        let other = placed.as_ref().unwrap_or(other);
        let pairs = self.vocabularies.iter_mut().zip(&other.vocabularies);
        let moved: Vec<_> = pairs.map(|(ours, theirs)| ours.absorb(theirs)).collect();
        self.total.add(&other.total, &moved);
        for (from, to) in &other.aliases {
            self.unite(*from, *to);
        }
        for (id, statistics) in &other.components {
            let id = self.representative(*id);
            self.components.entry(id).or_insert_with(|| self.shape.nothing(self.shape.full)).add(statistics, &moved);
        }
        let first = self.shape.numbers + self.shape.sums;
        let translate = |column: usize, cell: f64| match column.checked_sub(first).and_then(|column| moved[column].as_ref()) {
            Some(moved) if cell >= 1.0 => (moved[cell as usize - 1] + 1) as f64,
            _ => cell,
        };
        let translate = moved.iter().any(Option::is_some).then_some(translate);
        self.recent.append(&other.recent, self.shape.width(), translate);
        self.search.rows += other.search.rows;
        self.search.searched += other.search.searched;
        self.search.searches += other.search.searches;
        self.search.latest = other.search.latest.or(self.search.latest);
    }

    fn scale(&mut self, factor: f64) {
        if factor == 1.0 {
            return;
        }
        self.total.scale(factor);
        self.components.values_mut().for_each(|statistics| statistics.scale(factor));
        self.recent.scale(factor);
    }

    fn subtract(&mut self, other: &Self) -> bool {
        let mut left = self.total.subtract(&other.total);
        for (id, statistics) in &other.components {
            left &= self.components.get_mut(id).is_some_and(|ours| ours.subtract(statistics));
        }
        self.search.rows -= other.search.rows;
        self.search.searched = self.search.searched.min(self.search.rows);
        // Which of the last rows are gone isn't known, and one component has no structure to look for.
        self.recent = Recent::default();
        left
    }

    fn events(&self) -> f64 {
        self.total.events
    }

    fn tensors(&self) -> Vec<Tensor> {
        let ids = |ids: &mut dyn Iterator<Item = &ComponentId>, name: &str| {
            let flat: Vec<i64> = ids.flat_map(|id| [i64::from(id.partition.0), id.offset.0]).collect();
            Tensor::i64(name, &[flat.len() / 2, 2], flat)
        };
        let mut tensors = vec![
            ids(&mut self.components.keys(), "components.id"),
            ids(&mut self.aliases.keys(), "aliases.from"),
            ids(&mut self.aliases.values(), "aliases.to"),
        ];
        for (column, vocabulary) in self.vocabularies.iter().enumerate() {
            let texts = vocabulary.texts().map(str::to_owned).collect();
            tensors.push(Tensor::text(format!("categories.{column}.texts"), texts));
        }
        let cells = self.recent.cells();
        let width = self.shape.width();
        let missing = cells.iter().enumerate().filter(|(_, cell)| cell.is_nan()).map(|(at, _)| at as i64).collect::<Vec<_>>();
        tensors.push(Tensor::i64("recent.missing", &[missing.len()], missing));
        let cells: Vec<f64> = cells.iter().map(|cell| if cell.is_nan() { 0.0 } else { *cell }).collect();
        tensors.push(Tensor::f64("recent.cells", &[cells.len() / width, width], cells));
        tensors.push(Tensor::f64("recent.weights", &[self.recent.weights().len()], self.recent.weights().to_vec()));
        let Search { rows, searched, searches, .. } = self.search;
        tensors.push(Tensor::i64("search.counters", &[3], vec![rows, searched, searches]));
        tensors.push(ids(&mut self.search.latest.iter(), "search.latest"));
        self.write("total", &[&self.total], false, &mut tensors);
        self.write("components", &self.components.values().collect::<Vec<_>>(), self.shape.full, &mut tensors);
        tensors
    }
}

impl MixtureEvidence {
    /// Writes statistics as tensors whose first dimension is theirs: `[rows, …]`.
    fn write(&self, prefix: &str, rows: &[&Statistics], full: bool, tensors: &mut Vec<Tensor>) {
        let Shape { numbers: dim, sums, categories, .. } = self.shape;
        let count = rows.len();
        let mut put = |name: &str, shape: &[usize], data: Vec<f64>| {
            tensors.push(Tensor::f64(format!("{prefix}.{name}"), shape, data));
        };
        put("events", &[count], rows.iter().map(|row| row.events).collect());
        let (mut counts, mut means, mut scatters) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match &row.numbers {
                Numbers::Diagonal(columns) => {
                    counts.extend(columns.iter().map(|column| column.count));
                    means.extend(columns.iter().map(|column| column.mean));
                    scatters.extend(columns.iter().map(|column| column.scatter));
                }
                Numbers::Full(joint) => {
                    counts.push(joint.count);
                    means.extend(joint.mean.iter());
                    scatters.extend(joint.scatter.iter());
                }
            }
        }
        let (counted, scattered): (&[usize], &[usize]) =
            if full { (&[count], &[count, dim, dim]) } else { (&[count, dim], &[count, dim]) };
        put("numbers.count", counted, counts);
        put("numbers.mean", &[count, dim], means);
        put("numbers.scatter", scattered, scatters);
        put("sums.count", &[count, sums], rows.iter().flat_map(|row| row.sums.iter().map(|column| column.count)).collect());
        put("sums.sum", &[count, sums], rows.iter().flat_map(|row| row.sums.iter().map(|column| column.sum)).collect());
        for column in 0..categories {
            let slots = self.vocabularies[column].len() + 1;
            let data = rows.iter().flat_map(|row| (0..slots).map(|slot| row.categories[column].slot(slot))).collect();
            put(&format!("categories.{column}.count"), &[count, slots], data);
        }
    }

    /// The evidence that [`Evidence::tensors`] gave.
    pub(super) fn restore(shape: Shape, tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        let reader = Reader(tensors);
        let mut vocabularies = Vec::new();
        for column in 0..shape.categories {
            let name = format!("categories.{column}.texts");
            let texts = reader.text(&name)?;
            let vocabulary: Vocabulary = texts.iter().map(String::as_str).collect();
            if vocabulary.len() != texts.len() {
                return Err(CheckpointError::BadValue { name, detail: "a text comes twice".into() });
            }
            vocabularies.push(vocabulary);
        }
        let mut evidence = Self { vocabularies, ..Self::nothing(shape) };
        evidence.total = evidence.read(reader, "total", 1, false)?.remove(0);
        let ids = read_ids(reader, "components.id")?;
        let statistics = evidence.read(reader, "components", ids.len(), shape.full)?;
        let count = ids.len();
        evidence.components = ids.into_iter().zip(statistics).collect();
        if evidence.components.len() != count {
            let detail = "a component comes twice".into();
            return Err(CheckpointError::BadValue { name: "components.id".into(), detail });
        }
        let (from, to) = (read_ids(reader, "aliases.from")?, read_ids(reader, "aliases.to")?);
        if from.len() != to.len() {
            let (found, expected) = (vec![to.len(), 2], vec![from.len(), 2]);
            return Err(CheckpointError::WrongShape { name: "aliases.to".into(), found, expected });
        }
        evidence.aliases = from.into_iter().zip(to).collect();
        let loose = |to: &ComponentId| evidence.aliases.contains_key(to);
        if evidence.aliases.values().any(loose) || evidence.components.keys().any(loose) {
            let detail = "an alias stands for an alias, or for a component with evidence".into();
            return Err(CheckpointError::BadValue { name: "aliases.from".into(), detail });
        }
        evidence.recent = evidence.read_recent(reader)?;
        let counters = reader.i64("search.counters", &[3])?;
        let latest = read_ids(reader, "search.latest")?.first().copied();
        evidence.search = Search { rows: counters[0], searched: counters[1], searches: counters[2], latest };
        Ok(evidence)
    }

    fn read_recent(&self, reader: Reader<'_>) -> Result<Recent, CheckpointError> {
        let (name, width) = ("recent.cells", self.shape.width());
        let rows = reader.length(name)?;
        if rows > REMEMBERED {
            let (found, expected) = (vec![rows, width], vec![REMEMBERED, width]);
            return Err(CheckpointError::WrongShape { name: name.into(), found, expected });
        }
        let mut cells = reader.f64(name, &[rows, width])?.to_vec();
        for column in 0..self.shape.categories {
            let slots = self.vocabularies[column].len() as f64;
            let column = self.shape.numbers + self.shape.sums + column;
            let wrong = |cell: &&f64| !(0.0..=slots).contains(*cell) || cell.fract() != 0.0;
            if let Some(cell) = cells.iter().skip(column).step_by(width).find(wrong) {
                return Err(CheckpointError::BadValue { name: name.into(), detail: format!("{cell} is no category's place") });
            }
        }
        let name = "recent.missing";
        for at in reader.i64(name, &[reader.length(name)?])? {
            let cell = usize::try_from(*at).ok().and_then(|at| cells.get_mut(at));
            *cell.ok_or_else(|| CheckpointError::BadValue { name: name.into(), detail: format!("there is no cell {at}") })? =
                f64::NAN;
        }
        Ok(Recent::new(cells, reader.f64("recent.weights", &[rows])?.to_vec()))
    }

    fn read(&self, reader: Reader<'_>, prefix: &str, count: usize, full: bool) -> Result<Vec<Statistics>, CheckpointError> {
        let Shape { numbers: dim, sums, categories, .. } = self.shape;
        let get = |name: &str, shape: &[usize], least: f64| {
            let name = format!("{prefix}.{name}");
            let data = reader.f64(&name, shape)?;
            match data.iter().position(|value| *value < least) {
                Some(at) => Err(CheckpointError::BadValue { name, detail: format!("element {at} is {}", data[at]) }),
                None => Ok(data),
            }
        };
        let any = f64::NEG_INFINITY;
        let events = get("events", &[count], 0.0)?;
        let (counted, scattered): (&[usize], &[usize]) =
            if full { (&[count], &[count, dim, dim]) } else { (&[count, dim], &[count, dim]) };
        let counts = get("numbers.count", counted, 0.0)?;
        let means = get("numbers.mean", &[count, dim], any)?;
        let scatters = get("numbers.scatter", scattered, if full { any } else { 0.0 })?;
        let sum_counts = get("sums.count", &[count, sums], 0.0)?;
        let sum_sums = get("sums.sum", &[count, sums], 0.0)?;
        let mut rows = Vec::with_capacity(count);
        for row in 0..count {
            let columns = row * dim..(row + 1) * dim;
            let numbers = if full {
                let scatter = &scatters[row * dim * dim..(row + 1) * dim * dim];
                let (mean, scatter) =
                    (DVector::from_column_slice(&means[columns]), DMatrix::from_column_slice(dim, dim, scatter));
                Numbers::Full(JointMoments { count: counts[row], mean, scatter })
            } else {
                let moments = columns.map(|i| Moments { count: counts[i], mean: means[i], scatter: scatters[i] });
                Numbers::Diagonal(moments.collect())
            };
            let sums = (row * sums..(row + 1) * sums).map(|i| Sum { count: sum_counts[i], sum: sum_sums[i] }).collect();
            rows.push(Statistics { events: events[row], numbers, sums, categories: Vec::with_capacity(categories) });
        }
        for column in 0..categories {
            let slots = self.vocabularies[column].len() + 1;
            let data = get(&format!("categories.{column}.count"), &[count, slots], 0.0)?;
            for (row, counts) in rows.iter_mut().zip(data.chunks_exact(slots)) {
                row.categories.push(Tally::new(counts.to_vec()));
            }
        }
        Ok(rows)
    }
}

fn read_ids(reader: Reader<'_>, name: &str) -> Result<Vec<ComponentId>, CheckpointError> {
    let flat = reader.i64(name, &[reader.length(name)?, 2])?;
    let id = |pair: &[i64]| {
        let partition = i32::try_from(pair[0])
            .map_err(|_| CheckpointError::BadValue { name: name.into(), detail: format!("{} is no partition", pair[0]) })?;
        Ok(ComponentId { partition: Partition(partition), offset: Offset(pair[1]) })
    };
    flat.chunks_exact(2).map(id).collect()
}
