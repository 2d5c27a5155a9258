//! Mean parameters back to ordinary ones, where that takes Newton's method: digamma turned around.
//!
//! Each problem is one falling function of the logarithm of one unknown, nearly straight where it is written on a logarithmic scale
//! too, so that a handful of steps from a rough start are enough. A bracket guards them.

use std::f64::consts::LN_2;

use super::special::{digamma, ln_minus_digamma, trigamma};

/// Steps after which there is no root to be found.
const STEPS: usize = 200;

/// The root of a falling function, given its value and slope, from `start`.
pub fn falling_root(start: f64, function: impl Fn(f64) -> (f64, f64)) -> Option<f64> {
    falling_root_between(start, (f64::NEG_INFINITY, f64::INFINITY), function)
}

/// The same, where the root is known to lie between two numbers.
pub fn falling_root_between(start: f64, (mut low, mut high): (f64, f64), function: impl Fn(f64) -> (f64, f64)) -> Option<f64> {
    let mut at = start;
    for _ in 0..STEPS {
        let (value, slope) = function(at);
        match value {
            _ if value > 0.0 => low = at,
            _ if value < 0.0 => high = at,
            _ if value == 0.0 => return Some(at),
            _ => return None,
        }
        let mut next = at - value / slope;
        if !(slope < 0.0 && next > low && next < high) {
            next = match (low.is_finite(), high.is_finite()) {
                (true, true) => 0.5 * (low + high),
                (true, false) => low + LN_2,
                _ => high - LN_2,
            };
        }
        if (next - at).abs() <= 2.0 * f64::EPSILON * at.abs().max(1.0) {
            return Some(next);
        }
        at = next;
    }
    None
}

/// `ψ₀⁻¹(y)`: the x > 0 with `ψ₀(x) = y` (Minka 2000, "Estimating a Dirichlet distribution", appendix C).
pub fn inverse_digamma(y: f64) -> f64 {
    let mut x = if y > -2.22 { y.exp() + 0.5 } else { -1.0 / (y - digamma(1.0)) };
    // Quadratic from a start that is right to a tenth or so.
    for _ in 0..6 {
        let step = (digamma(x) - y) / trigamma(x);
        x = if step < x { x - step } else { 0.5 * x };
        if step.abs() <= 1e-9 * x {
            break;
        }
    }
    x
}

/// The shape a of a Gamma for which `ln E λ − E ln λ = ln a − ψ₀(a)` is `gap`; none where that isn't positive.
pub fn gamma_shape(gap: f64) -> Option<f64> {
    wishart_dof(gap, 1).map(|dof| 0.5 * dof)
}

/// The degrees of freedom ν > dim − 1 of a Wishart for which `ln|E Λ| − E ln|Λ| = Σ_i ln(ν/2) − ψ₀((ν − i)/2)`, i from 0, is `gap`;
/// none where that isn't positive.
pub fn wishart_dof(gap: f64, dim: usize) -> Option<f64> {
    if !(gap > 0.0 && gap < f64::INFINITY) {
        return None;
    }
    let least = dim as f64 - 1.0;
    // With u = ln(ν − dim + 1): ln Σ … − ln gap, whose slope is about −1 at both ends.
    let root = falling_root((0.5 * dim as f64 * (dim as f64 + 1.0) / gap).ln(), |u| {
        let x = u.exp();
        let dof = x + least;
        let (mut sum, mut slope) = (0.0, 0.0);
        for i in 0..dim {
            // (ν − i)/2, without taking away what was added.
            let half = 0.5 * (x + (least - i as f64));
            sum += ln_minus_digamma(half) - (-(i as f64) / dof).ln_1p();
            slope += 1.0 / dof - 0.5 * trigamma(half);
        }
        (sum.ln() - gap.ln(), slope * x / sum)
    })?;
    let dof = root.exp() + least;
    dof.is_finite().then_some(dof)
}

/// The concentrations a of a Dirichlet with `E ln θ_i = ψ₀(a_i) − ψ₀(Σ a)` given, for two values or more; none where there are none.
///
/// With the sum S of all, each is `ψ₀⁻¹(E ln θ_i + ψ₀(S))`; S is where they add up to it.
pub fn dirichlet_concentrations(expected_ln: &[f64]) -> Option<Vec<f64>> {
    // By Jensen's inequality the exponentials of E ln θ add up to less than E Σ θ = 1.
    let below: f64 = expected_ln.iter().map(|ln| ln.exp()).sum();
    if expected_ln.len() < 2 || below >= 1.0 || expected_ln.iter().any(|ln| !ln.is_finite()) {
        return None;
    }
    let concentrations = |sum: f64| {
        let level = digamma(sum);
        expected_ln.iter().map(move |ln| inverse_digamma(ln + level))
    };
    // For large S the concentrations are S exp(E ln θ) + ½, all but a half in all.
    let start = (0.5 * (expected_ln.len() as f64 - 1.0) / (1.0 - below)).ln();
    let root = falling_root(start, |u| {
        let sum = u.exp();
        let (mut reached, mut rise) = (0.0, 0.0);
        for concentration in concentrations(sum) {
            reached += concentration;
            rise += 1.0 / trigamma(concentration);
        }
        ((reached / sum).ln(), sum * trigamma(sum) * rise / reached - 1.0)
    })?;
    Some(concentrations(root.exp()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_is_turned_around() {
        for x in (-200..300).map(|i| (f64::from(i) * 0.1).exp()) {
            let back = inverse_digamma(digamma(x));
            // ψ₀ is flat where x is large: an ulp of it is many of x.
            let condition = digamma(x).abs().max(1.0) / (x * trigamma(x));
            assert!((back / x - 1.0).abs() < 4e-16 * condition.max(10.0), "{x}: {back}");
        }
    }

    #[test]
    fn degrees_of_freedom_are_found_at_any_size() {
        for dim in [1, 2, 7, 40] {
            for x in (-100..200).map(|i| (f64::from(i) * 0.1).exp()) {
                let dof = dim as f64 - 1.0 + x;
                let gap = (0..dim).map(|i| {
                    let half = 0.5 * (x + (dim - 1 - i) as f64);
                    ln_minus_digamma(half) - (-(i as f64) / dof).ln_1p()
                });
                let found = wishart_dof(gap.sum(), dim).expect("a root");
                assert!((found / dof - 1.0).abs() < 1e-12, "{dim}, {dof}: {found}");
            }
        }
        assert_eq!(gamma_shape(0.0), None);
        assert_eq!(gamma_shape(-1.0), None);
        assert_eq!(gamma_shape(f64::NAN), None);
    }

    #[test]
    fn what_no_dirichlet_expects_is_refused() {
        assert_eq!(dirichlet_concentrations(&[-0.5, -0.9]), None);
        assert_eq!(dirichlet_concentrations(&[-1.0, f64::NEG_INFINITY]), None);
        assert_eq!(dirichlet_concentrations(&[-1.0]), None);
    }

    #[test]
    fn a_function_without_a_root_has_none() {
        assert_eq!(falling_root(0.0, |x| (1.0 + (-x).exp(), -(-x).exp())), None);
        assert_eq!(falling_root(0.0, |_| (f64::NAN, -1.0)), None);
        let root = falling_root(5.0, |x| (-(x + 3.0).powi(3), -3.0 * (x + 3.0).powi(2)));
        assert!((root.expect("a root") + 3.0).abs() < 1e-4);
    }
}
