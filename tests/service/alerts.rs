//! What people are told: of an incident once, with an account, and of a new regime once, on the scores topic, in the log and in the metrics.

use serde_json::{Value, json};
use surprisal::codec::wire::Format;

use crate::events::{batch, event};
use crate::log::{Follower, Record, produce, scores};
use crate::process::Process;
use crate::setup::Setup;

/// Offsets of each partition before and after it happens.
const BEFORE: i64 = 2_000;
const AFTER: i64 = 40;

const TOLD: &str = "
[alerts]
rate = 0.0005

[regimes]
watch = [\"amount\"]
";

/// An event of partition 1 whose amount is beyond any there was.
fn odd(number: u64) -> Record {
    let usual = event(number, 2);
    let mut fields: Value = serde_json::from_slice(&usual.payload.expect("an event")).unwrap();
    fields["amount"] = json!(10_000.0 + 10.0 * (number % 13) as f64);
    Record { payload: Some(fields.to_string().into_bytes()), ..usual }
}

#[test]
fn an_incident_and_a_new_regime_are_told_once_with_what_they_are_of() {
    let setup = Setup::new("told", 2);
    let (before, after) = (2 * BEFORE as u64, 2 * (BEFORE + AFTER) as u64);
    let mut records = batch(0..before, 2);
    records.extend((before..after).map(|number| if number % 2 == 1 { odd(number) } else { event(number, 2) }));
    produce(setup.brokers, &setup.events, &records);
    let mut wishes = setup.wishes("told.results");
    wishes.columns.push_str(TOLD);
    let mut service = Process::run(&setup.config("told", &wishes));
    Follower::open(setup.brokers, &wishes.scores()).until(after as usize);
    let counted = ["surprisal_alerts_total", "surprisal_regime_changes_total"].map(|name| service.metric(name));
    service.stop();

    let scores = scores(setup.brokers, &wishes.scores(), Format::Json);
    let alerts: Vec<_> = scores.iter().filter(|(_, scored)| scored.score.alert).collect();
    let changes: Vec<_> =
        scores.iter().flat_map(|(at, scored)| scored.score.changes.iter().map(move |change| (*at, change))).collect();
    assert_eq!(counted, [alerts.len() as f64, changes.len() as f64]);

    let told: Vec<_> = alerts.iter().filter(|(at, _)| **at >= (1, BEFORE)).collect();
    let [((_, offset), scored)] = told[..] else { panic!("one alert, not {told:?}") };
    assert!(*offset < BEFORE + 3, "told at {offset}");
    let account = scored.score.explanation.as_ref().expect("an alert has an account");
    let first = &account.contributions[0];
    assert!(first.column == "amount" && first.nats > 0.8 * scored.score.surprisal, "{account:?}");
    assert!((account.contributions.iter().map(|one| one.nats).sum::<f64>() - scored.score.surprisal).abs() < 1e-9, "{account:?}");
    assert!(scored.score.rarity > 2.0, "{scored:?}");

    let begun: Vec<_> = changes.iter().filter(|(at, _)| *at >= (1, BEFORE)).collect();
    let [((_, told_at), change)] = begun[..] else { panic!("one change, not {begun:?}") };
    assert_eq!((change.series.as_str(), change.offset), ("amount", BEFORE));
    assert!(*told_at < BEFORE + 20 && change.after.mean > 9_000.0 && change.before.mean < 100.0, "{told_at} {change:?}");

    let log = service.log();
    let said = |message: &str| log.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    let (of_alerts, of_changes) = (said("alert"), said("the regime has changed"));
    assert_eq!((of_alerts.len(), of_changes.len()), (alerts.len(), changes.len()));
    let line =
        of_alerts.iter().find(|line| line["partition"] == 1 && line["offset"] == *offset).expect("the alert is in the log");
    assert!(line["field"] == "amount" && line["level"] == "WARN", "{line}");
    assert!(
        of_changes.iter().any(|line| line["partition"] == 1 && line["offset"] == BEFORE && line["series"] == "amount"),
        "{of_changes:?}"
    );
}
