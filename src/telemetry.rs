//! What a person watches: events that log and count, metrics, health and the HTTP server that shows them.
//!
//! Owns all metric names, log formats and endpoints. Never decides anything: whatever happens here, the loop goes on. Everything is
//! recorded once a batch or more rarely, so an event on its way through costs nothing here.

pub mod events;
pub mod http;
pub mod logs;
pub mod metrics;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time without progress after which the loop counts as stuck.
pub const STALLED: Duration = Duration::from_secs(60);

/// How the loop is doing: written by the loop, read by the endpoints. Clones share one state.
#[derive(Clone)]
pub struct Health(Arc<State>);

struct State {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    progress_ms: AtomicU64,
    ready: AtomicBool,
}

impl Health {
    /// Health by `clock`, which tells the time since some fixed instant and never goes back. The loop counts as moving now, but not
    /// as ready.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let health =
            Self(Arc::new(State { clock: Box::new(clock), progress_ms: AtomicU64::new(0), ready: AtomicBool::new(false) }));
        health.progress();
        health
    }

    /// The loop has gone round, with or without records.
    pub fn progress(&self) {
        self.0.progress_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether partitions are assigned and their evidence is restored.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// See [`set_ready`](Self::set_ready).
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Time since the loop last went round.
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.0.progress_ms.load(Ordering::Relaxed)))
    }

    /// Whether the loop has gone round within the last [`STALLED`].
    pub fn is_alive(&self) -> bool {
        self.idle() < STALLED
    }

    fn now_ms(&self) -> u64 {
        (self.0.clock)().as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl Default for Health {
    /// Health by the machine's monotonic clock.
    fn default() -> Self {
        let start = Instant::now();
        Self::new(move || start.elapsed())
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("idle", &self.idle()).field("ready", &self.is_ready()).finish()
    }
}
