//! Against what made the data.

use crate::data::{Said, autoregression, follow, learn, model, seasonal, series};
use surprisal::models::Model;

fn mean(of: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = of.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}

/// The bank holds the truth, and finds it: a fiftieth of a nat is what choosing costs.
#[test]
fn an_autoregression_is_forecast_as_well_as_by_the_model_that_made_it() {
    let (values, nats) = autoregression(12_000, 3);
    let (model, rows) = (model(), series(&values));
    let (mut site, mut lost) = (model.nothing(), Vec::new());
    for (at, truth) in nats.iter().enumerate() {
        if at >= 2_000 {
            let mut surprisals = Vec::new();
            model.score(&site, rows.view().slice(at..at + 1), &mut surprisals);
            // Surprisal is measured in the series' spread, as known so far.
            let spread = model.columns(&site)[0].standard_deviation.unwrap();
            lost.push(surprisals[0].nats + spread.ln() - truth);
        }
        site = learn(&model, &site, &rows, at);
    }
    let lost = mean(lost.into_iter());
    println!("lost {lost:.4} nats an event");
    assert!((0.0..0.025).contains(&lost), "{lost}");
}

/// The greatest distance between the distribution of `values` and the uniform one, in units of Kolmogorov's limit: above 1.36 in one of
/// twenty samples.
fn kolmogorov(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let gap = |(at, u): (usize, &f64)| (u - at as f64 / n).abs().max((u - (at as f64 + 1.0) / n).abs());
    values.iter().enumerate().map(gap).fold(0.0, f64::max) * n.sqrt()
}

#[test]
fn probability_integral_transforms_are_uniform() {
    for values in [autoregression(6_000, 5).0, seasonal(6_000, 6)] {
        let model = model();
        let (said, _) = follow(&model, model.nothing(), &series(&values));
        let late: Vec<&Said> = said[1_500..].iter().collect();
        let distance = kolmogorov(late.iter().map(|said| said.prediction.unwrap().probability).collect());
        let inside = |said: &&Said, x: f64| said.prediction.is_some_and(|p| p.lower <= x && x <= p.upper);
        let covered = mean(late.iter().zip(&values[1_500..]).map(|(said, x)| f64::from(u8::from(inside(said, *x)))));
        println!("distance {distance:.3}, covered {covered:.4}");
        assert!(distance < 1.63, "{distance}");
        assert!((covered - 0.9).abs() < 0.015, "{covered}");
    }
}

/// What one event a million deviations out does to what is expected of later ones: for three events the regressions hold it for where
/// the series is, and from then on it moves what is expected by less than one and a half standard deviations of the noise.
#[test]
fn one_event_has_a_bounded_say() {
    let mut values = seasonal(4_000, 8);
    let model = model();
    let (clean, _) = follow(&model, model.nothing(), &series(&values));
    let at = 3_000;
    values[at] = 1e6;
    let (spoilt, _) = follow(&model, model.nothing(), &series(&values));
    let gap = |event: usize| (spoilt[event].prediction.unwrap().expected - clean[event].prediction.unwrap().expected).abs();
    let worst = (at + 5..values.len()).map(gap).fold(0.0, f64::max);
    println!("gaps {:?}, worst from the fifth on {worst:.3}", (1..8).map(|age| gap(at + age)).collect::<Vec<_>>());
    assert!(worst < 1.5, "{worst}");
    assert!(spoilt[at].extremity > 50.0 && clean[at].extremity < 8.0);
}

/// However far out one event is, later ones are judged as they would be without it: the interval is as wide, and an anomaly as odd.
#[test]
fn one_glitch_blinds_nobody() {
    const AT: usize = 2_000;
    let (values, _) = autoregression(AT + 1_001, 12);
    let model = model();
    // What is said at some distance from the glitch, and how odd twenty standard deviations of the noise more would be.
    let said = |glitch: Option<f64>, age: usize| {
        let mut values = values[..=AT + age].to_vec();
        values[AT] = glitch.unwrap_or(values[AT]);
        let (said, _) = follow(&model, model.nothing(), &series(&values));
        let (_, evidence) = follow(&model, model.nothing(), &series(&values[..AT + age]));
        values[AT + age] += 20.0;
        let odd = model.extremity(&evidence, series(&values).view().slice(AT + age..AT + age + 1)).unwrap()[0];
        let prediction = said[AT + age].prediction.unwrap();
        (prediction.expected, prediction.upper - prediction.lower, odd)
    };
    for age in [10, 100, 1_000] {
        let (expected, width, odd) = said(None, age);
        for glitch in [1e3, 1e6, 4_294_967_296.0, -1.8e19, 1e100] {
            let (other, wide, blind) = said(Some(glitch), age);
            println!(
                "{glitch:e}, {age} later: {:+.2}, {:.2} as wide, an anomaly at {blind:.0} of {odd:.0}",
                other - expected,
                wide / width
            );
            assert!((other - expected).abs() < 1.5, "{glitch:e}, {age} later: {other} for {expected}");
            assert!(
                (0.5..2.0).contains(&(wide / width)) && blind > 0.4 * odd,
                "{glitch:e}, {age} later: {wide} for {width}, {blind} for {odd}"
            );
        }
    }
}

#[test]
fn a_step_that_lasts_is_learnt_within_ten_events() {
    let mut values = seasonal(3_000, 9);
    values[2_000..].iter_mut().for_each(|x| *x += 1_000.0);
    let model = model();
    let (said, _) = follow(&model, model.nothing(), &series(&values));
    let miss = |at: usize| (said[at].prediction.unwrap().expected - values[at]).abs();
    println!("misses {:?}", (2_000..2_016).map(miss).map(|miss| (10.0 * miss).round() / 10.0).collect::<Vec<_>>());
    let late = mean((2_010..2_200).map(miss));
    assert!(late < 2.5, "{late}");
}

/// Before anything has varied there is nothing to measure with; a change then has probability 1/(n + 2), as with a regression.
#[test]
fn a_constant_is_no_surprise_and_its_first_change_is() {
    let model = model();
    let rows = series(&[[7.5; 40].as_slice(), &[8.0]].concat());
    let (said, _) = follow(&model, model.nothing(), &rows);
    assert!(said[..40].iter().all(|said| said.surprisal.nats == 0.0 && said.extremity < 1e-12));
    assert!((said[40].surprisal.nats - 42_f64.ln()).abs() < 1e-12 && said[40].extremity > 20.0);
    assert!(said[0].prediction.is_none() && said[20].prediction.is_some_and(|p| (p.expected - 7.5).abs() < 1e-6));
}

/// A change of units changes no score, and scales what is expected.
#[test]
fn units_change_nothing() {
    let values = seasonal(800, 10);
    let model = model();
    let (said, _) = follow(&model, model.nothing(), &series(&values));
    for factor in [1e-30, 1e-3, 1e6, 1e40] {
        let scaled: Vec<f64> = values.iter().map(|x| factor * x).collect();
        let (found, _) = follow(&model, model.nothing(), &series(&scaled));
        for (found, said) in found.iter().zip(&said).skip(1) {
            assert!((found.surprisal.nats - said.surprisal.nats).abs() < 1e-6, "× {factor}: {found:?} {said:?}");
            let (found, said) = (found.prediction.unwrap(), said.prediction.unwrap());
            assert!((found.expected / factor / said.expected - 1.0).abs() < 1e-6, "× {factor}: {found:?} {said:?}");
        }
    }
}

#[test]
fn numbers_meant_to_break_it_do_not() {
    let model = model();
    let hostile = [1e30, -1e30, 5e-324, -5e-324, 1e-310, 1e149, -1e149, f64::MAX, f64::MIN, 0.0, -0.0, 1e300];
    let mut evidence = model.nothing();
    let values: Vec<f64> =
        (0..400).map(|at| if at % 7 == 3 { hostile[at / 7 % hostile.len()] } else { (at % 10) as f64 }).collect();
    let rows = series(&values);
    for at in 0..values.len() {
        let row = rows.view().slice(at..at + 1);
        let mut surprisals = Vec::new();
        model.score(&evidence, row, &mut surprisals);
        assert!(!surprisals[0].nats.is_nan() && surprisals[0].sd >= 0.0, "{at}: {surprisals:?}");
        assert!(model.extremity(&evidence, row).unwrap()[0].is_finite());
        assert!(
            model.predict(&evidence, row).unwrap()[0]
                .is_none_or(|p| p.expected.is_finite() && (0.0..=1.0).contains(&p.probability))
        );
        evidence = learn(&model, &evidence, &rows, at);
    }
    assert!(model.restore(&surprisal::models::Evidence::tensors(&evidence)).is_ok(), "every number is finite");
    let (said, _) = follow(&model, evidence, &series(&seasonal(600, 11)));
    assert!(said.last().unwrap().surprisal.nats.abs() < 20.0, "{:?}", said.last());
}

/// A series that was constant and then varies: what is far out for what was known counts for little, and yet the scale must follow.
#[test]
fn a_constant_series_that_begins_to_vary_is_forecast_by_what_it_does_then() {
    let noise = surprisal::noise::Noise::new(11);
    for (constant, level) in [(1000, 0.0), (1000, 5.0), (100, -3.0)] {
        let value = |at: usize| level + if at < constant { 0.0 } else { noise.normal(at as u64, 0, 0) };
        let values: Vec<f64> = (0..constant + 1500).map(value).collect();
        let (said, _) = follow(&model(), model().nothing(), &series(&values));
        let mean = mean(said[constant + 1000..].iter().map(|said| said.surprisal.nats));
        // ln √(2πe) where the unit is the series' own deviation; that is known to a factor of ten.
        assert!((1.42..1.42 + 10_f64.ln()).contains(&(mean + 0.1)), "{constant} of {level}: {mean} nats");
    }
}
