use super::*;
use crate::noise::Noise;

/// A stream of one event in five minutes.
const GAP_MS: i64 = 300_000;
const DAY: f64 = 288.0;

fn event(at: u32, extremity: f64) -> Observation {
    Observation { extremity, sd: 0.0, time_ms: Some(i64::from(at) * GAP_MS), share: 1.0 }
}

/// Where a stream alerts.
fn alerts(alerts: &Alerts, stream: impl Iterator<Item = f64>) -> Vec<u32> {
    let mut alarm = Alarm::default();
    let judged = stream.zip(0..).map(|(extremity, at)| (at, alarm.advance(alerts, event(at, extremity)).alert));
    judged.filter(|(_, alert)| *alert).map(|(at, _)| at).collect()
}

/// Exchangeable and autocorrelated extremities, most of them not what they should be, exponential with mean 1.
fn streams(events: u32) -> [(&'static str, Vec<f64>); 4] {
    let noise = Noise::new(1);
    let uniforms: Vec<f64> = (0..events).map(|at| noise.uniform(0, 0, at)).collect();
    let stream = |of: fn(f64) -> f64| uniforms.iter().map(|uniform| of(*uniform)).collect();
    let mut level = 1.0;
    let averaged = uniforms.iter().map(|uniform| {
        level += (-uniform.ln() - level) / 30.0;
        level
    });
    [
        ("exponential", stream(|uniform| -uniform.ln())),
        ("light", stream(|uniform| (-uniform.ln()).powf(0.6))),
        ("heavy", stream(|uniform| uniform.powf(-1.0 / 3.0))),
        ("autocorrelated", averaged.collect()),
    ]
}

/// One level that comes again and again, all in one bin: what is left above the threshold when that has reached it is nothing, but for
/// rounding.
#[test]
fn an_alarm_reads_back_after_every_event() {
    let noise = Noise::new(5);
    for stream in 0..12 {
        let mut alarm = Alarm::default();
        for at in 0..1_500 {
            let extremity = if at < 1_000 { -noise.uniform(0, stream, at).ln() } else { 1.5 + 0.5 * stream as f64 };
            alarm.advance(&Alerts::default(), event(at, extremity));
            if at >= 1_000 {
                assert_eq!(Alarm::restore(&alarm.tensors()).as_ref(), Ok(&alarm), "stream {stream}, event {at}");
            }
        }
    }
}

#[test]
fn a_budget_is_held_whatever_the_stream() {
    const DAYS: f64 = 400.0;
    let budgets = [
        (Budget::PerDay(1.0), DAYS),
        (Budget::PerDay(3.0), 3.0 * DAYS),
        (Budget::PerDay(1.0 / 7.0), DAYS / 7.0),
        (Budget::Rate(1e-3), DAYS * DAY / 1e3),
    ];
    for (name, stream) in streams((DAYS * DAY) as u32) {
        for window in [1.0, 20.0] {
            for (budget, asked) in budgets {
                let settings = Alerts { budget, window, ..Alerts::default() };
                let found = alerts(&settings, stream.iter().copied()).len() as f64;
                println!("{name}, window {window}, {budget:?}: {:.2}", found / asked);
                assert!((found / asked - 1.0).abs() < 0.25, "{name}, window {window}, {budget:?}: {found} of {asked}");
            }
        }
    }
}

#[test]
fn anomalies_are_found_and_each_is_told_once() {
    let noise = Noise::new(2);
    let exponential = |at| -noise.uniform(0, 0, at).ln();
    for (window, settings) in [1.0, 20.0].map(|window| (window, Alerts { window, ..Alerts::default() })) {
        // An incident of 100 events every fifty days.
        let incident = |at: u32| at > 14_000 && at % 14_400 < 100;
        let found = alerts(&settings, (0..144_000).map(|at| if incident(at) { 15.0 } else { exponential(at) }));
        let told = |begin: u32| found.iter().filter(|at| (begin..begin + 100).contains(*at)).count();
        let counts: Vec<usize> = (1..10).map(|number| told(number * 14_400)).collect();
        // One that comes right after an alert is taken for the same incident.
        assert!(counts.iter().all(|count| *count <= 1) && counts.iter().sum::<usize>() >= 8, "window {window}: {counts:?}");
    }
}

#[test]
fn a_restart_gives_the_same_bits() {
    let noise = Noise::new(3);
    let settings = Alerts { window: 5.0, ..Alerts::default() };
    let stream = |at: u32| -noise.uniform(0, 0, at).ln() * if at % 3000 < 20 { 8.0 } else { 1.0 };
    let mut whole = Alarm::default();
    let mut restarted = Alarm::default();
    for at in 0..20_000 {
        if at % 777 == 0 || (6000..6030).contains(&at) {
            restarted = Alarm::restore(&restarted.tensors()).expect("what was written is read");
            assert_eq!(restarted, whole, "at {at}");
        }
        let (one, other) = (whole.advance(&settings, event(at, stream(at))), restarted.advance(&settings, event(at, stream(at))));
        assert_eq!((one.severity.to_bits(), one.alert), (other.severity.to_bits(), other.alert));
    }
    assert_eq!(Alarm::restore(&[]), Ok(Alarm::default()), "of a snapshot from before there were alarms");
}

#[test]
fn wild_clocks_and_gaps_do_not_spend_the_budget() {
    let noise = Noise::new(4);
    let settings = Alerts::default();
    let mut alarm = Alarm::default();
    let mut found = 0;
    for at in 0..144_000 {
        let mut seen = event(at, -noise.uniform(0, 0, at).ln());
        seen.time_ms = match at % 1000 {
            17 => Some([i64::MAX, i64::MIN, 0][at as usize / 1000 % 3]),
            18 => None,
            // Up to an hour late.
            _ => seen.time_ms.map(|time| time - (noise.uniform(0, 1, at) * 3_600_000.0) as i64),
        };
        found += u32::from(alarm.advance(&settings, seen).alert);
    }
    println!("{found} in five hundred days");
    assert!((375..=625).contains(&found), "{found} in five hundred days");
}

/// As long as usual events are scored with much doubt, what seems to be far out may not be; once they are not, it is.
#[test]
fn what_the_model_does_not_know_is_no_alarm() {
    let noise = Noise::new(5);
    let told = |doubt: fn(u32) -> f64| {
        let mut alarm = Alarm::default();
        let judged = (0..2000).map(|at| {
            let extremity = if at % 90 == 89 { 12.0 } else { -noise.uniform(0, 0, at).ln() };
            (at, alarm.advance(&Alerts::default(), Observation { sd: doubt(at), ..event(at, extremity) }).alert)
        });
        judged.filter(|(_, alert)| *alert).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let sure = told(|_| 0.1);
    assert!(sure[0] < 200, "{sure:?}");
    let learning = told(|at| if at < 600 { 18.0 + f64::from(at) / 100.0 } else { 0.1 });
    assert!(learning[0] > 300 && learning.len() > 5, "{learning:?}");
}

/// However uncertain the distance of what is far out, it is far out.
#[test]
fn what_is_farther_out_is_told_no_less() {
    let noise = Noise::new(5);
    let mut alarm = Alarm::default();
    for at in 0..1000 {
        alarm.advance(&Alerts::default(), Observation { sd: 0.5, ..event(at, -noise.uniform(0, 0, at).ln()) });
    }
    for extremity in [12.0, 20.0, 50.0, 90.0] {
        let event = Observation { sd: extremity * extremity, ..event(1000, extremity) };
        assert!(alarm.clone().advance(&Alerts::default(), event).alert, "{extremity}");
    }
}

/// A model that averages others never knows which of them is right. What it says is calibrated all the same.
#[test]
fn doubt_that_lasts_does_not_silence() {
    const DAYS: f64 = 200.0;
    for (name, stream) in streams((DAYS * DAY) as u32) {
        let mut alarm = Alarm::default();
        let judged = stream.into_iter().zip(0..).map(|(extremity, at)| {
            let observation = Observation { sd: 3.0, ..event(at, extremity) };
            alarm.advance(&Alerts::default().over(20.0), observation).alert
        });
        let told = judged.filter(|alert| *alert).count() as f64;
        assert!((0.75..=1.25).contains(&(told / DAYS)), "{name}: {told} in {DAYS} days");
    }
}

#[test]
fn a_partition_begins_with_the_experience_of_others() {
    let noise = Noise::new(6);
    let settings = Alerts::default();
    let mut experienced = Alarm::default();
    for at in 0..20_000 {
        experienced.advance(&settings, event(at, -noise.uniform(0, 0, at).ln()));
    }
    let first_alert = |mut alarm: Alarm| {
        let stream = (0..1000).map(|at| if at % 10 == 9 { 25.0 } else { -noise.uniform(0, 1, at).ln() });
        stream.zip(0..).find_map(|(extremity, at)| alarm.advance(&settings, event(at, extremity)).alert.then_some(at))
    };
    let mut heir = Alarm::default();
    heir.inherit(&[&experienced, &experienced]);
    assert_eq!(first_alert(heir), Some(9));
    assert!(first_alert(Alarm::default()).is_none_or(|at| at > 100), "by itself it would not know yet");
}

/// The first events of a partition are averages over less than a window, which must not pass for the level of a whole one.
#[test]
fn who_inherits_averages_is_not_alarmed_by_its_first_events() {
    let noise = Noise::new(9);
    let settings = Alerts::default().over(20.0);
    let mut experienced = Alarm::default();
    for at in 0..20_000 {
        experienced.advance(&settings, event(at, -noise.uniform(0, 0, at).ln()));
    }
    let alarmed = (1..=200).filter(|stream| {
        let mut heir = Alarm::default();
        heir.inherit(&[&experienced]);
        (0..40).any(|at| heir.advance(&settings, event(at, -noise.uniform(0, *stream, at).ln())).alert)
    });
    // A day has 288 events and one alert.
    let alarmed = alarmed.count();
    assert!(alarmed <= 28, "{alarmed} of 200 streams within 40 events");
}

#[test]
fn any_window_comes_to_alert() {
    let noise = Noise::new(10);
    for window in [1.0, 600.0, 10_000.0] {
        let settings = Alerts::default().over(window);
        let (mut alarm, ordinary) = (Alarm::default(), (15.0 * window) as u32 + 200);
        let mut alerted = false;
        for at in 0..ordinary + 2 * window as u32 {
            let extremity = if at < ordinary { -noise.uniform(0, 0, at).ln() } else { 60.0 };
            alerted |= alarm.advance(&settings, event(at, extremity)).alert && at >= ordinary;
        }
        assert!(alerted, "{window}");
    }
}

#[test]
fn extremities_of_any_size_leave_a_state_that_is_finite() {
    let mut alarm = Alarm::default();
    let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 0.0, -0.0, f64::MIN_POSITIVE, 103.0, -26.0];
    for at in 0..5_000 {
        let seen = Observation { sd: wild[at as usize % 7], ..event(at, wild[at as usize % wild.len()]) };
        let verdict = alarm.advance(&Alerts::default(), seen);
        assert!(verdict.severity.is_finite() && verdict.severity >= 0.0);
    }
    assert_eq!(Alarm::restore(&alarm.tensors()), Ok(alarm), "numbers that are not finite are refused");
}

/// Times and severities by `golden.py`, another implementation.
const GOLDEN: &str = include_str!("golden.txt");

#[test]
fn severity_is_that_of_another_implementation() {
    let settings = Alerts { window: 20.0, ..Alerts::default() };
    let mut alarm = Alarm::default();
    let mut state = 1_u64;
    let mut found = Vec::new();
    for at in 0..6000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let extremity = -uniform.ln() * if at % 700 > 680 { 6.0 } else { 1.0 };
        let severity = alarm.advance(&settings, event(at, extremity)).severity;
        if severity > 0.0 {
            found.push((at, severity));
        }
    }
    let expected: Vec<(u32, f64)> = GOLDEN
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(at, severity)| (at.parse().unwrap(), severity.parse().unwrap()))
        .collect();
    assert_eq!(found.len(), expected.len());
    for ((at, severity), (expected_at, expected)) in found.iter().zip(&expected) {
        assert!(at == expected_at && (severity - expected).abs() < 1e-9, "{at} {severity}, expected {expected_at} {expected}");
    }
}

/// Alerts of an alarm whose events, ordinary ones, come at these times.
fn alerts_at(settings: &Alerts, times_ms: impl Iterator<Item = i64>) -> usize {
    let noise = Noise::new(11);
    let mut alarm = Alarm::default();
    let judged = times_ms.zip(0..).map(|(time_ms, at)| {
        alarm.advance(settings, Observation { time_ms: Some(time_ms), ..event(at, -noise.uniform(0, 0, at).ln()) }).alert
    });
    judged.filter(|alert| *alert).count()
}

#[test]
fn a_day_is_a_day_however_events_are_spread_over_it() {
    const DAY_MS: i64 = 86_400_000;
    // So many a day, all within the first so many milliseconds of it.
    let bursts = |events: i64, within_ms: i64, days: i64| {
        (0..events * days).map(move |at| at / events * DAY_MS + at % events * within_ms / events)
    };
    let workdays = |days: i64| bursts(10_000, DAY_MS / 3, days).filter(|time| time / DAY_MS % 7 < 5);
    let skewed = |days: i64| {
        let noise = Noise::new(12);
        let lag = (0..10).map(|host| (noise.uniform(0, 0, host) * 60_000.0) as i64).collect::<Vec<_>>();
        (0..days * 43_200).map(move |at| at * 2_000 - lag[at as usize % 10])
    };
    type Times = Box<dyn Iterator<Item = i64>>;
    let daily: [(&str, f64, f64, Times); 7] = [
        ("evenly", 1.0, 60.0, Box::new(bursts(5_000, DAY_MS, 60))),
        ("in office hours", 1.0, 60.0, Box::new(bursts(5_000, DAY_MS / 3, 60))),
        ("in office hours", 10.0, 60.0, Box::new(bursts(5_000, DAY_MS / 3, 60))),
        ("on workdays", 1.0, 70.0, Box::new(workdays(70))),
        ("at night, at once", 1.0, 60.0, Box::new(bursts(5_000, 1_000, 60))),
        ("by skewed clocks", 12.0, 5.0, Box::new(skewed(5))),
        ("the newest first", 1.0, 60.0, Box::new(bursts(5_000, DAY_MS, 60).map(|time| -time))),
    ];
    for (name, per_day, days, times) in daily {
        let found = alerts_at(&Alerts { budget: Budget::PerDay(per_day), ..Alerts::default() }, times) as f64;
        println!("{name}: {found} of {}", per_day * days);
        assert!((found / (per_day * days) - 1.0).abs() < 0.25, "{name}: {found} of {}", per_day * days);
    }
}

/// Anomalies that come again and again, far rarer than any budget: the threshold rises above most of them after a few alerts.
#[test]
fn a_small_budget_is_not_overspent_where_there_are_anomalies() {
    const DAYS: f64 = 90.0;
    for (budget, asked) in
        [(Budget::PerDay(1.0 / 7.0), DAYS / 7.0), (Budget::PerDay(1.0), DAYS), (Budget::Rate(1e-3), DAYS * DAY / 1e3)]
    {
        for share in [0.0, 0.003, 0.01] {
            let found = (0..10).map(|seed| {
                let noise = Noise::new(100 + seed);
                let extremity = |at| match at > 500 && noise.uniform(0, 1, at) < share {
                    true => 20.0 + 90.0 * noise.uniform(0, 2, at),
                    false => -noise.uniform(0, 0, at).ln(),
                };
                alerts(&Alerts { budget, ..Alerts::default() }, (0..(DAYS * DAY) as u32).map(extremity)).len() as f64
            });
            let ratio = found.sum::<f64>() / (10.0 * asked);
            println!("{budget:?}, {share} anomalies: {ratio:.2}");
            assert!((0.75..1.25).contains(&ratio), "{budget:?}, {share} anomalies: {ratio}");
        }
    }
}

/// Where each event is for itself, so is each anomaly.
#[test]
fn anomalies_a_few_events_apart_are_two_where_events_are_for_themselves() {
    let noise = Noise::new(13);
    let stream = |at: u32| if at == 5_000 || at == 5_010 { 40.0 } else { -noise.uniform(0, 0, at).ln() };
    let found = |window: f64| {
        let settings = Alerts { budget: Budget::Rate(1e-3), window, ..Alerts::default() };
        let found = alerts(&settings, (0..5_030).map(stream));
        found.into_iter().filter(|at| (5_000..5_030).contains(at)).count()
    };
    assert_eq!((found(1.0), found(20.0)), (2, 1));
}
