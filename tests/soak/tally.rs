//! What is lost and what is doubled, of records dealt to partitions in turn, each of which is to have one answer: a score if it is an
//! event, or else a dead letter.

use std::collections::BTreeMap;

/// Which records are events, by their number.
pub type IsEvent = fn(u64) -> bool;

/// Counts answers.
#[derive(Debug)]
pub struct Tally {
    is_event: IsEvent,
    /// The offset whose answer is next, of scores and of dead letters in each partition.
    next: BTreeMap<(bool, i32), i64>,
    partitions: i32,
    /// Records that have had an answer.
    pub answered: u64,
    /// Records that have had none, while later ones had theirs.
    pub lost: u64,
    /// Answers to records that had theirs, or that come too late.
    pub doubled: u64,
    /// Scores of what is no event, and dead letters of events.
    pub strange: u64,
}

impl Tally {
    pub fn new(partitions: i32, is_event: IsEvent) -> Self {
        let next = (0..partitions).flat_map(|partition| [((true, partition), 0), ((false, partition), 0)]).collect();
        Self { is_event, next, partitions, answered: 0, lost: 0, doubled: 0, strange: 0 }
    }

    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The record at `offset` of `partition` has been answered, with a score or with a dead letter.
    pub fn take(&mut self, score: bool, partition: i32, offset: i64) {
        if self.is_event(partition, offset) != score {
            self.strange += 1;
            return;
        }
        let next = self.next[&(score, partition)];
        if offset < next {
            self.doubled += 1;
            return;
        }
        self.lost += self.between(score, partition, next, offset);
        self.answered += 1;
        self.next.insert((score, partition), offset + 1);
    }

    /// No more answers come, of `sent` records.
    pub fn close(&mut self, sent: u64) {
        for ((score, partition), next) in self.next.clone() {
            let behind = sent.saturating_sub(partition as u64).div_ceil(self.partitions as u64) as i64;
            self.lost += self.between(score, partition, next, behind);
        }
    }

    /// How many records from `from` on and before `to` are to have a score, or a dead letter.
    fn between(&self, score: bool, partition: i32, from: i64, to: i64) -> u64 {
        (from..to).filter(|offset| self.is_event(partition, *offset) == score).count() as u64
    }

    fn is_event(&self, partition: i32, offset: i64) -> bool {
        (self.is_event)(offset as u64 * self.partitions as u64 + partition as u64)
    }
}
