//! The rule's pace: what a step keeps of the evidence before, and how much it counts what is new.
//!
//! Streaming: `λ ← γ λ + ∇_m E_q[ln p(block | θ)]`, with γ from half-lives in events and in the events' own time.
//! Population: `λ ← (1 − ρ) λ + ρ · (N/n) ∇_m E_q[ln p(block | θ)]`, stochastic variational inference for a population of N (Hoffman
//! et al. 2013), with `ρ = (n / (events so far))^κ` for a block of n: the Robbins–Monro steps `t^(−κ)` where all blocks have one size.

/// `λ ← retention · λ + weight · ∇_m E_q[ln p(block | θ)]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// What is kept of the evidence before.
    pub retention: f64,
    /// How many times the block counts.
    pub weight: f64,
}

impl Pace {
    /// Plain Bayes: everything is kept, and everything counts once.
    pub const BAYES: Self = Self { retention: 1.0, weight: 1.0 };
}

/// A population that the posterior is to stand for, in place of the stream so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Population {
    /// N: how many events a partition's evidence is to be worth.
    pub events: f64,
    /// κ in (½, 1]: how fast steps shrink. 1 weighs all events alike.
    pub exponent: f64,
}

/// How fast evidence is forgotten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Events after which evidence weighs half; infinite never forgets.
    pub half_life_events: f64,
    /// Milliseconds of the events' own time after which evidence weighs half; infinite never forgets.
    pub half_life_ms: f64,
    /// The population, if evidence is to stand for one.
    pub population: Option<Population>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { half_life_events: f64::INFINITY, half_life_ms: f64::INFINITY, population: None }
    }
}

impl Rule {
    /// The pace of a block of `events` that comes `elapsed_ms` after the one before it, when `learnt` events have been learnt.
    pub fn pace(&self, learnt: u64, events: usize, elapsed_ms: f64) -> Pace {
        let n = events as f64;
        match self.population {
            None => Pace { retention: (-n / self.half_life_events - elapsed_ms / self.half_life_ms).exp2(), weight: 1.0 },
            Some(Population { events: population, exponent }) => {
                let rate = (n / (learnt as f64 + n)).powf(exponent);
                Pace { retention: 1.0 - rate, weight: rate * population / n }
            }
        }
    }

    /// How many events are remembered when `learnt` have been learnt, as far as their number decides: `half-life / ln 2` at most.
    pub fn remembered(&self, learnt: u64) -> u64 {
        let most = self.half_life_events / std::f64::consts::LN_2;
        if most < learnt as f64 { most as u64 } else { learnt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_lives_halve() {
        let rule = Rule { half_life_events: 200.0, ..Rule::default() };
        let kept: f64 = (0..20).map(|block| rule.pace(10 * block, 10, 1e6).retention).product();
        assert!((kept - 0.5).abs() < 1e-14);
        let rule = Rule { half_life_ms: 60_000.0, ..Rule::default() };
        assert!((rule.pace(0, 7, 120_000.0).retention - 0.25).abs() < 1e-15);
        assert_eq!(Rule::default().pace(5, 7, 1e9), Pace::BAYES);
    }

    #[test]
    fn a_population_with_exponent_one_weighs_all_events_alike() {
        let rule = Rule { population: Some(Population { events: 1000.0, exponent: 1.0 }), ..Rule::default() };
        let values = [3.0, -1.0, 4.0, 1.5, -9.0, 2.5, 6.0];
        let (mut sum, mut learnt) = (17.0, 0);
        for block in [&values[..1], &values[1..4], &values[4..]] {
            let pace = rule.pace(learnt, block.len(), 0.0);
            sum = pace.retention * sum + pace.weight * block.iter().sum::<f64>();
            learnt += block.len() as u64;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((sum - 1000.0 * mean).abs() < 1e-9);
    }
}
