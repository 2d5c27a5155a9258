use super::*;
use crate::noise::Noise;

const HAZARD: f64 = 1e-4;

/// Changes told of `values`, and at which value each was.
fn changes(values: impl Iterator<Item = f64>) -> Vec<(u64, Change)> {
    let mut regime = Regime::new("latency");
    let told = values.enumerate().filter_map(|(at, x)| {
        let origin = Origin { offset: 10 * at as i64, time_ms: Some(1000 * at as i64) };
        Some((at as u64, regime.observe(HAZARD, origin, x)?))
    });
    told.collect()
}

fn normals(seed: u64) -> impl Iterator<Item = f64> {
    let noise = Noise::new(seed);
    (0..).map(move |at| noise.normal(0, 0, at))
}

/// `x ← 0.95 x + noise` of unit variance.
fn correlated(seed: u64) -> impl Iterator<Item = f64> {
    normals(seed).scan(0.0, |x, noise| {
        *x = 0.95 * *x + noise * (1.0_f64 - 0.95 * 0.95).sqrt();
        Some(*x)
    })
}

#[test]
fn a_new_level_is_told_within_a_few_values_and_where_it_began() {
    for seed in 0..20 {
        let values = normals(seed).zip(0..600).map(|(x, at)| if at < 400 { 100.0 + 2.0 * x } else { 106.0 + 2.0 * x });
        let told = changes(values);
        let [(at, change)] = &told[..] else { panic!("{seed}: {told:?}") };
        assert!((403..=420).contains(at), "{seed}: told at {at}");
        assert!((3950..=4050).contains(&change.offset), "{seed}: {change:?}");
        assert_eq!(change.time_ms, Some(100 * change.offset));
        assert!(change.probability >= 0.999 && change.series == "latency");
        assert!((change.before.mean - 100.0).abs() < 0.5 && (change.before.sd - 2.0).abs() < 0.4, "{change:?}");
        assert!((change.after.mean - 106.0).abs() < 3.0, "{change:?}");
    }
}

/// The beginning is known to within a few values only, and is guessed anew with each value: that is no change.
#[test]
fn a_small_step_is_told_once() {
    for (size, most_missed) in [(1.5, 3), (2.0, 0), (3.0, 0)] {
        let told =
            (0..150).map(|seed| changes(normals(seed).zip(0..1200).map(|(x, at)| if at < 300 { x } else { x + size })).len());
        let told: Vec<usize> = told.collect();
        assert!(told.iter().all(|times| *times <= 1), "{size}: {told:?}");
        assert!(told.iter().filter(|times| **times == 0).count() <= most_missed, "{size}: {told:?}");
    }
}

/// A stretch of nonsense is a regime of its own; the series is watched as before once it is over.
#[test]
fn a_poisoned_stretch_does_not_blind() {
    for poison in [1e9, 1e12, 1e90] {
        let values = normals(3).zip(0..3400).map(|(x, at)| match at {
            1000..1010 => poison,
            2200.. => x + 6.0,
            _ => x,
        });
        let told = changes(values);
        let last = told.last().unwrap();
        assert!((2200..2300).contains(&last.0) && (21_900..=22_100).contains(&last.1.offset), "{poison}: {told:?}");
    }
}

#[test]
fn a_new_spread_is_told() {
    for seed in 0..20 {
        let told = changes(normals(seed).zip(0..600).map(|(x, at)| if at < 400 { x } else { 5.0 * x }));
        let [(at, change)] = &told[..] else { panic!("{seed}: {told:?}") };
        assert!((403..=430).contains(at), "{seed}: told at {at}");
        assert!(change.after.sd > 1.1 * change.before.sd && change.before.sd < 1.3, "{change:?}");
    }
}

/// In 20 series of 10,000 values each, a law that expects a change in 10,000 may find one or two where there is none.
#[test]
fn where_nothing_changes_hardly_anything_is_told() {
    let told: usize = (0..20).map(|seed| changes(normals(seed).take(10_000)).len()).sum();
    assert!(told <= 2, "{told} of independent values");
    let told: usize = (0..20).map(|seed| changes(correlated(seed).take(10_000)).len()).sum();
    assert!(told <= 8, "{told} of correlated values");
}

/// Counts, and numbers that are rounded until only a few are left.
#[test]
fn whole_numbers_are_no_regimes() {
    let uniform = |seed: u64| (0..10_000).map(move |at| Noise::new(seed).uniform(1, 1, at));
    let poisson = |mean: f64| {
        move |u: f64| {
            let (mut count, mut p) = (0.0, (-mean).exp());
            let mut below = p;
            while u > below {
                count += 1.0;
                p *= mean / count;
                below += p;
            }
            count
        }
    };
    for (name, most, told) in [
        ("rounded", 4, changes(normals(1).take(10_000).map(|x| (0.4 * x).round())).len()),
        ("Poisson of 0.5", 4, changes(uniform(2).map(poisson(0.5))).len()),
        ("Poisson of 5", 2, changes(uniform(3).map(poisson(5.0))).len()),
        ("in steps of 0.1", 2, changes(normals(4).take(10_000).map(|x| (10.0 * x).round() / 10.0)).len()),
    ] {
        assert!(told <= most, "{name}: {told}");
    }
}

/// A second change begins with what the first has led to.
#[test]
fn two_changes_are_told_with_their_levels() {
    let told = changes(normals(9).zip(0..1500).map(|(x, at)| x + [0.0, 8.0, 4.0][at / 500]));
    let [(_, first), (_, second)] = &told[..] else { panic!("{told:?}") };
    assert!((first.before.mean).abs() < 0.3 && (second.before.mean - 8.0).abs() < 0.3, "{told:?}");
    assert!((second.after.mean - 4.0).abs() < 1.5 && (second.before.sd - 1.0).abs() < 0.2, "{told:?}");
}

#[test]
fn strays_are_no_regime() {
    for seed in 0..20 {
        let values = normals(seed).zip(0..2000).map(|(x, at)| if at % 97 == 50 { 30.0 } else { x });
        let told = changes(values);
        assert!(told.is_empty(), "{seed}: {told:?}");
    }
}

#[test]
fn a_correlated_series_that_leaves_its_range_is_told() {
    for seed in 0..20 {
        let told = changes(correlated(seed).zip(0..3000).map(|(x, at)| if at < 2000 { x } else { 8.0 + x }));
        let late: Vec<_> = told.iter().filter(|(at, _)| *at >= 2000).collect();
        assert!(late.len() == 1 && late[0].0 < 2150 && (19_500..=20_500).contains(&late[0].1.offset), "{seed}: {told:?}");
    }
}

#[test]
fn a_restored_regime_goes_on_as_if_nothing_had_happened() {
    let values: Vec<f64> = normals(7).zip(0..300).map(|(x, at)| if at < 200 { x } else { 5.0 + x }).collect();
    for cut in [0, 1, 49, 50, 51, 150, 207, 290] {
        let [mut whole, mut halved] = [Regime::new("x"), Regime::new("x")];
        for (at, x) in values.iter().enumerate() {
            if at == cut {
                let mut tensors = Vec::new();
                halved.tensors("regimes.0", &mut tensors);
                halved = Regime::restore("x", "regimes.0", Reader(&tensors)).unwrap();
            }
            let origin = Origin { offset: at as i64, time_ms: (at % 2 == 0).then_some(5) };
            let [one, other] = [&mut whole, &mut halved].map(|regime| regime.observe(HAZARD, origin, *x));
            assert_eq!(one, other);
        }
        assert_eq!(whole, halved);
    }
}

#[test]
fn numbers_of_any_size_are_borne() {
    let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 5e-324, 0.0, 0.0, 0.0, -1e-300, 1e30];
    let mut regime = Regime::new("x");
    for round in 0..200 {
        for (place, x) in wild.into_iter().enumerate() {
            let offset = 10 * round + place as i64;
            regime.observe(HAZARD, Origin { offset, time_ms: None }, x);
        }
    }
    let mut tensors = Vec::new();
    regime.tensors("regimes.0", &mut tensors);
    assert_eq!(Regime::restore("x", "regimes.0", Reader(&tensors)).unwrap(), regime);

    let constant = (0..500).map(|at| if at < 400 { 3.0 } else { 4.0 });
    let told = changes(constant);
    assert!(told.len() == 1 && told[0].0 < 410, "{told:?}");
}

#[test]
fn what_is_no_regime_is_refused() {
    let mut regime = Regime::new("x");
    (0..80).for_each(|at| drop(regime.observe(HAZARD, Origin { offset: at, time_ms: None }, (at % 7) as f64)));
    let mut tensors = Vec::new();
    regime.tensors("regimes.0", &mut tensors);
    let refused = |name: &str, change: &dyn Fn(&mut Tensor)| {
        let mut tensors = tensors.clone();
        change(tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
        let error = Regime::restore("x", "regimes.0", Reader(&tensors)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    };
    let f64s = |index: usize, number: f64| {
        move |tensor: &mut Tensor| match &mut tensor.data {
            crate::checkpoint::Data::F64(data) => data[index] = number,
            _ => panic!("floats"),
        }
    };
    refused("regimes.0.runs", &f64s(2, -1.0));
    refused("regimes.0.runs", &f64s(0, 1.0));
    refused("regimes.0.runs", &f64s(3, 1e-308));
    refused("regimes.0.moments", &f64s(2, -1.0));
    let i64s = |index: usize, number: i64| {
        move |tensor: &mut Tensor| match &mut tensor.data {
            crate::checkpoint::Data::I64(data) => data[index] = number,
            _ => panic!("integers"),
        }
    };
    refused("regimes.0.starts", &i64s(0, 80));
    refused("regimes.0.counts", &i64s(0, -1));
}
