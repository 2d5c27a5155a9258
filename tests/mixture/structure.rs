//! Which components there are and what becomes of them: a new kind of event splits off and is known once it has had its share,
//! what one site has merged stays merged for all, constant columns have no say, and anomalies stand out in a column of any kind.

use surprisal::features::{Kind, Rows};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::{Evidence, Model};
use surprisal::record::{Offset, Partition};

use crate::data::{assert_close, assert_same, blocks, clusters, learn, numbers, prequential, schema, score};
use crate::noise::{normal, uniform};

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
        right.add(&model.news(&posterior, rows.view().slice(0..200), (Partition(1), Offset(2_000 + 200 * round))).unwrap());
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
