//! A number a weight, layer by layer: means, variances, draws, gradients.

use pulp::Arch;

use super::real::Real;
use super::{PITCH, Shape};

/// A number for each weight of a network: for each layer `[inputs + 1, outputs]`, the last row the biases, rows padded for vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters<T> {
    shape: Shape,
    pub(super) layers: Vec<Vec<T>>,
}

/// The width of a row of `columns` numbers.
pub(super) fn pitch(columns: usize) -> usize {
    columns.next_multiple_of(PITCH)
}

impl<T: Real> Parameters<T> {
    /// Zeros.
    pub fn zeros(shape: &Shape) -> Self {
        let layers = (0..shape.layers()).map(|index| shape.layer(index));
        let layers = layers.map(|(rows, columns)| vec![T::ZERO; rows * pitch(columns)]).collect();
        Self { shape: shape.clone(), layers }
    }

    /// The layers that they belong to.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes over `flat`: layer by layer, row by row, without padding.
    pub fn set<U: Real>(&mut self, flat: &[U]) {
        assert_eq!(flat.len(), self.shape.parameters());
        let mut flat = flat;
        for row in self.rows_mut() {
            let (values, rest) = flat.split_at(row.len());
            row.iter_mut().zip(values).for_each(|(to, from)| *to = T::of(from.wide()));
            flat = rest;
        }
    }

    /// Layer by layer, row by row, as in [`Parameters::set`].
    pub fn flat<U: Real>(&self) -> Vec<U> {
        let mut flat = Vec::with_capacity(self.shape.parameters());
        self.rows().for_each(|row| flat.extend(row.iter().map(|value| U::of(value.wide()))));
        flat
    }

    /// Layer by layer, row by row, without padding.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[T]> {
        let columns = self.shape.widths[1..].iter();
        let layers = self.layers.iter().zip(columns);
        layers.flat_map(|(layer, columns)| layer.chunks_exact(pitch(*columns)).map(|row| &row[..*columns]))
    }

    /// See [`Parameters::rows`].
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        let columns = self.shape.widths[1..].iter();
        let layers = self.layers.iter_mut().zip(columns);
        layers.flat_map(|(layer, columns)| layer.chunks_exact_mut(pitch(*columns)).map(|row| &mut row[..*columns]))
    }

    /// Whether every number is finite, rounded as it is.
    pub fn is_finite(&self) -> bool {
        self.flat::<T>().into_iter().all(T::is_finite)
    }

    /// Sets everything to 0.
    pub fn clear(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.fill(T::ZERO));
    }

    /// `self ← f(self, others)`, weight by weight.
    pub fn combine<const N: usize>(&mut self, others: [&Self; N], f: impl Fn(T, [T; N]) -> T) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (index, layer) in self.layers.iter_mut().enumerate() {
                    let others = others.map(|other| &other.layers[index][..layer.len()]);
                    for i in 0..layer.len() {
                        layer[i] = f(layer[i], others.map(|other| other[i]));
                    }
                }
            },
        );
    }

    /// `Σ x y`, added up in double precision.
    pub fn dot(&self, other: &Self) -> f64 {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let mut sums = [0.0; PITCH];
                for (ours, theirs) in self.layers.iter().zip(&other.layers) {
                    for (ours, theirs) in ours.as_chunks::<PITCH>().0.iter().zip(theirs.as_chunks::<PITCH>().0) {
                        for i in 0..PITCH {
                            sums[i] += ours[i].wide() * theirs[i].wide();
                        }
                    }
                }
                sums.iter().sum()
            },
        )
    }
}
