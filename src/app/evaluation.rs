//! How well surprisal ranks labelled anomalies above the rest.

/// Ranking quality of scores against labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// Probability that an anomaly scores higher than a normal event, ties counting half: the area under the ROC curve.
    pub roc_auc: f64,
    /// Mean over anomalies of the precision at their score: Σ (R_i - R_{i-1}) P_i over distinct thresholds.
    pub average_precision: f64,
    /// Labelled anomalies.
    pub anomalies: usize,
    /// Anomalies among as many of the highest scores as there are anomalies.
    pub found: usize,
}

/// Ranks `scores` against `anomalous`, of the same length. `None` unless there are both anomalies and normal events.
pub fn rank(scores: &[f64], anomalous: &[bool]) -> Option<Ranking> {
    let anomalies = anomalous.iter().filter(|label| **label).count();
    let normal = anomalous.len() - anomalies;
    if anomalies == 0 || normal == 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
    let (mut hits, mut misses, mut pairs, mut precision, mut found) = (0_usize, 0_usize, 0.0, 0.0, 0.0);
    for tied in order.chunk_by(|left, right| scores[*left] == scores[*right]) {
        let tied_hits = tied.iter().filter(|index| anomalous[**index]).count();
        let tied_misses = tied.len() - tied_hits;
        // The best `anomalies` scores may end within a tie: it is then shared out evenly.
        let room = anomalies.saturating_sub(hits + misses).min(tied.len());
        found += tied_hits as f64 * room as f64 / tied.len() as f64;
        pairs += tied_misses as f64 * (hits as f64 + 0.5 * tied_hits as f64);
        hits += tied_hits;
        misses += tied_misses;
        precision += tied_hits as f64 * hits as f64 / (hits + misses) as f64;
    }
    Some(Ranking {
        roc_auc: pairs / (anomalies as f64 * normal as f64),
        average_precision: precision / anomalies as f64,
        anomalies,
        found: found.round() as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_scikit_learn() {
        // roc_auc_score and average_precision_score of y = [0, 0, 1, 1], s = [0.1, 0.4, 0.35, 0.8].
        let ranking = rank(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]).expect("both labels");
        assert!((ranking.roc_auc - 0.75).abs() < 1e-15);
        assert!((ranking.average_precision - 0.833_333_333_333_333_3).abs() < 1e-15);
        assert_eq!(ranking.found, 1);
    }

    #[test]
    fn one_label_alone_ranks_nothing() {
        assert_eq!(rank(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(rank(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn agrees_with_counting_all_pairs(events in prop::collection::vec((0_u8..6, any::<bool>()), 2..60)) {
            let scores: Vec<f64> = events.iter().map(|event| f64::from(event.0)).collect();
            let labels: Vec<bool> = events.iter().map(|event| event.1).collect();
            if let Some(ranking) = rank(&scores, &labels) {
                let of = |wanted: bool| events.iter().filter(move |event| event.1 == wanted).map(|event| event.0);
                let mut pairs = Vec::new();
                for anomaly in of(true) {
                    pairs.extend(of(false).map(|normal| match anomaly.cmp(&normal) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    }));
                }
                prop_assert!((ranking.roc_auc - pairs.iter().sum::<f64>() / pairs.len() as f64).abs() < 1e-12);
                let precision_at = |score: u8| {
                    let above = events.iter().filter(|event| event.0 >= score);
                    above.clone().filter(|event| event.1).count() as f64 / above.count() as f64
                };
                let mean = of(true).map(precision_at).sum::<f64>() / ranking.anomalies as f64;
                prop_assert!((ranking.average_precision - mean).abs() < 1e-12);
            }
        }
    }
}
