//! What was found, a line a life.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::judge::{Course, Life, median, range};
use crate::sample::Sample;
use crate::tally::Tally;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub fn head() {
    println!(
        "| Life | end | minutes | recovery | lag: median | at most | resident: first quarter | last | trend | anonymous: first \
         | last | trend | descriptors | threads |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
}

/// Memory is that after the warm-up, as are descriptors and threads.
pub fn line(number: usize, life: &Life, per_second: f64) {
    let memory = |of: fn(&Sample) -> f64| {
        let Course { first, last, trend } = life.course(of);
        format!("{:.1} MiB | {:.1} MiB | {:+.1} %", first / MEBIBYTE, last / MEBIBYTE, 100.0 * trend / first)
    };
    let count = |of: fn(&Sample) -> u64| match range(life.steady(), of) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let lags: Vec<f64> = life.samples.iter().map(|sample| sample.lag / per_second).collect();
    println!(
        "| {number} | {:?} | {:.1} | {:.2} s | {:.2} s | {:.2} s | {} | {} | {} | {} |",
        life.end,
        life.seconds() / 60.0,
        life.recovery,
        median(lags.clone()),
        lags.iter().fold(0.0_f64, |most, lag| most.max(*lag)),
        memory(|sample| sample.resident),
        memory(|sample| sample.anonymous),
        count(|sample| sample.descriptors),
        count(|sample| sample.threads),
    );
}

pub fn write_samples(path: &Path, lives: &[Life]) -> io::Result<()> {
    let mut text = String::from("life,seconds,resident_bytes,anonymous_bytes,descriptors,threads,lag_records\n");
    for (number, life) in (1..).zip(lives) {
        for Sample { at, resident, anonymous, descriptors, threads, lag } in &life.samples {
            text += &format!("{number},{at:.1},{resident},{anonymous},{descriptors},{threads},{lag}\n");
        }
    }
    fs::write(path, text)
}

/// The last line, and the exit status.
pub fn verdict(tally: &Tally, sent: u64, complaints: &[String]) -> ExitCode {
    complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
    let verdict = if complaints.is_empty() { "passed" } else { "FAILED" };
    println!("\n{verdict}: {sent} records, {} lost, {} doubled", tally.lost, tally.doubled);
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
