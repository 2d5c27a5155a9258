//! Logs: lines for people or JSON objects for machines, on standard error.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line of text, in colours on a terminal
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// What is logged: a level, or levels by module like `warn,surprisal=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = LogError;

    fn from_str(directives: &str) -> Result<Self, LogError> {
        match EnvFilter::builder().parse(directives) {
            Ok(_) => Ok(Self(directives.to_owned())),
            Err(source) => Err(LogError::Filter { directives: directives.to_owned(), source }),
        }
    }
}

/// Why logs can't be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a filter.
    #[error(
        "{directives:?} is not a log level: {source}; write error, warn, info, debug or trace, or levels by module: warn,surprisal=debug"
    )]
    Filter {
        /// What was asked for.
        directives: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("logging was started twice")]
    Twice,
}

/// Logs to standard error from now on. To be called once.
pub fn init(format: LogFormat, filter: &LogFilter) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = subscriber(format, filter, colours, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

fn subscriber<W>(
    format: LogFormat,
    LogFilter(directives): &LogFilter,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::builder().parse(directives).map_err(|source| LogError::Filter { directives: directives.clone(), source })?;
    // A line that can't be written is lost; saying so on a standard error that is full would end the program.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_ansi(colours).with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// What `work` logs on this thread.
#[cfg(test)]
pub(crate) fn captured(format: LogFormat, directives: &str, work: impl FnOnce()) -> String {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics while writing").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let buffer = Buffer::default();
    let writer = buffer.clone();
    let filter = directives.parse().expect("a filter");
    let subscriber = subscriber(format, &filter, false, move || writer.clone()).expect("the filter is one");
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(std::mem::take(&mut buffer.0.lock().expect("nobody panics while writing"))).expect("logs are UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() {
        tracing::info!(offset = 7, "hello");
        tracing::debug!("only with debug");
    }

    #[test]
    fn json_lines_hold_level_target_message_and_fields() {
        let log = captured(LogFormat::Json, "info", work);
        let line: serde_json::Value = serde_json::from_str(&log).expect("one JSON object");
        assert_eq!((&line["level"], &line["message"], &line["offset"]), (&"INFO".into(), &"hello".into(), &7.into()));
        assert_eq!(line["target"], module_path!());
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }

    #[test]
    fn text_lines_are_plain_where_there_is_no_terminal() {
        let log = captured(LogFormat::Text, "info", work);
        assert!(log.ends_with(&format!("INFO {}: hello offset=7\n", module_path!())), "{log}");
        assert!(!log.contains('\u{1b}'), "{log:?}");
    }

    #[test]
    fn levels_are_by_module() {
        assert_eq!(captured(LogFormat::Text, "debug", work).lines().count(), 2);
        assert_eq!(captured(LogFormat::Text, &format!("error,{}=debug", module_path!()), work).lines().count(), 2);
        assert_eq!(captured(LogFormat::Text, "error", work), "");
    }

    #[test]
    fn a_wrong_level_is_named() {
        let error = "surprisal=loud".parse::<LogFilter>().expect_err("not a level").to_string();
        assert!(error.starts_with("\"surprisal=loud\" is not a log level: ") && error.contains("debug or trace"), "{error}");
    }
}
