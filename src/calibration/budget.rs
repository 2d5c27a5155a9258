//! The budget of alerts, and the threshold that keeps to it whatever the probabilities are worth.

/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
/// A thousand events a week are one in so many milliseconds.
const WEEKLY_MS: f64 = 7.0 * DAY_MS / 1000.0;
/// Decades by which an alert raises the threshold, and by which the time for one more lowers it again.
const GAIN: f64 = 0.3;
/// How many times as far it goes before the first alert. After n of them it is `1 + 2 / (1 + n)`.
const FIRST: f64 = 3.0;
/// The threshold, in decades, is never below this: an event as every second one is nothing to tell.
const LEAST: f64 = 0.3;
/// Decades that the threshold is never above.
const MOST: f64 = 300.0;
/// Decades below which it is calm, and half the threshold where that is more.
const CALM: f64 = 0.7;
/// Share of the mean distance between two alerts for which it must have been calm before the next incident can begin, and windows at most.
const CALM_SHARE: f64 = 0.1;
const CALM_WINDOWS: f64 = 2.5;
/// Decades beyond which p is no longer of what was seen: from there on it is squeezed.
const SEEN: f64 = 3.0;
/// How many times as rare an event must be, in decades, to be told of though an incident that has been calm meanwhile is not over.
const WORSE: f64 = 1.5;
/// Mean distances between two alerts after which an incident that still lasts is told again.
const LASTING: f64 = 2.0;
/// Mean gaps from which a gap may be a wild clock's, the longest that counts, and events that the mean is taken over.
const FAR_GAP: f64 = 1000.0;
const LONGEST_GAP_MS: f64 = 7.0 * DAY_MS;
const GAPS: f64 = 4096.0;

/// How many alerts people are willing to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many a day of the events' own time, all partitions together.
    PerDay(f64),
    /// This share of all events.
    Rate(f64),
}

impl Default for Budget {
    fn default() -> Self {
        Self::PerDay(1.0)
    }
}

/// How fast the events' own time goes by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// When the last event was, in milliseconds since 1970.
    pub(super) last_ms: Option<i64>,
    /// Mean gap between two events in milliseconds, late ones below 0, and how many gaps it is of.
    pub(super) gap_ms: f64,
    pub(super) gaps: f64,
    /// A far gap that isn't believed yet.
    pub(super) held_ms: f64,
}

impl Pace {
    /// Takes in when an event was. A far gap, as of a silence or a wild clock, counts once the next event is on its far side, too.
    fn follow(&mut self, time_ms: Option<i64>) {
        let (Some(time), before) = (time_ms, self.last_ms) else { return };
        self.last_ms = Some(time);
        let Some(before) = before else { return };
        let gap = time as f64 - before as f64;
        let far = if self.gaps > 0.0 { FAR_GAP * (self.gap_ms.abs() + 1.0) } else { DAY_MS };
        self.held_ms += gap;
        let elapsed = if gap.abs() > far { 0.0 } else { std::mem::take(&mut self.held_ms) };
        self.gaps = (self.gaps + 1.0).min(GAPS);
        self.gap_ms += (elapsed.clamp(-LONGEST_GAP_MS, LONGEST_GAP_MS) - self.gap_ms) / self.gaps;
    }

    /// Mean milliseconds between two events, whichever of them comes first; 0 where that isn't known.
    pub(super) fn mean_ms(&self) -> f64 {
        self.gap_ms.abs()
    }

    /// Decades by which there are more than a thousand events a week, within one; 0 where that isn't known.
    pub(super) fn decades(&self) -> f64 {
        if self.gap_ms == 0.0 { 0.0 } else { (WEEKLY_MS / self.mean_ms()).log10().clamp(-1.0, 1.0) }
    }
}

impl Budget {
    /// Alerts that an event allows, where `mean_ms` go by from one to the next, of which this partition gets `share`. Not the event's own
    /// time: what a night allows is spread over the events that follow, and is all spent.
    fn allows(self, mean_ms: f64, share: f64) -> f64 {
        match self {
            Self::PerDay(alerts) => (alerts * share * mean_ms / DAY_MS).min(1.0),
            Self::Rate(rate) => rate,
        }
    }
}

/// An alert, and what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Incident {
    /// The correction may not fall below this while it lasts.
    pub(super) least: f64,
    /// Events in a row, up to now, for which it has been calm.
    pub(super) calm: f64,
    /// Events since it began.
    pub(super) events: f64,
    /// The most decades, and whether it has been calm since the alert.
    pub(super) peak: f64,
    pub(super) rested: bool,
}

/// Decades as thresholds have them: the same up to three, and `3 + ½ ln(1 + 2 (d − 3))` of d beyond, where p is a law's and anomalies that come
/// again and again are anywhere. So a threshold that has to rise above them is there after a few alerts.
fn squeezed(decades: f64) -> f64 {
    let beyond = (decades - SEEN).max(0.0);
    decades.min(SEEN) + 0.5 * (2.0 * beyond).ln_1p()
}

/// The decades that are so squeezed.
fn stretched(squeezed: f64) -> f64 {
    let beyond = (squeezed - SEEN).max(0.0);
    squeezed.min(SEEN) + 0.5 * (2.0 * beyond).exp_m1()
}

/// Decides which incidents alert.
///
/// The threshold on `−log10 p`, squeezed where it is beyond three, is what the model says it should be, `−log10(alerts allowed an event · events of an excursion)`, and a
/// correction by experience:
///
/// ```text
/// correction ← correction − g · allowance(event) + g · [alert],   g = 0.3 (1 + 2 / (1 + alerts so far))
/// ```
///
/// So the sum of alerts differs from the sum of allowances by no more than the threshold has moved, over 0.3, whatever the stream, but
/// for what is discarded while an incident lasts and at the threshold's ends: integral control, as of Gibbs & Candès (2021). An
/// incident lasts until it has been calm for a while, or for so long that it is time to tell of it again; one that is much worse need
/// not wait. It pays for one alert only: while it lasts, the threshold doesn't fall below where it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Governor {
    pub(super) pace: Pace,
    /// Decades on top of the model's threshold.
    pub(super) correction: f64,
    /// Alerts so far.
    pub(super) alerts: f64,
    pub(super) incident: Option<Incident>,
}

/// What the governor is told of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rareness {
    /// `−log10 p`.
    pub(super) decades: f64,
    /// Whether enough was seen to decide anything.
    pub(super) ready: bool,
    /// Whether the model knows enough to call this event rare.
    pub(super) certain: bool,
    /// When it was, in milliseconds since 1970.
    pub(super) time_ms: Option<i64>,
}

impl Governor {
    /// Decades from which an incident alerts. `excursion` is how many events in a row are rare if one is.
    pub(super) fn threshold(&self, budget: Budget, share: f64, excursion: f64) -> f64 {
        stretched((self.expected(budget, share, excursion) + self.correction).clamp(LEAST, squeezed(MOST)))
    }

    /// Decades, squeezed, that are exceeded as often as the budget allows, if probabilities are right.
    fn expected(&self, budget: Budget, share: f64, excursion: f64) -> f64 {
        let allowed = budget.allows(self.pace.mean_ms(), share) * excursion;
        squeezed(if allowed > 0.0 { -allowed.min(0.5).log10() } else { MOST })
    }

    /// Whether this event is to alert.
    pub(super) fn advance(&mut self, budget: Budget, share: f64, excursion: f64, event: Rareness) -> bool {
        self.pace.follow(event.time_ms);
        let allowed = budget.allows(self.pace.mean_ms(), share);
        // As long as it isn't known how fast events come, a budget by time says nothing, and experience stays as it is.
        if !event.ready || allowed <= 0.0 {
            return false;
        }
        let expected = self.expected(budget, share, excursion);
        let least = self.incident.map_or(f64::NEG_INFINITY, |incident| incident.least);
        let gain = GAIN * (1.0 + (FIRST - 1.0) / (1.0 + self.alerts));
        let correction = (self.correction - gain * allowed).max(least);
        // No debts are run up where the threshold is as low or high as it can be.
        self.correction = correction.clamp(LEAST - expected, squeezed(MOST) - expected);
        let threshold = expected + self.correction;
        let mut alert = event.certain && squeezed(event.decades) > threshold;
        if let Some(mut incident) = self.incident {
            incident.events += 1.0;
            incident.calm = if event.decades < (0.5 * threshold).max(CALM) { incident.calm + 1.0 } else { 0.0 };
            let over = incident.calm >= CALM_WINDOWS * excursion
                || incident.calm * allowed >= CALM_SHARE
                || incident.events * allowed >= LASTING;
            incident.rested |= incident.calm > 0.0;
            alert &= incident.rested && event.decades > WORSE * incident.peak;
            incident.peak = incident.peak.max(event.decades);
            self.incident = (!over).then_some(incident);
        }
        if alert {
            self.incident = Some(Incident { least: self.correction, peak: event.decades, ..Incident::default() });
            self.correction += gain;
            self.alerts += 1.0;
        }
        alert
    }
}
