//! Alerts, as they are told in the log.

use tracing::warn;

use super::m;
use crate::engine::Score;
use crate::record::{Head, Partition};

/// An incident of which people are to be told.
#[derive(Clone, Copy, Debug)]
pub struct AlertRaised<'a> {
    /// The topic of the event that opens it.
    pub topic: &'a str,
    /// Its partition.
    pub partition: Partition,
    /// Which event it is.
    pub head: &'a Head,
    /// What it was found to be.
    pub score: &'a Score,
}

impl AlertRaised<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, partition, head, score } = self;
        m::ALERTS.add(1);
        let key = head.key.as_deref().map(String::from_utf8_lossy);
        let contributions = score.explanation.iter().flat_map(|explanation| &explanation.contributions);
        let top = contributions.max_by(|one, other| one.nats.total_cmp(&other.nats));
        warn!(
            topic,
            partition = partition.0,
            offset = head.offset.0,
            key = key.as_deref(),
            timestamp_ms = head.timestamp_ms,
            surprisal_nats = score.surprisal,
            rarity = score.rarity,
            field = top.map(|contribution| contribution.column.as_str()),
            "alert"
        );
    }
}

/// More alerts in one transaction than are logged one by one.
#[derive(Clone, Copy, Debug)]
pub struct AlertsUnlogged {
    /// How many more.
    pub count: u64,
}

impl AlertsUnlogged {
    /// Logs and counts them.
    pub fn emit(self) {
        m::ALERTS.add(self.count);
        warn!(count = self.count, "more alerts in the same transaction: they are on the scores topic");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::traces;
    use super::*;
    use crate::models::{Contribution, Explanation};
    use crate::record::Offset;

    #[test]
    fn alerts() {
        let contribution = |column: &str, nats| Contribution { column: column.into(), nats, expected: None };
        let contributions = vec![contribution("a", 1.0), contribution("b", 9.5), contribution("c", -1.0)];
        let explanation = Some(Box::new(Explanation { contributions, nearest: None }));
        let score = Score { surprisal: 9.5, rarity: 4.25, alert: true, explanation, ..Score::default() };
        let head = Head { offset: Offset(17), timestamp_ms: Some(5), key: Some((*b"host-7").into()) };
        let alert = AlertRaised { topic: "events", partition: Partition(3), head: &head, score: &score };
        let (lines, changed) = traces(|| alert.emit());
        assert_eq!(changed, ["surprisal_alerts_total 1"]);
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        for (field, value) in [
            ("level", "WARN".into()),
            ("topic", "events".into()),
            ("partition", 3.into()),
            ("offset", 17.into()),
            ("key", "host-7".into()),
            ("timestamp_ms", 5.into()),
            ("surprisal_nats", serde_json::Value::from(9.5)),
            ("rarity", 4.25.into()),
            ("field", "b".into()),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        let bare = Score { explanation: None, ..score.clone() };
        let (lines, _) = traces(|| AlertRaised { score: &bare, ..alert }.emit());
        assert!(lines[0].get("field").is_none(), "nothing is known of the fields");
        let (lines, changed) = traces(|| AlertsUnlogged { count: 5 }.emit());
        assert_eq!((lines.len(), &changed[..]), (1, &["surprisal_alerts_total 5".to_owned()][..]));
    }
}
