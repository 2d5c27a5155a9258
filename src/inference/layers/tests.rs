use candle_core::Device;

use super::accelerated::Passing;
use super::*;
use crate::noise::Noise;

/// Numbers by chance.
fn chance(seed: u64, len: usize, scale: f64) -> Vec<f64> {
    (0..len).map(|at| scale * Noise::new(seed).normal(0, 0, at as u32)).collect()
}

/// A network with uncertain weights, and a block of events.
struct Case {
    shape: Shape,
    events: usize,
    inputs: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// `L = Σ weight · output + ½ output²`.
    loss: Vec<f64>,
}

impl Case {
    fn new(widths: &[usize], activation: Activation, events: usize) -> Self {
        let shape = Shape::new(widths.to_vec(), activation);
        let parameters = shape.parameters();
        Self {
            events,
            inputs: chance(1, events * shape.inputs(), 1.0),
            mean: chance(2, parameters, 0.6),
            variance: chance(3, parameters, 0.4).into_iter().map(|x| x * x).collect(),
            loss: chance(4, events * shape.outputs(), 1.0),
            shape,
        }
    }

    fn parameters<T: Real>(&self, flat: &[f64]) -> Parameters<T> {
        let mut parameters = Parameters::zeros(&self.shape);
        parameters.set(flat);
        parameters
    }

    /// The pass with its inputs and noise.
    fn open<T: Real>(&self, inputs: &[f64]) -> Pass<T> {
        let width = self.shape.inputs();
        let mut pass = Pass::new(&self.shape);
        let cells = pass.open(self.events);
        for (at, x) in inputs.iter().enumerate() {
            cells[place(width + 1, at % width, at / width)] = T::of(*x);
        }
        pass.draw(&Noise::new(9), 3, 5);
        pass
    }

    /// The outputs `[events][outputs]`.
    fn outputs(&self, mean: &[f64], variance: &[f64], inputs: &[f64]) -> Vec<f64> {
        let mut pass = self.open::<f64>(inputs);
        let (mean, variance) = (self.parameters(mean), self.parameters(variance));
        self.rows(pass.forward(&mean, Some(&variance)))
    }

    fn rows<T: Real>(&self, panels: &[T]) -> Vec<f64> {
        let outputs = self.shape.outputs();
        let of = |at: usize| panels[place(outputs, at % outputs, at / outputs)].wide();
        (0..self.events * outputs).map(of).collect()
    }

    fn value(&self, outputs: &[f64]) -> f64 {
        outputs.iter().zip(&self.loss).map(|(output, weight)| weight * output + 0.5 * output * output).sum()
    }

    /// Forwards, and the signals of L backwards.
    fn there_and_back<T: Real>(&self, path: Path) -> Pass<T> {
        self.carry(self.open(&self.inputs), path)
    }

    fn carry<T: Real>(&self, mut pass: Pass<T>, path: Path) -> Pass<T> {
        let (mean, variance) = (self.parameters(&self.mean), self.parameters(&self.variance));
        pass.forward(&mean, Some(&variance));
        let (outputs, width) = (self.rows(pass.output()), self.shape.outputs());
        let signal = pass.output_signal();
        signal.fill(T::ZERO);
        for (at, (output, weight)) in outputs.iter().zip(&self.loss).enumerate() {
            signal[place(width, at % width, at / width)] = T::of(output + weight);
        }
        pass.backward(&mean, Some(&variance), path);
        pass
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(&[3, 1], Activation::Relu, 5),
        Case::new(&[2, 7, 1], Activation::Relu, 40),
        Case::new(&[5, 9, 17, 3], Activation::Relu, 33),
        Case::new(&[4, 6, 2], Activation::Identity, 1),
    ]
}

/// The derivative of `f` along one coordinate.
fn difference(f: impl Fn(&[f64]) -> f64, x: &[f64], at: usize) -> f64 {
    let moved = |by: f64| {
        let mut x = x.to_vec();
        x[at] += by;
        f(&x)
    };
    (moved(1e-6) - moved(-1e-6)) / 2e-6
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found} is not {expected}");
}

#[test]
fn outputs_are_those_of_the_formula() {
    for case in cases() {
        let found = case.outputs(&case.mean, &vec![0.0; case.mean.len()], &case.inputs);
        for (event, found) in found.chunks(case.shape.outputs()).enumerate() {
            let width = case.shape.inputs();
            let mut a = case.inputs[event * width..(event + 1) * width].to_vec();
            let mut flat = case.mean.as_slice();
            for layer in 0..case.shape.layers() {
                let (rows, columns) = case.shape.layer(layer);
                a.push(1.0);
                let z = (0..columns).map(|o| (0..rows).map(|i| a[i] * flat[i * columns + o]).sum::<f64>());
                let linear = layer + 1 == case.shape.layers() || case.shape.activation == Activation::Identity;
                a = z.map(|z| if linear { z } else { z.max(0.0) }).collect();
                flat = &flat[rows * columns..];
            }
            found.iter().zip(&a).for_each(|(found, expected)| assert_close(*found, *expected, 1e-12));
        }
    }
}

#[test]
fn pre_activations_have_the_mean_and_variance_of_the_weights() {
    let case = Case { events: 20_000, inputs: [0.5, -2.0].repeat(20_000), ..Case::new(&[2, 1], Activation::Relu, 1) };
    let found = case.outputs(&case.mean, &case.variance, &case.inputs);
    let expected = |flat: &[f64], power: i32| 0.5_f64.powi(power) * flat[0] + (-2.0_f64).powi(power) * flat[1] + flat[2];
    let (mean, variance) = (expected(&case.mean, 1), expected(&case.variance, 2));
    let sample_mean = found.iter().sum::<f64>() / 2e4;
    let sample_variance = found.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2e4;
    assert!((sample_mean - mean).abs() < 4.0 * (variance / 2e4).sqrt(), "{sample_mean}, expected {mean}");
    assert!((sample_variance / variance - 1.0).abs() < 4.0 * (2.0_f64 / 2e4).sqrt(), "{sample_variance}, expected {variance}");
}

#[test]
fn signals_are_derivatives() {
    for case in cases() {
        let mut pass = case.there_and_back::<f64>(Path::Whole);
        let mut gradient = Parameters::zeros(&case.shape);
        pass.gradient(&mut gradient);
        let mut variance = Parameters::zeros(&case.shape);
        pass.variance_gradient(&mut variance);
        for (at, (mean, variance)) in gradient.flat().into_iter().zip(variance.flat()).enumerate() {
            let value = |mean: &[f64]| case.value(&case.outputs(mean, &case.variance, &case.inputs));
            assert_close(mean, difference(value, &case.mean, at), 1e-6);
            let value = |variance: &[f64]| case.value(&case.outputs(&case.mean, variance, &case.inputs));
            // Near variance 0 the square root has no Taylor series.
            if case.variance[at] > 1e-3 {
                assert_close(variance, difference(value, &case.variance, at), 1e-5);
            }
        }
        let (mut signals, width) = (Vec::new(), case.shape.inputs());
        pass.input_signal(&case.parameters(&case.mean), Some(&case.parameters(&case.variance)), Path::Whole, &mut signals);
        for at in 0..case.inputs.len() {
            let value = |inputs: &[f64]| case.value(&case.outputs(&case.mean, &case.variance, inputs));
            assert_close(signals[place(width, at % width, at / width)], difference(value, &case.inputs, at), 1e-6);
        }
    }
}

#[test]
fn curvature_and_tangents_are_those_of_the_jacobian() {
    for case in cases() {
        // With no variance, both paths are one.
        let case = Case { variance: vec![0.0; case.variance.len()], ..case };
        let (parameters, outputs) = (case.shape.parameters(), case.shape.outputs());
        let jacobian: Vec<Vec<f64>> = (0..parameters)
            .map(|at| {
                let moved = |by: f64| {
                    let mut mean = case.mean.clone();
                    mean[at] += by;
                    case.outputs(&mean, &case.variance, &case.inputs)
                };
                moved(1e-6).iter().zip(moved(-1e-6)).map(|(up, down)| (up - down) / 2e-6).collect()
            })
            .collect();
        let mut pass = case.there_and_back::<f64>(Path::Means);
        let signal: Vec<f64> = {
            let panels = pass.output_signal().to_vec();
            case.rows(&panels)
        };
        let mut curvature = Parameters::zeros(&case.shape);
        pass.curvature(&mut curvature);
        for (found, column) in curvature.flat().into_iter().zip(&jacobian) {
            let events = column.chunks(outputs).zip(signal.chunks(outputs));
            let expected = events.map(|(j, s)| j.iter().zip(s).map(|(j, s)| j * s).sum::<f64>().powi(2)).sum();
            assert_close(found, expected, 1e-6);
        }
        let direction = chance(6, parameters, 1.0);
        let found = case.rows(pass.tangent(&case.parameters(&case.mean), &case.parameters(&direction)));
        for (at, found) in found.into_iter().enumerate() {
            assert_close(found, jacobian.iter().zip(&direction).map(|(column, d)| column[at] * d).sum(), 1e-6);
        }
    }
}

#[test]
fn single_precision_says_the_same() {
    for case in cases() {
        let sums = |precise: bool| -> Vec<f64> {
            fn sums<T: Real>(case: &Case) -> Vec<f64> {
                let mut pass = case.there_and_back::<T>(Path::Whole);
                let mut sum = Parameters::zeros(&case.shape);
                pass.gradient(&mut sum);
                pass.curvature(&mut sum);
                sum.flat()
            }
            if precise { sums::<f64>(&case) } else { sums::<f32>(&case) }
        };
        let (found, expected) = (sums(false), sums(true));
        let size = expected.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
        found.iter().zip(&expected).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-5 * size));
    }
}

#[test]
fn sampled_networks_predict_by_their_own_weights() {
    for case in cases() {
        let (mean, deviation) = (case.parameters::<f64>(&case.mean), case.parameters::<f64>(&case.variance));
        let mut sampled = Sampled::new(&case.shape, 3, &Noise::new(7));
        sampled.set(&mean, &deviation);
        let mut pass = case.open::<f64>(&case.inputs);
        let mut out = Vec::new();
        sampled.predict(pass.inputs(), case.events, &mut out);
        let whole = out.len() / 3;
        for (out, weights) in out.chunks(whole).zip(sampled.weights()) {
            let found = case.rows(out);
            assert_eq!(found, case.rows(pass.forward(weights, None)));
        }
        assert_ne!(out[..whole], out[whole..2 * whole]);
    }
}

/// All that a pass and sampled networks say on a device: outputs, sums, signals of the inputs, variances and tangents.
fn story(case: &Case, device: Option<&Device>) -> Vec<Vec<f64>> {
    let (mean, variance) = (case.parameters(&case.mean), case.parameters(&case.variance));
    let mut story = Vec::new();
    for path in [Path::Whole, Path::Means] {
        let mut pass = case.carry(case.open::<f64>(&case.inputs).on(device), path);
        story.push(case.rows(pass.output()));
        for sum in [Pass::gradient, Pass::curvature, Pass::variance_gradient] {
            let mut found = Parameters::zeros(&case.shape);
            sum(&mut pass, &mut found);
            story.push(found.flat());
        }
        let mut signals = Vec::new();
        pass.input_signal(&mean, Some(&variance), path, &mut signals);
        story.extend([signals, pass.variance_along(&variance)]);
        story.push(case.rows(pass.tangent(&mean, &case.parameters(&chance(6, case.mean.len(), 1.0)))));
        story.push(case.rows(pass.forward(&mean, None)));
        let mut sampled = Sampled::new(&case.shape, 3, &Noise::new(7)).on(device);
        sampled.set(&mean, &variance);
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        sampled.predict(pass.inputs(), case.events, &mut shared);
        let others = case.open::<f64>(&case.inputs.iter().map(|x| -x).collect::<Vec<_>>());
        let inputs = [pass.inputs(), others.inputs(), pass.inputs()].concat();
        sampled.predict_each(&inputs, others.inputs().len(), case.events, &mut own);
        story.extend([shared, own]);
    }
    story
}

/// On both sides of a panel's borders, with one layer and several.
#[test]
fn devices_tell_the_same_story() {
    for device in [Device::Cpu].into_iter().chain(Device::new_cuda(0).ok()) {
        for events in [1, 31, 32, 33, 256] {
            for case in cases() {
                let case = Case::new(&case.shape.widths, case.shape.activation, events);
                for (at, (found, expected)) in story(&case, Some(&device)).iter().zip(story(&case, None)).enumerate() {
                    assert_eq!(found.len(), expected.len());
                    assert_ne!(*found, expected, "{events} {at}: rounded as in double precision");
                    let size = expected.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() <= 1e-5 * size, "{events} {at}: {found} is not {expected}");
                    }
                }
            }
        }
    }
}

/// Eleven layers are more than a device does.
#[test]
fn what_a_device_refuses_the_processor_does() {
    let case = Case::new(&[3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2], Activation::Relu, 40);
    assert_eq!(story(&case, Some(&Device::Cpu)), story(&case, None));
    let mut pass = case.open::<f32>(&case.inputs).on(Some(&Device::Cpu));
    pass.forward(&case.parameters(&case.mean), None);
    assert!(pass.elsewhere.is_none());
}

/// One that has lost its arrays is given up: what has gone forwards is lost, and the next block is the processor's.
#[test]
fn a_device_that_fails_on_the_way_back_leaves_no_numbers() {
    for case in cases() {
        let (mean, variance) = (case.parameters(&case.mean), case.parameters(&case.variance));
        let mut pass = case.there_and_back::<f64>(Path::Means);
        let expected = case.rows(pass.output());
        pass.elsewhere = Some(Passing::new(&case.shape, &Device::Cpu));
        pass.backward(&mean, None, Path::Means);
        assert!(pass.elsewhere.is_none());
        for sum in [Pass::gradient, Pass::curvature] {
            let mut found = Parameters::zeros(&case.shape);
            sum(&mut pass, &mut found);
            assert!(found.flat::<f32>().iter().all(|x| x.is_nan()));
        }
        assert!(case.rows(pass.tangent(&mean, &mean)).iter().all(|x| x.is_nan()));
        assert_eq!(case.rows(pass.forward(&mean, Some(&variance))), expected);
    }
}
