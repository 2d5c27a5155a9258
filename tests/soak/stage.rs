//! Topics that keep little, a producer, a reader of what is committed, and one process after the other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::config::{self, Names, Setting};
use crate::count::Count;
use crate::events::{self, COLUMNS};
use crate::feed::Feed;
use crate::judge::{End, Life};
use crate::log::{Record, await_topic};
use crate::pace::{self, Pace};
use crate::process::{Process, eventually, now_ms};
use crate::sample::Sample;
use crate::support::broker::Broker;
use crate::support::topics::create_topic;
use crate::tally::Tally;

const PARTITIONS: i32 = 4;
const NAME: &str = "soak";
/// One record of so many is no event.
const POISON: u64 = 1009;
/// Different events, which come again and again: making them all anew would take more time than scoring them.
const POOL: u64 = 1 << 15;
/// Records that wait while the peak is measured.
const BACKLOG: u64 = 400_000;
/// Before the peak is measured, and while it is.
const RUN_UP: Duration = Duration::from_secs(5);
const PEAK: Duration = Duration::from_secs(20);
/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(5);

/// A group that waits for its one instance, as after a crash it must.
const KAFKA: &[Setting] = &[("static_membership", "true"), ("transaction_timeout_ms", "2000"), ("scores_format", "\"protobuf\"")];
/// Of what has had its answer, and of answers that were read, little is needed: minutes of events, and less of the rest.
const EVENTS_KEPT: &[Setting] = &[("retention.ms", "-1"), ("retention.bytes", "1610612736"), ("segment.bytes", "67108864")];
const ANSWERS_KEPT: &[Setting] = &[("retention.ms", "-1"), ("retention.bytes", "402653184"), ("segment.bytes", "67108864")];

/// Whether the record `number` is an event.
pub fn is_event(number: u64) -> bool {
    number % POISON != 3
}

fn record(number: u64, partitions: i32) -> Record {
    static EVENTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let events = EVENTS.get_or_init(|| (0..POOL).map(|number| events::event(number, 1).payload.expect("a value")).collect());
    let payload = if is_event(number) { events[(number % POOL) as usize].clone() } else { b"spoilt".to_vec() };
    Record { partition: (number % partitions as u64) as i32, key: None, payload: Some(payload), timestamp_ms: now_ms() }
}

pub struct Stage {
    config: PathBuf,
    feed: Feed,
    count: Arc<Count>,
    pace: Arc<Mutex<Pace>>,
    // Dropped in this order.
    _folder: TempDir,
    _broker: Broker,
}

impl Stage {
    /// Makes the topics, and lets a backlog come.
    pub fn open() -> Self {
        let broker = Broker::start_with(&[("log.retention.check.interval.ms", "5000")]);
        let brokers = broker.bootstrap();
        let [scores, dead] = ["scores", "dead"].map(|what| format!("{NAME}.{what}"));
        for (topic, kept) in [(NAME, EVENTS_KEPT), (&scores, ANSWERS_KEPT), (&dead, ANSWERS_KEPT)] {
            create_topic(brokers, topic, PARTITIONS, kept);
        }
        await_topic(brokers, &dead);
        let folder = TempDir::new().unwrap();
        let names = Names { events: NAME, group: NAME, instance: "one" };
        let config = config::write(&folder, brokers, &names, ("", COLUMNS), KAFKA);
        let count = Arc::new(Count::start(brokers, &scores, &dead, Tally::new(PARTITIONS, is_event)));
        let (pace, due) = pace::changing(Arc::clone(&count), Pace::Ahead(BACKLOG));
        let feed = Feed::paced(brokers, NAME, PARTITIONS, due, record);
        eventually("there is a backlog", || (feed.sent() >= BACKLOG).then_some(()));
        Self { config, feed, count, pace, _folder: folder, _broker: broker }
    }

    /// Records answered in a second, while there are always more.
    pub fn peak(&mut self) -> f64 {
        let mut process = self.begin().0;
        thread::sleep(RUN_UP);
        let (begun, before) = (Instant::now(), self.count.answered());
        thread::sleep(PEAK);
        let peak = (self.count.answered() - before) as f64 / begun.elapsed().as_secs_f64();
        process.stop();
        peak
    }

    /// From now on events come at this rate.
    pub fn come_evenly(&mut self, per_second: f64) {
        let mut pace = self.pace.lock().unwrap();
        *pace = Pace::Even { from: self.feed.sent(), since: Instant::now(), per_second };
    }

    /// Starts a process, and says how many seconds it took to the first new committed score.
    fn begin(&self) -> (Process, f64) {
        let (begun, started) = (now_ms(), Instant::now());
        let process = Process::run(&self.config);
        eventually("scores are committed", || self.count.has_seen(begun).then_some(()));
        (process, started.elapsed().as_secs_f64())
    }

    /// A life of the process.
    pub fn live(&mut self, seconds: f64, end: End) -> Life {
        let begun = Instant::now();
        let (mut process, recovery) = self.begin();
        let mut samples = Vec::new();
        while begun.elapsed().as_secs_f64() < seconds {
            let lag = self.feed.sent().saturating_sub(self.count.answered()) as f64;
            samples.push(Sample::of(process.id(), begun.elapsed().as_secs_f64(), lag));
            // Whoever watches over it asks as often.
            process.metrics();
            thread::sleep(INTERVAL);
        }
        match end {
            End::Killed => process.kill(),
            End::Stopped => process.stop(),
        }
        Life { end, samples, recovery }
    }

    /// Lets no more events come, has what is left answered, and says what was counted of how many records.
    pub fn close(self) -> (Tally, u64) {
        let (mut process, _) = self.begin();
        let sent = self.feed.end();
        // No broker dies here, so nothing is there twice and an offset tells a record's number.
        while self.count.answered() < sent {
            let before = self.count.answered();
            eventually("more records are answered", || (self.count.answered() > before).then_some(()));
        }
        process.stop();
        let count = Arc::into_inner(self.count).expect("the producer has ended");
        (count.end(sent), sent)
    }
}
