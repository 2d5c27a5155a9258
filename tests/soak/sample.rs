//! What a process takes, as the kernel says.

use std::fs;

/// A process at one instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds of the process's life.
    pub at: f64,
    /// Memory that is resident, and what of it is no file's, in bytes.
    pub resident: f64,
    pub anonymous: f64,
    /// Open file descriptors, and threads.
    pub descriptors: u64,
    pub threads: u64,
    /// Records sent that have had no committed answer.
    pub lag: f64,
}

impl Sample {
    /// Of the process `id`, from `/proc`.
    pub fn of(id: u32, at: f64, lag: f64) -> Self {
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs, on Linux");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).expect(name)
        };
        let kibibytes = |name| number(name) as f64 * 1024.0;
        Self {
            at,
            resident: kibibytes("VmRSS"),
            anonymous: kibibytes("RssAnon"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count() as u64,
            threads: number("Threads"),
            lag,
        }
    }
}
