//! Errors that show the place, the text that stands there and what would be right, and never a secret.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::properties::is_secret;

/// Why a configuration can't be used. None of it is worth a retry: a person has to change something.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file says something that can't be meant.
    #[error("{0}")]
    Invalid(Box<Invalid>),
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub file: String,
    /// Where in the file, unless something is missing from the whole.
    pub place: Option<Place>,
    /// The value, and what is expected instead.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The first character at fault.
    pub column: usize,
    /// Characters at fault in the line.
    pub width: usize,
    /// The line's text, with secrets masked.
    pub text: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, message, help } = self;
        let gutter = place.as_ref().map_or(1, |place| place.line.to_string().len());
        match place {
            None => write!(f, "{file}: {message}")?,
            Some(Place { line, column, width, text }) => {
                writeln!(f, "{file}:{line}:{column}: {message}")?;
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{line} | {text}")?;
                write!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(*width), indent = column - 1)?;
            }
        }
        help.iter().try_for_each(|help| write!(f, "\n{:gutter$} = help: {help}", ""))
    }
}

/// A fault and the bytes of the text that it is about.
#[derive(Debug)]
pub(super) struct Fault {
    span: Option<Range<usize>>,
    message: String,
    help: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: Some(help.into()) }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let (message, span) = (error.message(), error.span());
        for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            let parts = message.strip_prefix(prefix).and_then(|rest| rest.split_once("`, expected "));
            if let Some((found, expected)) = parts {
                let known: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
                return Self::new(span, format!("unknown {what} `{found}`"), suggest(found, &known));
            }
        }
        // The reader's own words, in the file's terms.
        let message = message.replace("missing field", "missing key").replace("wanted string or table", "expected a string");
        Self { span, message, help: None }
    }
}

/// Names the known word that `found` may have been meant to be, and all others.
fn suggest(found: &str, known: &[&str]) -> String {
    let distance = |word: &&&str| strsim::damerau_levenshtein(found, word);
    let nearest = known.iter().min_by_key(distance).filter(|word| distance(word) <= 1 + found.len() / 3);
    let question = nearest.map(|word| format!("did you mean `{word}`? ")).unwrap_or_default();
    format!("{question}known here: {}", known.join(", "))
}

/// The text of a configuration file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Where the value at `path` (keys, and indices of arrays) stands, if it is in the file.
    pub(super) fn span(&self, path: &[&str]) -> Option<Range<usize>> {
        let table = DeTable::parse(self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let mut value = table.get_ref().get(*first)?;
        for step in rest {
            value = match value.get_ref() {
                DeValue::Table(table) => table.get(*step)?,
                DeValue::Array(array) => array.get(step.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value.span())
    }

    /// The error for `fault`, with its place in this text.
    pub(super) fn locate(&self, fault: Fault) -> ConfigError {
        let Fault { span, message, help } = fault;
        ConfigError::Invalid(Box::new(Invalid {
            file: self.file.into(),
            place: span.map(|span| self.place(span)),
            message,
            help,
        }))
    }

    fn place(&self, span: Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[start..at].chars().count() + 1;
        let text = self.text[start..end].trim_end_matches('\r');
        match mask(&self.text[..start], text) {
            Some(text) => Place { line, column: 1, width: text.chars().count(), text },
            None => {
                let width = self.text[at..span.end.clamp(at, end)].trim_end().chars().count().max(1);
                Place { line, column, width, text: text.into() }
            }
        }
    }
}

/// What is shown in place of `line` where a secret may stand in it; `before` is the text above.
fn mask(before: &str, line: &str) -> Option<String> {
    let in_long_text = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    if in_long_text {
        return Some("***".into());
    }
    if let Some((key, value)) = line.split_once('=') {
        let names_variable = is_secret(key) && value.trim_start().trim_start_matches('{').trim_start().starts_with("env");
        return (is_secret(line) && !names_variable).then(|| format!("{key}= ***"));
    }
    // Unless it is a table's header, the line may go on with what a line above began.
    let brackets = line.trim_start();
    let header = brackets.starts_with('[') && brackets.trim_start_matches('[').starts_with(char::is_alphabetic);
    let began = before.lines().rev().find(|line| line.contains('='));
    (is_secret(line) || !header && began.is_some_and(is_secret)).then(|| "***".into())
}
