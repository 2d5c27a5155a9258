//! The configuration of an instance whose topics for results are named after its group.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::process::file;

/// A line of `[kafka]`, or of a topic's properties. The later of two counts.
pub type Setting = (&'static str, &'static str);

/// The topic that events come from, the group that topics for results are named after, and the instance.
pub struct Names<'a> {
    pub events: &'a str,
    pub group: &'a str,
    pub instance: &'a str,
}

/// Writes it. `what` is lines of `[model]`, and the columns.
pub fn write(folder: &TempDir, brokers: &str, names: &Names<'_>, what: (&str, &str), kafka: &[Setting]) -> PathBuf {
    let kafka: BTreeMap<_, _> = kafka.iter().copied().collect();
    let kafka: String = kafka.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let (Names { events, group, instance }, (model, columns)) = (names, what);
    let path = file(folder, &format!("{group}-{instance}.toml"));
    let text = format!(
        "[model]\nid = \"model\"\n{model}\n[http]\nlisten = \"127.0.0.1:0\"\n\n{columns}\n[kafka]\nbrokers = \"{brokers}\"\n\
         group = \"{group}\"\ninstance = \"{instance}\"\nevents = \"{events}\"\nscores = \"{group}.scores\"\n\
         posterior = \"{group}.posterior\"\ndead_letters = \"{group}.dead\"\n{kafka}"
    );
    fs::write(&path, text).unwrap();
    path
}
