//! The Categorical family: which of several values comes.
//!
//! `p(i) = exp(η_i) / Σ exp(η)`. The statistics are an indicator for each value, one more than are needed, so that all values are
//! alike: a constant added to all logits changes nothing. Probabilities of zero are allowed, as logits of −∞.

use super::family::{ExponentialFamily, NoMember};
use super::special::deviance;

/// How far probabilities may be from adding up to 1.
const SLACK: f64 = 1e-9;

/// A Categorical distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Categorical {
    /// η `[values]`.
    pub logits: Vec<f64>,
}

impl Categorical {
    /// `ln p(i) = η_i − A`.
    pub fn log_mass(&self, value: usize) -> f64 {
        self.logits[value] - self.log_normaliser()
    }

    /// `−Σ p ln p`.
    pub fn entropy(&self) -> f64 {
        let normaliser = self.log_normaliser();
        let surprise = |logit: &f64| if *logit == f64::NEG_INFINITY { 0.0 } else { normaliser - logit };
        self.logits.iter().map(|logit| (logit - normaliser).exp() * surprise(logit)).sum()
    }
}

/// With the logits for an indicator of each value.
impl ExponentialFamily for Categorical {
    type Parameters = Vec<f64>;

    fn to_natural(&self) -> Vec<f64> {
        self.logits.clone()
    }

    fn from_natural(logits: Vec<f64>) -> Result<Self, NoMember> {
        let most =
            logits.iter().fold(f64::NEG_INFINITY, |most, logit| if *logit > most || logit.is_nan() { *logit } else { most });
        NoMember::unless_finite("Categorical", "the largest logit", most)?;
        Ok(Self { logits })
    }

    /// The probabilities.
    fn to_mean(&self) -> Vec<f64> {
        let normaliser = self.log_normaliser();
        self.logits.iter().map(|logit| (logit - normaliser).exp()).collect()
    }

    fn from_mean(probabilities: Vec<f64>) -> Result<Self, NoMember> {
        let sum: f64 = probabilities.iter().sum();
        NoMember::unless((sum - 1.0).abs() <= SLACK, "Categorical", "the sum of all probabilities", sum)?;
        let possible = |p: &f64| NoMember::unless(*p >= 0.0, "Categorical", "a probability", *p);
        probabilities.iter().try_for_each(possible)?;
        Self::from_natural(probabilities.into_iter().map(f64::ln).collect())
    }

    /// `A = ln Σ exp(η)`.
    fn log_normaliser(&self) -> f64 {
        let most = self.logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + self.logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln()
    }

    /// `Σ p ln(p/p')`, of as many values; infinite where a value is possible here and not there.
    fn kl(&self, other: &Self) -> f64 {
        let (own, others) = (self.log_normaliser(), other.log_normaliser());
        let terms = self.logits.iter().zip(&other.logits).map(|(logit, other)| {
            let (p, q) = ((logit - own).exp(), (other - others).exp());
            match (p, q) {
                (0.0, _) => q,
                // A probability that is too small for a number has a logarithm all the same.
                _ if !q.is_normal() => p * ((logit - own) - (other - others)) + q - p,
                _ => deviance(p, q),
            }
        });
        terms.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::testing::assert_close;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle;
    use proptest::prelude::*;

    fn indicator(of: usize, values: usize) -> Vec<f64> {
        (0..values).map(|i| if i == of { 1.0 } else { 0.0 }).collect()
    }

    proptest! {
        #[test]
        fn parameters_go_round(logits in prop::collection::vec(-30.0..30.0f64, 1..8)) {
            let member = Categorical { logits };
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            oracle::mean_parameters_go_round(&member, &member.to_mean());
            oracle::mean_is_the_gradient(&member, &vec![0.1; member.logits.len()]);
        }

        #[test]
        fn kl_is_not_negative(q in prop::collection::vec(-30.0..30.0f64, 5), p in prop::collection::vec(-30.0..30.0f64, 5)) {
            oracle::kl_is_not_negative(&Categorical { logits: q }, &Categorical { logits: p });
        }
    }

    #[test]
    fn draws_agree() {
        let (q, p) = (Categorical { logits: vec![0.3, -1.0, 2.0, 1.1] }, Categorical { logits: vec![1.3, 0.2, -0.5, 1.0] });
        let chances = q.to_mean();
        oracle::draws_agree(&q, &p, 100_000, |index| {
            let mut left = Draws::new(index).uniform();
            let reached = |p: &f64| {
                left -= p;
                left < 0.0
            };
            indicator(chances.iter().position(reached).unwrap_or(3), 4)
        });
    }

    #[test]
    fn what_cannot_be_is_allowed() {
        let certain = Categorical::from_mean(vec![0.0, 1.0, 0.0]).expect("a member");
        assert_eq!(certain.to_mean(), [0.0, 1.0, 0.0]);
        assert_eq!(certain.entropy(), 0.0);
        let open = Categorical { logits: vec![0.0; 3] };
        assert_close(open.entropy(), 3f64.ln(), 1e-15);
        assert_close(certain.kl(&open), 3f64.ln(), 1e-15);
        assert_eq!(open.kl(&certain), f64::INFINITY);
        assert_eq!(certain.kl(&certain), 0.0);
        let remote = Categorical { logits: vec![0.0, -1000.0] };
        assert_close(Categorical { logits: vec![0.0, 0.0] }.kl(&remote), 500.0 - 2f64.ln(), 1e-15);
        assert_close(remote.log_mass(1), -1000.0, 1e-15);
    }

    #[test]
    fn what_is_no_member_is_refused() {
        assert!(Categorical::from_mean(vec![0.5, 0.6]).is_err());
        assert!(Categorical::from_mean(vec![-0.5, 1.5]).is_err());
        assert!(Categorical::from_mean(vec![f64::NAN, 1.0]).is_err());
        assert!(Categorical::from_natural(vec![f64::NEG_INFINITY; 2]).is_err());
        assert!(Categorical::from_natural(vec![f64::NAN, 1.0]).is_err());
        assert!(Categorical::from_natural(Vec::new()).is_err());
    }
}
