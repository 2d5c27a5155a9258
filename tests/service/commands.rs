//! The demo and the backtest, and that a file and a topic of the same events are scored alike.

use std::fs;
use std::path::Path;

use serde_json::Value;
use surprisal::codec::wire::Format;
use tempfile::TempDir;

use crate::log::scores;
use crate::process::{Process, file, text};
use crate::support::broker::Broker;

/// Rows of the bundled data.
const ROWS: usize = 49_097;

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The figures that a demo or a backtest of the bundled data must give.
fn expect_figures(report: &Value) {
    for (key, value) in [("events", ROWS), ("scored", ROWS), ("dead_letters", 0)] {
        assert_eq!(report[key], value, "{key}");
    }
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} in {report}"));
    assert!(number("roc_auc") > 0.98 && number("roc_auc") <= 1.0, "{report}");
    assert!(number("average_precision") > 0.5 && number("average_precision") <= 1.0, "{report}");
    let (rate, seconds) = (number("events_per_second"), number("seconds"));
    assert!(seconds > 0.0 && (rate * seconds / ROWS as f64 - 1.0).abs() < 1e-9, "{report}");
}

#[test]
fn the_demo_and_the_backtest_agree_on_every_row() {
    let brokers = Broker::shared().bootstrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| file(&folder, name);
    let (embedded, real, backtest, csv) = (path("embedded.json"), path("real.json"), path("backtest.json"), path("out.csv"));
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/shuttle.csv.gz");
    let mut processes = [
        Process::start(&["demo", "--report", text(&embedded)], &[]),
        Process::start(&["demo", "--brokers", brokers, "--report", text(&real)], &[]),
        Process::start(
            &["backtest", "--input", text(&input), "--label", "label", "--scores", text(&csv), "--report", text(&backtest)],
            &[],
        ),
    ];
    for process in &mut processes {
        assert_eq!(process.wait(), 0, "{}", process.stderr());
        let table = process.stdout();
        assert!(table.contains("ROC AUC") && table.contains("anomalies found"), "{table}");
    }
    for path in [&embedded, &real, &backtest] {
        expect_figures(&report(path));
    }
    assert!(report(&backtest)["mean_surprisal"].is_number());

    let csv = fs::read_to_string(&csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some(
            "row,surprisal,surprisal_sd,tail_probability,severity,alert,rarity,expected,lower,upper,probability,changes,explanation"
        )
    );
    let scores = scores(brokers, &format!("surprisal-demo-{}.scores", processes[1].id()), Format::Json);
    assert_eq!(scores.len(), ROWS);
    let mut rows = 0;
    for (line, ((_, offset), scored)) in lines.zip(&scores) {
        let cells: Vec<f64> = line.split(',').take(6).map(|cell| cell.parse().unwrap()).collect();
        let [row, surprisal, surprisal_sd, probability, ..] = cells[..] else { panic!("{line}") };
        assert_eq!((row, *offset), (rows as f64, rows));
        let score = &scored.score;
        assert!((surprisal - score.surprisal).abs() <= 1e-12 * surprisal.abs().max(1.0), "row {row}: {surprisal}, {score:?}");
        assert!((probability - score.tail_probability).abs() <= 1e-12, "row {row}: {probability}, {score:?}");
        assert!((surprisal_sd - score.surprisal_sd).abs() <= 1e-12, "row {row}: {surprisal_sd}, {score:?}");
        assert!(probability > 0.0 && probability <= 1.0, "row {row}");
        rows += 1;
    }
    assert_eq!(rows as usize, ROWS);
}
