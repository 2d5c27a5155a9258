//! The page of a backtest, in a real browser that has no network: all is there, counted against the scores and the labels.

mod browser;
mod fetch;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::json;
use surprisal::app::html::{Field, Figure, Observation, Prediction, Series, page};
use surprisal::calibration::Budget;
use tempfile::TempDir;

use crate::browser::Browser;

/// A text that would break out of wherever markup or a script takes it for its own.
const HOSTILE: &str =
    "</script></title><script>window.taken = true</script><img src=x onerror='window.taken = true'>\" onload=\"`${1}`";

/// How many marks, of which some stand for several.
const MARKS: &str =
    "marks = of => [...document.querySelectorAll(of)].reduce((sum, mark) => sum + Number(mark.dataset.n ?? 1), 0)";

/// A browser; without one, a line that says so, which `cargo test` shows.
fn browser() -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(reason) => {
            // Past the test's captured output.
            let mut terminal = io::stderr();
            writeln!(terminal, "SKIPPED: the page is not tested in a browser: {reason}").unwrap();
            None
        }
    }
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/shuttle.csv.gz")
}

/// Writes a page where it can be looked at afterwards.
fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// What holds of every page: nothing was asked of the network, nothing went wrong, everything has a name, no text is without width, and
/// it is drawn, in light and dark, on a desk and a phone.
fn expect_sound(browser: &mut Browser, page: &Path) {
    browser.open(page);
    let (asked, complaints) = browser.heard();
    assert!(asked.iter().all(|address| address.starts_with("file:") || address.starts_with("data:")), "{asked:?}");
    assert_eq!(asked.iter().filter(|address| address.starts_with("file:")).count(), 1, "{asked:?}");
    assert!(complaints.is_empty(), "{complaints:?}");
    assert_eq!(
        browser.count("[...document.querySelectorAll('svg')].filter(chart => !chart.getAttribute('aria-label')).length"),
        0
    );
    assert_eq!(browser.count("document.querySelectorAll('script').length"), 2);
    assert_eq!(browser.value("window.taken === undefined"), true);
    let mut grounds = Vec::new();
    for (width, scheme) in [(1200, "light"), (390, "dark")] {
        browser.show(width, scheme);
        assert_eq!(browser.count("document.documentElement.scrollWidth"), width, "nothing is wider than the window");
        assert!(browser.count("Math.round(document.querySelector('.y span').getBoundingClientRect().width)") > 3);
        grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
        let picture = browser.picture();
        let (colours, share) = browser.colours(&picture);
        assert!(colours > 50 && share > 0.1, "{colours} colours, {share} of the points drawn on");
        fs::write(page.with_extension(format!("{scheme}.png")), STANDARD.decode(picture).unwrap()).unwrap();
    }
    assert_ne!(grounds[0], grounds[1]);
    browser.show(1200, "light");
}

#[test]
fn a_backtest_of_the_demos_data_is_all_in_its_page() {
    let Some(mut browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let (page, csv) = (kept("shuttle.html"), folder.path().join("scores.csv"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_surprisal"));
    command.args(["backtest", "--label", "label", "--input"]).arg(demo()).arg("--html").arg(&page).arg("--scores").arg(&csv);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");

    let scores = fs::read_to_string(csv).unwrap();
    let scores =
        scores.lines().skip(1).map(|line| line.split(',').take(6).map(|cell| cell.parse().unwrap()).collect::<Vec<f64>>());
    let scores: Vec<Vec<f64>> = scores.collect();
    let alerts = scores.iter().filter(|score| score[5] == 1.0).count();
    let (most, _) = scores.iter().enumerate().max_by(|left, right| left.1[1].total_cmp(&right.1[1])).unwrap();
    let mut data = String::new();
    GzDecoder::new(fs::File::open(demo()).unwrap()).read_to_string(&mut data).unwrap();
    let labelled = data.lines().filter(|line| line.ends_with(",1")).count();
    assert!(alerts > 10 && labelled > 1000);

    expect_sound(&mut browser, &page);
    browser.value(MARKS);
    assert_eq!(browser.count("marks('#timeline .alerts path')"), alerts);
    assert_eq!(browser.count("marks('#timeline .labels path')"), labelled);
    let told = "[...document.querySelectorAll('#budget rect title')].map(title => parseInt(title.textContent.match(/: (\\d+) alert/)[1]))";
    assert_eq!(browser.count(&format!("{told}.reduce((sum, alerts) => sum + alerts, 0)")), alerts);
    assert_eq!(
        browser.value("[...document.querySelectorAll('section')].map(part => part.id)"),
        json!(["timeline", "calibration", "budget", "told", "events"])
    );
    assert_eq!(browser.count("document.querySelectorAll('#timeline .panel').length"), 5, "four numbers and the surprisal");
    assert_eq!(browser.count("document.querySelectorAll('#summary dd').length"), 5);
    assert_eq!(
        browser.count("document.querySelectorAll('#calibration .observed').length"),
        2 + 1,
        "two curves, and the key to one"
    );
    assert_eq!(browser.count("document.querySelectorAll('#told tbody tr').length"), alerts.min(100));
    let told = browser.value("document.querySelector('#told p').textContent");
    assert!(told.as_str().unwrap().starts_with(&format!("{alerts} alerts. ")), "{told}");
    assert_eq!(browser.count("document.querySelectorAll('#events tbody tr').length"), 20);
    let first = browser.value("document.querySelector('#events tbody td').textContent.replace(',', '')");
    assert_eq!(first, most.to_string());

    let before = browser.value("document.getElementById('readout').textContent");
    let press = "document.querySelector('.plot').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))";
    browser.value(press);
    let after = browser.value("document.getElementById('readout').textContent");
    assert!(before != after && after.as_str().unwrap().contains("surprisal"), "{before}, {after}");
}

/// A series with all there can be: predictions, explanations, times, gaps, labels in a stretch, and names that mean harm.
fn all_there_can_be(events: i64) -> Series {
    let mut series = Series::new(format!("{HOSTILE}.csv"), Budget::Rate(0.002));
    let (other, target) = (series.column("users"), series.column(format!("latency {HOSTILE}")));
    series.predicts(target);
    for row in 0..events {
        let phase = row as f64 / 288.0 * std::f64::consts::TAU;
        // Quantiles of a logistic distribution, in an order that mixes them.
        let pit = (0.5 + row as f64 * 0.618_033_988_749_895).fract();
        let anomalous = (2500..2540).contains(&row);
        let (expected, noise) = (60.0 + 20.0 * phase.sin(), 2.0 * (pit / (1.0 - pit)).ln());
        let surprisal = if anomalous { 30.0 + pit } else { -(pit * (1.0 - pit)).ln() };
        series.value(target, expected + noise + if anomalous { 30.0 } else { 0.0 });
        if row % 500 > 20 {
            series.value(other, 3.0 * expected + 20.0 * pit);
        }
        let seen = Observation {
            time_ms: Some(1_396_310_400_000 + row * 300_000),
            alert: anomalous && row % 4 == 0,
            label: Some(anomalous),
            prediction: Some(Prediction { expected, lower: expected - 5.9, upper: expected + 5.9, probability: pit }),
            ..Observation::new(row, surprisal, (-surprisal).exp())
        };
        let field = |name: &str, nats| Field { name: name.into(), value: HOSTILE.into(), nats: Some(nats) };
        series.push(seen, || vec![field("users", 0.5), field(HOSTILE, surprisal - 0.5)]);
    }
    series.turn(format!("latency {HOSTILE}"), 2500, Some(1_396_310_400_000 + 2500 * 300_000));
    series.turn("surprisal", 2500, Some(1_396_310_400_000 + 2500 * 300_000));
    series.turn("surprisal", 2500, None);
    series.turn("nothing that is drawn", 7, Some(1_396_310_400_000 + 7 * 300_000));
    series.figure(Figure::new(HOSTILE, HOSTILE, HOSTILE));
    series
}

#[test]
fn predictions_and_explanations_are_drawn_and_no_name_is_markup() {
    let Some(mut browser) = browser() else { return };
    let path = kept("all.html");
    fs::write(&path, page(&all_there_can_be(4000))).unwrap();
    expect_sound(&mut browser, &path);
    browser.value(MARKS);
    assert_eq!(browser.count("marks('#timeline .alerts path')"), 10);
    assert_eq!(browser.count("marks('#timeline .labels path')"), 40);
    assert_eq!(browser.count("document.querySelectorAll('#timeline svg .interval').length"), 1);
    assert_eq!(browser.count("document.querySelectorAll('#timeline svg .expected').length"), 1);
    assert_eq!(browser.count("document.querySelectorAll('#timeline svg .labelled').length"), 3, "one stretch in each chart");
    assert_eq!(
        browser.count("document.querySelectorAll('#timeline svg .turn').length"),
        3,
        "of the latency, and of the surprisal and what has no chart"
    );
    let in_chart = |chart: usize, what: &str| {
        format!("document.querySelectorAll('#timeline .panel')[{chart}].querySelectorAll('{what}').length")
    };
    for (chart, turns, intervals) in [(0, 0, 0), (1, 1, 1), (2, 2, 0)] {
        assert_eq!(browser.count(&in_chart(chart, "svg .turn")), turns, "chart {chart}");
        assert_eq!(browser.count(&in_chart(chart, "svg .interval")), intervals, "chart {chart}");
    }
    let first = browser.value("JSON.parse(document.getElementById('readouts').textContent)[0]");
    assert!(first.as_str().unwrap().ends_with(" · another regime of nothing that is drawn"), "{first}");
    assert_eq!(
        browser.value("document.querySelector('#told p').textContent"),
        "10 alerts. 10 of them on a labelled event; 1 of 1 run of labelled events have one."
    );
    assert_eq!(browser.count("document.querySelectorAll('#told table:not(#turns) tbody tr').length"), 10);
    assert_eq!(browser.count("document.querySelectorAll('#turns tbody tr').length"), 4);
    assert_eq!(browser.count("document.querySelectorAll('#pit .bin').length"), 20);
    assert!(browser.value("document.querySelector('#pit p').textContent").as_str().unwrap().contains("90 %"));
    let shares = "[...document.querySelectorAll('#events tr')].filter(row => row.querySelectorAll('.share').length === 2).length";
    assert_eq!(browser.count(shares), 20);
    assert_eq!(browser.value("document.querySelector('h1').textContent"), format!("{HOSTILE}.csv"));
    assert_eq!(browser.value("document.querySelector('dt').textContent"), HOSTILE);
    assert_eq!(browser.value("JSON.parse(document.getElementById('readouts').textContent).length"), 500);
}

#[test]
fn a_million_rows_make_a_page_of_less_than_two_megabytes() {
    let mut series = Series::new("million", Budget::Rate(0.01));
    let columns: Vec<_> = (0..4).map(|column| series.column(format!("column {column}"))).collect();
    let mut alerts = 0;
    for row in 0..1_000_000_u64 {
        let draw = |stream: u64| ((row * 4 + stream).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / 2.0_f64.powi(53);
        columns.iter().zip(0..).for_each(|(column, stream)| series.value(*column, draw(stream)));
        let tail = 1.0 - draw(0);
        let seen =
            Observation { alert: tail <= 0.07, label: Some(tail <= 0.07), ..Observation::new(row as i64, -tail.ln(), tail) };
        alerts += usize::from(seen.alert);
        series.push(seen, Vec::new);
    }
    let page = page(&series);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    let marks = page.split_once("<g class=\"alerts\">").unwrap().1.split_once("</g>").unwrap().0;
    let number =
        |mark: &str| mark.split_once("data-n=\"").map_or(1, |(_, count)| count.split('"').next().unwrap().parse().unwrap());
    assert_eq!(marks.split("<path").skip(1).map(number).sum::<usize>(), alerts);
}
