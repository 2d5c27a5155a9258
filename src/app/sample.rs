//! `surprisal sample`: events drawn from the posterior predictive, as the model believes them to be.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{AppError, ModelOf, inspect};
use crate::cli::SampleArgs;
use crate::config::Config;
use crate::features::{Column, Kind, RowsView, Schema};
use crate::models::Model;
use crate::noise::Noise;

/// Prints as many events as `arguments` ask for, one JSON object a line.
pub fn run(config: &Config, arguments: &SampleArgs, model_of: ModelOf<'_>) -> Result<(), AppError> {
    let model = model_of(&config.modelled(), &config.model)?;
    let (_, evidence) = inspect::committed(config, &model)?;
    let posterior = model.posterior(&evidence).map_err(crate::engine::EngineError::from)?;
    let Some(rows) = model.sample(&posterior, Noise::new(arguments.seed), arguments.count) else {
        return Err(AppError::Unusable(format!("the model `{}` has no events to draw from", model.kind())));
    };
    let mut out = io::stdout().lock();
    for index in 0..rows.len() {
        let event = event(&config.schema, rows.view(), index);
        writeln!(out, "{event}").map_err(|source| AppError::System { doing: "printing", source })?;
    }
    Ok(())
}

/// A row as the JSON that would decode to it. What is derived is no part of an event.
fn event(schema: &Schema, rows: RowsView<'_>, index: usize) -> Value {
    let mut event = Map::new();
    for (Column { path, kind, .. }, &cell) in schema.columns().iter().zip(rows.row(index)) {
        if cell.is_nan() {
            continue;
        }
        let value = match kind {
            Kind::Number | Kind::Timestamp => Value::from(cell),
            Kind::Count => Value::from(cell as u64),
            Kind::Boolean => Value::from(cell != 0.0),
            Kind::Category { .. } => Value::from(rows.text(cell)),
        };
        let [outer @ .., last] = path.as_slice() else { continue };
        let object = outer.iter().fold(&mut event, |object, key| {
            let inner = object.entry(key.as_str()).or_insert_with(|| Value::Object(Map::new()));
            inner.as_object_mut().expect("paths don't overlap")
        });
        object.insert(last.clone(), value);
    }
    Value::Object(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decode;
    use crate::codec::json::{JsonDecoder, Limits};
    use crate::features::Rows;

    #[test]
    fn what_is_printed_decodes_to_the_row() {
        let kinds = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 9 }, Kind::Number];
        let paths = [&["a", "b"][..], &["a", "c", "d"], &["e"], &["a", "f"], &["gone"]];
        let column = |(path, kind): (&[&str], Kind)| Column {
            name: path.join("."),
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            kind,
        };
        let schema = Schema::new(paths.into_iter().zip(kinds).map(column).collect());
        let mut rows = Rows::new(5);
        let (cells, texts) = rows.push_missing();
        cells[..4].copy_from_slice(&[0.1 + 0.2, 7.0, 1.0, texts.push("schräg") as f64]);
        let printed = event(&schema, rows.view(), 0).to_string();
        assert_eq!(printed, r#"{"a":{"b":0.30000000000000004,"c":{"d":7},"f":"schräg"},"e":true}"#);
        let mut read = Rows::new(5);
        JsonDecoder::new(&schema, Limits::default()).decode(printed.as_bytes(), &mut read).expect("an event");
        assert_eq!(read.view().cells()[..4], rows.view().cells()[..4]);
        assert!(read.view().cells()[4].is_nan());
    }
}
