//! Changes of regime, as they are told in the log.

use tracing::warn;

use super::m;
use crate::drift::Change;
use crate::record::Partition;

/// A series that is watched was found to be in another regime.
#[derive(Clone, Copy, Debug)]
pub struct RegimeChanged<'a> {
    /// The topic of the events.
    pub topic: &'a str,
    /// Their partition.
    pub partition: Partition,
    /// What has changed, and where.
    pub change: &'a Change,
}

impl RegimeChanged<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, partition, change: Change { series, offset, time_ms, probability, before, after } } = self;
        m::CHANGES.add(1);
        warn!(
            topic,
            partition = partition.0,
            series,
            offset,
            timestamp_ms = time_ms,
            probability,
            mean_before = before.mean,
            sd_before = before.sd,
            mean_after = after.mean,
            sd_after = after.sd,
            "the regime has changed"
        );
    }
}

/// More changes in one transaction than are logged one by one.
#[derive(Clone, Copy, Debug)]
pub struct ChangesUnlogged {
    /// How many more.
    pub count: u64,
}

impl ChangesUnlogged {
    /// Logs and counts them.
    pub fn emit(self) {
        m::CHANGES.add(self.count);
        warn!(count = self.count, "more changes of regime in the same transaction: they are on the scores topic");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::traces;
    use super::*;
    use crate::drift::Level;

    #[test]
    fn changes() {
        let change = Change {
            series: "latency".into(),
            offset: 17,
            time_ms: Some(5),
            probability: 0.9995,
            before: Level { mean: 1.0, sd: 0.5 },
            after: Level { mean: 9.0, sd: 2.5 },
        };
        let (lines, samples) = traces(|| RegimeChanged { topic: "events", partition: Partition(3), change: &change }.emit());
        assert_eq!(samples, ["surprisal_regime_changes_total 1"]);
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        for (field, value) in [
            ("level", serde_json::Value::from("WARN")),
            ("message", "the regime has changed".into()),
            ("topic", "events".into()),
            ("partition", 3.into()),
            ("series", "latency".into()),
            ("offset", 17.into()),
            ("timestamp_ms", 5.into()),
            ("probability", 0.9995.into()),
            ("mean_before", 1.0.into()),
            ("sd_after", 2.5.into()),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        let (lines, samples) = traces(|| ChangesUnlogged { count: 5 }.emit());
        assert_eq!((lines.len(), &samples[..]), (1, &["surprisal_regime_changes_total 5".to_owned()][..]));
    }
}
