//! The judge: whether a process that goes on takes ever more. Knows samples and nothing else.

use crate::sample::Sample;

/// Of a life, what isn't looked at: caches, queues and the model's own structure fill up. In seconds.
pub const WARM_UP: f64 = 120.0;
/// Growth of memory that passes, of what there was, over all of a life after its warm-up.
pub const GROWTH: f64 = 0.05;
/// Lag that passes, in seconds of events.
pub const LAG: f64 = 2.0;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By `kill -9`.
    Killed,
    /// In good order.
    Stopped,
}

/// A life of the process, from its start to its end.
#[derive(Debug)]
pub struct Life {
    /// How it ended.
    pub end: End,
    pub samples: Vec<Sample>,
    /// From the process's start to the first new committed score, in seconds.
    pub recovery: f64,
}

/// A quantity of a sample, and its name.
type Named<T> = (&'static str, fn(&Sample) -> T);

/// How a quantity went in the time that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Medians of the first and of the last quarter.
    pub first: f64,
    pub last: f64,
    /// What the median slope of all pairs of samples adds up to (Theil 1950, Sen 1968).
    pub trend: f64,
}

impl Life {
    /// Seconds that it lasted.
    pub fn seconds(&self) -> f64 {
        self.samples.last().map_or(0.0, |sample| sample.at)
    }

    /// Samples after the warm-up; of a short life, those of its last three quarters.
    pub fn steady(&self) -> &[Sample] {
        let from = WARM_UP.min(self.seconds() / 4.0);
        &self.samples[self.samples.partition_point(|sample| sample.at < from)..]
    }

    pub fn course(&self, of: impl Fn(&Sample) -> f64) -> Course {
        let points: Vec<(f64, f64)> = self.steady().iter().map(|sample| (sample.at, of(sample))).collect();
        let quarter = points.len().div_ceil(4);
        let values = |points: &[(f64, f64)]| median(points.iter().map(|(_, value)| *value).collect());
        let pairs =
            points.iter().enumerate().flat_map(|(at, (x, y))| points[at + 1..].iter().map(move |(u, v)| (v - y) / (u - x)));
        let span = points.first().zip(points.last()).map_or(0.0, |(first, last)| last.0 - first.0);
        Course {
            first: values(&points[..quarter]),
            last: values(&points[points.len() - quarter..]),
            trend: span * median(pairs.collect()),
        }
    }
}

/// What speaks against the lives of a process, of which the longest must take no more in the end than in the beginning, and each must
/// keep up with events that come at `per_second`.
pub fn complaints(lives: &[Life], per_second: f64) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, life) in (1..).zip(lives) {
        let lag = life.course(|sample| sample.lag).last / per_second;
        if lag > LAG {
            complaints.push(format!("life {number} ends {lag:.1} s behind, with {LAG} s allowed"));
        }
    }
    let Some(longest) = lives.iter().max_by(|a, b| a.seconds().total_cmp(&b.seconds())) else {
        return vec!["there was no life".into()];
    };
    let memory: [Named<f64>; 2] =
        [("resident memory", |sample| sample.resident), ("anonymous memory", |sample| sample.anonymous)];
    for (name, of) in memory {
        let Course { first, last, trend } = longest.course(of);
        for (grown, measure) in [(last - first, "from the first quarter's median to the last's"), (trend, "by its median slope")]
        {
            let share = grown / first;
            if share.is_nan() || share > GROWTH {
                complaints.push(format!("{name} grows by {:.1} % {measure}, with {} % allowed", 100.0 * share, 100.0 * GROWTH));
            }
        }
    }
    let counts: [Named<u64>; 2] = [("file descriptors", |sample| sample.descriptors), ("threads", |sample| sample.threads)];
    for (name, of) in counts {
        let steady = longest.steady();
        let last = &steady[steady.len() - steady.len().div_ceil(4)..];
        let ((least, most), (floor, _)) = (range(steady, of), range(last, of));
        if most > least {
            complaints.push(format!("{least} to {most} {name} in the longest life, in the end {floor} or more"));
        }
    }
    let lag = longest.course(|sample| sample.lag).trend / per_second;
    if lag > LAG / 2.0 {
        complaints.push(format!("the lag grows by {lag:.1} s in the longest life"));
    }
    complaints
}

/// The least and the greatest of a quantity.
pub fn range(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> (u64, u64) {
    let values = || samples.iter().map(&of);
    (values().min().unwrap_or_default(), values().max().unwrap_or_default())
}

/// The middle one of `values`; not a number if there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
