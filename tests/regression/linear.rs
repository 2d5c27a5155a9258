//! Linear regression: the dense closed form in any batching, order and split, with cells missing and evidence fading; the predictive is
//! a density; what its log varies by is what Monte Carlo says; and the evidence for all data is what the predictives multiply to.

use statrs::function::gamma::digamma;
use surprisal::features::{Kind, Rows};
use surprisal::inference::rule::Pace;
use surprisal::models::regression::{LinearRegression, RegressionConfig};
use surprisal::models::{Evidence, Model, Prediction, Standard};

use crate::data::{assert_close, block, blocks, learn, linear, prequential, rows, schema, score, standards, sum};
use crate::dense::{Design, Posterior};
use crate::device::devices;
use crate::noise::{normal, uniform};

const INPUT: Standard = Standard { location: 38.0, scale: 5.0 };
const TARGET: Standard = Standard { location: 6.0, scale: 2.5 };

fn model(dim: usize, fixed: bool) -> LinearRegression {
    let standards = if fixed { standards(dim, INPUT, TARGET) } else { Default::default() };
    linear(dim, RegressionConfig { standards, ..RegressionConfig::default() })
}

fn expected(fixed: bool, rows: &Rows, weights: &[f64]) -> Posterior {
    let design = if fixed { Design::fixed(rows.view(), INPUT, TARGET) } else { Design::learnt(rows.view(), weights) };
    Posterior::new(design, rows.view(), weights, RegressionConfig::default().prior_scale)
}

#[test]
fn it_is_the_closed_form_in_any_batching_and_split() {
    const DIM: usize = 5;
    let own = [(true, 0.0), (false, 0.0), (true, 0.2), (false, 0.2)].map(|(fixed, missing)| (model(DIM, fixed), fixed, missing));
    let there = devices().into_iter().map(|device| (model(DIM, false).on(device), false, 0.2));
    for (model, fixed, missing) in own.into_iter().chain(there) {
        let (all, unseen) = (rows(700, DIM, missing, 1), rows(40, DIM, missing, 2));
        let oracle = expected(fixed, &all, &[1.0; 700]);
        let view = all.view();
        let part = |range, cuts: fn(usize) -> usize| learn(&model, view.slice(range), cuts);
        let thirds = || [part(0..150, blocks), part(150..151, |_| 1), part(151..700, |at| 1 + at % 57)];
        let [a, b, c] = thirds();
        let evidence = [
            part(0..700, |_| 700),
            part(0..700, |_| 1),
            part(0..700, |at| 1 + at % 57),
            part(0..700, blocks),
            sum(&model, &thirds()),
            sum(&model, &[c.clone(), a.clone(), b.clone()]),
            sum(&model, &[sum(&model, &[b, c]), a]),
        ];
        for evidence in &evidence {
            assert_close(evidence.events(), 700.0, 1e-12);
            for (row, found) in score(&model, evidence, unseen.view()).into_iter().enumerate() {
                assert_close(found.nats, oracle.surprisal(unseen.view().row(row)), 1e-9);
            }
            let posterior = model.posterior(evidence).unwrap();
            for (at, found) in posterior.coefficients().into_iter().enumerate() {
                assert_close(found.mean, oracle.mean[at + 1], 1e-9);
                assert_close(found.variance, oracle.precision.clone().try_inverse().unwrap()[(at + 1, at + 1)], 1e-9);
            }
            assert_close(posterior.precision().rate, oracle.rate, 1e-9);
        }
    }
}

/// Booleans, counts and categories among the inputs, some of them missing, are what the dense design says of them.
#[test]
fn inputs_of_every_kind_are_the_closed_form() {
    let kinds = [Kind::Boolean, Kind::Count, Kind::Category { capacity: 2 }, Kind::Number];
    let (schema, task) = schema(&kinds, Kind::Number);
    let model = LinearRegression::new(&schema, &task, RegressionConfig::default()).unwrap();
    let make = |count: usize, seed: u64| {
        let mut rows = Rows::new(5);
        for event in 0..count as u64 {
            let (cells, texts) = rows.push_missing();
            let noise = |at: u64| uniform((seed << 32) + 8 * event + at);
            cells[0] = f64::from(u8::from(noise(0) < 0.3));
            cells[1] = (9.0 * noise(1)).floor();
            if noise(2) < 0.9 {
                cells[2] = texts.push(["a", "b", "c"][(3.0 * noise(3)) as usize]) as f64;
            }
            cells[3] = 1e3 + noise(4);
            cells[4] = cells[0] + cells[1].ln_1p() + normal((seed << 33) + event);
            if noise(5) < 0.1 {
                cells[(2.0 * noise(6)) as usize] = f64::NAN;
            }
        }
        rows
    };
    let design = surprisal::features::Design::new(&schema, task.inputs.iter().copied());
    let flat = |rows: &Rows| {
        let mut cells = Vec::new();
        for row in 0..rows.len() {
            design.extend(rows.view().slice(row..row + 1), &mut cells);
            cells.push(rows.view().row(row)[4]);
        }
        Rows::from_cells(design.width() + 1, cells)
    };
    let (all, unseen) = (make(500, 1), make(30, 2));
    let (numbers, others) = (flat(&all), flat(&unseen));
    let mut units = Design::learnt(numbers.view(), &[1.0; 500]);
    // What is 0 or 1 is measured as it is: the boolean, and the eight buckets of the category, of which some were never filled.
    units.inputs.iter_mut().enumerate().filter(|(at, _)| *at != 1 && *at != 10).for_each(|(_, unit)| unit.scale = 1.0);
    let oracle = Posterior::new(units, numbers.view(), &[1.0; 500], RegressionConfig::default().prior_scale);
    for cuts in [|_| 500, |_| 1, blocks] {
        let evidence = learn(&model, all.view(), cuts);
        for (row, found) in score(&model, &evidence, unseen.view()).into_iter().enumerate() {
            assert_close(found.nats, oracle.surprisal(others.view().row(row)), 1e-9);
        }
    }
}

/// With a half-life, rows weigh as much as their blocks.
#[test]
fn fading_evidence_is_the_weighted_closed_form() {
    const DIM: usize = 3;
    for (fixed, missing) in [(true, 0.1), (false, 0.1), (false, 0.0)] {
        let model = model(DIM, fixed);
        let mut all = rows(600, DIM, missing, 3);
        // The first input's level runs away, which what stands in for its missing values has to follow.
        let far =
            all.view().cells().iter().enumerate().map(|(at, x)| if at % 4 == 0 && !fixed { x + 50.0 * at as f64 } else { *x });
        all = Rows::from_cells(DIM + 1, far.collect());
        let pace = Pace { retention: 0.5_f64.powf(20.0 / 60.0), weight: 1.0 };
        let mut evidence = model.nothing();
        for at in (0..600).step_by(20) {
            let posterior = model.posterior(&evidence).unwrap();
            evidence = model.learn(&posterior, &evidence, block(all.view().slice(at..at + 20), 0, at, pace)).unwrap().evidence;
        }
        let weights: Vec<f64> = (0..600).map(|at| pace.retention.powi(29 - at / 20)).collect();
        let oracle = expected(fixed, &all, &weights);
        for (row, found) in score(&model, &evidence, all.view().slice(560..600)).into_iter().enumerate() {
            assert_close(found.nats, oracle.surprisal(all.view().row(560 + row)), 1e-9);
        }
    }
}

#[test]
fn the_predictive_is_a_density() {
    for (fixed, learnt) in [(true, 0), (true, 1), (false, 3), (false, 400)] {
        let model = model(3, fixed);
        let all = rows(402, 3, 0.1, 4);
        let evidence = learn(&model, all.view().slice(0..learnt), blocks);
        let columns = model.columns(&evidence);
        let unit = if fixed {
            TARGET
        } else {
            Standard { location: columns[3].mean.unwrap(), scale: columns[3].standard_deviation.unwrap() }
        };
        // y = location + scale sinh(u) by the trapezium rule, as far as tails of one degree of freedom need.
        const STEP: f64 = 0.01;
        let mut cells = Vec::new();
        let points: Vec<f64> = (-3_000..=3_000).map(|point| f64::from(point) * STEP).collect();
        for u in &points {
            cells.extend(&all.view().row(401)[..3]);
            cells.push(unit.location + unit.scale * u.sinh());
        }
        let found = score(&model, &evidence, Rows::from_cells(4, cells).view());
        let total: f64 = found.iter().zip(&points).map(|(s, u)| STEP * u.cosh() * (-s.nats).exp()).sum();
        assert_close(total, 1.0, 1e-8);
    }
}

/// The standard deviation of the log density under the posterior, by drawing from the posterior.
/// The density that scores says how much lies below an interval, within it, and below what came.
#[test]
fn the_interval_and_the_probability_are_those_of_the_density() {
    let model = model(2, false);
    let all = rows(60, 2, 0.1, 5);
    let evidence = learn(&model, all.view().slice(0..40), blocks);
    let unit = model.columns(&evidence)[2].standard_deviation.unwrap();
    let posterior = model.posterior(&evidence).unwrap();
    let predictions = model.predict(&posterior, all.view().slice(40..60)).unwrap();
    for (row, prediction) in (40..60).zip(predictions) {
        let Prediction { expected, lower, upper, probability } = prediction.unwrap();
        let (x, y) = all.view().row(row).split_at(2);
        // Simpson's rule from far below.
        let below = |to: f64| {
            let (steps, from) = (8_000, expected - 60.0 * (upper - expected));
            let step = (to - from) / f64::from(steps);
            let cells = (0..=steps).flat_map(|at| [x[0], x[1], from + step * f64::from(at)]).collect();
            let density = score(&model, &evidence, Rows::from_cells(3, cells).view());
            let weights = (0..=steps).map(|at| if at == 0 || at == steps { 1.0 } else { 2.0 + 2.0 * f64::from(at % 2) });
            density.iter().zip(weights).map(|(of, weight)| weight * (-of.nats).exp()).sum::<f64>() * step / 3.0 / unit
        };
        for (to, share) in [(lower, 0.05), (expected, 0.5), (upper, 0.95), (y[0], probability)] {
            assert!((below(to) - share).abs() < 1e-6, "row {row}: {} below {to}, expected {share}", below(to));
        }
    }
    let missing = Rows::from_cells(3, vec![1.0, 2.0, f64::NAN]);
    assert_eq!(model.predict(&posterior, missing.view()), Some(vec![None]));
}

#[test]
fn the_sd_of_a_surprisal_is_what_monte_carlo_says() {
    const DRAWS: u64 = 40_000;
    for learnt in [6, 31, 400] {
        let (model, all) = (model(3, false), rows(410, 3, 0.0, 5));
        let view = all.view();
        let evidence = learn(&model, view.slice(0..learnt), blocks);
        let kept = Rows::from_cells(4, view.slice(0..learnt).cells().to_vec());
        let oracle = expected(false, &kept, &vec![1.0; learnt]);
        for (row, found) in score(&model, &evidence, view.slice(400..404)).into_iter().enumerate() {
            let (mean, variance, y) = oracle.predict(view.row(400 + row));
            let mut sums = [0.0; 3];
            for draw in 0..DRAWS {
                // χ² with 2a = 1 + n degrees of freedom, by Wilson and Hilferty's normal where they are many.
                let base = (draw + 1) << 20;
                let dof = 2.0 * oracle.shape;
                let chi = if dof < 50.0 {
                    (0..dof.round() as u64).map(|i| normal(base + i).powi(2)).sum::<f64>()
                } else {
                    dof * (1.0 - 2.0 / (9.0 * dof) + normal(base) * (2.0 / (9.0 * dof)).sqrt()).powi(3)
                };
                let precision = chi / (2.0 * oracle.rate);
                let eta = mean + (variance / precision).sqrt() * normal(base + 1000);
                let log = 0.5 * (precision.ln() - std::f64::consts::TAU.ln() - precision * (y - eta).powi(2));
                sums = [sums[0] + log, sums[1] + log * log, sums[2] + log.exp()];
            }
            let [first, second, density] = sums.map(|sum| sum / DRAWS as f64);
            let expected = (second - first * first).sqrt();
            assert!((found.sd / expected - 1.0).abs() < 0.03, "{learnt} rows: {} is not {expected}", found.sd);
            assert_close(found.nats, -density.ln(), 0.02);
        }
    }
}

/// `ln p(all) = Σ E_q ln p(y | θ) − KL(q ‖ p)`, which is also what the predictives of one event after another multiply to.
#[test]
fn divergence_is_what_the_evidence_leaves() {
    for missing in [0.0, 0.1] {
        let (model, all) = (model(3, true), rows(60, 3, missing, 6));
        let (surprisals, evidence) = prequential(&model, all.view(), |_| 1);
        let oracle = expected(true, &all, &[1.0; 60]);
        let expected: f64 = (0..60)
            .map(|row| {
                let (mean, variance, y) = oracle.predict(all.view().row(row));
                let precision = oracle.shape / oracle.rate;
                let ln_precision = digamma(oracle.shape) - oracle.rate.ln();
                0.5 * (ln_precision - std::f64::consts::TAU.ln() - precision * (y - mean).powi(2) - variance)
            })
            .sum();
        let evidence = model.divergence(&model.posterior(&evidence).unwrap()).unwrap() - expected;
        assert_close(surprisals.iter().map(|surprisal| surprisal.nats).sum(), evidence, 1e-9);
    }
}

/// A change of units, or of where zero is, changes no score.
#[test]
fn units_do_not_matter() {
    let all = rows(1_500, 4, 0.05, 7);
    let other = all.view().cells().iter().enumerate();
    let other = other.map(|(at, x)| [1e-6, 1e9, -3.0, 1.0, -1e12][at % 5] * x + [0.0, 5e9, 1.0, 1e6, 4e12][at % 5]);
    let other = Rows::from_cells(5, other.collect());
    let model = model(4, false);
    let (left, _) = prequential(&model, all.view(), blocks);
    let (right, _) = prequential(&model, other.view(), blocks);
    for (left, right) in left.into_iter().zip(right) {
        assert_close(right.nats, left.nats, 1e-7);
        assert_close(right.sd, left.sd, 1e-7);
    }
}

/// A column twice, and one that is the sum of two others, predict as they do once: only the prior is another.
#[test]
fn collinear_columns_do_no_harm() {
    let all = rows(3_000, 2, 0.0, 8);
    let wide = |times: f64| {
        let cells = (0..3_000).flat_map(|row| {
            let row = all.view().row(row);
            [row[0], row[1], times * row[0], row[0] + row[1], 3.0, row[2]]
        });
        Rows::from_cells(6, cells.collect())
    };
    for prior_scale in [2.5, 1000.0] {
        let narrow = linear(2, RegressionConfig { prior_scale, ..RegressionConfig::default() });
        let broad = linear(5, RegressionConfig { prior_scale, ..RegressionConfig::default() });
        let (expected, _) = prequential(&narrow, all.view(), blocks);
        for times in [1.0, 1e-9, 1e9] {
            let (found, evidence) = prequential(&broad, wide(times).view(), blocks);
            for (found, expected) in found[500..].iter().zip(&expected[500..]) {
                assert!((found.nats - expected.nats).abs() < 0.02, "{found:?} {expected:?}");
            }
            assert_eq!(broad.active(&broad.posterior(&evidence).unwrap()), 4, "the constant has no say");
        }
    }
}
