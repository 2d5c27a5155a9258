//! The units in which inputs are measured, and which of them have anything to say.

use super::Layout;
use super::joint::Joint;
use crate::models::Standard;

/// How an input is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// About its mean, in standard deviations.
    Learnt,
    /// As configured.
    Fixed(Standard),
    /// About its mean as it is: 0 or 1.
    Unit,
}

/// Where an axis of the linear predictor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An input's value.
    Input(usize),
    /// Whether an input is missing.
    Gap(usize),
}

/// A dimension of the linear predictor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// What is measured.
    pub source: Source,
    /// In which units.
    pub standard: Standard,
}

/// Something that has been the same in all events, and whose units are known nevertheless.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Still {
    /// What has been the same.
    pub source: Source,
    /// What it has been.
    pub value: f64,
}

/// The axes: inputs that have varied or whose units are fixed, and gaps that have.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// First inputs, then gaps, each in the order of the inputs.
    pub axes: Vec<Axis>,
    /// Inputs of 0 and 1, and gaps, that have not varied. Their coefficients are as before any event.
    pub still: Vec<Still>,
}

impl Units {
    /// The units that `events` suggest, of which input i was there in those with the `(count, mean, scatter)` that `observed(i)` gives.
    pub fn new(layout: &Layout, events: f64, observed: impl Fn(usize) -> (f64, f64, f64)) -> Self {
        let (mut axes, mut gaps, mut still) = (Vec::new(), Vec::new(), Vec::new());
        for (input, measure) in layout.measures.iter().enumerate() {
            let (count, mean, scatter) = observed(input);
            let source = Source::Input(input);
            let standard = match *measure {
                Measure::Learnt => Standard::learnt(count, mean, scatter),
                Measure::Fixed(standard) => Some(standard),
                Measure::Unit if scatter > 0.0 => Some(Standard { location: mean, scale: 1.0 }),
                Measure::Unit => {
                    still.extend((count > 0.0).then_some(Still { source, value: mean }));
                    None
                }
            };
            axes.extend(standard.map(|standard| Axis { source, standard }));
            let source = Source::Gap(input);
            let fixed = matches!(measure, Measure::Fixed(_));
            let missing = if events > 0.0 { (1.0 - count / events).max(0.0) } else { 0.0 };
            let varied = missing > 0.0 && (fixed || count > 0.0);
            if varied {
                let location = if fixed { 0.0 } else { missing };
                gaps.push(Axis { source, standard: Standard { location, scale: 1.0 } });
            } else if fixed || events > 0.0 {
                still.push(Still { source, value: missing });
            }
        }
        axes.append(&mut gaps);
        Self { axes, still }
    }

    /// What stands in for `input` where it is missing: no distance from its location.
    pub fn absent(&self, input: usize) -> Option<f64> {
        self.axes.iter().find(|axis| axis.source == Source::Input(input)).map(|axis| axis.standard.location)
    }

    /// The same statistics with that in the place of missing values.
    pub fn anchored(&self, joint: &Joint) -> Joint {
        let mut joint = joint.clone();
        for gap in joint.gaps().to_vec() {
            if let (Some(location), Some(column)) = (self.absent(gap.input), joint.gap(gap.input)) {
                joint.move_anchor(column, location);
            }
        }
        joint
    }
}
