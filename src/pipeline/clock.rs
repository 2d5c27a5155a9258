//! Time as the loop sees it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
pub trait Clock: Send {
    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970.
    fn unix_ms(&self) -> i64;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}

/// The machine's own time.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_ms(&self) -> i64 {
        // A clock before 1970 counts as 1970: the time is for people and for the age of events only.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}
