use super::*;
use crate::dist::testing::{assert_close, normal};
use crate::features::Column as SchemaColumn;
use crate::inference::layers::{Parameters, place};
use crate::inference::newton::Stepping;
use crate::inference::rule::Pace;
use crate::models::Evidence;
use crate::models::vae::columns::{Column, Value};
use crate::models::vae::learn::{Data, Weights, Workspace};
use crate::record::{Offset, Partition};

/// A schema of these kinds.
fn schema(kinds: &[Kind]) -> Schema {
    let column =
        |(index, kind): (usize, &Kind)| SchemaColumn { name: format!("c{index}"), path: vec![format!("c{index}")], kind: *kind };
    Schema::new(kinds.iter().enumerate().map(column).collect())
}

const KINDS: [Kind; 5] = [Kind::Number, Kind::Count, Kind::Boolean, Kind::Category { capacity: 3 }, Kind::Number];

/// Rows of all kinds that hang together, with cells missing.
fn mixed(count: u64, missing: f64) -> Rows {
    let mut rows = Rows::new(5);
    for event in 0..count {
        let z = normal(10 * event);
        let (cells, texts) = rows.push_missing();
        let values = [
            50.0 + 7.0 * z + normal(10 * event + 1),
            (1.0 + 0.5 * z + 0.1 * normal(10 * event + 2)).exp().round(),
            f64::from(u8::from(z + 0.5 * normal(10 * event + 3) > 0.0)),
            texts.push(["low", "middle", "high"][((z + 1.5).clamp(0.0, 2.9)) as usize]) as f64,
            -3.0 - z + normal(10 * event + 4),
        ];
        for (d, value) in values.into_iter().enumerate() {
            if crate::dist::testing::uniform(10 * event + d as u64) >= missing {
                cells[d] = value;
            }
        }
    }
    rows
}

/// Learns `rows` in the engine's blocks of `most` rows at most, and returns the mean surprisal of those from `from` on.
fn prequential(vae: &Vae, rows: &Rows, most: usize, from: usize) -> (VaeEvidence, f64) {
    let mut evidence = vae.nothing();
    let (mut at, mut step, mut found) = (0, 0, Vec::new());
    while at < rows.len() {
        let len = most.min(1 << ((at / 32).max(1).ilog2())).min(rows.len() - at);
        let posterior = vae.posterior(&evidence).expect("finite");
        let part = rows.view().slice(at..at + len);
        vae.score(&posterior, part, &mut found);
        let block =
            Block { rows: part, partition: Partition(0), offset: Offset(at as i64), step, pace: Pace::BAYES, weights: &[] };
        evidence = vae.learn(&posterior, &evidence, block).expect("finite").evidence;
        (at, step) = (at + len, step + 1);
    }
    let late = &found[from.min(found.len() - 1)..];
    (evidence, late.iter().map(|surprisal| surprisal.nats).sum::<f64>() / late.len() as f64)
}

#[test]
fn gradients_are_what_differences_say() {
    let vae = Vae::new(&schema(&KINDS), VaeConfig { latent: 2, hidden: vec![5], ..VaeConfig::default() }).unwrap();
    let (evidence, _) = prequential(&vae, &mixed(100, 0.2), 8, 0);
    let posterior = vae.posterior(&evidence).unwrap();
    let rows = mixed(140, 0.2);
    let rows = rows.view().slice(101..134);
    let noise = (&Noise::new(5), 3);
    let weights = |flat: &[f64], shape: &Shape| {
        let mut weights = Parameters::<f64>::zeros(shape);
        weights.set(flat);
        weights
    };
    let variance = weights(&posterior.normal.variance, &vae.decoder);
    let mut workspace = Workspace::<f64>::new(&vae.encoder, &vae.decoder, None);
    let believed: Vec<f64> = (0..rows.len()).map(|event| 1.0 / (1 + event % 4) as f64).collect();
    let data = Data::of(&vae, &posterior, rows, &believed, &mut workspace);
    let mut look = |encoder: &[f64], mean: &[f64]| {
        let (encoder, mean) = (weights(encoder, &vae.encoder), weights(mean, &vae.decoder));
        let at = Weights { encoder: &encoder, mean: &mean, variance: Some(&variance) };
        let bound = vae.look(&posterior, &at, data.part(0..rows.len()), noise, true, &mut workspace).bound;
        (bound, workspace.encoder_gradient.flat(), workspace.gradient.flat())
    };
    let (encoder, mean) = (posterior.encoder.flat(), posterior.normal.mean.clone());
    let (_, of_encoder, of_decoder) = look(&encoder, &mean);
    const STEP: f64 = 1e-5;
    for i in 0..encoder.len() {
        let mut moved = |by: f64| {
            let mut encoder = encoder.clone();
            encoder[i] += by;
            look(&encoder, &mean).0
        };
        assert_close(of_encoder[i], (moved(STEP) - moved(-STEP)) / (2.0 * STEP), 1e-6);
    }
    for i in 0..mean.len() {
        let mut moved = |by: f64| {
            let mut mean = mean.clone();
            mean[i] += by;
            look(&encoder, &mean).0
        };
        assert_close(of_decoder[i], (moved(STEP) - moved(-STEP)) / (2.0 * STEP), 1e-6);
    }
}

/// Half of each event, with twice the say, is the event: for all kinds of columns.
#[test]
fn a_weight_is_a_share_of_an_event() {
    let config = VaeConfig { latent: 2, hidden: vec![5], inner_steps: 1, ..VaeConfig::default() };
    let vae = Vae::new(&schema(&KINDS), config).unwrap();
    let (evidence, _) = prequential(&vae, &mixed(200, 0.2), 16, 0);
    let (posterior, rows) = (vae.posterior(&evidence).unwrap(), mixed(264, 0.2));
    let learn = |weights: &[f64], weight: f64| {
        let (rows, pace) = (rows.view().slice(200..264), Pace { weight, ..Pace::BAYES });
        let block = Block { rows, partition: Partition(0), offset: Offset(200), step: 99, pace, weights };
        vae.learn(&posterior, &evidence, block).unwrap().evidence
    };
    let (whole, halves) = (learn(&[], 1.0), learn(&[0.5; 64], 2.0));
    assert_close(halves.events, whole.events, 1e-12);
    for (whole, halves) in [(&whole.decoder.curvature, &halves.decoder.curvature), (&whole.decoder.shift, &halves.decoder.shift)]
    {
        let most = whole.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (one, other) in whole.iter().zip(halves) {
            assert!((one - other).abs() < 1e-4 * most, "{one} {other}, at most {most}");
        }
    }
}

#[test]
fn a_linear_autoencoder_reaches_the_evidence_of_probabilistic_principal_components() {
    use nalgebra::{DMatrix, DVector};
    const DIM: usize = 6;
    const LATENT: usize = 2;
    let loadings = DMatrix::from_fn(DIM, LATENT, |row, column| normal((row * LATENT + column) as u64));
    let covariance = &loadings * loadings.transpose() + DMatrix::identity(DIM, DIM) * 0.25;
    let count = 80_000;
    let mut cells = Vec::with_capacity(count * DIM);
    for event in 0..count as u64 {
        let draw = |at: u64| normal(1_000_000 + 16 * event + at);
        let z = DVector::from_fn(LATENT, |at, _| draw(at as u64));
        let x = &loadings * z;
        cells.extend((0..DIM).map(|d| x[d] + 0.5 * draw(8 + d as u64)));
    }
    let rows = Rows::from_cells(DIM, cells);
    let standards = (0..DIM).map(|d| (format!("c{d}"), Standard { location: 0.0, scale: 1.0 })).collect();
    let config = VaeConfig { latent: LATENT, hidden: vec![], standards, ..VaeConfig::default() };
    let vae = Vae::new(&schema(&[Kind::Number; DIM]), config).unwrap();
    let from = 70_000;
    let (_, bound) = prequential(&vae, &rows, 256, from);
    let cholesky = covariance.cholesky().unwrap();
    let exact = |row: usize| {
        let x = DVector::from_column_slice(rows.view().row(row));
        0.5 * (x.dot(&cholesky.solve(&x)) + cholesky.determinant().ln() + DIM as f64 * crate::dist::special::LN_TAU)
    };
    let exact = (from..count).map(exact).sum::<f64>() / (count - from) as f64;
    assert!(bound > exact - 0.01 && bound < 1.01 * exact, "bound {bound}, evidence {exact}");
}

#[test]
fn hidden_structure_is_found_in_columns_of_all_kinds_with_cells_missing() {
    let vae = Vae::new(&schema(&KINDS), VaeConfig { latent: 2, hidden: vec![16], ..VaeConfig::default() }).unwrap();
    let rows = mixed(6_000, 0.1);
    let (evidence, mean) = prequential(&vae, &rows, 256, 4_000);
    // The same columns without what they share: each by its own frequencies.
    let independent = {
        let mut sum = 0.0;
        let view = rows.view();
        for d in 0..5 {
            let mut counts: BTreeMap<String, f64> = BTreeMap::new();
            let seen: Vec<String> = (0..6_000)
                .filter(|row| !view.row(*row)[d].is_nan())
                .map(|row| view.text(view.row(row)[d]).filter(|_| d == 3).map_or(format!("{}", view.row(row)[d]), str::to_owned))
                .collect();
            if d == 0 || d == 4 {
                sum += 0.5 * (1.0 + crate::dist::special::LN_TAU) * seen.len() as f64;
                continue;
            }
            seen.iter().for_each(|value| *counts.entry(value.clone()).or_default() += 1.0);
            sum -= counts.values().map(|count| count * (count / seen.len() as f64).ln()).sum::<f64>();
        }
        sum / 6_000.0
    };
    assert!(mean < independent - 0.5, "{mean} nats, {independent} for independent columns");
    let posterior = vae.posterior(&evidence).unwrap();
    let drawn = vae.sample(&posterior, Noise::new(1), 4_000).unwrap();
    let correlation = |rows: &Rows| {
        let pairs: Vec<[f64; 2]> = (0..rows.len())
            .map(|row| rows.view().row(row))
            .map(|row| [row[0], row[4]])
            .filter(|pair| !pair[0].is_nan() && !pair[1].is_nan())
            .collect();
        let mean = |at: usize| pairs.iter().map(|pair| pair[at]).sum::<f64>() / pairs.len() as f64;
        let (a, b) = (mean(0), mean(1));
        let sum = |f: &dyn Fn(&[f64; 2]) -> f64| pairs.iter().map(f).sum::<f64>();
        sum(&|p| (p[0] - a) * (p[1] - b)) / (sum(&|p| (p[0] - a).powi(2)) * sum(&|p| (p[1] - b).powi(2))).sqrt()
    };
    assert!((correlation(&drawn) - correlation(&rows)).abs() < 0.1, "{} {}", correlation(&drawn), correlation(&rows));
    let share = |rows: &Rows| {
        let texts = (0..rows.len()).filter_map(|row| rows.view().text(rows.view().row(row)[3]));
        let texts: Vec<_> = texts.collect();
        texts.iter().filter(|text| **text == "middle").count() as f64 / texts.len() as f64
    };
    assert!((share(&drawn) - share(&rows)).abs() < 0.1, "{} {}", share(&drawn), share(&rows));
}

#[test]
fn evidence_survives_a_snapshot_and_wild_values_leave_no_trace() {
    let vae = Vae::new(&schema(&KINDS), VaeConfig { latent: 2, hidden: vec![8], ..VaeConfig::default() }).unwrap();
    let (mut evidence, _) = prequential(&vae, &mixed(300, 0.1), 32, 0);
    assert_eq!(vae.restore(&evidence.tensors()).unwrap(), evidence);
    for value in [1e30, -1e30, 5e-324, f64::MAX, 0.0] {
        let mut rows = Rows::new(5);
        for _ in 0..4 {
            let (cells, _) = rows.push_missing();
            (cells[0], cells[1]) = (value, value.abs().min(1e15).round());
        }
        let posterior = vae.posterior(&evidence).unwrap();
        let mut found = Vec::new();
        vae.score(&posterior, rows.view(), &mut found);
        assert!(found.iter().all(|surprisal| surprisal.nats.is_finite() && surprisal.sd.is_finite()), "{value:e}: {found:?}");
        let block =
            Block { rows: rows.view(), partition: Partition(0), offset: Offset(0), step: 99, pace: Pace::BAYES, weights: &[] };
        if let Ok(learnt) = vae.learn(&posterior, &evidence, block) {
            assert!(learnt.evidence.is_finite());
            if value.abs() < 1e30 {
                evidence = learnt.evidence;
            }
        }
        vae.posterior(&evidence).unwrap();
    }
}

#[test]
fn texts_of_a_bucket_share_it_and_leave_room_for_new_ones() {
    let columns = columns::Column::of(&schema(&[Kind::Category { capacity: 1 }]));
    let texts: BTreeMap<String, f64> = (0..20).map(|index| (format!("t{index}"), f64::from(index + 1))).collect();
    let known = columns::Texts::of(&texts, columns[0].outputs());
    let mut rows = Rows::new(1);
    for index in 0..20 {
        let (cells, texts) = rows.push_missing();
        cells[0] = texts.push(&format!("t{index}")) as f64;
    }
    let units = crate::models::inputs::Units { centre: vec![], inverse: vec![] };
    let f = |k: usize| 0.3 * k as f64;
    let mass: f64 = (0..20)
        .map(|row| columns[0].value(&units, std::slice::from_ref(&known), rows.view(), row))
        .map(|value| columns[0].ln_likelihood(value, 0.0, f).exp())
        .sum();
    // What is left is for texts that have not come, one share a bucket.
    let total: f64 = (0..4).map(|k| f(k).exp()).sum();
    let rest: f64 = (0..4).map(|k| f(k).exp() / total / (known.buckets[k] + 1.0)).sum();
    assert_close(mass + rest, 1.0, 1e-12);
}

/// A text that has been forgotten is one that was never met.
#[test]
fn forgotten_texts_are_new_ones() {
    use super::columns::{Texts, bucket};
    let text = |count: f64| Texts::of(&[("seen".to_owned(), count)].into(), 4).ln_share("seen", bucket("seen", 4));
    assert_close(text(1e-9), 0.0, 1e-6);
    assert_close(text(3.0), (3.0 / 4.0_f64).ln(), 1e-12);
}

/// A number that was nearly always the same has a narrow law, and one that is like none before costs what the rule of succession
/// says, not its squared distance: by panels as cell by cell.
#[test]
fn a_stray_number_costs_what_the_rule_of_succession_says() {
    let vae = Vae::new(&schema(&[Kind::Number; 2]), VaeConfig { latent: 1, hidden: vec![4], ..VaeConfig::default() }).unwrap();
    let mut cells: Vec<f64> = (0..4_000).flat_map(|event| [normal(2 * event), 1e-3 * normal(2 * event + 1)]).collect();
    // What gives the column its units, long ago.
    cells[1] = 1.0;
    let (evidence, _) = prequential(&vae, &Rows::from_cells(2, cells), 256, 0);
    let posterior = vae.posterior(&evidence).unwrap();
    let (column, count) = (&vae.columns[1], evidence.columns[1].count);
    assert!(posterior.parameter(column) < 0.1, "{}", posterior.parameter(column));
    for x in [2.0, -30.0, 1e6] {
        let expected = -(std::f64::consts::PI * (count + 2.0) * (1.0 + x * x)).ln();
        assert_close(posterior.ln_judged(column, Value::Number(x), |_| 0.0), expected, 1e-12);
    }
    // Beyond what single precision can square, a number is at that distance.
    assert_eq!(
        posterior.ln_judged(column, Value::Number(1e200), |_| 0.0),
        posterior.ln_judged(column, Value::Number(1e15), |_| 0.0)
    );
    // Over all x, by the tangent of an angle, less than 1 by no more than the stray has.
    let points = 1_000_000;
    let mass = (0..points).map(|point| {
        let x = (std::f64::consts::PI * ((f64::from(point) + 0.5) / f64::from(points) - 0.5)).tan();
        posterior.ln_judged(column, Value::Number(x), |_| 0.1).exp() * (1.0 + x * x) * std::f64::consts::PI / f64::from(points)
    });
    let mass: f64 = mass.sum();
    assert!((1.0 - 1.0 / (count + 2.0)..=1.0).contains(&mass), "{mass}");

    let (centre, unit) = (posterior.units.centre[1], 1.0 / posterior.units.inverse[1]);
    let rows = Rows::from_cells(2, (0..40).flat_map(|at| [0.3, centre + unit * (f64::from(at) - 20.0) / 20.0]).collect());
    let numbers = super::numbers::Numbers::<f64>::of(&vae, &posterior, rows.view()).judged(&posterior);
    let outputs: Vec<f64> = (0..2 * 64).map(|at| 0.01 * f64::from(at)).collect();
    let (mut found, mut slopes) = (vec![0.0; 40], vec![0.0; 2 * 64]);
    numbers.all().add_ln_likelihoods(&outputs, 2, |event, ln| found[event] += ln);
    numbers.all().slopes(&outputs, 2, 1e15, &mut slopes);
    let mut strays = 0;
    for (event, found) in found.into_iter().enumerate() {
        let of = |column: &Column, stray: bool| {
            let value = column.value(&posterior.units, &posterior.texts, rows.view(), event);
            let f = |_| outputs[place(2, column.first, event)];
            if stray {
                posterior.ln_judged(column, value, f)
            } else {
                column.ln_likelihood(value, posterior.parameter(column), f)
            }
        };
        assert_close(found, vae.columns.iter().map(|column| of(column, true)).sum(), 1e-12);
        let (stray, slope) = (of(column, true) > of(column, false), slopes[place(2, 1, event)]);
        assert_eq!(stray, slope == 0.0, "a stray number's slope");
        strays += usize::from(stray);
    }
    assert!((5..35).contains(&strays), "{strays}");
}

/// The same again has probability `(n + 1)/(n + 2)`, anything else `1/(n + 2)`, and nothing said is nothing learnt; the account
/// says so of the column.
#[test]
fn a_number_that_has_always_been_the_same_costs_what_the_rule_of_succession_says() {
    let vae = Vae::new(&schema(&[Kind::Number; 2]), VaeConfig { latent: 1, hidden: vec![4], ..VaeConfig::default() }).unwrap();
    let cells: Vec<f64> = (0..500).flat_map(|event| [normal(event), 7.5]).collect();
    let (evidence, _) = prequential(&vae, &Rows::from_cells(2, cells), 64, 0);
    let posterior = vae.posterior(&evidence).unwrap();
    let judged = |constant: f64| {
        let row = Rows::from_cells(2, vec![0.4, constant]);
        let mut found = Vec::new();
        vae.score(&posterior, row.view(), &mut found);
        (found[0].nats, vae.explain(&posterior, row.view()).unwrap())
    };
    let (again, another) = (judged(7.5), judged(9.0));
    assert_close(another.0 - again.0, 501f64.ln(), 1e-9);
    for (nats, account) in [&again, &another] {
        assert_close(account.contributions.iter().map(|contribution| contribution.nats).sum(), *nats, 1e-9);
    }
    let of = |(_, account): &(f64, Explanation)| account.contributions.iter().find(|one| one.column == "c1").unwrap().nats;
    assert_close(of(&another) - of(&again), 501f64.ln(), 1e-9);
    assert_eq!(posterior.ln_constant(&vae.columns[1], f64::NAN), 0.0);
    assert_close(posterior.ln_constant(&vae.columns[1], 7.5), (501.0f64 / 502.0).ln(), 1e-12);
}

/// Surprisal alone would leave a number far out some say in the moments.
#[test]
fn a_doubted_event_far_out_is_not_believed() {
    let vae = Vae::new(&schema(&[Kind::Number; 2]), VaeConfig { latent: 1, hidden: vec![4], ..VaeConfig::default() }).unwrap();
    let cells: Vec<f64> = (0..2_000).map(normal).collect();
    let (evidence, _) = prequential(&vae, &Rows::from_cells(2, cells), 64, 0);
    let posterior = vae.posterior(&evidence).unwrap();
    for (x, expected) in [(7.0, 0.3), (-7.0, 0.3), (9.0, 0.0), (-1e200, 0.0), (f64::NAN, 0.3)] {
        assert_eq!(vae.credence(&posterior, &[0.2, x], 0.3), expected, "{x}");
    }
}

/// What a decoder's other steps remember is kept by a snapshot, and learning goes on from it to the bit.
#[test]
fn a_decoder_moved_by_other_steps_goes_on_from_a_snapshot() {
    let stepping = Stepping::Ivon { decay: 0.9, rate: 0.003 };
    let rule = Newton { stepping, ..Newton::default() };
    let vae = Vae::new(&schema(&KINDS), VaeConfig { latent: 2, hidden: vec![5], rule, ..VaeConfig::default() }).unwrap();
    let (evidence, _) = prequential(&vae, &mixed(200, 0.1), 16, 0);
    assert!(evidence.memory.steps > 10);
    let restored = vae.restore(&evidence.tensors()).unwrap();
    assert_eq!(restored, evidence);
    let rows = mixed(232, 0.1);
    let next = |evidence: &VaeEvidence| {
        let (rows, partition) = (rows.view().slice(200..232), Partition(0));
        let block = Block { rows, partition, offset: Offset(200), step: 99, pace: Pace::BAYES, weights: &[] };
        vae.learn(&vae.posterior(evidence).unwrap(), evidence, block).unwrap().evidence
    };
    assert_eq!(next(&restored), next(&evidence));
    let forgetful = VaeEvidence { memory: stepping.start(vae.decoder.parameters()), ..evidence.clone() };
    assert_ne!(next(&forgetful), next(&evidence));
}

/// With its layers' arithmetic done on a device, each that there is, the autoencoder says the same; and where encoder and decoder
/// are too deep for one, they are the processor's. Each block is learnt from what the processor has.
#[test]
fn devices_tell_the_same_story() {
    let rows = mixed(400, 0.2);
    for (hidden, tolerance) in [(vec![16, 9], 1e-4), (vec![4; 10], 0.0)] {
        let vae = Vae::new(&schema(&KINDS), VaeConfig { latent: 2, hidden, ..VaeConfig::default() }).unwrap();
        for device in [Device::Cpu].into_iter().chain(Device::new_cuda(0).ok()) {
            let (device, mut evidence, mut rounded) = (vae.clone().on(device), vae.nothing(), false);
            for at in (0..360).step_by(40) {
                let posterior = vae.posterior(&evidence).unwrap();
                let [own, there] = [&vae, &device].map(|vae| {
                    let (partition, offset, rows) = (Partition(0), Offset(at as i64), rows.view().slice(at..at + 40));
                    let block = Block { rows, partition, offset, step: at as u64, pace: Pace::BAYES, weights: &[] };
                    vae.learn(&posterior, &evidence, block).unwrap().evidence
                });
                let [expected, found] = [(&vae, &own), (&device, &there)].map(|(vae, evidence)| {
                    let mut scores = Vec::new();
                    vae.score(&vae.posterior(evidence).unwrap(), rows.view().slice(at + 40..at + 80), &mut scores);
                    scores
                });
                for (found, expected) in found.iter().zip(&expected) {
                    assert_close(found.nats, expected.nats, tolerance);
                    assert_close(found.sd, expected.sd, tolerance);
                    rounded |= found != expected;
                }
                evidence = own;
            }
            assert_eq!(rounded, tolerance > 0.0, "whether the device has done it shows in the last digits");
        }
    }
}
