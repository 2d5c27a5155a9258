//! State: partitions add up, snapshots and arrival change no bit, and what would not be finite never enters.

use candle_core::{Result, Tensor};
use proptest::prelude::*;
use surprisal::engine::{Engine, Learning, Score, Setup};
use surprisal::features::{Rows, RowsView};
use surprisal::inference::rule::Rule;
use surprisal::models::mean_field::{Draws, Events, LogJoint, MeanField, Parameter};
use surprisal::models::{AnyModel, Evidence, Model};
use surprisal::record::{Offset, Partition};

use crate::data::{P0, assert_close, engine, latencies, model, run, schema, take};
use crate::exact;
use crate::example::RobustRegression;

const NAMES: [&str; 3] = ["load", "users", "latency"];

/// Rows dealt to partitions in turn, four at a time.
fn deal(rows: RowsView<'_>, partitions: usize) -> Vec<Rows> {
    let mut dealt = vec![Rows::new(rows.width()); partitions];
    for (at, start) in (0..rows.len()).step_by(4).enumerate() {
        dealt[at % partitions].extend(rows.slice(start..start + 4), &[]);
    }
    dealt
}

/// Learnt in turn, a little of each partition at a time.
fn learn<L: LogJoint>(engine: &mut Engine<MeanField<L>>, dealt: &[Rows]) {
    let longest = dealt.iter().map(Rows::len).max().unwrap_or(0);
    for start in (0..longest).step_by(32) {
        for (partition, rows) in dealt.iter().enumerate() {
            let end = rows.len().min(start + 32);
            let run = run(Partition(partition as i32), rows.view().slice(0..end), start.min(end));
            engine.step(vec![run]).expect("in order").advance(false);
        }
    }
}

#[test]
fn sites_of_partitions_add_up_to_the_posterior_of_all() {
    let linear = model(exact::Linear(2.0), &exact::NAMES);
    let rows = exact::orthogonal(1_536);
    let mut whole = engine(&linear, &exact::NAMES, 1);
    take(&mut whole, rows.view().slice(0..1_024), 0);
    // Sites of two engines that have never heard of each other.
    let mut parts = deal(rows.view().slice(0..1_024), 2).into_iter().map(|rows| {
        let mut alone = engine(&linear, &exact::NAMES, 1);
        take(&mut alone, rows.view(), 0);
        alone.evidence()
    });
    let mut sum = parts.next().unwrap();
    sum.add(&parts.next().unwrap());
    let merged = linear.posterior(&sum).unwrap();
    for ((mean, sd), (expected, expected_sd)) in merged.moments("slopes").into_iter().zip(whole.posterior().moments("slopes")) {
        assert_close(mean, expected, 1e-9);
        assert_close(sd / expected_sd, 1.0, 1e-9);
    }
    assert_close(sum.events(), 1_024.0, 1e-12);

    let robust = model(RobustRegression, &NAMES);
    let rows = latencies(2_048);
    let mut whole = engine(&robust, &NAMES, 1);
    take(&mut whole, rows.view(), 0);
    let mut shared = engine(&robust, &NAMES, 4);
    learn(&mut shared, &deal(rows.view(), 4));
    for name in ["intercept", "slopes", "noise"] {
        for ((mean, sd), (expected, expected_sd)) in
            shared.posterior().moments(name).into_iter().zip(whole.posterior().moments(name))
        {
            println!("{name}: {} sd, {}", (mean - expected) / expected_sd, sd / expected_sd);
            assert!((mean - expected).abs() < 0.15 * expected_sd, "{name}: {mean} is not {expected} ± {expected_sd}");
            assert_close(sd / expected_sd, 1.0, 0.03);
        }
    }
}

#[test]
fn evidence_survives_a_snapshot() {
    let model = model(RobustRegression, &NAMES);
    let rows = latencies(600);
    // With the first events at hand, and after.
    for count in [100, 600] {
        let mut engine = engine(&model, &NAMES, 1);
        take(&mut engine, rows.view().slice(0..count), 0);
        let evidence = engine.evidence();
        assert_eq!(model.restore(&evidence.tensors()), Ok(evidence.clone()));
        let first = evidence.tensors().into_iter().find(|tensor| tensor.name == "first.weights").expect("a tensor");
        assert_eq!(first.data.len(), if count == 100 { 100 } else { 0 });
        for missing in evidence.tensors() {
            let others: Vec<_> = evidence.tensors().into_iter().filter(|tensor| tensor.name != missing.name).collect();
            let error = model.restore(&others).unwrap_err().to_string();
            assert!(error.contains(&missing.name), "{error}");
        }
        let mut negative = evidence.tensors();
        let precision = negative.iter_mut().find(|tensor| tensor.name == "precision").expect("a tensor");
        precision.data = surprisal::checkpoint::Data::F64(vec![1.0, -1.0, 1.0, 1.0]);
        let error = model.restore(&negative).unwrap_err().to_string();
        assert_eq!(error, "tensor `precision`: element 1 is -1, expected at least 0");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// However records arrive, and after a restart from a snapshot, each event gets the same score, to the bit.
    #[test]
    fn arrival_and_restarts_change_no_bit(mut cuts in prop::collection::vec(1_usize..700, 0..30), restart in 0_usize..30) {
        cuts.extend([1, 2, 3, 700]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut cells = latencies(700).view().cells().to_vec();
        cells.iter_mut().skip(100).step_by(57).for_each(|cell| *cell = f64::NAN);
        let rows = Rows::from_cells(3, cells);
        let learning = Learning { rule: Rule { half_life_events: 400.0, ..Rule::default() }, max_block: 256 };
        let model = AnyModel::new(model(RobustRegression, &NAMES));
        let fresh = || Engine::new(model.clone(), &schema(&NAMES), learning).unwrap();
        let scores = |engine: &mut Engine<AnyModel>, from: usize, to: usize| {
            let ready = engine.step(vec![run(P0, rows.view().slice(0..to), from)]).unwrap();
            let scores: Vec<Score> = ready.scores().map(|(_, _, score)| score.clone()).collect();
            ready.advance(true);
            scores
        };
        let mut whole = fresh();
        whole.assign(P0, None, None, Offset(0)).unwrap();
        let expected = scores(&mut whole, 0, 700);

        let mut engine = fresh();
        engine.assign(P0, None, None, Offset(0)).unwrap();
        let (mut found, mut at) = (Vec::new(), 0);
        for (index, &cut) in cuts.iter().enumerate() {
            found.extend(scores(&mut engine, at, cut));
            if index == restart % cuts.len() {
                let mut site = engine.sites().next().unwrap().1.clone();
                site.evidence = model.restore(&site.evidence.tensors()).unwrap();
                engine = fresh();
                let from = engine.assign(P0, Some(site), Some(Offset(cut as i64)), Offset(0)).unwrap().0 as usize;
                prop_assert!(scores(&mut engine, from, cut).is_empty());
            }
            at = cut;
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(engine.evidence(), whole.evidence());
    }
}

/// An event without its target, or without an input, says nothing and teaches nothing.
#[test]
fn an_incomplete_event_has_no_surprisal_and_teaches_nothing() {
    let model = model(RobustRegression, &NAMES);
    let rows = latencies(64);
    let mut with = Rows::new(3);
    for event in 0..64 {
        with.extend(rows.view().slice(event..event + 1), &[]);
    }
    let mut engine = engine(&model, &NAMES, 1);
    take(&mut engine, rows.view(), 0);
    let before = engine.evidence();
    for hole in 0..3 {
        with.push_missing().0[hole] = 1e6;
    }
    with.push_missing();
    let scores = take(&mut engine, with.view(), 64);
    assert_eq!(scores.iter().map(|score| (score.surprisal, score.surprisal_sd)).collect::<Vec<_>>(), [(0.0, 0.0); 4]);
    let after = engine.evidence();
    assert_eq!((after.precision(), after.shift(), after.events()), (before.precision(), before.shift(), 64.0));
    let columns = model.columns(&after);
    assert_eq!((columns[2].observed, columns[2].missing), (65.0, 3.0));
}

/// ln p is not a number where x is negative, and impossible where x is 7.
#[derive(Debug)]
struct Fragile;

impl LogJoint for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn columns(&self) -> Vec<&str> {
        vec!["x"]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::real("centre", 1, 0.0, 1.0)]
    }

    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        let impossible = events["x"].eq(7.0)?.to_dtype(events["x"].dtype())?.affine(-1.0, 1.0)?.log()?;
        let gap = events["x"].sqrt()?.broadcast_sub(&theta["centre"])?;
        (gap.sqr()? * -0.5)?.broadcast_add(&impossible)
    }
}

#[test]
fn a_likelihood_that_is_not_finite_is_refused_and_counted() {
    let names = ["x"];
    let model = model(Fragile, &names);
    let clean: Vec<f64> = (0..64).map(|event| 1.0 + 0.01 * f64::from(event)).collect();
    let mut engine = engine(&model, &names, 1);
    // Where the likelihood is no number, and where it is zero, nothing is more surprising.
    for poison in [-1.0, 7.0] {
        let from = engine.sites().next().unwrap().1.covers_to.0 as usize;
        let mut cells = vec![1.0; from];
        cells.extend(&clean[..8]);
        cells.push(poison);
        let rows = Rows::from_cells(1, cells);
        engine.step(vec![run(P0, rows.view().slice(0..from + 8), from)]).unwrap().advance(false);
        let before = engine.evidence();
        let ready = engine.step(vec![run(P0, rows.view(), from + 8)]).unwrap();
        let score = ready.scores().next().unwrap().2.clone();
        assert_eq!(score.surprisal, f64::INFINITY);
        let refused = ready.refused().clone();
        assert_eq!(refused.events, 1);
        assert_eq!(refused.cause.unwrap().to_string(), "ln p(events | θ) of `fragile` is not finite");
        ready.advance(false);
        assert_eq!(engine.evidence(), before);
    }
    // It goes on.
    let from = engine.sites().next().unwrap().1.covers_to.0 as usize;
    let mut cells = vec![1.0; from];
    cells.extend(&clean);
    take(&mut engine, Rows::from_cells(1, cells).view(), from);
    assert!(engine.evidence().events() > 60.0);
    assert!((engine.posterior().moments("centre")[0].0 - 1.15).abs() < 0.1);
}

/// Where events are weighed, one that can't be told or can't be is left out, and the others of its block are learnt.
#[test]
fn robust_learning_leaves_out_what_cannot_be() {
    let names = ["x"];
    let model = model(Fragile, &names);
    let cell = |event: usize| match event {
        700 => 7.0,
        1_000 => -1.0,
        _ => 1.0 + 0.01 * (event % 64) as f64,
    };
    let rows = Rows::from_cells(1, (0..1_200).map(cell).collect());
    let learn = |robust: bool| {
        let mut engine = Engine::new(model.clone(), &schema(&names), Setup { robust, ..Setup::default() }).unwrap();
        engine.assign(P0, None, None, Offset(0)).unwrap();
        let ready = engine.step(vec![run(P0, rows.view(), 0)]).unwrap();
        let refused = ready.refused().events;
        ready.advance(false);
        (refused, engine.evidence().events(), engine.posterior().moments("centre")[0].0)
    };
    let ((refused, learnt, centre), (refused_without, learnt_without, _)) = (learn(true), learn(false));
    assert_eq!((refused, refused_without > 2), (0, true), "{refused_without}");
    assert!(learnt > learnt_without, "{learnt} {learnt_without}");
    assert!((centre - 1.15).abs() < 0.05, "{centre}");
}

/// Sums of squares of columns are state too, and those of incomplete events with them.
#[test]
fn numbers_too_large_to_square_are_refused() {
    let model = model(RobustRegression, &NAMES);
    let mut engine = engine(&model, &NAMES, 1);
    let mut rows = Rows::from_cells(3, vec![0.0, 0.0, 1.0]);
    for load in [1e200, -1e200] {
        rows.push_missing().0[0] = load;
    }
    let ready = engine.step(vec![run(P0, rows.view(), 0)]).expect("in order");
    assert_eq!(ready.refused().events, 2);
    assert_eq!(
        ready.refused().cause.as_ref().map(ToString::to_string).as_deref(),
        Some("the sum of squares of a column of `robust_regression` is not finite")
    );
    ready.advance(false);
    assert_eq!(model.columns(&engine.evidence())[0].observed, 1.0);
}

#[test]
fn what_is_believed_can_be_read() {
    let model = model(RobustRegression, &NAMES);
    let rows = latencies(2_048);
    let mut engine = engine(&model, &NAMES, 1);
    assert_eq!(model.divergence(engine.posterior()), Some(0.0));
    take(&mut engine, rows.view(), 0);
    let posterior = engine.posterior();
    let part = &model.parts(posterior)[0];
    assert_eq!((part.name.as_str(), part.weight, model.active(posterior)), ("robust_regression", 1.0, 1));
    let names: Vec<_> = part.expects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["intercept", "slopes[0]", "slopes[1]", "noise"]);
    let noise = posterior.estimates("noise")[0];
    assert_eq!(part.expects[3].1, format!("{:.4} ({:.4} to {:.4})", noise.median, noise.low, noise.high));
    assert!(noise.low > 0.55 && noise.low < noise.median && noise.median < noise.high && noise.high < 0.7, "{noise}");
    // KL of independent normals, by its formula.
    let priors = [(0.0, 10.0), (0.0, 10.0), (0.0, 10.0), (0.0, 1.0)];
    let moments = ["intercept", "slopes", "noise"].map(|name| posterior.moments(name)).concat();
    let kl = moments.iter().zip(priors).map(|((mean, sd), (prior_mean, prior_sd)): (&(f64, f64), (f64, f64))| {
        (prior_sd / sd).ln() + (sd * sd + (mean - prior_mean).powi(2)) / (2.0 * prior_sd * prior_sd) - 0.5
    });
    assert_close(model.divergence(posterior).unwrap(), kl.sum(), 1e-12);
    let columns = model.columns(&engine.evidence());
    assert_eq!((columns[0].name.as_str(), columns[0].kind, columns[0].observed), ("load", "number", 2_048.0));
    let loads = (0..2_048).map(|event| rows.view().row(event)[0]);
    assert_close(columns[0].mean.unwrap(), loads.sum::<f64>() / 2_048.0, 1e-12);
}
