//! Drift: when a series that is watched enters another regime.
//!
//! `RunLengths` is the posterior of how long the present regime has lasted, `Regime` a series as people see it: it knows its units,
//! bears strays and autocorrelation, and says when the regime [has changed](Change). [`Watch`] says which series are watched, and
//! [`Regimes`] follows them, event by event. Pure numbers, one partition at a time.

mod regime;
mod regimes;
mod run_length;

pub use regime::{Change, Level, Origin};
pub use regimes::{MOST_SERIES, Regimes, Series, Watch};
