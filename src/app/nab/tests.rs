use std::collections::BTreeMap;

use super::*;

#[derive(Deserialize)]
struct Golden {
    profiles: BTreeMap<String, Profile>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    series: Vec<Recorded>,
    scores: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Recorded {
    times: Vec<i64>,
    scores: Vec<f64>,
    windows: Vec<(i64, i64)>,
}

impl From<Recorded> for Series {
    fn from(Recorded { times, scores, windows }: Recorded) -> Self {
        Self { times, scores, windows }
    }
}

const STANDARD: Profile = Profile { true_positive: 1.0, false_negative: 1.0, false_positive: 0.11 };

/// Sixty rows a minute apart, of which `detected` score 1.
fn series(windows: Vec<(i64, i64)>, detected: &[usize]) -> Series {
    Series { times: (0..60).collect(), scores: (0..60).map(|row| f64::from(detected.contains(&row))).collect(), windows }
}

#[test]
fn agrees_with_brute_force() {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/nab.json")).expect("golden numbers");
    assert_eq!((golden.cases.len(), golden.profiles.len()), (11, 3));
    for case in golden.cases {
        let series: Vec<Series> = case.series.into_iter().map(Into::into).collect();
        for (name, profile) in &golden.profiles {
            let found = score(&series, profile).expect("windows");
            assert!((found - case.scores[name]).abs() < 1e-9, "{}, {name}: {found} for {}", case.name, case.scores[name]);
        }
    }
}

#[test]
fn the_scale_runs_from_nothing_to_perfection() {
    let windows = vec![(20, 29), (40, 49)];
    assert_eq!(score(&[series(windows.clone(), &[20, 40])], &STANDARD), Ok(100.0));
    // Where a false detection costs more than all windows are worth, nothing is the best that can be done.
    let dear = Profile { false_positive: 10.0, ..STANDARD };
    assert_eq!(score(&[series(windows.clone(), &[12])], &dear), Ok(0.0));
    // Half of the windows, from their first row: half of the way.
    assert!((score(&[series(windows.clone(), &[20])], &STANDARD).expect("windows") - 50.0).abs() < 1e-12);
    // Late in a window is worth less than early, and false detections cost; in probation they don't.
    let late = score(&[series(windows.clone(), &[28, 40])], &STANDARD).expect("windows");
    let false_one = score(&[series(windows.clone(), &[12, 20, 40])], &STANDARD).expect("windows");
    assert!(late > 50.0 && late < 100.0, "{late}");
    assert!((false_one - (100.0 - 100.0 * 0.11 / 4.0)).abs() < 1e-12, "{false_one}");
    assert_eq!(score(&[series(windows, &[3, 8, 20, 40])], &STANDARD), Ok(100.0));
}

#[test]
fn what_has_no_score_is_refused() {
    assert_eq!(score(&[series(vec![], &[3])], &STANDARD), Err(NabError::NoWindows));
    assert_eq!(score(&[], &STANDARD), Err(NabError::NoWindows));
    assert_eq!(score(&[series(vec![(20, 61)], &[])], &STANDARD), Err(NabError::NoRow { time: 61 }));
}
