//! What is believed, as it goes in and out: snapshots, arrival and restarts change nothing, numbers meant to break it are taken or
//! refused, what is missing has no say, people can read it, and wrong configurations are refused by name.

use surprisal::engine::{Engine, Learning};
use surprisal::features::{Kind, Rows, Task};
use surprisal::inference::rule::{Pace, Rule};
use surprisal::models::regression::{LinearRegression, RegressionConfig, RegressionError};
use surprisal::models::{Evidence, Model, Standard, Surprisal};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::{assert_close, block, blocks, learn, linear, rows, schema, score};
use crate::noise::normal;

/// Numbers meant to break it are scored finitely, and learnt finitely or refused.
#[test]
fn nothing_that_is_not_finite_comes_in_or_out() {
    let odd = [0.0, -0.0, 1.0, 5e-324, -1e-310, 1e-200, 1e30, -1e150, 1e155, 1e300, -1.7e308, f64::NAN];
    let model = linear(3, RegressionConfig::default());
    for calm in [0, 3, 600] {
        // Input 1 is constant and input 2 never there.
        let cell = |at: usize| [normal(at as u64), 7.1, f64::NAN, normal(at as u64 - 3) + normal(at as u64)][at % 4];
        let mut kept = learn(&model, Rows::from_cells(4, (0..calm * 4).map(cell).collect()).view(), blocks);
        for (i, a) in odd.iter().enumerate() {
            for (j, b) in odd.iter().enumerate() {
                let rows = Rows::from_cells(4, vec![*a, *b, odd[(i + 3) % odd.len()], odd[(i + j) % odd.len()]]);
                let posterior = model.posterior(&kept).unwrap();
                let mut found = Vec::new();
                model.score(&posterior, rows.view(), &mut found);
                assert!(found[0].nats.is_finite() && found[0].sd.is_finite(), "{:?}: {found:?}", rows.view().row(0));
                let Ok(learnt) = model.learn(&posterior, &kept, block(rows.view(), 0, 0, Pace::BAYES)) else { continue };
                if model.posterior(&learnt.evidence).is_ok() {
                    kept = learnt.evidence;
                }
            }
        }
        assert!(model.restore(&kept.tensors()).is_ok(), "all is finite");
    }
}

/// A single absurd value is taken or refused, and what comes after is predicted.
#[test]
fn it_recovers_from_an_absurd_value() {
    let model = linear(2, RegressionConfig::default());
    let calm = rows(400, 2, 0.0, 1);
    let absurd = Rows::from_cells(3, vec![1e30, 42.0, 7.0]);
    let evidence = learn(&model, calm.view(), blocks);
    let posterior = model.posterior(&evidence).unwrap();
    let after = model.learn(&posterior, &evidence, block(absurd.view(), 0, 400, Pace::BAYES)).unwrap().evidence;
    let mean = |evidence| score(&model, evidence, calm.view()).iter().map(|s| s.nats).sum::<f64>() / 400.0;
    // The first input has lost its say, which was 1.5 in 2.5; the second has kept it.
    assert!(mean(&after) < mean(&evidence) + 0.5, "{} {}", mean(&after), mean(&evidence));
}

#[test]
fn an_event_without_a_target_says_nothing() {
    let model = linear(2, RegressionConfig::default());
    let all = rows(300, 2, 0.1, 2);
    let blank = |row: usize, at: usize, x: f64| if at == 2 && row % 3 == 1 { f64::NAN } else { x };
    let cells =
        (0..300).flat_map(|row| all.view().row(row).to_vec().into_iter().enumerate().map(move |(at, x)| blank(row, at, x)));
    let some = Rows::from_cells(3, cells.collect());
    let kept = (0..300).filter(|row| row % 3 != 1).flat_map(|row| all.view().row(row).to_vec()).collect();
    let kept = Rows::from_cells(3, kept);
    let evidence = learn(&model, some.view(), |_| 300);
    let found = score(&model, &evidence, some.view());
    let expected = score(&model, &learn(&model, kept.view(), |_| 300), kept.view());
    assert!(found.iter().skip(1).step_by(3).all(|surprisal| *surprisal == Surprisal::default()));
    let found: Vec<Surprisal> = found.into_iter().enumerate().filter(|(row, _)| row % 3 != 1).map(|(_, s)| s).collect();
    assert_eq!(found, expected);
    assert_eq!((evidence.events(), model.columns(&evidence)[2].missing), (200.0, 100.0));
}

/// Before anything has varied there is nothing to measure with. A target that changes after n events that were alike has probability
/// 1/(n + 2).
#[test]
fn what_has_never_varied_has_no_say() {
    let model = linear(1, RegressionConfig::default());
    let row = |x: f64, y: f64| Rows::from_cells(2, vec![x, y]);
    assert_eq!(score(&model, &model.nothing(), row(3.0, 4.0).view()), [Surprisal::default()]);
    let evidence = learn(&model, Rows::from_cells(2, [5.0, 8.0].repeat(30)).view(), blocks);
    assert_eq!(score(&model, &evidence, row(5.0, 8.0).view())[0].nats, 0.0);
    assert_close(score(&model, &evidence, row(5.0, 8.5).view())[0].nats, 32_f64.ln(), 1e-12);
    // The input begins to vary only now, and tells the target from then on.
    let cells = (0..400).flat_map(|at| if at < 100 { [0.0, normal(at)] } else { [normal(at), 3.0 * normal(at)] });
    let rows = Rows::from_cells(2, cells.collect());
    assert_eq!(model.active(&model.posterior(&learn(&model, rows.view().slice(0..100), blocks)).unwrap()), 0);
    let posterior = model.posterior(&learn(&model, rows.view(), blocks)).unwrap();
    assert_eq!(model.active(&posterior), 1);
    let (name, said) = &model.parts(&posterior)[0].expects[1];
    assert!(name == "x0" && (said.starts_with("2.99") || said.starts_with("3.0")), "{said}");
}

/// The first event in which something is missing is predicted less surely, as far as the prior says.
#[test]
fn a_first_gap_is_met_with_doubt() {
    let model = linear(2, RegressionConfig::default());
    let evidence = learn(&model, rows(400, 2, 0.0, 3).view(), blocks);
    let found = score(&model, &evidence, Rows::from_cells(3, vec![40.0, 41.0, 30.0, 40.0, f64::NAN, 30.0]).view());
    assert!(found[1].nats < found[0].nats - 10.0, "thirty is far off, but who knows what a gap means: {found:?}");
}

/// Evidence goes through tensors unchanged, and goes on from there as if nothing had been.
#[test]
fn evidence_survives_a_snapshot() {
    let kinds = [Kind::Number, Kind::Category { capacity: 4 }, Kind::Count, Kind::Boolean, Kind::Number];
    let (schema, task) = schema(&kinds, Kind::Number);
    let model = LinearRegression::new(&schema, &task, RegressionConfig::default()).unwrap();
    let mut rows = Rows::new(6);
    for event in 0..900_u64 {
        let (cells, texts) = rows.push_missing();
        cells[0] = normal(event);
        cells[1] = texts.push(&format!("text {}", event % 3)) as f64;
        (cells[2], cells[3]) = ((event % 5) as f64, (event % 2) as f64);
        cells[if event % 7 == 0 { 4 } else { 0 }] = normal((1 << 40) + event);
        cells[5] = if event % 11 == 0 { f64::NAN } else { cells[0] + (event % 3) as f64 };
    }
    let evidence = learn(&model, rows.view(), blocks);
    let restored = model.restore(&evidence.tensors()).unwrap();
    assert_eq!(restored, evidence);
    assert_eq!(score(&model, &restored, rows.view()), score(&model, &evidence, rows.view()));
    assert_eq!(model.columns(&evidence).len(), 6);
    for missing in evidence.tensors() {
        let others: Vec<_> = evidence.tensors().into_iter().filter(|tensor| tensor.name != missing.name).collect();
        let error = model.restore(&others).unwrap_err();
        assert!(error.to_string().contains(&missing.name), "{error}");
    }
}

/// Inside the engine: however records arrive, and after a restart from a snapshot, each event gets the same score to the last bit.
#[test]
fn arrival_and_restarts_change_no_score() {
    let (schema, _) = schema(&[Kind::Number; 3], Kind::Number);
    let (model, all) = (linear(3, RegressionConfig::default()), rows(3_000, 3, 0.05, 4));
    let learning = Learning { rule: Rule { half_life_events: 800.0, ..Rule::default() }, max_block: 256 };
    let run = |from: usize, to: usize| {
        let mut run = Run::new(Partition(0), Offset(from as i64), 4);
        run.heads.extend((from..to).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }));
        run.rows.extend(all.view().slice(from..to), &[]);
        run.next = Offset(to as i64);
        run
    };
    let scores = |engine: &mut Engine<LinearRegression>, from: usize, to: usize| {
        let ready = engine.step(vec![run(from, to)]).unwrap();
        let scores: Vec<(f64, f64)> = ready.scores().map(|(_, _, score)| (score.surprisal, score.surprisal_sd)).collect();
        ready.advance(true);
        scores
    };
    let mut whole = Engine::new(model.clone(), &schema, learning).unwrap();
    whole.assign(Partition(0), None, None, Offset(0)).unwrap();
    let expected = scores(&mut whole, 0, 3_000);
    let mut engine = Engine::new(model.clone(), &schema, learning).unwrap();
    engine.assign(Partition(0), None, None, Offset(0)).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < 3_000 {
        let to = 3_000.min(at + 1 + at * 7 % 190);
        found.extend(scores(&mut engine, at, to));
        if found.len() > 1_700 && at <= 1_700 {
            // Stop, and go on from what was published.
            let mut site = engine.sites().next().unwrap().1.clone();
            site.evidence = model.restore(&site.evidence.tensors()).unwrap();
            engine = Engine::new(model.clone(), &schema, learning).unwrap();
            let from = engine.assign(Partition(0), Some(site), Some(Offset(to as i64)), Offset(0)).unwrap().0 as usize;
            assert!(scores(&mut engine, from, to).is_empty());
        }
        at = to;
    }
    assert_eq!(found, expected);
    assert_eq!(engine.evidence(), whole.evidence());
}

#[test]
fn parts_and_columns_are_said_in_words() {
    let (schema, task) = schema(&[Kind::Number, Kind::Boolean], Kind::Number);
    let model = LinearRegression::new(&schema, &task, RegressionConfig::default()).unwrap();
    let row = |at: u64| {
        let (x, flag) = (1_000.0 + 100.0 * normal(at), f64::from(u8::from(at.is_multiple_of(3))));
        [x, flag, 5.0 + 0.25 * x - 40.0 * flag + 2.0 * normal((1 << 40) + at)]
    };
    let evidence = learn(&model, Rows::from_cells(3, (0..4_000).flat_map(row).collect()).view(), blocks);
    let parts = model.parts(&model.posterior(&evidence).unwrap());
    assert_eq!((parts.len(), parts[0].name.as_str()), (1, "y"));
    let number = |line: usize| parts[0].expects[line].1.split(" ± ").map(|x| x.parse().unwrap()).collect::<Vec<f64>>();
    assert_eq!(parts[0].expects.iter().map(|line| line.0.as_str()).collect::<Vec<_>>(), ["at the means", "x0", "x1", "noise"]);
    for (line, mean, sd) in [(0, 241.6, 0.032), (1, 0.25, 0.00032), (2, -40.0, 0.067), (3, 2.0, 0.022)] {
        let found = number(line);
        assert!((found[0] - mean).abs() < 4.0 * sd + 0.5 * f64::from(u8::from(line == 0)), "{:?}", parts[0].expects[line]);
        assert!((found[1] / sd - 1.0).abs() < 0.1, "{:?}", parts[0].expects[line]);
    }
    let columns = model.columns(&evidence);
    assert_eq!((columns[2].name.as_str(), columns[2].observed, columns[2].missing), ("y", 4_000.0, 0.0));
    assert_close(columns[1].mean.unwrap(), 1.0 / 3.0, 1e-3);
    let nothing = model.parts(&model.posterior(&model.nothing()).unwrap());
    assert_eq!(nothing[0].expects, [("noise".to_owned(), "not known yet".to_owned())]);
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    let (schema, task) = schema(&[Kind::Number, Kind::Timestamp], Kind::Number);
    let refused = |task: &Task, config| LinearRegression::new(&schema, task, config).unwrap_err();
    for prior_scale in [0.0, -1.0, f64::NAN, 1e4] {
        let error = refused(&task, RegressionConfig { prior_scale, ..RegressionConfig::default() });
        assert!(error.to_string().contains(&format!("prior_scale is {prior_scale}")), "{error}");
    }
    let standard = |name: &str, scale| RegressionConfig {
        standards: [(name.to_owned(), Standard { location: 0.0, scale })].into(),
        ..RegressionConfig::default()
    };
    assert_eq!(refused(&task, standard("x1", 1.0)), RegressionError::NoNumber { column: "x1".into() });
    assert!(refused(&task, standard("x0", 0.0)).to_string().contains("`x0`: location 0 and scale 0"));
    let timestamps = Task { target: 2, inputs: vec![1] };
    assert_eq!(refused(&timestamps, RegressionConfig::default()), RegressionError::NoInput { target: "y".into() });
    let itself = Task { target: 0, inputs: vec![0, 2] };
    assert_eq!(refused(&itself, RegressionConfig::default()), RegressionError::NoInput { target: "x0".into() });
    let time = Task { target: 1, inputs: vec![0] };
    assert!(refused(&time, RegressionConfig::default()).to_string().contains("must be a number column"));
}
