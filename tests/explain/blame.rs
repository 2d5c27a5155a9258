//! Events with corrupted fields: the account names them.

use surprisal::models::mixture::Covariance;
use surprisal::models::{Expected, Explanation};

use crate::data::{Corruption, FAR, Learnt, event};

const TRIALS: u64 = 200;

fn top(explanation: &Explanation, count: usize) -> Vec<usize> {
    let name = |at: usize| explanation.contributions[at].column[1..].parse().expect("a column's number");
    (0..count).map(name).collect()
}

/// Shares of events whose top contribution is a corrupted field, and whose top contributions are all of them.
fn shares(learnt: &Learnt, count: usize, how: Corruption) -> [f64; 2] {
    let mut hits = [0.0; 2];
    for trial in 0..TRIALS {
        let (cells, fields) = learnt.corrupted(100_000 + trial, count, how);
        let named = top(&learnt.explain(&cells), count);
        let right = |field: &usize| fields.contains(field);
        hits[0] += f64::from(u8::from(right(&named[0])));
        hits[1] += f64::from(u8::from(named.iter().all(right)));
    }
    hits.map(|hits| hits / TRIALS as f64)
}

fn expect(dim: usize, covariance: Covariance, how: Corruption, least: [f64; 2]) {
    let learnt = Learnt::numbers(dim, covariance);
    let [one, _] = shares(&learnt, 1, how);
    let [either, both] = shares(&learnt, 2, how);
    println!("{dim} fields, {covariance:?}, {how:?}: one {one}, two: either first {either}, both {both}");
    assert!(one >= least[0], "one of {dim}: {one}");
    assert!(either >= 0.85 && both >= least[1], "two of {dim}: {either}, {both}");
}

#[test]
fn eight_correlated_fields() {
    expect(8, Covariance::Full, FAR, [0.95, 0.85]);
    // A quarter of the event is of others, and may cover for each other.
    expect(8, Covariance::Full, Corruption::Swapped, [0.95, 0.7]);
}

#[test]
fn sixteen_correlated_fields() {
    expect(16, Covariance::Full, FAR, [0.95, 0.85]);
    expect(16, Covariance::Full, Corruption::Swapped, [0.95, 0.85]);
}

#[test]
fn thirty_two_correlated_fields() {
    expect(32, Covariance::Full, FAR, [0.95, 0.85]);
    expect(32, Covariance::Full, Corruption::Swapped, [0.95, 0.85]);
}

/// Where the model knows nothing of correlations within a component.
#[test]
fn fields_by_themselves() {
    expect(8, Covariance::Diagonal, Corruption::Shifted { least: 4.0 }, [0.95, 0.85]);
    expect(32, Covariance::Diagonal, Corruption::Shifted { least: 4.0 }, [0.95, 0.85]);
}

/// Shapley values of `v(S) = −ln p(x_S)` by all subsets: each field's mean share over all orders.
fn shapley(learnt: &Learnt, cells: &[f64]) -> Vec<f64> {
    let dim = cells.len();
    let subsets: Vec<Vec<bool>> = (0..1_usize << dim).map(|set| (0..dim).map(|field| set >> field & 1 == 1).collect()).collect();
    let values = learnt.scores(cells, &subsets);
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let share = |field: usize| {
        let without = (0..1_usize << dim).filter(|set| set >> field & 1 == 0);
        let each = without.map(|set| {
            let size = set.count_ones() as usize;
            factorial(size) * factorial(dim - size - 1) / factorial(dim) * (values[set | 1 << field] - values[set])
        });
        each.sum()
    };
    (0..dim).map(share).collect()
}

/// What each field adds to all others, which is no account: together they are not the surprisal.
fn last(learnt: &Learnt, cells: &[f64]) -> Vec<f64> {
    let dim = cells.len();
    let mut sets = vec![vec![true; dim]; dim + 1];
    (0..dim).for_each(|field| sets[field][field] = false);
    let values = learnt.scores(cells, &sets);
    values[..dim].iter().map(|without| values[dim] - without).collect()
}

/// Why it is this order of the chain rule: with two corrupted fields of eight, both are named about as often as by the mean over
/// all orders, which takes all subsets to work out, and more often than by what each field adds to all others.
#[test]
fn the_mean_over_all_orders_does_no_better() {
    const EVENTS: u64 = 100;
    let learnt = Learnt::numbers(8, Covariance::Full);
    for how in [FAR, Corruption::Swapped] {
        let mut hits = [0; 3];
        for trial in 0..EVENTS {
            let (cells, fields) = learnt.corrupted(100_000 + trial, 2, how);
            let largest = |shares: Vec<f64>| {
                let mut order: Vec<usize> = (0..8).collect();
                order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
                order[..2].to_vec()
            };
            let named = [top(&learnt.explain(&cells), 2), largest(shapley(&learnt, &cells)), largest(last(&learnt, &cells))];
            for (hits, named) in hits.iter_mut().zip(named) {
                *hits += u32::from(named.iter().all(|field| fields.contains(field)));
            }
        }
        assert!(hits[0] + EVENTS as u32 / 20 >= hits[1] && hits[0] >= hits[2], "{hits:?}");
        println!("both of two, {how:?}, of {EVENTS}: chain {}, Shapley {}, given all others {}", hits[0], hits[1], hits[2]);
    }
}

/// Two fields as far out as a broken sensor's are both named, and what was to be expected of them is what they would have been:
/// the interval of 90 % holds that nearly as often as it says.
#[test]
fn what_was_expected_of_a_corrupted_field_is_what_it_would_have_been() {
    for (dim, covariance) in [(8, Covariance::Full), (16, Covariance::Full), (8, Covariance::Diagonal)] {
        let learnt = Learnt::numbers(dim, covariance);
        let (mut both, mut held) = (0, 0);
        for trial in 0..TRIALS {
            let at = 100_000 + trial;
            let (mut cells, fields) = learnt.corrupted(at, 2, FAR);
            let own = event(dim, at);
            fields.iter().for_each(|field| cells[*field] = own[*field] + 50.0 * (cells[*field] - own[*field]));
            let explanation = learnt.explain(&cells);
            both += u32::from(top(&explanation, 2).iter().all(|field| fields.contains(field)));
            for field in fields {
                let of = explanation.contributions.iter().find(|one| one.column == format!("c{field}")).expect("there");
                let Some(Expected::Number { lower, upper, .. }) = of.expected else { panic!("a number") };
                held += u32::from(own[field] >= lower && own[field] <= upper);
            }
        }
        let held = f64::from(held) / (2 * TRIALS) as f64;
        println!("{dim} fields, {covariance:?}: both of two far out {both} of {TRIALS}; intervals hold {held}");
        assert!(f64::from(both) >= 0.95 * TRIALS as f64, "{both} of {TRIALS}");
        assert!(held >= 0.85, "{held}");
    }
}
