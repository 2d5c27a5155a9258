//! The example as people run it: its own output, which the README shows, and the whole program with the model in it.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::data::{engine, latencies, model, take};
use crate::example::RobustRegression;

/// Runs the example, which cargo has put beside the tests.
fn example(arguments: &[&str]) -> Output {
    let own = std::env::current_exe().expect("a test is a program");
    let path: PathBuf = own.parent().and_then(|deps| deps.parent()).expect("in target/*/deps").join("examples/robust_regression");
    assert!(path.exists(), "{} is missing: `cargo build --release --examples` first, as `make test` does", path.display());
    Command::new(path).args(arguments).output().expect("it starts")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// The numbers of a line, among its words.
fn numbers(line: &str) -> Vec<f64> {
    line.split(|letter: char| !(letter.is_ascii_digit() || "-.".contains(letter))).filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_example_is_right_where_least_squares_is_not_and_the_readme_says_so() {
    let output = example(&[]);
    let (printed, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 5, "{printed}");
    for line in &lines[1..4] {
        let [truth, median, low, high, least_squares] = numbers(line)[..] else { panic!("{line}") };
        assert!(low < truth && truth < high && (median - truth).abs() < 0.05, "{line}");
        assert!((least_squares - truth).abs() > 0.02, "{line}");
    }
    let readme = include_str!("../../README.md");
    let shown =
        readme.split("```text\n").find(|part| part.trim_start().starts_with("truth")).expect("the README shows the output");
    for (line, shown) in lines.iter().zip(shown.lines()) {
        let digits = |line: &str| line.replace(|letter: char| letter.is_ascii_digit(), "0");
        assert_eq!(digits(line), digits(shown));
        // Another processor may round otherwise.
        numbers(line).iter().zip(numbers(shown)).for_each(|(found, shown)| assert!((found - shown).abs() < 0.0025, "{line}"));
    }
    let source = include_str!("../../examples/robust_regression.rs");
    let (from, to) = (source.find("/// latency = ").expect("the model"), source.find("fn main()").expect("its end"));
    assert!(readme.contains(source[from..to].trim_end()), "the README shows the model as it is in the example");
}

#[test]
fn the_program_runs_with_a_model_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let rows = latencies(400);
    let mut csv = "load,users,latency\n".to_owned();
    for event in 0..400 {
        let [load, users, latency] = rows.view().row(event) else { unreachable!("three columns") };
        csv += &format!("{load},{users},{latency}\n");
    }
    std::fs::write(at("events.csv"), csv).unwrap();
    let column = |name: &str| format!("[[columns]]\nname = \"{name}\"\nkind = \"number\"\n");
    std::fs::write(at("right.toml"), ["latency", "load", "users"].map(column).concat()).unwrap();
    std::fs::write(at("wrong.toml"), ["load", "users"].map(column).concat()).unwrap();

    let names = ["load", "users", "latency"];
    let scores = take(&mut engine(&model(RobustRegression, &names), &names, 1), rows.view(), 0);
    let output =
        example(&["backtest", "--input", &at("events.csv"), "--config", &at("right.toml"), "--scores", &at("scores.csv")]);
    assert!(output.status.success(), "{}", text(output.stderr));
    let written = std::fs::read_to_string(at("scores.csv")).unwrap();
    assert_eq!(written.lines().count(), 401);
    for (line, score) in written.lines().skip(1).zip(&scores) {
        let surprisal: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
        assert_eq!(surprisal, score.surprisal, "{line}");
    }

    let output = example(&["check", "--config", &at("wrong.toml")]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(output.stderr),
        "surprisal: `robust_regression` reads the column \"latency\", but the columns are \"load\", \"users\"; add it to the columns, or \
         change `LogJoint::columns`\n"
    );
}
