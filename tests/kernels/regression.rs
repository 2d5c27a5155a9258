//! Those of regressions.

use candle_core::{DType, Device, Tensor};
use surprisal::device::regression::{Regression, predictions, scatter};

use crate::{check, uniform};

/// Events, inputs, classes or contrasts, share of missing cells. On both sides of a block's borders, and of a strip's.
const SIZES: [(usize, usize, usize, f64); 7] =
    [(1, 1, 1, 0.0), (31, 3, 2, 0.3), (32, 16, 3, 0.0), (33, 70, 1, 0.2), (256, 7, 5, 0.1), (1000, 4, 1, 1.0), (5, 2, 32, 0.5)];

/// `rows` one below another.
fn stacked(rows: &[Tensor]) -> Tensor {
    Tensor::cat(rows, 0).unwrap()
}

/// An operation's inputs: columns are all inputs, what is no input, and for every second input whether it is missing.
fn inputs(operation: Regression, (events, inputs, copies, missing): (usize, usize, usize, f64)) -> [Tensor; 3] {
    let cells = uniform(1, &[inputs, events], -3.0, 3.0);
    let nan = Tensor::full(f64::NAN, cells.shape(), &Device::Cpu).unwrap();
    let cells = uniform(2, &[inputs, events], 0.0, 1.0).lt(missing).unwrap().where_cond(&nan, &cells).unwrap();
    let sources: Vec<f64> = (0..inputs).chain([2 * inputs]).chain((inputs..2 * inputs).step_by(2)).map(|at| at as f64).collect();
    let columns = sources.len();
    let sources = Tensor::from_vec(sources, (1, columns), &Device::Cpu).unwrap();
    match operation {
        Regression::Scatter => {
            let observed = stacked(&[uniform(3, &[1, copies, events], 0.0, 2.0), uniform(4, &[1, copies, events], -1.0, 4.0)]);
            [cells, stacked(&[sources, uniform(5, &[1, columns], -1.0, 1.0)]), observed]
        }
        Regression::Predictions => {
            let lens = stacked(&[sources, uniform(3, &[2, columns], -1.0, 1.0), uniform(4, &[1, columns], 0.5, 2.0)]);
            let dim = copies * columns;
            let whitening = (uniform(5, &[dim, dim], -1.0, 1.0) / dim as f64).unwrap();
            let whitening = (whitening * Tensor::tril2(dim, DType::F64, &Device::Cpu).unwrap()).unwrap();
            [cells, lens, stacked(&[whitening, uniform(6, &[1, dim], -1.0, 1.0)])]
        }
    }
}

#[test]
fn kernels_of_regressions_agree_with_their_reference() {
    let operations = [Regression::Scatter, Regression::Predictions];
    let cases = operations.iter().flat_map(|operation| SIZES.map(|sizes| (*operation, inputs(*operation, sizes))));
    check("regression", &cases.collect::<Vec<_>>());
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let sizes = (8, 3, 2, 0.0);
    let [cells, columns, observed] = inputs(Regression::Scatter, sizes);
    assert!(scatter(&cells, &columns.narrow(0, 0, 1).unwrap(), &observed).is_err());
    assert!(scatter(&cells.narrow(1, 0, 7).unwrap().contiguous().unwrap(), &columns, &observed).is_err());
    let [cells, lens, posterior] = inputs(Regression::Predictions, sizes);
    assert!(predictions(&cells, &columns, &posterior).is_err());
    assert!(predictions(&cells, &lens, &posterior.narrow(0, 0, 3).unwrap()).is_err());
    let [cells, lens, posterior] = inputs(Regression::Predictions, (8, 3, 33, 0.0));
    assert!(predictions(&cells, &lens, &posterior).is_err());
}
