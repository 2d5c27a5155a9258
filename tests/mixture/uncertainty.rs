//! How well a surprisal is known: its standard deviation under q(θ) against draws of θ, from beliefs written here from the textbook.

use nalgebra::{DMatrix, DVector};
use statrs::function::gamma::ln_gamma;
use surprisal::features::{Kind, Rows, RowsView};
use surprisal::models::mixture::evidence::MixtureEvidence;
use surprisal::models::mixture::{Covariance, Mixture, MixtureConfig, Standard};
use surprisal::models::{Model, Surprisal};

use crate::data::{assert_close, blocks, clusters, learn, numbers, schema, some_numbers, standards, sums};
use crate::noise::{normal, uniform};

const LN_TAU: f64 = 1.837_877_066_409_345_3;

/// Draws of one sample, one after another.
struct Draws(u64);

impl Draws {
    fn sample(index: usize) -> Self {
        Self((1 << 52) + ((index as u64) << 12))
    }

    fn uniform(&mut self) -> f64 {
        self.0 += 1;
        uniform(self.0)
    }

    fn normal(&mut self) -> f64 {
        self.0 += 1;
        normal((1 << 58) + self.0)
    }

    /// Gamma of rate 1 (Marsaglia & Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
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

    fn beta(&mut self, yes: f64, no: f64) -> f64 {
        let (yes, no) = (self.gamma(yes), self.gamma(no));
        yes / (yes + no)
    }

    /// Mean and precision of a number.
    fn normal_gamma(&mut self, [mean, kappa, nu, psi]: [f64; 4]) -> (f64, f64) {
        let tau = self.gamma(0.5 * nu) / (0.5 * psi);
        (mean + self.normal() / (kappa * tau).sqrt(), tau)
    }
}

fn ln_normal(x: f64, (mean, precision): (f64, f64)) -> f64 {
    0.5 * (precision.ln() - LN_TAU - precision * (x - mean).powi(2))
}

/// `(m, κ, ν, ψ)` after `n` numbers of this mean and scatter, from a prior of variance 1 about 0 that is worth `events`.
fn posterior(events: f64, n: f64, mean: f64, scatter: f64) -> [f64; 4] {
    let kappa = 0.1 + n;
    [n * mean / kappa, kappa, events + n, events + scatter + 0.1 * n / kappa * mean * mean]
}

fn scored(model: &Mixture, evidence: &MixtureEvidence, rows: RowsView<'_>) -> Vec<Surprisal> {
    let mut surprisals = Vec::new();
    model.score(&model.posterior(evidence).unwrap(), rows, &mut surprisals);
    surprisals
}

/// Mean and standard deviation of `values`.
fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

/// With one component of numbers by themselves it is exact, also where cells are missing.
#[test]
fn of_one_component_it_is_that_of_draws() {
    const DIM: usize = 3;
    let standard = Standard { location: 40.0, scale: 2.5 };
    let standards = standards(DIM, standard);
    let model = numbers(DIM, MixtureConfig { components: 1, scale_prior_events: 6.0, standards, ..MixtureConfig::default() });
    for count in [20, 500] {
        let rows = some_numbers(count, DIM, 0.2);
        let evidence = learn(&model, rows.view(), 0, blocks);
        let beliefs: Vec<[f64; 4]> = (0..DIM)
            .map(|d| {
                let seen: Vec<f64> =
                    (0..count).map(|row| (rows.view().row(row)[d] - 40.0) / 2.5).filter(|z| !z.is_nan()).collect();
                let (mean, sd) = spread(&seen);
                posterior(6.0, seen.len() as f64, mean, sd * sd * seen.len() as f64)
            })
            .collect();
        let mut unseen = some_numbers(6, DIM, 0.3).view().cells().to_vec();
        unseen.extend([70.0, f64::NAN, 40.0, f64::NAN, f64::NAN, f64::NAN]);
        let unseen = Rows::from_cells(DIM, unseen);
        for (row, found) in scored(&model, &evidence, unseen.view()).into_iter().enumerate() {
            let x = unseen.view().row(row);
            let draws: Vec<f64> = (0..20_000)
                .map(|index| {
                    let mut draws = Draws::sample(index);
                    let drawn: Vec<_> = beliefs.iter().map(|belief| draws.normal_gamma(*belief)).collect();
                    let present = x.iter().zip(drawn).filter(|(x, _)| !x.is_nan());
                    -present.map(|(x, theta)| ln_normal((x - 40.0) / 2.5, theta)).sum::<f64>()
                })
                .collect();
            let (_, expected) = spread(&draws);
            assert!((found.sd - expected).abs() <= 0.04 * expected, "{count} rows, {x:?}: {} is not {expected}", found.sd);
        }
    }
}

/// The same with numbers that go together: draws of a Wishart by Bartlett's decomposition.
#[test]
fn of_one_joint_component_it_is_that_of_draws() {
    const DIM: usize = 3;
    let standards = standards(DIM, Standard { location: 100.0, scale: 3.0 });
    let config = MixtureConfig {
        components: 1,
        covariance: Covariance::Full,
        scale_prior_events: 6.0,
        standards,
        ..MixtureConfig::default()
    };
    let model = numbers(DIM, config);
    let some = clusters(60, true, 1.0);
    let cells: Vec<f64> = (0..60).flat_map(|row| some.view().row(row)[..DIM].to_vec()).collect();
    let rows = Rows::from_cells(DIM, cells.clone());
    let evidence = learn(&model, rows.view(), 0, |_| 60);
    let data: Vec<DVector<f64>> =
        cells.chunks(DIM).map(|row| (DVector::from_column_slice(row).add_scalar(-100.0)) / 3.0).collect();
    let (kappa, nu) = (60.1, 6.0 + DIM as f64 - 1.0 + 60.0);
    let mean = data.iter().sum::<DVector<f64>>() / kappa;
    let mut psi = DMatrix::from_diagonal_element(DIM, DIM, 6.0) - kappa * &mean * mean.transpose();
    data.iter().for_each(|x| psi += x * x.transpose());
    let root = psi.try_inverse().unwrap().cholesky().unwrap().l();
    let unseen =
        Rows::from_cells(DIM, [&cells[..6], &[100.0, 130.0, 90.0, 101.0, f64::NAN, 97.0, f64::NAN, f64::NAN, 97.0]].concat());
    for (row, found) in scored(&model, &evidence, unseen.view()).into_iter().enumerate() {
        let seen: Vec<usize> = (0..DIM).filter(|d| !unseen.view().row(row)[*d].is_nan()).collect();
        let x = DVector::from_iterator(seen.len(), seen.iter().map(|d| (unseen.view().row(row)[*d] - 100.0) / 3.0));
        let draws: Vec<f64> = (0..20_000)
            .map(|index| {
                let mut draws = Draws::sample(index);
                let bartlett = DMatrix::from_fn(DIM, DIM, |i, j| match i.cmp(&j) {
                    std::cmp::Ordering::Less => 0.0,
                    std::cmp::Ordering::Equal => (2.0 * draws.gamma(0.5 * (nu - i as f64))).sqrt(),
                    std::cmp::Ordering::Greater => draws.normal(),
                });
                let root = &root * bartlett;
                let covariance = (&root * root.transpose()).try_inverse().unwrap();
                let noise = DVector::from_fn(DIM, |_, _| draws.normal());
                let centre = &mean + covariance.clone().cholesky().unwrap().l() * noise / kappa.sqrt();
                let among = covariance.select_rows(&seen).select_columns(&seen);
                let gap = &x - centre.select_rows(&seen);
                let square = gap.dot(&among.clone().lu().solve(&gap).unwrap());
                0.5 * (among.determinant().ln() + seen.len() as f64 * LN_TAU + square)
            })
            .collect();
        let (_, expected) = spread(&draws);
        assert!((found.sd - expected).abs() <= 0.04 * expected, "row {row}: {} is not {expected}", found.sd);
    }
}

/// Counts, booleans and categories.
#[test]
fn of_columns_of_other_kinds_it_is_that_of_draws() {
    let kinds = [Kind::Count, Kind::Boolean, Kind::Category { capacity: 3 }];
    let model = Mixture::new(&schema(&kinds), MixtureConfig { components: 1, ..MixtureConfig::default() }).unwrap();
    let values = ["a", "b", "c"];
    let mut rows = Rows::new(3);
    for event in 0..60_u64 {
        let (cells, texts) = rows.push_missing();
        cells[0] = (uniform(3 * event) * 5.0).floor();
        cells[1] = f64::from(u8::from(uniform(3 * event + 1) < 0.2));
        cells[2] = texts.push(values[(uniform(3 * event + 2).powi(2) * 3.0) as usize]) as f64;
    }
    let (view, n) = (rows.view(), 60.0);
    let evidence = learn(&model, view, 0, |_| 60);
    let count: f64 = (0..60).map(|row| view.row(row)[0]).sum();
    let yes: f64 = (0..60).map(|row| view.row(row)[1]).sum();
    let times = |value: &str| (0..60).filter(|row| view.text(view.row(*row)[2]) == Some(value)).count() as f64;
    let rate = (1.0 + count, (1.0 + n) / (1.0 + count) + n);
    let chance = (0.5 + 5.0 * yes / n + yes, 0.5 + 5.0 * (1.0 - yes / n) + n - yes);
    let concentrations: Vec<f64> = values.iter().map(|value| 0.5 + times(value) * (1.0 + 5.0 / n)).chain([0.5]).collect();
    let mut unseen = Rows::new(3);
    for (x, yes, text) in [(0.0, 0.0, Some("a")), (3.0, 1.0, Some("c")), (40.0, f64::NAN, Some("never seen")), (2.0, 1.0, None)] {
        let (cells, texts) = unseen.push_missing();
        (cells[0], cells[1]) = (x, yes);
        if let Some(text) = text {
            cells[2] = texts.push(text) as f64;
        }
    }
    for (row, found) in scored(&model, &evidence, unseen.view()).into_iter().enumerate() {
        let cells = unseen.view().row(row);
        let draws: Vec<f64> = (0..20_000)
            .map(|index| {
                let mut draws = Draws::sample(index);
                let rate = draws.gamma(rate.0) / rate.1;
                let mut log = cells[0] * rate.ln() - rate - ln_gamma(cells[0] + 1.0);
                let chance = draws.beta(chance.0, chance.1);
                log += [0.0, (1.0 - chance).ln(), chance.ln()][if cells[1].is_nan() { 0 } else { 1 + cells[1] as usize }];
                let gammas: Vec<f64> = concentrations.iter().map(|a| draws.gamma(*a)).collect();
                if let Some(text) = unseen.view().text(cells[2]) {
                    let at = values.iter().position(|value| *value == text).unwrap_or(3);
                    log += (gammas[at] / gammas.iter().sum::<f64>()).ln();
                }
                -log
            })
            .collect();
        let (_, expected) = spread(&draws);
        assert!((found.sd - expected).abs() <= 0.04 * expected, "row {row}: {} is not {expected}", found.sd);
    }
}

/// The first change of a constant column is as uncertain as a chance that has never come up.
#[test]
fn of_a_constant_column_s_change_it_is_that_of_a_rare_chance() {
    let model = numbers(2, MixtureConfig { components: 1, ..MixtureConfig::default() });
    let rows = Rows::from_cells(2, (0..200).map(|at| if at % 2 == 0 { normal(at) } else { 0.1 }).collect());
    let evidence = learn(&model, rows.view(), 0, blocks);
    let found = scored(&model, &evidence, Rows::from_cells(2, vec![0.3, 0.1, 0.3, 0.2]).view());
    let draws: Vec<f64> = (0..50_000).map(|index| -Draws::sample(index).beta(1.0, 101.0).ln()).collect();
    assert_close((found[1].sd.powi(2) - found[0].sd.powi(2)).sqrt(), spread(&draws).1, 0.02);
}

/// A stick's two counts, and four numbers a column.
type Drawn = ((f64, f64), Vec<[f64; 4]>);

/// A mixture whose beliefs can be told from its evidence, since its units and prior are fixed.
struct Several {
    /// Sticks in the order of size, and `(m, κ, ν, ψ)` of each column.
    components: Vec<Drawn>,
    /// How many of them are known.
    known: usize,
}

impl Several {
    fn new(evidence: &MixtureEvidence, dim: usize, rare: f64) -> Self {
        let tensors: std::collections::BTreeMap<String, Vec<f64>> = sums(evidence).into_iter().collect();
        let of = |name: &str| &tensors[&format!("components.{name}")];
        let events = of("events");
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by(|a, b| events[*b].total_cmp(&events[*a]));
        let total: f64 = events.iter().sum();
        let mut later = total;
        let belief = |at: usize| {
            let (count, mean, scatter) = (of("numbers.count")[at], of("numbers.mean")[at], of("numbers.scatter")[at]);
            posterior(20.0, count, (mean - 100.0) / 3.0, scatter / 9.0)
        };
        let components = order.iter().map(|k| {
            later -= events[*k];
            ((1.0 + events[*k], 1.0 + later.max(0.0)), (k * dim..(k + 1) * dim).map(belief).collect())
        });
        let known = order.iter().filter(|k| events[**k] >= rare * total).count();
        Self { components: components.collect(), known }
    }

    /// Standard deviations of −ln p(x | θ) of several events over draws of θ.
    fn spread(&self, rows: &[Vec<f64>]) -> Vec<f64> {
        let mut surprisals = vec![Vec::new(); rows.len()];
        for index in 0..4_000 {
            let mut draws = Draws::sample(index);
            let mut rest = 1.0;
            let mut densities = vec![0.0; rows.len()];
            for ((yes, no), beliefs) in &self.components[..self.known] {
                let stick = draws.beta(*yes, *no);
                let theta: Vec<_> = beliefs.iter().map(|belief| draws.normal_gamma(*belief)).collect();
                for (density, x) in densities.iter_mut().zip(rows) {
                    *density += rest * stick * x.iter().zip(&theta).map(|(x, theta)| ln_normal(*x, *theta)).sum::<f64>().exp();
                }
                rest *= 1.0 - stick;
            }
            for ((density, x), out) in densities.into_iter().zip(rows).zip(&mut surprisals) {
                // Student's t with 4 degrees of freedom and squared scale 2: 3/8 / √2 · (1 + x²/8)^(−5/2).
                let background: f64 = x.iter().map(|x| 0.375 / 2_f64.sqrt() * (1.0 + x * x / 8.0).powf(-2.5)).product();
                out.push(-(density + rest * background).ln());
            }
        }
        surprisals.iter().map(|values| spread(values).1).collect()
    }
}

/// With several components it is the delta method's, near to that of draws where evidence is ample: within components and between
/// them, far from all, and whether or not small ones lend their weight to the background.
#[test]
fn of_several_components_it_is_near_that_of_draws() {
    for rare in [0.0, 0.1] {
        let standards = standards(4, Standard { location: 100.0, scale: 3.0 });
        let model = numbers(4, MixtureConfig { rare, standards, scale_prior_events: 20.0, ..MixtureConfig::default() });
        let rows = clusters(6_000, false, 1.5);
        let evidence = learn(&model, rows.view(), 0, blocks);
        let several = Several::new(&evidence, 4, rare);
        assert!(
            several.known >= 3 && (rare == 0.0 || several.known < several.components.len()),
            "{} of {} known",
            several.known,
            several.components.len()
        );
        let view = rows.view();
        let mut cells = view.slice(0..40).cells().to_vec();
        // Between the first events and far out.
        cells.extend((0..40).map(|at| 0.5 * (view.row(at / 4)[at % 4] + view.row(10 + at / 4)[at % 4])));
        cells.extend([140.0, 100.0, 100.0, 100.0, 60.0, 150.0, 100.0, 100.0]);
        let unseen = Rows::from_cells(4, cells);
        let standard = |row: usize| unseen.view().row(row).iter().map(|x| (x - 100.0) / 3.0).collect();
        let expected = several.spread(&(0..unseen.len()).map(standard).collect::<Vec<_>>());
        for (row, (found, expected)) in scored(&model, &evidence, unseen.view()).into_iter().zip(expected).enumerate() {
            // Where it is more than a part of a nat, components compete and the logarithm bends.
            let tolerance = if expected < 0.2 { 0.05 } else { 0.4 };
            assert!((found.sd / expected - 1.0).abs() < tolerance, "rare {rare}, row {row}: {} is not {expected}", found.sd);
        }
    }
}

/// What is known of what has been seen grows: the standard deviation falls with the root of the number of events.
#[test]
fn it_falls_with_the_root_of_the_evidence() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let model = numbers(4, MixtureConfig { covariance, scale_prior_events: 20.0, ..MixtureConfig::default() });
        let rows = clusters(40_000, false, 60.0);
        let mean_sd = |count: usize| {
            let evidence = learn(&model, rows.view().slice(0..count), 0, blocks);
            assert_eq!(evidence.components().count(), 5);
            let found = scored(&model, &evidence, rows.view().slice(39_000..40_000));
            found.iter().map(|surprisal| surprisal.sd).sum::<f64>() / 1_000.0
        };
        let (few, many) = (mean_sd(2_000), mean_sd(32_000));
        assert!((few / many - 4.0).abs() < 0.5, "{covariance:?}: {few} of 2,000 events and {many} of 32,000");
    }
}
