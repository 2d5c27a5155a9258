//! `surprisal explain`: which fields made the surprisal of an event of the events topic.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{AppError, ModelOf, inspect, service, stream_settings};
use crate::cli::ExplainArgs;
use crate::codec::Decode;
use crate::codec::wire::ContributionForm;
use crate::config::Config;
use crate::features::Rows;
use crate::features::derive::About;
use crate::models::{Contribution, Expected, Explanation, Model};
use crate::record::{Offset, Partition};
use crate::stream::kafka;

/// Reads the event and the latest committed snapshots, and accounts for the event's surprisal under their posterior.
pub fn run(config: &Config, arguments: &ExplainArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let model = model_of(&config.modelled(), &config.model)?;
    let (partition, offset) = (Partition(arguments.partition), Offset(arguments.offset));
    let place = format!("`{}`/{partition} at offset {offset}", config.kafka.events);
    let payload = kafka::event(&stream_settings(&config.model.id, &config.kafka), partition, offset)?;
    let payload =
        payload.ok_or_else(|| AppError::Unusable(format!("{place}: there is no event; is it still kept, and written?")))?;
    let mut rows = Rows::new(config.schema.width());
    let decoded = service::decoder(&config.schema, &config.kafka)
        .decode(&payload, &mut rows)
        .map_err(|fault| AppError::Unusable(format!("{place}: {}", fault.detail)))?;

    // The past of the event is gone: what looks back at it is missing.
    let (derivation, mut wide) = (&config.derivation, Vec::new());
    let about = About { key: None, time_ms: decoded.timestamp_ms };
    derivation.derive(&mut derivation.memory(), rows.view(), [about].into_iter(), false, &mut wide);

    let (snapshots, evidence) = inspect::committed(config, &model)?;
    let posterior = model.posterior(&evidence).map_err(crate::engine::EngineError::from)?;
    let explanation = model.explain(&posterior, rows.view().with_cells(wide.len(), &wide)).ok_or_else(|| {
        AppError::Unusable(format!("{place}: the model `{}` gives no account of this event's surprisal", model.kind()))
    })?;
    let covers = snapshots.iter().find(|snapshot| snapshot.header.partition == partition);
    let learnt = covers.is_some_and(|snapshot| offset < snapshot.covers_to);
    let account = Account { place, explanation, learnt, past_known: derivation.is_empty() };
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
    /// Whether no column looks back at earlier events, which aren't known here.
    past_known: bool,
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
        if !self.past_known {
            writeln!(out, "columns derived from earlier events count as missing here: the published score had them")?;
        }
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
        let contributions: Vec<_> = self.explanation.contributions.iter().map(ContributionForm::from).collect();
        json!({
            "surprisal": self.surprisal(),
            "learnt": self.learnt,
            "past_known": self.past_known,
            "contributions": contributions,
            "nearest": self.explanation.nearest,
        })
    }
}
