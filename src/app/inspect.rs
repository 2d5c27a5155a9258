//! `surprisal inspect`: what the model has learnt, read from the posterior topic.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{AppError, ModelOf, stream_settings};
use crate::cli::InspectArgs;
use crate::codec::timestamp;
use crate::codec::wire::{self, Snapshot};
use crate::config::Config;
use crate::engine::Forgotten;
use crate::models::any::{AnyEvidence, AnyModel};
use crate::models::{ColumnSummary, Evidence, Model, Part, inferred};
use crate::stream::kafka;

/// Reads the latest committed snapshots and says what they hold, or which earlier ones there are, in words or as JSON.
pub fn run(config: &Config, arguments: &InspectArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let model = model_of(&config.modelled(), &config.model)?;
    let (snapshots, evidence) = committed(config, &model)?;
    let mut out = io::stdout();
    if arguments.snapshots {
        let printed = archive(&snapshots, arguments.json, &mut out);
        return printed.map_err(|source| AppError::System { doing: "printing", source });
    }
    let posterior = model.posterior(&evidence).map_err(crate::engine::EngineError::from)?;
    let view = View {
        columns: model.columns(&evidence),
        parts: model.parts(&posterior),
        memory: model.memory(&posterior),
        events: evidence.events(),
        snapshots,
    };
    let printed = if arguments.json { writeln!(out, "{:#}", view.json()) } else { view.print(&mut out) };
    printed.map_err(|source| AppError::System { doing: "printing", source })
}

/// The latest committed snapshots, of which there is one at least, and the evidence that they add up to.
pub fn committed(config: &Config, model: &AnyModel) -> Result<(Vec<Snapshot>, AnyEvidence), AppError> {
    let snapshots = kafka::snapshots(&stream_settings(&config.model.id, &config.kafka))?;
    let snapshots = snapshots.iter().map(|bytes| wire::decode_snapshot(bytes)).collect::<Result<Vec<_>, _>>()?;
    if snapshots.is_empty() {
        return Err(AppError::Unusable(format!(
            "`{}` holds no snapshot of model `{}`: has `surprisal run` committed one yet?",
            config.kafka.posterior, config.model.id
        )));
    }
    let mut evidence = model.nothing();
    for snapshot in &snapshots {
        evidence.add(&snapshot.site(model)?.evidence);
    }
    Ok((snapshots, evidence))
}

/// Lists the snapshots that are kept, of each partition the oldest first.
fn archive(snapshots: &[Snapshot], as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let kept = snapshots.iter().flat_map(|snapshot| {
        let partition = snapshot.header.partition;
        snapshot.header.archive.iter().map(move |kept| (format!("{partition}@{}", kept.covers_to), kept))
    });
    if as_json {
        let kept = kept.map(|(name, kept)| json!({ "name": name, "covers_to": kept.covers_to.0, "created_ms": kept.created_ms }));
        return writeln!(out, "{:#}", Value::from(kept.collect::<Vec<_>>()));
    }
    writeln!(out, "snapshot          made at")?;
    for (name, kept) in kept {
        writeln!(out, "{name:<16}  {}", timestamp::to_text(kept.created_ms))?;
    }
    Ok(())
}

/// So many events, in words.
fn events(half_life: f64) -> String {
    if half_life.is_finite() { format!("{half_life:.0}") } else { "never".into() }
}

/// A half-life in JSON, which has no infinity: null is never.
fn finite(half_life: f64) -> Option<f64> {
    Some(half_life).filter(|half_life| half_life.is_finite())
}

/// What there is to see: the partitions' snapshots, and the posterior that they add up to.
struct View {
    snapshots: Vec<Snapshot>,
    events: f64,
    /// Half-lives in events and their weights, where they are inferred.
    memory: Vec<(f64, f64)>,
    columns: Vec<ColumnSummary>,
    parts: Vec<Part>,
}

impl View {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let first = &self.snapshots[0].header;
        writeln!(
            out,
            "model `{}` ({}) of topic `{}`: {:.0} effective events",
            first.model_id, first.model_kind, first.topic, self.events
        )?;
        if let Some(half_life) = inferred::half_life(&self.memory) {
            let shares = self.memory.iter().map(|(half_life, weight)| format!("{:.1} % {}", 100.0 * weight, events(*half_life)));
            let shares: Vec<String> = shares.collect();
            writeln!(out, "inferred half-life in events: {} ({})", events(half_life), shares.join(", "))?;
        }
        writeln!(out, "\npartitions")?;
        for snapshot in &self.snapshots {
            writeln!(
                out,
                "  {:>4}  covers offsets up to {}, {} events in {} steps",
                snapshot.header.partition, snapshot.covers_to, snapshot.events, snapshot.step
            )?;
            for Forgotten { span, means, at_ms } in &snapshot.forgotten {
                writeln!(out, "        offsets {span} forgotten at {}: {}", timestamp::to_text(*at_ms), means.name())?;
            }
        }
        writeln!(out, "\ncolumns")?;
        for column in &self.columns {
            write!(out, "  {:<20} {:<9} {:.0} seen, {:.0} missing", column.name, column.kind, column.observed, column.missing)?;
            if let (Some(mean), Some(deviation)) = (column.mean, column.standard_deviation) {
                write!(out, ", mean {mean:.6} ± {deviation:.6}")?;
            }
            if let Some(distinct) = column.distinct {
                write!(out, ", {distinct} values")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "\ncomponents")?;
        for part in &self.parts {
            writeln!(out, "  {:>5.1} %  {}", 100.0 * part.weight, part.name)?;
            for (column, expected) in &part.expects {
                writeln!(out, "           {column:<20} {expected}")?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let snapshots = self.snapshots.iter().map(|snapshot| {
            json!({
                "model_id": snapshot.header.model_id,
                "model_kind": snapshot.header.model_kind,
                "topic": snapshot.header.topic,
                "partition": snapshot.header.partition.0,
                "covers_to": snapshot.covers_to.0,
                "events": snapshot.events,
                "refused": snapshot.refused,
                "step": snapshot.step,
                "forgotten": snapshot.forgotten.iter().map(|forgotten| json!({
                    "from": forgotten.span.from.0, "to": forgotten.span.to.0,
                    "means": forgotten.means.name(), "at_ms": forgotten.at_ms,
                })).collect::<Vec<_>>(),
                "created_ms": snapshot.header.created_ms,
                "tensors": snapshot.tensors.iter().map(|tensor| json!({
                    "name": tensor.name, "dtype": tensor.data.dtype(), "shape": tensor.shape,
                })).collect::<Vec<_>>(),
            })
        });
        let columns = self.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "kind": column.kind,
                "observed": column.observed,
                "missing": column.missing,
                "mean": column.mean,
                "standard_deviation": column.standard_deviation,
                "distinct": column.distinct,
            })
        });
        let parts = self.parts.iter().map(|part| {
            let expects: serde_json::Map<String, Value> =
                part.expects.iter().map(|(column, expected)| (column.clone(), expected.clone().into())).collect();
            json!({ "name": part.name, "weight": part.weight, "expects": expects })
        });
        let half_life = inferred::half_life(&self.memory).map(|half_life| {
            let members = self.memory.iter().map(|(half_life, weight)| json!({ "events": finite(*half_life), "weight": weight }));
            json!({ "events": finite(half_life), "members": members.collect::<Vec<_>>() })
        });
        json!({
            "effective_events": self.events,
            "inferred_half_life": half_life,
            "snapshots": snapshots.collect::<Vec<_>>(),
            "columns": columns.collect::<Vec<_>>(),
            "components": parts.collect::<Vec<_>>(),
        })
    }
}
