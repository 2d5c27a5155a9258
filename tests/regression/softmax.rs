//! Softmax regression: two classes are a logistic regression, a long stream comes near to Newton's method, predictives sum to one, classes
//! are the same by their texts whoever met them first, and nothing breaks it.

use nalgebra::{DMatrix, DVector};
use surprisal::engine::{Engine, Learning};
use surprisal::features::{Kind, Rows};
use surprisal::models::regression::{LogisticRegression, RegressionConfig, RegressionError, SoftmaxRegression};
use surprisal::models::{Evidence, Model, Standard};
use surprisal::record::{Head, Offset, Partition, Run};

use crate::data::{assert_close, assert_withstands, blocks, discrete, learn, named, rows, schema, score, softmax, sum};
use crate::noise::{normal, uniform};

const NAMES: [&str; 4] = ["calm", "busy", "down", "odd"];

/// Inputs as in [`rows`], and a class that depends on them: the likeliest of noisy logits.
fn some(count: usize, dim: usize, missing: f64, seed: u64) -> Rows {
    let rows = rows(count, dim, missing, seed);
    let cells = (0..count).flat_map(|event| {
        let row = rows.view().row(event);
        let z = |d: usize| if row[d].is_nan() { 0.0 } else { (row[d] - 40.0 - d as f64) / (3 * (1 + d)) as f64 };
        let gumbel = |class: u64| -(-uniform((1 << 60) + (seed << 32) + 3 * event as u64 + class).ln()).ln();
        let logits = [0.4 + 0.8 * z(0) + gumbel(0), gumbel(1) - 0.5 * z(1), gumbel(2) - 0.3 - 0.6 * z(0)];
        let class = (0..3).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
        row[..dim].iter().copied().chain([class as f64]).collect::<Vec<_>>()
    });
    named(&Rows::from_cells(dim + 1, cells.collect()), &NAMES)
}

fn model(dim: usize, classes: usize) -> SoftmaxRegression {
    softmax(dim, classes, RegressionConfig::default())
}

/// The difference of two predictors with priors N(0, s²) has the prior N(0, 2 s²).
#[test]
fn two_classes_are_a_logistic_regression() {
    let settings = |prior_scale: f64| RegressionConfig { prior_scale, inner_steps: 50, ..RegressionConfig::default() };
    let all = discrete(&rows(1_200, 3, 0.1, 41), false, 41);
    let texts = named(&all, &["no", "yes"]);
    let two = softmax(3, 2, settings(1.5));
    let (schema, task) = schema(&[Kind::Number; 3], Kind::Boolean);
    let one = LogisticRegression::new(&schema, &task, settings(1.5 * std::f64::consts::SQRT_2)).unwrap();
    let ours = score(&two, &learn(&two, texts.view().slice(0..1_000), blocks), texts.view().slice(1_000..1_200));
    let theirs = score(&one, &learn(&one, all.view().slice(0..1_000), blocks), all.view().slice(1_000..1_200));
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert_close(ours.nats, theirs.nats, 1e-3);
        assert_close(ours.sd, theirs.sd, 1e-3);
    }
}

/// The mode and the curvature there, by Newton's method on all rows at once: `(1, z)` of each class in turn.
fn laplace(rows: &Rows, classes: &[usize], units: &[Standard], count: usize, prior_scale: f64) -> (DVector<f64>, DMatrix<f64>) {
    let features = units.len() + 1;
    let dim = count * features;
    let mut at = DVector::zeros(dim);
    let mut precision = DMatrix::zeros(dim, dim);
    for _ in 0..30 {
        let mut gradient = -&at / prior_scale.powi(2);
        precision = DMatrix::from_diagonal_element(dim, dim, prior_scale.powi(-2));
        for (e, class) in classes.iter().enumerate() {
            let row = rows.view().row(e);
            let z: Vec<f64> = [1.0].into_iter().chain(units.iter().zip(row).map(|(u, x)| (x - u.location) / u.scale)).collect();
            let eta: Vec<f64> = (0..count).map(|c| (0..features).map(|f| at[c * features + f] * z[f]).sum()).collect();
            let total: f64 = eta.iter().map(|eta: &f64| eta.exp()).sum();
            let p: Vec<f64> = eta.iter().map(|eta| eta.exp() / total).collect();
            for c in 0..count {
                for f in 0..features {
                    gradient[c * features + f] += (f64::from(u8::from(c == *class)) - p[c]) * z[f];
                    for k in 0..count {
                        let weight = if c == k { p[c] * (1.0 - p[c]) } else { -p[c] * p[k] };
                        (0..features).for_each(|g| precision[(c * features + f, k * features + g)] += weight * z[f] * z[g]);
                    }
                }
            }
        }
        at += precision.clone().lu().solve(&gradient).expect("regular");
    }
    (at, precision.try_inverse().expect("regular"))
}

#[test]
fn a_long_stream_comes_near_to_newtons_method() {
    let (rows, model) = (some(5_000, 3, 0.0, 42), model(3, 3));
    let view = rows.view();
    let mut met: Vec<&str> = Vec::new();
    let classes: Vec<usize> = (0..5_000)
        .map(|e| {
            let text = view.text(view.row(e)[3]).unwrap();
            met.iter().position(|known| *known == text).unwrap_or_else(|| {
                met.push(text);
                met.len() - 1
            })
        })
        .collect();
    let evidence = learn(&model, view, blocks);
    let columns = model.columns(&evidence);
    let unit = |d: usize| Standard { location: columns[d].mean.unwrap(), scale: columns[d].standard_deviation.unwrap() };
    let (mode, covariance) = laplace(&rows, &classes, &(0..3).map(unit).collect::<Vec<_>>(), 3, 2.5);
    for (class, found) in model.posterior(&evidence).unwrap().coefficients().iter().enumerate() {
        for (feature, found) in found.iter().enumerate() {
            // Of each class about the mean of all.
            let way =
                DVector::from_fn(
                    12,
                    |at, _| if at % 4 != feature { 0.0 } else { f64::from(u8::from(at / 4 == class)) - 1.0 / 3.0 },
                );
            let sd = way.dot(&(&covariance * &way)).sqrt();
            let (off, wide) = ((found.mean - way.dot(&mode)) / sd, found.variance.sqrt() / sd);
            assert!(off.abs() < 0.1 && (wide - 1.0).abs() < 0.05, "{class} {feature}: off by {off} sd, sd {wide} times");
        }
    }
    assert_eq!((columns[3].distinct, columns[3].observed), (Some(3), 5_000.0));
    let parts = model.parts(&model.posterior(&evidence).unwrap());
    assert!(parts.iter().map(|part| part.name.as_str()).eq(["y = calm", "y = busy", "y = down"]), "{parts:?}");
    assert_close(parts.iter().map(|part| part.weight).sum(), 1.0, 1e-12);
}

#[test]
fn predictives_sum_to_one() {
    let model = model(3, 4);
    let all = some(910, 3, 0.1, 43);
    for learnt in [1, 7, 100, 900] {
        let evidence = learn(&model, all.view().slice(0..learnt), blocks);
        // The fourth class is that of any text not met yet, as long as three are known.
        let known = model.columns(&evidence)[3].distinct.unwrap();
        for row in 900..910 {
            let inputs = &all.view().row(row)[..3];
            let cells = (0..4).flat_map(|class| inputs.iter().copied().chain([f64::from(class)]));
            let mass: Vec<f64> = score(&model, &evidence, named(&Rows::from_cells(4, cells.collect()), &NAMES).view())
                .iter()
                .map(|s| (-s.nats).exp())
                .collect();
            // Classes without a text are all alike.
            assert_close(mass.iter().sum::<f64>(), 1.0, if known == 3 { 2e-3 } else { 0.05 });
        }
    }
}

/// Two partitions that meet the classes in another order, each given the other, teach what one pass teaches.
#[test]
fn partitions_add_up() {
    let (schema, _) = schema(&[Kind::Number; 3], Kind::Category { capacity: 4 });
    let (model, all) = (model(3, 4), some(3_100, 3, 0.05, 44));
    let mut engine = Engine::new(model.clone(), &schema, Learning::default()).unwrap();
    for partition in [0, 1] {
        engine.assign(Partition(partition), None, None, Offset(0)).unwrap();
    }
    for at in (0..3_000).step_by(50) {
        let run = |partition: i32| {
            let from = at / 2;
            let mut run = Run::new(Partition(partition), Offset(from as i64), 4);
            run.heads.extend((from..from + 25).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }));
            let first = at + 25 * partition as usize;
            run.rows.extend(all.view().slice(first..first + 25), &[3]);
            run.next = Offset(from as i64 + 25);
            run
        };
        engine.step(vec![run(0), run(1)]).unwrap().advance(true);
    }
    let whole = learn(&model, all.view().slice(0..3_000), blocks);
    let later = all.view().slice(3_000..3_100);
    let sites: Vec<_> = engine.sites().map(|(_, site)| site.evidence.clone()).collect();
    let [left, right] = [[0, 1], [1, 0]].map(|order| score(&model, &sum(&model, &order.map(|at| sites[at].clone())), later));
    for ((left, right), whole) in left.into_iter().zip(right).zip(score(&model, &whole, later)) {
        assert_close(left.nats, right.nats, 1e-9);
        assert!((left.nats - whole.nats).abs() < 0.4 * whole.sd && (left.sd / whole.sd - 1.0).abs() < 0.1, "{left:?} {whole:?}");
    }
}

#[test]
fn evidence_survives_a_snapshot() {
    let model = model(3, 4);
    for count in [30, 700] {
        let all = some(count, 3, 0.1, 45);
        let evidence = learn(&model, all.view(), blocks);
        let restored = model.restore(&evidence.tensors()).unwrap();
        assert!(restored.tensors() == evidence.tensors());
        assert_eq!(score(&model, &restored, all.view()), score(&model, &evidence, all.view()));
        for missing in evidence.tensors() {
            let others: Vec<_> = evidence.tensors().into_iter().filter(|tensor| tensor.name != missing.name).collect();
            let error = model.restore(&others).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(&missing.name), "{error}");
        }
        let fewer = softmax(3, 2, RegressionConfig::default()).restore(&evidence.tensors()).unwrap_err().to_string();
        assert!(fewer.contains("classes.texts") && fewer.contains("3 texts, expected at most 2"), "{fewer}");
    }
}

/// Once there are as many texts as classes, others are of the last.
#[test]
fn texts_beyond_the_capacity_share_the_last_class() {
    let model = model(1, 3);
    let row = |at: u64| {
        // The first two are met first.
        let x = if at < 2 { -1.0 } else { normal(at) };
        [x, if x > 0.5 { (2 + at % 2) as f64 } else { (at % 2) as f64 }]
    };
    let rows = named(&Rows::from_cells(2, (0..2_000).flat_map(row).collect()), &NAMES);
    let evidence = learn(&model, rows.view(), blocks);
    let asked = named(&Rows::from_cells(2, vec![2.0, 2.0, 2.0, 3.0, -2.0, 2.0]), &NAMES);
    let found = score(&model, &evidence, asked.view());
    assert!(found[0] == found[1] && found[0].nats < 0.1 && found[2].nats > 3.0, "{found:?}");
    assert_eq!(model.columns(&evidence)[1].distinct, Some(3));
}

#[test]
fn nothing_that_is_not_finite_comes_in_or_out() {
    // Input 1 is constant and input 2 never there.
    let calm = |at: usize| [normal(at as u64), 7.1, f64::NAN, (at / 4 % 3) as f64][at % 4];
    let rows = |cells| named(&Rows::from_cells(4, cells), &NAMES);
    assert_withstands(&model(3, 3), calm, &[0.0, 1.0, 3.0, f64::NAN], rows);
}

#[test]
fn too_many_classes_are_refused() {
    for capacity in [1, 33, 1024] {
        let (schema, task) = schema(&[Kind::Number], Kind::Category { capacity });
        let error = SoftmaxRegression::new(&schema, &task, RegressionConfig::default()).unwrap_err();
        assert_eq!(error, RegressionError::Classes { column: "y".into(), capacity });
        assert!(error.to_string().contains("give the column such a capacity"), "{error}");
    }
}
