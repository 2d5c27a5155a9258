//! Instances that are killed, held still, stopped and started in an order drawn from a seed, on a broker that dies, too: together
//! they score every event once, and what can't be scored lands once among the dead letters.
//!
//! `CHAOS_SEED` and `CHAOS_FAULTS` in the environment draw other faults, and more of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use surprisal::codec::wire::Format;

use crate::events::{START_MS, batch};
use crate::log::{Follower, Record, dead_letters, produce, scores, snapshots};
use crate::plain::covered;
use crate::process::{Process, eventually};
use crate::setup::Setup;
use crate::support::broker::Broker;

const PARTITIONS: i32 = 4;
/// Records that come before each fault.
const PORTION: u64 = 600;
/// One record of so many is no event.
const POISON: u64 = 7;
/// Time without a heartbeat after which a member is out of the group; a transaction lives longer.
const SESSION: Duration = Duration::from_millis(1500);

/// What happens to an instance or to the broker.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9`.
    Kill,
    /// Held still until others have done its work, then let go where it was: it must not commit.
    Zombie,
    /// Held still for less than its session.
    Pause,
    /// SIGTERM.
    Stop,
    /// Nothing but another instance, if one is down.
    Join,
    /// The broker is killed and comes back.
    Broker,
}

impl Fault {
    /// Some are drawn more often than others.
    const DRAWN: [Self; 10] = [
        Self::Kill,
        Self::Kill,
        Self::Kill,
        Self::Zombie,
        Self::Zombie,
        Self::Zombie,
        Self::Pause,
        Self::Stop,
        Self::Join,
        Self::Broker,
    ];
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % count as u64) as usize
    }
}

/// Records, some of which are no events.
fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    let spoil = |(number, record): (u64, Record)| match number % POISON {
        3 => Record { payload: Some(b"spoilt".to_vec()), timestamp_ms: START_MS, ..record },
        _ => record,
    };
    numbers.clone().zip(batch(numbers, PARTITIONS)).map(spoil).collect()
}

/// Instances by name; those that are down are none.
struct Crew {
    configs: Vec<PathBuf>,
    running: Vec<Option<Process>>,
    exits: Vec<String>,
}

impl Crew {
    /// Those that ended by themselves are down.
    fn up(&mut self) -> Vec<usize> {
        for process in &mut self.running {
            if let Some(status) = process.as_mut().and_then(Process::ended) {
                let said = process.take().unwrap().stderr();
                self.exits.push(format!("{status}: {}", said.lines().last().unwrap_or_default()));
            }
        }
        (0..self.running.len()).filter(|of| self.running[*of].is_some()).collect()
    }

    fn start(&mut self, of: usize) {
        self.running[of] = Some(Process::run(&self.configs[of]));
    }

    fn process(&self, of: usize) -> &Process {
        self.running[of].as_ref().unwrap()
    }
}

#[test]
fn whatever_dies_and_whenever_every_record_is_answered_once() {
    let setting = |name: &str, usual| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let (seed, faults) = (setting("CHAOS_SEED", 4), setting("CHAOS_FAULTS", 12));
    let mut dice = Dice(seed);
    let mut broker = Broker::start();
    let brokers: &'static str = Box::leak(broker.bootstrap().to_owned().into_boxed_str());
    let setup = Setup::at(brokers, "chaos", PARTITIONS, &[]);
    let config = |instance: &&str| {
        let mut wishes = setup.wishes("chaos");
        wishes.instance = (*instance).into();
        wishes.kafka = format!(
            "commit_interval_ms = 20\ncommit_max_events = 64\nsnapshot_interval_ms = 50\ntransaction_timeout_ms = 4000\n\
             session_timeout_ms = {}\n",
            SESSION.as_millis()
        );
        setup.config(instance, &wishes)
    };
    let configs: Vec<PathBuf> = ["a", "b", "c"].iter().map(config).collect();
    let mut crew = Crew { running: configs.iter().map(|_| None).collect(), configs, exits: Vec::new() };
    crew.start(0);
    eventually("the first is ready", || crew.process(0).is_ready().then_some(()));
    let mut follower = Follower::open(brokers, "chaos.scores");
    let events = |sent: u64| (0..sent).filter(|number| number % POISON != 3).count();

    let mut sent = 0;
    let begun = Instant::now();
    for fault in 0..faults {
        let before = follower.count();
        produce(brokers, &setup.events, &records(sent..sent + PORTION));
        sent += PORTION;
        if crew.up().is_empty() {
            crew.start(dice.below(3));
        }
        // In the middle of something: after so many more scores.
        let reach = before + 1 + dice.below(events(PORTION) / 2);
        eventually(&format!("{reach} scores before fault {fault}; exits {:?}", crew.exits), || {
            if crew.up().is_empty() {
                crew.start(0);
            }
            (follower.count() >= reach).then_some(())
        });
        let up = crew.up();
        let Some(&victim) = up.get(dice.below(up.len().max(1))) else { continue };
        let kind = Fault::DRAWN[dice.below(Fault::DRAWN.len())];
        let down: Vec<usize> = (0..3).filter(|of| !up.contains(of)).collect();
        eprintln!("{:6.1} s fault {fault}: {kind:?}, victim {victim}, up {up:?}", begun.elapsed().as_secs_f64());
        match kind {
            Fault::Kill => crew.running[victim].take().unwrap().kill(),
            Fault::Zombie => {
                // Others take over and do all there is; then the held one goes on where it was.
                crew.process(victim).hold();
                if up.len() == 1 {
                    crew.start(down[0]);
                }
                let held = Instant::now();
                eventually(&format!("others do it all; exits {:?}", crew.exits), || {
                    if crew.up() == [victim] {
                        crew.start(down[0]);
                    }
                    (follower.count() >= events(sent) && held.elapsed() > SESSION).then_some(())
                });
                produce(brokers, &setup.events, &records(sent..sent + PORTION));
                sent += PORTION;
                crew.process(victim).go_on();
            }
            Fault::Pause => {
                crew.process(victim).hold();
                let at = follower.count();
                let held = Instant::now();
                eventually("a pause", || (held.elapsed() > SESSION / 2 || follower.count() > at + 100).then_some(()));
                crew.process(victim).go_on();
            }
            Fault::Stop => crew.process(victim).terminate(),
            Fault::Join => down.first().into_iter().for_each(|of| crew.start(*of)),
            Fault::Broker => {
                broker.kill();
                broker.restart();
            }
        }
        if dice.below(2) == 0
            && let Some(of) = down.first()
            && crew.running[*of].is_none()
        {
            crew.start(*of);
        }
    }
    produce(brokers, &setup.events, &records(sent..sent + PORTION));
    sent += PORTION;
    eventually(&format!("all {} are scored; exits {:?}", events(sent), crew.exits), || {
        if crew.up().is_empty() {
            crew.start(0);
        }
        (follower.count() >= events(sent)).then_some(())
    });
    for of in crew.up() {
        crew.running[of].take().unwrap().stop();
    }
    eprintln!("{:6.1} s, {sent} records; ended by themselves: {:?}", begun.elapsed().as_secs_f64(), crew.exits);

    let number = |partition: i32, offset: i64| offset as u64 * PARTITIONS as u64 + partition as u64;
    let places = |wanted: &dyn Fn(u64) -> bool| -> Vec<(i32, i64)> {
        let offsets = 0..(sent / PARTITIONS as u64) as i64;
        let all = (0..PARTITIONS).flat_map(|partition| offsets.clone().map(move |offset| (partition, offset)));
        all.filter(|(partition, offset)| wanted(number(*partition, *offset))).collect()
    };
    let good = places(&|number| number % POISON != 3);
    let scores = scores(brokers, "chaos.scores", Format::Json);
    assert!(scores.keys().copied().eq(good.iter().copied()), "every event has one score");
    let mut letters: Vec<(i32, i64)> =
        dead_letters(brokers, "chaos.dead").iter().map(|letter| (letter.partition.0, letter.dead.head.offset.0)).collect();
    letters.sort_unstable();
    assert_eq!(letters, places(&|number| number % POISON == 3), "every other record has one letter");
    let mut by_partition: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    good.iter().for_each(|(partition, offset)| by_partition.entry(*partition).or_default().push(*offset));
    for (partition, snapshot) in &snapshots(brokers, "chaos.posterior") {
        let offsets = by_partition.remove(partition).unwrap();
        let learnt = covered(offsets.len() as u64);
        let expected = (learnt, offsets[learnt as usize - 1] + 1);
        assert_eq!((snapshot.events, snapshot.covers_to.0), expected, "partition {partition}");
    }
    assert!(by_partition.is_empty(), "every partition has a snapshot");
}
