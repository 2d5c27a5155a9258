//! The most surprising events: which are kept, and their table.

use super::text::{clip, count, escape, number, time};
use super::{Observation, Series};

/// Events in the table.
const SHOWN: usize = 20;
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

/// The most surprising events so far, with their fields.
#[derive(Clone, Debug, Default)]
pub struct Top(Vec<(usize, f64, Vec<Field>)>);

impl Top {
    /// Takes in the event at `index`; its fields are asked for only if it is among the most surprising.
    pub fn offer(&mut self, index: usize, surprisal: f64, fields: impl FnOnce() -> Vec<Field>) {
        let place = self.0.partition_point(|(_, other, _)| *other >= surprisal);
        if place < SHOWN {
            self.0.insert(place, (index, surprisal, fields()));
            self.0.truncate(SHOWN);
        }
    }
}

/// The table; nothing without events.
pub fn table(series: &Series, is_time: bool) -> String {
    let labelled = series.observations.iter().any(|seen| seen.label.is_some());
    let widest = series.top.0.iter().flat_map(|(_, _, fields)| fields).filter_map(|field| field.nats).fold(0.0, f64::max);
    let explained = widest > 0.0;
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Most surprising events\"><table><thead><tr>",
    );
    let time_head = if is_time { "<th scope=\"col\">time</th>" } else { "" };
    let label_head = if labelled { "<th scope=\"col\">label</th>" } else { "" };
    let field_head = if explained { "fields, with their nats" } else { "fields" };
    html += &format!(
        "<th scope=\"col\">row</th>{time_head}<th scope=\"col\">surprisal</th><th scope=\"col\">tail probability</th>{label_head}\
         <th scope=\"col\">alert</th><th scope=\"col\">{field_head}</th></tr></thead><tbody>\n"
    );
    for (index, _, fields) in &series.top.0 {
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
        let mut top = Top::default();
        surprisals.iter().enumerate().for_each(|(index, surprisal)| top.offer(index, *surprisal, Vec::new));
        let mut order: Vec<usize> = (0..surprisals.len()).collect();
        order.sort_by_key(|index| (Reverse(surprisals[*index] as i64), *index));
        let kept: Vec<usize> = top.0.iter().map(|(index, ..)| *index).collect();
        assert_eq!(kept, order[..SHOWN]);
    }
}
