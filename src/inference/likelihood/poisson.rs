//! Counts, with the logarithm of their rate as predictor: `p(y | η) = exp(y η − e^η) / y!`.

use super::{Likelihood, LogLikelihood, Predictive};
use crate::dist::special::{LN_TAU, ln_gamma, stirling_error};

/// y is a whole number, 0 or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poisson;

/// The greatest exponent taken: rates stay below 1e87, so that their powers and sums of them are numbers.
const MOST: f64 = 200.0;

/// `e^x`, held below 1e87; what is not a number stays so.
fn rate(x: f64) -> f64 {
    if x > MOST { MOST.exp() } else { x.exp() }
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
        let sd = (variance.sqrt() * (y - r)).hypot(r * rise(variance.min(MOST)).sqrt());
        Predictive { log_density: ln_expected_mass(y, mean, variance), sd: sd.min(f64::MAX) }
    }
}

/// `e^t − 1 − t`, without cancellation near 0.
fn rise(t: f64) -> f64 {
    if t.abs() < 0.02 {
        t * t * (0.5 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0 + t * (1.0 / 720.0 + t / 5040.0)))))
    } else {
        t.exp_m1() - t
    }
}

/// `ln E exp(y η − e^η) / y!` under `N(mean, variance)`: the trapezoidal rule outward from the integrand's mode, in steps that are small
/// against its width and against the strip where it is bounded.
///
/// With `t = η − ln y` the mass is `exp(−y (e^t − 1 − t))` and a factor without t, where nothing cancels however large y is
/// (Loader 2000).
fn ln_expected_mass(y: f64, mean: f64, variance: f64) -> f64 {
    let y = y.min(MOST_COUNT);
    let (sd, offset) = (variance.sqrt(), if y > 0.0 { y.ln() } else { 0.0 });
    let outside = if y > 0.0 { stirling_error(y) + 0.5 * (LN_TAU + offset) } else { 0.0 };
    let mean = mean - offset;
    let mass = |t: f64| if y > 0.0 { -y * rise(t) } else { -t.exp() };
    if variance == 0.0 {
        return mass(mean) - outside;
    }
    // The mode has y − e^η = (η − m) / s²; so u = s² e^η has u + ln u = m + s² y + ln s².
    let u = wright_omega(mean + offset + variance * y + variance.ln());
    let away = if u > 1.0 { u.ln() - variance.ln() - offset - mean } else { variance * y - u };
    let z = away / sd;
    let peak = mass(mean + away) - 0.5 * z * z;
    // About the mode the integrand falls as exp(−u/s² (e^(s d) − 1 − s d) − d²/2), d being the distance in units of s.
    // Far to the right it is e^η alone, where u may be too small for a number.
    let mode = mean + offset + away;
    let fall = |x: f64| if x > 500.0 { (mode + x).exp() } else { u / variance * rise(x) };
    let step = (0.7 / (1.0 + u).sqrt()).min(0.3 / sd);
    let mut sum = 1.0;
    for direction in [-step, step] {
        for count in 1..MOST_STEPS {
            let distance = direction * f64::from(count);
            let term = (-fall(sd * distance) - 0.5 * distance * distance).exp();
            sum += term;
            if term < 1e-14 {
                break;
            }
        }
    }
    peak + (sum * step).ln() - 0.5 * LN_TAU - outside
}

/// Larger counts are taken for this one, lest products of theirs overflow.
const MOST_COUNT: f64 = 1e290;

/// Eight standard deviations of the widest predictor that is asked about, whose sd is a thousand.
const MOST_STEPS: u32 = 30_000;

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
