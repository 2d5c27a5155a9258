//! An event's fields as each part of the predictive sees them, and what is left of them.

use super::super::batch::Batch;
use super::super::posterior::MixturePosterior;
use super::super::predictive::Predictive;
use super::super::units::{Layout, Units};
use super::joint::Joint;

/// Standard deviations within which a number that is out of order is, wherever it likes.
const OUT_OF_ORDER: f64 = 16.0;

/// What a field is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number column, by its place among them.
    Number(usize),
    /// A count column.
    Count(usize),
    /// A boolean column.
    Boolean(usize),
    /// A category column.
    Category(usize),
}

/// The fields that an event has, but for numbers that have never varied.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Each with its cell.
    fields: Vec<(Field, usize)>,
    /// A row a field, in which all others are missing: `[fields, columns]` in the model's own order.
    alone: Vec<f64>,
    ln_weights: Vec<f64>,
    /// Log densities `[fields][parts]`; 0 for numbers under a part that has them jointly.
    log: Vec<Vec<f64>>,
    /// The numbers of the first parts, if they are joint; none if they can't be told.
    joints: Option<Vec<Joint>>,
}

impl Fields {
    /// Those of the event in `batch`, with its `cells` in the model's own order.
    pub fn new(layout: &Layout, posterior: &MixturePosterior, batch: &Batch, cells: &[f64]) -> Self {
        let (numbers, counts, booleans) = (layout.numbers.len(), layout.counts.len(), layout.booleans.len());
        let cell_of = |at: usize| match at {
            _ if at < numbers => (Field::Number(at), layout.numbers[at]),
            _ if at < numbers + counts => (Field::Count(at - numbers), layout.counts[at - numbers]),
            _ if at < numbers + counts + booleans => {
                let place = at - numbers - counts;
                (Field::Boolean(place), layout.booleans[place])
            }
            _ => {
                let place = at - numbers - counts - booleans;
                (Field::Category(place), layout.categories[place].0)
            }
        };
        let there = |at: &usize| !cells[*at].is_nan() && (*at >= numbers || posterior.units.live[*at]);
        let there: Vec<usize> = (0..cells.len()).filter(there).collect();
        let mut alone = vec![f64::NAN; there.len() * cells.len()];
        there.iter().enumerate().for_each(|(row, at)| alone[row * cells.len() + at] = cells[*at]);
        let (normals, _) = posterior.predictive.numbers();
        let present = || there.iter().copied().filter(|at| *at < numbers).collect::<Vec<_>>();
        let joints = normals.iter().map(|normal| Joint::new(normal, &batch.numbers, present())).collect();
        let mut fields = Self {
            fields: there.iter().map(|at| cell_of(*at)).collect(),
            alone,
            ln_weights: posterior.predictive.ln_weights().to_vec(),
            log: Vec::new(),
            joints,
        };
        fields.log = fields.log_densities(&posterior.predictive, layout, &batch.units);
        for (field, log) in fields.fields.iter().zip(&mut fields.log) {
            if matches!(field, (Field::Number(_), _)) {
                log[..normals.len()].fill(0.0);
            }
        }
        fields
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Where a field stands in a row.
    pub fn cell(&self, field: usize) -> usize {
        self.fields[field].1
    }

    /// Log densities of each field by itself under each part `[fields][parts]`.
    fn log_densities(&self, predictive: &Predictive, layout: &Layout, units: &Units) -> Vec<Vec<f64>> {
        if self.fields.is_empty() {
            return Vec::new();
        }
        let rows: Vec<usize> = (0..self.len()).collect();
        let log = predictive.log_joints(&Batch::from_cells(layout, units, &self.alone, &rows));
        let parts = predictive.ln_weights().iter().enumerate();
        rows.iter().map(|field| parts.clone().map(|(part, weight)| log.get(part, *field) - weight).collect()).collect()
    }

    /// Log densities of each field by itself where it is out of order: under a `background` of one part, but for numbers, which may be
    /// anywhere within [`OUT_OF_ORDER`]. The background's tails would excuse a number the less the farther out it is.
    pub fn out_of_order(&self, background: &Predictive, layout: &Layout, units: &Units) -> Vec<f64> {
        let under = self.log_densities(background, layout, units);
        let of = |((field, _), log): (&(Field, usize), Vec<f64>)| match field {
            Field::Number(_) => -OUT_OF_ORDER.ln(),
            _ => log[0],
        };
        self.fields.iter().zip(under).map(of).collect()
    }
}

/// Fields that are left, with their log joint densities under each part.
#[derive(Clone, Debug)]
pub struct Rest<'a> {
    all: &'a Fields,
    left: Vec<usize>,
    /// Log weight and log densities of those left that are by themselves, `[parts]`.
    log: Vec<f64>,
    joints: Vec<Joint>,
}

impl<'a> Rest<'a> {
    /// All of them; none where rounding lets joint densities not be told.
    pub fn of(all: &'a Fields) -> Option<Self> {
        let mut rest = Self { all, left: (0..all.len()).collect(), log: Vec::new(), joints: all.joints.clone()? };
        rest.settle();
        Some(rest)
    }

    fn settle(&mut self) {
        let sum = |(part, weight): (usize, &f64)| weight + self.left.iter().map(|field| self.all.log[*field][part]).sum::<f64>();
        self.log = self.all.ln_weights.iter().enumerate().map(sum).collect();
    }

    /// Those left.
    pub fn fields(&self) -> &[usize] {
        &self.left
    }

    /// What a field is to the model.
    pub fn field(&self, field: usize) -> Field {
        self.all.fields[field].0
    }

    /// The numbers left under the parts that have them jointly.
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// Log joint densities of what is left, but for a field, under each part.
    pub fn parts_without(&self, field: usize) -> Vec<f64> {
        let kind = self.field(field);
        let is_left = self.left.contains(&field);
        let part = |(part, log): (usize, &f64)| {
            let own = if is_left { self.all.log[field][part] } else { 0.0 };
            let joint = self.joints.get(part).map_or(0.0, |joint| match kind {
                Field::Number(column) => joint.log_density_without(column),
                _ => joint.log_density(),
            });
            log - own + joint
        };
        self.log.iter().enumerate().map(part).collect()
    }

    fn parts(&self) -> Vec<f64> {
        let joint = |part: usize| self.joints.get(part).map_or(0.0, Joint::log_density);
        self.log.iter().enumerate().map(|(part, log)| log + joint(part)).collect()
    }

    /// `ln p` of what is left: nothing is certain.
    pub fn log_density(&self) -> f64 {
        if self.left.is_empty() { 0.0 } else { log_sum(&self.parts()) }
    }

    /// The field of those left, of which there is one at least, that is the most doubted, and how much: `doubts` are the log
    /// densities of all fields under the background. The known components are asked alone: where several fields are far out, all
    /// of an event is the background's, which doubts none.
    pub fn most_doubted(&self, doubts: &[f64]) -> (usize, f64) {
        let whole = log_sum(self.known(&self.parts()));
        let doubt = |field: &usize| {
            let without = log_sum(self.known(&self.parts_without(*field)));
            (*field, doubts[*field] - (whole - without))
        };
        let each = self.left.iter().map(doubt);
        each.max_by(|(_, one), (_, other)| one.total_cmp(other)).expect("a field is left")
    }

    /// Those of the parts that are known components: the last is the background, if there is another.
    fn known<'p>(&self, parts: &'p [f64]) -> &'p [f64] {
        &parts[..parts.len() - usize::from(parts.len() > 1)]
    }

    /// Leaves a field out.
    pub fn remove(&mut self, field: usize) {
        self.left.retain(|other| *other != field);
        if let Field::Number(column) = self.field(field) {
            self.joints.iter_mut().for_each(|joint| joint.remove(column));
        }
        self.settle();
    }

    /// Which of the known components is the likeliest given what is left.
    pub fn nearest(&self) -> Option<usize> {
        let parts = self.parts();
        let known = self.known(&parts);
        (0..known.len()).max_by(|a, b| known[*a].total_cmp(&known[*b]))
    }
}

/// `ln Σ e^x`.
pub fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}
