//! Student's t with a location and a scale: the predictive of a normal whose mean and variance are learnt.

use std::f64::consts::PI;

use super::solve::falling_root;
use super::special::ln_gamma_half_step;

/// Distances from the location beyond which a number counts as being there, in scales: its square is still a number.
const FARTHEST: f64 = 1e150;

/// Terms of the continued fraction at most; it needs a few dozens.
const TERMS: u32 = 10_000;

/// `location + scale · t`, where t has Student's distribution with `dof` degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Student {
    /// ν, degrees of freedom.
    pub dof: f64,
    /// Median, and mean where ν > 1.
    pub location: f64,
    /// The unit of distances from it.
    pub scale: f64,
    /// `ln Γ((ν + 1)/2) − ln Γ(ν/2)`.
    half_step: f64,
}

impl Student {
    /// That with these parameters, `dof` and `scale` above 0.
    pub fn new(dof: f64, location: f64, scale: f64) -> Self {
        Self { dof, location, scale, half_step: ln_gamma_half_step(0.5 * dof) }
    }

    /// That with the same degrees of freedom at another place.
    pub fn placed(self, location: f64, scale: f64) -> Self {
        Self { location, scale, ..self }
    }

    /// `(x − location) / scale`.
    pub fn standardised(&self, x: f64) -> f64 {
        ((x - self.location) / self.scale).clamp(-FARTHEST, FARTHEST)
    }

    /// `ln p(x) = ln Γ((ν + 1)/2) − ln Γ(ν/2) − ½ ln(νπ) − ln scale − ½ (ν + 1) ln(1 + t²/ν)`.
    pub fn ln_density(&self, x: f64) -> f64 {
        let t = self.standardised(x);
        let tail = (t * t / self.dof).ln_1p();
        self.half_step - 0.5 * (self.dof * PI).ln() - self.scale.ln() - 0.5 * (self.dof + 1.0) * tail
    }

    /// `P(X ≤ x)` and `P(X > x)`, each to 1e-13 of itself: the smaller is `½ I_{ν/(ν + t²)}(ν/2, ½)`.
    pub fn tails(&self, x: f64) -> (f64, f64) {
        let t = self.standardised(x);
        let outer = self.outer(t);
        if t < 0.0 { (outer, 1.0 - outer) } else { (1.0 - outer, outer) }
    }

    /// The number that is exceeded with the probability `tail`, at most a half.
    pub fn upper_quantile(&self, tail: f64) -> Option<f64> {
        let standard = self.placed(0.0, 1.0);
        let root = falling_root(1.0, |t| {
            let beyond = standard.tails(t).1;
            ((beyond / tail).ln(), -standard.ln_density(t).exp() / beyond)
        })?;
        Some(self.location + self.scale * root)
    }

    /// `P(T > |t|)`.
    fn outer(&self, t: f64) -> f64 {
        let (a, square) = (0.5 * self.dof, t * t);
        let (near, far) = (self.dof / (self.dof + square), square / (self.dof + square));
        // x^a (1 − x)^½ / B(a, ½) at x = ν/(ν + t²).
        let front = (self.half_step - 0.5 * PI.ln() - a * (square / self.dof).ln_1p()).exp() * far.sqrt();
        if near < (a + 1.0) / (a + 2.5) { 0.5 * front * fraction(a, 0.5, near) / a } else { 0.5 - front * fraction(0.5, a, far) }
    }
}

/// The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22): `I_x(a, b) = x^a (1 − x)^b / (a B(a, b))`
/// times it, for `x < (a + 1)/(a + b + 2)`.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let guarded = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    for m in 1..TERMS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut last = 1.0;
        for term in [even, odd] {
            d = 1.0 / guarded(1.0 + term * d);
            c = guarded(1.0 + term / c);
            last = c * d;
            product *= last;
        }
        if (last - 1.0).abs() < 4.0 * f64::EPSILON {
            break;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distribution functions that are elementary: ν = 1, 2 and 4.
    #[test]
    fn tails_agree_with_closed_forms() {
        for t in [-1e6, -40.0, -3.0, -1.7, -0.5, -1e-3, 0.0, 1e-9, 0.2, 1.0, 1.73, 2.5, 30.0, 1e5_f64] {
            let cauchy = 0.5 - t.abs().atan() / PI;
            let two = 1.0 / (2.0 + t * t + t.abs() * (2.0 + t * t).sqrt());
            let root = (4.0 + t * t).sqrt();
            let four = 0.5 - 0.5 * t.abs() * (6.0 + t * t) / root.powi(3);
            for (dof, outer, tolerance) in [(1.0, cauchy, 1e-10), (2.0, two, 1e-13), (4.0, four, 1e-9)] {
                let (lower, upper) = Student::new(dof, 5.0, 2.0).tails(5.0 + 2.0 * t);
                let found = if t < 0.0 { lower } else { upper };
                // The closed forms lose digits far out.
                assert!((found - outer).abs() < tolerance * outer + 2e-16, "ν = {dof}, t = {t}: {found}, expected {outer}");
                assert!((lower + upper - 1.0).abs() < 1e-15);
            }
        }
    }

    /// References by mpmath with 60 digits.
    #[test]
    fn tails_keep_their_digits() {
        for (dof, t, reference) in REFERENCES {
            let upper = Student::new(dof, 0.0, 1.0).tails(t).1;
            assert!((upper / reference - 1.0).abs() < 1e-12, "ν = {dof}, t = {t}: {upper}, expected {reference}");
            if reference < 0.5 {
                let found = Student::new(dof, 3.0, 2.0).upper_quantile(reference).expect("a root");
                assert!((found - 3.0 - 2.0 * t).abs() < 1e-10 * t, "ν = {dof}, {reference}: {found}");
            }
        }
    }

    /// ν, t and P(T > t).
    const REFERENCES: [(f64, f64, f64); 11] = [
        (2.5, 0.1, 0.463_903_272_031_244_8),
        (2.5, 10_000.0, 7.193_397_015_992_212e-11),
        (7.0, 1.7, 0.066_464_448_391_277_63),
        (51.0, -2.0, 0.974_580_291_695_128_8),
        (51.0, 3.0, 0.002_084_491_259_148_024_6),
        (501.0, 1.732, 0.041_944_530_100_766_84),
        (501.0, 6.0, 1.892_863_259_686_676e-9),
        (23_000.0, 0.01, 0.496_010_687_050_592_04),
        (23_000.0, 1.7, 0.044_572_223_036_083_57),
        (23_000.0, 9.0, 1.213_930_887_650_841_4e-19),
        (23_000.0, 25.0, 2.005_912_066_115_054_7e-136),
    ];

    #[test]
    fn density_is_the_slope_of_the_distribution() {
        for dof in [2.0, 3.7, 51.0, 23_000.0] {
            let student = Student::new(dof, -3.0, 0.25);
            for x in [-4.0, -3.1, -3.0, -2.5, -2.0] {
                let h = 1e-5;
                let slope = (student.tails(x + h).0 - student.tails(x - h).0) / (2.0 * h);
                assert!((student.ln_density(x).exp() / slope - 1.0).abs() < 1e-6, "ν = {dof}, x = {x}");
            }
        }
    }
}
