//! Topics and what is written to them, with a client of the tests' own.

use std::future::Future;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

/// Creates a topic, which must not exist.
pub fn create_topic(brokers: &str, name: &str, partitions: i32, properties: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = properties
        .iter()
        .fold(NewTopic::new(name, partitions, TopicReplication::Fixed(1)), |topic, (key, value)| topic.set(key, value));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for created in block_on(admin.create_topics([&topic], &options)).unwrap() {
        created.unwrap();
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

/// Cuts a snapshot into encoded chunks, written out by hand: a second implementation of the wire contract.
pub fn chunks(snapshot: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = snapshot.chunks(bytes).collect();
    let checksum = xxhash_rust::xxh3::xxh3_64(snapshot);
    let encode = |(index, data): (usize, &&[u8])| {
        let mut chunk = vec![1 << 3, 1]; // schema_version = 1
        field(&mut chunk, 2, index as u64);
        field(&mut chunk, 3, parts.len() as u64);
        chunk.push(4 << 3 | 1);
        chunk.extend_from_slice(&checksum.to_le_bytes());
        chunk.push(5 << 3 | 2);
        varint(&mut chunk, data.len() as u64);
        chunk.extend_from_slice(data);
        chunk
    };
    parts.iter().enumerate().map(encode).collect()
}

fn field(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
