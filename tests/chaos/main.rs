//! Exactly once under faults: the program as a process on a real Apache Kafka, while both are killed, stopped, cut off and held up.
//!
//! Each fault plays on topics of its own. Events come all the time; a reader of what is committed watches from the start; in the
//! end every event must have one score, every other record one dead letter, and scores or evidence the bits of a run that nothing
//! has disturbed. Prints a line a fault and the total, and exits with 1 unless all is clean. `docs/chaos.md` says more.

#[path = "../service/events.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod events;
#[path = "../service/log.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod log;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod config;
mod faults;
#[allow(dead_code, reason = "shared with tests/soak")]
mod feed;
mod proxy;
mod stage;
mod table;
mod verdict;
mod watch;

use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};

use clap::Parser;
use support::noise::uniform;
use table::{Row, Table};

/// What to play.
#[derive(Clone, Debug, Parser)]
#[command(about = "Plays faults against the service on a real Apache Kafka, and checks that every event counts exactly once")]
struct Play {
    /// Fewer runs of each fault, only faults that take seconds, and all at once
    #[arg(long)]
    short: bool,
    /// What instants are drawn from
    #[arg(long, default_value_t = 4)]
    seed: u64,
    /// Only faults whose name contains this
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
}

impl Play {
    /// How often a fault is played.
    fn runs(&self, full: usize, short: usize) -> usize {
        if self.short { short } else { full }
    }

    /// Instants of a fault.
    fn dice(&self, fault: &str) -> Dice {
        Dice(fault.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(257).wrapping_add(byte.into())))
    }
}

/// Where a fault stands in the sequence of [`uniform`] numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (uniform(self.0) * count as f64) as usize
    }
}

/// A fault: its name, whether it is played in the short form, and how.
type Fault = (&'static str, bool, fn(&Play, &'static str) -> Row);

const FAULTS: [Fault; 16] = [
    ("kill -9 at a random instant", true, faults::process::kill),
    ("death at a failpoint", true, faults::process::die),
    ("stall at a failpoint past the transaction's time-out", false, faults::process::stall),
    ("stopped past its session, then continued", false, faults::process::sleep),
    ("transaction expired while stopped", true, faults::process::expire),
    ("zombie: continued when another has its partitions", true, faults::group::zombie),
    ("the same transactional id twice", false, faults::group::twins),
    ("death and stalls while partitions change hands", true, faults::group::hand_over),
    ("joins, leaves and deaths in a storm", true, faults::group::storm),
    ("answers to EndTxn delayed", false, faults::answers::late),
    ("answers to EndTxn lost", true, faults::answers::lost),
    ("broker killed and restarted", false, faults::brokers::restart),
    ("all brokers away for a minute", false, faults::brokers::outage),
    ("three brokers: leader and coordinators killed", false, faults::brokers::cluster),
    ("killed with a snapshot of 50 MB", false, faults::snapshots::large),
    ("killed while snapshots are compacted", false, faults::snapshots::compaction),
];

fn main() -> ExitCode {
    let play = &Play::parse();
    let wanted = FAULTS.into_iter().filter(|(name, is_short, _)| match play.only.as_str() {
        "" => *is_short || !play.short,
        only => name.contains(only),
    });
    let mut table = Table::begin(!play.short);
    thread::scope(|scope| {
        let played = wanted.map(|(name, _, fault)| (name, move || scope.spawn(move || fault(play, name))));
        // A fault that ends in a panic is a line of the table like the others.
        let row = |(name, run): (&str, ScopedJoinHandle<'_, Row>)| run.join().unwrap_or_else(|_| Row::broken(name));
        if play.short {
            // All at once: there is much to wait for, and times are not what it is about.
            let running: Vec<_> = played.map(|(name, start)| (name, start())).collect();
            running.into_iter().for_each(|run| table.print(row(run)));
        } else {
            played.for_each(|(name, start)| table.print(row((name, start()))));
        }
    });
    table.end()
}
