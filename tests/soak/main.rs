//! A long run on a real Apache Kafka, at most of the rate that this machine bears: nothing is lost or doubled, the lag doesn't grow, and
//! neither do memory, file descriptors and threads.
//!
//! First the peak is measured, with the producer and the reader at work: the rate of committed scores while there is always a backlog.
//! Then events come at a share of it all the time, while the process is ended in good order and killed in turn, and lives once for long.
//! Prints a line a life and the verdict, and exits with 1 unless all is well. `docs/soak.md` says more.

#[path = "../chaos/config.rs"]
mod config;
#[path = "../service/events.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod events;
#[path = "../chaos/feed.rs"]
#[allow(dead_code, reason = "shared with tests/chaos")]
mod feed;
#[path = "../service/log.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod log;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "shared with tests/service")]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod count;
mod judge;
mod pace;
mod sample;
mod stage;
mod table;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use judge::End;

/// How long, and how hard.
#[derive(Clone, Debug, Parser)]
#[command(
    about = "Runs the service on a real Apache Kafka for long, and checks that it takes no more in the end than in the beginning"
)]
struct Soak {
    /// Minutes at the even rate
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// The even rate, as a share of the peak
    #[arg(long, default_value_t = 0.8)]
    share: f64,
    /// Where all samples go, as CSV
    #[arg(long)]
    samples: Option<PathBuf>,
}

/// How each life ends, and which part of the time it lasts.
const LIVES: [(End, f64); 8] = [
    (End::Killed, 1.0 / 12.0),
    (End::Stopped, 1.0 / 12.0),
    (End::Killed, 1.0 / 12.0),
    (End::Stopped, 5.0 / 12.0),
    (End::Killed, 1.0 / 12.0),
    (End::Stopped, 1.0 / 12.0),
    (End::Killed, 1.0 / 12.0),
    (End::Stopped, 1.0 / 12.0),
];

fn main() -> ExitCode {
    let soak = Soak::parse();
    let mut stage = stage::Stage::open();
    let peak = stage.peak();
    let per_second = soak.share * peak;
    println!("The peak is {peak:.0} records/s; {per_second:.0} come for {} minutes.\n", soak.minutes);
    table::head();
    stage.come_evenly(per_second);
    let mut lives = Vec::new();
    for (number, (end, share)) in (1..).zip(LIVES) {
        let life = stage.live(60.0 * soak.minutes * share, end);
        table::line(number, &life, per_second);
        lives.push(life);
    }
    if let Some(path) = &soak.samples {
        table::write_samples(path, &lives).expect("samples can be written");
    }
    let (tally, sent) = stage.close();
    let mut complaints = judge::complaints(&lives, per_second);
    complaints.extend((tally.lost + tally.doubled + tally.strange > 0).then(|| format!("{tally:?}")));
    table::verdict(&tally, sent, &complaints)
}
