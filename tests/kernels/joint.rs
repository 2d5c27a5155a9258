//! Those of regressions and of mixtures with full covariance.

use candle_core::{DType, Device, Tensor};
use surprisal::device::diagonal::Family;
use surprisal::device::joint::{Joint, predictions, responsibilities, scatter};

use crate::{check, uniform};

/// Events, inputs, classes or sets, share of missing cells. On both sides of a block's borders, and of a strip's.
const SIZES: [(usize, usize, usize, f64); 7] =
    [(1, 1, 1, 0.0), (31, 3, 2, 0.3), (32, 16, 3, 0.0), (33, 70, 1, 0.2), (256, 7, 5, 0.1), (1000, 4, 1, 1.0), (5, 2, 32, 0.5)];

/// The same of mixtures: normals, with nothing missing.
const NORMALS: [(usize, usize, usize, f64); 6] =
    [(1, 1, 17, 0.0), (31, 8, 8, 0.0), (32, 33, 1, 0.0), (33, 8, 17, 0.0), (256, 1, 1, 0.0), (129, 33, 8, 0.0)];

/// `rows` one below another.
fn stacked(rows: &[Tensor]) -> Tensor {
    Tensor::cat(rows, 0).unwrap()
}

/// L⁻¹ `[dim, dim]`.
fn whitening(seed: usize, dim: usize) -> Tensor {
    let entries = (uniform(seed, &[dim, dim], -1.0, 1.0) / dim as f64).unwrap();
    (entries * Tensor::tril2(dim, DType::F64, &Device::Cpu).unwrap()).unwrap()
}

/// An operation's inputs: columns are all inputs, what is no input, and for every second input whether it is missing.
fn inputs(operation: Joint, (events, inputs, copies, missing): (usize, usize, usize, f64)) -> [Tensor; 3] {
    let cells = uniform(1, &[inputs, events], -3.0, 3.0);
    let nan = Tensor::full(f64::NAN, cells.shape(), &Device::Cpu).unwrap();
    let cells = uniform(2, &[inputs, events], 0.0, 1.0).lt(missing).unwrap().where_cond(&nan, &cells).unwrap();
    let sources: Vec<f64> = (0..inputs).chain([2 * inputs]).chain((inputs..2 * inputs).step_by(2)).map(|at| at as f64).collect();
    let columns = sources.len();
    let sources = Tensor::from_vec(sources, (1, columns), &Device::Cpu).unwrap();
    match operation {
        Joint::Scatter => {
            let weights = uniform(3, &[1, copies, events], 0.0, 2.0);
            // Of several, the first has no weight.
            let none = uniform(3, &[1, copies, 1], 0.0, 1.0).zeros_like().unwrap();
            let some =
                Tensor::cat(&[none.narrow(1, 0, 1).unwrap(), none.ones_like().unwrap().narrow(1, 0, copies - 1).unwrap()], 1);
            let weights = if copies > 1 { weights.broadcast_mul(&some.unwrap()).unwrap() } else { weights };
            let observed = stacked(&[weights, uniform(4, &[1, copies, events], -1.0, 4.0)]);
            [cells, stacked(&[sources, uniform(5, &[1, columns], -1.0, 1.0)]), observed]
        }
        Joint::Predictions => {
            let lens = stacked(&[sources, uniform(3, &[2, columns], -1.0, 1.0), uniform(4, &[1, columns], 0.5, 2.0)]);
            let dim = copies * columns;
            [cells, lens, stacked(&[whitening(5, dim), uniform(6, &[1, dim], -1.0, 1.0)])]
        }
        // An even number of inputs leaves a row that is no normal.
        Joint::Responsibilities(_) => {
            let normal = |at: usize| {
                let flat = [uniform(at, &[inputs], -1.0, 1.0), whitening(at, inputs).flatten_all().unwrap()];
                stacked(&[flat.as_slice(), &[uniform(at, &[2], 0.5, 4.0)]].concat())
            };
            let table = Tensor::stack(&(0..copies).map(normal).collect::<Vec<_>>(), 0).unwrap();
            [cells, table, uniform(6, &[copies + 1 - inputs % 2, events], -2.0, 0.0)]
        }
    }
}

#[test]
fn joint_kernels_agree_with_their_reference() {
    let with = |operation: Joint| move |sizes| (operation, inputs(operation, sizes));
    let regressions = [Joint::Scatter, Joint::Predictions].into_iter().flat_map(|operation| SIZES.map(with(operation)));
    let families = [Family::Gaussian, Family::Student].map(Joint::Responsibilities);
    let mixtures = families.into_iter().flat_map(|operation| NORMALS.map(with(operation)));
    // With no targets of their own.
    let scatters = NORMALS.map(|sizes| {
        let [cells, columns, observed] = inputs(Joint::Scatter, sizes);
        (Joint::Scatter, [cells, columns, observed.narrow(0, 0, 1).unwrap()])
    });
    check("joint", &regressions.chain(mixtures).chain(scatters).collect::<Vec<_>>());
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let sizes = (8, 3, 2, 0.0);
    let [cells, columns, observed] = inputs(Joint::Scatter, sizes);
    assert!(scatter(&cells, &columns.narrow(0, 0, 1).unwrap(), &observed).is_err());
    assert!(scatter(&cells.narrow(1, 0, 7).unwrap().contiguous().unwrap(), &columns, &observed).is_err());
    let [cells, lens, posterior] = inputs(Joint::Predictions, sizes);
    assert!(predictions(&cells, &columns, &posterior).is_err());
    assert!(predictions(&cells, &lens, &posterior.narrow(0, 0, 3).unwrap()).is_err());
    let [cells, lens, posterior] = inputs(Joint::Predictions, (8, 3, 33, 0.0));
    assert!(predictions(&cells, &lens, &posterior).is_err());
    let [cells, table, offset] = inputs(Joint::Responsibilities(Family::Gaussian), sizes);
    assert!(responsibilities(Family::Gaussian, &cells, &table, &offset.narrow(0, 0, 1).unwrap()).is_err());
    assert!(responsibilities(Family::Gaussian, &columns, &table, &offset).is_err());
    assert!(scatter(&cells, &columns, &offset).is_err());
}
