//! A backtest as a page to be shown: one HTML file that needs no network, in light and dark, on a wall or a phone.
//!
//! Charts are drawn here, as SVG; a few lines of script make them answer to a pointer, and all is there without them. Whatever comes
//! from data is escaped on its way into the page. A long series is drawn by the extremes of each place along the chart, with every
//! alert and every labelled anomaly, so that a million rows make a page of less than two megabytes.
//!
//! ```
//! use surprisal::app::html::{Observation, Series, page};
//! use surprisal::calibration::Budget;
//!
//! let mut series = Series::new("latencies", Budget::Rate(0.001));
//! let column = series.column("latency_ms");
//! for (row, value) in [(0, 12.0), (1, 11.5), (2, 80.0)] {
//!     series.value(column, value);
//!     series.push(Observation::new(row, 2.0, 0.5), Vec::new);
//! }
//! assert!(page(&series).starts_with("<!doctype html>"));
//! ```

mod checks;
mod events;
mod panel;
mod scale;
pub(super) mod text;
mod thin;
mod timeline;

use crate::calibration::Budget;

use self::scale::Along;
use self::text::{count, escape};

pub use self::events::Field;
pub use crate::models::Prediction;

/// Parts of the charts that a pointer tells apart.
const READOUTS: usize = 500;

const DAY_MS: f64 = 86_400_000.0;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// An event as it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Where it stands in its file or partition.
    pub row: i64,
    /// When it was, in milliseconds since 1970.
    pub time_ms: Option<i64>,
    /// `-ln p(event | everything before)`, in nats.
    pub surprisal: f64,
    /// Share of experience at least as surprising.
    pub tail_probability: f64,
    /// Whether it was alerted on.
    pub alert: bool,
    /// Whether it is an anomaly, where that is known.
    pub label: Option<bool>,
    /// What was expected, where the model predicts.
    pub prediction: Option<Prediction>,
}

impl Observation {
    /// An event of which no more is known than its scores.
    pub fn new(row: i64, surprisal: f64, tail_probability: f64) -> Self {
        Self { row, time_ms: None, surprisal, tail_probability, alert: false, label: None, prediction: None }
    }

    fn position(&self, is_time: bool) -> i64 {
        self.time_ms.filter(|_| is_time).unwrap_or(self.row)
    }
}

/// A figure of the summary: its name, its value as text, and what to know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much, in people's notation.
    pub value: String,
    /// Its unit, or how to read it.
    pub note: String,
}

impl Figure {
    /// A figure.
    pub fn new(name: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), note: note.into() }
    }
}

/// A number of each event, along the events.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    values: Vec<f64>,
}

/// Where a series, a column's or another, entered another regime.
#[derive(Clone, Debug)]
struct Turn {
    series: String,
    row: i64,
    time_ms: Option<i64>,
}

/// Events in order, and what is known of them.
#[derive(Clone, Debug)]
pub struct Series {
    title: String,
    /// Alerts that were asked for.
    budget: Budget,
    figures: Vec<Figure>,
    columns: Vec<Column>,
    /// What predictions are of.
    predicted: Option<ColumnId>,
    observations: Vec<Observation>,
    turns: Vec<Turn>,
    events: events::Events,
}

/// A column of a [`Series`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnId(usize);

impl Series {
    /// No events yet. `budget` is how many alerts were asked for.
    pub fn new(title: impl Into<String>, budget: Budget) -> Self {
        Self {
            title: title.into(),
            budget,
            figures: Vec::new(),
            columns: Vec::new(),
            predicted: None,
            observations: Vec::new(),
            turns: Vec::new(),
            events: events::Events::default(),
        }
    }

    /// Share of events that alerts were asked to be; NaN where that is by time and the events have none.
    fn asked_rate(&self) -> f64 {
        match self.budget {
            Budget::Rate(rate) => rate,
            Budget::PerDay(alerts) => {
                let times = || self.observations.iter().filter_map(|seen| seen.time_ms);
                let span = times().max().zip(times().min()).map_or(f64::NAN, |(last, first)| (last - first) as f64);
                alerts * span / DAY_MS / self.observations.len() as f64
            }
        }
    }

    /// Adds a number that is drawn along the events.
    pub fn column(&mut self, name: impl Into<String>) -> ColumnId {
        self.columns.push(Column { name: name.into(), values: Vec::new() });
        ColumnId(self.columns.len() - 1)
    }

    /// Predictions are of this column.
    pub fn predicts(&mut self, column: ColumnId) {
        self.predicted = Some(column);
    }

    /// The number of the event that is pushed next. Without it the number is missing, as with NaN.
    pub fn value(&mut self, column: ColumnId, value: f64) {
        let values = &mut self.columns[column.0].values;
        values.resize(self.observations.len(), f64::NAN);
        values.push(value);
    }

    /// Takes in the next event. `fields` are asked for if it is shown by itself.
    pub fn push(&mut self, seen: Observation, fields: impl FnOnce() -> Vec<Field>) {
        self.events.offer(self.observations.len(), seen.surprisal, seen.alert, fields);
        self.observations.push(seen);
        self.columns.iter_mut().for_each(|column| column.values.resize(self.observations.len(), f64::NAN));
    }

    /// A series entered another regime in `row`: the column of that name, or one that is not drawn.
    pub fn turn(&mut self, series: impl Into<String>, row: i64, time_ms: Option<i64>) {
        self.turns.push(Turn { series: series.into(), row, time_ms });
    }

    /// Adds a figure to the summary.
    pub fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    fn has_anomalies(&self) -> bool {
        self.observations.iter().any(|seen| seen.label == Some(true))
    }

    /// Time, if all events have one and none goes back; rows otherwise.
    fn along(&self) -> Along {
        let is_time = self.observations.iter().all(|seen| seen.time_ms.is_some())
            && self.observations.is_sorted_by_key(|seen| seen.time_ms);
        let position = |seen: Option<&Observation>| seen.map_or(0, |seen| seen.position(is_time));
        Along::new(position(self.observations.first()), position(self.observations.last()), is_time)
    }
}

/// The page of a series.
pub fn page(series: &Series) -> String {
    let along = series.along();
    let title = escape(&series.title);
    let figures = series.figures.iter().map(|Figure { name, value, note }| {
        format!("<div><dt>{}</dt><dd>{} <small>{}</small></dd></div>", escape(name), escape(value), escape(note))
    });
    let figures = figures.collect::<String>();
    let timeline = timeline::charts(series, along);
    let (calibration, calibrated) = checks::calibration(&series.observations);
    let (budget, spent) = checks::budget(series, along);
    let mut calibration_key = CALIBRATION_KEY.to_vec();
    if series.has_anomalies() {
        calibration_key.insert(1, ("normal", "without labelled anomalies"));
    }
    let mut tiles =
        section("calibration", "Do tail probabilities mean what they say?", &calibrated, &calibration_key, &calibration);
    if let Some((histogram, covered)) = checks::histogram(&series.observations) {
        tiles += &section("pit", "Do predictions?", &covered, PIT_KEY, &histogram);
    }
    tiles += &section("budget", "Are alerts as many as asked for?", &spent, BUDGET_KEY, &budget);
    let key = key(series);
    let readouts = data(&timeline::readouts(series, along, READOUTS));
    let table = events::most_surprising(series, along.is_time);
    let (told, tables) = events::told(series, along.is_time);
    let events = count(series.observations.len());
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}: how surprising?</title><link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head>\n\
         <body><header><p class=\"brand\">Surprisal</p><h1>{title}</h1>\
         <p class=\"lead\">{events} events, each scored before it was learnt.</p>\
         <dl id=\"summary\">{figures}</dl></header>\n<main>\n\
         <section id=\"timeline\"><h2>What happened, and how surprising it was</h2>{key}\
         <output id=\"readout\" aria-live=\"polite\">Point at a chart, or use the arrow keys in it.</output>\n{timeline}</section>\n\
         <div class=\"tiles\">\n{tiles}</div>\n\
         <section id=\"told\"><h2>What people would have been told</h2><p>{told}</p>{tables}</section>\n\
         <section id=\"events\"><h2>The most surprising events</h2>{table}</section>\n</main>\n\
         <footer>Made by surprisal {}. Surprisal is −ln p(event | everything before), in nats.</footer>\n\
         <script type=\"application/json\" id=\"readouts\">{readouts}</script><script>{SCRIPT}</script></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

const CALIBRATION_KEY: &[(&str, &str)] = &[("observed", "all events"), ("asked", "exact"), ("chance", "95 % by chance")];
const PIT_KEY: &[(&str, &str)] = &[("asked", "exact"), ("chance", "95 % by chance")];
const BUDGET_KEY: &[(&str, &str)] = &[("alerted", "alerts"), ("asked", "asked for")];

/// A small section: a question, what the chart says in a sentence, the key to it and the chart.
fn section(id: &str, question: &str, said: &str, key: &[(&str, &str)], chart: &str) -> String {
    format!("<section id=\"{id}\"><h2>{question}</h2><p>{said}</p>{}\n{chart}</section>\n", key_of(key))
}

/// What the marks of the timeline are.
fn key(series: &Series) -> String {
    let mut marks = vec![("value", "number")];
    if series.observations.iter().any(|seen| seen.prediction.is_some()) {
        marks.extend([("expected", "expected"), ("interval", "90 % interval")]);
    }
    marks.extend([("surprisal", "surprisal"), ("alert", "alert")]);
    if series.has_anomalies() {
        marks.push(("label", "labelled anomaly"));
    }
    if !series.turns.is_empty() {
        marks.push(("turn", "another regime"));
    }
    key_of(&marks)
}

fn key_of(marks: &[(&str, &str)]) -> String {
    let items = marks.iter().map(|(class, name)| format!("<li><i class=\"key {class}\"></i>{name}</li>"));
    format!("<ul class=\"keys\">{}</ul>", items.collect::<String>())
}

/// Texts as JSON that can stand in a `<script>`: whatever they hold, they can't end it.
fn data(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string().replace('<', "\\u003c")
}
