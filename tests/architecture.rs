//! The floors of the house: a module imports from the floors below it only, and the pure ones know nothing of the outside.

use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules, from the roof to the ground.
const FLOORS: [&str; 19] = [
    "app",
    "cli",
    "config",
    "pipeline",
    "stream",
    "codec",
    "telemetry",
    "failpoint",
    "engine",
    "calibration",
    "drift",
    "models",
    "inference",
    "dist",
    "record",
    "features",
    "checkpoint",
    "device",
    "noise",
];

/// Modules that take clocks, noise, files and networks as arguments, if at all.
const PURE: [&str; 10] =
    ["engine", "calibration", "drift", "models", "inference", "dist", "record", "checkpoint", "features", "noise"];

/// What pure modules never name.
const OUTSIDE: [&str; 8] =
    ["rdkafka", "tokio", "axum", "tracing", "std::fs", "std::net", "std::time::Instant", "std::time::SystemTime"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each source file with its top-level module and its code, without comments.
fn modules() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let modules = paths.into_iter().map(|path| {
        let first = path.strip_prefix(&root).expect("below src").components().next().expect("a name");
        let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        let code = fs::read_to_string(&path).expect("a source file");
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (path, module, code)
    });
    modules.collect()
}

/// Modules that `code` names as `crate::module`.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or(""))
}

#[test]
fn imports_only_point_down() {
    let floor = |module: &str| FLOORS.iter().position(|other| *other == module);
    let mut upward = Vec::new();
    for (path, module, code) in modules() {
        let Some(own) = floor(&module) else {
            assert!(["main", "lib"].contains(&module.as_str()), "{module} stands on no floor: add it to FLOORS");
            continue;
        };
        for import in imports(&code) {
            match floor(import) {
                Some(other) if other >= own => {}
                Some(_) => upward.push(format!("{}: {module} imports {import}", path.display())),
                None => panic!("{}: `crate::{import}` is on no floor; name the module in full", path.display()),
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn pure_modules_know_nothing_of_the_outside() {
    let mut known = Vec::new();
    for (path, module, code) in modules() {
        if PURE.contains(&module.as_str()) {
            known.extend(OUTSIDE.iter().filter(|name| code.contains(*name)).map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(known.is_empty(), "{known:#?}");
}
