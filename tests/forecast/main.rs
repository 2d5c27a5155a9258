//! The forecast against oracles: a computation of each event anew from all before it, the model that made the data, and conservation; and
//! numbers meant to break it.

mod data;
mod exact;
mod keys;
mod state;
mod truth;
