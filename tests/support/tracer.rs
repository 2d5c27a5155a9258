//! A model that remembers which events it was taught, so that a loss and a duplicate cannot cancel.
//!
//! Its evidence is the count, the sum and the sum of hashes of the events' sequence numbers, all exact in `i64` arithmetic.

use surprisal::checkpoint::{CheckpointError, Reader, Tensor};
use surprisal::features::{Column, Kind, RowsView, Schema};
use surprisal::models::{Block, ColumnSummary, Evidence, Learnt, Model, NotFinite, Part, Progress, Surprisal};

/// Counts, sums and hashes of what was learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub count: i64,
    pub sum: i64,
    pub hash: i64,
}

impl Trace {
    /// The trace of these sequence numbers.
    pub fn of(sequence: impl IntoIterator<Item = u64>) -> Self {
        sequence.into_iter().fold(Self::default(), |trace, number| Self {
            count: trace.count + 1,
            sum: trace.sum + number as i64,
            hash: trace.hash.wrapping_add(hash(number)),
        })
    }
}

/// SplitMix64's finaliser.
fn hash(number: u64) -> i64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as i64
}

impl Evidence for Trace {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    fn scale(&mut self, retention: f64) {
        assert_eq!(retention, 1.0, "a trace never forgets");
    }

    fn events(&self) -> f64 {
        self.count as f64
    }

    fn tensors(&self) -> Vec<Tensor> {
        vec![Tensor::i64("trace", &[3], vec![self.count, self.sum, self.hash])]
    }
}

/// The model. An event's first column is its sequence number.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    /// A sequence number that no posterior can be computed from.
    pub poison: Option<u64>,
}

impl Tracer {
    pub fn schema() -> Schema {
        Schema::new(vec![Column { name: "sequence".into(), path: vec!["sequence".into()], kind: Kind::Number }])
    }
}

impl Model for Tracer {
    type Evidence = Trace;
    type Posterior = Trace;

    fn kind(&self) -> &'static str {
        "tracer"
    }

    fn fingerprint(&self) -> u64 {
        7
    }

    fn nothing(&self) -> Trace {
        Trace::default()
    }

    fn restore(&self, tensors: &[Tensor]) -> Result<Trace, CheckpointError> {
        let trace = Reader(tensors).i64("trace", &[3])?;
        Ok(Trace { count: trace[0], sum: trace[1], hash: trace[2] })
    }

    fn posterior(&self, evidence: &Trace) -> Result<Trace, NotFinite> {
        Ok(evidence.clone())
    }

    /// How many events the posterior knew: a function of the log and of nothing else.
    fn score(&self, posterior: &Trace, rows: RowsView<'_>, surprisals: &mut Vec<Surprisal>) {
        surprisals.extend((0..rows.len()).map(|_| Surprisal { nats: posterior.count as f64, sd: 0.0 }));
    }

    fn learn(&self, _: &Trace, site: &Trace, block: Block<'_>) -> Result<Learnt<Trace>, NotFinite> {
        let sequence: Vec<u64> = (0..block.rows.len()).map(|row| block.rows.row(row)[0] as u64).collect();
        match self.poison {
            Some(poison) if sequence.contains(&poison) => Err(NotFinite { quantity: "poison".into() }),
            _ => {
                let evidence = block.pace.apply(site, Trace::of(sequence));
                Ok(Learnt { evidence, progress: Progress::default() })
            }
        }
    }

    fn active(&self, _: &Trace) -> usize {
        1
    }

    fn columns(&self, _: &Trace) -> Vec<ColumnSummary> {
        Vec::new()
    }

    fn parts(&self, _: &Trace) -> Vec<Part> {
        Vec::new()
    }
}
