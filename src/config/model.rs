//! `[model]`: what is believed, and how fast it is forgotten.

use serde::Deserialize;

use super::error::{Fault, Source};
use super::forecast::{self, ForecastConfig};
use super::network::{NetworkConfig, VaeConfig};
use super::values;
use crate::calibration::Alerts;
use crate::device::Device;
use crate::engine::{Explain, Learning, Setup};
use crate::features::{Kind, Schema, Task};
use crate::inference::rule::{Population, Rule};
use crate::models::{inferred, mixture, regression};

/// The shortest half-life, in events, with which events are doubted: what is remembered is then worth 144 events, and none is doubted before 100.
const LEAST_DOUBTING: f64 = 100.0;

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct ModelConfig {
    /// Names the posterior: instances with the same id and group share one. Default: `default`.
    #[serde(deserialize_with = "values::id")]
    pub id: String,
    /// The model. Default: `mixture`.
    pub kind: ModelKind,
    /// Events of a partition after which evidence weighs half: a number, `"never"`, or `"inferred"` from the stream. Default:
    /// `never`.
    #[serde(deserialize_with = "values::half_life")]
    pub half_life_events: HalfLife,
    /// Time of the events, by their timestamps, after which evidence weighs half, like `"6h"`; `"never"` keeps all. Default: `never`.
    #[serde(rename = "half_life_time", deserialize_with = "values::half_life_time")]
    pub half_life_ms: f64,
    /// What the posterior stands for. Default: `streaming`.
    pub learning: LearningKind,
    /// Events that a partition's evidence is worth with `learning = "population"`. Above 0. Default: 100000.
    #[serde(deserialize_with = "values::positive")]
    pub population_events: f64,
    /// How fast the steps of `learning = "population"` shrink; 1 weighs all events alike. Above 0.5, at most 1. Default: 1.0.
    #[serde(deserialize_with = "values::exponent")]
    pub population_exponent: f64,
    /// Events learnt in one step at most, 1 to 65536. Default: 256. With an inferred half-life up to 32, and 8 by default.
    #[serde(deserialize_with = "values::whole::<_, 1, 65536>")]
    pub max_block: usize,
    /// Whether an event is learnt as far as it is plausible only. Default: no; a forecast always does so, by itself.
    pub robust: Option<bool>,
    /// Where the arithmetic is done: `cpu`, `cuda:N`, or `auto` for a GPU if there is one. Default: `cpu`.
    #[serde(deserialize_with = "values::device")]
    pub device: Device,
    /// Of which events the score comes with an account of the fields that made it. Default: `alerts`.
    pub explain: ExplainKind,
    /// The column that a regression or a network predicts from the others, and a forecast from its own past. Default: none.
    pub target: Option<String>,
    /// The columns that it is predicted from. Default: all others.
    pub inputs: Option<Vec<String>>,
    /// `[model.forecast]`.
    pub forecast: ForecastConfig,
    /// `[model.mixture]`.
    pub mixture: MixtureConfig,
    /// `[model.regression]`.
    pub regression: RegressionConfig,
    /// `[model.neural_network]`.
    pub neural_network: NetworkConfig,
    /// `[model.vae]`.
    pub vae: VaeConfig,
}

impl Default for ModelConfig {
    fn default() -> Self {
        let Learning { rule: Rule { half_life_ms, .. }, max_block } = Learning::default();
        Self {
            id: "default".into(),
            kind: ModelKind::default(),
            half_life_events: HalfLife::default(),
            half_life_ms,
            learning: LearningKind::default(),
            population_events: 100_000.0,
            population_exponent: 1.0,
            max_block,
            robust: None,
            device: Device::default(),
            explain: ExplainKind::default(),
            target: None,
            inputs: None,
            forecast: ForecastConfig::default(),
            mixture: MixtureConfig::default(),
            regression: RegressionConfig::default(),
            neural_network: NetworkConfig::default(),
            vae: VaeConfig::default(),
        }
    }
}

impl ModelConfig {
    /// How the engine learns.
    pub fn learning(&self) -> Learning {
        if self.kind == ModelKind::Forecast {
            return Learning { rule: Rule::default(), max_block: 1 };
        }
        let population = match self.learning {
            LearningKind::Streaming => None,
            LearningKind::Population => Some(Population { events: self.population_events, exponent: self.population_exponent }),
        };
        let (half_life_events, max_block) = match self.half_life_events {
            HalfLife::Events(events) => (events, self.max_block),
            // The model itself forgets by events. A larger block is refused where it is written: this is the default.
            HalfLife::Inferred if self.max_block > inferred::MAX_BLOCK => (f64::INFINITY, inferred::USUAL_BLOCK),
            HalfLife::Inferred => (f64::INFINITY, self.max_block),
        };
        let rule = Rule { half_life_events, half_life_ms: self.half_life_ms, population };
        Learning { rule, max_block }
    }

    /// What the engine does, as far as the model has a say in it.
    pub fn setup(&self) -> Setup {
        let explain = match self.explain {
            ExplainKind::Never => Explain::Never,
            ExplainKind::Alerts => Explain::Alerts,
            ExplainKind::Always => Explain::Always,
        };
        let alerts = Alerts::default().over(self.kind.window());
        Setup { learning: self.learning(), robust: self.robust == Some(true), explain, alerts, ..Setup::default() }
    }

    /// What is predicted from what, if the kind of model predicts one column from others.
    pub fn task(&self, schema: &Schema) -> Option<Task> {
        let cell = |name: &String| schema.columns().iter().position(|column| column.name == *name);
        let target = self.kind.predicts().then(|| self.target.as_ref().and_then(cell)).flatten()?;
        let inputs = match &self.inputs {
            Some(names) => names.iter().filter_map(cell).collect(),
            None => (0..schema.width()).filter(|cell| *cell != target).collect(),
        };
        Some(Task { target, inputs })
    }

    /// Checks that nothing is asked for that an inferred half-life doesn't go with.
    fn check_inferred(&self, source: &Source<'_>) -> Result<(), Fault> {
        let block = source.span(&["model", "max_block"]).is_some() && self.max_block > inferred::MAX_BLOCK;
        let refused = [
            (
                "half_life_events",
                !self.kind.infers(),
                format!("the half-life of a {} can't be inferred", self.kind.name()),
                "write a number of events or \"never\", or choose a mixture or a regression",
            ),
            (
                "learning",
                self.learning == LearningKind::Population,
                "a population whose half-life is to be inferred".into(),
                "remove one of the keys: a population is not forgotten",
            ),
            (
                "robust",
                self.robust == Some(true),
                "an inferred half-life with `robust`".into(),
                "remove one of the keys: events that are doubted can't say that all has changed",
            ),
            (
                "max_block",
                block,
                format!("max_block = {} with an inferred half-life", self.max_block),
                "lower it to 32 or less, or remove the key: one of the half-lives tried is 250 events",
            ),
        ];
        match refused.into_iter().find(|(_, given, ..)| *given) {
            Some((key, _, message, help)) => Err(Fault::new(source.span(&["model", key]), message, help)),
            None => Ok(()),
        }
    }

    /// Checks that the target and the inputs are there, and that the kind of model has a use for them.
    pub(super) fn complete(&self, schema: &Schema, source: &Source<'_>) -> Result<(), Fault> {
        if self.half_life_events == HalfLife::Inferred && self.kind != ModelKind::Forecast {
            self.check_inferred(source)?;
        }
        let fault = |key: &str, message: String, help: &str| {
            let span = source.span(&["model", key]).or_else(|| source.span(&["model", "kind"]));
            Err(Fault::new(span, message, help))
        };
        let kind = self.kind.name();
        if self.robust == Some(true) && self.kind == ModelKind::Forecast {
            return fault("robust", format!("a {kind} weighs events by itself"), "remove the key");
        }
        if let HalfLife::Events(events) = self.half_life_events
            && self.robust == Some(true)
            && events < LEAST_DOUBTING
        {
            return fault(
                "robust",
                format!("`robust` with half_life_events = {events}"),
                "remember at least 100 events, or remove the key: with less at hand nothing is known well enough to doubt an event",
            );
        }
        let Some(target) = &self.target else {
            if self.kind.predicts() {
                return fault(
                    "kind",
                    format!("a {kind} without a target"),
                    "add target = with the name of the column to predict",
                );
            }
            return match self.inputs {
                Some(_) => fault("inputs", "`inputs` without a target".into(), "remove the key, or set a target"),
                None => Ok(()),
            };
        };
        if !self.kind.predicts() {
            return fault("target", format!("a {kind} has no target"), "remove the key: it models all columns together");
        }
        let known = |name: &String| schema.columns().iter().find(|column| column.name == *name);
        match known(target).map(|column| column.kind) {
            None => return fault("target", format!("no column is named {target:?}"), "write a column's name as in [[columns]]"),
            Some(Kind::Timestamp) => {
                return fault("target", format!("the target {target:?} is a timestamp"), "choose a column of another kind");
            }
            Some(found) if !self.kind.targets(found) => {
                let message = format!("a {kind} can't predict {target:?}, a column of kind \"{}\"", found.name());
                return fault("target", message, self.kind.wants());
            }
            Some(found) if self.robust == Some(true) && found != Kind::Number => {
                let message = format!("{target:?}, of kind \"{}\", with `robust`", found.name());
                return fault(
                    "robust",
                    message,
                    "remove the key: an outcome that is rare is not wrong, and would be believed ever less",
                );
            }
            Some(_) => {}
        }
        for name in self.inputs.iter().flatten() {
            if known(name).is_none() {
                return fault("inputs", format!("no column is named {name:?}"), "write columns' names as in [[columns]]");
            }
            if name == target {
                return fault("inputs", format!("{name:?} is both target and input"), "remove it from `inputs`");
            }
        }
        match self.kind {
            ModelKind::Forecast => return forecast::complete(self, schema, source),
            ModelKind::NeuralNetwork => self.neural_network.complete(source)?,
            _ => {}
        }
        match self.task(schema) {
            Some(Task { inputs, .. }) if inputs.iter().all(|cell| schema.columns()[*cell].kind == Kind::Timestamp) => {
                fault("inputs", format!("nothing to predict {target:?} from"), "add a column of another kind than \"timestamp\"")
            }
            _ => Ok(()),
        }
    }
}

/// After how many events evidence weighs half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HalfLife {
    /// After so many; infinite keeps all.
    Events(f64),
    /// After as many as the stream suggests.
    Inferred,
}

impl HalfLife {
    /// All evidence is kept.
    pub const NEVER: Self = Self::Events(f64::INFINITY);
}

impl Default for HalfLife {
    fn default() -> Self {
        Self::NEVER
    }
}

/// What the posterior stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearningKind {
    /// The events so far, as far as they are not forgotten.
    #[default]
    Streaming,
    /// A population of a given size, of which the events are a sample.
    Population,
}

/// Which scores come with an account of the fields that made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExplainKind {
    /// None.
    Never,
    /// Those that alert.
    #[default]
    Alerts,
    /// All.
    Always,
}

/// Which model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A Dirichlet-process mixture over columns of all kinds.
    #[default]
    Mixture,
    /// A number from its own past and the time of the week.
    Forecast,
    /// A number from the other columns, exactly.
    LinearRegression,
    /// A boolean from the other columns.
    LogisticRegression,
    /// A count from the other columns.
    PoissonRegression,
    /// A category from the other columns.
    SoftmaxRegression,
    /// A number, boolean or category from the other columns, by a Bayesian network of several layers.
    NeuralNetwork,
    /// A variational autoencoder over columns of all kinds.
    Vae,
}

impl ModelKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixture => "mixture",
            Self::Forecast => "forecast",
            Self::LinearRegression => "linear regression",
            Self::LogisticRegression => "logistic regression",
            Self::PoissonRegression => "Poisson regression",
            Self::SoftmaxRegression => "softmax regression",
            Self::NeuralNetwork => "neural network",
            Self::Vae => "variational autoencoder",
        }
    }

    /// Whether it predicts one column.
    pub fn predicts(self) -> bool {
        !matches!(self, Self::Mixture | Self::Vae)
    }

    /// Whether its half-life can be inferred: a forecast does so by itself, and networks are no sums of what events say.
    fn infers(self) -> bool {
        !matches!(self, Self::Forecast | Self::NeuralNetwork | Self::Vae)
    }

    /// Events over which surprise is averaged before it is judged: more than one where they follow one another in time.
    fn window(self) -> f64 {
        if self == Self::Forecast { 20.0 } else { 1.0 }
    }

    /// Whether it can predict a column of this kind.
    fn targets(self, kind: Kind) -> bool {
        match self {
            Self::Mixture | Self::Vae => false,
            Self::Forecast => matches!(kind, Kind::Number | Kind::Count | Kind::Boolean),
            Self::LinearRegression => kind == Kind::Number,
            Self::LogisticRegression => kind == Kind::Boolean,
            Self::PoissonRegression => kind == Kind::Count,
            Self::SoftmaxRegression => matches!(kind, Kind::Category { .. }),
            Self::NeuralNetwork => matches!(kind, Kind::Number | Kind::Boolean | Kind::Category { .. }),
        }
    }

    /// What columns it can predict, as advice.
    fn wants(self) -> &'static str {
        match self {
            Self::Mixture | Self::Vae => "it has no target",
            Self::Forecast => "choose a column of kind \"number\", \"count\" or \"boolean\"",
            Self::LinearRegression => "choose a column of kind \"number\"",
            Self::LogisticRegression => "choose a column of kind \"boolean\"",
            Self::PoissonRegression => "choose a column of kind \"count\"",
            Self::SoftmaxRegression => "choose a column of kind \"category\"",
            Self::NeuralNetwork => "choose a column of kind \"number\", \"boolean\" or \"category\"",
        }
    }
}

/// `[model.mixture]`: the Dirichlet-process mixture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct MixtureConfig {
    /// Components at most (the truncation), 1 to 1024. Default: 16.
    #[serde(deserialize_with = "values::whole::<_, 1, 1024>")]
    pub components: usize,
    /// How numbers vary together within a component. Default: `diagonal`.
    pub covariance: Covariance,
    /// Concentration α of the Dirichlet process: the larger, the sooner a component is split. Above 0. Default: 1.0.
    #[serde(deserialize_with = "values::positive")]
    pub concentration: f64,
    /// A component with a smaller share of all events is learnt, but not yet taken for normal life: 0 or more, below 1. Default: 0.07.
    #[serde(deserialize_with = "values::share")]
    pub rare: f64,
    /// How many events the expected variance of a number within a component is worth. Above 0. Default: 200.
    #[serde(deserialize_with = "values::positive")]
    pub scale_prior_events: f64,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        let mixture::MixtureConfig { components, concentration, rare, scale_prior_events, .. } =
            mixture::MixtureConfig::default();
        Self { components, covariance: Covariance::default(), concentration, rare, scale_prior_events }
    }
}

/// How the numbers of an event vary together within a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Covariance {
    /// Each number on its own.
    #[default]
    Diagonal,
    /// All numbers jointly.
    Full,
}

/// `[model.regression]`: regressions of all kinds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct RegressionConfig {
    /// Standard deviation of a coefficient before any event, in standard units. Above 0, at most 1000. Default: 2.5.
    #[serde(deserialize_with = "values::up_to_a_thousand")]
    pub prior_scale: f64,
    /// Steps in which a block is taken in, if no more are needed: while they lead far, up to 20 are taken. A linear regression needs
    /// none. 1 to 100. Default: 2.
    #[serde(deserialize_with = "values::whole::<_, 1, 100>")]
    pub inner_steps: usize,
}

impl Default for RegressionConfig {
    fn default() -> Self {
        let regression::RegressionConfig { prior_scale, inner_steps, .. } = regression::RegressionConfig::default();
        Self { prior_scale, inner_steps }
    }
}
