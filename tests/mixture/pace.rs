//! What a step keeps and how much it counts: a population's posterior is the stream's, scaled, and evidence that has faded to nothing
//! leaves nothing behind.

use surprisal::features::{Kind, Rows, RowsView};
use surprisal::inference::rule::{Pace, Population, Rule};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::{Block, Evidence, Model, Surprisal};
use surprisal::record::{Offset, Partition};

use crate::data::{blocks, clusters, numbers, schema, score, some_numbers, sums};
use crate::noise::{normal, uniform};

/// Learns rows in the engine's blocks at the pace that `pace` gives for a block that begins at a row and has a number of them.
fn learn_at(model: &Mixture, rows: RowsView<'_>, pace: impl Fn(usize, usize) -> Pace) -> (MixtureEvidence, Vec<Surprisal>) {
    let (mut site, mut surprisals, mut at, mut step) = (model.nothing(), Vec::new(), 0, 0);
    while at < rows.len() {
        let len = blocks(at).min(rows.len() - at);
        let posterior = model.posterior(&site).expect("finite");
        let block = rows.slice(at..at + len);
        model.score(&posterior, block, &mut surprisals);
        let block =
            Block { rows: block, partition: Partition(0), offset: Offset(at as i64), step, pace: pace(at, len), weights: &[] };
        site = model.learn(&posterior, &site, block).expect("finite").evidence;
        model.reorganise(&model.nothing(), &mut site);
        (at, step) = (at + len, step + 1);
    }
    (site, surprisals)
}

fn population(events: f64, exponent: f64) -> impl Fn(usize, usize) -> Pace {
    let rule = Rule { population: Some(Population { events, exponent }), ..Rule::default() };
    move |learnt, len| rule.pace(learnt as u64, len, 0.0)
}

/// With one component and exponent 1 the statistics are those of the stream, each event counted N/n times.
#[test]
fn one_component_of_a_population_is_that_of_the_stream_scaled() {
    let kinds = [Kind::Number, Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 3 }];
    for (covariance, missing) in [(Covariance::Diagonal, 0.2), (Covariance::Full, 0.0)] {
        let config = MixtureConfig { components: 1, covariance, ..MixtureConfig::default() };
        let model = Mixture::new(&schema(&kinds), config).unwrap();
        let some = some_numbers(700, 2, missing);
        let mut rows = Rows::new(5);
        for event in 0..700 {
            let (cells, texts) = rows.push_missing();
            cells[..2].copy_from_slice(some.view().row(event));
            (cells[2], cells[3]) = ((event % 5) as f64, (event % 3 / 2) as f64);
            cells[4] = texts.push(["a", "b", "c", "d"][event * event % 4]) as f64;
        }
        let (stream, _) = learn_at(&model, rows.view(), |_, _| Pace::BAYES);
        for events in [100.0, 1e6] {
            let (found, _) = learn_at(&model, rows.view(), population(events, 1.0));
            let mut expected = stream.clone();
            expected.scale(events / 700.0);
            for ((name, found), (_, expected)) in sums(&found).into_iter().zip(sums(&expected)) {
                let size = expected.iter().fold(1e-300, |size: f64, x| size.max(x.abs()));
                for (found, expected) in found.into_iter().zip(expected) {
                    assert!((found - expected).abs() <= 1e-9 * size, "{covariance:?} {events} {name}: {found} is not {expected}");
                }
            }
        }
    }
}

/// With several, a population finds what a stream finds and comes near to its density, whether it is smaller or larger than the stream.
#[test]
fn several_components_of_a_population_are_those_of_the_stream() {
    let rows = clusters(9_000, false, 2.0);
    let (seen, unseen) = (rows.view().slice(0..8_000), rows.view().slice(8_000..9_000));
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let model = numbers(4, MixtureConfig { covariance, ..MixtureConfig::default() });
        let mean = |evidence: &MixtureEvidence| score(&model, evidence, unseen).iter().sum::<f64>() / 1_000.0;
        let (stream, _) = learn_at(&model, seen, |_, _| Pace::BAYES);
        for (events, exponent) in [(3_000.0, 1.0), (1e6, 1.0), (1e6, 0.7)] {
            let (found, surprisals) = learn_at(&model, seen, population(events, exponent));
            assert!(surprisals.iter().all(|surprisal| surprisal.nats.is_finite() && surprisal.sd.is_finite()));
            assert!((found.events() / events - 1.0).abs() < 1e-9, "{} events", found.events());
            let total: f64 = found.components().map(|(_, events)| events).sum();
            assert!((total / events - 1.0).abs() < 1e-6, "components hold {total} of {events} events");
            let (count, expected) = (found.components().count(), stream.components().count());
            assert!((expected..expected + 4).contains(&count), "{covariance:?}: {count} components of {events}, {expected}");
            let (nats, expected) = (mean(&found), mean(&stream));
            assert!((nats - expected).abs() < 0.1, "{covariance:?}, {events}, {exponent}: {nats} nats, a stream {expected}");
        }
    }
}

/// A stream that goes on after evidence has faded to nothing, or to less than the smallest number, is as one that begins.
#[test]
fn what_has_faded_to_nothing_leaves_nothing_behind() {
    for (covariance, retention) in [(Covariance::Diagonal, 0.0), (Covariance::Full, 0.0), (Covariance::Diagonal, 1e-310)] {
        let model = numbers(3, MixtureConfig { covariance, ..MixtureConfig::default() });
        let cell = |at: usize| {
            let far = if uniform((1 << 53) + at as u64 / 3) < 0.4 { 40.0 } else { 0.0 };
            if at < 3_000 * 3 { 1e6 + far + normal(at as u64) } else { 0.5 * (normal(at as u64) - far) }
        };
        let rows = Rows::from_cells(3, (0..6_000 * 3).map(cell).collect());
        // The first block that holds nothing of what was before.
        let pace = |at: usize, len: usize| match (3_000..3_000 + len).contains(&at) {
            true => Pace { retention, weight: 1.0 },
            false => Pace::BAYES,
        };
        let (evidence, surprisals) = learn_at(&model, rows.view(), pace);
        assert!(surprisals.iter().all(|surprisal| surprisal.nats.is_finite() && surprisal.sd.is_finite()));
        let remembered = evidence.events();
        assert!((2_900.0..=3_000.0).contains(&remembered), "{remembered} events");
        let mean = |from: usize| surprisals[from..from + 500].iter().map(|surprisal| surprisal.nats).sum::<f64>() / 500.0;
        assert!((mean(5_500) - mean(2_500)).abs() < 0.3, "{covariance:?}: {} nats at first, {} later", mean(2_500), mean(5_500));
    }
}
