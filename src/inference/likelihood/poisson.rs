//! Counts, with the logarithm of their rate as predictor: `p(y | η) = exp(y η − e^η) / y!`.

use super::{Likelihood, LogLikelihood, Predictive};
use crate::dist::special::{LN_TAU, ln_gamma};

/// y is a whole number, 0 or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poisson;

/// The greatest exponent taken: rates stay below 1e87, so that their powers and sums of them are numbers.
const MOST: f64 = 200.0;

/// `e^x`, held below 1e87.
fn rate(x: f64) -> f64 {
    x.min(MOST).exp()
}

impl Likelihood for Poisson {
    fn at(self, y: f64, eta: f64) -> LogLikelihood {
        let rate = rate(eta);
        LogLikelihood { value: y * eta - rate - ln_gamma(y + 1.0), gradient: y - rate, precision: rate }
    }

    /// In closed form: `E e^η = exp(m + s²/2)`.
    fn expected(self, y: f64, mean: f64, variance: f64) -> LogLikelihood {
        let rate = rate(mean + 0.5 * variance);
        LogLikelihood { value: y * mean - rate - ln_gamma(y + 1.0), gradient: y - rate, precision: rate }
    }

    /// The density by quadrature, to 1e-9; the variance of ln p in closed form, `s² (y − r)² + r² (e^(s²) − 1 − s²)` with
    /// `r = exp(m + s²/2)`.
    fn predictive(self, y: f64, mean: f64, variance: f64) -> Predictive {
        let r = rate(mean + 0.5 * variance);
        let excess = if variance < 1e-3 {
            variance * variance * (0.5 + variance * (1.0 / 6.0 + variance / 24.0))
        } else {
            rate(variance) - 1.0 - variance
        };
        let sd = (variance * (y - r).powi(2) + r * r * excess).sqrt();
        Predictive { log_density: ln_expected_kernel(y, mean, variance) - ln_gamma(y + 1.0), sd }
    }
}

/// `ln E exp(y η − e^η)` under `N(mean, variance)`: the trapezoidal rule in `z = (η − m) / s` outward from the integrand's mode, in
/// steps that are small against its width and against the strip where it is bounded.
fn ln_expected_kernel(y: f64, mean: f64, variance: f64) -> f64 {
    let sd = variance.sqrt();
    let at = |z: f64| y * (mean + sd * z) - rate(mean + sd * z) - 0.5 * z * z;
    if variance == 0.0 {
        return at(0.0);
    }
    // The mode has y − e^η = z / s; so u = s² e^η has u + ln u = m + s² y + ln s².
    let u = wright_omega(mean + variance * y + variance.ln());
    let mode = (variance * y - u) / sd;
    let step = (0.7 / (1.0 + u).sqrt()).min(0.3 / sd);
    let (peak, mut sum) = (at(mode), 1.0);
    for direction in [-step, step] {
        for distance in 1..MOST_STEPS {
            let term = (at(mode + direction * f64::from(distance)) - peak).exp();
            sum += term;
            if term < 1e-14 {
                break;
            }
        }
    }
    peak + (sum * step).ln() - 0.5 * LN_TAU
}

/// Enough for an sd of a hundred.
const MOST_STEPS: u32 = 2000;

/// The u with `u + ln u = c` (Corless & Jeffrey 2002), by Newton's method on whichever of u and ln u is nearly linear in c.
fn wright_omega(c: f64) -> f64 {
    if c > 1.0 {
        let mut u = c - c.ln();
        for _ in 0..4 {
            u *= (1.0 + c - u.ln()) / (1.0 + u);
        }
        u
    } else {
        let mut logarithm = c;
        for _ in 0..6 {
            let u = logarithm.exp();
            logarithm -= (logarithm + u - c) / (1.0 + u);
        }
        logarithm.exp()
    }
}
