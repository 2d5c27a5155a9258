//! Derived columns in the engine: how records came, aborts, restarts and what was forgotten leave no trace in them; and what they are
//! good for.

use std::process::Command;

use proptest::prelude::*;
use surprisal::codec::wire::{self, Assembler, MAX_CHUNK_BYTES, SnapshotHeader};
use surprisal::engine::{Engine, EngineError, Forgotten, Learning, Means, Setup, Site};
use surprisal::features::derive::{Derivation, Derived, Formula, Per, Phase, Season, Statistic};
use surprisal::features::{Column, Kind, Schema, Task};
use surprisal::models::Model;
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::noise::Noise;
use surprisal::record::{Head, Offset, Partition, Run, Span};

const P0: Partition = Partition(0);

fn schema() -> Schema {
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
    Schema::new([("load", Kind::Number), ("host", Kind::Category { capacity: 8 })].map(column).to_vec())
}

fn derivation(max_keys: usize) -> Derivation {
    let formulas = [
        (Formula::Lag { of: 0, events: 1 }, Per::Cell(1)),
        (Formula::Rolling { of: 0, statistic: Statistic::Mean, events: 5 }, Per::Partition),
        (Formula::Rolling { of: 0, statistic: Statistic::Deviation, events: 9 }, Per::RecordKey),
        (Formula::LogGap, Per::RecordKey),
        (Formula::Wave { season: Season::Day, harmonic: 1, phase: Phase::Sine }, Per::Partition),
    ];
    let derived = (0..).zip(formulas).map(|(at, (formula, per))| Derived { name: format!("d{at}"), formula, per, max_keys });
    Derivation::new(&schema(), derived.collect())
}

type Regression = Engine<LinearRegression>;
type Evidence = <LinearRegression as Model>::Evidence;

fn engine(max_keys: usize) -> Regression {
    let derivation = derivation(max_keys);
    let wide = derivation.widen(&schema());
    let task = Task { target: 0, inputs: (1..wide.width()).collect() };
    let model = LinearRegression::new(&wide, &task, RegressionConfig::default()).expect("a regression");
    let setup = Setup { learning: Learning::default(), derivation, ..Setup::default() };
    Engine::new(model, &schema(), setup).expect("the prior is finite")
}

fn fresh() -> Regression {
    let mut engine = engine(3);
    engine.assign(P0, None, None, Offset(0)).expect("the prior is finite");
    engine
}

/// Events whose load follows the host's last one; some lack a load, a host, a key or a time, and some times are wild.
fn run(offsets: std::ops::Range<i64>) -> Run {
    let noise = Noise::new(5);
    let mut run = Run::new(P0, Offset(offsets.start), 2);
    for offset in offsets.clone() {
        let draw = |at| noise.normal(offset as u64, 0, at);
        let (cells, texts) = run.rows.push_missing();
        if draw(0) < 1.5 {
            cells[0] = (offset as f64 / 20.0).sin() + 0.1 * draw(1);
        }
        if draw(2) < 1.5 {
            cells[1] = texts.push(["a", "b", "c", "d"][(offset % 4) as usize]) as f64;
        }
        let time = match offset % 50 {
            0 => i64::MIN,
            1 => i64::MAX,
            _ => 60_000 * offset,
        };
        let key = (draw(3) < 1.5).then(|| format!("key {}", offset % 5).into_bytes().into_boxed_slice());
        run.heads.push(Head { offset: Offset(offset), timestamp_ms: (draw(4) < 1.5).then_some(time), key });
    }
    run.next = Offset(offsets.end);
    run
}

/// Bits of surprisals by offset, from steps cut at `cuts`.
fn fold(engine: &mut Regression, from: i64, cuts: &[i64]) -> Vec<(i64, u64)> {
    let mut scores = Vec::new();
    let mut start = from;
    for &end in cuts {
        let ready = engine.step(vec![run(start..end)]).expect("in order");
        scores.extend(ready.scores().map(|(_, head, score)| (head.offset.0, score.surprisal.to_bits())));
        ready.advance(false);
        start = end;
    }
    scores
}

fn site(engine: &Regression) -> Site<Evidence> {
    engine.sites().next().expect("assigned").1.clone()
}

/// The site as it comes back from the posterior topic.
fn published(engine: &Regression) -> Site<Evidence> {
    let model = engine.model();
    let header = SnapshotHeader {
        model_id: "m".into(),
        model_kind: model.kind().into(),
        fingerprint: model.fingerprint(),
        topic: "t".into(),
        partition: P0,
        created_ms: 0,
        archive: Vec::new(),
    };
    let chunks = wire::encode_snapshot(&header, &site(engine), &[], MAX_CHUNK_BYTES);
    let mut assembler = Assembler::default();
    let whole = chunks.iter().find_map(|(_, chunk)| assembler.push(chunk).expect("a chunk")).expect("all chunks are there");
    wire::decode_snapshot(&whole).expect("a snapshot").site(model).expect("of this model")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn how_records_arrive_leaves_no_trace(mut cuts in prop::collection::vec(1_i64..600, 0..20)) {
        cuts.push(600);
        cuts.sort_unstable();
        cuts.dedup();
        let (mut whole, mut cut) = (fresh(), fresh());
        prop_assert_eq!(fold(&mut whole, 0, &[600]), fold(&mut cut, 0, &cuts));
        prop_assert!(site(&whole) == site(&cut));
    }

    #[test]
    fn an_aborted_step_leaves_no_trace(first in 0_i64..300, second in 1_i64..300, third in 1_i64..300) {
        let end = first + second + third;
        let (mut calm, mut shaken) = (fresh(), fresh());
        let expected = fold(&mut calm, 0, &[first, end]);
        fold(&mut shaken, 0, &[first]);
        shaken.step(vec![run(first..first + second)]).expect("in order").abort();
        drop(shaken.step(vec![run(first..first + 1)]).expect("in order"));
        prop_assert_eq!(&fold(&mut shaken, first, &[end])[..], &expected[first as usize..]);
        prop_assert!(site(&calm) == site(&shaken));
    }

    #[test]
    fn a_restart_from_the_snapshot_goes_on_with_the_very_bits(published_at in 0_i64..500, scored in 0_i64..200, rest in 1_i64..200) {
        let (committed, end) = (published_at + scored, published_at + scored + rest);
        let mut calm = fresh();
        let expected = fold(&mut calm, 0, &[published_at, committed, end]);
        let mut before = fresh();
        fold(&mut before, 0, &[published_at]);
        let kept = published(&before);
        prop_assert!(kept == site(&before));
        let mut after = engine(3);
        let from = after.assign(P0, Some(kept), Some(Offset(committed)), Offset(0)).expect("its own snapshot").0;
        prop_assert_eq!(&fold(&mut after, from, &[end])[..], &expected[committed as usize..]);
        prop_assert!(site(&calm) == site(&after));
    }
}

/// With some events forgotten, all others are scored as if these had never come.
#[test]
fn what_is_forgotten_is_nobodys_past() {
    let span = Span { from: Offset(120), to: Offset(180) };
    let mut forgetful = engine(3);
    let mut begun = Site::new(forgetful.model().nothing(), Offset(0));
    begun.forgotten.push(Forgotten { span, means: Means::Unlearnt, at_ms: 0 });
    forgetful.assign(P0, Some(begun), Some(Offset(0)), Offset(0)).expect("nothing yet");
    let scores = fold(&mut forgetful, 0, &[150, 400]);
    let mut spared = fresh();
    let mut expected = fold(&mut spared, 0, &[120]);
    expected.extend(fold(&mut spared, 180, &[400]));
    let kept: Vec<_> = scores.into_iter().filter(|(offset, _)| !span.contains(Offset(*offset))).collect();
    assert_eq!(kept, expected);
    assert_eq!(site(&forgetful).trail, site(&spared).trail);
}

#[test]
fn a_snapshot_with_other_features_is_refused() {
    let mut before = fresh();
    fold(&mut before, 0, &[200]);
    let kept = site(&before);
    let error = engine(4).assign(P0, Some(kept), Some(Offset(200)), Offset(0)).expect_err("other features");
    let EngineError::OtherFeatures { found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(found[0], "d0 = load 1 events ago of each of 3 values of host");
    assert_eq!(expected[0], "d0 = load 1 events ago of each of 4 values of host");
    assert!(error.to_string().contains("write [[features]] as they were, or give the model another id"), "{error}");
}

/// Half a year of hourly loads that swing by day, and once every ten days a noon's load at midnight or the other way round: each has
/// been seen often, and never at that hour.
fn seasonal() -> (String, Vec<usize>) {
    let noise = Noise::new(23);
    let (mut csv, mut anomalies) = ("time,load,anomaly\n".to_owned(), Vec::new());
    for hour in 0..4380_usize {
        let odd = hour > 1000 && hour % 243 == 0 && matches!(hour % 24, 9..=15 | 21..=23 | 0..=3);
        let angle = std::f64::consts::TAU * (hour as f64 - 6.0) / 24.0;
        let load = 100.0 + 50.0 * if odd { -angle.sin() } else { angle.sin() } + 3.0 * noise.normal(hour as u64, 0, 0);
        csv += &format!("{},{load},{}\n", 1_704_067_200_000 + 3_600_000 * hour as i64, u8::from(odd));
        anomalies.extend(odd.then_some(hour));
    }
    (csv, anomalies)
}

/// Rows of the highest surprisals, as many as `count`, by the program itself.
fn most_surprising(features: &str, csv: &str, count: usize) -> Vec<usize> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let columns = "[[columns]]\nname = \"time\"\nkind = \"timestamp\"\n[[columns]]\nname = \"load\"\nkind = \"number\"\n";
    std::fs::write(at("s.toml"), format!("{columns}{features}")).expect("written");
    std::fs::write(at("events.csv"), csv).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_surprisal"))
        .args(["backtest", "--label", "anomaly"])
        .args([&"--config".into(), &at("s.toml"), &"--input".into(), &at("events.csv"), &"--scores".into(), &at("scores.csv")])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scores = std::fs::read_to_string(at("scores.csv")).expect("scores");
    let mut scores: Vec<(usize, f64)> = scores
        .lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split(',');
            let mut next = || cells.next().expect("a cell");
            (next().parse().expect("a row"), next().parse().expect("a surprisal"))
        })
        .filter(|(row, _)| *row > 1000)
        .collect();
    scores.sort_by(|left, right| right.1.total_cmp(&left.1));
    scores.into_iter().take(count).map(|(row, _)| row).collect()
}

#[test]
fn a_mixture_with_the_time_of_day_finds_what_is_odd_for_its_hour_only() {
    let (csv, anomalies) = seasonal();
    assert!(anomalies.len() >= 5, "{anomalies:?}");
    let found = |features: &str| {
        let rows = most_surprising(features, &csv, anomalies.len());
        rows.iter().filter(|row| anomalies.contains(row)).count() as f64 / anomalies.len() as f64
    };
    let (plain, seasonal) = (found(""), found("[[features]]\nkind = \"fourier\"\nseason = \"day\"\n"));
    println!("of {} anomalies: {plain} without the time of day, {seasonal} with it", anomalies.len());
    assert!(plain <= 0.1 && seasonal >= 0.7, "{plain} {seasonal}");
}
