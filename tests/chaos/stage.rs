//! Where a fault plays: topics of its own, events that come all the time, a reader who watches, and instances of the program.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use surprisal::failpoint;
use tempfile::TempDir;

use crate::config::{self, Names, Setting};
use crate::events::COLUMNS;
use crate::feed::{Feed, Make, shop};
use crate::log::{await_topic, committed};
use crate::process::{Process, eventually, now_ms};
use crate::support::broker::Broker;
use crate::support::topics::create_topic;
use crate::table::{Recovery, Relearnt, Row};
use crate::verdict::{Case, Input};
use crate::watch::{Seen, Watch};

/// What is learnt, from what.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Lines of `[model]`, and the columns.
    pub model: &'static str,
    pub columns: &'static str,
    pub make: Make,
    pub per_second: f64,
    /// Whether scores and the surprisals kept in snapshots are the same in every run. They are with one partition; with several,
    /// they depend on how these are interleaved, and evidence does not only where a model is exact.
    pub is_one: bool,
}

/// The default model on one partition: every bit is compared.
pub const MIXTURE: Subject = Subject { model: "", columns: COLUMNS, make: shop, per_second: 1000.0, is_one: true };
/// An exact model, for several partitions: the evidence of each is compared, bit by bit.
pub const LINEAR: Subject = Subject { model: "kind = \"linear_regression\"\ntarget = \"amount\"\n", is_one: false, ..MIXTURE };

/// Settings for one instance that is expected back: its group waits for it.
pub const SOLO: &[Setting] = &[
    ("static_membership", "true"),
    ("session_timeout_ms", "6000"),
    ("transaction_timeout_ms", "2000"),
    ("commit_interval_ms", "20"),
    ("snapshot_interval_ms", "250"),
];

/// What a stage is made of.
pub struct Scene<'a> {
    /// Of the events' topic and of the group; those of results begin with it.
    pub name: &'a str,
    /// If not the broker that faults share which do it no harm.
    pub brokers: Option<&'a str>,
    /// Where the program connects, if not to the brokers themselves.
    pub through: Option<String>,
    pub subject: Subject,
    pub partitions: i32,
    pub kafka: &'a [&'a [Setting]],
    /// Further properties of the posterior topic.
    pub posterior: &'a [Setting],
}

impl<'a> Scene<'a> {
    /// On the shared broker.
    pub fn of(name: &'a str, subject: Subject, partitions: i32, kafka: &'a [&'a [Setting]]) -> Self {
        Self { name, brokers: None, through: None, subject, partitions, kafka, posterior: &[] }
    }
}

pub struct Stage {
    subject: Subject,
    name: String,
    /// Where the tests connect, and where the program does.
    brokers: String,
    through: String,
    partitions: i32,
    kafka: Vec<Setting>,
    folder: TempDir,
    feed: Feed,
    watch: Watch,
    crew: BTreeMap<String, Process>,
    leaving: Vec<Process>,
    row: Row,
}

impl Stage {
    /// Makes the topics and lets events come.
    pub fn open(fault: &str, scene: Scene<'_>) -> Self {
        let Scene { name, subject, partitions, .. } = scene;
        let brokers = scene.brokers.unwrap_or_else(|| Broker::shared().bootstrap());
        let of = |what: &str| format!("{name}.{what}");
        let plain = [("retention.ms", "-1")];
        let compacted = [&[("cleanup.policy", "compact")], scene.posterior].concat();
        for topic in [name, &of("scores"), &of("dead")] {
            create_topic(brokers, topic, partitions, &plain);
        }
        create_topic(brokers, &of("posterior"), 1, &compacted);
        await_topic(brokers, &of("posterior"));
        Self {
            subject,
            name: name.into(),
            brokers: brokers.into(),
            through: scene.through.unwrap_or(brokers.into()),
            partitions,
            kafka: scene.kafka.concat(),
            folder: TempDir::new().unwrap(),
            feed: Feed::start(brokers, name, partitions, subject.per_second, subject.make),
            watch: Watch::start(brokers, &of("scores"), partitions, &of("posterior")),
            crew: BTreeMap::new(),
            leaving: Vec::new(),
            row: Row { fault: fault.into(), ..Row::default() },
        }
    }

    fn config(&self, instance: &str, group: &str, brokers: &str, kafka: &[Setting]) -> PathBuf {
        let Subject { model, columns, .. } = self.subject;
        let names = Names { events: &self.name, group, instance };
        config::write(&self.folder, brokers, &names, (model, columns), kafka)
    }

    /// Starts an instance. Returns when that was.
    pub fn start(&mut self, instance: &str) -> i64 {
        self.start_at(instance, "")
    }

    /// Starts an instance and waits for its first scores.
    pub fn begin(&mut self, instance: &str) {
        let begun = self.start(instance);
        self.await_scores(begun);
    }

    /// Starts an instance in which something happens at a failpoint.
    pub fn start_at(&mut self, instance: &str, failpoints: &str) -> i64 {
        let config = self.config(instance, &self.name, &self.through, &self.kafka);
        let begun = now_ms();
        let process = Process::run_with(&config, &[(failpoint::VARIABLE, failpoints)]);
        self.crew.insert(instance.into(), process);
        begun
    }

    pub fn process(&mut self, instance: &str) -> &mut Process {
        self.crew.get_mut(instance).unwrap_or_else(|| panic!("{instance} runs"))
    }

    /// Kills an instance, if it runs.
    pub fn kill(&mut self, instance: &str) {
        self.crew.remove(instance).into_iter().for_each(|mut process| process.kill());
    }

    /// Lets an instance end in good order.
    pub fn stop(&mut self, instance: &str) {
        self.crew.remove(instance).into_iter().for_each(|mut process| process.stop());
    }

    /// A process beside the crew, which knows nothing of it, takes an instance's name.
    pub fn twin(&self, instance: &str) -> Process {
        Process::run(&self.config(instance, &self.name, &self.through, &self.kafka))
    }

    /// Takes a process into the crew, in place of one that has ended.
    pub fn adopt(&mut self, instance: &str, process: Process) {
        self.crew.insert(instance.into(), process);
    }

    /// Lets a process that was told to end do so in its own time.
    pub fn let_go(&mut self, instance: &str) {
        self.leaving.extend(self.crew.remove(instance));
    }

    /// Names of those that run. Those that have ended by themselves are gone.
    pub fn up(&mut self) -> Vec<String> {
        self.crew.retain(|_, process| process.ended().is_none());
        self.crew.keys().cloned().collect()
    }

    /// Waits until an instance has died at `place`.
    pub fn await_death(&mut self, instance: &str, place: &str) {
        eventually(&format!("{instance} dies at `{place}`"), || self.process(instance).aborted().then_some(()));
        let said = self.crew.remove(instance).expect("it was there").stderr();
        assert!(said.contains(&format!("\"place\":\"{place}\"")), "{said}");
    }

    /// Bytes of the latest snapshot, encoded.
    pub fn snapshot_bytes(&self) -> usize {
        self.watch.look(|seen| seen.snapshot_bytes)
    }

    /// How many messages of the posterior topic the reader saw, and how many the topic still has.
    pub fn posterior_messages(&self) -> (usize, usize) {
        let left = committed(&self.brokers, &format!("{}.posterior", self.name)).len();
        (self.watch.look(|seen| seen.chunks), left)
    }

    pub fn ran(&mut self) {
        self.row.runs += 1;
    }

    /// Waits until every partition has a score from after `since_ms`.
    pub fn await_scores(&self, since_ms: i64) -> i64 {
        eventually("scores are committed again", || self.watch.recovered(self.partitions, since_ms))
    }

    /// Keeps how long a recovery took.
    pub fn recovered(&mut self, since_ms: i64, at_ms: i64) {
        self.row.recoveries.push(Recovery { total_ms: at_ms - since_ms, beyond_ms: None });
    }

    /// Waits until every partition has a score from after `since_ms`, and keeps how long that took. If an instance was started then,
    /// its log says how long the group took to give it partitions, and what it has learnt again.
    pub fn await_recovery(&mut self, since_ms: i64, started: Option<&str>) {
        let total_ms = self.await_scores(since_ms) - since_ms;
        let mut recovery = Recovery { total_ms, beyond_ms: None };
        if let Some(instance) = started {
            let log = self.process(instance).log();
            let when = |what: &str| {
                let line = log.iter().find(|line| line["message"].as_str().is_some_and(|said| said.starts_with(what)));
                time_of_day_ms(line?["timestamp"].as_str()?)
            };
            let group = when("partitions assigned").zip(when("connected; waiting")).map(|(given, asked)| given - asked);
            recovery.beyond_ms = group.map(|group| total_ms - group);
            for line in log.iter().filter(|line| line["message"] == "evidence restored from a snapshot") {
                let number = |key: &str| line[key].as_i64().unwrap_or_else(|| panic!("{key} in {line}"));
                self.relearnt(number("partition") as i32, number("covers_to"), number("relearn_records"));
            }
        }
        self.row.recoveries.push(recovery);
    }

    fn relearnt(&mut self, partition: i32, covers_to: i64, records: i64) {
        let span_ms = self.watch.look(|seen: &Seen| {
            let (_, snapshot_ms) = seen.snapshots.get(&partition)?.iter().rev().find(|(covers, _)| *covers == covers_to)?;
            let last = seen.scores.get(&partition)?.iter().rev().find(|sight| sight.offset < covers_to + records)?;
            Some((last.written_ms - snapshot_ms).max(0))
        });
        self.row.relearnt.push(Relearnt { records, span_ms: span_ms.unwrap_or_default() });
    }

    /// Ends the events, has what is left done and the crew stopped, and compares with a run that nothing disturbs.
    pub fn close(mut self) -> Row {
        let calm = format!("{}.calm", self.name);
        let undisturbed = self.config("calm", &calm, &self.brokers, &[]);
        let input = Input::read(&self.brokers, &self.name, self.feed.end());
        let case = Case { brokers: &self.brokers, name: &self.name, partitions: self.partitions, input: &input };
        let (events, watch, crew) = (input.events.len(), &self.watch, &mut self.crew);
        eventually("all events are scored", || {
            let ended =
                crew.iter_mut().find_map(|(name, process)| process.ended().map(|status| (name, status, process.stderr())));
            assert!(ended.is_none(), "{ended:?}");
            (watch.scores() >= events).then_some(())
        });
        self.crew.values_mut().for_each(Process::stop);
        self.leaving.iter_mut().for_each(|process| assert_eq!(process.wait(), 0, "{}", process.stderr()));
        let mut seen = self.watch.end();
        self.row.snapshot_bytes = seen.snapshot_bytes;
        self.row.complaints.append(&mut seen.complaints);
        case.count(&seen, &mut self.row);
        case.compare(&undisturbed, &calm, self.subject.is_one, &mut self.row);
        self.row
    }
}

/// Milliseconds since midnight, of a time in a log: `2024-02-29T12:00:00.123456Z`.
fn time_of_day_ms(timestamp: &str) -> Option<i64> {
    let (_, time) = timestamp.trim_end_matches('Z').split_once('T')?;
    let seconds = time.split(':').try_fold(0.0, |sum, part| Some(60.0 * sum + part.parse::<f64>().ok()?))?;
    Some((1000.0 * seconds) as i64)
}

/// Lets time pass in which nothing is done to anyone.
pub fn idle(milliseconds: usize) {
    std::thread::sleep(Duration::from_millis(milliseconds as u64));
}
