//! What is believed, as it goes in and out: snapshots, arrival and restarts change nothing, tensors say the same as loops, numbers
//! meant to break it and texts without end are taken or refused, people can read it, and wrong configurations are refused by name.

use surprisal::engine::{Engine, Learning};
use surprisal::features::{Column, Kind, Rows, Schema};
use surprisal::inference::rule::{Population, Rule};
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, MixtureError, Standard};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::{assert_close, blocks, clusters, learn, numbers, prequential, schema, sums};
use crate::noise::{normal, uniform};

/// Numbers meant to break it are scored finitely, and learnt finitely or refused.
#[test]
fn nothing_that_is_not_finite_comes_in_or_out() {
    let odd = [0.0, -0.0, 1.0, 5e-324, -1e-310, 1e-200, 1e30, -1e150, 1e155, 1e300, -1.7e308, f64::NAN];
    for (covariance, components) in [(Covariance::Diagonal, 1), (Covariance::Diagonal, 8), (Covariance::Full, 8)] {
        let model = numbers(3, MixtureConfig { components, covariance, ..MixtureConfig::default() });
        for calm in [0, 3, 600] {
            // Column 1 is constant and column 2 never there.
            let cell = |at: usize| [normal(at as u64), 7.1, f64::NAN][at % 3];
            let base = learn(&model, Rows::from_cells(3, (0..calm * 3).map(cell).collect()).view(), 0, blocks);
            let mut kept = base.clone();
            for (i, a) in odd.iter().enumerate() {
                for b in odd {
                    let rows = Rows::from_cells(3, vec![*a, b, odd[(i + 3) % odd.len()]]);
                    let posterior = model.posterior(&kept).unwrap();
                    let mut surprisals = Vec::new();
                    model.score(&posterior, rows.view(), &mut surprisals);
                    assert!(surprisals[0].nats.is_finite(), "{covariance:?} {a} {b}: {surprisals:?}");
                    let Ok(news) = model.news(&posterior, rows.view(), (Partition(0), Offset(calm as i64))) else { continue };
                    let mut after = kept.clone();
                    after.add(&news);
                    model.reorganise(&model.nothing(), &mut after);
                    if model.posterior(&after).is_ok() {
                        assert!(sums(&after).iter().all(|(_, data)| data.iter().all(|x| x.is_finite())));
                        kept = after;
                    }
                }
            }
        }
    }
}

#[test]
fn counts_of_any_size_are_scored_and_learnt_finitely() {
    for components in [1, 8] {
        let model = Mixture::new(&schema(&[Kind::Count]), MixtureConfig { components, ..MixtureConfig::default() }).unwrap();
        let mut evidence = learn(&model, Rows::from_cells(1, (0..200).map(|at| f64::from(at % 9)).collect()).view(), 0, blocks);
        for x in [0.0, 63.0, 64.0, 1e15, 1e300, f64::MAX, 0.0, f64::NAN, 1e307, f64::MAX, f64::MAX, 3.0] {
            let rows = Rows::from_cells(1, vec![x]);
            let posterior = model.posterior(&evidence).unwrap();
            let mut surprisals = Vec::new();
            model.score(&posterior, rows.view(), &mut surprisals);
            assert!(surprisals[0].nats.is_finite(), "{x}: {surprisals:?}");
            if let Ok(news) = model.news(&posterior, rows.view(), (Partition(0), Offset(200))) {
                let mut after = evidence.clone();
                after.add(&news);
                model.reorganise(&model.nothing(), &mut after);
                if model.posterior(&after).is_ok() {
                    evidence = after;
                }
            }
        }
        assert!(sums(&evidence).iter().all(|(_, data)| data.iter().all(|x| x.is_finite())));
    }
}

#[test]
fn an_explosion_of_texts_stays_within_the_capacity() {
    let model = Mixture::new(&schema(&[Kind::Category { capacity: 20 }]), MixtureConfig::default()).unwrap();
    let mut rows = Rows::new(1);
    for event in 0..3_000 {
        let (cells, texts) = rows.push_missing();
        cells[0] = texts.push(&format!("text {event}")) as f64;
    }
    let (surprisals, evidence) = prequential(&model, rows.view());
    assert!(surprisals.iter().all(|surprisal| surprisal.is_finite()));
    assert_eq!(model.columns(&evidence)[0].distinct, Some(20));
    // Each event is a text never seen before, and that is by now no surprise.
    assert!(surprisals[2_999] < 0.5 && surprisals[2_999] < surprisals[30], "{} {}", surprisals[2_999], surprisals[30]);
}

/// Evidence goes through tensors unchanged, and goes on from there as if nothing had been.
#[test]
fn evidence_survives_a_snapshot() {
    let kinds = [Kind::Number, Kind::Timestamp, Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 4 }];
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let model = Mixture::new(&schema(&kinds), MixtureConfig { covariance, ..MixtureConfig::default() }).unwrap();
        let mut rows = Rows::new(6);
        for event in 0..3_000_u64 {
            let (cells, texts) = rows.push_missing();
            let kind = f64::from(u8::from(uniform(event) < 0.5));
            cells[0] = 20.0 * kind + normal(event);
            cells[1] = 1e12;
            if event % 5 != 0 {
                cells[2] = normal((1 << 40) + event);
                cells[5] = texts.push(&format!("text {}", event % 6)) as f64;
            }
            cells[3] = (event % 4) as f64;
            cells[4] = kind;
        }
        let evidence = learn(&model, rows.view(), 3, blocks);
        assert!(evidence.components().count() > 1);
        let restored = model.restore(&evidence.tensors()).unwrap();
        assert_eq!(restored, evidence);
        assert_eq!(model.columns(&evidence).len(), 5);
        for missing in evidence.tensors() {
            let others: Vec<_> = evidence.tensors().into_iter().filter(|tensor| tensor.name != missing.name).collect();
            let error = model.restore(&others).unwrap_err();
            assert!(error.to_string().contains(&missing.name), "{error}");
        }
    }
}

/// Blocks of one event have no majority of their own: that of the last events before them decides.
#[test]
fn one_wild_clock_among_the_first_events_fades_nothing() {
    let model = numbers(1, MixtureConfig::default());
    let learning = Learning { rule: Rule { half_life_ms: 600_000.0, ..Rule::default() }, max_block: 256 };
    let remembered = |wild: Option<(i64, i64)>| {
        let time = |at| wild.filter(|(event, _)| *event == at).map_or(1_700_000_000_000 + 1000 * at, |(_, shown)| shown);
        let mut run = Run::new(Partition(0), Offset(0), 1);
        run.rows = Rows::from_cells(1, (0..64).map(normal).collect());
        run.heads = (0..64).map(|at| Head { offset: Offset(at), timestamp_ms: Some(time(at)), key: None }).collect();
        run.next = Offset(64);
        let mut engine = Engine::new(model.clone(), &schema(&[Kind::Number]), learning).unwrap();
        engine.assign(Partition(0), None, None, Offset(0)).unwrap();
        engine.step(vec![run]).unwrap().advance(true);
        engine.evidence().events()
    };
    let right = remembered(None);
    assert!((60.0..64.0).contains(&right), "{right}");
    for at in 0..64 {
        for shown in [0, 4_000_000_000_000] {
            let found = remembered(Some((at, shown)));
            assert!((found / right - 1.0).abs() < 0.005, "{found} events instead of {right}: {shown} is shown at {at}");
        }
    }
}

/// Inside the engine: however records arrive, and after a restart from a snapshot, each event gets the same score, whichever way evidence
/// is kept: by number, by the events' own time with clocks that jump, or as a sample of a population.
#[test]
fn arrival_and_restarts_change_no_score() {
    let forever = Rule::default();
    let population = Some(Population { events: 5_000.0, exponent: 0.8 });
    arrival_and_restarts(Rule { half_life_events: 2_000.0, ..forever });
    arrival_and_restarts(Rule { half_life_ms: 900_000.0, ..forever });
    arrival_and_restarts(Rule { population, ..forever });
}

fn arrival_and_restarts(rule: Rule) {
    let rows = clusters(3_000, true, 1.0);
    let columns = schema(&[Kind::Number; 4]);
    let model = numbers(4, MixtureConfig::default());
    let learning = Learning { rule, max_block: 256 };
    // A second an event, give or take; some have no time, and two clocks are years ahead, one of them among the first.
    let time = |at: usize| match at {
        _ if at % 7 == 3 => None,
        23 | 1_234 => Some(3_000_000_000_000),
        _ => Some(1_700_000_000_000 + at as i64 * 1_000 + (5_000.0 * uniform((1 << 51) + at as u64)) as i64),
    };
    let run = |from: usize, to: usize| {
        let mut run = Run::new(Partition(0), Offset(from as i64), 4);
        run.heads.extend((from..to).map(|at| Head { offset: Offset(at as i64), timestamp_ms: time(at), key: None }));
        run.rows.extend(rows.view().slice(from..to), &[]);
        run.next = Offset(to as i64);
        run
    };
    let scores = |engine: &mut Engine<Mixture>, from: usize, to: usize| {
        let ready = engine.step(vec![run(from, to)]).unwrap();
        let scores: Vec<_> = ready.scores().map(|(_, _, score)| (score.surprisal, score.surprisal_sd)).collect();
        ready.advance(true);
        scores
    };
    let mut whole = Engine::new(model.clone(), &columns, learning).unwrap();
    whole.assign(Partition(0), None, None, Offset(0)).unwrap();
    let expected = scores(&mut whole, 0, 3_000);

    let mut engine = Engine::new(model.clone(), &columns, learning).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < 3_000 {
        let to = 3_000.min(at + 1 + at * 7 % 190);
        found.extend(scores(&mut engine, at, to));
        if [30, 1_700].into_iter().any(|stop| at <= stop && stop < to) {
            // Stop, and go on from what was published.
            let mut site = engine.sites().next().unwrap().1.clone();
            site.evidence = model.restore(&site.evidence.tensors()).unwrap();
            engine = Engine::new(model.clone(), &columns, learning).unwrap();
            let from = engine.assign(Partition(0), Some(site), Some(Offset(to as i64)), Offset(0)).unwrap().0 as usize;
            assert!(scores(&mut engine, from, to).is_empty());
        }
        at = to;
    }
    assert!(found == expected, "{rule:?}: a score is another");
    assert!(found.iter().all(|(_, sd)| sd.is_finite() && *sd > 0.0));
    assert_eq!(engine.sites().next(), whole.sites().next());
    assert!(engine.evidence().components().count() > 2);
}

/// With its arithmetic done as tensors the model says the same.
#[test]
fn tensors_on_a_device_tell_the_same_story() {
    for (covariance, components) in [(Covariance::Diagonal, 8), (Covariance::Full, 8), (Covariance::Full, 1)] {
        let processor = numbers(4, MixtureConfig { covariance, components, ..MixtureConfig::default() });
        let device = processor.clone().on(candle_core::Device::Cpu);
        let mut rows = clusters(1_500, true, 1.0);
        let cells = rows.view().cells().iter().enumerate();
        rows = Rows::from_cells(4, cells.map(|(at, x)| if at % 3_001 == 5 { f64::NAN } else { *x }).collect());
        let (expected, _) = prequential(&processor, rows.view());
        let (found, evidence) = prequential(&device, rows.view());
        assert_eq!(evidence.components().count() > 2, components > 1);
        found.into_iter().zip(expected).for_each(|(found, expected)| assert_close(found, expected, 1e-6));
    }
}

/// What is believed can be read by people.
#[test]
fn parts_and_columns_are_said_in_words() {
    let kinds = [Kind::Number, Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 9 }];
    let model = Mixture::new(&schema(&kinds), MixtureConfig::default()).unwrap();
    let mut rows = Rows::new(5);
    for event in 0..4_000_u64 {
        let large = uniform(event) < 0.75;
        let (cells, texts) = rows.push_missing();
        let (centre, text) = if large { (1_000.0, "sale") } else { (5_000.0, "refund") };
        (cells[0], cells[1], cells[2]) = (centre + 100.0 * normal(event), 0.25, (event % 3) as f64);
        if event % 4 == 0 {
            cells[3] = 1.0;
        }
        cells[4] = texts.push(text) as f64;
    }
    let evidence = learn(&model, rows.view(), 0, blocks);
    let posterior = model.posterior(&evidence).unwrap();
    assert_eq!(model.active(&posterior), 2);
    let parts = model.parts(&posterior);
    assert_eq!(parts.len(), 3, "{parts:?}");
    assert_close(parts.iter().map(|part| part.weight).sum(), 1.0, 1e-12);
    assert_close(parts[0].weight, 0.75, 0.03);
    assert_eq!(parts[2].name, "anything else");
    let line = |part: usize, column: usize| parts[part].expects[column].1.as_str();
    assert!(line(0, 0).starts_with("100") || line(0, 0).starts_with("99"), "{}", line(0, 0));
    assert_eq!((line(0, 1), line(1, 1)), ("always 0.2500", "always 0.2500"));
    assert!(line(0, 2).ends_with("on average") && line(0, 3).starts_with("true in 9"), "{:?}", parts[0]);
    assert!(line(0, 4).starts_with("sale 99") && line(1, 4).starts_with("refund 9"), "{:?}", parts[1]);
    let columns = model.columns(&evidence);
    assert_eq!((columns[3].observed, columns[3].missing, columns[3].mean), (1_000.0, 3_000.0, Some(1.0)));
    assert_eq!((columns[4].kind, columns[4].distinct), ("category", Some(2)));
    assert_close(columns[0].mean.unwrap(), (0..4_000).map(|row| rows.view().row(row)[0]).sum::<f64>() / 4_000.0, 1e-12);
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    let schema = schema(&[Kind::Number, Kind::Boolean]);
    let error = Mixture::new(&schema, MixtureConfig { components: 0, ..MixtureConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("components is 0"), "{error}");
    let error = Mixture::new(&schema, MixtureConfig { rare: 1.0, ..MixtureConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("rare is 1"), "{error}");
    let standard = Standard { location: 0.0, scale: 1.0 };
    let config = MixtureConfig { standards: [("c1".into(), standard)].into(), ..MixtureConfig::default() };
    assert_eq!(Mixture::new(&schema, config).unwrap_err(), MixtureError::NoNumber { column: "c1".into() });
    let timestamps = Schema::new(vec![Column { name: "t".into(), path: vec!["t".into()], kind: Kind::Timestamp }]);
    assert_eq!(Mixture::new(&timestamps, MixtureConfig::default()).unwrap_err(), MixtureError::NoColumn);
}
