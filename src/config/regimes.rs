//! `[regimes]`: series of which people want to know when they change.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::values::{self, OneOrMore};
use crate::drift::{MOST_SERIES, Series, Watch};
use crate::features::{Kind, Schema};

/// What `watch` says for the surprisal, unless a column has that name.
const SURPRISAL: &str = "surprisal";

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RegimesTable {
    watch: Option<OneOrMore>,
    #[serde(deserialize_with = "values::some_whole::<_, 10, 1_000_000_000>")]
    lasting_events: Option<usize>,
}

impl RegimesTable {
    /// Finds the columns, derived ones included.
    pub(super) fn complete(self, schema: &Schema, source: &Source<'_>) -> Result<Watch, Fault> {
        let fault = |what: String, help: String| Fault::new(source.span(&["regimes", "watch"]), what, help);
        let mut series: Vec<Series> = Vec::new();
        let names = match self.watch {
            None => Vec::new(),
            Some(OneOrMore::One(name)) => vec![name],
            Some(OneOrMore::More(names)) => names,
        };
        for name in names {
            if series.iter().any(|other| other.name == name) {
                return Err(fault(format!("{name:?} is watched twice"), "name it once".into()));
            }
            let found = schema.columns().iter().position(|column| column.name == name);
            match found.map(|cell| schema.columns()[cell].kind) {
                None if name != SURPRISAL => {
                    let help = format!("name a column of numbers or counts, or {SURPRISAL:?}");
                    return Err(fault(format!("there is no column {name:?} to watch"), help));
                }
                Some(kind @ (Kind::Category { .. } | Kind::Timestamp | Kind::Boolean)) => {
                    let instead = match kind {
                        Kind::Boolean => "watch a rolling mean of it",
                        Kind::Timestamp => "watch a gap between events",
                        _ => "watch \"surprisal\"",
                    };
                    let help = format!("a series that is watched has numbers or counts: remove it, or {instead}");
                    return Err(fault(format!("the column {name:?} is a {}", kind.name()), help));
                }
                None | Some(Kind::Number | Kind::Count) => series.push(Series { name, cell: found }),
            }
        }
        if series.len() > MOST_SERIES {
            return Err(fault(format!("{} series are watched", series.len()), format!("watch at most {MOST_SERIES}")));
        }
        let default = Watch::default();
        Ok(Watch { series, hazard: self.lasting_events.map_or(default.hazard, |events| 1.0 / events as f64) })
    }
}
