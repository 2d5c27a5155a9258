//! The mixture against oracles: closed forms, an independent implementation's fit, conservation, and numbers meant to break it.

use std::collections::BTreeMap;

use statrs::function::gamma::ln_gamma;
use surprisal::engine::{Engine, Learning, block_len};
use surprisal::features::{Column, Kind, Rows, RowsView, Schema};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, MixtureError, Standard};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Head, Offset, Partition, Run};

/// The `index`-th of a fixed sequence of uniform numbers in (0, 1), as in tests/golden/mixture.py.
fn uniform(index: u64) -> f64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53) + 2f64.powi(-54)
}

fn normal(index: u64) -> f64 {
    (-2.0 * uniform(2 * index).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * index + 1)).cos()
}

fn schema(kinds: &[Kind]) -> Schema {
    let column = |(at, kind): (usize, &Kind)| Column { name: format!("c{at}"), path: vec![format!("c{at}")], kind: *kind };
    Schema::new(kinds.iter().enumerate().map(column).collect())
}

fn numbers(dim: usize, config: MixtureConfig) -> Mixture {
    Mixture::new(&schema(&vec![Kind::Number; dim]), config).expect("a right configuration")
}

/// Units that are fixed for every one of `dim` columns.
fn standards(dim: usize, standard: Standard) -> BTreeMap<String, Standard> {
    (0..dim).map(|d| (format!("c{d}"), standard)).collect()
}

/// Learns rows in blocks that end where `cuts` says, as events of a partition.
fn learn(model: &Mixture, rows: RowsView<'_>, partition: i32, cuts: impl Fn(usize) -> usize) -> MixtureEvidence {
    let mut evidence = model.nothing();
    let mut at = 0;
    while at < rows.len() {
        let len = cuts(at).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let news = model.learn(&posterior, rows.slice(at..at + len), (Partition(partition), Offset(at as i64))).expect("finite");
        evidence.add(&news);
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    evidence
}

/// The engine's blocks.
fn blocks(learnt: usize) -> usize {
    block_len(learnt as u64, 256)
}

fn score(model: &Mixture, evidence: &MixtureEvidence, rows: RowsView<'_>) -> Vec<f64> {
    let mut surprisals = Vec::new();
    model.score(&model.posterior(evidence).expect("finite"), rows, &mut surprisals);
    surprisals
}

/// What the engine would publish: every row scored by what came before it.
fn prequential(model: &Mixture, rows: RowsView<'_>) -> (Vec<f64>, MixtureEvidence) {
    let (mut evidence, mut surprisals, mut at) = (model.nothing(), Vec::new(), 0);
    while at < rows.len() {
        let len = blocks(at).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let block = rows.slice(at..at + len);
        model.score(&posterior, block, &mut surprisals);
        evidence.add(&model.learn(&posterior, block, (Partition(0), Offset(at as i64))).expect("finite"));
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    (surprisals, evidence)
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{found} is not {expected}: off by {error:e}");
}

/// -ln of Student's t, from the formula.
fn student(x: f64, dof: f64, mean: f64, square_scale: f64) -> f64 {
    let z = (x - mean).powi(2) / square_scale;
    -(ln_gamma(0.5 * (dof + 1.0))
        - ln_gamma(0.5 * dof)
        - 0.5 * (dof * std::f64::consts::PI * square_scale).ln()
        - 0.5 * (dof + 1.0) * (z / dof).ln_1p())
}

/// Rows with the given columns' cells missing by chance.
fn some_numbers(count: usize, dim: usize, missing: f64) -> Rows {
    let cell = |at: usize| {
        if uniform((1 << 50) + at as u64) < missing { f64::NAN } else { 40.0 + (at % dim) as f64 + 3.0 * normal(at as u64) }
    };
    Rows::from_cells(dim, (0..count * dim).map(cell).collect())
}

/// One component with fixed units is the conjugate Normal-Gamma, written here from the textbook with plain sums.
#[test]
fn one_component_is_the_closed_form_in_any_batching_and_with_cells_missing() {
    const DIM: usize = 3;
    let standard = Standard { location: 38.0, scale: 2.5 };
    let config =
        MixtureConfig { components: 1, scale_prior_events: 6.0, standards: standards(DIM, standard), ..MixtureConfig::default() };
    let model = numbers(DIM, config);
    for missing in [0.0, 0.3] {
        let rows = some_numbers(700, DIM, missing);
        let unseen = some_numbers(750, DIM, missing);
        let unseen = unseen.view().slice(700..750);
        let expected: Vec<f64> = (0..50)
            .map(|row| {
                let mut sum = 0.0;
                for (d, x) in unseen.row(row).iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                    let seen: Vec<f64> = (0..700).map(|row| rows.view().row(row)[d]).filter(|x| !x.is_nan()).collect();
                    let (n, total) = (seen.len() as f64, seen.iter().sum::<f64>());
                    let squares: f64 = seen.iter().map(|x| x * x).sum();
                    let (kappa, nu) = (0.1 + n, 6.0 + n);
                    let mean = (0.1 * standard.location + total) / kappa;
                    let prior = 6.0 * standard.scale.powi(2) + 0.1 * standard.location.powi(2);
                    let psi = prior + squares - kappa * mean * mean;
                    sum += student(*x, nu, mean, psi * (kappa + 1.0) / (kappa * nu)) - standard.scale.ln();
                }
                sum
            })
            .collect();
        for cuts in [|_| 700, |_| 1, |at| 1 + at % 57, blocks] {
            let evidence = learn(&model, rows.view(), 0, cuts);
            assert_eq!(evidence.components().count(), 1);
            for (found, expected) in score(&model, &evidence, unseen).into_iter().zip(&expected) {
                assert_close(found, *expected, 1e-9);
            }
        }
    }
}

/// The same with joint numbers: the multivariate t, by determinants and solves of another library's general routines.
#[test]
fn one_joint_component_is_the_closed_form_and_missing_cells_take_its_marginal() {
    use nalgebra::{DMatrix, DVector};
    const DIM: usize = 3;
    let standard = Standard { location: 38.0, scale: 2.5 };
    let config = MixtureConfig {
        components: 1,
        covariance: Covariance::Full,
        scale_prior_events: 6.0,
        standards: standards(DIM, standard),
        ..MixtureConfig::default()
    };
    let model = numbers(DIM, config);
    let rows = some_numbers(500, DIM, 0.0);
    let data: Vec<DVector<f64>> = (0..500).map(|row| DVector::from_column_slice(rows.view().row(row))).collect();
    let location = DVector::from_element(DIM, standard.location);
    let (kappa, nu) = (500.1, 6.0 + DIM as f64 - 1.0 + 500.0);
    let mean = (0.1 * &location + data.iter().sum::<DVector<f64>>()) / kappa;
    let mut psi = DMatrix::from_diagonal_element(DIM, DIM, 6.0 * standard.scale.powi(2));
    psi += 0.1 * &location * location.transpose() - kappa * &mean * mean.transpose();
    data.iter().for_each(|x| psi += x * x.transpose());
    let dof = nu - DIM as f64 + 1.0;
    for missing in [0.0, 0.4] {
        let unseen = some_numbers(40, DIM, missing);
        for cuts in [|_| 500, |_| 1, |at| 1 + at % 57] {
            let evidence = learn(&model, rows.view(), 0, cuts);
            for (row, found) in score(&model, &evidence, unseen.view()).into_iter().enumerate() {
                let x = unseen.view().row(row);
                let seen: Vec<usize> = (0..DIM).filter(|d| !x[*d].is_nan()).collect();
                let count = seen.len() as f64;
                let scale = psi.select_rows(&seen).select_columns(&seen) * ((kappa + 1.0) / (kappa * dof));
                let gap = DVector::from_iterator(seen.len(), seen.iter().map(|d| x[*d] - mean[*d]));
                let square = if seen.is_empty() { 0.0 } else { gap.dot(&scale.clone().lu().solve(&gap).unwrap()) };
                let ln_determinant = if seen.is_empty() { 0.0 } else { scale.determinant().ln() };
                let density = ln_gamma(0.5 * (dof + count))
                    - ln_gamma(0.5 * dof)
                    - 0.5 * (count * (dof * std::f64::consts::PI).ln() + ln_determinant)
                    - 0.5 * (dof + count) * (square / dof).ln_1p();
                assert_close(found, -density - count * standard.scale.ln(), 1e-9);
            }
        }
    }
}

/// With units learnt from the data, the prior of one component depends on nothing but their sums.
#[test]
fn one_component_with_learnt_units_is_a_function_of_the_sums() {
    let rows = some_numbers(300, 2, 0.2);
    let unseen = some_numbers(310, 2, 0.2);
    let unseen = unseen.view().slice(300..310);
    let model = numbers(2, MixtureConfig { components: 1, ..MixtureConfig::default() });
    let expected: Vec<f64> = (0..10)
        .map(|row| {
            let mut sum = 0.0;
            for (d, x) in unseen.row(row).iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                let seen: Vec<f64> = (0..300).map(|row| rows.view().row(row)[d]).filter(|x| !x.is_nan()).collect();
                let n = seen.len() as f64;
                let mean = seen.iter().sum::<f64>() / n;
                let spread = (seen.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
                // In units of the spread about the mean the scatter is n, so the pooled variance is 1.
                let (kappa, nu) = (0.1 + n, 200.0 + n);
                let psi = 200.0 + n + 1e-3 * n;
                sum += student((x - mean) / spread, nu, 0.0, psi * (kappa + 1.0) / (kappa * nu));
            }
            sum
        })
        .collect();
    for cuts in [|_| 300, |_| 1, blocks] {
        let evidence = learn(&model, rows.view(), 0, cuts);
        for (found, expected) in score(&model, &evidence, unseen).into_iter().zip(&expected) {
            assert_close(found, *expected, 1e-9);
        }
    }
}

/// Counts, booleans and categories of one component against their textbook predictives.
#[test]
fn one_component_of_every_kind_is_the_closed_form() {
    let kinds = [Kind::Count, Kind::Boolean, Kind::Category { capacity: 3 }];
    let model = Mixture::new(&schema(&kinds), MixtureConfig { components: 1, ..MixtureConfig::default() }).unwrap();
    let values = ["a", "b", "c", "d"];
    let mut rows = Rows::new(3);
    for event in 0..400_u64 {
        let (cells, texts) = rows.push_missing();
        cells[0] = (uniform(3 * event) * 5.0).floor();
        cells[1] = f64::from(u8::from(uniform(3 * event + 1) < 0.2));
        if event % 7 != 0 {
            cells[2] = texts.push(values[(uniform(3 * event + 2) * 4.0) as usize]) as f64;
        }
    }
    let view = rows.view();
    let count: f64 = (0..400).map(|row| view.row(row)[0]).sum();
    let yes: f64 = (0..400).map(|row| view.row(row)[1]).sum();
    // The vocabulary holds the three values that came first.
    let mut known: Vec<&str> = Vec::new();
    let texts: Vec<&str> = (0..400).filter_map(|row| view.text(view.row(row)[2])).collect();
    for text in &texts {
        if known.len() < 3 && !known.contains(text) {
            known.push(text);
        }
    }
    let times = |value: &str| texts.iter().filter(|text| **text == value).count() as f64;
    let others: f64 = values.iter().filter(|value| !known.contains(value)).map(|value| times(value)).sum();
    let total = texts.len() as f64;
    let category = |n: f64| -((0.5 + 5.0 * n / total + n) / (4.0 * 0.5 + 5.0 + total)).ln();
    let (a, b) = (1.0 + count, 401.0 / (1.0 + count) + 400.0);
    let negative_binomial =
        |x: f64| -(ln_gamma(a + x) - ln_gamma(a) - ln_gamma(x + 1.0) + a * (b / (b + 1.0)).ln() - x * (b + 1.0).ln());
    let truth = -((0.5 + 5.0 * yes / 400.0 + yes) / 406.0).ln();
    for cuts in [|_| 400, |_| 1, blocks] {
        let evidence = learn(&model, view, 0, cuts);
        let mut unseen = Rows::new(3);
        let mut expected = Vec::new();
        for x in [0.0, 3.0, 63.0, 64.0, 500.0] {
            unseen.push_missing().0[0] = x;
            expected.push(negative_binomial(x));
        }
        unseen.push_missing().0[1] = 1.0;
        expected.push(truth);
        for value in values.into_iter().chain(["never seen"]) {
            let (cells, texts) = unseen.push_missing();
            cells[2] = texts.push(value) as f64;
            expected.push(category(if known.contains(&value) { times(value) } else { others }));
        }
        unseen.push_missing();
        expected.push(0.0);
        for (found, expected) in score(&model, &evidence, unseen.view()).into_iter().zip(expected) {
            assert_close(found, expected, 1e-9);
        }
    }
}

/// The evidence's tensors of floats, by name, but for those that only the search for structure uses.
fn sums(evidence: &MixtureEvidence) -> Vec<(String, Vec<f64>)> {
    let tensors = evidence.tensors().into_iter().filter(|tensor| !tensor.name.starts_with("recent"));
    tensors
        .filter_map(|tensor| match tensor.data {
            surprisal::checkpoint::Data::F64(data) => Some((tensor.name, data)),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn assert_same(left: &MixtureEvidence, right: &MixtureEvidence) {
    for ((name, found), (_, expected)) in sums(left).into_iter().zip(sums(right)) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let size = expected.iter().fold(1e-300, |size: f64, x| size.max(x.abs()));
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-9 * size, "{name}: {found} is not {expected}");
        }
    }
}

/// Two partitions' sites add up to what one pass over all events gives: always for one component, and for several where who
/// belongs to which is beyond doubt.
#[test]
fn two_sites_add_up_to_one_pass() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let one = numbers(3, MixtureConfig { components: 1, covariance, ..MixtureConfig::default() });
        let rows = some_numbers(400, 3, 0.0);
        let (left, right) = (rows.view().slice(0..170), rows.view().slice(170..400));
        let mut merged = learn(&one, left, 0, blocks);
        merged.add(&learn(&one, right, 1, blocks));
        assert_same(&merged, &learn(&one, rows.view(), 0, blocks));

        let several = numbers(4, MixtureConfig { covariance, ..MixtureConfig::default() });
        let rows = clusters(4_000, false, 60.0);
        let base = learn(&several, rows.view().slice(0..2_000), 0, blocks);
        assert_eq!(base.components().count(), 5, "{:?}", base.components().collect::<Vec<_>>());
        let posterior = several.posterior(&base).unwrap();
        let news = |from: usize, to: usize, partition| {
            several.learn(&posterior, rows.view().slice(from..to), (Partition(partition), Offset(from as i64))).unwrap()
        };
        let (mut forward, mut backward) = (base.clone(), news(3_100, 4_000, 1));
        forward.add(&news(2_000, 3_100, 0));
        forward.add(&news(3_100, 4_000, 1));
        backward.add(&news(2_000, 3_100, 0));
        backward.add(&base);
        let mut whole = base.clone();
        whole.add(&news(2_000, 4_000, 0));
        assert_same(&forward, &whole);
        assert_same(&backward, &whole);
    }
}

/// Five clusters in four dimensions, as in tests/golden/mixture.py but `apart` times as far from each other.
fn clusters(count: usize, full: bool, apart: f64) -> Rows {
    let mut cells = Vec::with_capacity(count * 4);
    for event in 0..count as u64 {
        let share = uniform((1 << 40) + event);
        let cluster = [0.35, 0.6, 0.8, 0.92].iter().filter(|edge| **edge <= share).count() as u64;
        let noise: Vec<f64> = (0..4).map(|d| normal(event * 4 + d)).collect();
        for d in 0..4 {
            let noise = if full && d > 0 { 0.6 * noise[d - 1] + 0.8 * noise[d] } else { noise[d] };
            let at = cluster * 8 + d as u64;
            cells.push(100.0 + apart * 4.0 * normal((1 << 41) + at) + (0.5 + uniform((1 << 42) + at)) * noise);
        }
    }
    Rows::from_cells(4, cells)
}

/// Mean log density of `rows`, in the columns' own units.
fn mean_log_density(model: &Mixture, evidence: &MixtureEvidence, rows: RowsView<'_>) -> f64 {
    let units: f64 = model.columns(evidence).iter().map(|column| column.standard_deviation.unwrap().ln()).sum();
    -score(model, evidence, rows).iter().sum::<f64>() / rows.len() as f64 - units
}

/// One pass over data from a mixture comes near to what scikit-learn's variational mixture makes of all of it at leisure.
#[test]
fn one_pass_is_within_a_twentieth_of_a_nat_of_a_batch_fit() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/mixture.json")).unwrap();
    for (name, covariance) in [("diagonal", Covariance::Diagonal), ("full", Covariance::Full)] {
        let golden = &golden[name];
        let rows = clusters(25_000, covariance == Covariance::Full, 1.0);
        for (row, key) in [(0, "first_row"), (24_999, "last_row")] {
            for (d, x) in rows.view().row(row).iter().enumerate() {
                assert_close(*x, golden[key][d].as_f64().unwrap(), 1e-12);
            }
        }
        let model = numbers(4, MixtureConfig { covariance, ..MixtureConfig::default() });
        let evidence = learn(&model, rows.view().slice(0..20_000), 0, blocks);
        let found = mean_log_density(&model, &evidence, rows.view().slice(20_000..25_000));
        let fitted = golden["held_out_log_density"].as_f64().unwrap();
        assert!((found - fitted).abs() < 0.05, "{name}: {found} nats an event, a batch fit gives {fitted}");
        let parts = model.parts(&model.posterior(&evidence).unwrap());
        eprintln!("{name}: {:.4} nats an event against {fitted:.4}, with {} parts", found, parts.len());
    }
}

/// Learning one batch again and again, from nothing but the prior, is coordinate ascent: the bound never falls.
#[test]
fn the_bound_of_repeated_passes_never_falls() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let standards = standards(4, Standard { location: 100.0, scale: 3.0 });
        let config = MixtureConfig { covariance, standards, scale_prior_events: 5.0, ..MixtureConfig::default() };
        let model = numbers(4, config);
        let mut rows = clusters(600, true, 1.0);
        // Some cells are missing, to try the local latent variables as well.
        let cells = rows.view().cells().iter().enumerate();
        rows = Rows::from_cells(4, cells.map(|(at, x)| if at % 13 == 5 { f64::NAN } else { *x }).collect());
        let mut evidence = learn(&model, rows.view(), 0, blocks);
        assert!(evidence.components().count() > 2);
        let mut bounds = Vec::new();
        for _ in 0..30 {
            let posterior = model.posterior(&evidence).unwrap();
            bounds.push(model.elbo(&posterior, rows.view()).unwrap());
            evidence = model.learn(&posterior, rows.view(), (Partition(0), Offset(0))).unwrap();
        }
        // The first evidence is of the log, not of a pass over the batch.
        for pair in bounds[1..].windows(2) {
            assert!(pair[1] >= pair[0] - 1e-9 * pair[0].abs(), "{covariance:?}: {bounds:?}");
        }
        assert!(bounds[29] > bounds[1], "{covariance:?}: {bounds:?}");
    }
}

/// With one component the bound is tight: it is the log marginal likelihood, which is also what the predictives of one event after
/// another multiply to.
#[test]
fn the_bound_of_one_component_is_the_product_of_its_predictives() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let standards = standards(4, Standard { location: 100.0, scale: 3.0 });
        let model = numbers(
            4,
            MixtureConfig { components: 1, covariance, standards, scale_prior_events: 5.0, ..MixtureConfig::default() },
        );
        let rows = clusters(60, true, 1.0);
        let (mut evidence, mut surprisal) = (model.nothing(), 0.0);
        for at in 0..60 {
            let (posterior, row) = (model.posterior(&evidence).unwrap(), rows.view().slice(at..at + 1));
            surprisal += score(&model, &evidence, row)[0];
            evidence.add(&model.learn(&posterior, row, (Partition(0), Offset(at as i64))).unwrap());
        }
        let bound = model.elbo(&model.posterior(&evidence).unwrap(), rows.view()).unwrap();
        assert_close(bound, -surprisal, 1e-10);
    }
}

/// Known components, those that are too rare to be known, and the background together are a density.
#[test]
fn the_predictive_of_several_components_integrates_to_one() {
    let kinds = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 3 }];
    for (rare, covariance) in [(0.0, Covariance::Diagonal), (0.2, Covariance::Diagonal), (0.2, Covariance::Full)] {
        let model = Mixture::new(&schema(&kinds), MixtureConfig { rare, covariance, ..MixtureConfig::default() }).unwrap();
        let row = |rows: &mut Rows, x: f64, count: f64, yes: f64, text: &str| {
            let (cells, texts) = rows.push_missing();
            (cells[0], cells[1], cells[2]) = (x, count, yes);
            cells[3] = texts.push(text) as f64;
        };
        let mut rows = Rows::new(4);
        for event in 0..3_000_u64 {
            let kind = (uniform((1 << 48) + event) * 8.0) as usize;
            let kind = [0, 0, 0, 0, 1, 1, 1, 2][kind];
            let x = [5.0, 25.0, 60.0][kind] + normal(event);
            let text = if uniform((1 << 49) + event) < 0.1 { "any" } else { ["a", "b", "c"][kind] };
            row(&mut rows, x, (event % 3) as f64, f64::from(u8::from(kind == 1)), text);
        }
        let evidence = learn(&model, rows.view(), 0, blocks);
        assert!(evidence.components().count() >= 3, "{:?}", evidence.components().collect::<Vec<_>>());
        // The number by the trapezium rule after x = middle + spread sinh(u), which the integrand's ends vanish for.
        const STEP: f64 = 0.002;
        let columns = model.columns(&evidence);
        let (middle, spread) = (columns[0].mean.unwrap(), columns[0].standard_deviation.unwrap());
        let mut cells = Rows::new(4);
        let mut factors = Vec::new();
        for point in -4_500..4_500 {
            let u = f64::from(point) * STEP;
            let cell = cells.push_missing().0;
            cell[0] = middle + spread * u.sinh();
            factors.push(u.cosh() * STEP);
        }
        let total: f64 = score(&model, &evidence, cells.view()).iter().zip(&factors).map(|(s, factor)| factor * (-s).exp()).sum();
        assert_close(total, 1.0, 1e-9);
        // What is not a number, given some numbers: no value adds or loses mass.
        for x in [5.0, 25.0, 60.0, 500.0] {
            let mut cells = Rows::new(4);
            cells.push_missing().0[0] = x;
            for count in 0..60 {
                for yes in [0.0, 1.0] {
                    // "any", "a" and "b" or others have places; whatever else comes shares one.
                    for text in ["any", "a", "b", "c"] {
                        row(&mut cells, x, f64::from(count), yes, text);
                    }
                }
            }
            let masses: Vec<f64> = score(&model, &evidence, cells.view()).into_iter().map(|s| (-s).exp()).collect();
            assert_close(masses[1..].iter().sum::<f64>() / masses[0], 1.0, 1e-9);
        }
    }
}

/// A column whose first values are missing is learnt as one whose values were always there: what stood in for them leaves no trace.
#[test]
fn joint_numbers_don_t_remember_what_was_missing_before_a_column_was_known() {
    let model = numbers(2, MixtureConfig { components: 1, covariance: Covariance::Full, ..MixtureConfig::default() });
    let cells = |missing: usize| {
        let cell = move |at: usize| if at == 2 * missing + 1 { f64::NAN } else { [0.0, 1e5][at % 2] + normal(at as u64) };
        Rows::from_cells(2, (0..2_000).map(cell).collect())
    };
    let mean = |rows: &Rows| prequential(&model, rows.view()).0[500..].iter().sum::<f64>() / 500.0;
    let expected = mean(&cells(usize::MAX / 4));
    for missing in [0, 1, 2] {
        let found = mean(&cells(missing));
        assert!((found - expected).abs() < 0.02, "cell {missing} missing: {found} nats, none missing: {expected}");
    }
}

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
                    assert!(surprisals[0].is_finite(), "{covariance:?} {a} {b}: {surprisals:?}");
                    let Ok(news) = model.learn(&posterior, rows.view(), (Partition(0), Offset(calm as i64))) else { continue };
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
            assert!(surprisals[0].is_finite(), "{x}: {surprisals:?}");
            if let Ok(news) = model.learn(&posterior, rows.view(), (Partition(0), Offset(200))) {
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

/// A change of units, or of where zero is, changes no score.
#[test]
fn units_do_not_matter() {
    let rows = clusters(2_000, true, 1.0);
    let other =
        rows.view().cells().iter().enumerate().map(|(at, x)| [1e-6, 1e9, -3.0, 1.0][at % 4] * x + [0.0, 5e9, 1.0, 0.0][at % 4]);
    let other = Rows::from_cells(4, other.collect());
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let model = numbers(4, MixtureConfig { covariance, ..MixtureConfig::default() });
        let (left, _) = prequential(&model, rows.view());
        let (right, _) = prequential(&model, other.view());
        left.into_iter().zip(right).for_each(|(left, right)| assert_close(right, left, 1e-6));
    }
}

/// Seconds since 1970 are numbers like others.
#[test]
fn far_from_zero_is_as_good_as_near() {
    let model = numbers(1, MixtureConfig { components: 1, ..MixtureConfig::default() });
    let near: Vec<f64> = (0..1_000).map(normal).collect();
    let (expected, _) = prequential(&model, Rows::from_cells(1, near.clone()).view());
    for origin in [1.7e9, -1.7e12] {
        let (found, _) = prequential(&model, Rows::from_cells(1, near.iter().map(|x| origin + x).collect()).view());
        found.into_iter().zip(&expected).for_each(|(found, expected)| assert_close(found, *expected, 1e-15 * origin.abs()));
    }
}

/// In the predictive, constant columns are as if they were not there: of usual events and of odd ones, which are the background's.
#[test]
fn constant_columns_have_no_say() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let model = numbers(8, MixtureConfig { covariance, ..MixtureConfig::default() });
        let some = clusters(3_000, true, 60.0);
        let cell = |at: usize| some.view().row(at / 8).get(at % 8).copied().unwrap_or(0.1 + (at % 8) as f64);
        let evidence = learn(&model, Rows::from_cells(8, (0..2_000 * 8).map(cell).collect()).view(), 0, blocks);
        assert!(evidence.components().count() > 1);
        let odd = |at: usize| cell(at) + if at % 8 < 4 && (at / 8).is_multiple_of(5) { 2_000.0 } else { 0.0 };
        let without = |at: usize| if at % 8 < 4 { odd(at) } else { f64::NAN };
        let events = 2_000 * 8..3_000 * 8;
        let expected = score(&model, &evidence, Rows::from_cells(8, events.clone().map(without).collect()).view());
        let found = score(&model, &evidence, Rows::from_cells(8, events.map(odd).collect()).view());
        found.into_iter().zip(expected).for_each(|(found, expected)| assert_close(found, expected, 1e-9));
    }
}

/// Nor do they change what components there are, nor any score on the way there.
#[test]
fn constant_columns_change_no_structure() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let config = MixtureConfig { covariance, ..MixtureConfig::default() };
        let some = clusters(3_000, true, 60.0);
        let mut cells = Vec::new();
        for event in 0..some.len() {
            cells.extend_from_slice(some.view().row(event));
            cells.extend([7.0; 20]);
        }
        let (without, plain) = prequential(&numbers(4, config.clone()), some.view());
        let (with, padded) = prequential(&numbers(24, config), Rows::from_cells(24, cells).view());
        assert_eq!(plain.components().count(), 5, "{covariance:?}: the clusters are found");
        assert_eq!(padded.components().count(), 5, "{covariance:?}: also beside constants");
        with.iter().zip(without).for_each(|(with, without)| assert_close(*with, without, 1e-9));
    }
}

/// A constant column costs nothing while it is constant, and its first change is as rare as Laplace says.
#[test]
fn a_constant_column_is_held_to_be_constant() {
    let model = numbers(2, MixtureConfig { components: 1, ..MixtureConfig::default() });
    let rows = Rows::from_cells(2, (0..2_000).map(|at| if at % 2 == 0 { normal(at) } else { 0.1 }).collect());
    let evidence = learn(&model, rows.view(), 0, blocks);
    let found = score(&model, &evidence, Rows::from_cells(2, vec![0.3, 0.1, 0.3, 0.2, 0.3, f64::NAN]).view());
    assert_close(found[1] - found[0], 1_002_f64.ln(), 1e-12);
    assert_close(found[0], found[2], 1e-12);
}

/// A new kind of event is surprising until it has had its share of the stream; then it is life as usual.
#[test]
fn a_lasting_change_of_regime_becomes_known() {
    let cell = |at: usize| {
        let event = at / 3;
        let new = event >= 6_000 && uniform((1 << 44) + event as u64) < 0.2;
        normal(at as u64) + if new { 30.0 } else { 0.0 }
    };
    let rows = Rows::from_cells(3, (0..12_000 * 3).map(cell).collect());
    let model = numbers(3, MixtureConfig::default());
    let (surprisals, _) = prequential(&model, rows.view());
    let of_new = |from: usize, to: usize| {
        let new: Vec<f64> = (from..to).filter(|event| rows.view().row(*event)[0] > 15.0).map(|event| surprisals[event]).collect();
        new.iter().sum::<f64>() / new.len() as f64
    };
    let (first, last) = (of_new(6_000, 6_020), of_new(11_500, 12_000));
    let usual = surprisals[5_000..6_000].iter().sum::<f64>() / 1_000.0;
    assert!(first > usual + 10.0 && last < usual + 3.0, "first {first}, last {last}, usual {usual}");

    // Without the demand for a share, a component of a twentieth is known as soon as it is one.
    let plain = numbers(3, MixtureConfig { rare: 0.0, ..MixtureConfig::default() });
    let cell = |at: usize| normal(at as u64) + if uniform((1 << 44) + at as u64 / 3) < 0.05 { 30.0 } else { 0.0 };
    let rows = Rows::from_cells(3, (0..8_000 * 3).map(cell).collect());
    let (surprisals, evidence) = prequential(&plain, rows.view());
    let rare: Vec<f64> =
        (7_000..8_000).filter(|event| rows.view().row(*event)[0] > 15.0).map(|event| surprisals[event]).collect();
    // A unit normal in each column, in units of the column's spread, and a weight of a twentieth.
    let units: f64 = plain.columns(&evidence).iter().map(|column| column.standard_deviation.unwrap().ln()).sum();
    let expected = 20_f64.ln() + 1.5 * (1.0 + (2.0 * std::f64::consts::PI).ln()) - units;
    assert_close(rare.iter().sum::<f64>() / rare.len() as f64, expected, 0.1);
}

/// Events with an odd text, count or boolean stand out, whatever the numbers say.
#[test]
fn anomalies_in_columns_of_any_kind_rank_high() {
    let kinds = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 50 }];
    let model = Mixture::new(&schema(&kinds), MixtureConfig::default()).unwrap();
    let mut rows = Rows::new(4);
    let mut odd = Vec::new();
    for event in 0..8_000_u64 {
        let u = |k: u64| uniform((1 << 45) + 16 * event + k);
        let kind = usize::from(u(0) < 0.4);
        let strange = event > 1_000 && u(1) < 0.01;
        odd.push(strange);
        // Which column gives an anomaly away: the one of the other kind of events, or a value that never came.
        let which = (u(2) * 3.0) as u64;
        let (cells, texts) = rows.push_missing();
        cells[0] = [0.0, 8.0][kind] + normal(event);
        let count = [3.0, 40.0][kind] + [1.5, 5.0][kind] * normal((1 << 46) + event);
        cells[1] = if strange && which == 0 { 300.0 } else { count.round().max(0.0) };
        cells[2] = f64::from(u8::from((u(3) < [0.001, 0.999][kind]) ^ (strange && which == 1)));
        let usual = [["a", "b", "c"], ["x", "y", "z"]][kind][(u(4) * 3.0) as usize];
        let text = if strange && which == 2 { format!("odd {event}") } else { usual.into() };
        cells[3] = texts.push(&text) as f64;
    }
    let (surprisals, evidence) = prequential(&model, rows.view());
    assert!(evidence.components().count() >= 2, "the two kinds of events are told apart");
    let usual: Vec<f64> = (1_000..8_000).filter(|event| !odd[*event]).map(|event| surprisals[event]).collect();
    let found: Vec<f64> = (1_000..8_000).filter(|event| odd[*event]).map(|event| surprisals[event]).collect();
    let wins: usize = found.iter().map(|odd| usual.iter().filter(|usual| *usual < odd).count()).sum();
    let roc_auc = wins as f64 / (usual.len() * found.len()) as f64;
    assert!(roc_auc > 0.98, "ROC AUC {roc_auc}");
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

/// A component that one site has merged is found under its new name in everyone's evidence, in whatever order they come.
#[test]
fn merged_components_stay_merged_in_any_order() {
    let model = numbers(2, MixtureConfig::default());
    let far = |offset: f64| {
        let cell = move |at: usize| normal(at as u64) + if uniform((1 << 47) + at as u64 / 2) < 0.5 { offset } else { 0.0 };
        Rows::from_cells(2, (0..2_000 * 2).map(cell).collect())
    };
    // Both partitions see the same two kinds and split on their own.
    let left = learn(&model, far(40.0).view(), 0, blocks);
    let mut right = learn(&model, far(40.0).view(), 1, blocks);
    assert_eq!((left.components().count(), right.components().count()), (2, 2));
    let rows = far(40.0);
    for round in 0..40 {
        let mut all = left.clone();
        all.add(&right);
        let posterior = model.posterior(&all).unwrap();
        right.add(&model.learn(&posterior, rows.view().slice(0..200), (Partition(1), Offset(2_000 + 200 * round))).unwrap());
        model.reorganise(&left, &mut right);
    }
    let (mut forward, mut backward) = (left.clone(), right.clone());
    forward.add(&right);
    backward.add(&left);
    assert_eq!(forward.components().count(), 2, "{:?}", forward.components().collect::<Vec<_>>());
    let names = |evidence: &MixtureEvidence| evidence.components().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(names(&forward), names(&backward));
    assert_same(&forward, &backward);
    assert_close(forward.components().map(|(_, events)| events).sum(), forward.events(), 1e-9);
}

/// Inside the engine: however records arrive, and after a restart from a snapshot, each event gets the same score.
#[test]
fn arrival_and_restarts_change_no_score() {
    let rows = clusters(3_000, true, 1.0);
    let columns = schema(&[Kind::Number; 4]);
    let model = numbers(4, MixtureConfig::default());
    let learning = Learning { half_life_events: 2_000.0, max_block: 256 };
    let run = |from: usize, to: usize| {
        let mut run = Run::new(Partition(0), Offset(from as i64), 4);
        run.heads.extend((from..to).map(|at| Head { offset: Offset(at as i64), timestamp_ms: None, key: None }));
        run.rows.extend(rows.view().slice(from..to), &[]);
        run.next = Offset(to as i64);
        run
    };
    let scores = |engine: &mut Engine<Mixture>, from: usize, to: usize| {
        let ready = engine.step(vec![run(from, to)]).unwrap();
        let scores: Vec<f64> = ready.scores().map(|(_, _, score)| score.surprisal).collect();
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
        if found.len() > 1_700 && at <= 1_700 {
            // Stop, and go on from what was published.
            let mut site = engine.sites().next().unwrap().1.clone();
            site.evidence = model.restore(&site.evidence.tensors()).unwrap();
            engine = Engine::new(model.clone(), &columns, learning).unwrap();
            let from = engine.assign(Partition(0), Some(site), Some(Offset(to as i64)), Offset(0)).unwrap().0 as usize;
            assert!(scores(&mut engine, from, to).is_empty());
        }
        at = to;
    }
    assert_eq!(found, expected);
    assert!(engine.evidence().components().count() > 2);
}

/// With its arithmetic done as tensors the model says the same.
#[test]
fn tensors_on_a_device_tell_the_same_story() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let processor = numbers(4, MixtureConfig { covariance, ..MixtureConfig::default() });
        let device = processor.clone().on(candle_core::Device::Cpu);
        let mut rows = clusters(1_500, true, 1.0);
        let cells = rows.view().cells().iter().enumerate();
        rows = Rows::from_cells(4, cells.map(|(at, x)| if at % 3_001 == 5 { f64::NAN } else { *x }).collect());
        let (expected, _) = prequential(&processor, rows.view());
        let (found, evidence) = prequential(&device, rows.view());
        assert!(evidence.components().count() > 2);
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
