//! What can be said exactly: one component is the conjugate closed form of the textbook, sites add up to one pass, the bound is
//! the marginal likelihood and never falls, the predictive integrates to one, units and origins change nothing, and one pass comes
//! near to what scikit-learn's fit makes of all the data at once.

use statrs::function::gamma::ln_gamma;
use surprisal::features::{Kind, Rows, RowsView};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, Standard};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Offset, Partition};

use crate::data::{
    assert_close, assert_same, blocks, clusters, learn, numbers, prequential, schema, score, some_numbers, standards,
};
use crate::noise::{normal, uniform};

/// -ln of Student's t, from the formula.
fn student(x: f64, dof: f64, mean: f64, square_scale: f64) -> f64 {
    let z = (x - mean).powi(2) / square_scale;
    -(ln_gamma(0.5 * (dof + 1.0))
        - ln_gamma(0.5 * dof)
        - 0.5 * (dof * std::f64::consts::PI * square_scale).ln()
        - 0.5 * (dof + 1.0) * (z / dof).ln_1p())
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
            several.news(&posterior, rows.view().slice(from..to), (Partition(partition), Offset(from as i64))).unwrap()
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

/// Mean log density of `rows`, in the columns' own units.
fn mean_log_density(model: &Mixture, evidence: &MixtureEvidence, rows: RowsView<'_>) -> f64 {
    let units: f64 = model.columns(evidence).iter().map(|column| column.standard_deviation.unwrap().ln()).sum();
    -score(model, evidence, rows).iter().sum::<f64>() / rows.len() as f64 - units
}

/// One pass over data from a mixture comes near to what scikit-learn's variational mixture makes of all of it at leisure.
#[test]
fn one_pass_is_within_a_twentieth_of_a_nat_of_a_batch_fit() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../golden/mixture.json")).unwrap();
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
            evidence = model.news(&posterior, rows.view(), (Partition(0), Offset(0))).unwrap();
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
            evidence.add(&model.news(&posterior, row, (Partition(0), Offset(at as i64))).unwrap());
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
