//! The alarm of one partition: follows its events one by one, and says which of them people are to be told of.

use super::budget::{Budget, Governor, Incident, Pace, Rareness};
use super::incidents::Incidents;
use super::rarity::{self, LARGEST, Rarity};
use crate::checkpoint::{CheckpointError, Reader, Tensor};

/// Events that must have been seen before anything is severe, and windows besides before any alert.
const COLD_EVENTS: u64 = 100;
const COLD_WINDOWS: f64 = 10.0;
/// Levels that the experience of others is worth to a partition that begins.
const INHERITED: f64 = 1000.0;
/// Standard deviations of what the model doesn't know yet by which an event must be more surprising than usual, and events over which the mean
/// of these is taken.
const CERTAIN: f64 = 2.0;
const DOUBT_EVENTS: f64 = 100.0;
/// How many times as long as it takes to know what is rare it takes to be accustomed to doubt.
const ACCUSTOMED: f64 = 2.0;
/// An event that is not rare has no more of them, in nats.
const MOST_DOUBT: f64 = 20.0;
/// Windows that the memory holds at least.
const REMEMBERED_WINDOWS: f64 = 20.0;
/// Events that an alarm can have followed: so many that one more is still counted.
const MOST_EVENTS: i64 = 1 << 62;
/// Milliseconds that two times can be apart, and more than that.
const MOST_MS: f64 = 4e19;
/// Events for which the expected number of events as rare as the last is set at one event's probability.
const PENALTY_EVENTS: f64 = 1000.0;

/// What people want to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alerts {
    /// How much of it.
    pub budget: Budget,
    /// Events over which surprise is averaged: 1 where each event is for itself, more where they follow one another in time.
    pub window: f64,
    /// Events after which what was seen weighs half.
    pub memory: f64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { budget: Budget::default(), window: 1.0, memory: 4000.0 }
    }
}

impl Alerts {
    /// The same with surprise averaged over `window` events, and a memory in which there are enough of them.
    pub fn over(self, window: f64) -> Self {
        Self { window, memory: self.memory.max(REMEMBERED_WINDOWS * window), ..self }
    }
}

/// An event, as far as the alarm is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// How extreme it is, in nats. What isn't a number is as extreme as can be.
    pub extremity: f64,
    /// Standard deviation of its surprisal under the posterior, in nats.
    pub sd: f64,
    /// When it was, in milliseconds since 1970.
    pub time_ms: Option<i64>,
    /// This partition's share of a budget by time.
    pub share: f64,
}

/// What the alarm says of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Of the event with which an incident no longer gets worse: decades by which its worst event was rarer than any that was to be expected,
    /// less what incidents as severe there have been. 0 for any other event.
    pub severity: f64,
    /// Whether people are to be told.
    pub alert: bool,
    /// `−log10 p` of the surprise that was judged.
    pub rarity: f64,
}

/// A fold over the events of one partition: surprise averaged over a window, how rare that is, and which incidents alert.
///
/// With S the average, p its tail probability, t the number of events so far, 4,000 or the memory at most, and r how many events there are in
/// a week, the evidence of an event is `max(0, −log10 p − log10(t / 1000) − log10(r / 1000))`, whose last term is held within a decade
/// and left out where events have no times: decades by which the event is rarer than what was to be expected among those remembered, in
/// a stream of a thousand events a week. An incident every other day is not severe, however many events there are between. Nothing is severe before
/// 100 events have been seen. There is no alert before 100 events and ten windows have been seen, by this partition or by those
/// whose experience it began with; nor as long as the model knows so little that the event's surprise is within two of the standard
/// deviations that surprisals of usual events have of late, as far as these are more than they have had for a few hundred events: doubt that lasts is in p already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    events: u64,
    /// Average of the extremity over the window.
    level: f64,
    /// Mean level of what was not rare.
    usual: f64,
    /// Mean standard deviation of the surprisals that were not rare: of late, and over longer, beginning at 0.
    doubt: f64,
    accustomed: f64,
    rarity: Rarity,
    incidents: Incidents,
    governor: Governor,
}

impl Alarm {
    /// Events that it has followed.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Begins with what `others` have seen, if it has seen nothing itself: what is rare among all is rare here, until it is known better.
    pub fn inherit(&mut self, others: &[&Self]) {
        if self.events > 0 || others.is_empty() {
            return;
        }
        let mean = |of: fn(&Self) -> f64| others.iter().map(|other| of(other)).sum::<f64>() / others.len() as f64;
        self.rarity = Rarity::pooled(others.iter().map(|other| &other.rarity), INHERITED);
        self.usual = mean(|other| other.usual);
        self.level = self.usual;
        (self.doubt, self.accustomed) = (mean(|other| other.doubt), mean(|other| other.accustomed));
        self.governor.correction = mean(|other| other.governor.correction);
    }

    /// Decades of `−log10 p` from which an incident alerts, with this share of the budget.
    pub fn threshold(&self, alerts: &Alerts, share: f64) -> f64 {
        self.governor.threshold(alerts.budget, share, alerts.window)
    }

    /// Takes the next event in and judges it.
    pub fn advance(&mut self, alerts: &Alerts, event: Observation) -> Verdict {
        let bounded = |number: f64| if number.is_nan() { LARGEST } else { number.clamp(-LARGEST, LARGEST) };
        let (extremity, sd) = (bounded(event.extremity), bounded(event.sd));
        if self.rarity.weight() == 0.0 {
            (self.level, self.doubt) = (extremity, sd.min(MOST_DOUBT));
        }
        self.level += (extremity - self.level) / alerts.window;
        self.events += 1;
        // How long it takes to know what is rare, and so to know one's own doubt.
        let cold = COLD_EVENTS as f64 + COLD_WINDOWS * alerts.window;
        let (known, ready) = (self.events > COLD_EVENTS, self.rarity.weight() >= cold);
        let log10_p = self.rarity.advance(self.level, (-std::f64::consts::LN_2 / alerts.memory).exp());
        let certain = self.level - self.usual > CERTAIN * (self.doubt - self.accustomed);
        let weight = rarity::weight(log10_p);
        self.usual += weight * (self.level - self.usual) / self.rarity.weight().clamp(1.0, alerts.memory);
        // Not that of the event itself: however uncertain the distance of what is far out, it is far out.
        self.doubt += weight * (sd.min(MOST_DOUBT) - self.doubt) / DOUBT_EVENTS;
        self.accustomed += weight * (self.doubt - self.accustomed) / (ACCUSTOMED * cold);
        let expected = (self.events as f64).min(alerts.memory) / PENALTY_EVENTS;
        let evidence = -log10_p - expected.log10() - self.governor.pace.decades();
        let rareness = Rareness { decades: -log10_p, ready, certain, time_ms: event.time_ms };
        Verdict {
            severity: self.incidents.advance(if known { evidence.max(0.0) } else { 0.0 }),
            alert: self.governor.advance(alerts.budget, event.share, alerts.window, rareness),
            rarity: -log10_p,
        }
    }

    /// The alarm as named tensors, all that [`restore`](Self::restore) needs; none before the first event.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        if self.events == 0 {
            return tensors;
        }
        let Governor { pace: Pace { last_ms, gap_ms, gaps, held_ms }, correction, alerts, incident } = &self.governor;
        let Incident { least, calm, events, peak, rested } = incident.unwrap_or_default();
        let whole =
            [self.events as i64, last_ms.is_some().into(), last_ms.unwrap_or_default(), incident.is_some().into(), rested.into()];
        let numbers = [
            self.level,
            self.doubt,
            self.usual,
            self.accustomed,
            *gap_ms,
            *gaps,
            *correction,
            *alerts,
            least,
            calm,
            events,
            peak,
        ];
        tensors.push(Tensor::i64("alarm.whole", &[whole.len()], whole.into()));
        tensors.push(Tensor::f64("alarm.moments", &[numbers.len()], numbers.into()));
        tensors.push(Tensor::f64("alarm.held_ms", &[1], vec![*held_ms]));
        self.rarity.tensors(&mut tensors);
        self.incidents.tensors(&mut tensors);
        tensors
    }

    /// The alarm from the tensors that [`tensors`](Self::tensors) gave. Snapshots from before alarms were as they are have others: then it
    /// begins anew.
    pub fn restore(tensors: &[Tensor]) -> Result<Self, CheckpointError> {
        if !tensors.iter().any(|tensor| tensor.name == "alarm.moments") {
            return Ok(Self::default());
        }
        let reader = Reader(tensors);
        let [events, timed, last_ms, open, rested] = *reader.i64("alarm.whole", &[5])? else {
            unreachable!("the shape was checked")
        };
        let numbers = reader.f64("alarm.moments", &[12])?;
        let [level, doubt, usual, accustomed, gap_ms, gaps, correction, alerts, least, calm, lasted, peak] = *numbers else {
            unreachable!("the shape was checked")
        };
        let bad = |name: &str, detail: String| Err(CheckpointError::BadValue { name: name.into(), detail });
        if !(1..=MOST_EVENTS).contains(&events) {
            return bad("alarm.whole", format!("element 0 is {events}, expected 1 to {MOST_EVENTS}"));
        }
        if let Some(at) = numbers.iter().position(|number| number.abs() > 1e18) {
            return bad("alarm.moments", format!("element {at} is {}, expected at most 1e18", numbers[at]));
        }
        if gaps < 0.0 || alerts < 0.0 {
            return bad("alarm.moments", format!("{gaps} gaps and {alerts} alerts, expected none below 0"));
        }
        let held = tensors.iter().any(|tensor| tensor.name == "alarm.held_ms");
        let held_ms = if held { reader.f64("alarm.held_ms", &[1])?[0] } else { 0.0 };
        if held_ms.abs() > MOST_MS {
            return bad("alarm.held_ms", format!("{held_ms} ms, expected at most {MOST_MS:e}"));
        }
        let pace = Pace { last_ms: (timed != 0).then_some(last_ms), gap_ms, gaps, held_ms };
        let governor = Governor {
            pace,
            correction,
            alerts,
            incident: (open != 0).then_some(Incident { least, calm, events: lasted, peak, rested: rested != 0 }),
        };
        let (rarity, incidents) = (Rarity::restore(reader)?, Incidents::restore(reader)?);
        Ok(Self { events: events.unsigned_abs(), level, doubt, usual, accustomed, rarity, incidents, governor })
    }
}

#[cfg(test)]
mod tests;
