//! How the parts are put together: each command of the program, from what was typed to what is done.
//!
//! Owns no logic of inference, of the loop or of Kafka. Everything that a part takes as an argument, such as time, names and settings,
//! is given here.

mod amend;
mod backtest;
mod demo;
mod evaluation;
mod explain;
pub mod html;
mod inspect;
mod model;
mod nab;
mod report;
mod sample;
mod scoreboard;
mod service;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, status};
use crate::codec::wire;
use crate::config::{self, Config, ConfigError, DeletedEvents, HalfLife, KafkaConfig, ModelConfig, ScoresFormat};
use crate::device::DeviceError;
use crate::engine::EngineError;
use crate::features::Schema;
use crate::models::{AnyModel, Model};
use crate::pipeline::amend::AmendError;
use crate::pipeline::{self, PipelineError};
use crate::stream::file::FileError;
use crate::stream::{StreamError, kafka};
use crate::telemetry::http::HttpError;
use crate::telemetry::logs::{self, LogError};
use crate::telemetry::metrics::MetricsError;

pub use model::model;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration can't be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configured model can't be.
    #[error(transparent)]
    Model(Box<dyn Error + Send + Sync>),
    /// The configured device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Logs could not be started.
    #[error(transparent)]
    Logs(#[from] LogError),
    /// Metrics could not be started.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The HTTP server could not be started.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An input file can't be read.
    #[error(transparent)]
    Input(#[from] FileError),
    /// The log can't be read or written.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The engine refuses its input.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loop ended.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The posterior stays as it is.
    #[error(transparent)]
    Amend(#[from] AmendError),
    /// A snapshot can't be read.
    #[error("{0}; use the configuration that this model is run with, or the id of another model")]
    Wire(#[from] wire::WireError),
    /// A file or folder of results or data can't be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something else of the operating system.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// Nothing to be done with what was given.
    #[error("{0}")]
    Unusable(String),
}

impl AppError {
    /// The exit status that says so.
    pub fn status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Model(_) | Self::Device(_) => status::USAGE,
            _ => status::FAILURE,
        }
    }

    fn model(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Model(error.into())
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.into(), source }
    }
}

/// Makes the model over a schema's columns.
type ModelOf<'a> = &'a dyn Fn(&Schema, &ModelConfig) -> Result<AnyModel, AppError>;

/// Freed memory that is kept at hand, up to twice as much.
const KEPT_BYTES: usize = 4 << 20;

/// Has glibc keep what is freed for what is asked for next. Each block asks for what the one before it has freed, and by default that
/// goes back to the system time and again, which costs networks an eighth of their time. The bounds follow the largest piece that was
/// ever freed (mallopt(3)); elsewhere it does nothing.
pub fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<(), AppError> {
    execute(cli, &model)
}

/// The whole program with a model of one's own: `model_of` makes it over the configured columns and those derived from them, in place
/// of the configured kind, and heeds of `[model]` what it likes. (`demo` and `scoreboard` bring their own columns, and keep to the
/// program's models.)
///
/// ```no_run
/// use surprisal::app;
/// use surprisal::models::AnyModel;
/// use surprisal::models::mixture::{Mixture, MixtureConfig};
///
/// fn main() -> std::process::ExitCode {
///     app::main_with(|schema, _| {
///         let model = Mixture::new(schema, MixtureConfig { components: 1, ..MixtureConfig::default() })?;
///         Ok(AnyModel::new(model))
///     })
/// }
/// ```
pub fn main_with(model_of: impl Fn(&Schema, &ModelConfig) -> Result<AnyModel, Box<dyn Error + Send + Sync>>) -> ExitCode {
    exit(execute(Cli::parse(), &|schema, config| {
        let model = model_of(schema, config).map_err(AppError::Model)?;
        check_memory(&model, config)?;
        Ok(model)
    }))
}

/// Refuses a model that infers no half-life where that was asked for.
fn check_memory(model: &AnyModel, config: &ModelConfig) -> Result<(), AppError> {
    if config.half_life_events != HalfLife::Inferred {
        return Ok(());
    }
    if model.memory(&model.posterior(&model.nothing()).map_err(AppError::model)?).is_empty() {
        let said = format!(
            "half_life_events = \"inferred\", but the model {:?} doesn't infer one: write a number of events or \"never\", or \
             wrap the model in `models::Inferred`",
            model.kind()
        );
        return Err(AppError::Model(said.into()));
    }
    Ok(())
}

/// Says on standard error what went wrong, if anything did, and with which status to end.
pub fn exit(result: Result<(), AppError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(status::OK),
        Err(error) => {
            // Where even that can't be said, the status still says it.
            let _ = writeln!(io::stderr(), "surprisal: {error}");
            ExitCode::from(error.status())
        }
    }
}

fn execute(cli: Cli, model_of: ModelOf<'_>) -> Result<(), AppError> {
    keep_freed_memory();
    logs::init(cli.log_format, &cli.log_filter)?;
    match cli.command {
        Command::Run(arguments) => service::run(&Config::load(&arguments.config)?, model_of),
        Command::Check(arguments) => service::check(&Config::load(&arguments.config)?, &arguments.config, model_of),
        Command::Inspect(arguments) => inspect::run(&Config::load(&arguments.config)?, &arguments, model_of),
        Command::Forget(arguments) => amend::forget(&Config::load(&arguments.config)?, &arguments, model_of),
        Command::Rollback(arguments) => amend::roll_back(&Config::load(&arguments.config)?, &arguments, model_of),
        Command::Explain(arguments) => explain::run(&Config::load(&arguments.config)?, &arguments, model_of),
        Command::Sample(arguments) => sample::run(&Config::load(&arguments.config)?, &arguments, model_of),
        Command::Backtest(arguments) => backtest::run(&arguments, model_of),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Scoreboard(arguments) => scoreboard::run(&arguments),
    }
}

/// Prints a line. A full disk or a reader that has gone is an error like others.
fn say(line: impl Display) -> Result<(), AppError> {
    writeln!(io::stdout(), "{line}").map_err(|source| AppError::System { doing: "printing", source })
}

/// What the Kafka stream is told.
fn stream_settings(model_id: &str, config: &KafkaConfig) -> kafka::Settings {
    let topics = kafka::Topics {
        events: config.events.clone(),
        scores: config.scores.clone(),
        posterior: config.posterior.clone(),
        dead_letters: config.dead_letters.clone(),
    };
    kafka::Settings {
        start: match config.start {
            config::Start::Earliest => kafka::Start::Earliest,
            config::Start::Latest => kafka::Start::Latest,
        },
        static_membership: config.static_membership,
        transaction_timeout: config.transaction_timeout,
        session_timeout: config.session_timeout,
        create_topics: config.create_topics,
        skip_deleted: config.deleted_events == DeletedEvents::Skip,
        replication_factor: (config.replication_factor > 0).then_some(config.replication_factor),
        properties: config.client_properties().map(|(name, value)| (name.into(), value.into())).collect(),
        ..kafka::Settings::new(&config.brokers, &config.group, &config.instance, model_id, topics)
    }
}

/// What the loop is told.
fn loop_settings(model_id: &str, config: &KafkaConfig) -> pipeline::Settings {
    pipeline::Settings {
        model_id: model_id.into(),
        topic: config.events.clone(),
        skip_deleted: config.deleted_events == DeletedEvents::Skip,
        commit_interval: config.commit_interval,
        commit_max_events: config.commit_max_events,
        snapshot_interval: config.snapshot_interval,
        archive: pipeline::Archive { snapshots: config.archived_snapshots, interval: config.archive_interval },
        scores_format: match config.scores_format {
            ScoresFormat::Json => wire::Format::Json,
            ScoresFormat::Protobuf => wire::Format::Protobuf,
        },
    }
}
