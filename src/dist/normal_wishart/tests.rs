//! The Normal-Wishart against draws, quadrature and its case of one dimension.

use super::*;
use crate::dist::family::Parameters;
use crate::dist::normal_gamma::NormalGamma;
use crate::dist::testing::draws::Draws;
use crate::dist::testing::oracle::{self, magnitudes, matrices};
use crate::dist::testing::{assert_close, normal, simpson, uniform};
use proptest::prelude::*;

fn q() -> Factored {
    let scatter = DMatrix::from_row_slice(2, 2, &[3.0, 1.0, 1.0, 2.0]);
    let belief = NormalWishart { mean: DVector::from_vec(vec![0.5, -1.0]), strength: 2.0, dof: 6.0, scatter };
    belief.factored().expect("a scatter")
}

fn p() -> Factored {
    let scatter = DMatrix::from_row_slice(2, 2, &[2.0, -0.5, -0.5, 4.0]);
    let belief = NormalWishart { mean: DVector::from_vec(vec![0.0, -0.5]), strength: 1.0, dof: 4.0, scatter };
    belief.factored().expect("a scatter")
}

/// μ and Λ.
fn draw(d: &Factored, index: u64) -> (DVector<f64>, DMatrix<f64>) {
    let (mut draws, dim) = (Draws::new(index), d.belief.dim());
    // Ψ⁻¹ = L⁻ᵀL⁻¹.
    let whitening = DMatrix::from_fn(dim, dim, |i, j| if j <= i { d.whitening.row(i)[j] } else { 0.0 });
    let root = whitening.transpose() * draws.wishart_root(d.belief.dof, dim);
    let noise = root.transpose().try_inverse().expect("of full rank") * draws.normals(dim);
    (&d.belief.mean + noise / d.belief.strength.sqrt(), &root * root.transpose())
}

/// With a mean of a few of its standard deviations, so that what is subtracted can be given back, and the scale of each number.
fn members(dim: usize) -> impl Strategy<Value = (Factored, DVector<f64>)> {
    let deviations = prop::collection::vec(-3.0..3.0f64, dim);
    (matrices(dim), deviations, magnitudes(), magnitudes()).prop_map(move |((variance, scale), deviations, strength, more)| {
        let dof = dim as f64 - 1.0 + more;
        let mean = scale.component_mul(&DVector::from_vec(deviations)) / strength.sqrt();
        let belief = NormalWishart { mean, strength, dof, scatter: variance * dof };
        (belief.factored().expect("a scatter"), scale)
    })
}

proptest! {
    #[test]
    fn parameters_go_round((member, scale) in (1..5usize).prop_flat_map(members)) {
        let NormalWishart { strength, dof, .. } = *member.belief();
        let squares = &scale * scale.transpose() * (dof + 10.0);
        let first = &scale * (10.0 * strength.sqrt());
        oracle::natural_parameters_go_round(&member, &([dof, strength], first, squares));

        let mean = member.to_mean();
        let inverse = scale.map(f64::recip);
        // An ulp of 1 in a logarithm is one of its number.
        let size = mean.0[0].abs() + 2.0 * scale.iter().map(|scale| scale.ln().abs()).sum::<f64>() + 10.0;
        let products = &inverse * (100.0 / strength.sqrt());
        let mean_scale = ([size, 100.0 / strength], products, &inverse * inverse.transpose() * 100.0);
        oracle::mean_parameters_go_round(&member, &mean_scale);
    }

    #[test]
    fn mean_is_the_gradient((member, scale) in (1..4usize).prop_flat_map(members)) {
        let NormalWishart { strength, dof, .. } = *member.belief();
        let more = dof - scale.len() as f64 + 1.0;
        let first = &scale * (0.1 * strength.sqrt() * dof.min(1.0));
        let squares = &scale * scale.transpose() * (0.05 * dof);
        oracle::mean_is_the_gradient(&member, &([more, 0.03 * strength * dof.min(1.0)], first, squares));
    }

    #[test]
    fn kl_is_not_negative(((q, _), (p, _)) in (1..5usize).prop_flat_map(|dim| (members(dim), members(dim)))) {
        oracle::kl_is_not_negative(&q, &p);
    }
}

#[test]
fn draws_agree() {
    oracle::draws_agree(&q(), &p(), 200_000, |index| {
        let (mean, precision) = draw(&q(), index);
        let product = &precision * &mean;
        ([0.5 * precision.determinant().ln(), -0.5 * mean.dot(&product)], product, precision * -0.5)
    });
}

#[test]
fn natural_parameters_add() {
    let data: Vec<_> = (0..7).map(|i| DVector::from_vec(vec![normal(2 * i), 3.0 + uniform(i)])).collect();
    let mut natural = q().to_natural();
    let mean = data.iter().sum::<DVector<f64>>() / 7.0;
    let mut scatter = DMatrix::zeros(2, 2);
    for x in &data {
        natural.add(1.0, &([1.0, 1.0], x.clone(), x * x.transpose()));
        scatter += (x - &mean) * (x - &mean).transpose();
    }
    let expected = Factored::from_natural(natural).expect("a member").belief;
    let learnt = q().belief.observe(7.0, &mean, &scatter);
    assert!((&learnt.mean - &expected.mean).norm() < 1e-12 && (&learnt.scatter - &expected.scatter).norm() < 1e-11);
    assert_eq!((learnt.dof, learnt.strength), (expected.dof, expected.strength));
}

#[test]
fn expected_densities_by_draws() {
    let draws = 200_000;
    let x = DVector::from_vec(vec![1.0, 0.0]);
    let densities = (0..draws).map(|index| {
        let (mean, precision) = draw(&q(), index);
        let gap = &x - mean;
        0.5 * (precision.determinant().ln() - 2.0 * LN_TAU - gap.dot(&(&precision * &gap)))
    });
    let (sum, squares) = densities.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let mean = sum / draws as f64;
    let error = ((squares / draws as f64 - mean * mean) / draws as f64).sqrt();
    let expected = q().expected_log_density(&x);
    assert!((mean - expected).abs() < 4.0 * error && error < 0.005 * expected.abs(), "{mean} ± {error} is not {expected}");
}

#[test]
fn what_is_no_member_is_refused() {
    let ([dof, strength], first, second) = q().to_natural();
    assert!(Factored::from_natural(([1.0, strength], first.clone(), second.clone())).is_err());
    assert!(Factored::from_natural(([dof, 0.0], first.clone(), second.clone())).is_err());
    assert!(Factored::from_natural(([dof, strength], first.clone() * 9.0, second)).is_err());
    let ([half_ln, square], product, precision) = q().to_mean();
    assert!(Factored::from_mean(([half_ln + 1.0, square], product.clone(), precision.clone())).is_err());
    assert!(Factored::from_mean(([half_ln, -square], product.clone(), precision.clone())).is_err());
    assert!(Factored::from_mean(([half_ln, square], product, -precision)).is_err());
}

#[test]
fn predictive_is_a_density_and_a_ratio_of_marginal_likelihoods() {
    let mass = simpson(-8.0, 8.0, 200, |s| {
        simpson(-8.0, 8.0, 200, |t| {
            let x = DVector::from_vec(vec![s.sinh(), t.sinh()]);
            q().predictive_log_density(&x).exp() * s.cosh() * t.cosh()
        })
    });
    assert_close(mass, 1.0, 1e-5);
    for x in [[0.0, 0.0], [3.0, -9.0]] {
        let x = DVector::from_vec(x.to_vec());
        let after = q().belief.observe(1.0, &x, &DMatrix::zeros(2, 2)).factored().expect("a scatter");
        let ratio = after.log_normaliser() - q().log_normaliser() - LN_TAU;
        assert_close(q().predictive_log_density(&x), ratio, 1e-12);
    }
}

#[test]
fn in_one_dimension_it_is_the_normal_gamma() {
    let one = |d: NormalGamma| {
        let (mean, scatter) = (DVector::from_element(1, d.mean), DMatrix::from_element(1, 1, d.scatter));
        NormalWishart { mean, strength: d.strength, dof: d.dof, scatter }.factored().expect("a scatter")
    };
    let a = NormalGamma { mean: 0.7, strength: 2.5, dof: 5.0, scatter: 3.0 };
    let b = NormalGamma { mean: -0.2, strength: 1.5, dof: 4.0, scatter: 6.0 };
    let x = DVector::from_element(1, 2.2);
    assert_close(one(a).kl(&one(b)), a.kl(&b), 1e-13);
    assert_close(one(a).log_normaliser(), a.log_normaliser(), 1e-13);
    let ([half_ln, square], product, precision) = one(a).to_mean();
    oracle::assert_same(&[half_ln, square, product[0], precision[0]], &a.to_mean(), &a.to_mean(), 1e-13);
    assert_close(one(a).predictive_log_density(&x), a.predictive_log_density(2.2), 1e-13);
    assert_close(one(a).expected_log_density(&x), a.expected_log_density(2.2), 1e-13);
}
