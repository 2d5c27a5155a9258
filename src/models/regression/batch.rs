//! Rows that have a target, as dense numbers: about the posterior's centre to be scored, in raw units to be learnt.

use pulp::{Arch, Simd, WithSimd};

use super::Layout;
use super::joint::{Gap, Joint};
use super::panel::Panel;
use super::tensors::Placed;
use super::units::{Axis, Source, Still};
use crate::device::joint::FARTHEST;
use crate::dist::lanes::{LANES, Lanes};
use crate::features::RowsView;
use crate::models::Standard;

/// Rows that have a target, as dense numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Where each of them stands among the rows that it came with.
    pub places: Vec<usize>,
    /// The inputs `[rows, inputs]`, NaN where missing.
    pub cells: Vec<f64>,
    /// The targets' cells.
    pub targets: Vec<f64>,
}

impl Table {
    /// Those of `rows`.
    pub fn new(layout: &Layout, rows: RowsView<'_>) -> Self {
        let target = layout.task.target;
        let places: Vec<usize> = (0..rows.len()).filter(|row| !rows.row(*row)[target].is_nan()).collect();
        let mut cells = vec![0.0; places.len() * layout.inputs()];
        for (row, cells) in places.iter().zip(cells.chunks_exact_mut(layout.inputs())) {
            layout.design.fill(rows, *row, cells);
        }
        let targets = places.iter().map(|row| rows.row(*row)[target]).collect();
        Self { places, cells, targets }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// The inputs of each.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.cells.chunks_exact((self.cells.len() / self.len().max(1)).max(1))
    }
}

/// How rows become distances from a centre in standard units: `(x − centre) / scale`, or a number of its own where x is missing.
#[derive(Clone, Debug)]
pub struct Lens {
    sources: Vec<Source>,
    /// How many of them are the first inputs, in their order.
    straight: usize,
    /// Lane groups of centre, 1/scale, and what stands for a missing value.
    lanes: Vec<[Lanes; 3]>,
    /// What has never varied, and is worth noticing when it does.
    still: Vec<Still>,
    /// The same of what has never been missing.
    whole: Vec<Still>,
}

impl Lens {
    /// A lens of `axes`, whose centres are `centre` standard units away from their locations.
    pub fn new(axes: &[Axis], centre: &[f64], still: Vec<Still>) -> Self {
        let mut lanes = vec![[[0.0; LANES]; 3]; axes.len().div_ceil(LANES)];
        for (at, (axis, centre)) in axes.iter().zip(centre).enumerate() {
            let Standard { location, scale } = axis.standard;
            let numbers = [location + centre * scale, 1.0 / scale, -centre];
            lanes[at / LANES].iter_mut().zip(numbers).for_each(|(lanes, number)| lanes[at % LANES] = number);
        }
        let is_whole = |still: &Still| matches!(still.source, Source::Gap(_)) && still.value == 0.0;
        let (whole, still) = still.into_iter().partition(is_whole);
        let sources: Vec<Source> = axes.iter().map(|axis| axis.source).collect();
        let straight = sources.iter().enumerate().take_while(|(at, source)| **source == Source::Input(*at)).count();
        Self { sources, straight, lanes, still, whole }
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.lanes.as_flattened().as_flattened().iter().all(|x| x.is_finite())
    }

    /// Each source with its centre, 1/scale, and what stands for a missing value.
    pub fn axes(&self) -> impl Iterator<Item = (Source, [f64; 3])> {
        let numbers = |at: usize| self.lanes[at / LANES].map(|lanes| lanes[at % LANES]);
        self.sources.iter().enumerate().map(move |(at, source)| (*source, numbers(at)))
    }

    /// Rows through the lens.
    pub fn look(&self, table: &Table) -> Panel {
        let mut panel = Panel::zeros(table.len(), self.sources.len());
        for (at, inputs) in table.rows().enumerate() {
            let (straight, others) = panel.row_mut(at).split_at_mut(self.straight);
            straight.copy_from_slice(&inputs[..self.straight]);
            for (out, source) in others.iter_mut().zip(&self.sources[self.straight..]) {
                *out = read(*source, inputs);
            }
        }
        Arch::new().dispatch(Focus { lens: self, panel: &mut panel });
        panel
    }

    /// How many things in each row have never been as they are there.
    pub fn news(&self, table: &Table) -> Vec<f64> {
        let of = |inputs: &[f64]| {
            let differs = |still: &&Still| Standard::differs(read(still.source, inputs), still.value);
            let mut count = self.still.iter().filter(differs).count();
            if any_missing(inputs) {
                count += self.whole.iter().filter(differs).count();
            }
            count as f64
        };
        table.rows().map(of).collect()
    }
}

/// Whether any of `cells` is missing.
fn any_missing(cells: &[f64]) -> bool {
    cells.iter().fold(false, |missing, x| missing | x.is_nan())
}

/// What `source` is among `inputs`: NaN where it is missing.
#[inline(always)]
fn read(source: Source, inputs: &[f64]) -> f64 {
    match source {
        Source::Input(input) => inputs[input],
        Source::Gap(input) => f64::from(u8::from(inputs[input].is_nan())),
    }
}

struct Focus<'a> {
    lens: &'a Lens,
    panel: &'a mut Panel,
}

impl WithSimd for Focus<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { lens, panel } = self;
        for row in 0..panel.rows() {
            for (x, [centre, inverse, absent]) in panel.lanes_mut(row).iter_mut().zip(&lens.lanes) {
                for i in 0..LANES {
                    let z = (x[i] - centre[i]) * inverse[i];
                    let z = if z > FARTHEST { FARTHEST } else { z };
                    let z = if z < -FARTHEST { -FARTHEST } else { z };
                    x[i] = if x[i].is_nan() { absent[i] } else { z };
                }
            }
        }
    }
}

/// Targets of rows, and what each weighs.
pub struct Observed {
    /// `[rows]`.
    pub weights: Vec<f64>,
    /// `[rows]`.
    pub targets: Vec<f64>,
}

/// Rows in raw units `[rows, inputs + target + gaps]`, with anchors where values are missing.
pub struct Raw<'a> {
    placed: &'a Placed<'a>,
    inputs: usize,
    panel: Panel,
    /// Those of the site, and of what is missing here for the first time.
    gaps: Vec<Gap>,
}

impl<'a> Raw<'a> {
    /// Rows to be added to `site`.
    pub fn new(site: &Joint, placed: &'a Placed<'a>) -> Self {
        let table = placed.table;
        let inputs = site.target();
        let cells = &table.cells;
        let mut missing = vec![false; inputs];
        if any_missing(cells) {
            for row in table.rows() {
                missing.iter_mut().zip(row).for_each(|(missing, x)| *missing |= x.is_nan());
            }
        }
        // The mean of what is there.
        let here = |input: usize| {
            let column = cells.iter().skip(input).step_by(inputs).filter(|x| !x.is_nan());
            let (count, sum) = column.fold((0.0, 0.0), |(count, sum), x| (count + 1.0, sum + x));
            (count > 0.0).then_some(sum / count)
        };
        let mut gaps = site.gaps().to_vec();
        for gap in &mut gaps {
            if site.observed(gap.input).0 == 0.0 {
                gap.anchor = here(gap.input).unwrap_or(gap.anchor);
            }
        }
        for input in (0..inputs).filter(|input| missing[*input] && site.gap(*input).is_none()) {
            let (count, mean, _) = site.observed(input);
            let anchor = if count > 0.0 { mean } else { here(input).unwrap_or(0.0) };
            gaps.push(Gap { input, anchor });
        }
        let mut panel = Panel::zeros(table.len(), inputs + 1 + gaps.len());
        for (at, (row, target)) in table.rows().zip(&table.targets).enumerate() {
            let out = panel.row_mut(at);
            out[..inputs].copy_from_slice(row);
            out[inputs] = *target;
            for (gap, Gap { input, anchor }) in gaps.iter().enumerate() {
                if out[*input].is_nan() {
                    (out[*input], out[inputs + 1 + gap]) = (*anchor, 1.0);
                }
            }
        }
        Self { placed, inputs, panel, gaps }
    }

    /// Their statistics, with a weight each unless all weigh 1.
    pub fn statistics(self, weights: Option<&[f64]>) -> Joint {
        let there = self.placed.is_on_device().then(|| {
            let targets = self.placed.table.targets.clone();
            let weights = weights.map_or_else(|| vec![1.0; targets.len()], <[f64]>::to_vec);
            self.on_device(&[Observed { weights, targets }])?.pop()
        });
        there.flatten().unwrap_or_else(|| joint(self.inputs, self.panel, weights, self.gaps))
    }

    /// Their statistics with other targets and weights, for each of `observed`.
    pub fn weighted(&self, observed: &[Observed]) -> Vec<Joint> {
        let one = |Observed { weights, targets }: &Observed| {
            let mut panel = self.panel.clone();
            targets.iter().enumerate().for_each(|(row, target)| panel.row_mut(row)[self.inputs] = *target);
            joint(self.inputs, panel, Some(weights), self.gaps.clone())
        };
        self.on_device(observed).unwrap_or_else(|| observed.iter().map(one).collect())
    }

    /// The same by the device, if it does them.
    fn on_device(&self, observed: &[Observed]) -> Option<Vec<Joint>> {
        let moments = self.placed.moments(self.inputs, &self.gaps, observed)?;
        let counts = observed.iter().map(|of| of.weights.iter().sum());
        let joint = |(count, (mean, scatter))| Joint::new(self.inputs, count, mean, scatter, self.gaps.clone());
        Some(counts.zip(moments).map(joint).collect())
    }
}

/// The statistics of rows of so many inputs, their target, and gaps.
fn joint(inputs: usize, mut panel: Panel, weights: Option<&[f64]>, gaps: Vec<Gap>) -> Joint {
    if panel.rows() == 0 {
        return Joint::nothing(inputs);
    }
    let (mean, count) = panel.centre(weights);
    Joint::new(inputs, count, mean, panel.scatter(), gaps)
}
