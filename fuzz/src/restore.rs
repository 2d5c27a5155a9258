//! From the bytes of a snapshot to a posterior that scores and learns, as a restart goes.

use std::sync::OnceLock;

use candle_core::{Result, Tensor};
use surprisal::calibration::Calibrator;
use surprisal::codec::wire::{self, SnapshotHeader};
use surprisal::drift::{Series, Watch};
use surprisal::engine::{Engine, Setup};
use surprisal::features::Task;
use surprisal::models::forecast::{ForecastConfig, Forecasts};
use surprisal::models::mean_field::{Draws, Events, LogJoint, MeanField, MeanFieldConfig, Parameter};
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig};
use surprisal::models::neural_network::{Network, NetworkConfig};
use surprisal::models::regression::{
    LinearRegression, LogisticRegression, PoissonRegression, RegressionConfig, SoftmaxRegression,
};
use surprisal::models::vae::{Vae, VaeConfig};
use surprisal::models::{AnyModel, Inferred, Model};
use surprisal::record::{Head, Offset, Partition, Run};

use super::schema;

/// A model of one's own: `x ~ N(centre, width)`.
#[derive(Debug)]
struct Level;

impl LogJoint for Level {
    fn name(&self) -> &'static str {
        "level"
    }

    fn columns(&self) -> Vec<&str> {
        vec!["x"]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::real("centre", 1, 0.0, 10.0), Parameter::positive("width", 1, 1.0, 1.0)]
    }

    fn log_likelihood(&self, theta: &Draws, events: &Events) -> Result<Tensor> {
        let z = events["x"].broadcast_sub(&theta["centre"])?.broadcast_div(&theta["width"])?;
        (z.sqr()? * -0.5)?.broadcast_sub(&theta["width"].log()?)
    }
}

/// A small model of each kind and likelihood.
pub fn kinds() -> &'static [(&'static str, AnyModel)] {
    static KINDS: OnceLock<Vec<(&'static str, AnyModel)>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let schema = schema();
        let mixed = |covariance, components| {
            let config = MixtureConfig { components, covariance, ..MixtureConfig::default() };
            Mixture::new(&schema, config).expect("a mixture")
        };
        let mixture = |covariance, components| AnyModel::new(mixed(covariance, components));
        let task = |target: usize| Task { target, inputs: (0..5).filter(|cell| *cell != target).collect() };
        let network = |target| {
            let config = NetworkConfig { hidden: vec![3], samples: 2, ..NetworkConfig::default() };
            AnyModel::new(Network::new(&schema, &task(target), config).expect("a network"))
        };
        macro_rules! generalised {
            ($kind:ty, $target:expr) => {
                <$kind>::new(&schema, &task($target), RegressionConfig::default()).expect("a regression")
            };
        }
        let series = ForecastConfig { key: Some("text".into()), max_keys: 4 };
        let forecast = Forecasts::new(&schema, 0, &series).expect("a forecast");
        let regression = LinearRegression::new(&schema, &task(0), RegressionConfig::default()).expect("a regression");
        let vae = VaeConfig { latent: 1, hidden: vec![2], samples: 2, inner_steps: 1, ..VaeConfig::default() };
        let mean_field = MeanFieldConfig { pairs: 1, steps: 2, first_events: 16, scoring_pairs: 2, ..MeanFieldConfig::default() };
        let inferred = Inferred::new(regression.clone(), &schema).expect("a small one");
        let inferred_mixture = Inferred::new(mixed(Covariance::Diagonal, 4), &schema).expect("a small one");
        vec![
            ("mixture", mixture(Covariance::Diagonal, 4)),
            ("mixture-full", mixture(Covariance::Full, 4)),
            ("forecast", AnyModel::new(forecast)),
            ("regression", AnyModel::new(regression)),
            ("inferred", AnyModel::new(inferred)),
            ("inferred-mixture", AnyModel::new(inferred_mixture)),
            ("regression-boolean", AnyModel::new(generalised!(LogisticRegression, 4))),
            ("regression-count", AnyModel::new(generalised!(PoissonRegression, 3))),
            ("regression-category", AnyModel::new(generalised!(SoftmaxRegression, 2))),
            ("network-number", network(0)),
            ("network-category", network(2)),
            ("network-boolean", network(4)),
            ("vae", AnyModel::new(Vae::new(&schema, vae).expect("an autoencoder"))),
            ("mean-field", AnyModel::new(MeanField::new(&schema, Level, mean_field).expect("a mean field"))),
        ]
    })
}

/// Events that are plain, partly missing, and far out.
fn events(from: i64, count: i64) -> Run {
    let mut run = Run::new(Partition(0), Offset(from), schema().width());
    for at in 0..count {
        let (cells, texts) = run.rows.push_missing();
        let x = (at * 7919 % 101) as f64 / 10.0;
        cells[0] = if at % 9 == 8 { 1e9 } else { x };
        cells[1] = if at % 5 == 4 { f64::NAN } else { 3.0 * x - (at % 3) as f64 };
        cells[2] = if at % 7 == 6 { f64::NAN } else { texts.push(["a", "b", "c", "d", "e", ""][at as usize % 6]) as f64 };
        cells[3] = (at % 4) as f64;
        cells[4] = (at % 2) as f64;
        let offset = Offset(from.saturating_add(at));
        run.heads.push(Head { offset, timestamp_ms: (at % 2 == 0).then_some(at * 1000), key: None });
    }
    run.next = Offset(from.saturating_add(count));
    run
}

/// An engine that watches a number that is sometimes missing, and the surprisal.
fn setup() -> Setup {
    let series = |name: &str, cell| Series { name: name.into(), cell };
    let watch = Watch { series: vec![series("number", Some(1)), series("surprisal", None)], ..Watch::default() };
    Setup { watch, ..Setup::default() }
}

/// A snapshot gives evidence that scores and learns without a number that isn't one, or is refused.
pub fn restore(bytes: &[u8]) {
    let Ok(mut snapshot) = wire::decode_snapshot(bytes) else { return };
    for (_, model) in kinds().iter().filter(|(_, model)| model.kind() == snapshot.header.model_kind) {
        // Whoever can forge a snapshot can forge its fingerprint.
        snapshot.header.fingerprint = model.fingerprint();
        let Ok(site) = snapshot.site(model) else { continue };
        let mut engine = Engine::new(model.clone(), &schema(), setup()).expect("the prior is finite");
        let covers_to = site.covers_to;
        if engine.assign(Partition(0), Some(site), Some(covers_to), covers_to).is_err() {
            continue;
        }
        let run = events(covers_to.0, 40);
        // Single precision may give out, which the engine takes for a surprise; double precision may not.
        if !matches!(model.kind(), "neural_network" | "vae") {
            let mut surprisals = Vec::new();
            model.score(engine.posterior(), run.events(), &mut surprisals);
            assert!(surprisals.iter().all(|s| !s.nats.is_nan() && !s.sd.is_nan()), "{}: {surprisals:?}", model.kind());
        }
        let ready = engine.step(vec![run]).expect("in order");
        for (_, _, score) in ready.scores() {
            assert!(!score.surprisal.is_nan() && score.surprisal_sd >= 0.0, "{}: {score:?}", model.kind());
            assert!(score.tail_probability > 0.0 && score.tail_probability <= 1.0, "{}: {score:?}", model.kind());
        }
        ready.advance(true);
        let evidence = engine.evidence();
        let _ = (model.columns(&evidence), model.parts(engine.posterior()), model.divergence(engine.posterior()));
    }
}

/// The chunks of a snapshot of each kind that has learnt so many events.
pub fn snapshots(count: i64, chunk_bytes: usize) -> impl Iterator<Item = (&'static str, Vec<Vec<u8>>)> {
    kinds().iter().map(move |(name, model)| {
        let mut engine = Engine::new(model.clone(), &schema(), setup()).expect("the prior is finite");
        engine.assign(Partition(0), None, None, Offset(0)).expect("a partition begins");
        engine.step(vec![events(0, count)]).expect("in order").advance(true);
        let mut site = engine.sites().next().expect("one site").1.clone();
        // A sketch of two centroids is enough, and short.
        site.calibrator = Calibrator::from_centroids(&[1.0, 9.0], &[3.0, 2.0], (0.5, 11.0)).expect("centroids");
        let header = SnapshotHeader {
            model_id: "m".into(),
            model_kind: model.kind().into(),
            fingerprint: model.fingerprint(),
            topic: "t".into(),
            partition: Partition(0),
            created_ms: 1,
            archive: Vec::new(),
        };
        let messages = wire::encode_snapshot(&header, &site, &model.columns(&site.evidence), chunk_bytes);
        (*name, messages.into_iter().map(|(_, chunk)| chunk).collect())
    })
}
