//! The kernels for CUDA against their reference. A C++ compiler takes the place of nvcc and a loop that of the GPU, so that the
//! arithmetic, the indices and the phases between barriers are checked on every machine.

mod joint;

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use candle_core::{DType, Device, Tensor, WithDType};
use surprisal::device::diagonal::{Diagonal, Family, moments, responsibilities};
use surprisal::device::launch::Launch;
use surprisal::device::layers::{Kind, Layers, Operation, PANEL, Sum};

const OPERATIONS: [Diagonal; 3] =
    [Diagonal::Responsibilities(Family::Gaussian), Diagonal::Responsibilities(Family::Student), Diagonal::Moments];

/// Events, columns, rows of the table, rows before those, share of missing cells. On both sides of a block's borders.
const SIZES: [(usize, usize, usize, usize, f64); 6] =
    [(1, 1, 1, 0, 0.0), (31, 3, 2, 0, 0.3), (32, 8, 9, 0, 0.0), (33, 5, 1, 3, 0.5), (256, 32, 8, 0, 0.1), (1000, 4, 17, 2, 1.0)];

/// Uniform numbers between `low` and `high`: multiples of the golden ratio, modulo 1.
fn uniform(seed: usize, shape: &[usize], low: f64, high: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let number = |i: usize| low + (high - low) * ((i * 7 + seed * 1_000_003) as f64 * 0.618_033_988_749_894_9).fract();
    Tensor::from_vec((0..count).map(number).collect(), shape, &Device::Cpu).unwrap()
}

/// Cells, table and offset or weights of an operation.
fn inputs(operation: Diagonal, (events, columns, rows, first, missing): (usize, usize, usize, usize, f64)) -> [Tensor; 3] {
    let cells = uniform(1, &[columns, events], -3.0, 3.0);
    let nan = Tensor::full(f64::NAN, cells.shape(), &Device::Cpu).unwrap();
    let absent = uniform(2, &[columns, events], 0.0, 1.0).lt(missing).unwrap();
    let cells = absent.where_cond(&nan, &cells).unwrap();
    match operation {
        Diagonal::Moments => [cells, uniform(3, &[rows, columns], -1.0, 1.0), uniform(4, &[rows, events], 0.0, 1.0)],
        Diagonal::Responsibilities(family) => {
            let table = uniform(3, &[family.parameters(), rows, columns], 0.1, 1.0);
            [cells, table, uniform(4, &[first + rows, events], -2.0, 0.0)]
        }
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// What the kernel gives, run by the program `host`.
fn hosted(host: &Path, operation: &impl Launch, inputs: &[Tensor; 3]) -> Vec<f64> {
    let plan = operation.plan(inputs.each_ref().map(Tensor::shape)).unwrap();
    let lengths = inputs.iter().map(Tensor::elem_count).chain([plan.shape.elem_count()]);
    let arguments = [plan.blocks, plan.threads].into_iter().chain(plan.sizes).chain(lengths).map(|size| size.to_string());
    let mut command = Command::new(host);
    command.arg(operation.name()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let bytes: Vec<u8> = inputs.iter().flat_map(numbers).flat_map(f64::to_le_bytes).collect();
    let mut out = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(&bytes).unwrap());
        stdout.read_to_end(&mut out).unwrap();
    });
    assert!(child.wait().unwrap().success());
    out.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

/// Compares, relative to the larger of the expected number and 1; NaN is NaN, and infinity itself.
fn assert_agree(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(
            near || found == expected || found.is_nan() && expected.is_nan(),
            "{what}, element {at}: {found}, expected {expected}"
        );
    }
}

/// The kernels of `src/device/FILE.cu` as a program for this machine, in `real` numbers; `None` without a C++ compiler.
fn compile(folder: &Path, file: &str, real: &str) -> Option<PathBuf> {
    let program = folder.join(format!("{file}-{real}"));
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new("c++");
    command.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", &format!("-DREAL={real}")]);
    command.arg(format!("-DKERNELS=\"{root}/src/device/{file}.cu\"")).arg(format!("{root}/tests/kernels/host.cpp"));
    let status = command.arg("-o").arg(&program).status().ok()?;
    assert!(status.success(), "the kernels don't compile");
    Some(program)
}

/// Operations of one file with their inputs, against their reference: on this machine, and on a GPU if there is one.
fn check<L: Launch + Debug>(file: &str, cases: &[(L, [Tensor; 3])]) {
    let folder = tempfile::tempdir().unwrap();
    let reference = |(operation, inputs): &(L, [Tensor; 3])| numbers(&operation.launch(inputs.each_ref()).unwrap());
    let own = if L::Number::DTYPE == DType::F64 { 1e-12 } else { 1e-4 };
    for (real, tolerance) in [("double", own), ("float", 1e-4)] {
        let Some(host) = compile(folder.path(), file, real) else {
            eprintln!("not checked: there is no c++");
            break;
        };
        for case in cases {
            let (operation, inputs) = case;
            let shapes = inputs.each_ref().map(Tensor::shape);
            assert_agree(
                &hosted(&host, operation, inputs),
                &reference(case),
                tolerance,
                &format!("{operation:?} {shapes:?} {real}"),
            );
        }
    }
    let Ok(device) = Device::new_cuda(0) else {
        eprintln!("not checked on a GPU: there is none, or this build can't use one");
        return;
    };
    for case in cases {
        let (operation, inputs) = case;
        let there = inputs.each_ref().map(|tensor| tensor.to_device(&device).unwrap());
        let found = numbers(&operation.launch(there.each_ref()).unwrap());
        assert_agree(&found, &reference(case), own, &format!("{operation:?} on the GPU"));
    }
}

#[test]
fn kernels_of_diagonal_mixtures_agree_with_their_reference() {
    let cases = OPERATIONS.iter().flat_map(|operation| SIZES.map(|sizes| (*operation, inputs(*operation, sizes))));
    check("diagonal", &cases.collect::<Vec<_>>());
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let [cells, table, offset] = inputs(OPERATIONS[0], (8, 3, 2, 0, 0.0));
    assert!(responsibilities(Family::Student, &cells, &table, &offset).is_err());
    assert!(responsibilities(Family::Gaussian, &cells, &table, &offset.narrow(0, 0, 1).unwrap()).is_err());
    assert!(moments(&cells, &table.get(0).unwrap(), &cells).is_err());
    assert!(responsibilities(Family::Gaussian, &cells.to_dtype(DType::F32).unwrap(), &table, &offset).is_err());
}

/// On every side of what a block's threads take at a time, and with one layer.
fn networks() -> [Layers; 4] {
    let network = |widths: &[usize], rectified| Layers { widths: widths.to_vec(), rectified };
    [network(&[3, 1], true), network(&[2, 17, 1], true), network(&[5, 9, 16, 40, 3], true), network(&[4, 6, 2], false)]
}

/// Single precision of numbers between -1 and 1.
fn single(seed: usize, shape: &[usize]) -> Tensor {
    uniform(seed, shape, -1.0, 1.0).to_dtype(DType::F32).unwrap()
}

/// Every operation, with known weights and with uncertain ones. A trace may be any numbers: nothing but a kernel made it.
fn operations(layers: &Layers, panels: usize) -> Vec<(Operation<'_>, [Tensor; 3])> {
    let ([inputs, outputs, units], parameters) = (layers.units(), layers.parameters());
    let variances = |seed, shape: &[usize]| single(seed, shape).sqr().unwrap();
    let weights = |networks: usize, planes: usize| {
        let all = [single(1, &[networks, 1, parameters]), variances(2, &[networks, 1, parameters])];
        Tensor::cat(&all[..planes], 1).unwrap()
    };
    let signals = single(3, &[panels, units - inputs, PANEL]);
    let mut cases = Vec::new();
    for planes in [1, 2] {
        for (sets, networks) in [(1, 1), (1, 3), (3, 3)] {
            let draws = single(4, &[networks * panels, units - inputs, PANEL]);
            cases.push((Kind::Forward, [single(5, &[sets, panels, inputs + 1, PANEL]), weights(networks, planes), draws]));
        }
        let trace = single(6, &[panels, planes, units, PANEL]);
        let mut with = |kind, second: &Tensor, third: &Tensor| cases.push((kind, [trace.clone(), second.clone(), third.clone()]));
        for ways in 1..=planes {
            let weights = weights(1, ways).squeeze(0).unwrap();
            with(Kind::Backward, &weights, &single(7, &[panels, outputs, PANEL]));
            with(Kind::InputSignal, &weights, &signals);
        }
        with(Kind::Tangent, &single(1, &[parameters]), &single(8, &[parameters]));
        with(Kind::VarianceAlong, &variances(2, &[parameters]), &signals);
        for sum in [Sum::Gradient, Sum::Curvature, Sum::Variance].into_iter().take(1 + planes) {
            with(Kind::Sum(sum), &signals, &signals);
        }
    }
    cases.into_iter().map(|(kind, inputs)| (Operation { layers, kind }, inputs)).collect()
}

/// Of 1 to 32, 33 and 256 events.
#[test]
fn kernels_of_networks_agree_with_their_reference() {
    let networks = networks();
    let cases = networks.iter().flat_map(|layers| [1, 2, 8].into_iter().flat_map(|panels| operations(layers, panels)));
    check("layers", &cases.collect::<Vec<_>>());
}

#[test]
fn shapes_that_no_network_has_are_refused() {
    let layers = &networks()[1];
    let (parameters, units) = (layers.parameters(), layers.units()[2] - 2);
    for (operation, inputs) in operations(layers, 2) {
        assert!(operation.plan(inputs.each_ref().map(Tensor::shape)).is_ok());
        let other = &networks()[0];
        assert!(Operation { layers: other, ..operation }.plan(inputs.each_ref().map(Tensor::shape)).is_err(), "{operation:?}");
    }
    let (trace, signals) = (single(1, &[2, 1, units + 2, PANEL]), single(2, &[2, units, PANEL]));
    assert!(layers.sum(Sum::Variance, &trace, &signals).is_err(), "known weights have no variance");
    assert!(
        layers.backward(&trace, &single(3, &[2, parameters]), &single(4, &[2, 1, PANEL])).is_err(),
        "nor a way back through it"
    );
    assert!(layers.backward(&trace, &single(3, &[0, parameters]), &single(4, &[2, 1, PANEL])).is_err(), "nor without weights");
    let deep = Layers { widths: vec![1; 12], rectified: true };
    let inputs = [single(1, &[1, 1, 2, PANEL]), single(2, &[1, 1, 22]), single(3, &[1])];
    assert!(deep.forward(&inputs[0], &inputs[1], None).is_err(), "eleven layers are more than a kernel is told of");
}
