//! Whether the numbers mean what they say: tail probabilities and predictions against how often it happened, alerts against the rate
//! that was asked for.

use super::panel::{Panel, on};
use super::scale::{Along, Scale};
use super::text::{counted, day, number, percent, time};
use super::{Observation, Series};

const HEIGHT: usize = 240;

/// Standard deviations to either side that hold 95 % of a normal distribution.
const SPREAD: f64 = 1.96;

/// Bars of the histogram.
const BINS: usize = 20;

/// Observed share of p ≤ α against α. Returns a sentence beside the chart.
pub fn calibration(observations: &[Observation]) -> (String, String) {
    const PER_DECADE: f64 = 12.0;
    let sorted = |counts: fn(&Observation) -> bool| {
        let mut tails: Vec<f64> = observations.iter().filter(|seen| counts(seen)).map(|seen| seen.tail_probability).collect();
        tails.sort_by(f64::total_cmp);
        tails
    };
    let (all, normal) = (sorted(|_| true), sorted(|seen| seen.label != Some(true)));
    let decades = (all.len() as f64).log10().clamp(1.0, 5.0).ceil();
    let alphas: Vec<f64> =
        (0..=(decades * PER_DECADE) as i32).map(|step| 10_f64.powf(f64::from(step) / PER_DECADE - decades)).collect();
    let scale = Scale::log(10_f64.powf(-decades), 1.0);
    let mut panel = Panel::new(HEIGHT, scale.ticks(5), scale.ticks(5));
    let place = on(scale, scale);
    let events = all.len() as f64;
    let chance = alphas.iter().map(|alpha| {
        let spread = SPREAD * (alpha * (1.0 - alpha) / events).sqrt();
        (scale.at(*alpha), scale.at(alpha - spread), scale.at(alpha + spread))
    });
    panel.band("chance", &chance.collect::<Vec<_>>());
    panel.line("asked", [(0.0, 0.0), (1.0, 1.0)]);
    let curve = |tails: &[f64]| {
        let shares = alphas.iter().map(|alpha| (*alpha, share(tails, *alpha))).filter(|(_, share)| *share > 0.0);
        shares.map(&place).collect::<Vec<_>>()
    };
    if normal.len() < all.len() && !normal.is_empty() {
        panel.line("observed normal", curve(&normal));
    }
    panel.line("observed", curve(&all));
    let alpha = 0.01;
    let said =
        format!("A tail probability of at most {} was given to {} of all events.", number(alpha), percent(share(&all, alpha)));
    (panel.html("observed share, against tail probability", &format!("Calibration of the tail probability. {said}"), false), said)
}

/// Share of `sorted` that is at most `bound`.
fn share(sorted: &[f64], bound: f64) -> f64 {
    sorted.partition_point(|tail| *tail <= bound) as f64 / sorted.len().max(1) as f64
}

/// Where the truth fell in its predictive distribution; nothing without predictions.
pub fn histogram(observations: &[Observation]) -> Option<(String, String)> {
    let mut bins = [0_usize; BINS];
    let (mut all, mut covered) = (0, 0);
    for prediction in observations.iter().filter_map(|seen| seen.prediction) {
        bins[((prediction.probability * BINS as f64) as usize).min(BINS - 1)] += 1;
        all += 1;
        covered += usize::from((0.05..=0.95).contains(&prediction.probability));
    }
    if all == 0 {
        return None;
    }
    let level = |count: f64| count * BINS as f64 / all as f64;
    let highest = bins.iter().map(|count| level(*count as f64)).fold(1.5, f64::max);
    let (x, y) = (Scale::linear(0.0, 1.0), Scale::linear(0.0, 1.08 * highest));
    let mut panel = Panel::new(HEIGHT, x.ticks(5), y.ticks(4));
    for (bin, count) in bins.iter().enumerate() {
        let (from, to) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
        let tells = format!("{} to {}: {}", number(from), number(to), counted(*count, "event"));
        panel.bar("bin", (from, to), y.at(level(*count as f64)), &tells);
    }
    let spread = SPREAD * (BINS as f64 / all as f64).sqrt();
    panel.band("chance", &[(0.0, y.at(1.0 - spread), y.at(1.0 + spread)), (1.0, y.at(1.0 - spread), y.at(1.0 + spread))]);
    panel.line("asked", [(0.0, y.at(1.0)), (1.0, y.at(1.0))]);
    let said = format!("The 90 % interval held {} of the events.", percent(covered as f64 / all as f64));
    Some((
        panel.html("density, against the predictive's quantile (PIT)", &format!("Histogram of quantiles. {said}"), false),
        said,
    ))
}

/// Alerts by time, or by thousands of rows, against the rate that was asked for.
pub fn budget(series: &Series, along: Along) -> (String, String) {
    let (width, unit) = stretch(along);
    let observations = &series.observations;
    let begin = observations.first().map_or(0, |seen| seen.position(along.is_time));
    let bars = (along.span() / width).ceil().max(1.0) as usize;
    let (mut events, mut alerts) = (vec![0_usize; bars], vec![0_usize; bars]);
    for seen in observations {
        let bar = (((seen.position(along.is_time) - begin) as f64 / width) as usize).min(bars - 1);
        events[bar] += 1;
        alerts[bar] += usize::from(seen.alert);
    }
    let asked_rate = Some(series.asked_rate()).filter(|rate| rate.is_finite());
    let asked = |bar: usize| asked_rate.unwrap_or(0.0) * events[bar] as f64;
    let highest = (0..bars).map(|bar| asked(bar).max(alerts[bar] as f64)).fold(1.0, f64::max);
    let y = Scale::linear(0.0, 1.1 * highest);
    let mut panel = Panel::new(HEIGHT, along.ticks(), y.ticks(4));
    let mut steps = Vec::new();
    for bar in 0..bars {
        let (from, to) = (bar as f64 * width / along.span(), ((bar + 1) as f64 * width / along.span()).min(1.0));
        let position = begin + (bar as f64 * width) as i64;
        let name = match along.is_time {
            true if width >= 86_400_000.0 => day(position),
            true => time(position),
            false => format!("from row {position}"),
        };
        let tells = format!("{name}: {} of {}", counted(alerts[bar], "alert"), counted(events[bar], "event"));
        let gap = 0.1 * (to - from);
        panel.bar("alerted", (from + gap, to - gap), y.at(alerts[bar] as f64), &tells);
        steps.extend([(from, y.at(asked(bar))), (to, y.at(asked(bar)))]);
    }
    panel.line("asked", steps);
    let total: usize = alerts.iter().sum();
    let rate = 1000.0 * total as f64 / observations.len().max(1) as f64;
    let said = format!(
        "{} in all, {} in a thousand events; asked for: {}.",
        counted(total, "alert"),
        number(rate),
        asked_rate.map_or_else(|| "so many a day, of events without a time".into(), |rate| number(1000.0 * rate))
    );
    (panel.html(&format!("alerts {unit}"), &format!("Alerts {unit}. {said}"), false), said)
}

/// How wide a bar is, in milliseconds or rows, and what its height then is.
fn stretch(along: Along) -> (f64, String) {
    const MOST_BARS: f64 = 60.0;
    let (units, names): (&[f64], &[&str]) = match along.is_time {
        true => (
            &[6e4, 3.6e6, 8.64e7, 6.048e8, 2.592e9, 3.15576e10],
            &["a minute", "an hour", "a day", "a week", "a month", "a year"],
        ),
        false => (&[1e3], &["in a thousand rows"]),
    };
    let fits = units.iter().position(|unit| along.span() / unit <= MOST_BARS);
    match fits {
        Some(index) => (units[index], names[index].into()),
        None => {
            let last = units[units.len() - 1];
            let many = (along.span() / last / MOST_BARS).ceil();
            let unit = if along.is_time {
                format!("in {many} years")
            } else {
                format!("in {} rows", super::text::count((many * last) as usize))
            };
            (many * last, unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_many_as_can_be_seen() {
        let day = 86_400_000;
        for (along, width, unit) in [
            (Along::new(0, 14 * day, true), 8.64e7, "a day"),
            (Along::new(0, 2 * day, true), 3.6e6, "an hour"),
            (Along::new(0, 49_096, false), 1e3, "in a thousand rows"),
            (Along::new(0, 1_000_000, false), 17e3, "in 17,000 rows"),
        ] {
            assert_eq!(stretch(along), (width, unit.into()));
        }
    }

    #[test]
    fn a_share_counts_what_is_at_most_the_bound() {
        assert_eq!(share(&[0.1, 0.2, 0.2, 0.4], 0.2), 0.75);
        assert_eq!((share(&[], 0.5), share(&[0.5], 0.1)), (0.0, 0.0));
    }
}
