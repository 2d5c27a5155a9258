use super::*;
use crate::features::{Column, Kind, Task};
use crate::models::Standard;
use crate::models::mixture::{Mixture, MixtureConfig};
use crate::models::regression::{LinearRegression, LogisticRegression, RegressionConfig};
use crate::models::vae::{Vae, VaeConfig};
use crate::record::{Offset, Partition};

fn schema(kinds: &[Kind]) -> Schema {
    let column = |(at, kind): (usize, &Kind)| Column { name: format!("x{at}"), path: vec![format!("x{at}")], kind: *kind };
    Schema::new(kinds.iter().enumerate().map(column).collect())
}

/// A linear regression of the last of `width` numbers, in units that are learnt or all 1.
fn linear(width: usize, learnt: bool) -> (LinearRegression, Schema) {
    let schema = schema(&vec![Kind::Number; width]);
    let task = Task { target: width - 1, inputs: (0..width - 1).collect() };
    let unit = Standard { location: 0.0, scale: 1.0 };
    let standards = (0..width).filter(|_| !learnt).map(|at| (format!("x{at}"), unit)).collect();
    let config = RegressionConfig { standards, ..RegressionConfig::default() };
    (LinearRegression::new(&schema, &task, config).expect("a regression"), schema)
}

/// Rows of standard normal inputs, and a target that is their sum with coefficients that are drawn anew after each `regime` events,
/// and noise of that standard deviation.
fn stream(count: usize, width: usize, regime: usize, noise: f64) -> Rows {
    let source = Noise::new(7);
    let mut rows = Rows::new(width);
    for event in 0..count {
        let (cells, _) = rows.push_missing();
        let mut y = noise * source.normal(event as u64, 0, 1000);
        for (at, cell) in cells[..width - 1].iter_mut().enumerate() {
            *cell = source.normal(event as u64, 0, at as u32);
            y += source.normal((event / regime) as u64, 1, at as u32) * *cell;
        }
        cells[width - 1] = y;
    }
    rows
}

fn block(rows: RowsView<'_>, at: usize, retention: f64) -> Block<'_> {
    let pace = Pace { retention, weight: 1.0 };
    Block { rows, partition: Partition(0), offset: Offset(at as i64), step: at as u64, pace, weights: &[] }
}

/// Scores and learns rows, block by block, with this half-life besides.
fn prequential<M: Model>(model: &M, rows: RowsView<'_>, half_life: f64) -> (Vec<f64>, M::Evidence) {
    let (mut evidence, mut surprisals, mut at) = (model.nothing(), Vec::new(), 0);
    while at < rows.len() {
        let len = (at / 32).clamp(1, USUAL_BLOCK).min(rows.len() - at);
        let posterior = model.posterior(&evidence).expect("finite");
        let rows = rows.slice(at..at + len);
        model.score(&posterior, rows, &mut surprisals);
        let retention = (-(len as f64) / half_life).exp2();
        evidence = model.learn(&posterior, &evidence, block(rows, at, retention)).expect("finite").evidence;
        model.reorganise(&model.nothing(), &mut evidence);
        at += len;
    }
    (surprisals.iter().map(|surprisal| surprisal.nats).collect(), evidence)
}

fn weights<M: Model>(model: &M, evidence: &M::Evidence) -> Vec<f64> {
    model.memory(&model.posterior(evidence).expect("finite")).into_iter().map(|(_, weight)| weight).collect()
}

fn mean(nats: &[f64]) -> f64 {
    nats.iter().sum::<f64>() / nats.len() as f64
}

/// Where coefficients jump, what forgets wins; the average is about as good as the best that nobody knew beforehand.
#[test]
fn a_stream_that_changes_is_followed() {
    let (model, schema) = linear(4, false);
    let rows = stream(12_000, 4, 1000, 0.5);
    let (found, evidence) = prequential(&Inferred::new(model.clone(), &schema).expect("small"), rows.view(), f64::INFINITY);
    let fixed = HALF_LIVES.map(|half_life| mean(&prequential(&model, rows.view(), half_life).0));
    let best = fixed.into_iter().fold(f64::INFINITY, f64::min);
    let found = mean(&found);
    assert!(found < 1.01 * best && found < fixed[LASTING] - 0.4, "{found}: {fixed:?}");
    let inferred = Inferred::new(model, &schema).expect("small");
    let weights = weights(&inferred, &evidence);
    assert!(weights[0] > 0.99, "{weights:?}");
    let half_life = half_life(&inferred.memory(&inferred.posterior(&evidence).unwrap())).unwrap();
    assert!((250.0..260.0).contains(&half_life), "{half_life}");
}

/// Where nothing changes, the average costs next to nothing in comparison with what never forgets, and what remembers too little
/// has no say. Memories that suffice are as good as one another, and keep about even weights.
#[test]
fn a_stream_that_stays_is_remembered() {
    for width in [4, 40] {
        let (model, schema) = linear(width, true);
        let rows = stream(12_000, width, usize::MAX, 0.5);
        let inferred = Inferred::new(model.clone(), &schema).expect("small");
        let (found, evidence) = prequential(&inferred, rows.view(), f64::INFINITY);
        let (bayes, _) = prequential(&model, rows.view(), f64::INFINITY);
        let loss = mean(&found) - mean(&bayes);
        assert!(loss < 0.001, "{width}: {loss}");
        let weights = weights(&inferred, &evidence);
        assert!(weights[0] < 0.05 && weights[LASTING] > 0.2, "{width}: {weights:?}");
    }
}

/// A mixture over columns of several kinds, and what it learns from a stream whose numbers change.
fn mixture(count: usize) -> (Inferred<Mixture>, Rows) {
    let schema = schema(&[Kind::Number, Kind::Number, Kind::Category { capacity: 8 }, Kind::Count, Kind::Number]);
    let noise = Noise::new(3);
    let mut rows = Rows::new(5);
    for event in 0..count as u64 {
        let draw = |at: u32| noise.normal(event, 0, at);
        let (cells, texts) = rows.push_missing();
        let level = if (event / 600) % 2 == 0 { 0.0 } else { 4.0 };
        cells[0] = level + draw(0);
        cells[1] = if event % 11 == 0 { f64::NAN } else { 100.0 + (1.0 + level) * draw(1) + cells[0] };
        cells[2] = texts.push(["a", "b", "c"][(event % 3) as usize]) as f64;
        cells[3] = (3.0 + draw(2)).max(0.0).round();
        // One that has stood still for as long as the shortest memory reaches.
        cells[4] = if event < 40 { draw(3) } else { 1.0 };
    }
    let mixture = Mixture::new(&schema, MixtureConfig { components: 4, ..MixtureConfig::default() }).expect("a mixture");
    (Inferred::new(mixture, &schema).expect("small"), rows)
}

/// Contributions add up, and each lies within what members say where they say it in the same units.
#[test]
fn an_account_adds_up() {
    let (model, rows) = mixture(1500);
    let (_, evidence) = prequential(&model, rows.view(), f64::INFINITY);
    let posterior = model.posterior(&evidence).unwrap();
    assert!(posterior.exchange[0].len() > 1, "{:?}", posterior.exchange);
    for row in (0..1500).step_by(50) {
        let row = rows.view().slice(row..row + 1);
        let mut surprisals = Vec::new();
        model.score(&posterior, row, &mut surprisals);
        let account = model.explain(&posterior, row).expect("an account");
        let sum: f64 = account.contributions.iter().map(|one| one.nats).sum();
        assert!((sum - surprisals[0].nats).abs() <= 1e-12 * sum.abs().max(1.0), "{sum} {surprisals:?}");
        assert!(account.contributions.is_sorted_by(|one, other| one.nats >= other.nats));
        assert_eq!(account.contributions.len(), row.row(0).iter().filter(|cell| !cell.is_nan()).count());
        let members: Vec<_> = posterior.members.iter().map(|member| model.model.explain(member, row).unwrap()).collect();
        for one in account.contributions {
            let of = |(index, account): (usize, &Explanation)| {
                let cell = model.schema.columns().iter().position(|column| column.name == one.column).unwrap();
                let units: f64 = posterior.exchange(index, row.row(0)).filter(|(at, _)| *at == cell).map(|(_, ln)| ln).sum();
                account.contributions.iter().find(|own| own.column == one.column).map_or(0.0, |own| own.nats) + units
            };
            let said: Vec<f64> = members.iter().enumerate().map(of).collect();
            let (least, most) = said.iter().fold((f64::MAX, f64::MIN), |(least, most), nats| (least.min(*nats), most.max(*nats)));
            assert!(one.nats >= least - 1e-9 && one.nats <= most + 1e-9, "{}: {} {said:?}", one.column, one.nats);
        }
    }
    let (linear, schema) = linear(3, true);
    let model = Inferred::new(linear, &schema).expect("small");
    let rows = stream(900, 3, 300, 0.5);
    let posterior = model.posterior(&prequential(&model, rows.view(), f64::INFINITY).1).unwrap();
    let row = rows.view().slice(5..6);
    let account = model.explain(&posterior, row).unwrap();
    let mut surprisals = Vec::new();
    model.score(&posterior, row, &mut surprisals);
    assert_eq!((account.contributions.len(), account.contributions[0].nats), (1, surprisals[0].nats));
    let prediction = model.predict(&posterior, row).unwrap()[0].unwrap();
    let Some(Expected::Number { mean, lower, upper }) = account.contributions[0].expected else { panic!("a number") };
    for (found, expected) in [(mean, prediction.expected), (lower, prediction.lower), (upper, prediction.upper)] {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let members: Vec<Prediction> =
        posterior.members.iter().map(|member| model.model.predict(member, row).unwrap()[0].unwrap()).collect();
    let below: f64 = members.iter().zip(posterior.weights()).map(|(member, weight)| weight * member.probability).sum();
    assert!((prediction.probability - below).abs() < 1e-12);
    let blank = Rows::from_cells(3, vec![1.0, 1.0, f64::NAN]);
    assert_eq!(model.explain(&posterior, blank.view()), Some(Explanation::default()));
    assert_eq!(model.predict(&posterior, blank.view()), Some(vec![None]));
}

/// A row's score has the same bits in any company.
#[test]
fn scores_do_not_depend_on_the_rows_beside() {
    let (model, rows) = mixture(700);
    let posterior = model.posterior(&prequential(&model, rows.view(), f64::INFINITY).1).unwrap();
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    model.score(&posterior, rows.view(), &mut together);
    (0..700).for_each(|row| model.score(&posterior, rows.view().slice(row..row + 1), &mut alone));
    assert_eq!(together, alone);
}

#[test]
fn members_are_mixed_as_their_densities_are() {
    let posterior = |ln_weights| InferredPosterior { members: vec![(); 4], ln_weights: normalised(ln_weights), exchange: vec![] };
    let members = |nats: [f64; 4]| nats.map(|nats| Surprisal { nats, sd: 0.5 });
    let weights = [0.1, 0.2, 0.3, 0.4_f64];
    let of = posterior(weights.map(f64::ln));
    let nats = [3.0, 1.0, 2.5, 700.0];
    let found = of.mix(&members(nats));
    let density: f64 = nats.iter().zip(weights).map(|(nats, weight)| weight * (-nats).exp()).sum();
    assert!((found.nats + density.ln()).abs() < 1e-12, "{found:?}");
    // What is impossible to the last member is told apart from the rest as far as anything is.
    let capped = [3.0, 1.0, 2.5, 11.0];
    let mean: f64 = capped.iter().zip(weights).map(|(nats, weight)| weight * nats).sum();
    let variance: f64 = capped.iter().zip(weights).map(|(nats, weight)| weight * (0.25 + (nats - mean).powi(2))).sum();
    assert!((found.sd - variance.sqrt()).abs() < 1e-12, "{found:?}");
    assert_eq!(of.mix(&members([2.0; 4])).nats, 2.0);
    let impossible = of.mix(&members([f64::INFINITY; 4]));
    assert!(impossible.nats == f64::INFINITY && (impossible.sd - 0.5).abs() < 1e-12, "{impossible:?}");
    assert_eq!(posterior([-9000.0, 0.0, -1.0, -7000.0]).mix(&members([f64::INFINITY, 3.0, 3.0, 3.0])).nats, 3.0);
}

#[test]
fn half_lives_are_averaged_as_rates() {
    assert_eq!(half_life(&[]), None);
    assert_eq!(half_life(&[(100.0, 0.5), (f64::INFINITY, 0.5)]), Some(200.0));
    assert_eq!(half_life(&[(100.0, 0.0), (f64::INFINITY, 1.0)]), Some(f64::INFINITY));
}

/// Sites add: members by their evidence, and what was said of them. An event that is believed by half says half of it.
#[test]
fn sites_add_up() {
    let (plain, schema) = linear(3, true);
    let model = Inferred::new(plain.clone(), &schema).expect("small");
    let (rows, other) = (stream(800, 3, 250, 0.5), stream(500, 3, usize::MAX, 2.0));
    let [ours, theirs] = [&rows, &other].map(|rows| prequential(&model, rows.view(), f64::INFINITY).1);
    let mut sum = ours.clone();
    sum.add(&theirs);
    let posterior = model.posterior(&sum).unwrap();
    let mut by_hand = [0.0; 4];
    for (member, half_life) in HALF_LIVES.into_iter().enumerate() {
        let [mut one, two] = [&rows, &other].map(|rows| prequential(&plain, rows.view(), half_life).1);
        one.add(&two);
        assert_eq!(one, sum.members[member]);
        by_hand[member] = (ours.ln_weights[member] + theirs.ln_weights[member]).exp();
    }
    let total: f64 = by_hand.iter().sum();
    for (found, expected) in posterior.weights().into_iter().zip(by_hand) {
        assert!((found - expected / total).abs() < 1e-12, "{found} {}", expected / total);
    }
    assert_eq!(sum.events(), sum.members[LASTING].events());
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    model.score(&posterior, rows.view(), &mut together);
    model.score(&model.belief(&ours, &theirs).unwrap(), rows.view(), &mut apart);
    let close = |(one, other): (&Surprisal, &Surprisal)| (one.nats - other.nats).abs() < 1e-9;
    assert!(together.iter().zip(&apart).all(close));

    let whole = block(rows.view().slice(0..32), 800, 1.0);
    let said = |weights: &[f64]| {
        let posterior = model.posterior(&ours).unwrap();
        let learnt = model.learn(&posterior, &ours, Block { weights, ..whole }).unwrap().evidence;
        std::array::from_fn::<f64, 4, _>(|i| learnt.ln_weights[i] - 2_f64.powf(-32.0 / 500.0) * ours.ln_weights[i])
    };
    for (half, all) in said(&[0.5; 32]).into_iter().zip(said(&[])) {
        assert!((half - 0.5 * all).abs() < 1e-9, "{half} {all}");
    }
}

/// Evidence goes through tensors to the bit, and what can't be is refused by name.
#[test]
fn evidence_survives_a_snapshot() {
    let (model, rows) = mixture(700);
    let (_, evidence) = prequential(&model, rows.view(), f64::INFINITY);
    let tensors = evidence.tensors();
    let back = model.restore(&tensors).unwrap();
    assert_eq!(back, evidence);
    assert_eq!(back.tensors(), tensors);
    let posterior = [&back, &evidence].map(|evidence| model.posterior(evidence).unwrap());
    let scores = posterior.each_ref().map(|posterior| {
        let mut surprisals = Vec::new();
        model.score(posterior, rows.view(), &mut surprisals);
        surprisals
    });
    assert_eq!(scores[0], scores[1]);
    let refused = |ln_weights: &[f64]| {
        let mut tensors = tensors.clone();
        tensors[0] = Tensor::f64(LN_WEIGHTS, &[ln_weights.len()], ln_weights.into());
        model.restore(&tensors).unwrap_err().to_string()
    };
    assert_eq!(refused(&[0.0; 3]), "tensor `inferred.ln_weights` has shape [3], expected [4]");
    assert_eq!(refused(&[0.0, 0.5, 0.0, 0.0]), "tensor `inferred.ln_weights`: element 1 is 0.5, expected 0 or less");
    assert!(refused(&[0.0, f64::NAN, 0.0, 0.0]).contains("element 1 is NaN, expected a finite number"));
    let fewer: Vec<Tensor> = tensors.iter().filter(|tensor| !tensor.name.starts_with("member.3.")).cloned().collect();
    let error = model.restore(&fewer).unwrap_err().to_string();
    assert!(error.starts_with("tensor `member.3.") && error.ends_with("is missing"), "{error}");
    assert_eq!(model.restore(&[]), Err(CheckpointError::Missing { name: LN_WEIGHTS.into() }));
    assert_ne!(model.fingerprint(), model.model.fingerprint());
    // Sums of what is finite each may not be.
    let mut far = evidence.clone();
    far.ln_weights = [-1e308; 4];
    let once = far.clone();
    far.add(&once);
    assert!(model.posterior(&far).is_err() && model.posterior(&once).is_ok());
}

/// A boolean whose coefficients change is followed as well, by a model that learns its first events anew.
#[test]
fn other_targets_are_followed() {
    let schema = schema(&[Kind::Number, Kind::Number, Kind::Boolean]);
    let task = Task { target: 2, inputs: vec![0, 1] };
    let model = LogisticRegression::new(&schema, &task, RegressionConfig::default()).expect("a regression");
    let rows = stream(5000, 3, 500, 0.3);
    let cells = rows.view().cells().chunks(3).flat_map(|row| [row[0], row[1], f64::from(u8::from(row[2] > 0.0))]);
    let rows = Rows::from_cells(3, cells.collect());
    let inferred = Inferred::new(model.clone(), &schema).expect("small");
    let (found, evidence) = prequential(&inferred, rows.view(), f64::INFINITY);
    let fixed = HALF_LIVES.map(|half_life| mean(&prequential(&model, rows.view(), half_life).0));
    let found = mean(&found);
    assert!(found < 1.01 * fixed[0] && found < fixed[LASTING] - 0.1, "{found}: {fixed:?}");
    assert!(weights(&inferred, &evidence)[0] > 0.9);
    assert!(inferred.scales(&inferred.posterior(&evidence).unwrap()).is_empty());
    assert!(inferred.divergence(&inferred.posterior(&evidence).unwrap()).unwrap() > 0.0);
}

/// Before anything is known members are alike, and so are the events that they draw.
#[test]
fn events_are_drawn_from_members() {
    let schema = schema(&[Kind::Number, Kind::Category { capacity: 4 }, Kind::Boolean]);
    let config = VaeConfig { latent: 1, hidden: vec![2], ..VaeConfig::default() };
    let model = Vae::new(&schema, config).expect("an autoencoder");
    let inferred = Inferred::new(model.clone(), &schema).expect("small");
    let expected = model.sample(&model.posterior(&model.nothing()).unwrap(), Noise::new(5), 40);
    let found = inferred.sample(&inferred.posterior(&inferred.nothing()).unwrap(), Noise::new(5), 40);
    let shown = |rows: Option<Rows>| format!("{:?}", rows.unwrap().view().cells());
    assert_eq!(shown(found), shown(expected));
}

/// What the block's own pace takes is taken from every member, and from what is said of them.
#[test]
fn the_blocks_own_pace_counts_as_well() {
    let (plain, schema) = linear(3, true);
    let model = Inferred::new(plain.clone(), &schema).expect("small");
    let rows = stream(600, 3, 200, 0.5);
    let (_, evidence) = prequential(&model, rows.view(), 1000.0);
    let (_, expected) = prequential(&plain, rows.view(), 1.0 / (1.0 / 1000.0 + 1.0 / 250.0));
    assert!((evidence.members[0].events() - expected.events()).abs() < 1e-9);
}
