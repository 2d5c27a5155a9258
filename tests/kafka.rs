//! The Kafka stream against a real broker: transactions, rebalances, restoring, back-pressure, and errors that people meet.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset as KafkaOffset, TopicPartitionList};
use surprisal::codec::{Decode, Decoded, Fault};
use surprisal::features::Rows;
use surprisal::record::{Offset, Partition, Reason, Run};
use surprisal::stream::kafka::{KafkaStream, Settings, Start, Topics};
use surprisal::stream::{Incoming, Outlet, Stream, StreamError};

use support::broker::Broker;
use support::topics::{chunks, create_topic, delete_before, snapshot};

/// How long anything may take before a test counts as hung.
const LIMIT: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(20);

/// An event is a number in text.
#[derive(Debug)]
struct Numbers;

impl Decode for Numbers {
    fn decode(&self, payload: &[u8], rows: &mut Rows) -> Result<Decoded, Fault> {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<f64>().ok());
        let number = number.ok_or_else(|| Fault { reason: Reason::InvalidJson, detail: "not a number".into() })?;
        rows.push_missing().0[0] = number;
        Ok(Decoded::default())
    }
}

/// Settings for topics of a test's own.
fn settings(brokers: &str, test: &str, instance: &str) -> Settings {
    let topics = Topics {
        events: test.to_owned(),
        scores: format!("{test}.scores"),
        posterior: format!("{test}.posterior"),
        dead_letters: format!("{test}.dead"),
    };
    let mut settings = Settings::new(brokers, test, instance, "model", topics);
    settings.session_timeout = Duration::from_secs(6);
    settings
}

/// A topic with `events` numbers from 0, dealt to its partitions in turn.
fn fill(brokers: &str, topic: &str, partitions: i32, events: usize) {
    create_topic(brokers, topic, partitions, &[]);
    produce(brokers, topic, partitions, 0..events);
}

fn produce(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<usize>) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "20").create().unwrap();
    for number in numbers {
        let payload = number.to_string();
        let mut record = BaseRecord::<str, str>::to(topic).partition(number as i32 % partitions).payload(&payload);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(LIMIT).unwrap();
}

/// All committed messages of a topic: partition, payload.
fn committed(brokers: &str, topic: &str, partitions: i32) -> Vec<(i32, String)> {
    let client = |isolation: &str| -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    };
    let (ends, reader) = (client("read_uncommitted"), client("read_committed"));
    let mut list = TopicPartitionList::new();
    let mut highs = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = ends.fetch_watermarks(topic, partition, LIMIT).unwrap();
        list.add_partition_offset(topic, partition, KafkaOffset::Offset(low)).unwrap();
        if high > low {
            highs.insert(partition, high);
        }
    }
    reader.assign(&list).unwrap();
    let mut found = Vec::new();
    let deadline = Instant::now() + LIMIT;
    let unread = |reader: &BaseConsumer| {
        let position = reader.position().unwrap();
        highs.iter().any(|(partition, high)| match position.find_partition(topic, *partition).unwrap().offset() {
            KafkaOffset::Offset(offset) => offset < *high,
            _ => true,
        })
    };
    while unread(&reader) {
        assert!(Instant::now() < deadline, "the end of {topic} isn't reached");
        if let Some(message) = reader.poll(WAIT) {
            let message = message.unwrap();
            found.push((message.partition(), String::from_utf8(message.payload().unwrap().to_vec()).unwrap()));
        }
    }
    found
}

/// The least that a loop does: it copies numbers to scores, in transactions.
struct Copier {
    stream: KafkaStream,
    /// The next offset to commit of each partition that is held.
    next: BTreeMap<Partition, Offset>,
}

impl Copier {
    fn connect(settings: Settings) -> Self {
        let stream = KafkaStream::connect(settings, Arc::new(Numbers), 1).unwrap_or_else(|error| panic!("{error}"));
        Self { stream, next: BTreeMap::new() }
    }

    /// Takes partitions over where the group left them.
    fn take_over(&mut self, partitions: &[Partition]) {
        let restored = self.stream.restore(partitions).unwrap();
        let from: Vec<_> =
            partitions.iter().zip(&restored).map(|(of, known)| (*of, known.committed.unwrap_or(known.initial))).collect();
        self.next.extend(from.iter().copied());
        self.stream.resume(&from).unwrap();
    }

    /// Lets the stream have what isn't a run done.
    fn handle(&mut self, incoming: Incoming) -> Option<Run> {
        match incoming {
            Incoming::Run(run) => return Some(run),
            Incoming::Assigned(partitions) => self.take_over(&partitions),
            Incoming::Revoked(partitions) => {
                self.next.retain(|partition, _| !partitions.contains(partition));
                self.stream.released(&partitions);
            }
            Incoming::Lost(partitions) => self.next.retain(|partition, _| !partitions.contains(partition)),
            Incoming::Snapshot(_) => {}
        }
        None
    }

    fn run(&mut self) -> Run {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(incoming) = self.stream.next(WAIT).unwrap()
                && let Some(run) = self.handle(incoming)
            {
                return run;
            }
        }
        panic!("no run within {LIMIT:?}")
    }

    /// Begins a transaction and sends the run's numbers.
    fn send(&mut self, run: &Run) {
        self.stream.begin().unwrap();
        assert_eq!(run.from, run.heads[0].offset);
        for cell in run.events().cells() {
            self.stream.send(Outlet::Scores, run.partition, None, Some(cell.to_string().as_bytes())).unwrap();
        }
    }

    fn commit(&mut self, run: &Run) -> Result<(), StreamError> {
        self.stream.commit(&[(run.partition, run.next)])?;
        self.next.insert(run.partition, run.next);
        Ok(())
    }

    /// Starts over from what the log knows.
    fn restart(&mut self) {
        self.next.clear();
        self.stream.restart().unwrap();
    }

    /// Aborts and goes back to what was committed.
    fn rewind(&mut self) {
        self.stream.abort().unwrap();
        let from: Vec<_> = self.next.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        self.stream.resume(&from).unwrap();
    }
}

/// Numbers `0..events`, each once and in the partition that it came from.
fn expect_each_once(found: &[(i32, String)], partitions: i32, events: usize) {
    let mut numbers: Vec<usize> = found.iter().map(|(_, text)| text.parse().unwrap()).collect();
    for ((partition, _), number) in found.iter().zip(&numbers) {
        assert_eq!(*partition, *number as i32 % partitions, "a score keeps its event's partition");
    }
    numbers.sort_unstable();
    let distinct: BTreeSet<usize> = numbers.iter().copied().collect();
    assert_eq!((numbers.len(), distinct.len()), (events, events), "scores and distinct scores");
    assert_eq!(distinct.last(), Some(&(events - 1)));
}

#[test]
fn what_is_aborted_is_never_seen_and_what_is_committed_is_seen_once() {
    let brokers = Broker::shared().bootstrap();
    let (topic, events) = ("aborts", 5_000);
    fill(brokers, topic, 2, events);
    let mut copier = Copier::connect(settings(brokers, topic, "a"));
    let (mut done, mut step) = (0, 0);
    while done < events {
        let run = copier.run();
        assert!(run.from >= copier.next[&run.partition], "records don't come twice unless asked for");
        copier.send(&run);
        step += 1;
        if step % 3 == 1 {
            copier.rewind(); // the first of all included
        } else {
            copier.commit(&run).unwrap();
            done += run.len();
        }
    }
    assert_eq!(done, events);
    expect_each_once(&committed(brokers, "aborts.scores", 2), 2, events);
    // Nothing is left to do for who comes after.
    drop(copier);
    let mut second = Copier::connect(settings(brokers, topic, "b"));
    produce(brokers, topic, 2, events..events + 1);
    let run = second.run();
    assert_eq!((run.len(), run.events().cells()[0]), (1, events as f64));
}

/// The negative control: offsets that are committed without their scores are a loss, and the count says so.
#[test]
#[should_panic(expected = "scores and distinct scores")]
fn offsets_without_their_scores_are_caught() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "careless", 1, 2_000);
    let mut copier = Copier::connect(settings(brokers, "careless", "a"));
    let (mut done, mut first) = (0, true);
    while done < 2_000 {
        let run = copier.run();
        copier.send(&run);
        if std::mem::take(&mut first) {
            copier.stream.abort().unwrap(); // and goes on as if nothing had happened
        } else {
            copier.commit(&run).unwrap();
        }
        done += run.len();
    }
    expect_each_once(&committed(brokers, "careless.scores", 1), 1, 2_000);
}

#[test]
fn partitions_move_between_instances_and_nothing_is_lost_or_doubled() {
    move_partitions("moves", &[]);
}

#[test]
fn partitions_move_one_by_one_as_well() {
    move_partitions("moves-cooperatively", &[("partition.assignment.strategy", "cooperative-sticky")]);
}

#[test]
fn partitions_move_by_the_newer_group_protocol_as_well() {
    move_partitions("moves-newly", &[("group.protocol", "consumer")]);
}

fn move_partitions(topic: &'static str, properties: &[(&str, &str)]) {
    let brokers = Broker::shared().bootstrap();
    let partitions = 4;
    fill(brokers, topic, partitions, 20_000);
    /// What a thread has committed, whether it holds partitions, and whether it is to leave.
    #[derive(Default)]
    struct Progress {
        done: AtomicUsize,
        holds: AtomicUsize,
        leave: AtomicBool,
    }
    let work = |name: &'static str, progress: Arc<Progress>| {
        let mut settings = settings(brokers, topic, name);
        settings.max_buffered_records = 512;
        settings.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        thread::spawn(move || {
            let mut copier = Copier::connect(settings);
            let deadline = Instant::now() + LIMIT;
            while !progress.leave.load(Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "{name} hangs");
                let run = copier.stream.next(WAIT).unwrap().and_then(|incoming| copier.handle(incoming));
                progress.holds.store(copier.next.len(), Ordering::SeqCst);
                let Some(run) = run else { continue };
                copier.send(&run);
                match copier.commit(&run) {
                    Ok(()) => drop(progress.done.fetch_add(run.len(), Ordering::SeqCst)),
                    Err(StreamError::Abort(_)) => copier.rewind(),
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            copier.stream.close();
        })
    };
    let (first, second) = (Arc::new(Progress::default()), Arc::new(Progress::default()));
    let done = || first.done.load(Ordering::SeqCst) + second.done.load(Ordering::SeqCst);
    let await_that = |what: &str, condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "{what}: {} done", done());
            thread::sleep(Duration::from_millis(1));
        }
    };
    // One works alone; another joins in the middle of it; both have something to do; the first leaves in the middle of that.
    let first_thread = work("first", Arc::clone(&first));
    await_that("the first works", &|| done() >= 1_000);
    let second_thread = work("second", Arc::clone(&second));
    await_that("they share", &|| first.holds.load(Ordering::SeqCst) == 2 && second.holds.load(Ordering::SeqCst) == 2);
    produce(brokers, topic, partitions, 20_000..40_000);
    await_that("the second works", &|| second.done.load(Ordering::SeqCst) >= 1_000);
    first.leave.store(true, Ordering::SeqCst);
    first_thread.join().unwrap();
    await_that("the second has it all", &|| second.holds.load(Ordering::SeqCst) == 4);
    produce(brokers, topic, partitions, 40_000..50_000);
    await_that("all is done", &|| done() >= 50_000);
    second.leave.store(true, Ordering::SeqCst);
    second_thread.join().unwrap();
    expect_each_once(&committed(brokers, &format!("{topic}.scores"), partitions), partitions, 50_000);
    assert_eq!(done(), 50_000);
}

#[test]
fn a_loop_that_hangs_loses_its_partitions_and_may_not_commit_them() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "hangs", 2, 100);
    let slow = || {
        let mut settings = settings(brokers, "hangs", "slow");
        settings.session_timeout = Duration::from_millis(1500);
        settings
    };
    let mut slow = Copier::connect(slow());
    let run = slow.run();
    slow.send(&run);
    // It holds still in the middle of a transaction while another joins, which gets its share when patience is over.
    let mut quick = Copier::connect(settings(brokers, "hangs", "quick"));
    let other = quick.run();
    assert_eq!(other.from, Offset(0));
    assert!(matches!(slow.commit(&run), Err(StreamError::Abort(_))), "a generation that is over may not commit");
    slow.rewind();
    quick.send(&other);
    quick.commit(&other).unwrap();
    // Now they share: each has one partition and what nobody has committed comes to whom it belongs.
    let run = slow.run();
    assert_ne!(run.partition, other.partition);
    slow.send(&run);
    slow.commit(&run).unwrap();
    expect_each_once(&committed(brokers, "hangs.scores", 2), 2, 100);
}

#[test]
fn restoring_finds_the_latest_committed_snapshot_whole() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "restores", 2, 10);
    let mut first = Copier::connect(settings(brokers, "restores", "a"));
    let run = first.run();
    let publish = |copier: &mut Copier, partition: i32, snapshot: &[u8], commit: bool| {
        copier.stream.begin().unwrap();
        for (key, chunk) in chunks(partition, snapshot, 300_000) {
            copier.stream.send(Outlet::Posterior, Partition(partition), Some(key.as_bytes()), Some(&chunk)).unwrap();
        }
        if commit {
            copier.stream.commit(&[]).unwrap();
        } else {
            copier.stream.abort().unwrap();
        }
    };
    publish(&mut first, 0, &snapshot(0, 1, 2_000_000), true);
    publish(&mut first, 0, &snapshot(0, 2, 1_300_000), true); // more than one message may have, in five chunks instead of seven
    publish(&mut first, 1, &snapshot(1, 3, 10), true);
    publish(&mut first, 0, &snapshot(0, 4, 900_000), false);
    first.send(&run);
    first.commit(&run).unwrap();
    let (partition, next) = (run.partition, run.next);
    let other = Partition(1 - partition.0);

    // Another model's snapshots are of no concern.
    first.stream.begin().unwrap();
    first.stream.send(Outlet::Posterior, Partition(0), Some(b"other/0/0"), Some(b"?")).unwrap();
    first.stream.commit(&[]).unwrap();
    drop(first);

    let mut second = Copier::connect(settings(brokers, "restores", "b"));
    let restored = second.stream.restore(&[Partition(0), Partition(1)]).unwrap();
    assert_eq!(restored[0].snapshot.as_deref(), Some(&snapshot(0, 2, 1_300_000)[..]));
    assert_eq!(restored[1].snapshot.as_deref(), Some(&snapshot(1, 3, 10)[..]));
    assert_eq!(restored[partition.0 as usize].committed, Some(next));
    assert_eq!(restored[other.0 as usize].committed, None);
    assert!(restored.iter().all(|known| known.initial == Offset(0) && known.earliest == Offset(0)));
}

/// A topic that was made anew is shorter than what the group has committed.
#[test]
fn a_committed_offset_beyond_the_end_is_for_a_person() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "shorter", 1, 10);
    let mut copier = Copier::connect(settings(brokers, "shorter", "a"));
    let run = copier.run();
    copier.stream.begin().unwrap();
    copier.stream.commit(&[(run.partition, Offset(11))]).unwrap();
    let refused = copier.stream.restore(&[run.partition]);
    let Err(StreamError::Stop(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("ends at offset 10, but the group has committed 11"), "{text}");
}

#[test]
fn snapshots_of_others_arrive_while_the_loop_runs() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "others", 2, 100);
    let mut copiers = [Copier::connect(settings(brokers, "others", "a")), Copier::connect(settings(brokers, "others", "b"))];
    let deadline = Instant::now() + LIMIT;
    // Until each has one partition.
    while copiers.iter().any(|copier| copier.next.len() != 1) {
        assert!(Instant::now() < deadline, "the two don't share");
        for copier in &mut copiers {
            if let Some(incoming) = copier.stream.next(WAIT).unwrap() {
                copier.handle(incoming);
            }
        }
    }
    let [writer, reader] = &mut copiers;
    let partition = *writer.next.keys().next().unwrap();
    writer.stream.begin().unwrap();
    let site = snapshot(partition.0, 1, 10);
    let (key, chunk) = &chunks(partition.0, &site, 100)[0];
    writer.stream.send(Outlet::Posterior, partition, Some(key.as_bytes()), Some(chunk)).unwrap();
    writer.stream.commit(&[]).unwrap();
    loop {
        assert!(Instant::now() < deadline, "no snapshot");
        if let Some(Incoming::Snapshot(found)) = reader.stream.next(WAIT).unwrap() {
            assert_eq!(found, site);
            break;
        }
    }
}

#[test]
fn a_slow_loop_bounds_what_is_buffered_and_misses_nothing() {
    let brokers = Broker::shared().bootstrap();
    let (partitions, events, most) = (2, 200_000, 4_096);
    fill(brokers, "backlog", partitions, events);
    let mut settings = settings(brokers, "backlog", "a");
    settings.max_buffered_records = most;
    let mut copier = Copier::connect(settings);
    let bound = most + 1024 * partitions as usize;
    let mut next = BTreeMap::from([(Partition(0), Offset(0)), (Partition(1), Offset(0))]);
    let (mut seen, mut reached, mut pauses) = (0, 0, 0);
    while seen < events {
        let run = copier.run();
        assert_eq!(run.from, next[&run.partition], "no record is skipped, none comes twice");
        let expected: Vec<f64> = run.heads.iter().map(|head| (head.offset.0 * 2 + i64::from(run.partition.0)) as f64).collect();
        assert_eq!(run.events().cells(), expected);
        next.insert(run.partition, run.next);
        seen += run.len();
        reached = reached.max(copier.stream.buffered_records() + run.len());
        // Holds still until the buffer is full or half full and paused, and then for long enough that it is paused.
        if pauses < 3 && seen > pauses * 50_000 {
            pauses += 1;
            let (full_by, still_until) = (Instant::now() + LIMIT, Instant::now() + Duration::from_millis(600));
            while copier.stream.buffered_records() < most / 2 || Instant::now() < still_until {
                let buffered = copier.stream.buffered_records();
                assert!(buffered <= bound, "{buffered} records are buffered, {most} are allowed");
                assert!(Instant::now() < full_by, "the buffer doesn't fill");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    assert_eq!(seen, events);
    assert!(reached >= most, "the bound was reached");
}

#[test]
fn the_same_instance_twice_is_noticed() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "twins", 1, 100);
    let mut first = Copier::connect(settings(brokers, "twins", "same"));
    let run = first.run();
    first.send(&run);
    let mut second = Copier::connect(settings(brokers, "twins", "same"));
    let error = first.commit(&run).unwrap_err();
    assert!(matches!(&error, StreamError::Restore(text) if text.contains("twins-same")), "{error}");
    first.stream.restart().unwrap();
    assert!(matches!(first.stream.next(WAIT), Ok(Some(Incoming::Lost(_)))), "a restart begins with what is lost");
    // Each fences the other until one says why it gives up.
    let deadline = Instant::now() + LIMIT;
    let stopped = loop {
        assert!(Instant::now() < deadline, "nobody gives up");
        second.stream.begin().unwrap();
        let sent = second.stream.send(Outlet::Scores, Partition(0), None, Some(b"?"));
        let refused = sent.and_then(|()| second.stream.commit(&[])).unwrap_err();
        assert!(matches!(refused, StreamError::Restore(_)), "{refused}");
        if let Err(error) = second.stream.restart() {
            break error;
        }
        first.stream.restart().ok();
    };
    assert!(matches!(&stopped, StreamError::Stop(text) if text.contains("name of its own")), "{stopped}");
}

#[test]
fn a_broker_that_goes_away_and_comes_back_is_waited_for() {
    let mut broker = Broker::start();
    fill(broker.bootstrap(), "outage", 1, 3_000);
    let mut copier = Copier::connect(settings(broker.bootstrap(), "outage", "a"));
    let run = copier.run();
    copier.send(&run);
    broker.kill();
    broker.restart();
    // Whatever becomes of the transaction that was open, it is known afterwards.
    let mut done = 0;
    match copier.commit(&run) {
        Ok(()) => done += run.len(),
        Err(StreamError::Abort(_)) => copier.rewind(),
        Err(StreamError::Restore(_)) => copier.restart(),
        Err(error) => panic!("{error}"),
    }
    let deadline = Instant::now() + LIMIT;
    while done < 3_000 {
        assert!(Instant::now() < deadline, "{done} are done");
        let run = copier.run();
        copier.send(&run);
        match copier.commit(&run) {
            Ok(()) => done += run.len(),
            Err(StreamError::Abort(_)) => copier.rewind(),
            Err(StreamError::Restore(_)) => copier.restart(),
            Err(error) => panic!("{error}"),
        }
    }
    expect_each_once(&committed(broker.bootstrap(), "outage.scores", 1), 1, 3_000);
}

#[test]
fn poison_is_handed_on_with_its_bytes_and_its_reason() {
    let brokers = Broker::shared().bootstrap();
    create_topic(brokers, "poison", 1, &[("max.message.bytes", "12000000")]);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("message.max.bytes", "12000000").create().unwrap();
    let huge = vec![b'x'; 10_000_000];
    let long_key = vec![b'k'; 100_000];
    for (key, payload) in [(None, &b"1"[..]), (None, b"?"), (None, &huge), (Some(&long_key), b"2"), (None, b"3")] {
        let mut record = BaseRecord::<[u8], [u8]>::to("poison").payload(payload);
        record.key = key.map(Vec::as_slice);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let mut copier = Copier::connect(settings(brokers, "poison", "a"));
    let (mut events, mut dead) = (Vec::new(), Vec::new());
    while events.len() + dead.len() < 5 {
        let run = copier.run();
        events.extend(run.events().cells().iter().copied());
        dead.extend(run.dead);
    }
    assert_eq!(events, [1.0, 3.0]);
    let about: Vec<_> = dead.iter().map(|dead| (dead.head.offset.0, dead.reason, dead.payload_bytes)).collect();
    assert_eq!(about, [(1, Reason::InvalidJson, 1), (2, Reason::InvalidJson, 10_000_000), (3, Reason::TooLarge, 1)]);
    assert_eq!(dead[0].payload, b"?");
    assert!(dead[1].payload.len() < 1_000_000 && dead[1].payload.len() > 900_000, "cut at what a message may hold");
}

#[test]
fn a_group_that_begins_at_the_end_begins_with_what_comes_then() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "latest", 1, 50);
    let mut settings = settings(brokers, "latest", "a");
    settings.start = Start::Latest;
    let mut copier = Copier::connect(settings);
    while copier.next.is_empty() {
        let incoming = copier.stream.next(WAIT).unwrap();
        assert!(incoming.and_then(|incoming| copier.handle(incoming)).is_none());
    }
    produce(brokers, "latest", 1, 50..60);
    assert_eq!(copier.run().from, Offset(50));
    // Statistics come once a second; then the lag is what hasn't been handed out.
    let deadline = Instant::now() + LIMIT;
    while copier.stream.lag() != Some(0) {
        assert!(Instant::now() < deadline, "the lag is {:?}", copier.stream.lag());
        let incoming = copier.stream.next(WAIT).unwrap();
        incoming.and_then(|incoming| copier.handle(incoming));
    }
}

#[test]
fn what_the_log_no_longer_has_is_not_skipped_in_silence() {
    let brokers = Broker::shared().bootstrap();
    fill(brokers, "truncated", 1, 100);
    delete_before(brokers, "truncated", 0, 30);
    let mut copier = Copier::connect(settings(brokers, "truncated", "a"));
    let run = copier.run();
    assert_eq!(run.from, Offset(30), "a new group begins at the first record that there is");
    let restored = copier.stream.restore(&[Partition(0)]).unwrap();
    assert_eq!((restored[0].earliest, restored[0].initial), (Offset(30), Offset(30)));
    copier.stream.resume(&[(Partition(0), Offset(10))]).unwrap();
    let deadline = Instant::now() + LIMIT;
    let error = loop {
        assert!(Instant::now() < deadline, "nothing is said");
        match copier.stream.next(WAIT) {
            Ok(Some(Incoming::Run(run))) => assert!(run.from < Offset(10), "{run:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StreamError::Restore(text) if text.contains("no longer in the log")), "{error}");
}

#[test]
fn a_wrong_password_is_said_at_once() {
    const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                         username=\"broker\" password=\"right\" user_broker=\"right\" user_engine=\"right\";";
    let broker = Broker::start_with(&[
        ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.plaintext.plain.sasl.jaas.config", LOGIN),
    ]);
    let mut settings = settings(broker.bootstrap(), "secret", "a");
    settings.properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "engine"),
        ("sasl.password", "wrong"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert!(!format!("{settings:?}").contains("wrong"), "passwords stay out of logs");
    let begun = Instant::now();
    let denied = refusal(settings.clone());
    assert!(denied.contains("uthentication failed") && denied.contains("`sasl.*`"), "{denied}");
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    settings.properties.last_mut().unwrap().1 = "right".into();
    assert!(refusal(settings).contains("`secret` doesn't exist"));
}

fn refusal(settings: Settings) -> String {
    let begun = Instant::now();
    let refused = KafkaStream::connect(settings, Arc::new(Numbers), 1).map(|_| ());
    assert!(begun.elapsed() < Duration::from_secs(12), "an answer within 12 s");
    match refused {
        Err(StreamError::Stop(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_at_the_start_say_what_to_do() {
    let brokers = Broker::shared().bootstrap();

    let unknown = refusal(settings(brokers, "no-such-topic", "a"));
    assert!(unknown.contains("`no-such-topic` doesn't exist"), "{unknown}");

    fill(brokers, "plain", 1, 1);
    create_topic(brokers, "plain.posterior", 1, &[]);
    let plain = refusal(settings(brokers, "plain", "a"));
    assert!(plain.contains("cleanup.policy=delete") && plain.contains("--add-config cleanup.policy=compact"), "{plain}");

    let mut forbidden = settings(brokers, "plain", "a");
    forbidden.create_topics = false;
    forbidden.topics.posterior = "plain.missing".into();
    forbidden.topics.scores = "plain".into();
    forbidden.topics.dead_letters = "plain".into();
    let forbidden = refusal(forbidden);
    assert!(forbidden.contains("--create --topic plain.missing") && forbidden.contains("cleanup.policy=compact"), "{forbidden}");

    let mut reserved = settings(brokers, "plain", "a");
    reserved.properties = vec![("isolation.level".into(), "read_uncommitted".into())];
    assert!(refusal(reserved).contains("isolation.level"));

    let mut misspelt = settings(brokers, "plain", "a");
    misspelt.properties = vec![("fetch.wiat.max.ms".into(), "5".into())];
    assert!(refusal(misspelt).contains("fetch.wiat.max.ms"));

    // A port that nobody listens on: bound once, so that it is nobody's, and closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nobody = settings(&format!("127.0.0.1:{port}"), "plain", "a");
    nobody.connect_timeout = Duration::from_secs(2);
    let nobody = refusal(nobody);
    assert!(nobody.contains(&format!("127.0.0.1:{port}")) && nobody.contains("refused"), "{nobody}");
}

#[test]
fn the_same_code_runs_on_the_broker_inside_the_client() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    for topic in ["demo", "demo.scores", "demo.posterior", "demo.dead"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    produce(&brokers, "demo", 1, 0..3_000);
    let mut copier = Copier::connect(settings(&brokers, "demo", "a"));
    let mut done = 0;
    while done < 3_000 {
        let run = copier.run();
        copier.send(&run);
        copier.commit(&run).unwrap();
        done += run.len();
    }
    expect_each_once(&committed(&brokers, "demo.scores", 1), 1, 3_000);
}
