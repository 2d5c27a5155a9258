//! Four processes on twelve partitions, killed, stopped and added, believe in the end what a single one does.
//!
//! What a partition teaches an exact model depends on its own events only, so the sum is the same to the last digits. A mixture's
//! partitions learn in the light of each other, in an order that nobody decides: there the predictive is compared.

use std::path::Path;

use surprisal::app;
use surprisal::codec::Decode;
use surprisal::codec::json::{JsonDecoder, Limits};
use surprisal::codec::wire::{Format, Snapshot};
use surprisal::config::Config;
use surprisal::features::Rows;
use surprisal::models::{Evidence, Model};

use crate::events::{COLUMNS, batch};
use crate::log::{Follower, produce, scores, snapshots};
use crate::plain::covered;
use crate::process::{Process, eventually};
use crate::setup::{Setup, Wishes};

const PARTITIONS: i32 = 12;
/// Events that come at a time.
const PORTION: u64 = 4800;
/// Nats by which the mean surprisal of an event may differ between two mixtures that have learnt the same events.
const TOLERANCE: f64 = 0.05;

/// The group that four share, and the one of a single process, on the same events.
struct Runs {
    setup: Setup,
    many: Wishes,
    one: Wishes,
}

impl Runs {
    fn new(name: &str, model_keys: &str, columns: &str) -> Self {
        let setup = Setup::new(name, PARTITIONS);
        let wishes = |of: &str| {
            let mut wishes = setup.wishes(&format!("{name}.{of}"));
            wishes.model_keys = model_keys.into();
            wishes.columns = columns.into();
            wishes.kafka = "commit_interval_ms = 20\nsnapshot_interval_ms = 100\ntransaction_timeout_ms = 2000\n\
                            session_timeout_ms = 2000\n"
                .into();
            wishes
        };
        let (many, one) = (wishes("many"), wishes("one"));
        Self { setup, many, one }
    }

    fn start(&self, wishes: &Wishes, instance: &str) -> Process {
        let wishes = Wishes { instance: instance.into(), ..wishes.clone() };
        Process::run(&self.setup.config(&format!("{}-{instance}", wishes.results), &wishes))
    }

    /// Events come in portions while processes come and go; then a single one reads them all.
    fn live(&self) {
        let held = |process: &Process| process.metric("surprisal_assigned_partitions");
        let brokers = self.setup.brokers;
        let mut crew: Vec<Process> = ["a", "b", "c", "d"].iter().map(|instance| self.start(&self.many, instance)).collect();
        eventually("four share the partitions", || crew.iter().all(|process| held(process) == 3.0).then_some(()));
        let mut follower = Follower::open(brokers, &self.many.scores());
        let send = |portion: u64| {
            produce(brokers, &self.setup.events, &batch(portion * PORTION..(portion + 1) * PORTION, PARTITIONS));
        };
        send(0);
        follower.until(PORTION as usize / 3);
        crew[1].kill(); // in the middle of the first portion
        send(1);
        crew.push(self.start(&self.many, "e"));
        follower.until(2 * PORTION as usize);
        crew[1] = self.start(&self.many, "b");
        eventually("five share the partitions", || crew.iter().all(|process| held(process) >= 2.0).then_some(()));
        send(2);
        follower.until(2 * PORTION as usize + PORTION as usize / 4);
        crew[2].stop(); // in the middle of the third
        crew[3].kill();
        send(3);
        follower.until(4 * PORTION as usize);
        for of in [0, 1, 4] {
            crew[of].stop();
        }
        let mut single = self.start(&self.one, "single");
        single.await_ready();
        Follower::open(brokers, &self.one.scores()).until(4 * PORTION as usize);
        single.stop();
    }

    /// The last snapshots of the four and of the one, after a look at the scores.
    fn learnt(&self) -> [Vec<Snapshot>; 2] {
        let each = 4 * PORTION / PARTITIONS as u64;
        [&self.many, &self.one].map(|wishes| {
            let found = scores(self.setup.brokers, &wishes.scores(), Format::Json);
            let places = (0..PARTITIONS).flat_map(|of| (0..each as i64).map(move |offset| (of, offset)));
            assert!(found.keys().copied().eq(places), "{}: every event has one score", wishes.results);
            let snapshots = snapshots(self.setup.brokers, &wishes.posterior());
            for (partition, snapshot) in &snapshots {
                assert_eq!((snapshot.events, snapshot.covers_to.0 as u64), (covered(each), covered(each)), "{partition}");
            }
            assert_eq!(snapshots.len(), PARTITIONS as usize);
            snapshots.into_values().collect()
        })
    }
}

/// Surprisals of events that nobody has learnt, under the posterior that the snapshots add up to.
fn surprisals(config: &Path, snapshots: &[Snapshot]) -> Vec<f64> {
    let config = Config::load_offline(config).unwrap();
    let model = app::model(&config.schema, &config.model).unwrap();
    let mut evidence = model.nothing();
    for snapshot in snapshots {
        evidence.add(&snapshot.site(&model).unwrap().evidence);
    }
    let decoder = JsonDecoder::new(&config.schema, Limits::default());
    let mut rows = Rows::new(config.schema.width());
    for record in batch(4 * PORTION..4 * PORTION + 1000, 1) {
        decoder.decode(&record.payload.unwrap(), &mut rows).unwrap();
    }
    let mut found = Vec::new();
    model.score(&model.posterior(&evidence).unwrap(), rows.view(), &mut found);
    found.iter().map(|surprisal| surprisal.nats).collect()
}

#[test]
fn four_processes_end_with_the_posterior_of_one() {
    let runs = Runs::new(
        "scale.exact",
        "kind = \"linear_regression\"\ntarget = \"amount\"\ninputs = [\"latency\", \"retries\"]\n",
        COLUMNS,
    );
    runs.live();
    let [many, one] = runs.learnt();
    for (many, one) in many.iter().zip(&one) {
        assert_eq!(many.tensors, one.tensors, "partition {} has learnt the same, bit for bit", many.header.partition);
    }
    let config = runs.setup.config("read", &runs.one);
    let (found, expected) = (surprisals(&config, &many), surprisals(&config, &one));
    assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-9));
}

#[test]
fn four_processes_find_the_mixture_that_one_finds() {
    // Without the amounts, which no number of normal components fits exactly: how finely they are cut into parts is chance.
    let columns = COLUMNS.replace("[[columns]]\nname = \"amount\"\nkind = \"number\"\n", "");
    let runs = Runs::new("scale.mixture", "", &columns);
    runs.live();
    let [many, one] = runs.learnt();
    let config = runs.setup.config("read", &runs.one);
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (found, expected) = (surprisals(&config, &many), surprisals(&config, &one));
    let gap = mean(&found) - mean(&expected);
    assert!(gap.abs() < TOLERANCE, "{} and {} nats an event", mean(&found), mean(&expected));
    // Both see the same events as odd: ranks go together.
    let rank = |of: &[f64]| {
        let mut order: Vec<usize> = (0..of.len()).collect();
        order.sort_by(|a, b| of[*a].total_cmp(&of[*b]));
        let mut rank = vec![0.0; of.len()];
        order.iter().enumerate().for_each(|(at, event)| rank[*event] = at as f64);
        rank
    };
    let (left, right) = (rank(&found), rank(&expected));
    let middle = (found.len() - 1) as f64 / 2.0;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let correlation = dot(&left, &right) / dot(&left, &left);
    assert!(correlation > 0.95, "rank correlation {correlation}");
    eprintln!("means {} and {} nats, rank correlation {correlation}", mean(&found), mean(&expected));
}
