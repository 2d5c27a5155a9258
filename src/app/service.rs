//! `surprisal run` and `surprisal check`: the service on a Kafka cluster.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::{AppError, ModelOf, loop_settings, say, stream_settings};
use crate::codec::json::{JsonDecoder, Limits};
use crate::config::{Config, KafkaConfig};
use crate::failpoint;
use crate::features::Schema;
use crate::models::AnyModel;
use crate::pipeline::{Committed, Pipeline, SystemClock};
use crate::stream::kafka::{self, KafkaStream};
use crate::telemetry::Health;
use crate::telemetry::http::Server;
use crate::telemetry::metrics::Metrics;

/// Runs the service until SIGTERM or SIGINT.
pub fn run(config: &Config, model_of: ModelOf<'_>) -> Result<(), AppError> {
    if failpoint::PRESENT {
        tracing::warn!("built with the feature `failpoints`, for tests: the environment can have it die; not for production");
    }
    let runtime = Runtime::new().map_err(|source| AppError::System { doing: "starting the HTTP server's threads", source })?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&runtime, Arc::clone(&stop))?;
    let model = model_of(&config.modelled(), &config.model)?;
    let metrics = Metrics::install()?;
    let health = Health::default();
    let server = runtime.block_on(Server::start(config.http.listen, metrics, health.clone()))?;
    tracing::info!(address = %server.address(), "metrics are served");
    let settings = stream_settings(&config.model.id, &config.kafka);
    let served = serve(model, config, settings, health, &stop, &mut |_| {});
    runtime.block_on(server.stop());
    served
}

/// Runs the loop on Kafka until `stop` says so.
pub fn serve(
    model: AnyModel,
    config: &Config,
    stream: kafka::Settings,
    health: Health,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Committed),
) -> Result<(), AppError> {
    let Config { model: model_config, schema, kafka, .. } = config;
    let stream = KafkaStream::connect(stream, Arc::new(decoder(schema, kafka)), schema.width())?;
    tracing::info!(group = kafka.group, "connected; waiting for the group to assign partitions");
    let settings = loop_settings(&model_config.id, kafka);
    let clock = SystemClock::default();
    let pipeline = Pipeline::new(model, schema.clone(), config.setup(), settings, stream, clock, health)?;
    pipeline.run(stop, observe)?;
    tracing::info!("stopped: everything that was done is committed");
    Ok(())
}

/// What makes events of records.
pub fn decoder(schema: &Schema, config: &KafkaConfig) -> JsonDecoder {
    JsonDecoder::new(schema, Limits { max_bytes: config.max_event_bytes, max_depth: config.max_depth })
}

/// Time for an orderly stop: less than the ten seconds that most supervisors grant before they kill.
const GRACE: Duration = Duration::from_secs(8);

/// Sets `stop` on SIGTERM or SIGINT. A second one ends the process at once, and so does the end of [`GRACE`]: while brokers don't
/// answer, there is no one to commit to, and what is not committed will be read again.
pub fn stop_on_signals(runtime: &Runtime, stop: Arc<AtomicBool>) -> Result<(), AppError> {
    let listening = |source| AppError::System { doing: "listening for signals", source };
    let _context = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(listening)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening)?;
    runtime.spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping: committing what is done and leaving the group");
        stop.store(true, Ordering::Relaxed);
        let why = tokio::select! {
            _ = terminate.recv() => "told twice",
            _ = interrupt.recv() => "told twice",
            () = tokio::time::sleep(GRACE) => "it took too long: do the brokers answer?",
        };
        tracing::warn!(why, "leaving at once: what is not committed will be read again");
        std::process::exit(i32::from(crate::cli::status::FAILURE));
    });
    Ok(())
}

/// Checks the configuration and the connection, and starts nothing.
pub fn check(config: &Config, path: &Path, model_of: ModelOf<'_>) -> Result<(), AppError> {
    model_of(&config.modelled(), &config.model)?;
    say(format_args!("{}: the configuration is right", path.display()))?;
    let found = kafka::check(&stream_settings(&config.model.id, &config.kafka))?;
    let (brokers, events) = (&config.kafka.brokers, &config.kafka.events);
    say(format_args!("{brokers}: reached, events topic `{events}` has {} partitions", found.event_partitions))?;
    for topic in found.missing {
        say(format_args!("topic `{topic}` does not exist yet; `surprisal run` will create it"))?;
    }
    Ok(())
}
