//! `[[features]]`: columns that are worked out from an event's time and from the events before it.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::model::{ModelConfig, ModelKind};
use super::values;
use crate::features::derive::{DEFAULT_KEYS, Derivation, Derived, Formula, MAX_MEMORY_BYTES, Per, Phase, Season, Statistic};
use crate::features::{Kind, MAX_COLUMNS, Schema};

/// Events of a window where nobody says how many.
const DEFAULT_WINDOW: usize = 60;

/// What `per` says for the past of all events, and for that of a record key.
const PARTITION: &str = "partition";
const RECORD_KEY: &str = "record_key";

/// One `[[features]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct FeatureTable {
    /// What it is.
    kind: FeatureKind,
    /// Unique name, by which people know the column; of a Fourier term the beginning of it. Default: made of what it is.
    #[serde(default, deserialize_with = "name")]
    name: Option<String>,
    /// The column whose values are looked back at.
    of: Option<String>,
    /// The period of Fourier terms.
    season: Option<SeasonName>,
    /// Pairs of Fourier terms, 1 to 64. Default: 1.
    #[serde(default, deserialize_with = "terms")]
    terms: Option<usize>,
    /// How many events a lag or a difference goes back, or are in the window, 1 to 2048. Default: 1; of a window 60.
    #[serde(default, deserialize_with = "events")]
    events: Option<usize>,
    /// Whose past it is: `partition`, `record_key`, or a category column's name. Default: `partition`.
    per: Option<String>,
    /// Keys whose past is remembered, 1 to 1000000. Default: 10000.
    #[serde(default, deserialize_with = "keys")]
    max_keys: Option<usize>,
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    values::filled(deserializer).map(Some)
}

fn terms<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::whole::<_, 1, 64>(deserializer).map(Some)
}

fn events<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::whole::<_, 1, 2048>(deserializer).map(Some)
}

fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    values::whole::<_, 1, 1_000_000>(deserializer).map(Some)
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FeatureKind {
    Fourier,
    Gap,
    LogGap,
    Lag,
    Difference,
    RollingMean,
    RollingSd,
    RollingMin,
    RollingMax,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SeasonName {
    Hour,
    Day,
    Week,
    Year,
}

impl FeatureKind {
    fn name(self) -> &'static str {
        match self {
            Self::Fourier => "fourier",
            Self::Gap => "gap",
            Self::LogGap => "log_gap",
            Self::Lag => "lag",
            Self::Difference => "difference",
            Self::RollingMean => "rolling_mean",
            Self::RollingSd => "rolling_sd",
            Self::RollingMin => "rolling_min",
            Self::RollingMax => "rolling_max",
        }
    }

    fn statistic(self) -> Option<Statistic> {
        match self {
            Self::RollingMean => Some(Statistic::Mean),
            Self::RollingSd => Some(Statistic::Deviation),
            Self::RollingMin => Some(Statistic::Min),
            Self::RollingMax => Some(Statistic::Max),
            Self::Fourier | Self::Gap | Self::LogGap | Self::Lag | Self::Difference => None,
        }
    }

    /// Whether it looks back at a column's values.
    fn looks_back(self) -> bool {
        matches!(self, Self::Lag | Self::Difference) || self.statistic().is_some()
    }
}

/// What a `[[features]]` table says about columns, with the key that is at fault if it can't be.
struct Reader<'a> {
    table: &'a FeatureTable,
    schema: &'a Schema,
}

type Fallible<T> = Result<T, (&'static str, String, String)>;

impl Reader<'_> {
    /// The columns that the table asks for.
    fn derived(&self) -> Fallible<Vec<Derived>> {
        self.check_keys()?;
        let (per, suffix) = self.per()?;
        let max_keys = self.table.max_keys.unwrap_or(DEFAULT_KEYS);
        let named = |default: String| self.table.name.clone().unwrap_or(default);
        let one = |default: String, formula| vec![Derived { name: named(default + &suffix), formula, per, max_keys }];
        let kind = self.table.kind;
        Ok(match kind {
            FeatureKind::Fourier => self.fourier(named)?,
            FeatureKind::Gap => one("gap".into(), Formula::Gap),
            FeatureKind::LogGap => one("log_gap".into(), Formula::LogGap),
            _ => {
                let (of, column) = self.of()?;
                let events = self.table.events.unwrap_or(if kind.statistic().is_some() { DEFAULT_WINDOW } else { 1 });
                let (what, formula) = match kind.statistic() {
                    Some(statistic) => (statistic.name(), Formula::Rolling { of, statistic, events }),
                    None if kind == FeatureKind::Difference => ("difference", Formula::Difference { of, events }),
                    None => ("lag", Formula::Lag { of, events }),
                };
                one(format!("{column}_{what}_{events}"), formula)
            }
        })
    }

    /// Refuses keys that mean nothing to the kind.
    fn check_keys(&self) -> Fallible<()> {
        let FeatureTable { kind, of, season, terms, events, per, max_keys, .. } = self.table;
        let fourier = *kind == FeatureKind::Fourier;
        let of_fourier = "only a fourier has it: remove the key";
        let of_values = "only lags, differences and rolling statistics have it: remove the key";
        let of_pasts = "Fourier terms know no past: remove the key";
        let checks = [
            ("of", of.is_some(), kind.looks_back(), of_values),
            ("events", events.is_some(), kind.looks_back(), of_values),
            ("season", season.is_some(), fourier, of_fourier),
            ("terms", terms.is_some(), fourier, of_fourier),
            ("per", per.is_some(), !fourier, of_pasts),
            ("max_keys", max_keys.is_some(), !fourier, of_pasts),
        ];
        match checks.into_iter().find(|(_, given, meant, _)| *given && !meant) {
            Some((key, .., help)) => Err((key, format!("`{key}` of a feature of kind \"{}\"", kind.name()), help.into())),
            None => Ok(()),
        }
    }

    fn fourier(&self, named: impl Fn(String) -> String) -> Fallible<Vec<Derived>> {
        let season = match self.table.season {
            Some(SeasonName::Hour) => Season::Hour,
            Some(SeasonName::Day) => Season::Day,
            Some(SeasonName::Week) => Season::Week,
            Some(SeasonName::Year) => Season::Year,
            None => {
                let help = "add season = \"hour\", \"day\", \"week\" or \"year\"";
                return Err(("kind", "a fourier without a season".into(), help.into()));
            }
        };
        let name = named(season.name().into());
        let terms = (1..=self.table.terms.unwrap_or(1) as u32).flat_map(|harmonic| {
            let wave = |phase| Formula::Wave { season, harmonic, phase };
            [(format!("{name}_sin_{harmonic}"), wave(Phase::Sine)), (format!("{name}_cos_{harmonic}"), wave(Phase::Cosine))]
        });
        Ok(terms.map(|(name, formula)| Derived { name, formula, per: Per::Partition, max_keys: DEFAULT_KEYS }).collect())
    }

    /// The cell that is looked back at, and its column's name.
    fn of(&self) -> Fallible<(usize, &str)> {
        let kind = self.table.kind.name();
        let Some(of) = &self.table.of else {
            return Err(("kind", format!("a {kind} without a column"), "add of = with the name of a column".into()));
        };
        let (cell, found) = self.cell("of", of, "write a column's name as in [[columns]]")?;
        match found {
            Kind::Number | Kind::Count | Kind::Boolean => Ok((cell, of)),
            Kind::Category { .. } | Kind::Timestamp => {
                let message = format!("there is no {kind} of {of:?}, a column of kind \"{}\"", found.name());
                Err(("of", message, "choose a column of kind \"number\", \"count\" or \"boolean\"".into()))
            }
        }
    }

    /// Whose past it is, and how that is said in a name.
    fn per(&self) -> Fallible<(Per, String)> {
        let help = "write \"partition\", \"record_key\", or the name of a column of kind \"category\"";
        let Some(per) = self.table.per.as_deref() else { return Ok((Per::Partition, String::new())) };
        let named = self.schema.columns().iter().any(|column| column.name == per);
        match per {
            PARTITION | RECORD_KEY if named => {
                Err(("per", format!("{per:?} is also the name of a column"), "give the column another name".into()))
            }
            PARTITION => Ok((Per::Partition, String::new())),
            RECORD_KEY => Ok((Per::RecordKey, format!("_per_{per}"))),
            _ => match self.cell("per", per, help)? {
                (cell, Kind::Category { .. }) => Ok((Per::Cell(cell), format!("_per_{per}"))),
                (_, kind) => Err(("per", format!("{per:?} is a column of kind \"{}\"", kind.name()), help.into())),
            },
        }
    }

    fn cell(&self, key: &'static str, name: &str, help: &str) -> Fallible<(usize, Kind)> {
        let columns = self.schema.columns();
        match columns.iter().position(|column| column.name == name) {
            Some(cell) => Ok((cell, columns[cell].kind)),
            None => Err((key, format!("no column is named {name:?}"), help.into())),
        }
    }
}

/// The columns that `tables` derive from those of `schema`.
pub(super) fn derivation(tables: &[FeatureTable], schema: &Schema, source: &Source<'_>) -> Result<Derivation, Fault> {
    let mut all: Vec<Derived> = Vec::new();
    let at = |index: usize, key: &str| {
        let index = index.to_string();
        source.span(&["features", &index, key]).or_else(|| source.span(&["features", &index, "kind"]))
    };
    for (index, table) in tables.iter().enumerate() {
        let derived = Reader { table, schema }.derived();
        for derived in derived.map_err(|(key, message, help)| Fault::new(at(index, key), message, help))? {
            let named = schema.columns().iter().map(|column| &column.name).chain(all.iter().map(|other| &other.name));
            if named.into_iter().any(|name| *name == derived.name) {
                let message = format!("a second column named {:?}", derived.name);
                return Err(Fault::new(at(index, "name"), message, "give each column a name of its own: add name ="));
            }
            all.push(derived);
        }
        let columns = schema.width() + all.len();
        if columns > MAX_COLUMNS {
            let message = format!("{columns} columns with those derived, expected at most {MAX_COLUMNS}");
            return Err(Fault::new(at(index, "kind"), message, "derive fewer columns"));
        }
    }
    let derivation = Derivation::new(schema, all);
    let bytes = derivation.memory_bytes();
    if bytes > MAX_MEMORY_BYTES {
        let message = format!("the past can take {bytes} bytes a partition, expected at most {MAX_MEMORY_BYTES}");
        // The one that takes most, whichever key it says so by.
        let takes = |table: &FeatureTable| match &table.per {
            Some(per) if per != PARTITION => table.max_keys.unwrap_or(DEFAULT_KEYS) * table.events.unwrap_or(DEFAULT_WINDOW),
            _ => 0,
        };
        let index = (0..tables.len()).max_by_key(|index| takes(&tables[*index])).unwrap_or(0);
        return Err(Fault::new(at(index, "events"), message, "look back at fewer events, or set max_keys lower"));
    }
    Ok(derivation)
}

/// Refuses inputs that tell the target by themselves.
pub(super) fn check_inputs(
    derivation: &Derivation,
    wide: &Schema,
    model: &ModelConfig,
    source: &Source<'_>,
) -> Result<(), Fault> {
    // A forecast has no inputs.
    let Some(task) = model.task(wide).filter(|_| model.kind != ModelKind::Forecast) else { return Ok(()) };
    let name = |cell: usize| wide.columns()[cell].name.as_str();
    match derivation.betrays(task.target).find(|betrays| task.inputs.iter().any(|input| name(*input) == *betrays)) {
        Some(betrays) => {
            let span = source.span(&["model", "inputs"]).or_else(|| source.span(&["model", "target"]));
            let message = format!("the input {betrays:?} tells the target {:?}", name(task.target));
            Err(Fault::new(span, message, "set inputs = to columns without it: a difference holds the value itself"))
        }
        None => Ok(()),
    }
}
