//! Correlated mixtures of three kinds of events, models that have learnt them, and events of which some fields are corrupted.

use surprisal::engine::block_len;
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, MixturePosterior};
use surprisal::models::{Evidence, Explanation, Model};
use surprisal::record::{Offset, Partition};

use crate::noise::{normal, uniform};

pub fn schema(kinds: &[Kind]) -> Schema {
    let column = |(at, kind): (usize, &Kind)| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: *kind };
    Schema::new(kinds.iter().enumerate().map(column).collect())
}

/// One of three kinds of events, each about a centre with two factors that its numbers have in common: correlations of 0.8 and
/// more.
pub fn event(dim: usize, event: u64) -> Vec<f64> {
    let kind = (uniform((1 << 40) + event) * 3.0) as u64;
    let factors = [0, 1].map(|i| normal((1 << 41) + event * 2 + i));
    let number = |d: u64| {
        let at = kind * 64 + d;
        let loads = [0, 1].map(|i| 0.8 * normal((1 << 42) + at * 2 + i));
        let noise = (0.3 + 0.3 * uniform((1 << 43) + at)) * normal((1 << 45) + event * 64 + d);
        10.0 * d as f64 + 3.0 * normal((1 << 44) + at) + loads[0] * factors[0] + loads[1] * factors[1] + noise
    };
    (0..dim as u64).map(number).collect()
}

/// What happens to a field.
#[derive(Clone, Copy, Debug)]
pub enum Corruption {
    /// It is off by so many of its column's standard deviations to twice as many.
    Shifted {
        /// The least.
        least: f64,
    },
    /// It has another event's value, of eight the least like its own: a likely one, in the wrong company.
    Swapped,
}

/// Two to four standard deviations.
pub const FAR: Corruption = Corruption::Shifted { least: 2.0 };

/// A mixture and what it has learnt.
pub struct Learnt {
    pub model: Mixture,
    pub posterior: MixturePosterior,
    /// Standard deviation of each column.
    pub deviations: Vec<f64>,
}

impl Learnt {
    /// Learns `rows` in the engine's blocks.
    pub fn of(model: Mixture, rows: RowsView<'_>) -> Self {
        let mut evidence = model.nothing();
        let mut at = 0;
        while at < rows.len() {
            let len = block_len(at as u64, 256).min(rows.len() - at);
            let posterior = model.posterior(&evidence).expect("finite");
            let place = (Partition(0), Offset(at as i64));
            evidence.add(&model.news(&posterior, rows.slice(at..at + len), place).expect("finite"));
            model.reorganise(&model.nothing(), &mut evidence);
            at += len;
        }
        let posterior = model.posterior(&evidence).expect("finite");
        let deviations = model.columns(&evidence).iter().map(|column| column.standard_deviation.unwrap_or(1.0)).collect();
        Self { model, posterior, deviations }
    }

    /// 3,000 events of `dim` numbers.
    pub fn numbers(dim: usize, covariance: Covariance) -> Self {
        let config = MixtureConfig { covariance, ..MixtureConfig::default() };
        let model = Mixture::new(&schema(&vec![Kind::Number; dim]), config).expect("a right configuration");
        Self::of(model, Rows::from_cells(dim, (0..3000).flat_map(|at| event(dim, at)).collect()).view())
    }

    pub fn explain(&self, cells: &[f64]) -> Explanation {
        let rows = Rows::from_cells(cells.len(), cells.to_vec());
        self.model.explain(&self.posterior, rows.view()).expect("an account")
    }

    /// Surprisals of an event of which only some fields are there.
    pub fn scores(&self, cells: &[f64], present: &[Vec<bool>]) -> Vec<f64> {
        let masked = |present: &Vec<bool>| {
            cells.iter().zip(present).map(|(x, there)| if *there { *x } else { f64::NAN }).collect::<Vec<_>>()
        };
        let rows = Rows::from_cells(cells.len(), present.iter().flat_map(masked).collect());
        let mut surprisals = Vec::new();
        self.model.score(&self.posterior, rows.view(), &mut surprisals);
        surprisals.into_iter().map(|surprisal| surprisal.nats).collect()
    }

    /// An event of which `count` fields are corrupted, and which they are.
    pub fn corrupted(&self, at: u64, count: usize, how: Corruption) -> (Vec<f64>, Vec<usize>) {
        let dim = self.deviations.len();
        let mut cells = event(dim, at);
        let mut fields = Vec::new();
        for i in 0..count as u64 {
            let draw = (1 << 50) + at * 4 + i;
            let mut field = (uniform(draw) * dim as f64) as usize;
            while fields.contains(&field) {
                field = (field + 1) % dim;
            }
            fields.push(field);
            let own = cells[field];
            cells[field] = match how {
                Corruption::Swapped => {
                    let others = (0..8).map(|other| event(dim, (1 << 30) + at * 8 + other)[field]);
                    others.max_by(|a, b| (a - own).abs().total_cmp(&(b - own).abs())).expect("eight")
                }
                Corruption::Shifted { least } => {
                    let sign = if uniform((1 << 51) + draw) < 0.5 { -1.0 } else { 1.0 };
                    own + sign * least * (1.0 + uniform((1 << 52) + draw)) * self.deviations[field]
                }
            };
        }
        (cells, fields)
    }
}
