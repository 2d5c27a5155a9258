//! How an engine learns, and what it says of the events.

use super::Learning;
use crate::calibration::Alerts;
use crate::drift::Watch;
use crate::features::Derivation;

/// What an engine does beside scoring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    /// How it learns.
    pub learning: Learning,
    /// Whether an event is believed as far as it is plausible only, by models that weigh events.
    pub robust: bool,
    /// Of which events it gives an account.
    pub explain: Explain,
    /// Of which events it tells people.
    pub alerts: Alerts,
    /// Of which series it tells when their regime changes.
    pub watch: Watch,
    /// Which columns it appends to those of an event.
    pub derivation: Derivation,
}

impl From<Learning> for Setup {
    fn from(learning: Learning) -> Self {
        Self { learning, ..Self::default() }
    }
}

/// Which scores come with an account of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Explain {
    /// None.
    Never,
    /// Those that alert.
    #[default]
    Alerts,
    /// All.
    Always,
}
