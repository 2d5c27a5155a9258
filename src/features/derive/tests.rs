use proptest::prelude::*;

use super::*;
use crate::features::Rows;

const WIDTH: usize = 3;

fn schema() -> Schema {
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), path: vec![name.into()], kind };
    let kinds = [("load", Kind::Number), ("host", Kind::Category { capacity: 2 }), ("errors", Kind::Count)];
    Schema::new(kinds.map(column).to_vec())
}

/// An event as a test writes it.
#[derive(Clone, Debug)]
struct Event {
    load: f64,
    host: Option<&'static str>,
    errors: f64,
    key: Option<Vec<u8>>,
    time_ms: Option<i64>,
}

fn rows(events: &[Event]) -> Rows {
    let mut rows = Rows::new(WIDTH);
    for event in events {
        let (cells, texts) = rows.push_missing();
        cells[0] = event.load;
        if let Some(host) = event.host {
            cells[1] = texts.push(host) as f64;
        }
        cells[2] = event.errors;
    }
    rows
}

/// The derived cells of `events`, `[events, derived]`.
fn derive(derivation: &Derivation, memory: &mut Memory, events: &[Event], follow: bool) -> Vec<Vec<f64>> {
    let (rows, mut cells) = (rows(events), Vec::new());
    let about = events.iter().map(|event| About { key: event.key.as_deref(), time_ms: event.time_ms });
    derivation.derive(memory, rows.view(), about, follow, &mut cells);
    let wide = WIDTH + derivation.columns().len();
    assert_eq!(cells.len(), events.len() * wide);
    cells.chunks_exact(wide).zip(events).for_each(|(row, event)| assert_eq!(row[0].to_bits(), event.load.to_bits()));
    cells.chunks_exact(wide).map(|row| row[WIDTH..].to_vec()).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    // One NaN is as missing as another.
    values.iter().map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() }).collect()
}

fn of_one(formula: Formula, per: Per, max_keys: usize) -> Derivation {
    Derivation::new(&schema(), vec![Derived { name: "derived".into(), formula, per, max_keys }])
}

/// The formula's value by its definition, from the whole list of earlier events of the same key.
fn by_hand(formula: Formula, earlier: &[&Event], event: &Event) -> f64 {
    let cell = |event: &Event, of: usize| if of == 0 { event.load } else { event.errors };
    let gap = || {
        let before = earlier.iter().rev().find_map(|event| event.time_ms);
        match (event.time_ms, before) {
            (Some(time), Some(before)) => (i128::from(time) - i128::from(before)).clamp(0, i128::from(i64::MAX)) as f64 / 1000.0,
            _ => f64::NAN,
        }
    };
    let ago =
        |of: usize, events: usize| if earlier.len() < events { f64::NAN } else { cell(earlier[earlier.len() - events], of) };
    let value = match formula {
        Formula::Wave { .. } => unreachable!("has tests of its own"),
        Formula::Gap => gap(),
        Formula::LogGap => gap().ln_1p(),
        Formula::Lag { of, events } => ago(of, events),
        Formula::Difference { of, events } => cell(event, of) - ago(of, events),
        Formula::Rolling { of, statistic, events } => {
            let last = &earlier[earlier.len().saturating_sub(events)..];
            let there: Vec<f64> = last.iter().map(|event| cell(event, of)).filter(|value| value.is_finite()).collect();
            let n = there.len() as f64;
            let mean = there.iter().sum::<f64>() / n;
            match statistic {
                Statistic::Deviation if n < 2.0 => f64::NAN,
                Statistic::Mean => mean,
                Statistic::Deviation => (there.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)).sqrt(),
                Statistic::Min => there.iter().copied().fold(f64::NAN, f64::min),
                Statistic::Max => there.iter().copied().fold(f64::NAN, f64::max),
            }
        }
    };
    if value.is_finite() { value } else { f64::NAN }
}

fn event() -> impl Strategy<Value = Event> {
    let number =
        prop_oneof![4 => -1e3..1e3_f64, 1 => Just(f64::NAN), 1 => prop::sample::select(vec![f64::MAX, f64::MIN, f64::INFINITY])];
    let key =
        prop::option::weighted(0.8, prop::sample::select(vec![b"".to_vec(), b"a".to_vec(), vec![0xff, 0], vec![b'x'; 300]]));
    let time = prop_oneof![6 => 0..100_000_i64, 1 => prop::sample::select(vec![i64::MIN, i64::MAX, -1])];
    (
        number.clone(),
        prop::option::weighted(0.8, prop::sample::select(vec!["", "a", "b"])),
        number,
        key,
        prop::option::weighted(0.8, time),
    )
        .prop_map(|(load, host, errors, key, time_ms)| Event { load, host, errors, key, time_ms })
}

fn formulas() -> Vec<Formula> {
    let statistics = [Statistic::Mean, Statistic::Deviation, Statistic::Min, Statistic::Max];
    let mut formulas = vec![Formula::Gap, Formula::LogGap];
    for (of, events) in [(0, 1), (0, 3), (2, 2)] {
        formulas.extend([Formula::Lag { of, events }, Formula::Difference { of, events }]);
        formulas.extend(statistics.map(|statistic| Formula::Rolling { of, statistic, events: 2 * events }));
    }
    formulas
}

/// Every formula about every past.
fn everything() -> Derivation {
    let pers = [Per::Partition, Per::RecordKey, Per::Cell(1)];
    let all = pers.iter().flat_map(|per| formulas().into_iter().map(move |formula| (*per, formula)));
    let derived = all.enumerate().map(|(at, (per, formula))| Derived { name: format!("d{at}"), formula, per, max_keys: 4 });
    Derivation::new(&schema(), derived.collect())
}

proptest! {
    #[test]
    fn a_loop_over_the_whole_history_finds_the_same(events in prop::collection::vec(event(), 1..40)) {
        let derivation = everything();
        let found = derive(&derivation, &mut derivation.memory(), &events, true);
        for (at, event) in events.iter().enumerate() {
            let mut expected = Vec::new();
            for per in [Per::Partition, Per::RecordKey, Per::Cell(1)] {
                let same = |other: &&Event| match per {
                    Per::Partition => true,
                    Per::RecordKey => event.key.is_some() && other.key == event.key,
                    Per::Cell(_) => event.host.is_some() && other.host == event.host,
                };
                let earlier: Vec<&Event> = events[..at].iter().filter(same).collect();
                expected.extend(formulas().into_iter().map(|formula| by_hand(formula, &earlier, event)));
            }
            prop_assert_eq!(bits(&found[at]), bits(&expected), "event {}", at);
        }
    }

    #[test]
    fn batches_copies_and_snapshots_leave_no_trace(
        events in prop::collection::vec(event(), 1..40), passed_over in prop::collection::vec(event(), 1..5), at in 0..40_usize
    ) {
        let derivation = everything();
        let (mut whole, mut cut) = (derivation.memory(), derivation.memory());
        let expected = derive(&derivation, &mut whole, &events, true);
        let at = at.min(events.len());
        let mut found = derive(&derivation, &mut cut, &events[..at], true);
        // What is only looked at, what a copy goes through, and what was written and read.
        derive(&derivation, &mut cut, &passed_over, false);
        let mut copy = cut.clone();
        derive(&derivation, &mut copy, &passed_over, true);
        let mut read = Memory::restore(&cut.tensors()).expect("what was written");
        prop_assert!(read == cut && read.is_of_the_same(&whole));
        let mut again = found.clone();
        found.extend(derive(&derivation, &mut cut, &events[at..], true));
        again.extend(derive(&derivation, &mut read, &events[at..], true));
        for ((found, again), expected) in found.iter().zip(&again).zip(&expected) {
            prop_assert_eq!(bits(found), bits(expected));
            prop_assert_eq!(bits(again), bits(expected));
        }
        prop_assert!(cut == whole && read == whole);
    }
}

fn keyed(key: &str, load: f64) -> Event {
    Event { load, host: None, errors: 0.0, key: Some(key.into()), time_ms: None }
}

#[test]
fn the_key_not_seen_for_longest_is_dropped() {
    let derivation = of_one(Formula::Lag { of: 0, events: 1 }, Per::RecordKey, 2);
    let mut memory = derivation.memory();
    let events = [keyed("a", 1.0), keyed("b", 2.0), keyed("a", 3.0), keyed("c", 4.0), keyed("a", 5.0), keyed("b", 6.0)];
    let found = derive(&derivation, &mut memory, &events, true).concat();
    assert_eq!(bits(&found), bits(&[f64::NAN, f64::NAN, 1.0, f64::NAN, 3.0, f64::NAN]), "b was dropped for c");
    assert_eq!(memory.keys(), 2);
    let many: Vec<Event> = (0..1000).map(|number| keyed(&number.to_string(), 0.0)).collect();
    derive(&derivation, &mut memory, &many, true);
    assert_eq!(memory.keys(), 2);
}

#[test]
fn a_season_is_a_circle_that_begins_where_the_calendar_does() {
    // 2024-01-01 was a Monday; 06:00 is a quarter of the day, Wednesday's noon 5/14 of the week.
    let (monday, hour) = (1_704_067_200_000_i64, 3_600_000);
    let wave = |season, harmonic, phase, time_ms| {
        let derivation = of_one(Formula::Wave { season, harmonic, phase }, Per::Partition, 1);
        let event = Event { time_ms, ..keyed("", 0.0) };
        derive(&derivation, &mut derivation.memory(), &[event], true)[0][0]
    };
    let cases = [
        (Season::Hour, monday + hour / 8, 0.125),
        (Season::Day, monday, 0.0),
        (Season::Day, monday + 6 * hour, 0.25),
        (Season::Day, monday - hour, 23.0 / 24.0),
        (Season::Week, monday, 0.0),
        (Season::Week, monday + 60 * hour, 5.0 / 14.0),
        (Season::Week, -72 * hour, 0.0),
        (Season::Year, 0, 0.0),
        (Season::Year, 365 * 24 * hour + 20_952_000 - 31_556_952_000 / 3, 2.0 / 3.0),
    ];
    for (season, time, share) in cases {
        for harmonic in 1..=3 {
            let angle = std::f64::consts::TAU * f64::from(harmonic) * share;
            let (sine, cosine) =
                (wave(season, harmonic, Phase::Sine, Some(time)), wave(season, harmonic, Phase::Cosine, Some(time)));
            assert!((sine - angle.sin()).abs() < 1e-12 && (cosine - angle.cos()).abs() < 1e-12, "{season:?} {time} {harmonic}");
        }
    }
    for time in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        for season in [Season::Hour, Season::Day, Season::Week, Season::Year] {
            assert!((0.0..1.0).contains(&season.share(time)), "{season:?} {time}");
        }
    }
    assert!(wave(Season::Day, 1, Phase::Sine, None).is_nan());
}

#[test]
fn snapshots_that_cannot_be_are_refused() {
    let derivation = everything();
    let mut memory = derivation.memory();
    let event = |key: &str, load| Event { host: Some("a"), time_ms: Some(7), ..keyed(key, load) };
    derive(&derivation, &mut memory, &[event("k", 1.0), event("l", f64::NAN), event("k", 3.0)], true);
    let tensors = memory.tensors();
    let spoilt = |name: &str, spoil: &dyn Fn(&mut crate::checkpoint::Data)| {
        let mut tensors = tensors.clone();
        spoil(&mut tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor").data);
        Memory::restore(&tensors).expect_err(name).to_string()
    };
    use crate::checkpoint::Data;
    let number = |at: usize, value: i64| {
        move |data: &mut Data| match data {
            Data::I64(data) => data[at] = value,
            _ => unreachable!("it holds integers"),
        }
    };
    for (name, at, value, said) in [
        ("features.1.reaches", 1, 2049, "2049 events, expected 1 to 2048"),
        ("features.1.seen", 0, 2, "expected 1 to 2"),
        ("features.1.used", 0, 3, "3 before 3, expected ascending counts"),
        ("features.1.timed", 0, 2, "expected 0 to 1"),
        ("features.1.lengths", 0, 1000, "1000 values, expected at most 6"),
        ("features.1.missing", 0, 99, "expected 0 to "),
    ] {
        assert!(spoilt(name, &number(at, value)).contains(said), "{name}: {}", spoilt(name, &number(at, value)));
    }
    let text = |data: &mut Data| match data {
        Data::Text(data) => data[0] = "€".into(),
        _ => unreachable!("it holds texts"),
    };
    assert!(spoilt("features.1.keys", &text).contains("is not of bytes"));
    assert_eq!(Memory::restore(&[]).expect("nothing").tensors(), []);
}

#[test]
fn another_formula_is_another_column() {
    let schema = schema();
    let path = |formula, per, max_keys| of_one(formula, per, max_keys).widen(&schema).columns()[WIDTH].path.clone();
    let lag = |of, events| Formula::Lag { of, events };
    let paths = [
        path(lag(0, 1), Per::Partition, 1),
        path(lag(0, 2), Per::Partition, 1),
        path(lag(2, 1), Per::Partition, 1),
        path(lag(0, 1), Per::RecordKey, 1),
        path(lag(0, 1), Per::RecordKey, 2),
        path(lag(0, 1), Per::Cell(1), 2),
        path(Formula::Gap, Per::Partition, 1),
    ];
    let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len(), "{paths:?}");
}
