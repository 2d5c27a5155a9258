//! A series as people see it: in its own units, with strays and autocorrelation, and its regimes told apart.

use super::run_length::{Birth, Law, MOST_RUNS, Run, RunLengths};
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::dist::normal_gamma::NormalGamma;

/// Values from which the series' units are learnt, before any regime is told.
const FIRST: usize = 50;
/// How many independent values they count as: less than they are, because they say as yet nothing of how they depend on each other.
const FIRST_COUNT: f64 = 2.0;
/// Of a normal, the median deviation in standard deviations.
const MEDIAN_DEVIATION: f64 = 0.674_489_750_196_081_7;
/// ε: the share of values that are strays.
const STRAY: f64 = 0.01;
/// A regime that begins has its mean within tens of deviations, and a deviation that is another by a factor of a few.
const STRENGTH: f64 = 0.01;
const DOF: f64 = 2.0;
/// The probability from which a change is told, and the values that the new regime must have.
const SURE: f64 = 0.999;
const LEAST_VALUES: u64 = 5;
/// Values over which the typical deviation and the autocorrelation are averaged.
const SPREAD_VALUES: f64 = 2000.0;
const LAG_VALUES: f64 = 1000.0;
/// The autocorrelation until it is known better, which counts as the first values do.
const CORRELATED: f64 = 0.8;
/// Typical deviations at which a value is cut for both.
const CUT: f64 = 3.0;
/// The greatest autocorrelation that is reckoned with.
const MOST_CORRELATED: f64 = 0.99;
/// Values beyond this count as this.
const LARGEST: f64 = 1e100;
/// What rounding takes off a value, as a share of the level.
const FINEST: f64 = 1e-9;
const TINIEST: f64 = 1e-75;
/// Values that a series can have had: so many that one more is still counted.
const MOST_VALUES: i64 = 1 << 62;
/// The greatest scatter of a run: so many squares of the largest value that the next is still finite.
const MOST_SCATTER: f64 = 1e300;
/// Numbers of a run.
const RUN: usize = 5;

/// How high a series is, and how far it varies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

impl From<NormalGamma> for Level {
    fn from(level: NormalGamma) -> Self {
        Self { mean: level.mean, sd: (level.scatter / level.dof).sqrt() }
    }
}

/// A regime has given way to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The series.
    pub series: String,
    /// Offset of the event that most likely was the first of the new regime.
    pub offset: i64,
    /// When that was, in milliseconds since 1970.
    pub time_ms: Option<i64>,
    /// The probability that the regime has changed since the last change that was told.
    pub probability: f64,
    /// The old regime.
    pub before: Level,
    /// The new one.
    pub after: Level,
}

/// Which event a value came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its offset.
    pub offset: i64,
    /// When it was, in milliseconds since 1970.
    pub time_ms: Option<i64>,
}

/// The regimes of one series: a fold over its values.
///
/// From the first 50 values its units are learnt: their median, and 1.48 times their median deviation from it, stand for a first regime.
/// Values that are all multiples of something vary by no less than rounding to it does.
/// From then on a value that begins a regime is expected about the likeliest present one, as Student's t with two degrees of freedom and
/// the scale 10 σ, σ being the typical deviation within regimes; the value is then the regime's mean, whose prior is flat.
///
/// Values that follow one another are seldom independent. With ρ the lag-one autocorrelation of what deviates from the level, n of them tell
/// as much of a mean as `n (1 − ρ)/(1 + ρ)` independent ones, and so much each of them counts.
///
/// A change is told once the present regime began after the last one told with a probability of 0.999, and has five values.
#[derive(Clone, Debug, PartialEq)]
pub struct Regime {
    series: String,
    /// Values so far.
    values: u64,
    /// The first of them, until the units are known.
    first: Vec<f64>,
    lengths: RunLengths,
    /// Where the runs that may be the present one began.
    origins: Vec<Origin>,
    /// The first value of the regime that was told last, and the value that told.
    since: u64,
    told: u64,
    /// What the regime was like before there was a doubt that it lasts.
    settled: Level,
    /// Mean square of what deviates from the level; then the same and the mean product with the deviation before, of late.
    square: f64,
    recent: f64,
    product: f64,
    deviation: f64,
    /// The last value, and the smallest step that there was between two.
    last: f64,
    step: f64,
}

impl Regime {
    /// The series of that name, of which nothing was seen.
    pub fn new(series: &str) -> Self {
        Self {
            series: series.into(),
            values: 0,
            first: Vec::new(),
            lengths: RunLengths::default(),
            origins: Vec::new(),
            since: 0,
            told: 0,
            settled: Level::default(),
            square: 0.0,
            recent: 0.0,
            product: 0.0,
            deviation: 0.0,
            last: 0.0,
            step: LARGEST,
        }
    }

    /// The series' name.
    pub fn series(&self) -> &str {
        &self.series
    }

    /// Values since the regime began that was told last; none before the units are known.
    pub fn age(&self) -> Option<u64> {
        (!self.lengths.runs().is_empty()).then_some(self.values - self.since)
    }

    /// Takes in the value `x` of an event, NaN where it has none, and says whether the regime was found to have changed. `hazard` is the
    /// probability that it does before a value.
    pub fn observe(&mut self, hazard: f64, origin: Origin, x: f64) -> Option<Change> {
        if x.is_nan() {
            return None;
        }
        let (number, x) = (self.values, x.clamp(-LARGEST, LARGEST));
        self.values += 1;
        let step = (x - self.last).abs();
        if number > 0 && step > FINEST * x.abs().max(self.last.abs()) {
            self.step = self.step.min(step);
        }
        self.last = x;
        let Some(level) = self.lengths.likeliest(|_| true).map(|run| run.level) else {
            self.first.push(x);
            self.origins.push(origin);
            if self.first.len() == FIRST {
                self.begin();
            }
            return None;
        };
        let [square, recent] = [self.square, self.recent].map(|square| square.max(self.rounding(level.mean)));
        let correlation = (self.product / recent).clamp(0.0, MOST_CORRELATED);
        let share = (1.0 - correlation) / (1.0 + correlation);
        let nothing = NormalGamma { mean: level.mean, strength: STRENGTH, dof: DOF, scatter: DOF * square };
        // One value says nothing of how far its regime varies. It would expect strays where a regime without values expects anything else.
        let fresh =
            NormalGamma { mean: x, strength: share * (1.0 - STRAY), dof: DOF, scatter: DOF * self.square.max(self.rounding(x)) };
        let birth = Birth { log_density: nothing.predictive_log_density(x), level: fresh };
        let (law, step) = (Law { hazard, stray: STRAY }, self.step);
        let merged = self.lengths.observe(law, birth, number, x, share, |mean| rounding_of(mean, step));
        self.origins.push(origin);
        if let Some(place) = merged {
            self.origins.remove(place);
        }

        // What is a stray, or of another regime, says nothing of this one; nor does a level so high that rounding there hides all else.
        let [regular, astray] = [(1.0 - STRAY).ln() + level.predictive_log_density(x), STRAY.ln() + birth.log_density];
        let cut = CUT * square.sqrt();
        if self.square > 0.0 && rounding_of(level.mean, LARGEST) > self.square {
            return self.judge();
        }
        self.correlate((x - level.mean).clamp(-cut, cut), 1.0 / (1.0 + (astray - regular).exp()));
        self.judge()
    }

    /// The first values make the first regime.
    fn begin(&mut self) {
        let median = |values: &mut [f64]| {
            values.sort_unstable_by(f64::total_cmp);
            0.5 * (values[(FIRST - 1) / 2] + values[FIRST / 2])
        };
        let centre = median(&mut self.first);
        let mut deviations: Vec<f64> = self.first.iter().map(|x| (x - centre).abs()).collect();
        let middle = median(&mut deviations) / MEDIAN_DEVIATION;
        // Where most values are the same, the others say how far it varies, but for the two that are farthest off.
        let rest = || deviations[..FIRST - 2].iter().map(|deviation| deviation * deviation).sum::<f64>() / (FIRST - 2) as f64;
        self.square = if middle > 0.0 { middle * middle } else { rest() };
        let (dof, scatter) = (DOF + FIRST_COUNT, (DOF + FIRST_COUNT) * self.square.max(self.rounding(centre)));
        let level = NormalGamma { mean: centre, strength: FIRST_COUNT, dof, scatter };
        self.lengths.runs.push(Run { start: 0, log_weight: 0.0, level });
        self.origins.truncate(1);
        (self.settled, self.recent, self.product) = (level.into(), self.square, CORRELATED * self.square);
        self.first = Vec::new();
    }

    /// The variance of what rounding takes off values about `mean`.
    fn rounding(&self, mean: f64) -> f64 {
        rounding_of(mean, self.step)
    }

    /// Takes in how far a value is from the level, as far as it `counts`.
    fn correlate(&mut self, deviation: f64, counts: f64) {
        let seen = self.values as f64;
        let rate = counts / seen.min(LAG_VALUES);
        self.product += (self.deviation * deviation - self.product) * rate;
        self.recent += (deviation * deviation - self.recent) * rate;
        self.square += (deviation * deviation - self.square) * counts / seen.min(SPREAD_VALUES);
        self.deviation = deviation;
    }

    /// Whether the regime has changed since the last one told.
    fn judge(&mut self) -> Option<Change> {
        let probability = self.lengths.probability_after(self.told);
        if probability < 0.5 {
            self.settled = self.lengths.likeliest(|_| true)?.level.into();
        }
        if probability < SURE {
            return None;
        }
        let Run { start, level, .. } = *self.lengths.likeliest(|run| run.start > self.told)?;
        if self.values - start < LEAST_VALUES {
            return None;
        }
        let place = self.lengths.runs().iter().position(|run| run.start == start)?;
        let Origin { offset, time_ms } = self.origins[place];
        let before = std::mem::replace(&mut self.settled, level.into());
        // Those that begin between the two are other guesses of the same beginning.
        (self.since, self.told) = (start, self.values - 1);
        Some(Change { series: self.series.clone(), offset, time_ms, probability, before, after: level.into() })
    }

    /// The regime as named tensors that begin with `prefix`, all that [`restore`](Self::restore) needs.
    pub fn tensors(&self, prefix: &str, tensors: &mut Vec<Tensor>) {
        let runs = self.lengths.runs();
        let numbers = runs.iter().flat_map(|run| {
            let NormalGamma { mean, strength, dof, scatter } = run.level;
            [run.log_weight, mean, strength, dof, scatter]
        });
        tensors.push(Tensor::f64(format!("{prefix}.runs"), &[runs.len(), RUN], numbers.collect()));
        let starts = runs.iter().map(|run| run.start as i64).collect();
        tensors.push(Tensor::i64(format!("{prefix}.starts"), &[runs.len()], starts));
        let origins = self
            .origins
            .iter()
            .flat_map(|Origin { offset, time_ms }| [*offset, time_ms.is_some().into(), time_ms.unwrap_or_default()]);
        tensors.push(Tensor::i64(format!("{prefix}.origins"), &[self.origins.len(), 3], origins.collect()));
        tensors.push(Tensor::f64(format!("{prefix}.first"), &[self.first.len()], self.first.clone()));
        let counts = [self.values, self.since, self.told].map(|count| count as i64);
        tensors.push(Tensor::i64(format!("{prefix}.counts"), &[counts.len()], counts.into()));
        let Level { mean, sd } = self.settled;
        let moments = vec![mean, sd, self.square, self.recent, self.product, self.deviation, self.last, self.step];
        tensors.push(Tensor::f64(format!("{prefix}.moments"), &[moments.len()], moments));
    }

    /// The regime of `series` from the tensors that [`tensors`](Self::tensors) gave.
    pub fn restore(series: &str, prefix: &str, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        let name = |part: &str| format!("{prefix}.{part}");
        let bad = |part: &str, detail: String| Err(CheckpointError::BadValue { name: name(part), detail });
        let count = reader.length(&name("starts"))?;
        if count > MOST_RUNS {
            return bad("starts", format!("{count} runs, expected at most {MOST_RUNS}"));
        }
        let [values, since, told] = *reader.within(0..=MOST_VALUES, &name("counts"), &[3])? else {
            unreachable!("the shape was checked")
        };
        let starts = reader.within(0..=values, &name("starts"), &[count])?;
        if since.max(told) > values || starts.contains(&values) || !starts.is_sorted_by(|one, next| one < next) {
            return bad("starts", format!("{starts:?}, expected an ascent below {values}, of which {since} is told"));
        }
        let length = reader.length(&name("first"))?;
        let first = reader.f64(&name("first"), &[length])?.to_vec();
        let awaited = if count == 0 { values as usize } else { 0 };
        if length != awaited || length >= FIRST {
            return bad("first", format!("{length} values, expected {awaited}, fewer than {FIRST}"));
        }
        let places = if count == 0 { length } else { count };
        let origins = reader.i64(&name("origins"), &[places, 3])?.chunks_exact(3);
        let origins = origins.map(|place| Origin { offset: place[0], time_ms: (place[1] != 0).then_some(place[2]) }).collect();
        let numbers = reader.f64(&name("runs"), &[count, RUN])?;
        let runs = numbers.chunks_exact(RUN).zip(starts).map(|(numbers, start)| {
            let [log_weight, mean, strength, dof, scatter] = *numbers else { unreachable!("chunks of five") };
            Run { start: start.unsigned_abs(), log_weight, level: NormalGamma { mean, strength, dof, scatter } }
        });
        let runs: Vec<Run> = runs.collect();
        let positive = |level: &NormalGamma| {
            level.strength > 0.0 && level.dof >= DOF && level.scatter > 0.0 && level.scatter <= MOST_SCATTER
        };
        if let Some(run) =
            runs.iter().find(|run| !positive(&run.level) || run.log_weight > 1e-9 || run.level.mean.abs() > LARGEST)
        {
            return bad(
                "runs",
                format!("{run:?}, expected a probability, strength and scatter above 0, and two degrees of freedom or more"),
            );
        }
        let moments = reader.f64(&name("moments"), &[8])?;
        let [mean, sd, square, recent, product, deviation, last, step] = *moments else { unreachable!("the shape was checked") };
        if square < 0.0 || recent < 0.0 || step <= 0.0 || moments.iter().any(|moment| moment.abs() > 10.0 * LARGEST * LARGEST) {
            return bad("moments", format!("{moments:?}, expected mean squares of 0 or more"));
        }
        Ok(Self {
            series: series.into(),
            values: values.unsigned_abs(),
            first,
            lengths: RunLengths { runs },
            origins,
            since: since.unsigned_abs(),
            told: told.unsigned_abs(),
            settled: Level { mean, sd },
            square,
            recent,
            product,
            deviation,
            last,
            step,
        })
    }
}

/// The variance of what rounding takes off values about `mean`, which are `step` apart or more: `step² / 12`, and never next to nothing.
fn rounding_of(mean: f64, step: f64) -> f64 {
    let whole = if step < LARGEST { step * step / 12.0 } else { 0.0 };
    (FINEST * mean).abs().max(TINIEST).powi(2).max(whole)
}

#[cfg(test)]
mod tests;
