//! What every family can do.
//!
//! `p(x) = h(x) exp(⟨η, T(x)⟩ − A(η))`: natural parameters η, sufficient statistics T, log normaliser A, and mean parameters
//! `m = E T(x) = ∇A(η)`. Natural parameters are those that data add, so a posterior's are the prior's plus the statistics of data.
//! (Wainwright & Jordan 2008, section 3.)

use std::fmt::Debug;

use nalgebra::{DMatrix, DVector};

/// A distribution of an exponential family.
///
/// What is built by `from_natural` or `from_mean` is a member of the family. Ordinary parameters are fields that anyone may set;
/// outside of the family's domain the numbers mean nothing.
pub trait ExponentialFamily: Sized {
    /// Natural or mean parameters: vectors of two dual spaces of one shape.
    type Parameters: Parameters;

    /// η.
    fn to_natural(&self) -> Self::Parameters;

    /// The member with natural parameters η.
    fn from_natural(natural: Self::Parameters) -> Result<Self, NoMember>;

    /// `m = E T(x) = ∇A(η)`, the expected sufficient statistics.
    fn to_mean(&self) -> Self::Parameters;

    /// The member with mean parameters m, by Newton's method where there is no closed form.
    fn from_mean(mean: Self::Parameters) -> Result<Self, NoMember>;

    /// `A(η)`, without factors that hold no parameter.
    fn log_normaliser(&self) -> f64;

    /// `KL(self ‖ other) = A(η') − A(η) − ⟨η' − η, m⟩`, computed as a sum of terms that are not negative wherever there is one.
    fn kl(&self, other: &Self) -> f64;
}

/// Parameters that no member of a family has. What they came from is not to be taken in.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoMember {
    /// A number outside of its domain.
    #[error("{quantity} is {value}, which no {family} has")]
    Outside {
        /// Of which family.
        family: &'static str,
        /// Which number.
        quantity: &'static str,
        /// What it is.
        value: f64,
    },
    /// A matrix that no precision, covariance or scatter is.
    #[error(transparent)]
    NotPositiveDefinite(#[from] super::triangle::NotPositiveDefinite),
}

impl NoMember {
    /// Says which number of which family is outside of its domain, unless it is `inside`.
    pub(super) fn unless(inside: bool, family: &'static str, quantity: &'static str, value: f64) -> Result<(), Self> {
        if inside { Ok(()) } else { Err(Self::Outside { family, quantity, value }) }
    }

    /// `value` if it is positive and finite.
    pub(super) fn unless_positive(family: &'static str, quantity: &'static str, value: f64) -> Result<f64, Self> {
        Self::unless(value > 0.0 && value < f64::INFINITY, family, quantity, value).map(|()| value)
    }

    /// `value` if it is finite.
    pub(super) fn unless_finite(family: &'static str, quantity: &'static str, value: f64) -> Result<f64, Self> {
        Self::unless(value.is_finite(), family, quantity, value).map(|()| value)
    }
}

/// A vector of parameters, in pieces.
pub trait Parameters: Clone + Debug + PartialEq {
    /// Its numbers.
    fn slices(&self) -> Vec<&[f64]>;

    /// Its numbers.
    fn slices_mut(&mut self) -> Vec<&mut [f64]>;

    /// `self + weight · other`, in place.
    fn add(&mut self, weight: f64, other: &Self) {
        for (own, other) in self.slices_mut().into_iter().zip(other.slices()) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += weight * other);
        }
    }

    /// `⟨self, other⟩`.
    fn dot(&self, other: &Self) -> f64 {
        let pieces = self.slices().into_iter().zip(other.slices());
        pieces.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).sum()
    }
}

macro_rules! one_piece {
    ($($kind:ty $(, $size:ident)?);+) => {$(
        impl $(<const $size: usize>)? Parameters for $kind {
            fn slices(&self) -> Vec<&[f64]> {
                vec![self.as_slice()]
            }

            fn slices_mut(&mut self) -> Vec<&mut [f64]> {
                vec![self.as_mut_slice()]
            }
        }
    )+};
}

one_piece!([f64; N], N; Vec<f64>; DVector<f64>; DMatrix<f64>);

impl<P: Parameters> Parameters for Vec<P> {
    fn slices(&self) -> Vec<&[f64]> {
        self.iter().flat_map(P::slices).collect()
    }

    fn slices_mut(&mut self) -> Vec<&mut [f64]> {
        self.iter_mut().flat_map(P::slices_mut).collect()
    }
}

/// Products of independent parts: parameters are put side by side, normalisers and divergences add.
macro_rules! product {
    ($($part:ident $at:tt),+) => {
        impl<$($part: Parameters),+> Parameters for ($($part,)+) {
            fn slices(&self) -> Vec<&[f64]> {
                [$(self.$at.slices()),+].concat()
            }

            fn slices_mut(&mut self) -> Vec<&mut [f64]> {
                let mut slices = Vec::new();
                $(slices.extend(self.$at.slices_mut());)+
                slices
            }
        }

        impl<$($part: ExponentialFamily),+> ExponentialFamily for ($($part,)+) {
            type Parameters = ($($part::Parameters,)+);

            fn to_natural(&self) -> Self::Parameters {
                ($(self.$at.to_natural(),)+)
            }

            fn from_natural(natural: Self::Parameters) -> Result<Self, NoMember> {
                Ok(($($part::from_natural(natural.$at)?,)+))
            }

            fn to_mean(&self) -> Self::Parameters {
                ($(self.$at.to_mean(),)+)
            }

            fn from_mean(mean: Self::Parameters) -> Result<Self, NoMember> {
                Ok(($($part::from_mean(mean.$at)?,)+))
            }

            fn log_normaliser(&self) -> f64 {
                0.0 $(+ self.$at.log_normaliser())+
            }

            fn kl(&self, other: &Self) -> f64 {
                0.0 $(+ self.$at.kl(&other.$at))+
            }
        }
    };
}

product!(A 0, B 1);
product!(A 0, B 1, C 2);
product!(A 0, B 1, C 2, D 3);

/// The product of any number of independent members of one family.
impl<F: ExponentialFamily> ExponentialFamily for Vec<F> {
    type Parameters = Vec<F::Parameters>;

    fn to_natural(&self) -> Self::Parameters {
        self.iter().map(F::to_natural).collect()
    }

    fn from_natural(natural: Self::Parameters) -> Result<Self, NoMember> {
        natural.into_iter().map(F::from_natural).collect()
    }

    fn to_mean(&self) -> Self::Parameters {
        self.iter().map(F::to_mean).collect()
    }

    fn from_mean(mean: Self::Parameters) -> Result<Self, NoMember> {
        mean.into_iter().map(F::from_mean).collect()
    }

    fn log_normaliser(&self) -> f64 {
        self.iter().map(F::log_normaliser).sum()
    }

    /// Both have as many parts.
    fn kl(&self, other: &Self) -> f64 {
        assert_eq!(self.len(), other.len(), "products of as many parts");
        self.iter().zip(other).map(|(own, other)| own.kl(other)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::beta::Beta;
    use crate::dist::dirichlet::Dirichlet;
    use crate::dist::gamma::Gamma;
    use crate::dist::testing::draws::Draws;
    use crate::dist::testing::oracle::{self, magnitudes};
    use proptest::prelude::*;

    type Product = (Dirichlet, Vec<Gamma>, Beta);

    fn members() -> impl Strategy<Value = Product> {
        prop::collection::vec(magnitudes(), 9).prop_map(|x| {
            let gammas = vec![Gamma { shape: x[3], rate: x[4] }, Gamma { shape: x[5], rate: x[6] }];
            (Dirichlet { concentrations: x[..3].to_vec() }, gammas, Beta { yes: x[7], no: x[8] })
        })
    }

    proptest! {
        #[test]
        fn parameters_go_round(member in members()) {
            oracle::natural_parameters_go_round(&member, &member.to_natural());
            oracle::mean_is_the_gradient(&member, &member.to_natural());
            let back = Product::from_mean(member.to_mean()).expect("a member");
            prop_assert_eq!(&back.0, &Dirichlet::from_mean(member.0.to_mean()).expect("a member"));
            prop_assert_eq!(&back.1[1], &Gamma::from_mean(member.1[1].to_mean()).expect("a member"));
            prop_assert_eq!(&back.2, &Beta::from_mean(member.2.to_mean()).expect("a member"));
        }

        #[test]
        fn divergence_is_the_sum(q in members(), p in members()) {
            let parts = q.0.kl(&p.0) + (q.1[0].kl(&p.1[0]) + q.1[1].kl(&p.1[1])) + q.2.kl(&p.2);
            prop_assert_eq!(q.kl(&p), parts);
            oracle::kl_is_not_negative(&q, &p);
            // By the definition, as far as that doesn't cancel.
            let mut difference = p.to_natural();
            difference.add(-1.0, &q.to_natural());
            let (own, other, linear) = (q.log_normaliser(), p.log_normaliser(), difference.dot(&q.to_mean()));
            let size = own.abs() + other.abs() + linear.abs() + 1e4;
            prop_assert!((other - own - linear - parts).abs() <= 1e-12 * size, "{} and {parts}", other - own - linear);
        }
    }

    #[test]
    fn draws_agree() {
        let gammas = |shape| vec![Gamma { shape, rate: 2.0 }, Gamma { shape: 5.0, rate: shape }];
        let q = (Dirichlet { concentrations: vec![2.0, 3.5, 3.0] }, gammas(3.0), Beta { yes: 2.0, no: 4.0 });
        let p = (Dirichlet { concentrations: vec![1.5, 3.0, 4.0] }, gammas(2.5), Beta { yes: 3.0, no: 4.0 });
        oracle::draws_agree(&q, &p, 200_000, |index| {
            let mut draws = Draws::new(index);
            let ln = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(f64::ln).collect() };
            let values = ln(draws.dirichlet(&q.0.concentrations));
            let rates = q.1.iter().map(|gamma| draws.gamma(gamma.shape) / gamma.rate).map(|x| [x.ln(), -x]).collect();
            let chance = ln(draws.dirichlet(&q.2.to_natural()));
            (values, rates, [chance[0], chance[1]])
        });
    }

    #[test]
    fn a_product_with_a_part_that_is_none_is_none() {
        let q = (Gamma { shape: 1.0, rate: 1.0 }, vec![Beta { yes: 1.0, no: 1.0 }; 2]);
        let mut natural = q.to_natural();
        natural.1[1][0] = -1.0;
        let refused = <(Gamma, Vec<Beta>)>::from_natural(natural).expect_err("no member");
        assert_eq!(refused.to_string(), "a is -1, which no Beta has");
    }
}
