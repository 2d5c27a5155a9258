//! `surprisal explain`: which fields made the surprisal of an event of the events topic.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{AppError, ModelOf, inspect, service, stream_settings};
use crate::cli::ExplainArgs;
use crate::codec::Decode;
use crate::config::Config;
use crate::features::Rows;
use crate::models::{Contribution, Expected, Explanation, Model};
use crate::record::{Offset, Partition};
use crate::stream::kafka;

/// Reads the event and the latest committed snapshots, and accounts for the event's surprisal under their posterior.
pub fn run(config: &Config, arguments: &ExplainArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let model = model_of(&config.schema, &config.model)?;
    let (partition, offset) = (Partition(arguments.partition), Offset(arguments.offset));
    let place = format!("`{}`/{partition} at offset {offset}", config.kafka.events);
    let payload = kafka::event(&stream_settings(&config.model.id, &config.kafka), partition, offset)?;
    let payload =
        payload.ok_or_else(|| AppError::Unusable(format!("{place}: there is no event; is it still kept, and written?")))?;
    let mut rows = Rows::new(config.schema.width());
    service::decoder(&config.schema, &config.kafka)
        .decode(&payload, &mut rows)
        .map_err(|fault| AppError::Unusable(format!("{place}: {}", fault.detail)))?;

    let (snapshots, evidence) = inspect::committed(config, &model)?;
    let posterior = model.posterior(&evidence).map_err(crate::engine::EngineError::from)?;
    let explanation = model.explain(&posterior, rows.view()).ok_or_else(|| {
        AppError::Unusable(format!("{place}: the model `{}` gives no account of this event's surprisal", model.kind()))
    })?;
    let covers = snapshots.iter().find(|snapshot| snapshot.header.partition == partition);
    let account = Account { place, explanation, learnt: covers.is_some_and(|snapshot| offset < snapshot.covers_to) };
    let mut out = io::stdout();
    let printed = if arguments.json { writeln!(out, "{:#}", account.json()) } else { account.print(&mut out) };
    printed.map_err(|source| AppError::System { doing: "printing", source })
}

/// What there is to say.
struct Account {
    place: String,
    explanation: Explanation,
    /// Whether the posterior may know the event: its snapshot ends behind it.
    learnt: bool,
}

impl Account {
    fn surprisal(&self) -> f64 {
        self.explanation.contributions.iter().map(|contribution| contribution.nats).sum()
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: surprisal {:.3} nats", self.place, self.surprisal())?;
        writeln!(
            out,
            "posterior of the latest snapshots, which {}",
            match self.learnt {
                true => "cover the event: the published score was of a posterior that had not seen it",
                false => "end before the event",
            }
        )?;
        writeln!(out, "\n      nats  field                 expected")?;
        for Contribution { column, nats, expected } in &self.explanation.contributions {
            let expected = match expected {
                Some(Expected::Number { mean, lower, upper }) => format!("{mean:.6}, in 90 % of cases {lower:.6} to {upper:.6}"),
                Some(Expected::Value { likeliest, probability }) => format!("{likeliest} in {:.1} %", 100.0 * probability),
                None => "nothing in particular".into(),
            };
            writeln!(out, "  {nats:>+8.3}  {column:<20}  {expected}")?;
        }
        match &self.explanation.nearest {
            Some(nearest) => writeln!(out, "\nnearest component {nearest}"),
            None => Ok(()),
        }
    }

    fn json(&self) -> Value {
        let contributions = self.explanation.contributions.iter().map(|Contribution { column, nats, expected }| {
            let mut contribution = json!({ "column": column, "nats": nats });
            match expected {
                Some(Expected::Number { mean, lower, upper }) => {
                    contribution["mean"] = json!(mean);
                    contribution["lower"] = json!(lower);
                    contribution["upper"] = json!(upper);
                }
                Some(Expected::Value { likeliest, probability }) => {
                    contribution["likeliest"] = json!(likeliest);
                    contribution["probability"] = json!(probability);
                }
                None => {}
            }
            contribution
        });
        json!({
            "surprisal": self.surprisal(),
            "learnt": self.learnt,
            "contributions": contributions.collect::<Vec<_>>(),
            "nearest": self.explanation.nearest,
        })
    }
}
