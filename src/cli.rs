//! The command line: what a person types becomes a value, with nothing done yet.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::codec::timestamp;
use crate::telemetry::logs::{LogFilter, LogFormat};

/// Exit statuses of the program.
pub mod status {
    /// Done.
    pub const OK: u8 = 0;
    /// It began, and failed.
    pub const FAILURE: u8 = 1;
    /// The command line or the configuration can't be meant; nothing was begun. (clap exits with the same status.)
    pub const USAGE: u8 = 2;
}

const EXIT: &str = "Exit status: 0 done; 1 failed; 2 wrong command line or configuration, nothing begun.\n\n\
                    Documentation of the configuration: docs/configuration.md; of the metrics: docs/metrics.md.";

/// Says how surprising each event of a stream is
///
/// Surprisal keeps a Bayesian model of an event stream up to date. It reads JSON events from Kafka, scores each one by its surprisal,
/// -ln p(event | everything before it) in nats, learns it, and writes scores and the posterior back to Kafka, exactly once.
#[derive(Clone, Debug, Parser)]
#[command(name = "surprisal", version, after_help = EXIT)]
pub struct Cli {
    /// How log lines are written, on standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or levels by module, as in warn,surprisal=debug
    #[arg(long = "log", global = true, env = "SURPRISAL_LOG", default_value = "info", value_name = "LEVEL")]
    pub log_filter: LogFilter,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the service: score and learn events until told to stop
    ///
    /// Reads the events topic, writes scores, posterior and dead letters, and serves metrics. On SIGTERM or Ctrl-C it commits what is
    /// done, leaves the consumer group and ends with status 0.
    #[command(after_help = "Example:\n  surprisal run --config surprisal.toml --log-format json")]
    Run(ConfigArgs),

    /// Check a configuration and the connection to Kafka, and start nothing
    ///
    /// Errors show the file, the line, the value and what would be right.
    #[command(after_help = "Example:\n  surprisal check --config surprisal.toml")]
    Check(ConfigArgs),

    /// Say what the model has learnt, from its latest committed snapshots
    ///
    /// Reads the posterior topic only; may be used while the service runs.
    #[command(
        after_help = "Example:\n  surprisal inspect --config surprisal.toml\n  surprisal inspect --config surprisal.toml --json\n  \
                      surprisal inspect --config surprisal.toml --snapshots"
    )]
    Inspect(InspectArgs),

    /// Take events out of the posterior again
    ///
    /// While no instance runs: they must be stopped. Where the model allows it, the events' evidence is subtracted; otherwise the evidence
    /// goes back to before them, and the next start learns the rest again, without them. Scores that were published stay. What was
    /// forgotten is kept in the snapshots; `surprisal inspect` shows it.
    #[command(
        after_help = "Examples:\n  surprisal forget --config surprisal.toml --partition 3 --from 1200 --to 1350 --dry-run\n  \
                      surprisal forget --config surprisal.toml --since 2026-01-31T08:00:00Z --until 2026-01-31T09:30:00Z"
    )]
    Forget(ForgetArgs),

    /// Set the posterior back to an earlier snapshot
    ///
    /// While no instance runs: they must be stopped. All that came after the snapshot is forgotten, up to the group's offset; scoring and
    /// learning go on from there. `surprisal inspect --snapshots` lists what there is to go back to.
    #[command(after_help = "Examples:\n  surprisal rollback --config surprisal.toml --to 3@1200\n  \
                      surprisal rollback --config surprisal.toml --to 2026-01-31T08:00:00Z --dry-run")]
    Rollback(RollbackArgs),

    /// Say which fields made an event's surprisal
    ///
    /// Reads the event at a place of the events topic and accounts for its surprisal: what each field adds to it, in nats, what
    /// was to be expected of it given the others, and which regular part of the model is nearest. May be used while the service
    /// runs. The posterior is that of the latest committed snapshots, which may have learnt the event; the account that was
    /// published with the score, if any, is that of the posterior then.
    #[command(after_help = "Example:\n  surprisal explain --config surprisal.toml --partition 3 --offset 1200\n  \
                      surprisal explain --config surprisal.toml --partition 3 --offset 1200 --json")]
    Explain(ExplainArgs),

    /// Draw events from the posterior predictive, from the snapshots in Kafka
    ///
    /// What the model believes events to look like: one JSON object a line, with the configured paths.
    #[command(after_help = "Example:\n  surprisal sample --config surprisal.toml --count 5 --seed 1")]
    Sample(SampleArgs),

    /// Score and learn the rows of a file, without Kafka
    ///
    /// Each row is scored before it is learnt. Without a configuration the columns are inferred from the file.
    #[command(
        after_help = "Examples:\n  surprisal backtest --input events.csv.gz --label is_fraud --scores scores.csv --report report.json\n  \
                      surprisal backtest --input events.csv.gz --html report.html"
    )]
    Backtest(BacktestArgs),

    /// Show the service at work on bundled data, with nothing to install
    ///
    /// Replays a labelled data set through a broker inside the process, and ends with a table of figures.
    #[command(after_help = "Example:\n  surprisal demo\n  surprisal demo --brokers localhost:9092 --serve")]
    Demo(DemoArgs),

    /// Backtest every data set of a directory and print a table
    #[command(after_help = "Example:\n  surprisal scoreboard --data data --output target/scoreboard.json")]
    Scoreboard(ScoreboardArgs),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// What to look at, and how to say it.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// Print JSON in place of words
    #[arg(long)]
    pub json: bool,

    /// List the snapshots that `rollback` can go back to, instead
    #[arg(long)]
    pub snapshots: bool,
}

/// Which events to forget: offsets of a partition, or a time.
#[derive(Clone, Debug, Args)]
pub struct ForgetArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The partition; with a time, by default all
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// The first offset to forget; or say --since and --until
    #[arg(long, value_name = "OFFSET", requires = "partition", requires = "to", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,

    /// The offset after the last to forget
    #[arg(long, value_name = "OFFSET", requires = "from", value_parser = clap::value_parser!(i64).range(1..))]
    pub to: Option<i64>,

    /// The time of the first event to forget, by the timestamps of the Kafka records, not by a column: a text like
    /// 2024-02-29T12:00:00Z, or seconds, ms, µs or ns since 1970
    #[arg(long, value_name = "TIME", requires = "until", conflicts_with = "from", required_unless_present = "from", value_parser = time)]
    pub since: Option<i64>,

    /// The time of the first event behind them that stays
    #[arg(long, value_name = "TIME", requires = "since", value_parser = time)]
    pub until: Option<i64>,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where to go back to.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// A partition's snapshot by its name, PARTITION@OFFSET, or a time: of every partition the last one made by then
    #[arg(long, value_name = "SNAPSHOT", value_parser = snapshot)]
    pub to: SnapshotName,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which archived snapshots are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotName {
    /// The one of a partition that covers offsets up to this one.
    One {
        /// The partition.
        partition: i32,
        /// Where the snapshot ends.
        covers_to: i64,
    },
    /// Of every partition the last of this time or before, in milliseconds since 1970.
    Time(i64),
}

fn time(text: &str) -> Result<i64, String> {
    let number = || timestamp::from_integer(text.parse().ok()?);
    timestamp::from_text(text).or_else(number).ok_or_else(|| format!("expected {}", timestamp::EXPECTED))
}

fn snapshot(text: &str) -> Result<SnapshotName, String> {
    let name = text.split_once('@').and_then(|(partition, covers_to)| {
        Some(SnapshotName::One { partition: partition.parse().ok()?, covers_to: covers_to.parse().ok()? })
    });
    let wanted = |_| format!("expected a snapshot's name, like 3@1200, or {}", timestamp::EXPECTED);
    name.map_or_else(|| time(text).map(SnapshotName::Time).map_err(wanted), Ok)
}

/// Which event to account for, and how to say it.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The event's partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: i32,

    /// The event's offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: i64,

    /// Print JSON in place of words
    #[arg(long)]
    pub json: bool,
}

/// How many events to draw, and which.
#[derive(Clone, Debug, Args)]
pub struct SampleArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// How many events
    #[arg(long, default_value_t = 10)]
    pub count: usize,

    /// Other events with another seed, the same with the same
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// What to score, and where to put the results.
#[derive(Clone, Debug, Args)]
pub struct BacktestArgs {
    /// Events: .csv with a header or .jsonl with an object a line, either also compressed as .gz
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,

    /// A configuration that says model and columns; by default columns are inferred and the model is the mixture
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// A column that says which rows are anomalies (0 or false: no; 1 or true: yes); it is never shown to the model
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,

    /// Write surprisal, tail probability, alert, what was expected and changes of regime of each row here, as CSV; rows count from 0
    #[arg(long, value_name = "FILE.csv")]
    pub scores: Option<PathBuf>,

    /// Account for every row: a column `explanation` of the scores names the first three fields that made the surprisal, with nats
    #[arg(long, requires = "scores")]
    pub explain: bool,

    /// Write the figures here, as JSON: events, scored, roc_auc, average_precision, mean_surprisal (nats), seconds and more
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,

    /// Write a page with charts here: one HTML file that needs no network
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
}

/// How to show the service.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Use this cluster in place of the broker inside the process
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,

    /// Keep serving metrics after the replay, until told to stop
    #[arg(long)]
    pub serve: bool,

    /// Write the figures here, as JSON: events, scored, dead_letters, roc_auc, average_precision, events_per_second, seconds
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,

    /// Events to replay, at least 1; the data set begins anew at its end. By default each once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
}

/// Which data sets to backtest.
#[derive(Clone, Debug, Args)]
pub struct ScoreboardArgs {
    /// Directory of data sets: labelled tables in tabular/, the Numenta Anomaly Benchmark in nab/, or one of the two
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Write each series' timestamp,anomaly_score below this directory, as the benchmark's own scorer reads them
    #[arg(long, value_name = "OUTDIR")]
    pub nab_scores: Option<PathBuf>,

    /// Write the table here, as JSON
    #[arg(long, value_name = "FILE.json", default_value = "target/scoreboard.json")]
    pub output: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_accepted() {
        let mut examples = 0;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|line| line.starts_with("surprisal ")) {
                let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                let name = line.split(' ').nth(1).expect("a subcommand");
                assert!(format!("{:?}", cli.command).to_lowercase().starts_with(name), "{line}");
                examples += 1;
            }
            assert!(command.get_about().is_some() && help.contains("Example"), "{}", command.get_name());
        }
        assert_eq!(examples, 17);
    }

    #[test]
    fn log_options_stand_before_or_behind_the_command() {
        for line in
            ["surprisal --log-format json --log debug run --config c", "surprisal run --config c --log-format json --log debug"]
        {
            let cli = parse(line).expect("it can be meant");
            assert_eq!((cli.log_format, cli.log_filter), (LogFormat::Json, "debug".parse().expect("a level")));
            assert!(matches!(cli.command, Command::Run(ConfigArgs { config }) if config.as_os_str() == "c"));
        }
    }

    #[test]
    fn options_are_taken_in_and_defaults_filled_in() {
        let Command::Demo(demo) = parse("surprisal demo --brokers b:1 --serve --report r.json --events 5").unwrap().command
        else {
            panic!("the demo was asked for")
        };
        assert_eq!((demo.brokers.as_deref(), demo.serve, demo.events), (Some("b:1"), true, Some(5)));
        assert_eq!(demo.report, Some("r.json".into()));
        let Command::Scoreboard(scoreboard) = parse("surprisal scoreboard --data d").unwrap().command else {
            panic!("the scoreboard was asked for")
        };
        assert_eq!((scoreboard.data, scoreboard.output), ("d".into(), "target/scoreboard.json".into()));
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        for (line, kind) in [
            ("surprisal run", ErrorKind::MissingRequiredArgument),
            ("surprisal backtest", ErrorKind::MissingRequiredArgument),
            ("surprisal run --confg c", ErrorKind::UnknownArgument),
            ("surprisal rn --config c", ErrorKind::InvalidSubcommand),
            ("surprisal demo --events 0", ErrorKind::ValueValidation),
            ("surprisal demo --log-format xml", ErrorKind::InvalidValue),
            ("surprisal demo --log surprisal=loud", ErrorKind::ValueValidation),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!((error.kind(), error.exit_code()), (kind, i32::from(status::USAGE)), "{line}");
        }
    }
}
