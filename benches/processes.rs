//! Processor time an event costs when one, two or four processes share twelve partitions of a real broker.
//!
//! The program as it is run, a mixture over events of eight numbers; the time is that of the processes alone, user and kernel, after the
//! first quarter of the events. What it costs to share is told apart from what it costs to be many on one machine: the last
//! crew is of four processes that know nothing of each other, each with three partitions of its own. `EVENTS` sets how many events.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tempfile::TempDir;

#[path = "support/events.rs"]
mod events;

#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/broker.rs"]
mod broker;
#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/service/process.rs"]
mod process;
#[allow(dead_code, missing_docs, reason = "shared with the tests")]
#[path = "../tests/support/topics.rs"]
mod topics;

use events::{COLUMNS, events};
use process::Process;

const PARTITIONS: i32 = 12;
/// Processes that know nothing of each other.
const APART: i32 = 4;
/// Of `/proc/PID/stat`, as Linux has it everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    // `cargo test` only wants to know that it starts; `cargo bench` says so.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    let events = std::env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000_usize);
    let broker = broker::Broker::start();
    fill(broker.bootstrap(), "events", PARTITIONS, events);
    (0..APART).for_each(|own| fill(broker.bootstrap(), &format!("events-{own}"), PARTITIONS / APART, events / APART as usize));
    let folder = TempDir::new().expect("a folder");
    println!("{PARTITIONS} partitions, {events} events each time");
    println!(
        "processes      µs of processor time/event   in the kernel   to one process   switches/1,000 events   events/s, all together"
    );
    let together = |processes| vec![Membership { group: format!("of-{processes}"), topic: "events".to_owned() }; processes];
    let apart = (0..APART).map(|own| Membership { group: format!("apart-{own}"), topic: format!("events-{own}") });
    let mut first = None;
    for (name, crew) in [("1", together(1)), ("2", together(2)), ("4", together(4)), ("4 apart", apart.collect())] {
        let (Spent { user, kernel, switches }, rate) = measure(broker.bootstrap(), &folder, &crew, events);
        let micros = (user + kernel) * 1e6;
        let ratio = micros / *first.get_or_insert(micros);
        println!("{name:<9}   {micros:>29.2}   {:>13.2}   {ratio:>14.2}   {:>21.2}   {rate:>22.0}", kernel * 1e6, switches * 1e3);
    }
}

/// What a process is to belong to.
#[derive(Clone)]
struct Membership {
    group: String,
    topic: String,
}

/// Creates a topic and sends events to all its partitions in turn.
fn fill(brokers: &str, topic: &str, partitions: i32, count: usize) {
    topics::create_topic(brokers, topic, partitions, &[]);
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    for (number, event) in events(count).enumerate() {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(number as i32 % partitions).payload(event.as_bytes());
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all events sent");
}

fn config(folder: &TempDir, brokers: &str, Membership { group, topic }: &Membership, instance: usize) -> PathBuf {
    let columns: String = (0..COLUMNS).map(|column| format!("[[columns]]\nname = \"x{column}\"\nkind = \"number\"\n")).collect();
    let path = process::file(folder, &format!("{group}-{instance}.toml"));
    let text = format!(
        "[model]\nid = \"{group}\"\n[http]\nlisten = \"127.0.0.1:0\"\n{columns}[kafka]\nbrokers = \"{brokers}\"\ninstance = \"{instance}\"\n\
         events = \"{topic}\"\nscores = \"{group}.scores\"\nposterior = \"{group}.posterior\"\ndead_letters = \"{group}.dead\"\n\
         scores_format = \"protobuf\"\n"
    );
    fs::write(&path, text).expect("a configuration");
    path
}

/// What processes have used so far: seconds of a processor, and how often a thread gave it up or lost it.
#[derive(Default)]
struct Spent {
    user: f64,
    kernel: f64,
    switches: f64,
}

impl Spent {
    /// What has been used since `early`, of each of so many events.
    fn since(&self, early: &Self, events: f64) -> Self {
        let each = |late: f64, early: f64| (late - early) / events;
        Self {
            user: each(self.user, early.user),
            kernel: each(self.kernel, early.kernel),
            switches: each(self.switches, early.switches),
        }
    }

    fn add(mut self, process: &Process) -> Self {
        let folder = format!("/proc/{}", process.id());
        let stat = fs::read_to_string(format!("{folder}/stat")).expect("Linux");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields behind the name").split_whitespace().collect();
        let seconds = |at: usize| fields[at].parse::<f64>().expect("ticks") / TICKS_PER_SECOND;
        self.user += seconds(11);
        self.kernel += seconds(12);
        for thread in fs::read_dir(format!("{folder}/task")).expect("threads").flatten() {
            // One that ends meanwhile has next to none.
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let counts = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
            self.switches += counts.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum::<f64>();
        }
        self
    }
}

/// What a crew has used an event, and how many events a second it has scored, once the first quarter is done: processes have then started,
/// joined and shared out the partitions.
fn measure(brokers: &str, folder: &TempDir, crew: &[Membership], events: usize) -> (Spent, f64) {
    let begun = Instant::now();
    let start = |(instance, membership)| Process::run(&config(folder, brokers, membership, instance));
    let mut crew: Vec<Process> = crew.iter().enumerate().map(start).collect();
    let mark = |events: f64| {
        loop {
            let scored = crew.iter().map(|process| process.metric("surprisal_events_total")).sum::<f64>();
            if scored >= events {
                return (scored, Instant::now(), crew.iter().fold(Spent::default(), Spent::add));
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "{scored} of {events} events after five minutes");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let (before, from, early) = mark(events as f64 / 4.0);
    let (after, to, late) = mark(events as f64);
    let held = crew.iter().map(|process| process.metric("surprisal_assigned_partitions"));
    assert!(held.into_iter().all(|held| held == f64::from(PARTITIONS) / crew.len() as f64), "all have had their share");
    crew.iter_mut().for_each(Process::stop);
    let counted = after - before;
    (late.since(&early, counted), counted / (to - from).as_secs_f64())
}
