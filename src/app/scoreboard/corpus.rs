//! The Numenta Anomaly Benchmark: a folder with `data/<category>/<name>.csv` of the columns `timestamp,value`, `windows.json` with
//! the windows of each, and `profiles.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::backtest::backtest;
use crate::app::nab::{self, Profile, Series};
use crate::app::{AppError, model, say};
use crate::codec::timestamp;
use crate::config::{ModelConfig, ModelKind};
use crate::engine::{Score, Setup};
use crate::features::{Column, Kind, Schema};
use crate::models::AnyModel;
use crate::noise::Noise;

/// Scores of other detectors, from their published result files: standard, reward low FP rate, reward low FN rate.
type Published = &'static [(&'static str, [f64; 3])];

/// On the whole corpus of 58 series.
const WHOLE: Published = &[
    ("ARTime", [74.9, 65.1, 80.4]),
    ("Numenta HTM", [70.1, 63.1, 74.3]),
    ("CAD OSE", [69.9, 67.0, 73.2]),
    ("Skyline (earthgecko)", [58.2, 46.2, 63.9]),
    ("KNN CAD", [58.0, 43.4, 64.8]),
    ("Relative Entropy", [54.6, 47.6, 58.8]),
    ("Twitter ADVec", [47.1, 33.6, 53.5]),
    ("Random Cut Forest", [51.7, 38.4, 59.7]),
    ("Windowed Gaussian", [39.6, 20.9, 47.4]),
    ("Bayesian changepoint", [17.7, 3.2, 32.2]),
    ("random", [11.0, 1.2, 19.5]),
];

/// On 39 of them, with 78 windows.
const PART: Published = &[
    ("ARTime", [76.5, 70.5, 81.6]),
    ("CAD OSE", [71.5, 68.8, 74.9]),
    ("Numenta HTM", [71.5, 65.5, 75.5]),
    ("KNN CAD", [58.7, 43.6, 65.6]),
    ("Relative Entropy", [57.3, 50.1, 61.7]),
    ("Random Cut Forest", [48.8, 37.7, 55.6]),
    ("Windowed Gaussian", [36.6, 17.7, 44.0]),
];

/// Series and windows of that part.
const PART_SIZE: (usize, usize) = (39, 78);

/// The profiles that detectors are published for.
const PROFILES: [&str; 3] = ["standard", "reward_low_FP_rate", "reward_low_FN_rate"];

const DAY_MS: f64 = 86_400_000.0;

/// Ways in which the series are halved.
const SPLITS: u32 = 10;

/// The column of a series that is watched.
const VALUE: &str = "value";

/// What is run over every series.
struct Detector {
    model: AnyModel,
    setup: Setup,
    /// How anomalous a row is, in [0, 1].
    anomaly_score: fn(&Score) -> f64,
}

/// The detector, with one configuration for all series: a forecast, and how its alerts are judged.
fn detector(schema: &Schema) -> Result<Detector, AppError> {
    let config = ModelConfig { kind: ModelKind::Forecast, target: Some(VALUE.into()), ..ModelConfig::default() };
    Ok(Detector {
        model: model(schema, &config)?,
        setup: config.setup(),
        anomaly_score: |score| 1.0 - 10_f64.powf(-score.severity),
    })
}

#[derive(Deserialize)]
struct ProfileEntry {
    #[serde(rename = "CostMatrix")]
    weights: Profile,
}

/// Scores every series that has an entry in `windows.json`, and prints the table. Returns the scores by profile.
pub fn run(folder: &Path, scores_to: Option<&Path>) -> Result<BTreeMap<String, f64>, AppError> {
    let windows: BTreeMap<String, Vec<(String, String)>> = read_json(&folder.join("windows.json"))?;
    let profiles: BTreeMap<String, ProfileEntry> = read_json(&folder.join("profiles.json"))?;
    if let Some(absent) = PROFILES.iter().find(|name| !profiles.contains_key(**name)) {
        return Err(AppError::Unusable(format!("{}: no profile `{absent}`", folder.join("profiles.json").display())));
    }
    let (mut corpus, mut normal) = (Vec::new(), Told::default());
    for (name, windows) in &windows {
        let path = folder.join("data").join(name);
        let time = |text: &str| {
            let wanted = || format!("{}: {name}: found {text:?}, expected a time", folder.join("windows.json").display());
            timestamp::from_text(text).ok_or_else(|| AppError::Unusable(wanted()))
        };
        let windows = windows.iter().map(|(from, to)| Ok((time(from)?, time(to)?))).collect::<Result<_, AppError>>()?;
        let (series, told) = detect(&path, windows)?;
        normal.alerts += told.alerts;
        normal.days += told.days;
        if let Some(folder) = scores_to {
            save(&series, &folder.join(name))?;
        }
        corpus.push(series);
    }
    let mut scores = BTreeMap::new();
    for (name, entry) in &profiles {
        let score = nab::score(&corpus, &entry.weights);
        scores.insert(name.clone(), score.map_err(|error| AppError::Unusable(format!("{}: {error}", folder.display())))?);
    }
    print(corpus.len(), corpus.iter().map(|series| series.windows.len()).sum(), &scores)?;
    if let Some(halves) = halves(&corpus, &PROFILES.map(|name| profiles[name].weights)) {
        row("threshold of other half", halves)?;
    }
    let Told { alerts, days } = normal;
    let ratio = alerts as f64 / days;
    say(format_args!(
        "alerts outside of windows and probation: {alerts} in {days:.0} days, {ratio:.2} of the one a day that is asked for"
    ))?;
    Ok(scores)
}

/// Alerts where nothing is labelled, and how long that is.
#[derive(Default)]
struct Told {
    alerts: u64,
    days: f64,
}

/// Runs the detector over a series.
fn detect(path: &Path, windows: Vec<(i64, i64)>) -> Result<(Series, Told), AppError> {
    let column = |name: &str, kind| Column { name: name.into(), path: vec![name.into()], kind };
    let schema = Schema::new(vec![column("timestamp", Kind::Timestamp), column("value", Kind::Number)]);
    let Detector { model, setup, anomaly_score } = detector(&schema)?;
    let mut series = Series { times: Vec::new(), scores: Vec::new(), windows };
    let mut alerts = Vec::new();
    let report = backtest(path, &schema, None, model, setup, &mut |row| {
        alerts.push(row.score.alert);
        series.times.extend(row.head.timestamp_ms);
        series.scores.push(anomaly_score(row.score));
        Ok(())
    })?;
    if series.times.len() as u64 != report.events {
        let fault = "every row needs a `timestamp` and a `value` that is a number or missing";
        return Err(AppError::Unusable(format!("{}: {fault}", path.display())));
    }
    let normal = |time: i64| !series.windows.iter().any(|(from, to)| (*from..=*to).contains(&time));
    let mut told = Told::default();
    let gaps = series.times.windows(2).map(|pair| (pair[1], (pair[1] - pair[0]) as f64 / DAY_MS));
    for ((time, days), alert) in gaps.zip(&alerts[1..]).skip(nab::probation(series.times.len()).saturating_sub(1)) {
        if normal(time) {
            told.alerts += u64::from(*alert);
            told.days += days;
        }
    }
    Ok((series, told))
}

/// The table: this detector's scores, and those of others.
fn print(series: usize, windows: usize, scores: &BTreeMap<String, f64>) -> Result<(), AppError> {
    let (others, on) = match (series, windows) == PART_SIZE {
        true => (PART, "on these series"),
        false => (WHOLE, "on the whole corpus"),
    };
    say(format_args!(
        "\nNumenta Anomaly Benchmark, {series} series with {windows} windows; others from their published results, {on}"
    ))?;
    say(format_args!("{:<24} {:>12} {:>19} {:>19}", "detector", PROFILES[0], PROFILES[1], PROFILES[2]))?;
    row("surprisal", PROFILES.map(|profile| scores[profile]))?;
    others.iter().try_for_each(|(name, scores)| row(name, *scores))
}

fn row(name: &str, [standard, low_fp, low_fn]: [f64; 3]) -> Result<(), AppError> {
    say(format_args!("{name:<24} {standard:>12.1} {low_fp:>19.1} {low_fn:>19.1}"))
}

/// Mean scores of halves of the series, drawn at random, with the threshold that is best for the other half; none of series that are too few.
fn halves(corpus: &[Series], profiles: &[Profile; 3]) -> Option<[f64; 3]> {
    let mut means = [0.0; 3];
    for split in 0..SPLITS {
        let noise = Noise::new(u64::from(split));
        let mut drawn: Vec<(f64, &Series)> =
            corpus.iter().zip(0..).map(|(series, at)| (noise.uniform(0, 0, at), series)).collect();
        drawn.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (first, second) = drawn.split_at(drawn.len() / 2);
        for (chosen, judged) in [(first, second), (second, first)] {
            for (mean, profile) in means.iter_mut().zip(profiles) {
                let curve = |of: &[(f64, &Series)]| nab::curve(of.iter().map(|(_, series)| *series), profile).ok();
                *mean += curve(judged)?.at(curve(chosen)?.best().0) / f64::from(2 * SPLITS);
            }
        }
    }
    Some(means)
}

/// Writes the series' scores as the benchmark's result files have them.
fn save(series: &Series, path: &Path) -> Result<(), AppError> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        let mut out = BufWriter::new(File::create(path)?);
        writeln!(out, "timestamp,anomaly_score")?;
        for (time, score) in series.times.iter().zip(&series.scores) {
            writeln!(out, "{},{score}", timestamp::to_text(*time).trim_end_matches('Z').replace('T', " "))?;
        }
        out.flush()
    };
    write().map_err(AppError::file(path))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, AppError> {
    let file = File::open(path).map_err(AppError::file(path))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|error| AppError::file(path)(io::Error::from(error)))
}
