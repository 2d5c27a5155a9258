//! Processor time an event costs when one, two or four processes share twelve partitions of a real broker.
//!
//! The program as it is run, a mixture over events of eight numbers; the time is that of the processes alone, user and system, from
//! their start to the last committed score. `EVENTS` sets how many events.

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
/// Of `/proc/PID/stat`, as Linux has it everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    // `cargo test` only wants to know that it starts; `cargo bench` says so.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    let events = std::env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000_usize);
    let broker = broker::Broker::start();
    topics::create_topic(broker.bootstrap(), "events", PARTITIONS, &[]);
    fill(broker.bootstrap(), events);
    let folder = TempDir::new().expect("a folder");
    println!("{PARTITIONS} partitions, {events} events each time");
    println!("processes   µs of processor time/event   to one process   events/s, all together");
    let mut first = None;
    for processes in [1, 2, 4] {
        let (micros, rate) = measure(broker.bootstrap(), &folder, processes, events);
        let ratio = micros / *first.get_or_insert(micros);
        println!("{processes:>9}   {micros:>26.2}   {ratio:>14.2}   {rate:>22.0}");
    }
}

/// Sends events to all partitions in turn.
fn fill(brokers: &str, count: usize) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("a producer");
    for (number, event) in events(count).enumerate() {
        let mut record = BaseRecord::<(), [u8]>::to("events").partition(number as i32 % PARTITIONS).payload(event.as_bytes());
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60)).expect("all events sent");
}

fn config(folder: &TempDir, brokers: &str, group: &str, instance: usize) -> PathBuf {
    let columns: String = (0..COLUMNS).map(|column| format!("[[columns]]\nname = \"x{column}\"\nkind = \"number\"\n")).collect();
    let path = process::file(folder, &format!("{group}-{instance}.toml"));
    let text = format!(
        "[model]\nid = \"{group}\"\n[http]\nlisten = \"127.0.0.1:0\"\n{columns}[kafka]\nbrokers = \"{brokers}\"\ninstance = \"{instance}\"\n\
         events = \"events\"\nscores = \"{group}.scores\"\nposterior = \"{group}.posterior\"\ndead_letters = \"{group}.dead\"\n\
         scores_format = \"protobuf\"\n"
    );
    fs::write(&path, text).expect("a configuration");
    path
}

/// Processor time of a process so far, in seconds.
fn spent(process: &Process) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields behind the name").split_whitespace().collect();
    (11..13).map(|at| fields[at].parse::<f64>().expect("ticks")).sum::<f64>() / TICKS_PER_SECOND
}

/// Microseconds of processor time an event, and events a second.
fn measure(brokers: &str, folder: &TempDir, processes: usize, events: usize) -> (f64, f64) {
    let group = format!("of-{processes}");
    let begun = Instant::now();
    let start = |instance| Process::run(&config(folder, brokers, &group, instance));
    let mut crew: Vec<Process> = (0..processes).map(start).collect();
    let scored = |crew: &[Process]| crew.iter().map(|process| process.metric("surprisal_events_total")).sum::<f64>();
    while scored(&crew) < events as f64 {
        assert!(begun.elapsed() < Duration::from_secs(300), "{} of {events} events after five minutes", scored(&crew));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (spent, taken) = (crew.iter().map(spent).sum::<f64>(), begun.elapsed().as_secs_f64());
    let held = crew.iter().map(|process| process.metric("surprisal_assigned_partitions"));
    assert!(held.into_iter().all(|held| held == f64::from(PARTITIONS) / processes as f64), "all have had their share");
    crew.iter_mut().for_each(Process::stop);
    (spent * 1e6 / events as f64, events as f64 / taken)
}
