//! What befalls a group: members that come, go, die, sleep and come back, and a name that two processes have.

use crate::Play;
use crate::config::Setting;
use crate::process::now_ms;
use crate::process::{Process, eventually};
use crate::stage::{LINEAR, Scene, Stage, idle};
use crate::table::Row;

const PARTITIONS: i32 = 4;

/// Members whose silence is soon noticed, but whose transactions last.
const GROUP: &[Setting] = &[
    ("session_timeout_ms", "1500"),
    ("transaction_timeout_ms", "6000"),
    ("commit_interval_ms", "20"),
    ("snapshot_interval_ms", "250"),
];

fn group(fault: &str, name: &str, members: &[&str]) -> Stage {
    let mut stage = Stage::open(fault, Scene::of(name, LINEAR, PARTITIONS, &[GROUP]));
    for member in members {
        stage.start(member);
    }
    stage.await_scores(now_ms());
    await_shares(&mut stage, members);
    stage
}

fn held(process: &Process) -> f64 {
    process.metric("surprisal_assigned_partitions")
}

/// Waits until `members` have all partitions among them, in equal shares.
fn await_shares(stage: &mut Stage, members: &[&str]) {
    let share = f64::from(PARTITIONS) / members.len() as f64;
    let is_shared = |stage: &mut Stage| members.iter().all(|member| held(stage.process(member)) == share);
    eventually("the partitions are shared", || is_shared(stage).then_some(()));
}

/// Stopped in the middle of its work until another has all partitions, then continued where it was: it must not commit, and has to
/// find back by itself. The recovery is until it has committed something of its own again.
pub fn zombie(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let mut stage = group(fault, "zombie", &["a", "b"]);
    for run in 0..play.runs(10, 1) {
        idle(dice.below(100));
        let [sleeper, other] = if run % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        let done = stage.process(sleeper).metric("surprisal_transaction_commits_total");
        stage.process(sleeper).hold();
        eventually("the other has all", || (held(stage.process(other)) == f64::from(PARTITIONS)).then_some(()));
        stage.await_scores(now_ms());
        stage.process(sleeper).go_on();
        let since = now_ms();
        stage.ran();
        // What it had open may have been counted as committed before it was stopped, so two more.
        eventually("the sleeper commits again", || {
            (stage.process(sleeper).metric("surprisal_transaction_commits_total") >= done + 2.0).then_some(())
        });
        stage.recovered(since, now_ms());
        await_shares(&mut stage, &["a", "b"]);
    }
    stage.close()
}

/// A second process of the same name: each fences the other until one gives up, saying why.
pub fn twins(play: &Play, fault: &str) -> Row {
    let mut stage = group(fault, "twins", &["a"]);
    for _ in 0..play.runs(3, 1) {
        let mut twin = stage.twin("a");
        let is_twin = eventually("one of two processes of one name gives up", || {
            let twin = twin.ended().map(|_| true);
            twin.or_else(|| stage.process("a").ended().map(|_| false))
        });
        let said = if is_twin { twin.stderr() } else { stage.process("a").stderr() };
        if !is_twin {
            stage.adopt("a", twin);
        }
        let since = now_ms();
        assert!(said.contains("another process uses the transactional id `twins-a`"), "{said}");
        stage.ran();
        stage.await_recovery(since, None);
        // A new process, since being fenced is remembered for some minutes.
        stage.stop("a");
        let since = stage.start("a");
        stage.await_scores(since);
    }
    stage.close()
}

/// Dead, or held still for too long, between the last commit of what is taken from it and its handing over; and held still in the
/// middle of a transaction until it is too late.
pub fn hand_over(play: &Play, fault: &str) -> Row {
    let plans = [
        ("revoked:1=exit", Some("revoked")),
        ("begun:40=stall:3000,aborting:1=exit", Some("aborting")),
        ("revoked:1=stall:3000", None),
        ("begun:40=stall:3000", None),
        ("offsets_sent:40=stall:3000", None),
        ("committed:40=stall:3000", None),
    ];
    let mut stage = group(fault, "handover", &["a"]);
    for _ in 0..play.runs(3, 1) {
        for (plan, death) in plans.into_iter().take(play.runs(plans.len(), 2)) {
            stage.stop("a");
            let since = stage.start_at("a", plan);
            stage.await_scores(since);
            if plan.contains(":40=") {
                eventually("a is held still", || stage.process("a").stderr().contains("\"message\":\"failpoint\"").then_some(()));
            }
            let mut since = stage.start("b");
            if let Some(place) = death {
                stage.await_death("a", place);
                since = stage.start("a");
            }
            stage.ran();
            stage.await_recovery(since, None);
            await_shares(&mut stage, &["a", "b"]);
            stage.stop("b");
            stage.await_scores(now_ms());
        }
    }
    stage.close()
}

/// Three members that come, leave in good order and are killed, faster than the group can settle.
pub fn storm(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let mut stage = group(fault, "storm", &["a", "b"]);
    let mut since = now_ms();
    for run in 0..play.runs(60, 10) {
        let member = ["a", "b", "c"][dice.below(3)];
        if !stage.up().iter().any(|up| up == member) {
            since = stage.start(member);
        } else if dice.below(2) == 0 {
            stage.process(member).terminate();
            stage.let_go(member);
        } else {
            stage.kill(member);
        }
        stage.ran();
        idle(dice.below(1000));
        // It settles now and then; somebody has to be there for it.
        if run % 6 == 5 {
            if stage.up().is_empty() {
                since = stage.start("a");
            }
            stage.await_recovery(since, None);
        }
    }
    if stage.up().is_empty() {
        stage.start("a");
    }
    stage.await_scores(now_ms());
    stage.close()
}
