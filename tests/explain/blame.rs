//! Events with corrupted fields: the account names them.

use surprisal::models::Explanation;
use surprisal::models::mixture::Covariance;

use crate::data::Learnt;

const TRIALS: u64 = 200;

fn top(explanation: &Explanation, count: usize) -> Vec<usize> {
    let name = |at: usize| explanation.contributions[at].column[1..].parse().expect("a column's number");
    (0..count).map(name).collect()
}

/// Shares of events whose top contribution is a corrupted field, and whose top contributions are all of them.
fn shares(learnt: &Learnt, count: usize, likely: bool) -> [f64; 2] {
    let mut hits = [0.0; 2];
    for trial in 0..TRIALS {
        let (cells, fields) = learnt.corrupted(100_000 + trial, count, likely);
        let named = top(&learnt.explain(&cells), count);
        let right = |field: &usize| fields.contains(field);
        hits[0] += f64::from(u8::from(right(&named[0])));
        hits[1] += f64::from(u8::from(named.iter().all(right)));
    }
    hits.map(|hits| hits / TRIALS as f64)
}

fn expect(dim: usize, covariance: Covariance, likely: bool) {
    let learnt = Learnt::numbers(dim, covariance);
    let [one, _] = shares(&learnt, 1, likely);
    let [either, both] = shares(&learnt, 2, likely);
    println!("{dim} fields, {covariance:?}, likely {likely}: one {one}, two: either first {either}, both {both}");
    assert!(one >= 0.95, "one of {dim}: {one}");
    assert!(both >= 0.85 && either >= 0.95, "two of {dim}: {either}, {both}");
}

#[test]
fn eight_correlated_fields() {
    expect(8, Covariance::Full, false);
    expect(8, Covariance::Full, true);
}

#[test]
fn sixteen_correlated_fields() {
    expect(16, Covariance::Full, false);
    expect(16, Covariance::Full, true);
}

#[test]
fn thirty_two_correlated_fields() {
    expect(32, Covariance::Full, false);
    expect(32, Covariance::Full, true);
}

/// Where the model knows nothing of correlations within a component.
#[test]
fn fields_by_themselves() {
    expect(8, Covariance::Diagonal, false);
    expect(32, Covariance::Diagonal, false);
}
