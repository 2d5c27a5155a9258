//! The judge of `make soak` finds what the soak is there to find, in lives made up for it, and its count is right.

#[path = "soak/judge.rs"]
#[allow(dead_code, reason = "shared with tests/soak")]
mod judge;
#[path = "support/noise.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod noise;
#[path = "soak/sample.rs"]
#[allow(dead_code, reason = "shared with tests/soak")]
mod sample;
#[path = "soak/tally.rs"]
#[allow(dead_code, reason = "shared with tests/soak")]
mod tally;

use judge::{End, Life, complaints};
use sample::Sample;
use tally::Tally;

const PER_SECOND: f64 = 50_000.0;
const MINUTES: f64 = 12.5;

/// A life of so many minutes, sampled every five seconds: memory fills up at first, and has noise of half a percent.
fn life(minutes: f64, change: impl Fn(&mut Sample)) -> Life {
    let sample = |number: u64| {
        let at = 5.0 * number as f64;
        let filling = 1.0 - 0.5 * (-at / 20.0).exp();
        let bytes = 8e7 * filling * (1.0 + 0.005 * noise::normal(number));
        let lag = 0.1 * PER_SECOND * (1.0 + noise::uniform(number)) + if at < 20.0 { 3.0 * PER_SECOND } else { 0.0 };
        let mut sample = Sample { at, resident: bytes + 2e7, anonymous: bytes, descriptors: 24, threads: 13, lag };
        change(&mut sample);
        sample
    };
    Life { end: End::Stopped, samples: (0..(12.0 * minutes) as u64).map(sample).collect(), recovery: 1.0 }
}

/// What is said of a long life between two short ones.
fn judged(change: impl Fn(&mut Sample)) -> Vec<String> {
    complaints(&[life(2.5, |_| ()), life(MINUTES, change), life(2.5, |_| ())], PER_SECOND)
}

/// How far a sample is between the end of the warm-up and the end of the life.
fn share(sample: &Sample) -> f64 {
    ((sample.at - judge::WARM_UP) / (60.0 * MINUTES - judge::WARM_UP)).max(0.0)
}

#[test]
fn a_life_that_takes_no_more_passes() {
    assert_eq!(judged(|_| ()), [""; 0]);
    // Nor is it a matter of a few samples, or of what a life begins with.
    let odd = |sample: &mut Sample| {
        if (sample.at as u64 / 5).is_multiple_of(17) {
            sample.resident *= 1.4;
        }
        if sample.at < judge::WARM_UP {
            (sample.descriptors, sample.threads) = (30, 2);
        }
    };
    assert_eq!(judged(odd), [""; 0]);
}

#[test]
fn a_leak_is_found_wherever_memory_grows() {
    for (percent, fails) in [(3.0, false), (8.0, true), (100.0, true)] {
        let found = judged(|sample| sample.resident *= 1.0 + percent / 100.0 * share(sample));
        assert_eq!(found.iter().any(|text| text.starts_with("resident memory grows")), fails, "{percent} %: {found:?}");
        let found = judged(|sample| sample.anonymous *= 1.0 + percent / 100.0 * share(sample));
        assert_eq!(found.iter().any(|text| text.starts_with("anonymous memory grows")), fails, "{percent} %: {found:?}");
    }
    let step = judged(|sample| sample.anonymous *= if share(sample) > 0.7 { 1.08 } else { 1.0 });
    assert!(step.iter().any(|text| text.contains("from the first quarter's median")), "{step:?}");
}

#[test]
fn descriptors_threads_and_lag_must_stand() {
    let found = judged(|sample| sample.descriptors += u64::from(share(sample) > 0.9));
    assert_eq!(found, ["24 to 25 file descriptors in the longest life, in the end 24 or more"]);
    let found = judged(|sample| sample.threads += (5.0 * share(sample)) as u64);
    assert_eq!(found, ["13 to 17 threads in the longest life, in the end 16 or more"]);
    let found = judged(|sample| sample.threads += u64::from(noise::uniform(sample.at as u64) < 0.3));
    assert_eq!(found, ["13 to 14 threads in the longest life, in the end 13 or more"]);
    let found = judged(|sample| sample.threads += u64::from(share(sample) > 0.5));
    assert_eq!(found, ["13 to 14 threads in the longest life, in the end 14 or more"]);
    let found = judged(|sample| sample.lag += 1.7 * PER_SECOND * share(sample));
    assert_eq!(found, ["the lag grows by 1.7 s in the longest life"]);
    let behind = complaints(&[life(MINUTES, |_| ()), life(2.5, |sample| sample.lag += 3.0 * PER_SECOND)], PER_SECOND);
    assert!(behind.len() == 1 && behind[0].starts_with("life 2 ends 3."), "{behind:?}");
    assert_eq!(complaints(&[], PER_SECOND), ["there was no life"]);
}

/// Every tenth of 100 records in three partitions is no event.
fn tally(answers: impl IntoIterator<Item = (bool, u64)>) -> [u64; 4] {
    let mut tally = Tally::new(3, |number| number % 10 != 7);
    answers.into_iter().for_each(|(score, number)| tally.take(score, (number % 3) as i32, (number / 3) as i64));
    tally.close(100);
    [tally.answered, tally.lost, tally.doubled, tally.strange]
}

/// Each record's answer.
fn answers() -> impl Iterator<Item = (bool, u64)> {
    (0..100).map(|number| (number % 10 != 7, number))
}

#[test]
fn each_record_has_one_answer_or_is_counted() {
    assert_eq!(tally(answers()), [100, 0, 0, 0]);
    // Order counts within a partition and a kind only.
    let (scores, letters): (Vec<_>, Vec<_>) = answers().partition(|(score, _)| *score);
    assert_eq!(tally(letters.into_iter().chain(scores)), [100, 0, 0, 0]);
    for gone in 0..100 {
        assert_eq!(tally(answers().filter(|(_, number)| *number != gone)), [99, 1, 0, 0], "without {gone}");
        let twice = answers().flat_map(|(score, number)| vec![(score, number); 1 + usize::from(number == gone)]);
        assert_eq!(tally(twice), [100, 0, 1, 0], "{gone} twice");
    }
    assert_eq!(tally(answers().take(60)), [60, 40, 0, 0], "an end that never came");
    assert_eq!(tally(answers().chain(answers().take(30))), [100, 0, 30, 0], "a part once more");
    assert_eq!(
        tally(answers().map(|(score, number)| (score != (number == 7), number))),
        [99, 1, 0, 1],
        "a score of what is none"
    );
}
