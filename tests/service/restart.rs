//! `kill -9` in the middle, and a restart: every event is scored once, and the posterior is that of a run without interruption.

use surprisal::codec::wire::Format;

use crate::events::batch;
use crate::log::{Follower, assert_same, produce, scores, snapshots};
use crate::process::Process;
use crate::setup::Setup;
use crate::support::topics::delete_before;

/// Events that come between two kills.
const PORTION: u64 = 3000;
/// When the process is killed: so many of the scores of each portion are committed.
const KILLS: [u64; 3] = [40, 700, 1400];

#[test]
fn killed_runs_end_where_an_uninterrupted_one_does() {
    let setup = Setup::new("killed", 1);
    let calm = setup.wishes("killed.calm");
    let mut wild = setup.wishes("killed.wild");
    // Many small transactions, so that a kill falls among them, and a session that is soon over.
    wild.kafka = "commit_interval_ms = 5\ncommit_max_events = 16\nsnapshot_interval_ms = 50\nsession_timeout_ms = 2000\n".into();
    let config = setup.config("wild", &wild);

    let mut reference = Process::run(&setup.config("calm", &calm));
    let mut scored = Vec::new();
    let mut service = Process::run(&config);
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wild.scores());
    for (turn, kill_at) in (0..).zip(KILLS) {
        let first = turn * PORTION;
        produce(setup.brokers, &setup.events, &batch(first..first + PORTION, 1));
        follower.until((first + kill_at) as usize);
        service.kill();
        scored.push(scores(setup.brokers, &wild.scores(), Format::Json).len() as u64);
        service = Process::run(&config);
        // What was left of the portion is done before the next comes: the restart is behind it.
        follower.until((first + PORTION) as usize);
    }
    let total = (KILLS.len() as u64 + 1) * PORTION;
    produce(setup.brokers, &setup.events, &batch(total - PORTION..total, 1));
    follower.until(total as usize);
    service.stop();
    Follower::open(setup.brokers, &calm.scores()).until(total as usize);
    reference.stop();

    // The kills were in the middle of something.
    let done: Vec<u64> = (1..).zip(&scored).map(|(turn, scored)| turn * PORTION - scored).collect();
    assert!(done.iter().any(|left| *left > 0), "no kill has interrupted anything: {scored:?}");

    let (expected, found) =
        (scores(setup.brokers, &calm.scores(), Format::Json), scores(setup.brokers, &wild.scores(), Format::Json));
    assert_eq!(expected.len() as u64, total);
    assert_eq!(found.len() as u64, total);
    for (place, expected) in &expected {
        let found = &found[place];
        assert_eq!(found.score.surprisal.to_bits(), expected.score.surprisal.to_bits(), "event {place:?}");
        assert_eq!(found, expected);
    }
    let (expected, found) = (snapshots(setup.brokers, &calm.posterior()), snapshots(setup.brokers, &wild.posterior()));
    assert_eq!(expected.len(), 1);
    assert_same(&found[&0], &expected[&0]);
    assert_eq!(found[&0].covers_to.0 as u64, crate::plain::covered(total));
}

/// A group that begins at the log's end begins there once, and not at a later end after each restart.
#[test]
fn what_comes_after_the_first_start_is_scored_and_learnt() {
    let setup = Setup::new("latest", 1);
    let mut wishes = setup.wishes("latest");
    wishes.kafka = "start = \"latest\"\nsnapshot_interval_ms = 60000\nsession_timeout_ms = 1500\n".into();
    let config = setup.config("latest", &wishes);
    produce(setup.brokers, &setup.events, &batch(0..100, 1));
    // It dies before anything has come, and again before a snapshot is due.
    let mut service = Process::run(&config);
    service.await_ready();
    service.kill();
    produce(setup.brokers, &setup.events, &batch(100..200, 1));
    let mut service = Process::run(&config);
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wishes.scores());
    follower.until(100);
    service.kill();
    produce(setup.brokers, &setup.events, &batch(200..300, 1));
    let mut service = Process::run(&config);
    follower.until(200);
    service.stop();
    let offsets: Vec<i64> = scores(setup.brokers, &wishes.scores(), Format::Json).keys().map(|(_, offset)| *offset).collect();
    assert_eq!(offsets, (100..300).collect::<Vec<_>>());
    let snapshot = &snapshots(setup.brokers, &wishes.posterior())[&0];
    let learnt = crate::plain::covered(200);
    assert_eq!((snapshot.events, snapshot.covers_to.0 as u64), (learnt, 100 + learnt));
}

/// The last events before an idle time wait for their block while retention deletes them.
#[test]
fn an_idle_topic_that_retention_has_emptied_is_no_obstacle() {
    let setup = Setup::new("emptied", 1);
    let wishes = setup.wishes("emptied");
    let config = setup.config("emptied", &wishes);
    produce(setup.brokers, &setup.events, &batch(0..203, 1));
    let mut service = Process::run(&config);
    service.await_ready();
    let mut follower = Follower::open(setup.brokers, &wishes.scores());
    follower.until(203);
    service.stop();
    let learnt = crate::plain::covered(203);
    assert_eq!(snapshots(setup.brokers, &wishes.posterior())[&0].covers_to.0 as u64, learnt);
    assert!(learnt < 203);

    delete_before(setup.brokers, &setup.events, 0, 203);
    let mut service = Process::run(&config);
    service.await_ready();
    assert!(service.stderr().contains("records deleted by retention after they were scored"), "{}", service.stderr());
    produce(setup.brokers, &setup.events, &batch(203..303, 1));
    follower.until(303);
    service.stop();
    assert_eq!(scores(setup.brokers, &wishes.scores(), Format::Json).len(), 303);
    let snapshot = &snapshots(setup.brokers, &wishes.posterior())[&0];
    let after = crate::plain::covered(learnt + 100);
    assert_eq!((snapshot.events, snapshot.covers_to.0 as u64), (after, 203 + after - learnt));

    // Events that nobody has scored are another matter.
    produce(setup.brokers, &setup.events, &batch(303..403, 1));
    delete_before(setup.brokers, &setup.events, 0, 353);
    let mut refused = Process::run(&config);
    assert_eq!(refused.wait(), 1);
    let said = refused.stderr();
    assert!(said.contains("offsets 303 to 353 were deleted by retention before they were scored"), "{said}");
    assert!(said.contains("`deleted_events = \"skip\"`"), "{said}");

    // Passed over only by who was told to, and counted.
    let mut told = wishes.clone();
    told.kafka.push_str("deleted_events = \"skip\"\n");
    let mut service = Process::run(&setup.config("told", &told));
    service.await_ready();
    follower.until(353);
    assert_eq!(service.metric("surprisal_missed_records_total"), 50.0);
    assert!(service.stderr().contains("\"missing\":50"), "{}", service.stderr());
    service.stop();
    let offsets = scores(setup.brokers, &wishes.scores(), Format::Json).into_keys().map(|(_, offset)| offset);
    assert!(offsets.eq((0..303).chain(353..403)), "every event that was there has one score");
}

#[test]
fn a_changed_model_under_the_same_id_is_refused() {
    let setup = Setup::new("changed", 1);
    let wishes = setup.wishes("changed");
    produce(setup.brokers, &setup.events, &batch(0..100, 1));
    let mut service = Process::run(&setup.config("before", &wishes));
    service.await_ready();
    Follower::open(setup.brokers, &wishes.scores()).until(100);
    service.stop();

    let mut changed = wishes.clone();
    changed.columns.push_str("[[columns]]\nname = \"weight\"\nkind = \"number\"\n");
    let config = setup.config("after", &changed);
    for (command, advice) in [("run", "give the new model an id of its own"), ("inspect", "the id of another model")] {
        let mut refused = Process::start(&[command, "--config", crate::process::text(&config)], &[]);
        assert_eq!(refused.wait(), 1, "{command}");
        let said = refused.stderr();
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("surprisal: snapshot of `model` was gathered under another configuration of the model"),
            "{command}: {said}"
        );
        assert!(last.contains(advice), "{command}: {said}");
    }
    // With an id of its own it begins anew, beside the other.
    changed.model = "model-2".into();
    changed.results = "changed.again".into();
    let mut service = Process::run(&setup.config("renamed", &changed));
    service.await_ready();
    Follower::open(setup.brokers, &changed.scores()).until(100);
    service.stop();
}
