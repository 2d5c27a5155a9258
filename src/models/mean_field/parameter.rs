//! What a parameter is: its name and length, where its values can lie, and its prior.

/// Where a parameter's values lie, and the unconstrained scale η on which its prior and posterior are Gaussian. Nobody needs the
/// Jacobian, because both densities are on that scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The real line: θ = η.
    Real,
    /// Above 0: θ = exp η.
    Positive,
    /// Between 0 and 1: θ = 1/(1 + exp(−η)).
    Unit,
}

impl Support {
    /// θ of η.
    pub fn from_unconstrained(self, value: f64) -> f64 {
        match self {
            Self::Real => value,
            Self::Positive => value.exp(),
            Self::Unit => 1.0 / (1.0 + (-value).exp()),
        }
    }

    /// Whether θ of η is a number that lies there: `exp η` can be 0 or infinite.
    pub(super) fn reaches(self, value: f64) -> bool {
        let found = self.from_unconstrained(value);
        found.is_finite() && (self != Self::Positive || found > 0.0)
    }

    /// η of θ.
    pub fn to_unconstrained(self, value: f64) -> f64 {
        match self {
            Self::Real => value,
            Self::Positive => value.ln(),
            Self::Unit => (value / (1.0 - value)).ln(),
        }
    }
}

/// A parameter: so many values with one prior each, `η ~ N(η(median), sd²)` independently.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Unique name.
    pub name: String,
    /// How many values.
    pub length: usize,
    /// Where they lie.
    pub support: Support,
    /// The prior's median, a value of θ.
    pub median: f64,
    /// The prior's standard deviation on the unconstrained scale.
    pub sd: f64,
}

impl Parameter {
    /// `length` real values, `θ ~ N(mean, sd²)`.
    pub fn real(name: &str, length: usize, mean: f64, sd: f64) -> Self {
        Self { name: name.into(), length, support: Support::Real, median: mean, sd }
    }

    /// `length` positive values, `ln θ ~ N(ln median, sd²)`.
    pub fn positive(name: &str, length: usize, median: f64, sd: f64) -> Self {
        Self { name: name.into(), length, support: Support::Positive, median, sd }
    }

    /// `length` values between 0 and 1, `logit θ ~ N(logit median, sd²)`.
    pub fn unit(name: &str, length: usize, median: f64, sd: f64) -> Self {
        Self { name: name.into(), length, support: Support::Unit, median, sd }
    }

    /// What is wrong with it, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        if self.length == 0 {
            return Some("its length is 0; it must be at least 1".into());
        }
        if !(self.sd.is_finite() && self.sd > 0.0) {
            return Some(format!("the prior's sd is {}; it must be above 0", self.sd));
        }
        let centre = self.support.to_unconstrained(self.median);
        let expected = match self.support {
            Support::Real => "finite",
            Support::Positive => "above 0",
            Support::Unit => "between 0 and 1",
        };
        (!centre.is_finite()).then(|| format!("the prior's median is {}; it must be {expected}", self.median))
    }
}

/// An estimate for people: the median and the central 95 % of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The 2.5 % quantile.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

/// Standard normal's 97.5 % quantile.
const CENTRAL: f64 = 1.959_963_984_540_054;

impl Estimate {
    /// Of a parameter with η ~ N(mean, sd²).
    pub(super) fn new(support: Support, mean: f64, sd: f64) -> Self {
        let at = |quantile: f64| support.from_unconstrained(mean + quantile * sd);
        Self { median: at(0.0), low: at(-CENTRAL), high: at(CENTRAL) }
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} ({:.4} to {:.4})", self.median, self.low, self.high)
    }
}
