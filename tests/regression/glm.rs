//! Logistic and Poisson regression: predictives are masses that sum to one, partitions add up, units change nothing, what is said
//! survives a snapshot to the last bit, fades, and withstands numbers meant to break it.

use surprisal::engine::{Engine, Learning};
use surprisal::features::{Kind, Rows, RowsView};
use surprisal::inference::rule::{Pace, Population, Rule};
use surprisal::models::regression::glm::PseudoPosterior;
use surprisal::models::regression::{Coefficients, LogisticRegression, RegressionConfig};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::{
    assert_close, assert_withstands, block, blocks, discrete, learn, logistic, poisson, prequential, rows, schema, score, sum,
};
use crate::noise::normal;

fn some(count: usize, missing: f64, counts: bool, seed: u64) -> Rows {
    discrete(&rows(count, 3, missing, seed), counts, seed)
}

/// Rows that differ in the target only.
fn with_targets(row: &[f64], targets: impl Iterator<Item = f64>) -> Rows {
    let inputs = &row[..row.len() - 1];
    Rows::from_cells(row.len(), targets.flat_map(|y| inputs.iter().copied().chain([y])).collect())
}

#[test]
fn predictives_sum_to_one() {
    let (yes, count) = (logistic(3, RegressionConfig::default()), poisson(3, RegressionConfig::default()));
    for learnt in [0, 1, 7, 100, 900] {
        let mass = |scored: Vec<surprisal::models::Surprisal>| scored.iter().map(|s| (-s.nats).exp()).sum::<f64>();
        let all = some(910, 0.1, false, 31);
        let evidence = learn(&yes, all.view().slice(0..learnt), blocks);
        for row in 900..910 {
            let rows = with_targets(all.view().row(row), [0.0, 1.0].into_iter());
            assert_close(mass(score(&yes, &evidence, rows.view())), 1.0, 1e-9);
        }
        let all = some(910, 0.1, true, 31);
        let evidence = learn(&count, all.view().slice(0..learnt), blocks);
        for row in 900..910 {
            // While little is known tails are long: counts are summed one by one, and then in ever wider steps.
            let (mut total, mut low) = (0.0, 0.0_f64);
            while low < 1e15 {
                let step = (low / 500.0).floor().max(1.0);
                let points = (0..1_000).map(|i| low + (f64::from(i) + 0.5) * step - 0.5);
                total += step * mass(score(&count, &evidence, with_targets(all.view().row(row), points.map(f64::round)).view()));
                low += 1_000.0 * step;
            }
            assert_close(total, 1.0, if learnt < 100 { 1e-2 } else { 1e-6 });
        }
    }
}

/// What two partitions teach, each given the other, is what one pass over both teaches.
#[test]
fn partitions_add_up() {
    fn check<C: Coefficients, M: Model<Posterior = PseudoPosterior<C>>>(model: &M, all: &Rows) {
        let schema = schema(&[Kind::Number; 3], if model.kind() == "poisson_regression" { Kind::Count } else { Kind::Boolean }).0;
        let mut engine = Engine::new(model.clone(), &schema, Learning::default()).unwrap();
        for partition in [0, 1] {
            engine.assign(Partition(partition), None, None, Offset(0)).unwrap();
        }
        for at in (0..all.len()).step_by(50) {
            let run = |partition: i32| {
                let (from, view) = (at / 2, all.view());
                let mut run = Run::new(Partition(partition), Offset(from as i64), 4);
                run.heads.extend((from..from + 25).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }));
                let first = at + 25 * partition as usize;
                run.rows.extend(view.slice(first..first + 25), &[]);
                run.next = Offset(from as i64 + 25);
                run
            };
            engine.step(vec![run(0), run(1)]).unwrap().advance(true);
        }
        let weights = |posterior: &PseudoPosterior<C>| posterior.coefficients().concat();
        let whole = learn(model, all.view(), blocks);
        let expected = weights(&model.posterior(&whole).unwrap());
        let found = weights(engine.posterior());
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected) {
            let sd = expected.variance.sqrt();
            assert!((found.mean - expected.mean).abs() < 0.25 * sd, "{}: {found:?} {expected:?}", model.kind());
            assert!((found.variance.sqrt() / sd - 1.0).abs() < 0.05, "{}: {found:?} {expected:?}", model.kind());
        }
        // In any order and grouping.
        let sites: Vec<_> = engine.sites().map(|(_, site)| site.evidence.clone()).collect();
        let [left, right] = [[0, 1], [1, 0]].map(|order| {
            let sum = sum(model, &order.map(|at| sites[at].clone()));
            score(model, &sum, all.view().slice(0..50))
        });
        left.into_iter().zip(right).for_each(|(left, right)| assert_close(left.nats, right.nats, 1e-9));
    }
    check(&logistic(3, RegressionConfig::default()), &some(3_000, 0.05, false, 32));
    check(&poisson(3, RegressionConfig::default()), &some(3_000, 0.05, true, 32));
}

#[test]
fn units_do_not_matter() {
    let all = some(1_200, 0.05, true, 33);
    let other = all.view().cells().iter().enumerate();
    let other = other.map(|(at, x)| [1e-6, 1e9, -3.0, 1.0][at % 4] * x + [0.0, 5e9, 1.0, 0.0][at % 4]);
    let other = Rows::from_cells(4, other.collect());
    let model = poisson(3, RegressionConfig::default());
    let (left, _) = prequential(&model, all.view(), blocks);
    let (right, _) = prequential(&model, other.view(), blocks);
    for (left, right) in left.into_iter().zip(right) {
        assert_close(right.nats, left.nats, 1e-6);
        assert_close(right.sd, left.sd, 1e-6);
    }
}

/// A step raises the block's bound: with the block in it, q expects more of the block than before.
#[test]
fn steps_are_told() {
    let (model, all) = (logistic(3, RegressionConfig::default()), some(1_024, 0.0, false, 34));
    let evidence = learn(&model, all.view().slice(0..768), blocks);
    let posterior = model.posterior(&evidence).unwrap();
    let rows = all.view().slice(768..1_024);
    let learnt = model.learn(&posterior, &evidence, block(rows, 0, 768, Pace::BAYES)).unwrap();
    let again = model.learn(&model.posterior(&learnt.evidence).unwrap(), &evidence, block(rows, 0, 768, Pace::BAYES)).unwrap();
    assert!(again.progress.expected_log_likelihood > learnt.progress.expected_log_likelihood);
    let length = learnt.progress.step_norm.unwrap();
    assert!(length > 0.1 && length < 3.0, "{length}");
    // E_q ln p is below ln E_q p, and by little.
    let nats: f64 = score(&model, &evidence, rows).iter().map(|s| s.nats).sum();
    let expected = learnt.progress.expected_log_likelihood.unwrap();
    assert!(expected < -nats && expected > -nats - 5.0, "{expected} {nats}");
}

/// Evidence goes through tensors unchanged, whether or not the first events are still kept.
#[test]
fn evidence_survives_a_snapshot() {
    fn check<M: Model>(model: &M, all: RowsView<'_>) {
        let evidence = learn(model, all, blocks);
        let restored = model.restore(&evidence.tensors()).unwrap();
        assert!(restored.tensors() == evidence.tensors());
        assert_eq!(score(model, &restored, all), score(model, &evidence, all));
        assert_eq!(model.columns(&evidence).len(), 4);
        for missing in evidence.tensors() {
            let others: Vec<_> = evidence.tensors().into_iter().filter(|tensor| tensor.name != missing.name).collect();
            let error = model.restore(&others).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(&missing.name), "{error}");
        }
    }
    for count in [30, 700] {
        check(&logistic(3, RegressionConfig::default()), some(count, 0.1, false, 35).view());
        check(&poisson(3, RegressionConfig::default()), some(count, 0.1, true, 35).view());
    }
}

/// Inside the engine: however records arrive, and after restarts from snapshots, each event gets the same score to the last bit.
#[test]
fn arrival_and_restarts_change_no_score() {
    let (schema, _) = schema(&[Kind::Number; 3], Kind::Boolean);
    let (model, all) = (logistic(3, RegressionConfig::default()), some(1_500, 0.05, false, 36));
    let learning = Learning { rule: Rule { half_life_events: 800.0, ..Rule::default() }, max_block: 256 };
    let run = |from: usize, to: usize| {
        let mut run = Run::new(Partition(0), Offset(from as i64), 4);
        run.heads.extend((from..to).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }));
        run.rows.extend(all.view().slice(from..to), &[]);
        run.next = Offset(to as i64);
        run
    };
    let scores = |engine: &mut Engine<LogisticRegression>, from: usize, to: usize| {
        let ready = engine.step(vec![run(from, to)]).unwrap();
        let scores: Vec<(f64, f64)> = ready.scores().map(|(_, _, score)| (score.surprisal, score.surprisal_sd)).collect();
        ready.advance(true);
        scores
    };
    let begin = || {
        let mut engine = Engine::new(model.clone(), &schema, learning).unwrap();
        engine.assign(Partition(0), None, None, Offset(0)).unwrap();
        engine
    };
    let expected = scores(&mut begin(), 0, 1_500);
    let (mut engine, mut found, mut at, mut stops) = (begin(), Vec::new(), 0, vec![1_100, 300]);
    while at < 1_500 {
        let to = 1_500.min(at + 1 + at * 7 % 190);
        found.extend(scores(&mut engine, at, to));
        if stops.last().is_some_and(|stop| *stop < to) {
            stops.pop();
            // Stop, and go on from what was published.
            let mut site = engine.sites().next().unwrap().1.clone();
            site.evidence = model.restore(&site.evidence.tensors()).unwrap();
            engine = Engine::new(model.clone(), &schema, learning).unwrap();
            let from = engine.assign(Partition(0), Some(site), Some(Offset(to as i64)), Offset(0)).unwrap().0 as usize;
            assert!(scores(&mut engine, from, to).is_empty());
        }
        at = to;
    }
    assert!(stops.is_empty());
    assert_eq!(found, expected);
}

/// With a half-life the coefficients follow a world that changes, and are less sure of it.
#[test]
fn fading_evidence_follows_a_change() {
    let model = logistic(1, RegressionConfig::default());
    let row = |at: u64| {
        let x = normal(at);
        let slope = if at < 3_000 { 2.0 } else { -2.0 };
        [x, f64::from(u8::from(normal((1 << 40) + at) < slope * x))]
    };
    let rows = Rows::from_cells(2, (0..6_000).flat_map(row).collect());
    let slope = |half_life_events: f64| {
        let rule = Rule { half_life_events, ..Rule::default() };
        let mut evidence = model.nothing();
        for at in (0..6_000).step_by(20) {
            let posterior = model.posterior(&evidence).unwrap();
            let pace = rule.pace(at as u64, 20, 0.0);
            evidence = model.learn(&posterior, &evidence, block(rows.view().slice(at..at + 20), 0, at, pace)).unwrap().evidence;
            model.reorganise(&model.nothing(), &mut evidence);
        }
        model.posterior(&evidence).unwrap().coefficients()[0][1]
    };
    let (fading, lasting) = (slope(300.0), slope(f64::INFINITY));
    // The slope of a probit is about 1.7 times that of a logit.
    assert!((fading.mean + 3.5).abs() < 3.0 * fading.variance.sqrt(), "{fading:?}");
    assert!(lasting.mean > fading.mean + 1.0 && lasting.variance < 0.1 * fading.variance, "{lasting:?} {fading:?}");
}

/// Forgetting comes first: a block is learnt from what is left of the site, as if there had never been more.
#[test]
fn a_block_is_learnt_after_forgetting() {
    fn check<C: Coefficients, M: Model<Posterior = PseudoPosterior<C>>>(model: &M, all: &Rows) {
        let (before, rows) = (learn(model, all.view().slice(0..2_000), blocks), all.view().slice(2_000..2_016));
        let learnt = |site: &M::Evidence, retention: f64| {
            let pace = Pace { retention, weight: 1.0 };
            let learnt = model.learn(&model.posterior(site).unwrap(), site, block(rows, 0, 2_000, pace)).unwrap();
            model.posterior(&learnt.evidence).unwrap().coefficients().concat()
        };
        let mut faded = before.clone();
        faded.scale(1e-3);
        for (found, expected) in learnt(&before, 1e-3).into_iter().zip(learnt(&faded, 1.0)) {
            assert_close(found.mean, expected.mean, 1e-9);
            assert_close(found.variance, expected.variance, 1e-9);
        }
    }
    check(&logistic(3, RegressionConfig::default()), &some(2_016, 0.0, false, 38));
    check(&poisson(3, RegressionConfig::default()), &some(2_016, 0.0, true, 38));
}

/// Byte counts, say: every event adds its rate to the precision, whatever is known already.
#[test]
fn large_counts_are_learnt_whole() {
    let model = poisson(1, RegressionConfig::default());
    for (rate, grown) in [(1e2_f64, 1e5), (1e6, 1.0), (1e6, 1e4)] {
        let cells =
            (0..2_000 + 6 * 256_u64).flat_map(|at| [normal(at), (rate + rate.sqrt() * normal((1 << 40) + at)).round().max(0.0)]);
        let rows = Rows::from_cells(2, cells.collect());
        let mut evidence = learn(&model, rows.view().slice(0..2_000), blocks);
        evidence.scale(grown);
        for at in (2_000..rows.len()).step_by(256) {
            let posterior = model.posterior(&evidence).unwrap();
            let learnt = model.learn(&posterior, &evidence, block(rows.view().slice(at..at + 256), 0, at, Pace::BAYES)).unwrap();
            let after = model.posterior(&learnt.evidence).unwrap();
            let [after, before] = [&after, &posterior].map(|of| 1.0 / of.coefficients()[0][0].variance);
            let added = after - before;
            assert!(
                (added / (256.0 * rate) - 1.0).abs() < 0.1 && !learnt.progress.clipped,
                "{rate} {grown}: {}",
                added / 256.0 / rate
            );
            evidence = learnt.evidence;
        }
    }
}

/// A population of a hundred times the events is a hundred times as sure, and thinks the same.
#[test]
fn a_population_counts_for_its_events() {
    let (model, all) = (poisson(3, RegressionConfig::default()), some(2_000, 0.0, true, 37));
    let learnt = |population: f64| {
        let rule = Rule { population: Some(Population { events: population, exponent: 1.0 }), ..Rule::default() };
        let (mut evidence, mut at) = (model.nothing(), 0);
        while at < 2_000 {
            let len = blocks(at).min(2_000 - at);
            let posterior = model.posterior(&evidence).unwrap();
            let pace = rule.pace(at as u64, len, 0.0);
            evidence = model.learn(&posterior, &evidence, block(all.view().slice(at..at + len), 0, at, pace)).unwrap().evidence;
            model.reorganise(&model.nothing(), &mut evidence);
            at += len;
        }
        assert_close(evidence.events(), population, 1e-9);
        model.posterior(&evidence).unwrap().coefficients().concat()
    };
    for (small, large) in learnt(2_000.0).into_iter().zip(learnt(200_000.0)) {
        assert!((small.mean - large.mean).abs() < 0.3 * small.variance.sqrt(), "{small:?} {large:?}");
        assert!((small.variance / large.variance / 100.0 - 1.0).abs() < 0.1, "{small:?} {large:?}");
    }
}

#[test]
fn nothing_that_is_not_finite_comes_in_or_out() {
    // Input 1 is constant and input 2 never there.
    let calm = |at: usize| [normal(at as u64), 7.1, f64::NAN, f64::from(u8::from(normal(at as u64) > 0.0))][at % 4];
    let rows = |cells| Rows::from_cells(4, cells);
    assert_withstands(&logistic(3, RegressionConfig::default()), calm, &[0.0, 1.0, f64::NAN], rows);
    let counts = [0.0, 1.0, 63.0, 1e6, 1e15, 1e300, f64::MAX, f64::NAN];
    assert_withstands(&poisson(3, RegressionConfig::default()), calm, &counts, rows);
}

/// A count out of all proportion is taken for what it is, wherever it comes, and forgotten with the rest.
#[test]
fn an_enormous_count_is_no_catastrophe() {
    let model = poisson(1, RegressionConfig::default());
    let calm = |from: usize, to: usize| (from..to).flat_map(|at| [normal(at as u64), (at % 4) as f64]);
    for before in [0, 1, 100, 1_000] {
        let mut cells: Vec<f64> = calm(0, before).collect();
        cells.extend([0.5, 1e6]);
        cells.extend(calm(before, before + 2_999));
        let rows = Rows::from_cells(2, cells);
        let (mut evidence, mut found, mut at) = (model.nothing(), Vec::new(), 0);
        let pace = |len: usize| Pace { retention: 0.5_f64.powf(len as f64 / 50.0), weight: 1.0 };
        while at < rows.len() {
            let len = blocks(at).min(rows.len() - at).min(8);
            let posterior = model.posterior(&evidence).unwrap();
            let view = rows.view().slice(at..at + len);
            model.score(&posterior, view, &mut found);
            evidence = model.learn(&posterior, &evidence, block(view, 0, at, pace(len))).unwrap().evidence;
            model.reorganise(&model.nothing(), &mut evidence);
            at += len;
        }
        assert!(found[before].nats > 10.0 && found[before].sd.is_finite(), "{before}: {:?}", found[before]);
        let late = found[before + 2_500..].iter().map(|s| s.nats).sum::<f64>() / 500.0;
        assert!(late < 2.2, "{before}: {late} nats an event");
    }
}

/// Perfectly separated classes leave coefficients that the prior alone holds, and no step runs away.
#[test]
fn separated_classes_stay_finite() {
    let model = logistic(2, RegressionConfig::default());
    let cells = (0..4_000_u64).flat_map(|at| {
        let x = normal(at);
        [x, normal((1 << 40) + at), f64::from(u8::from(x > 0.3))]
    });
    let (found, evidence) = prequential(&model, Rows::from_cells(3, cells.collect()).view(), blocks);
    assert!(found[3_000..].iter().map(|s| s.nats).sum::<f64>() / 1_000.0 < 0.06);
    let slope = model.posterior(&evidence).unwrap().coefficients()[0][1];
    assert!(slope.mean > 8.0 && slope.mean < 60.0, "{slope:?}");
}

#[test]
fn what_is_believed_is_said_in_words() {
    let (schema, task) = schema(&[Kind::Number, Kind::Category { capacity: 4 }], Kind::Boolean);
    let model = LogisticRegression::new(&schema, &task, RegressionConfig::default()).unwrap();
    let mut rows = Rows::new(3);
    for at in 0..8_000_u64 {
        let (cells, texts) = rows.push_missing();
        cells[0] = 500.0 + 100.0 * normal(at);
        if at % 4 > 0 {
            cells[1] = texts.push(["a", "b", "c"][at as usize % 3]) as f64;
        }
        let eta = 0.01 * (cells[0] - 500.0);
        cells[2] = f64::from(u8::from(crate::noise::uniform((1 << 40) + at) < 1.0 / (1.0 + (-eta).exp())));
    }
    let evidence = learn(&model, rows.view(), blocks);
    let posterior = model.posterior(&evidence).unwrap();
    let parts = model.parts(&posterior);
    let (name, said) = &parts[0].expects[1];
    assert!(name == "x0" && (said.starts_with("9.") || said.starts_with("0.010")), "{said}");
    assert_eq!(parts[0].expects.len(), model.active(&posterior) + 1);
    let columns = model.columns(&evidence);
    assert_eq!((columns[1].observed, columns[1].missing), (6_000.0, 2_000.0));
    assert_close(columns[2].mean.unwrap(), 0.5, 0.03);
    assert!(model.divergence(&posterior).unwrap() > 1.0);
    assert_close(model.divergence(&model.posterior(&model.nothing()).unwrap()).unwrap(), 0.0, 1e-12);
}
