//! Several brokers in one cluster.

use super::{Broker, Ports, kafka_jars};

impl Broker {
    /// Starts three brokers that share a cluster: whatever is written has a copy on each, and any one of them may be away.
    #[track_caller]
    pub fn cluster() -> [Broker; 3] {
        const SETTINGS: [(&str, &str); 5] = [
            ("default.replication.factor", "3"),
            ("min.insync.replicas", "2"),
            ("offsets.topic.replication.factor", "3"),
            ("transaction.state.log.replication.factor", "3"),
            ("transaction.state.log.min.isr", "2"),
        ];
        let jars = kafka_jars().unwrap_or_else(|message| panic!("{message}"));
        let ports: [Ports; 3] = std::array::from_fn(|_| Ports::free(None).expect("free ports"));
        let voters = (1..).zip(&ports).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
        let quorum = format!("controller.quorum.voters={}", voters.collect::<Vec<_>>().join(","));
        let mut id = 0;
        let mut brokers = ports.map(|ports| {
            id += 1;
            let id = id.to_string();
            let settings = [&[("node.id", id.as_str())], &SETTINGS[..]].concat();
            let mut broker = Broker::make(&jars, ports, &quorum, &settings).unwrap_or_else(|error| panic!("{error}"));
            broker.format(&[]).and_then(|()| broker.spawn()).unwrap_or_else(|error| panic!("{error}"));
            broker
        });
        // Each is up only once most of the controllers are.
        for broker in &mut brokers {
            broker.await_answer().unwrap_or_else(|error| panic!("{error}"));
        }
        brokers
    }
}
