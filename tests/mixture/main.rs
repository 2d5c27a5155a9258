//! The mixture against oracles: closed forms, an independent implementation's fit, conservation, and numbers meant to break it.

#[path = "../support/noise.rs"]
mod noise;

mod data;
mod exact;
mod pace;
mod robust;
mod state;
mod structure;
mod uncertainty;
