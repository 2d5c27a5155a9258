//! Simulation-based calibration (Talts et al. 2018): where parameters are drawn from the prior and data from the parameters, the
//! rank of each parameter among draws from its posterior is uniform. With fixed units, so that there is a prior to draw from.

use surprisal::features::Rows;
use surprisal::models::regression::{Predicted, RegressionConfig};
use surprisal::models::{Model, Standard};

use crate::data::{blocks, learn, linear, standards};
use crate::noise::{normal, uniform};

const DIM: usize = 3;
const DRAWS: u64 = 63;
const BINS: usize = 16;
const REPLICATIONS: u64 = 1_600;

/// χ² of ranks over equal bins. With 15 degrees of freedom it is above 37.7 once in a thousand times.
fn chi_squared(ranks: &[u64]) -> f64 {
    let mut counts = [0.0; BINS];
    ranks.iter().for_each(|rank| counts[(*rank as usize) * BINS / (DRAWS as usize + 1)] += 1.0);
    let expected = ranks.len() as f64 / BINS as f64;
    counts.iter().map(|count| (count - expected).powi(2) / expected).sum()
}

/// χ² with `dof` degrees of freedom.
fn square(base: u64, dof: u64) -> f64 {
    (0..dof).map(|i| normal(base + i).powi(2)).sum()
}

/// χ² of the ranks of intercept, coefficients and precision of the noise, where draws from the posterior are `width` times as far
/// from its mean as they should be.
fn statistics(width: f64) -> Vec<f64> {
    let prior_scale = 1.5;
    let unit = |location, scale| Standard { location, scale };
    let config = RegressionConfig {
        prior_scale,
        standards: standards(DIM, unit(10.0, 2.0), unit(-4.0, 3.0)),
        ..RegressionConfig::default()
    };
    let model = linear(DIM, config);
    let mut ranks = vec![Vec::new(); DIM + 2];
    for replication in 1..=REPLICATIONS {
        let base = replication << 24;
        // The prior: 1/σ² ~ Gamma(½, 0.005), α ~ N(0, 10 σ²), β ~ N(0, 2.25 σ²).
        let precision = square(base, 1) / 0.01;
        let sigma = 1.0 / precision.sqrt();
        let mut truth = vec![10_f64.sqrt() * sigma * normal(base + 1)];
        truth.extend((0..DIM as u64).map(|d| prior_scale * sigma * normal(base + 2 + d)));
        truth.push(precision);
        let count = 5 + (uniform(base + 10) * 40.0) as u64;
        let mut cells = Vec::new();
        for event in 0..count {
            let z: Vec<f64> = (0..DIM as u64).map(|d| normal(base + 100 + event * 8 + d)).collect();
            let y =
                truth[0] + z.iter().zip(&truth[1..]).map(|(z, b)| z * b).sum::<f64>() + sigma * normal(base + 107 + event * 8);
            cells.extend(z.into_iter().map(|z| 10.0 + 2.0 * z));
            cells.push(-4.0 + 3.0 * y);
        }
        let evidence = learn(&model, Rows::from_cells(DIM + 1, cells).view(), blocks);
        let posterior = model.posterior(&evidence).unwrap();
        let (shape, rate) = (posterior.precision().shape, posterior.precision().rate);
        let marginals: Vec<Predicted> = [posterior.intercept()].into_iter().chain(posterior.coefficients()).collect();
        assert_eq!(marginals.len(), DIM + 1);
        let mut below = vec![0; DIM + 2];
        for draw in 0..DRAWS {
            let at = base + 10_000 + draw * 200;
            let precision = square(at + 100, (2.0 * shape).round() as u64) / (2.0 * rate);
            for (d, Predicted { mean, variance }) in marginals.iter().enumerate() {
                let value = mean + width * (variance / precision).sqrt() * normal(at + d as u64);
                below[d] += u64::from(value < truth[d]);
            }
            below[DIM + 1] += u64::from(precision < truth[DIM + 1]);
        }
        ranks.iter_mut().zip(below).for_each(|(ranks, below)| ranks.push(below));
    }
    ranks.iter().map(|ranks| chi_squared(ranks)).collect()
}

#[test]
fn parameters_rank_evenly_among_draws_from_their_posterior() {
    let found = statistics(1.0);
    assert!(found.iter().all(|statistic| *statistic < 37.7), "{found:?}");
}

/// The check can fail: a posterior a fifth too narrow, or too wide, is found out by every coefficient.
#[test]
fn a_posterior_of_the_wrong_width_is_found_out() {
    for width in [0.8, 1.2] {
        let found = statistics(width);
        assert!(found[..DIM + 1].iter().all(|statistic| *statistic > 37.7), "{width}: {found:?}");
    }
}
