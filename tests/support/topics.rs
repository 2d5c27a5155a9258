//! Topics and what is written to them, with a client of the tests' own.

use std::future::Future;
use std::time::Duration;

use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use surprisal::codec::wire::proto;

/// Creates a topic, which must not exist, with as many copies as the brokers make by default.
pub fn create_topic(brokers: &str, name: &str, partitions: i32, properties: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = properties
        .iter()
        .fold(NewTopic::new(name, partitions, TopicReplication::Fixed(-1)), |topic, (key, value)| topic.set(key, value));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for created in block_on(admin.create_topics([&topic], &options)).unwrap() {
        created.unwrap();
    }
}

/// Deletes a topic.
pub fn delete_topic(brokers: &str, name: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for deleted in block_on(admin.delete_topics(&[name], &options)).unwrap() {
        deleted.unwrap();
    }
}

/// Deletes a partition's records before `offset`.
pub fn delete_before(brokers: &str, topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A snapshot of `model`, as it is on the wire: its content is of about `bytes` bytes that follow from `seed`.
pub fn snapshot(partition: i32, seed: u64, bytes: usize) -> Vec<u8> {
    let data = (0..bytes).map(|at| (at as u8).wrapping_mul(31) ^ seed as u8).collect();
    let evidence = vec![proto::Tensor { data, ..Default::default() }];
    proto::Snapshot { model_id: "model".into(), partition, step: seed, evidence, ..Default::default() }.encode_to_vec()
}

/// The chunks of a snapshot of `model`, with their keys, cut by hand.
pub fn chunks(partition: i32, snapshot: &[u8], bytes: usize) -> Vec<(String, Vec<u8>)> {
    let parts: Vec<&[u8]> = snapshot.chunks(bytes).collect();
    let chunk = |(index, data): (u32, &&[u8])| {
        let chunk = proto::SnapshotChunk {
            schema_version: 1,
            model_id: "model".into(),
            partition,
            index,
            count: parts.len() as u32,
            checksum: xxhash_rust::xxh3::xxh3_64(snapshot),
            data: data.to_vec(),
        };
        (format!("model/{partition}/{index}"), chunk.encode_to_vec())
    };
    (0..).zip(&parts).map(chunk).collect()
}
