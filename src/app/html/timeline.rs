//! What happened, along time or rows: the events' numbers, and how surprising the events were.

use super::panel::Panel;
use super::scale::{Along, Scale};
use super::text::{clip, count, counted, number, time};
use super::thin::{Dots, PLACES, extremes, means, place, place_of};
use super::{ColumnId, Observation, Series, Turn};

const VALUE_HEIGHT: usize = 130;
const SURPRISAL_HEIGHT: usize = 210;

/// Stretches of labelled anomalies that are shaded, and the share of the chart that they take, at most: more would shade everything.
const SHADED: (usize, f64) = (80, 0.25);

/// The section's charts.
pub fn charts(series: &Series, along: Along) -> String {
    let observations = &series.observations;
    let xs: Vec<f64> = observations.iter().map(|seen| along.at(seen.position(along.is_time))).collect();
    let shades = shades(observations, &xs);
    let mut html = String::new();
    for (index, column) in series.columns.iter().enumerate() {
        let predicted = series.predicted == Some(ColumnId(index)) && observations.iter().any(|seen| seen.prediction.is_some());
        let ends =
            observations.iter().filter_map(|seen| seen.prediction).flat_map(|prediction| [prediction.lower, prediction.upper]);
        let scale = match predicted {
            true => Scale::fit(column.values.iter().copied().chain(ends)),
            false => Scale::fit(column.values.iter().copied()),
        };
        let mut panel = Panel::new(VALUE_HEIGHT, along.ticks(), scale.ticks(4));
        shade(&mut panel, &shades);
        if predicted {
            draw_prediction(&mut panel, observations, &xs, scale);
        }
        let points = xs.iter().zip(&column.values).map(|(x, value)| (*x, scale.at(*value)));
        panel.line("value", extremes(points));
        turns(&mut panel, series, along, |name| name == column.name);
        let title = clip(&column.name, 80);
        let name = match predicted {
            true => format!("{title}, its expected value and the 90 % interval, over {}", along.unit()),
            false => format!("{title} over {}", along.unit()),
        };
        html.push_str(&panel.html(&title, &name, true));
    }
    html + &surprisal(series, &xs, &shades, along)
}

/// Where a turn is along the charts.
fn at(turn: &Turn, along: Along) -> Option<f64> {
    let position = if along.is_time { turn.time_ms } else { Some(turn.row) };
    position.map(|position| along.at(position))
}

/// Where series of these names entered another regime.
fn turns(panel: &mut Panel, series: &Series, along: Along, which: impl Fn(&str) -> bool) {
    for turn in series.turns.iter().filter(|turn| which(&turn.series)) {
        if let Some(x) = at(turn, along) {
            panel.line("turn", [(x, 0.0), (x, 1.0)]);
        }
    }
}

fn draw_prediction(panel: &mut Panel, observations: &[Observation], xs: &[f64], scale: Scale) {
    let predictions = observations.iter().zip(xs).filter_map(|(seen, x)| {
        let prediction = seen.prediction?;
        Some((*x, [prediction.lower, prediction.upper, prediction.expected].map(|value| scale.at(value))))
    });
    // Means of places on the chart, so that an interval looks as wide as it is.
    let thinned = means(predictions);
    let band: Vec<_> = thinned.iter().map(|(x, [low, high, _])| (*x, *low, *high)).collect();
    panel.band("interval", &band);
    panel.line("expected", thinned.iter().map(|(x, [_, _, expected])| (*x, *expected)));
}

fn surprisal(series: &Series, xs: &[f64], shades: &[(f64, f64)], along: Along) -> String {
    let observations = &series.observations;
    let scale = Scale::fit(observations.iter().map(|seen| seen.surprisal));
    let mut panel = Panel::new(SURPRISAL_HEIGHT, along.ticks(), scale.ticks(5));
    shade(&mut panel, shades);
    panel.line("surprisal", extremes(xs.iter().zip(observations).map(|(x, seen)| (*x, scale.at(seen.surprisal)))));
    let dots = |marked: fn(&Observation) -> bool| {
        let mut dots = Dots::default();
        for (seen, x) in observations.iter().zip(xs).filter(|(seen, _)| marked(seen)) {
            dots.put(*x, scale.at(seen.surprisal), panel.height());
        }
        dots.svg()
    };
    let (labels, alerts) = (dots(|seen| seen.label == Some(true)), dots(|seen| seen.alert));
    // And what has no chart of its own.
    turns(&mut panel, series, along, |name| series.columns.iter().all(|column| column.name != name));
    panel.group("labels", &labels);
    panel.group("alerts", &alerts);
    let (labelled, alerted) =
        (number_of(observations, |seen| seen.label == Some(true)), number_of(observations, |seen| seen.alert));
    let mut name = format!("Surprisal in nats over {}, with {}", along.unit(), counted(alerted, "alert"));
    if labelled > 0 {
        name += &format!(" and {}", counted(labelled, "labelled event"));
    }
    panel.html(&format!("surprisal, nats, over {}", along.unit()), &name, true)
}

fn number_of(observations: &[Observation], counts: impl Fn(&Observation) -> bool) -> usize {
    observations.iter().filter(|seen| counts(seen)).count()
}

/// Where labelled anomalies stand together, as ends in 0..=1; none where there would be too many stretches.
fn shades(observations: &[Observation], xs: &[f64]) -> Vec<(f64, f64)> {
    let mut stretches: Vec<(f64, f64)> = Vec::new();
    for (_, x) in observations.iter().zip(xs).filter(|(seen, _)| seen.label == Some(true)) {
        match stretches.last_mut() {
            Some((_, end)) if place(*x) <= place(*end) + 1 => *end = *x,
            _ => stretches.push((*x, *x)),
        }
    }
    let share: f64 = stretches.iter().map(|(from, to)| to - from).sum();
    if stretches.len() > SHADED.0 || share > SHADED.1 { vec![] } else { stretches }
}

fn shade(panel: &mut Panel, stretches: &[(f64, f64)]) {
    let half = 0.5 / PLACES as f64;
    for (from, to) in stretches {
        panel.band("labelled", &[(from - half, 0.0, 1.0), (to + half, 0.0, 1.0)]);
    }
}

/// What a pointer is told, for each of `places` equal parts of the charts; nothing where no event is.
pub fn readouts(series: &Series, along: Along, places: usize) -> Vec<String> {
    let mut parts: Vec<Option<(usize, usize)>> = vec![None; places];
    for (index, seen) in series.observations.iter().enumerate() {
        let part = place_of(along.at(seen.position(along.is_time)), places);
        parts[part] = Some((parts[part].map_or(index, |(first, _)| first), index));
    }
    let mut turned: Vec<Vec<&str>> = vec![Vec::new(); places];
    for turn in &series.turns {
        if let Some(x) = at(turn, along) {
            turned[place_of(x, places)].push(&turn.series);
        }
    }
    let readout = |(first, last): (usize, usize), turned: &[&str]| {
        let seen = &series.observations[first..=last];
        let name = |index: usize| match along.is_time {
            true => time(series.observations[index].position(true)),
            false => count(series.observations[index].row as usize),
        };
        let mut text = if along.is_time { name(first) } else { format!("row {}", name(first)) };
        if last > first {
            text += &format!(" to {}", name(last));
        }
        for column in &series.columns {
            text += &format!(" · {} {}", clip(&column.name, 24), range(column.values[first..=last].iter().copied()));
        }
        text += &format!(" · surprisal {}", range(seen.iter().map(|seen| seen.surprisal)));
        for (count, noun) in
            [(number_of(seen, |seen| seen.alert), "alert"), (number_of(seen, |seen| seen.label == Some(true)), "labelled event")]
        {
            if count > 0 {
                text += &format!(" · {}", counted(count, noun));
            }
        }
        turned.iter().for_each(|name| text += &format!(" · another regime of {}", clip(name, 24)));
        text
    };
    parts.into_iter().zip(&turned).map(|(part, turned)| part.map(|part| readout(part, turned)).unwrap_or_default()).collect()
}

/// Lowest and highest of some values.
fn range(values: impl Iterator<Item = f64>) -> String {
    let (low, high) = values.fold((f64::NAN, f64::NAN), |(low, high), value| (value.min(low), value.max(high)));
    if low == high || low.is_nan() { number(low) } else { format!("{} to {}", number(low), number(high)) }
}
