//! A block's evidence.

use candle_core::Device;

use super::evidence::NetworkEvidence;
use super::likelihood::{Likelihood, Slopes, StudentNoise};
use super::posterior::NetworkPosterior;
use super::targets::Targets;
use super::{Network, Target};
use crate::dist::special::LN_TAU;
use crate::inference::layers::{Parameters, Pass, Path, Shape};
use crate::inference::newton::{News, Place, Scratch, Site, Step};
use crate::inference::rule::Pace;
use crate::models::mixture::statistics::Moments;
use crate::models::{Block, Evidence, Learnt, NotFinite, Progress, Standard};
use crate::noise::Noise;

/// Buffers for a block.
#[derive(Debug)]
pub struct Workspace {
    pub(super) shape: Shape,
    pub(super) pass: Pass<f32>,
    slopes: Slopes<f32>,
    slope: Vec<f32>,
    root: Vec<f32>,
    gradient: Parameters<f32>,
    curvature: Parameters<f32>,
    scratch: Scratch<f32>,
    pub(super) buffer: Vec<f64>,
    pub(super) outputs: Vec<f32>,
}

impl Workspace {
    pub(super) fn new(shape: &Shape, device: Option<&Device>) -> Self {
        Self {
            shape: shape.clone(),
            pass: Pass::new(shape).on(device),
            slopes: Slopes::default(),
            slope: Vec::new(),
            root: Vec::new(),
            gradient: Parameters::zeros(shape),
            curvature: Parameters::zeros(shape),
            scratch: Scratch::new(shape),
            buffer: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

/// Streams of noise of a step, behind those of the layers.
const CLASSES: u32 = 1 << 16;

impl Network {
    /// The site after a block.
    pub(super) fn learnt(
        &self,
        posterior: &NetworkPosterior,
        site: &NetworkEvidence,
        block: Block<'_>,
    ) -> Result<Learnt<NetworkEvidence>, NotFinite> {
        let Block { rows, pace, .. } = block;
        let targets = Targets::of(&self.layout, rows, &posterior.vocabulary, block.weights);
        let mut workspace = self.workspace(&posterior.shape);
        let mut evidence = site.clone();
        evidence.conform(&posterior.vocabulary);
        let mut progress = Progress::default();
        let (mut squares, mut counted) = (0.0, 0.0);
        let weights = match posterior.target {
            Some(standard) if !targets.rows.is_empty() => {
                let news = self.look(posterior, &mut workspace, block, &targets, standard)?;
                let (learnt, step) = self.step(posterior, &mut workspace, &mut evidence, pace, &targets)?;
                progress = Progress {
                    expected_log_likelihood: Some(news),
                    step_norm: Some(step.norm),
                    clipped: step.clipped || workspace.slopes.far > 0,
                };
                counted = targets.events();
                squares = workspace.slopes.squares * standard.scale * standard.scale;
                learnt
            }
            _ => {
                evidence.site.scale(pace.retention);
                evidence.site.clone()
            }
        };
        // Residuals fade as curvature does: the network was another when they were seen.
        let keep = self.config.rule.keep(pace.retention * site.events, pace.weight * counted);
        evidence.site = Site::nothing(0);
        evidence.scale(pace.retention);
        evidence.site = weights;
        for (sum, new) in evidence.residuals.iter_mut().zip([counted, squares]) {
            *sum = keep * *sum + pace.weight * new;
        }
        self.count(&mut evidence, &mut workspace.buffer, block, &targets);
        if evidence.is_finite() {
            Ok(Learnt { evidence, progress })
        } else {
            Err(NotFinite { quantity: "a statistic of the block".into() })
        }
    }

    /// Puts the block's gradient and curvature into the workspace, and says `E_q ln p` of it.
    fn look(
        &self,
        posterior: &NetworkPosterior,
        workspace: &mut Workspace,
        block: Block<'_>,
        targets: &Targets,
        standard: Standard,
    ) -> Result<f64, NotFinite> {
        let Workspace { pass, slopes, slope, root, gradient, curvature, buffer, .. } = workspace;
        let likelihood = self.layout.likelihood;
        let noise = Noise::new(self.config.seed ^ (block.partition.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let inputs = pass.open(targets.rows.len());
        self.layout.inputs.fill(&posterior.units, block.rows, targets.rows.iter().copied(), buffer, inputs);
        pass.draw(&noise, block.step, 0);
        let outputs = pass.forward(&posterior.mean, Some(&posterior.variance));
        if !outputs.iter().all(|output| output.is_finite()) {
            return Err(NotFinite { quantity: "an output of the network".into() });
        }
        slope.resize(outputs.len(), 0.0);
        root.resize(outputs.len(), 0.0);
        let values: Vec<f64> = targets.values.iter().map(|y| (y - standard.location) / standard.scale).collect();
        likelihood.evaluate(outputs, (&values, &targets.believed), (&noise, block.step, CLASSES), slopes, slope, root);
        pass.output_signal().copy_from_slice(slope);
        pass.backward(&posterior.mean, None, Path::Means);
        gradient.clear();
        pass.gradient(gradient);
        pass.output_signal().copy_from_slice(root);
        pass.backward(&posterior.mean, None, Path::Means);
        curvature.clear();
        pass.curvature(curvature);
        Ok(match likelihood {
            Likelihood::Normal => {
                let StudentNoise { square_scale, .. } = posterior.noise;
                let events = targets.events();
                -0.5 * (slopes.squares / square_scale + events * (LN_TAU + square_scale.ln())) - events * standard.scale.ln()
            }
            Likelihood::Scaled => slopes.log_likelihood - targets.events() * standard.scale.ln(),
            Likelihood::Bernoulli | Likelihood::Softmax => slopes.log_likelihood,
        })
    }

    /// The weights' step from what [`Network::look`] saw.
    fn step(
        &self,
        posterior: &NetworkPosterior,
        workspace: &mut Workspace,
        site: &mut NetworkEvidence,
        pace: Pace,
        targets: &Targets,
    ) -> Result<(Site, Step), NotFinite> {
        let Workspace { pass, slopes, gradient, curvature, scratch, .. } = workspace;
        let product = |vector: &Parameters<f32>, image: &mut Parameters<f32>| {
            pass.tangent(&posterior.mean, vector);
            self.layout.likelihood.curve(slopes, targets.rows.len(), pass.output_signal());
            pass.backward(&posterior.mean, None, Path::Means);
            image.clear();
            pass.gradient(image);
        };
        let news = News { events: targets.events(), rows: targets.rows.len(), gradient, curvature };
        let place = Place { site: &site.site, events: site.events };
        self.config.rule.learn(&posterior.prior, &posterior.normal, place, pace, news, &mut site.memory, scratch, product)
    }

    /// Adds what is counted: events, units, classes.
    fn count(&self, evidence: &mut NetworkEvidence, buffer: &mut Vec<f64>, block: Block<'_>, targets: &Targets) {
        let Block { rows, pace: Pace { weight, .. }, .. } = block;
        let layout = &self.layout;
        evidence.events += weight * targets.events();
        for row in 0..rows.len() {
            let (cells, count) = (rows.row(row), weight * block.believed(row));
            if cells[layout.task.target].is_nan() {
                evidence.missing[0] += count;
            } else {
                let gaps = layout.categories.iter().zip(&mut evidence.missing[1..]).filter(|(cell, _)| cells[**cell].is_nan());
                gaps.for_each(|(_, missing)| *missing += count);
            }
        }
        let weighed = |m: Moments| Moments { count: weight * m.count, mean: m.mean, scatter: weight * m.scatter };
        for (sum, new) in evidence.inputs.iter_mut().zip(layout.inputs.moments(rows, targets.weighed(), buffer)) {
            sum.add(&weighed(new));
        }
        let values = targets.values.iter().copied().zip(targets.believed.iter().copied());
        match layout.target {
            Target::Number { .. } | Target::Boolean => evidence.target.add(&weighed(Moments::of(values))),
            Target::Category { capacity } => {
                targets.values.iter().for_each(|class| evidence.classes[*class as usize] += weight);
                // What comes for the first time was "any other", and is a class from now on.
                let mut vocabulary = evidence.vocabulary.clone();
                for (row, _) in targets.rows.iter().zip(&targets.values).filter(|(_, class)| **class == 0.0) {
                    let text = rows.text(rows.row(*row)[layout.task.target]);
                    if let Some(text) = text.filter(|_| vocabulary.len() < capacity) {
                        vocabulary.insert(text);
                    }
                }
                evidence.conform(&vocabulary);
            }
        }
    }
}
