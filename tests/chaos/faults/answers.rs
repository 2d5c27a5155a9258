//! What befalls the answers to EndTxn: nobody but the broker knows whether the transaction was committed.

use std::time::Duration;

use crate::Play;
use crate::process::eventually;
use crate::process::now_ms;
use crate::proxy::{Fate, Proxy};
use crate::stage::{MIXTURE, SOLO, Scene, Stage, idle};
use crate::support::broker::Broker;
use crate::table::Row;

/// Answers that come late: later than usual, and later than the transaction may take.
pub fn late(play: &Play, fault: &str) -> Row {
    let fates = [300, 1500, 4000].map(|milliseconds| Fate::Late(Duration::from_millis(milliseconds)));
    answers(play, fault, "late", &fates)
}

/// Answers that never come, with the connection or without it.
pub fn lost(play: &Play, fault: &str) -> Row {
    answers(play, fault, "lost", &[Fate::Cut, Fate::Lost])
}

/// Lets the next answer have each of `fates` in turn. One time in three the process is killed while it waits.
fn answers(play: &Play, fault: &str, name: &str, fates: &[Fate]) -> Row {
    let mut dice = play.dice(fault);
    let proxy = Proxy::start();
    let broker = Broker::start_behind(proxy.port);
    proxy.lead_to(broker.proxied());
    let through = Some(format!("127.0.0.1:{}", proxy.port));
    let scene = Scene { brokers: Some(broker.bootstrap()), through, ..Scene::of(name, MIXTURE, 1, &[SOLO]) };
    let mut stage = Stage::open(fault, scene);
    stage.begin("a");
    for run in 0..play.runs(12, fates.len()) {
        idle(dice.below(100));
        let met = proxy.met();
        proxy.next(fates[run % fates.len()]);
        eventually("an answer to EndTxn", || (proxy.met() > met).then_some(()));
        let since = now_ms();
        stage.ran();
        if dice.below(3) == 0 {
            stage.kill("a");
            let begun = stage.start("a");
            stage.await_recovery(begun, Some("a"));
        } else {
            stage.await_recovery(since, None);
        }
    }
    stage.close()
}
