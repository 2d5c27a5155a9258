//! Simulation-based calibration (Talts et al. 2018) of the conjugate updates: where a parameter is drawn from the prior and data from the
//! parameter, its rank among draws from the posterior is uniform.

use nalgebra::{DMatrix, DVector};

use super::draws::Draws;
use crate::dist::beta::Beta;
use crate::dist::dirichlet::Dirichlet;
use crate::dist::family::ExponentialFamily;
use crate::dist::gamma::Gamma;
use crate::dist::normal_gamma::NormalGamma;
use crate::dist::normal_wishart::NormalWishart;

const DRAWS: usize = 63;
const BINS: usize = 16;
const REPLICATIONS: u64 = 2_000;

/// χ² of the ranks of as many parameters as `replicate` says: each with draws from its posterior. With 15 degrees of freedom it is above
/// 37.7 once in a thousand times.
fn statistics(replicate: impl Fn(&mut Draws) -> Vec<(f64, Vec<f64>)>) -> Vec<f64> {
    let mut counts: Vec<[f64; BINS]> = Vec::new();
    for replication in 0..REPLICATIONS {
        let parameters = replicate(&mut Draws::new((1 << 40) + replication));
        counts.resize(parameters.len(), [0.0; BINS]);
        for (counts, (truth, draws)) in counts.iter_mut().zip(parameters) {
            assert_eq!(draws.len(), DRAWS);
            let rank = draws.iter().filter(|draw| **draw < truth).count();
            counts[rank * BINS / (DRAWS + 1)] += 1.0;
        }
    }
    let expected = REPLICATIONS as f64 / BINS as f64;
    counts.iter().map(|counts| counts.iter().map(|count| (count - expected).powi(2) / expected).sum()).collect()
}

/// Beta by two Gammas, of the posterior with `yes` and `no` counted `times` as often as they came.
fn beta(draws: &mut Draws, times: f64) -> Vec<(f64, Vec<f64>)> {
    let prior = Beta { yes: 1.5, no: 3.0 };
    let draw = |draws: &mut Draws, of: &Beta| draws.dirichlet(&[of.yes, of.no])[0];
    let truth = draw(draws, &prior);
    let yes = (0..30).filter(|_| draws.uniform() < truth).count() as f64;
    let posterior = prior.observe(30.0 * times, yes * times);
    vec![(truth, (0..DRAWS).map(|_| draw(draws, &posterior)).collect())]
}

fn gamma(draws: &mut Draws, times: f64) -> Vec<(f64, Vec<f64>)> {
    let prior = Gamma { shape: 2.0, rate: 0.5 };
    let draw = |draws: &mut Draws, of: &Gamma| draws.gamma(of.shape) / of.rate;
    let truth = draw(draws, &prior);
    // A Poisson count is how many exponential waits fit into a unit of time.
    let count = |draws: &mut Draws| {
        let (mut count, mut time) = (0.0, -draws.uniform().ln() / truth);
        while time < 1.0 {
            (count, time) = (count + 1.0, time - draws.uniform().ln() / truth);
        }
        count
    };
    let sum: f64 = (0..10).map(|_| count(draws)).sum();
    let posterior = prior.observe(10.0 * times, sum * times);
    vec![(truth, (0..DRAWS).map(|_| draw(draws, &posterior)).collect())]
}

/// `τ ~ Gamma(ν/2, ψ/2)`, `μ | τ ~ N(m, 1/κτ)`.
fn normal_gamma(draws: &mut Draws, times: f64) -> Vec<(f64, Vec<f64>)> {
    let prior = NormalGamma { mean: 3.0, strength: 0.5, dof: 5.0, scatter: 4.0 };
    let draw = |draws: &mut Draws, of: &NormalGamma| {
        let precision = draws.gamma(0.5 * of.dof) / (0.5 * of.scatter);
        (of.mean + draws.normal() / (of.strength * precision).sqrt(), precision)
    };
    let (mean, precision) = draw(draws, &prior);
    let x: Vec<f64> = (0..12).map(|_| mean + draws.normal() / precision.sqrt()).collect();
    let centre = x.iter().sum::<f64>() / 12.0;
    let scatter: f64 = x.iter().map(|x| (x - centre).powi(2)).sum();
    let posterior = prior.observe(12.0 * times, centre, scatter * times);
    let (means, precisions) = (0..DRAWS).map(|_| draw(draws, &posterior)).unzip();
    vec![(mean, means), (precision, precisions)]
}

/// Texts of four values, each of which adds to its natural parameter.
fn dirichlet(draws: &mut Draws, times: f64) -> Vec<(f64, Vec<f64>)> {
    let prior = Dirichlet { concentrations: vec![0.7, 1.0, 2.5, 4.0] };
    let truth = draws.dirichlet(&prior.concentrations);
    let mut natural = prior.to_natural();
    for _ in 0..40 {
        let (mut value, mut rest) = (0, draws.uniform());
        while value < 3 && rest > truth[value] {
            (value, rest) = (value + 1, rest - truth[value]);
        }
        natural[value] += times;
    }
    let posterior = Dirichlet::from_natural(natural).unwrap();
    let from: Vec<Vec<f64>> = (0..DRAWS).map(|_| draws.dirichlet(&posterior.concentrations)).collect();
    truth.into_iter().enumerate().map(|(value, truth)| (truth, from.iter().map(|draw| draw[value]).collect())).collect()
}

/// `Λ ~ Wishart(ν, Ψ⁻¹)`, `μ | Λ ~ N(m, (κΛ)⁻¹)` in two dimensions: both means, both variances, and the correlation.
fn normal_wishart(draws: &mut Draws, times: f64) -> Vec<(f64, Vec<f64>)> {
    let scatter = DMatrix::from_row_slice(2, 2, &[4.0, 1.5, 1.5, 3.0]);
    let prior = NormalWishart { mean: DVector::from_vec(vec![3.0, -1.0]), strength: 0.5, dof: 6.0, scatter };
    // μ, and a root S of the covariance: `Λ⁻¹ = S Sᵀ` with `S = L R⁻ᵀ`, where `Ψ = L Lᵀ` and `R Rᵀ ~ Wishart(ν, identity)`.
    let draw = |draws: &mut Draws, of: &NormalWishart| {
        let lower = of.scatter.clone().cholesky().unwrap().l();
        let root = lower * draws.wishart_root(of.dof, 2).transpose().try_inverse().unwrap();
        (&of.mean + &root * draws.normals(2) / of.strength.sqrt(), root)
    };
    let told = |(mean, root): (DVector<f64>, DMatrix<f64>)| {
        let covariance = &root * root.transpose();
        let [a, b] = [0, 1].map(|i| covariance[(i, i)]);
        [mean[0], mean[1], a, b, covariance[(0, 1)] / (a * b).sqrt()]
    };
    let (mean, root) = draw(draws, &prior);
    let x: Vec<DVector<f64>> = (0..12).map(|_| &mean + &root * draws.normals(2)).collect();
    let centre = x.iter().sum::<DVector<f64>>() / 12.0;
    let scatter = x.iter().map(|x| (x - &centre) * (x - &centre).transpose()).sum::<DMatrix<f64>>();
    let posterior = prior.observe(12.0 * times, &centre, &(scatter * times));
    let from: Vec<[f64; 5]> = (0..DRAWS).map(|_| told(draw(draws, &posterior))).collect();
    told((mean, root)).into_iter().enumerate().map(|(at, truth)| (truth, from.iter().map(|draw| draw[at]).collect())).collect()
}

/// And where events are counted twice, the posterior is too narrow, and that is found out.
#[test]
fn parameters_rank_evenly_among_draws_from_their_posterior() {
    for replicate in [beta, gamma, normal_gamma, dirichlet, normal_wishart] {
        let found = statistics(|draws| replicate(draws, 1.0));
        assert!(found.iter().all(|statistic| *statistic < 37.7), "{found:?}");
        let twice = statistics(|draws| replicate(draws, 2.0));
        assert!(twice.iter().all(|statistic| *statistic > 37.7), "{twice:?}");
    }
}
