//! Incidents: what comes after something severe is part of it, and severity that has often been seen is less severe.

use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Events after which the bar that an incident has raised is down again.
const REST: f64 = 350.0;
/// How much worse than its bar an incident must become to count again.
const MARGIN: f64 = 1.65;
/// Decades of evidence below which nothing begins.
const LEAST: f64 = 0.3;
/// Decades by which a past incident may be milder and still count as as severe.
const TOLERANCE: f64 = 0.15;
/// Decades that a bin of past incidents is wide.
const WIDTH: f64 = 0.05;
const BINS: usize = 512;

/// The incidents of a stream, by their evidence: decades by which an event is rarer than any that was to be expected.
///
/// An incident begins with an event whose evidence is above the bar by [`MARGIN`]. It rises while each event has more evidence than the one
/// before, and with the first that has not, it is told of, with the most that it had.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Incidents {
    /// What evidence has to exceed, and by how much that falls with each event.
    bar: f64,
    fall: f64,
    /// Whether the bar is the evidence of an incident that may still rise.
    rising: bool,
    /// How many there were, by evidence; none before the first.
    past: Vec<f64>,
}

impl Incidents {
    /// Takes in the evidence of the next event. Returns the severity of the incident that it ends the rise of, in decades, 0 if it ends none:
    /// `peak − log10(1 + number of past incidents as severe)`.
    pub(super) fn advance(&mut self, evidence: f64) -> f64 {
        if self.rising {
            let peak = self.bar;
            if evidence > peak {
                self.raise(evidence);
                return 0.0;
            }
            self.rising = false;
            self.bar -= self.fall;
            return self.count(peak);
        }
        self.bar = (self.bar - self.fall).max(0.0);
        if evidence > self.bar * MARGIN && evidence > LEAST {
            self.raise(evidence);
        }
        0.0
    }

    fn raise(&mut self, evidence: f64) {
        (self.bar, self.fall, self.rising) = (evidence, evidence / REST, true);
    }

    /// The severity of an incident of that peak, which joins the past ones.
    fn count(&mut self, peak: f64) -> f64 {
        if self.past.is_empty() {
            self.past = vec![0.0; BINS];
        }
        let bin = |evidence: f64| ((evidence / WIDTH).max(0.0) as usize).min(BINS - 1);
        let as_severe: f64 = self.past[bin(peak - TOLERANCE)..].iter().sum();
        self.past[bin(peak)] += 1.0;
        (peak - (1.0 + as_severe).log10()).max(0.0)
    }

    /// Appends what [`restore`](Self::restore) needs: the bins with something in them, the bar, and whether it rises.
    pub(super) fn tensors(&self, tensors: &mut Vec<Tensor>) {
        let filled = || self.past.iter().enumerate().filter(|(_, count)| **count != 0.0);
        let places: Vec<i64> = filled().map(|(bin, _)| bin as i64).collect();
        let rest = [self.bar, self.fall, f64::from(u8::from(self.rising))];
        let counts: Vec<f64> = filled().map(|(_, count)| *count).chain(rest).collect();
        tensors.push(Tensor::i64("alarm.incidents.bins", &[places.len()], places));
        tensors.push(Tensor::f64("alarm.incidents.counts", &[counts.len()], counts));
    }

    pub(super) fn restore(reader: Reader<'_>) -> Result<Self, CheckpointError> {
        const NAME: &str = "alarm.incidents.bins";
        let length = reader.length(NAME)?;
        let places = reader.within(0..=BINS as i64 - 1, NAME, &[length])?;
        let counts = reader.at_least(0.0, "alarm.incidents.counts", &[length + 3])?;
        let mut past = vec![0.0; if places.is_empty() { 0 } else { BINS }];
        places.iter().zip(counts).for_each(|(bin, count)| past[*bin as usize] = *count);
        Ok(Self { bar: counts[length], fall: counts[length + 1], rising: counts[length + 2] != 0.0, past })
    }
}
