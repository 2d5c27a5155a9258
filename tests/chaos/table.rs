//! What was found, a line a fault.

/// The longest that 99 of 100 recoveries may take beyond the group's rebalance, where a posterior is small.
const RECOVERY_MS: i64 = 3000;
/// Bytes of a snapshot up to which it is.
const SMALL: usize = 1_000_000;

/// How long it took until scores were committed again.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// From the process's restart or the fault's end to the first new committed score, as a reader sees it.
    pub total_ms: i64,
    /// Without the time in which the group gave out partitions, where that can be told.
    pub beyond_ms: Option<i64>,
}

/// What a restart has learnt again, because no snapshot held it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relearnt {
    pub records: i64,
    /// From the snapshot to the last of the records that were learnt again.
    pub span_ms: i64,
}

/// What became of a fault.
#[derive(Debug, Default)]
pub struct Row {
    pub fault: String,
    pub runs: usize,
    pub events: usize,
    pub lost: usize,
    pub doubled: usize,
    /// What the final posterior was compared with.
    pub equal: &'static str,
    pub recoveries: Vec<Recovery>,
    pub relearnt: Vec<Relearnt>,
    /// Bytes of the latest snapshot.
    pub snapshot_bytes: usize,
    pub complaints: Vec<String>,
}

impl Row {
    /// Of a fault that could not be played to its end.
    pub fn broken(fault: &str) -> Self {
        Self { fault: fault.into(), equal: "broken off", complaints: vec!["it ended in a panic".into()], ..Self::default() }
    }

    /// What takes too long.
    fn slowness(&self) -> Option<String> {
        let beyond = quantile(&self.beyond(), 0.99).filter(|beyond| self.snapshot_bytes < SMALL && *beyond > RECOVERY_MS)?;
        Some(format!("recovery takes {} beyond the rebalance at p99, with {} allowed", seconds(beyond), seconds(RECOVERY_MS)))
    }

    /// Times beyond the group's rebalance, where they can be told.
    fn beyond(&self) -> Vec<i64> {
        self.recoveries.iter().filter_map(|recovery| recovery.beyond_ms).collect()
    }

    fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.complaints.is_empty()
    }
}

/// The table, printed as it grows.
pub struct Table {
    total: Row,
    /// Whether times are judged.
    timed: bool,
    rows: usize,
}

impl Table {
    pub fn begin(timed: bool) -> Self {
        println!("| Fault | runs | events | lost | doubled | posterior | recovery p50 | p99 | beyond rebalance p50 | p99 |");
        println!("|---|--:|--:|--:|--:|---|--:|--:|--:|--:|");
        Self { total: Row { fault: "total".into(), ..Row::default() }, timed, rows: 0 }
    }

    pub fn print(&mut self, mut row: Row) {
        line(&row);
        if self.timed {
            row.complaints.extend(row.slowness());
        }
        row.complaints.iter().for_each(|complaint| eprintln!("{}: {complaint}", row.fault));
        self.rows += 1;
        self.total.runs += row.runs;
        self.total.events += row.events;
        self.total.lost += row.lost;
        self.total.doubled += row.doubled;
        self.total.relearnt.append(&mut row.relearnt);
        self.total.complaints.append(&mut row.complaints);
    }

    /// Prints the total, and says whether all was clean.
    pub fn end(mut self) -> std::process::ExitCode {
        let clean = self.rows > 0 && self.total.is_clean();
        self.total.equal = if clean { "equal" } else { "NOT CLEAN" };
        let records = self.total.relearnt.iter().map(|relearnt| relearnt.records).max().unwrap_or_default();
        let span_ms = self.total.relearnt.iter().map(|relearnt| relearnt.span_ms).max().unwrap_or_default();
        eprintln!(
            "learnt again after {} restarts: at most {records} records, of {span_ms} ms after a snapshot",
            self.total.relearnt.len()
        );
        line(&self.total);
        if clean { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
    }
}

fn line(row: &Row) {
    let Row { fault, runs, events, lost, doubled, equal, recoveries, .. } = row;
    let total: Vec<i64> = recoveries.iter().map(|recovery| recovery.total_ms).collect();
    let beyond = row.beyond();
    let [p50, p99, beyond50, beyond99] = [(&total, 0.5), (&total, 0.99), (&beyond, 0.5), (&beyond, 0.99)]
        .map(|(times, share)| quantile(times, share).map_or("–".into(), seconds));
    println!("| {fault} | {runs} | {events} | {lost} | {doubled} | {equal} | {p50} | {p99} | {beyond50} | {beyond99} |");
}

/// The least time that `share` of `times` don't exceed.
fn quantile(times: &[i64], share: f64) -> Option<i64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (share * times.len() as f64).ceil() as usize;
    times.get(at.saturating_sub(1)).copied()
}

fn seconds(milliseconds: i64) -> String {
    format!("{:.2} s", milliseconds as f64 / 1000.0)
}
