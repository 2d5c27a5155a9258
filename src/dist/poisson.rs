//! The Poisson family: how many events come.
//!
//! `p(x) = exp(ηx − e^η) / x!`, where η is `ln λ`, the logarithm of the rate.

use super::family::{ExponentialFamily, NoMember};
use super::special::{deviance, ln_gamma};

/// A Poisson distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Poisson {
    /// λ.
    pub rate: f64,
}

impl Poisson {
    /// `x ln λ − λ − ln x!`.
    pub fn log_mass(self, x: f64) -> f64 {
        x * self.rate.ln() - self.rate - ln_gamma(x + 1.0)
    }
}

/// With `ln λ` for the statistic x about the base measure `1/x!`.
impl ExponentialFamily for Poisson {
    type Parameters = [f64; 1];

    fn to_natural(&self) -> [f64; 1] {
        [self.rate.ln()]
    }

    fn from_natural([ln_rate]: [f64; 1]) -> Result<Self, NoMember> {
        Self::from_mean([ln_rate.exp()])
    }

    /// λ.
    fn to_mean(&self) -> [f64; 1] {
        [self.rate]
    }

    fn from_mean([rate]: [f64; 1]) -> Result<Self, NoMember> {
        Ok(Self { rate: NoMember::unless_positive("Poisson", "the rate", rate)? })
    }

    /// `A = e^η`.
    fn log_normaliser(&self) -> f64 {
        self.rate
    }

    /// `λ ln(λ/λ') + λ' − λ`.
    fn kl(&self, other: &Self) -> f64 {
        deviance(self.rate, other.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::assert_close;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parameters_go_round(ln_rate in -30.0..30.0f64) {
            let member = Poisson { rate: ln_rate.exp() };
            // An ulp of 1 in ln λ is one of λ.
            oracle::natural_parameters_go_round(&member, &[ln_rate.abs().max(1.0)]);
            oracle::mean_parameters_go_round(&member, &member.to_mean());
            oracle::mean_is_the_gradient(&member, &[0.1]);
        }

        #[test]
        fn kl_is_not_negative(q in -30.0..30.0f64, p in -30.0..30.0f64) {
            oracle::kl_is_not_negative(&Poisson { rate: q.exp() }, &Poisson { rate: p.exp() });
        }
    }

    #[test]
    fn draws_agree() {
        let (q, p) = (Poisson { rate: 3.5 }, Poisson { rate: 2.2 });
        oracle::draws_agree(&q, &p, 100_000, |index| {
            // How many exponential gaps fit into one unit of time.
            let mut draws = Draws::new(index);
            let (mut time, mut events) = (-draws.uniform().ln() / q.rate, 0.0);
            while time < 1.0 {
                (time, events) = (time - draws.uniform().ln() / q.rate, events + 1.0);
            }
            [events]
        });
    }

    #[test]
    fn masses_add_up_to_one() {
        let member = Poisson { rate: 7.3 };
        assert_close((0..200).map(|x| member.log_mass(f64::from(x)).exp()).sum(), 1.0, 1e-13);
        assert!(Poisson::from_natural([800.0]).is_err() && Poisson::from_natural([f64::NAN]).is_err());
    }
}
