//! The Bernoulli family: whether something is true.
//!
//! `p(x) = exp(ηx) / (1 + exp(η))` for x of 0 and 1, where η is the logit `ln(p/(1 − p))`.

use super::family::{ExponentialFamily, NoMember};
use super::special::deviance;

/// A Bernoulli distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bernoulli {
    /// η.
    pub logit: f64,
}

/// `1 / (1 + exp(−x))`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + exp(x))`.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// With the logit for the statistic x.
impl ExponentialFamily for Bernoulli {
    type Parameters = [f64; 1];

    fn to_natural(&self) -> [f64; 1] {
        [self.logit]
    }

    fn from_natural([logit]: [f64; 1]) -> Result<Self, NoMember> {
        Ok(Self { logit: NoMember::unless_finite("Bernoulli", "the logit", logit)? })
    }

    /// The probability of true.
    fn to_mean(&self) -> [f64; 1] {
        [sigmoid(self.logit)]
    }

    fn from_mean([p]: [f64; 1]) -> Result<Self, NoMember> {
        NoMember::unless(p > 0.0 && p < 1.0, "Bernoulli", "the probability", p)?;
        Ok(Self { logit: p.ln() - (-p).ln_1p() })
    }

    /// `A = ln(1 + exp(η))`.
    fn log_normaliser(&self) -> f64 {
        softplus(self.logit)
    }

    /// `p ln(p/p') + (1 − p) ln((1 − p)/(1 − p'))`.
    fn kl(&self, other: &Self) -> f64 {
        // The logits say more than probabilities that are next to 0 or 1.
        let side = |own: f64, other: f64| {
            let (p, q) = (sigmoid(own), sigmoid(other));
            if p == 0.0 || !q.is_normal() { p * (softplus(-other) - softplus(-own)) + q - p } else { deviance(p, q) }
        };
        side(self.logit, other.logit) + side(-self.logit, -other.logit)
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
        fn parameters_go_round(logit in -300.0..300.0f64) {
            let member = Bernoulli { logit };
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            oracle::mean_is_the_gradient(&member, &[0.1]);
            // A probability next to 1 says little of how near it is.
            let member = Bernoulli { logit: logit.min(5.0) };
            oracle::mean_parameters_go_round(&member, &member.to_mean());
            let back = Bernoulli::from_mean(member.to_mean()).expect("a member");
            assert_close(back.logit, member.logit, 1e-12);
        }

        #[test]
        fn kl_is_not_negative(q in -300.0..300.0f64, p in -300.0..300.0f64) {
            oracle::kl_is_not_negative(&Bernoulli { logit: q }, &Bernoulli { logit: p });
        }
    }

    #[test]
    fn draws_agree() {
        let (q, p) = (Bernoulli { logit: 0.7 }, Bernoulli { logit: -1.1 });
        let [chance] = q.to_mean();
        oracle::draws_agree(&q, &p, 100_000, |index| [if Draws::new(index).uniform() < chance { 1.0 } else { 0.0 }]);
    }

    #[test]
    fn far_logits_keep_their_divergence() {
        assert_close(Bernoulli { logit: 0.0 }.kl(&Bernoulli { logit: 1000.0 }), 500.0 - 2f64.ln(), 1e-15);
        assert_close(Bernoulli { logit: -1000.0 }.kl(&Bernoulli { logit: 1000.0 }), 1000.0, 1e-15);
        assert_eq!(Bernoulli { logit: -1000.0 }.kl(&Bernoulli { logit: -1000.0 }), 0.0);
        assert!(Bernoulli::from_mean([1.0]).is_err() && Bernoulli::from_natural([f64::NAN]).is_err());
    }
}
