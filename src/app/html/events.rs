//! Events that are told of one by one: the most surprising, and those that alerted.

use super::text::{clip, count, counted, escape, number, time};
use super::{Observation, Series};

/// The most surprising events that are shown.
const SHOWN: usize = 20;
/// Alerts that are shown, the first of all, and changes of regime.
const TOLD: usize = 100;
/// Fields shown of each; of a wide event the rest is counted.
const FIELDS: usize = 8;
/// Letters shown of a name or a value.
const LETTERS: usize = 40;

/// A field of an event that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// The value, as text.
    pub value: String,
    /// Nats of the surprisal that are this field's, where they are known.
    pub nats: Option<f64>,
}

/// An event that is shown: its place among all, and its fields.
type Shown = (usize, Vec<Field>);

/// The events that are shown.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The most surprising so far, with their surprisals.
    top: Vec<(f64, Shown)>,
    told: Vec<Shown>,
}

impl Events {
    /// Takes in the event at `index`; its fields are asked for only if it is shown.
    pub fn offer(&mut self, index: usize, surprisal: f64, alert: bool, fields: impl FnOnce() -> Vec<Field>) {
        let place = self.top.partition_point(|(other, _)| *other >= surprisal);
        let told = alert && self.told.len() < TOLD;
        if place >= SHOWN && !told {
            return;
        }
        let shown = (index, fields());
        if told {
            self.told.push(shown.clone());
        }
        if place < SHOWN {
            self.top.insert(place, (surprisal, shown));
            self.top.truncate(SHOWN);
        }
    }
}

/// The table of the most surprising events.
pub fn most_surprising(series: &Series, is_time: bool) -> String {
    table(series, "Most surprising events", &series.events.top.iter().map(|(_, shown)| shown).collect::<Vec<_>>(), is_time)
}

/// What people would have been told: a sentence, and the tables of alerts and of changes of regime.
pub fn told(series: &Series, is_time: bool) -> (String, String) {
    let alerts = series.observations.iter().filter(|seen| seen.alert).count();
    let mut said = format!("{}.", counted(alerts, "alert"));
    if series.has_anomalies() {
        let is_labelled = |seen: &&Observation| seen.label == Some(true);
        let hits = series.observations.iter().filter(|seen| seen.alert).filter(is_labelled).count();
        let runs = series.observations.chunk_by(|one, next| one.label == next.label).filter(|run| run[0].label == Some(true));
        let (mut all, mut found) = (0, 0);
        for run in runs {
            all += 1;
            found += usize::from(run.iter().any(|seen| seen.alert));
        }
        said += &format!(
            " {} of them on a labelled event; {} of {} of labelled events have one.",
            count(hits),
            count(found),
            counted(all, "run")
        );
    }
    let mut html = String::new();
    if alerts > 0 {
        html += &table(series, "Alerts", &series.events.told.iter().collect::<Vec<_>>(), is_time);
    }
    if alerts > TOLD {
        html += &format!("<p>The first {TOLD} alerts are shown.</p>\n");
    }
    if !series.turns.is_empty() {
        html += &turns(series, is_time);
    }
    (said, html)
}

/// The table of the changes of regime.
fn turns(series: &Series, is_time: bool) -> String {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Changes of regime\"><table id=\"turns\"><thead><tr>\
         <th scope=\"col\">another regime of</th><th scope=\"col\">since</th></tr></thead><tbody>\n",
    );
    for turn in series.turns.iter().take(TOLD) {
        let since = match turn.time_ms.filter(|_| is_time) {
            Some(time_ms) => time(time_ms),
            None => format!("row {}", count(turn.row as usize)),
        };
        html += &format!("<tr><td>{}</td><td>{since}</td></tr>\n", escape(&clip(&turn.series, LETTERS)));
    }
    html + "</tbody></table></div>\n"
}

fn table(series: &Series, name: &str, shown: &[&Shown], is_time: bool) -> String {
    let labelled = series.observations.iter().any(|seen| seen.label.is_some());
    let widest = shown.iter().flat_map(|(_, fields)| fields).filter_map(|field| field.nats).fold(0.0, f64::max);
    let explained = widest > 0.0;
    let mut html = format!("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table><thead><tr>");
    let time_head = if is_time { "<th scope=\"col\">time</th>" } else { "" };
    let label_head = if labelled { "<th scope=\"col\">label</th>" } else { "" };
    let field_head = if explained { "fields, with their nats" } else { "fields" };
    html += &format!(
        "<th scope=\"col\">row</th>{time_head}<th scope=\"col\">surprisal</th><th scope=\"col\">tail probability</th>{label_head}\
         <th scope=\"col\">alert</th><th scope=\"col\">{field_head}</th></tr></thead><tbody>\n"
    );
    for (index, fields) in shown {
        html += &row(&series.observations[*index], fields, is_time, labelled, widest);
    }
    html + "</tbody></table></div>\n"
}

fn row(seen: &Observation, fields: &[Field], is_time: bool, labelled: bool, widest: f64) -> String {
    let mut html = format!("<tr><td>{}</td>", count(seen.row as usize));
    if is_time {
        html += &format!("<td>{}</td>", time(seen.position(true)));
    }
    html += &format!("<td>{}</td><td>{}</td>", number(seen.surprisal), number(seen.tail_probability));
    if labelled {
        let label = match seen.label {
            Some(true) => "<span class=\"tag anomaly\">anomaly</span>",
            Some(false) => "normal",
            None => "",
        };
        html += &format!("<td>{label}</td>");
    }
    html += if seen.alert { "<td><span class=\"tag alert\">alert</span></td>" } else { "<td></td>" };
    // The largest shares first; without shares the columns' order.
    let mut order: Vec<&Field> = fields.iter().collect();
    order.sort_by(|left, right| right.nats.unwrap_or(0.0).total_cmp(&left.nats.unwrap_or(0.0)));
    let shown = order.iter().take(FIELDS).map(|field| {
        let (name, value) = (escape(&clip(&field.name, LETTERS)), escape(&clip(&field.value, LETTERS)));
        let nats = field.nats.map(|nats| {
            let width = 5.0 * nats.max(0.0) / widest.max(f64::MIN_POSITIVE);
            format!(" <i class=\"share\" style=\"width:{width:.2}em\"></i><b class=\"nats\">{}</b>", number(nats))
        });
        format!("<span class=\"field\"><em>{name}</em> {value}{}</span>", nats.unwrap_or_default())
    });
    html += &format!("<td class=\"fields\">{}", shown.collect::<Vec<_>>().join(" "));
    if fields.len() > FIELDS {
        html += &format!(" <span class=\"more\">and {} more</span>", fields.len() - FIELDS);
    }
    html + "</td></tr>\n"
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn the_most_surprising_are_kept_in_order() {
        let surprisals: Vec<f64> = (0..200).map(|index| f64::from(index * 37 % 101)).collect();
        let mut events = Events::default();
        surprisals.iter().enumerate().for_each(|(index, surprisal)| events.offer(index, *surprisal, index % 50 == 7, Vec::new));
        let mut order: Vec<usize> = (0..surprisals.len()).collect();
        order.sort_by_key(|index| (Reverse(surprisals[*index] as i64), *index));
        let kept: Vec<usize> = events.top.iter().map(|(_, (index, _))| *index).collect();
        assert_eq!(kept, order[..SHOWN]);
        assert_eq!(events.told.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [7, 57, 107, 157]);
    }
}
