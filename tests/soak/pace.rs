//! How fast events come.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::count::Count;

/// How many records are to have come by now.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many more than have had their answer: as fast as the program goes.
    Ahead(u64),
    /// At an even rate since an instant, at which so many had come.
    Even { from: u64, since: Instant, per_second: f64 },
}

/// A pace that can be changed, and whoever asks for what is due.
pub fn changing(count: Arc<Count>, pace: Pace) -> (Arc<Mutex<Pace>>, impl Fn() -> u64 + Send + 'static) {
    let pace = Arc::new(Mutex::new(pace));
    let own = Arc::clone(&pace);
    let due = move || match *own.lock().expect("nobody panics while changing it") {
        Pace::Ahead(by) => count.answered() + by,
        Pace::Even { from, since, per_second } => from + (since.elapsed().as_secs_f64() * per_second) as u64,
    };
    (pace, due)
}
