//! The regressions on every device that there is, candle's of the processor among them, are those by the processor's own code.

use candle_core::Device;
use surprisal::features::{Kind, Rows};
use surprisal::models::inferred::USUAL_BLOCK;
use surprisal::models::regression::glm::PseudoPosterior;
use surprisal::models::regression::linear::LinearPosterior;
use surprisal::models::regression::{
    Coefficients, LinearRegression, LogisticRegression, PoissonRegression, Predicted, RegressionConfig, SoftmaxRegression,
};
use surprisal::models::{Inferred, Model, Surprisal};

use crate::data::{assert_close, blocks, discrete, linear, logistic, named, poisson, prequential, rows, schema, softmax};

const DIM: usize = 5;
const EVENTS: usize = 600;

/// Devices that this build and machine have.
pub fn devices() -> Vec<Device> {
    [Ok(Device::Cpu), Device::new_cuda(0)].into_iter().flatten().collect()
}

fn assert_same(found: &[Surprisal], expected: &[Surprisal]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_close(found.nats, expected.nats, 1e-9);
        assert_close(found.sd, expected.sd, 1e-9);
    }
}

/// Scores before learning, and the coefficients in the end.
fn agree<M: Model>(model: M, on: impl Fn(M, Device) -> M, rows: &Rows, coefficients: impl Fn(&M::Posterior) -> Vec<Predicted>) {
    let run = |model: &M| {
        let (surprisals, evidence) = prequential(model, rows.view(), blocks);
        (surprisals, coefficients(&model.posterior(&evidence).unwrap()))
    };
    let (surprisals, expected) = run(&model);
    assert!(expected.len() > 2 * DIM, "gaps have a say");
    for device in devices() {
        let (found, coefficients) = run(&on(model.clone(), device));
        assert_same(&found, &surprisals);
        for (found, expected) in coefficients.iter().zip(&expected) {
            assert_close(found.mean, expected.mean, 1e-9);
            assert_close(found.variance, expected.variance, 1e-9);
        }
    }
}

fn of_linear(posterior: &LinearPosterior) -> Vec<Predicted> {
    let noise = Predicted { mean: posterior.precision().shape, variance: posterior.precision().rate };
    [noise, posterior.intercept()].into_iter().chain(posterior.coefficients()).collect()
}

fn of_others<C: Coefficients>(posterior: &PseudoPosterior<C>) -> Vec<Predicted> {
    posterior.coefficients().concat()
}

#[test]
fn every_regression_is_the_same_on_every_device() {
    let (config, all) = (RegressionConfig::default(), rows(EVENTS, DIM, 0.1, 71));
    agree(linear(DIM, config.clone()), LinearRegression::on, &all, of_linear);
    let (yes, counts) = (discrete(&all, false, 71), discrete(&all, true, 71));
    agree(logistic(DIM, config.clone()), LogisticRegression::on, &yes, of_others);
    agree(poisson(DIM, config.clone()), PoissonRegression::on, &counts, of_others);
    let few = counts.view().cells().iter().enumerate().map(|(at, x)| if at % (DIM + 1) == DIM { x.min(2.0) } else { *x });
    let classes = named(&Rows::from_cells(DIM + 1, few.collect()), &["none", "one", "more"]);
    agree(softmax(DIM, 3, config), SoftmaxRegression::on, &classes, of_others);
}

/// A regression whose half-life is inferred is on the device as often as it has members.
#[test]
fn what_remembers_by_several_half_lives_is_the_same_on_every_device() {
    let (schema, _) = schema(&[Kind::Number; DIM], Kind::Number);
    let (model, all) = (linear(DIM, RegressionConfig::default()), rows(200, DIM, 0.1, 72));
    let run = |model: LinearRegression| prequential(&Inferred::new(model, &schema).unwrap(), all.view(), |_| USUAL_BLOCK).0;
    let expected = run(model.clone());
    devices().into_iter().for_each(|device| assert_same(&run(model.clone().on(device)), &expected));
}
