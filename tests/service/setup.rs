//! What each test has of its own: an events topic, names for the results, and configuration files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::events;
use crate::log::await_topic;
use crate::process::file;
use crate::support::broker::Broker;
use crate::support::topics::create_topic;

/// An events topic on the shared broker, and a folder.
pub struct Setup {
    pub brokers: &'static str,
    pub events: String,
    pub folder: TempDir,
}

impl Setup {
    pub fn new(events: &str, partitions: i32) -> Self {
        Self::with(events, partitions, &[])
    }

    /// The events topic has these properties.
    pub fn with(events: &str, partitions: i32, properties: &[(&str, &str)]) -> Self {
        Self::at(Broker::shared().bootstrap(), events, partitions, properties)
    }

    /// As [`Setup::with`], on a broker of the test's own.
    pub fn at(brokers: &'static str, events: &str, partitions: i32, properties: &[(&str, &str)]) -> Self {
        // The events are of a time that a broker would soon delete.
        let properties = [&[("retention.ms", "-1")], properties].concat();
        create_topic(brokers, events, partitions, &properties);
        await_topic(brokers, events);
        Self { brokers, events: events.into(), folder: TempDir::new().unwrap() }
    }

    /// What a person would write for this topic. Results go to topics that begin with `results`, which names the group, too.
    pub fn wishes(&self, results: &str) -> Wishes {
        Wishes {
            brokers: self.brokers.into(),
            events: self.events.clone(),
            results: results.into(),
            model: "model".into(),
            model_keys: String::new(),
            instance: "one".into(),
            kafka: String::new(),
            columns: events::COLUMNS.into(),
        }
    }

    /// Writes `wishes` to a file.
    pub fn config(&self, name: &str, wishes: &Wishes) -> PathBuf {
        let path = file(&self.folder, &format!("{name}.toml"));
        fs::write(&path, wishes.text()).unwrap();
        path
    }
}

/// What a configuration is made of.
#[derive(Clone, Debug)]
pub struct Wishes {
    pub brokers: String,
    pub events: String,
    pub results: String,
    pub model: String,
    /// Further lines of `[model]`.
    pub model_keys: String,
    pub instance: String,
    /// Further lines of `[kafka]`, and tables below it.
    pub kafka: String,
    pub columns: String,
}

impl Wishes {
    pub fn scores(&self) -> String {
        format!("{}.scores", self.results)
    }

    pub fn posterior(&self) -> String {
        format!("{}.posterior", self.results)
    }

    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.results)
    }

    pub fn text(&self) -> String {
        let Self { brokers, events, results, model, model_keys, instance, kafka, columns } = self;
        format!(
            "[model]\nid = \"{model}\"\n{model_keys}\n[http]\nlisten = \"127.0.0.1:0\"\n\n{columns}\n[kafka]\nbrokers = \"{brokers}\"\n\
             group = \"{results}\"\ninstance = \"{instance}\"\nevents = \"{events}\"\nscores = \"{}\"\nposterior = \"{}\"\n\
             dead_letters = \"{}\"\n{kafka}\n",
            self.scores(),
            self.posterior(),
            self.dead_letters()
        )
    }
}
