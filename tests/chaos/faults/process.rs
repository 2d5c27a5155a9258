//! What befalls one process: death at any instant and at every failpoint, stalls, and being stopped for too long.

use surprisal::failpoint::PLACES;

use crate::Play;
use crate::config::Setting;
use crate::process::eventually;
use crate::process::now_ms;
use crate::stage::{MIXTURE, SOLO, Scene, Stage, idle};
use crate::table::Row;

/// How long a process stands still: longer than a transaction, or a session, may last in these faults.
const STILL_MS: usize = 2500;

/// Places that a process by itself comes to, each time that it starts or commits. The others are in [`super::group`].
fn places() -> impl Iterator<Item = &'static str> {
    PLACES.into_iter().filter(|place| !["settling", "restarting", "revoked", "aborting"].contains(place))
}

/// Places that are passed on the way to the first record, once.
fn is_on_the_way(place: &str) -> bool {
    ["chunk_read", "chunks_read", "restored", "sought"].contains(&place)
}

/// One instance, which is expected back.
fn solo(fault: &str, name: &str, kafka: &[Setting]) -> Stage {
    let mut stage = Stage::open(fault, Scene::of(name, MIXTURE, 1, &[SOLO, kafka]));
    stage.begin("a");
    stage
}

/// Killed at a random instant; one time in four it was still coming back from the kill before.
pub fn kill(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let mut stage = solo(fault, "kill", &[]);
    let mut begun = 0;
    for run in 0..play.runs(200, 8) {
        if run % 4 == 3 {
            idle(dice.below(500));
        } else {
            if run > 0 {
                stage.await_recovery(begun, Some("a"));
            }
            idle(dice.below(250));
        }
        stage.kill("a");
        begun = stage.start("a");
        stage.ran();
    }
    stage.await_recovery(begun, Some("a"));
    stage.close()
}

/// Dead at each failpoint, at the first to fourth time that it comes there.
pub fn die(play: &Play, fault: &str) -> Row {
    let mut dice = play.dice(fault);
    let mut stage = Stage::open(fault, Scene::of("die", MIXTURE, 1, &[SOLO]));
    // Only a group that has committed nothing settles where it begins.
    stage.start_at("a", "settling:1=exit");
    stage.await_death("a", "settling");
    stage.ran();
    stage.begin("a");
    for _ in 0..play.runs(4, 1) {
        for place in places() {
            let nth = if is_on_the_way(place) { 1 } else { 1 + dice.below(4) };
            stage.kill("a");
            stage.start_at("a", &format!("{place}:{nth}=exit"));
            stage.await_death("a", place);
            stage.ran();
            let begun = stage.start("a");
            stage.await_recovery(begun, Some("a"));
        }
        // A transaction that timed out has all state restored, and that is when it dies.
        stage.kill("a");
        stage.start_at("a", "flushed:2=stall:3500,restarting:1=exit");
        stage.await_death("a", "restarting");
        stage.ran();
        let begun = stage.start("a");
        stage.await_recovery(begun, Some("a"));
    }
    stage.close()
}

/// Held still at each failpoint for longer than its transaction may take; it goes on by itself.
pub fn stall(play: &Play, fault: &str) -> Row {
    let mut stage = solo(fault, "stall", &[("transaction_timeout_ms", "1000")]);
    for _ in 0..play.runs(2, 1) {
        for place in places() {
            let nth = if is_on_the_way(place) { 1 } else { 3 };
            stage.kill("a");
            stage.start_at("a", &format!("{place}:{nth}=stall:{STILL_MS}"));
            let held_ms = eventually(&format!("a comes to `{place}`"), || {
                stage.process("a").stderr().contains("\"message\":\"failpoint\"").then(now_ms)
            });
            stage.ran();
            stage.await_recovery(held_ms + STILL_MS as i64, None);
        }
    }
    stage.close()
}

/// Stopped for longer than its session lasts, with nobody to take over, and continued.
pub fn sleep(play: &Play, fault: &str) -> Row {
    let mut stage = solo(fault, "sleep", &[("session_timeout_ms", "1500"), ("transaction_timeout_ms", "10000")]);
    stop_and_go_on(&mut stage, play.runs(10, 1));
    stage.close()
}

/// Stopped for longer than its transaction may take, but not than its session lasts, and continued.
pub fn expire(play: &Play, fault: &str) -> Row {
    let mut stage = solo(fault, "expire", &[("transaction_timeout_ms", "1000")]);
    stop_and_go_on(&mut stage, play.runs(10, 1));
    stage.close()
}

fn stop_and_go_on(stage: &mut Stage, runs: usize) {
    for _ in 0..runs {
        stage.process("a").hold();
        idle(STILL_MS);
        stage.process("a").go_on();
        let since = now_ms();
        stage.ran();
        stage.await_recovery(since, None);
        idle(300);
    }
}
