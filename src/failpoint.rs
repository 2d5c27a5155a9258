//! Places in the loop, the commit and the restore where a test has the process die or stand still.
//!
//! Without the feature `failpoints` nothing of this is in the program. With it, `SURPRISAL_FAILPOINT` says what happens where:
//! `PLACE:N=exit` ends the process when it comes to a place for the N-th time, as suddenly as `kill -9`, and
//! `PLACE:N=stall:MILLISECONDS` holds the thread still that came there. Several are separated by commas.

/// Whether this program has them.
pub(crate) const PRESENT: bool = cfg!(feature = "failpoints");

/// The thread has come to `place`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn reach(_place: &str) {}

#[cfg(feature = "failpoints")]
pub use armed::*;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    /// The environment variable that says what happens where.
    pub const VARIABLE: &str = "SURPRISAL_FAILPOINT";

    /// All places.
    pub const PLACES: [&str; 16] = [
        // Taking partitions over.
        "chunk_read",  // a message of the posterior topic was read
        "chunks_read", // all of them were
        "restored",    // the engine has the evidence, no record was ordered
        "settling",    // in the transaction that commits where a partition begins
        "sought",      // the consumer stands where records are to come from
        // A transaction.
        "before_begin",
        "begun",
        "scores_sent",  // and no site
        "sites_sent",   // and not flushed
        "flushed",      // and no offsets sent
        "offsets_sent", // and EndTxn not
        "committed",    // and the engine has not advanced
        "advanced",
        "aborting", // the engine is put back, the transaction open
        // Changes.
        "revoked",    // the last commit is done, the partitions are not handed over
        "restarting", // all state is forgotten, the producer not yet replaced
    ];

    #[derive(Debug)]
    struct Plan {
        place: &'static str,
        nth: u64,
        /// None ends the process.
        stall: Option<Duration>,
        reached: AtomicU64,
    }

    static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
        let plans = std::env::var(VARIABLE).unwrap_or_default();
        let plan =
            |text: &str| plan(text).unwrap_or_else(|| panic!("{VARIABLE}: {text:?} is not PLACE:N=exit or PLACE:N=stall:MS"));
        plans.split(',').filter(|text| !text.is_empty()).map(plan).collect()
    });

    fn plan(text: &str) -> Option<Plan> {
        let (at, what) = text.split_once('=')?;
        let (place, nth) = at.split_once(':')?;
        let stall = match what.split_once(':') {
            None if what == "exit" => None,
            Some(("stall", milliseconds)) => Some(Duration::from_millis(milliseconds.parse().ok()?)),
            _ => return None,
        };
        let place = PLACES.into_iter().find(|known| *known == place)?;
        Some(Plan { place, nth: nth.parse().ok()?, stall, reached: AtomicU64::new(0) })
    }

    /// The thread has come to `place`.
    pub(crate) fn reach(place: &str) {
        assert!(PLACES.contains(&place), "`{place}` is not among the places");
        for plan in PLANS.iter().filter(|plan| plan.place == place) {
            if plan.reached.fetch_add(1, Ordering::Relaxed) + 1 == plan.nth {
                tracing::warn!(place, stall = ?plan.stall, "failpoint");
                match plan.stall {
                    Some(time) => thread::sleep(time),
                    None => std::process::abort(),
                }
            }
        }
    }
}
