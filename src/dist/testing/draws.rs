//! Draws from families, by methods that know nothing of their normalisers.

use nalgebra::{DMatrix, DVector};

use crate::noise::Noise;

/// Draws of one sample, one after another.
pub struct Draws {
    index: u64,
    position: u32,
}

impl Draws {
    const NOISE: Noise = Noise { seed: 11 };

    /// Those of the sample with this index.
    pub fn new(index: u64) -> Self {
        Self { index, position: 0 }
    }

    fn next(&mut self) -> u32 {
        self.position += 1;
        self.position - 1
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        Self::NOISE.uniform(self.index, 0, self.next())
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        Self::NOISE.normal(self.index, 0, self.next())
    }

    /// Standard normals.
    pub fn normals(&mut self, dim: usize) -> DVector<f64> {
        DVector::from_fn(dim, |_, _| self.normal())
    }

    /// Gamma of rate 1 (Marsaglia & Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Dirichlet: Gammas, divided by their sum.
    pub fn dirichlet(&mut self, concentrations: &[f64]) -> Vec<f64> {
        let gammas: Vec<f64> = concentrations.iter().map(|a| self.gamma(*a)).collect();
        let sum: f64 = gammas.iter().sum();
        gammas.into_iter().map(|gamma| gamma / sum).collect()
    }

    /// A matrix R for which `RRᵀ` is Wishart with mean `dof · identity` (Bartlett 1933).
    pub fn wishart_root(&mut self, dof: f64, dim: usize) -> DMatrix<f64> {
        DMatrix::from_fn(dim, dim, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => (2.0 * self.gamma(0.5 * (dof - i as f64))).sqrt(),
            std::cmp::Ordering::Greater => self.normal(),
        })
    }
}

#[test]
fn gammas_have_their_moments() {
    for shape in [0.3, 1.0, 4.5] {
        let draws = (0..200_000).map(|index| Draws::new(index).gamma(shape));
        let (sum, squares) = draws.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + (x - shape).powi(2)));
        // Mean and variance are the shape; the variance of the square is 3a² + 6a − a².
        assert!((sum / 2e5 - shape).abs() < 4.0 * (shape / 2e5).sqrt());
        assert!((squares / 2e5 - shape).abs() < 4.0 * ((2.0 * shape * shape + 6.0 * shape) / 2e5).sqrt());
    }
}
