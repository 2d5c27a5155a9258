//! `surprisal demo`: the service at work on bundled data, with nothing to install.
//!
//! Starts a broker inside the process (or takes a real cluster), replays a labelled data set into its events topic, runs the very
//! service of `surprisal run` on it, reads the scores back and holds them against the labels, which the model never sees. The broker
//! in the process keeps little and knows no transactions, so the replay is paced to the scores and nothing is claimed about restarts.

mod replay;
mod scores;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::mocking::MockCluster;
use tokio::runtime::Runtime;

use self::replay::{Data, Replay};
use self::scores::ScoreReader;
use super::AppError;
use super::report::Report;
use super::service::{serve, stop_on_signals};
use super::{model, say, stream_settings};
use crate::cli::DemoArgs;
use crate::config::{Config, Environment};
use crate::pipeline::Committed;
use crate::stream::StreamError;
use crate::stream::kafka::{self, Topics};
use crate::telemetry::Health;
use crate::telemetry::http::Server;
use crate::telemetry::metrics::Metrics;

/// Events sent and not yet scored: so many fit into the broker's 5 MiB a partition, scores included.
const WINDOW: usize = 8192;

/// Records in a transaction: some, so that sending, scoring and reading overlap within the window.
const COMMIT: usize = WINDOW / 4;

/// Runs the command.
pub fn run(arguments: &DemoArgs) -> Result<(), AppError> {
    let data = Data::bundled()?;
    let total = arguments.events.map_or(data.len(), |events| events as usize);
    let topics = topics(arguments.brokers.is_some());
    // The broker inside the process lives as long as its handle.
    let (brokers, embedded) = match &arguments.brokers {
        Some(brokers) => {
            replay::create_topic(brokers, &topics.events)?;
            (brokers.clone(), None)
        }
        None => {
            let cluster = embedded(&topics)?;
            (cluster.bootstrap_servers(), Some(cluster))
        }
    };
    let config = config(&data, &brokers, &topics)?;

    let runtime = Runtime::new().map_err(|source| AppError::System { doing: "starting threads", source })?;
    let (metrics, health) = (Metrics::install()?, Health::default());
    let server = runtime.block_on(Server::start(config.http.listen, metrics, health.clone()))?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(&runtime, Arc::clone(&stop))?;
    say(format_args!("Replaying {total} events of {} into `{}` at {brokers}", data.name(), topics.events))?;
    if arguments.brokers.is_some() {
        say(format_args!("The topics `{}` and beside it stay when the demo is over", topics.events))?;
    }
    say(format_args!("Metrics are served at http://{}/metrics", server.address()))?;

    let (committed, commits) = mpsc::channel();
    let model = model(&config.modelled(), &config.model)?;
    let service = thread::spawn({
        let (config, health, stop) = (config.clone(), health.clone(), Arc::clone(&stop));
        let settings = kafka::Settings { check_topics: embedded.is_none(), ..stream_settings(&config.model.id, &config.kafka) };
        move || serve(model, &config, settings, health, &stop, &mut |report| drop(committed.send(report.clone())))
    });
    while !health.is_ready() && !service.is_finished() && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
    let replayed = follow(&data, total, &brokers, &topics, &commits, &service, &stop);
    if replayed.is_ok() && arguments.serve && !stop.load(Ordering::Relaxed) {
        say("Still serving; stop with Ctrl-C")?;
        while !stop.load(Ordering::Relaxed) && !service.is_finished() {
            thread::sleep(Duration::from_millis(100));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let served = service.join().map_err(|_| AppError::Unusable("the service's thread has panicked".into()))?;
    runtime.block_on(server.stop());
    // A service that failed is why the replay came to no end.
    served?;
    let report = replayed?;
    if let Some(path) = &arguments.report {
        report.save(path)?;
    }
    Ok(())
}

/// Sends the events, reads the scores back and shows how far it is; ends with the table.
fn follow(
    data: &Data,
    total: usize,
    brokers: &str,
    topics: &Topics,
    commits: &mpsc::Receiver<Committed>,
    service: &thread::JoinHandle<Result<(), AppError>>,
    stop: &AtomicBool,
) -> Result<Report, AppError> {
    let bar = ProgressBar::new(total as u64);
    let style = ProgressStyle::with_template("{bar:32} {pos:>6}/{len} {msg}");
    bar.set_style(style.map_err(|error| AppError::Unusable(error.to_string()))?);
    let mut replay = Replay::new(data, total, brokers, &topics.events)?;
    let mut reader = ScoreReader::open(brokers, &topics.scores)?;
    let (mut dead, mut lag, mut recent) = (0, 0, f64::NAN);
    let started = Instant::now();
    while reader.len() + dead < total {
        if service.is_finished() || stop.load(Ordering::Relaxed) {
            bar.abandon();
            return Err(AppError::Unusable(format!("stopped after {} of {total} events", reader.len())));
        }
        replay.send_up_to(reader.len() + dead + WINDOW)?;
        reader.poll(Duration::from_millis(20))?;
        for report in commits.try_iter() {
            dead += report.dead_letters as usize;
            lag = report.lag_records.unwrap_or(lag);
            if report.scored > 0 {
                recent = report.surprisal_sum / report.scored as f64;
            }
        }
        bar.set_position((reader.len() + dead) as u64);
        let rate = (reader.len() + dead) as f64 / started.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:>7.0} events/s   lag {lag:>5} records   mean surprisal {recent:6.3} nats"));
    }
    bar.finish();
    let seconds = started.elapsed().as_secs_f64();
    let (surprisals, offsets) = reader.into_scores();
    let labels: Vec<_> = offsets.iter().map(|offset| Some(data.is_anomaly(*offset))).collect();
    let report = Report::new(total as u64, dead as u64, seconds, &surprisals, &labels);
    say("")?;
    report.print(&mut std::io::stdout()).map_err(|source| AppError::System { doing: "printing the report", source })?;
    Ok(report)
}

/// The topics of a demo. On a cluster of somebody's they have names of their own each time.
fn topics(shared: bool) -> Topics {
    let prefix = if shared { format!("surprisal-demo-{}", std::process::id()) } else { "demo".into() };
    let name = |kind: &str| format!("{prefix}.{kind}");
    Topics { events: name("events"), scores: name("scores"), posterior: name("posterior"), dead_letters: name("dead-letters") }
}

/// A broker inside the process.
fn embedded(topics: &Topics) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, AppError> {
    let failed = |error| AppError::Stream(StreamError::Stop(format!("the broker inside the process can't be started: {error}")));
    let cluster = MockCluster::new(1).map_err(failed)?;
    for topic in [&topics.events, &topics.scores, &topics.posterior, &topics.dead_letters] {
        cluster.create_topic(topic, 1, 1).map_err(failed)?;
    }
    Ok(cluster)
}

/// The configuration that a person would write for the data.
fn config(data: &Data, brokers: &str, topics: &Topics) -> Result<Config, AppError> {
    let Topics { events, scores, posterior, dead_letters } = topics;
    let mut text = format!(
        "[model]\nid = \"demo\"\n[kafka]\nbrokers = \"{brokers}\"\ngroup = \"{events}\"\nevents = \"{events}\"\nscores = \"{scores}\"\n\
         posterior = \"{posterior}\"\ndead_letters = \"{dead_letters}\"\n\
         commit_max_events = {COMMIT}\n[http]\nlisten = \"127.0.0.1:0\"\n"
    );
    for column in data.columns() {
        text.push_str(&format!("[[columns]]\nname = \"{column}\"\nkind = \"number\"\n"));
    }
    let environment = Environment { host: "demo".into(), variable: None };
    Ok(Config::parse(&text, "the demo's configuration", &environment)?)
}
