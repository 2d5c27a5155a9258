"""Ranking quality on labelled files: river's half-space trees and AWS's random cut forest in the same single pass, and scikit-learn's
IsolationForest, which sees the file whole."""

import functools
import gzip
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import river.anomaly
import river.preprocessing
from sklearn.ensemble import IsolationForest

from measure import REPEATS, ROOT, SEED, child_seconds, ranking

RANDOM_CUT_FOREST = "4.4.0"


def surprisal_file(program, path, count):
    """`surprisal backtest` with its defaults and robust learning, the scoreboard's configuration: processor time of the whole program,
    unzipping and parsing included."""
    backtest = [program, "backtest", "--input", path, "--label", "label", "--log", "error"]
    with tempfile.TemporaryDirectory() as folder:
        scores, config = Path(folder, "scores.csv"), Path(folder, "surprisal.toml")
        said = subprocess.run(backtest, check=True, stdout=subprocess.PIPE, text=True).stdout
        inferred = next(line.split("columns inferred")[1] for line in said.splitlines() if "columns inferred" in line)
        columns = (column.rsplit(" ", 1) for column in inferred.strip().split(", "))
        tables = (f"[[columns]]\nname = {json.dumps(name)}\nkind = {json.dumps(kind)}\n" for name, kind in columns)
        config.write_text("[model]\nrobust = true\n[alerts]\nrate = 0.001\n" + "".join(tables))
        command = [*backtest, "--config", config, "--scores", scores]
        seconds = statistics.median(child_seconds(command) for _ in range(REPEATS))
        found = np.loadtxt(scores, delimiter=",", skiprows=1, usecols=1)
    return seconds / len(found), found[:count]


def half_space_trees(rows):
    """river's half-space trees (Tan, Ting & Liu 2011) with their defaults, numbers scaled to [0, 1] online as their docs advise. The
    clock doesn't run while rows are made into dictionaries."""
    detector = river.preprocessing.MinMaxScaler() | river.anomaly.HalfSpaceTrees(seed=SEED)
    events = [dict(enumerate(row)) for row in rows.tolist()]
    scores = []
    start = time.process_time()
    for event in events:
        scores.append(detector.score_one(event))
        detector.learn_one(event)
    return (time.process_time() - start) / len(rows), np.array(scores)


def random_cut_forest(rows):
    """AWS's random cut forest (Guha et al. 2016) with its defaults, numbers as they are: over the ten files of docs/benchmarks.md that
    has a better mean ROC AUC than numbers normalised online. The clock doesn't run while the JVM starts and rows are parsed."""
    classes = java_peer()
    with tempfile.TemporaryDirectory() as folder:
        file, scores = Path(folder, "rows.csv"), Path(folder, "scores")
        np.savetxt(file, rows, fmt="%.17g", delimiter=",")
        command = ["java", "-cp", classes, "RandomCutForestPeer", file, scores, str(SEED)]
        nanoseconds = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        return nanoseconds / 1e9 / len(rows), np.loadtxt(scores, ndmin=1)


@functools.cache
def java_peer():
    """Fetches the library if it isn't there yet, compiles RandomCutForestPeer.java, and returns the class path of both."""
    folder = ROOT / "target" / "peers" / "java"
    jar = folder / f"randomcutforest-core-{RANDOM_CUT_FOREST}.jar"  # depends on no other
    if not jar.exists():
        fetch = ["mvn", "--quiet", "--batch-mode", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"]
        artifact = f"software.amazon.randomcutforest:randomcutforest-core:{RANDOM_CUT_FOREST}"
        subprocess.run([*fetch, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], check=True)
    subprocess.run(["javac", "-cp", jar, "-d", folder, Path(__file__).with_name("RandomCutForestPeer.java")], check=True)
    return f"{jar}{os.pathsep}{folder}"


def isolation_forest(rows):
    """scikit-learn's IsolationForest (Liu, Ting & Zhou 2008) with its defaults, fitted to all rows, which it then scores: it sees
    the future, and is here for reference."""
    start = time.process_time()
    scores = -IsolationForest(random_state=SEED).fit(rows).score_samples(rows)
    return (time.process_time() - start) / len(rows), scores


def files(program, folder, most):
    """Every labelled file of `folder`, at most `most` rows of each."""
    print(f"\nRanking labelled files, their first {most} rows: ROC AUC | average precision | µs/event")
    names = "Surprisal", "half-space trees", "random cut forest", "IsolationForest*"
    print(f"{'':<18}{'rows':>6}{'anomalies':>10}" + "".join(f"{name:>26}" for name in names))
    results = []
    for path in sorted((folder / "tabular").glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", skiprows=1, max_rows=most)
        rows, label = table[:, :-1], table[:, -1] == 1
        peers = surprisal_file(program, path, len(rows)), half_space_trees(rows), random_cut_forest(rows), isolation_forest(rows)
        result = {"file": path.name.removesuffix(".csv.gz"), "rows": len(rows), "anomalies": int(label.sum())}
        for name, (seconds, scores) in zip(names, peers):
            result[name] = ranking(label, scores) | {"us_per_event": seconds * 1e6}
        results.append(result)
        line = f"{result['file']:<18}{len(rows):>6}{label.sum():>10}"
        print(line + "".join(cell(result[name]) for name in names), flush=True)
    if not results:
        raise SystemExit(f"{folder}/tabular: there is no .csv.gz file")
    mean = {name: {key: statistics.mean(r[name][key] for r in results) for key in results[0][name]} for name in names}
    print(f"{'mean':<34}" + "".join(map(cell, mean.values())))
    print("* fitted to all of the rows before it scores them")
    return results + [{"file": "mean"} | mean]


def cell(result):
    return f"{result['roc_auc']:>9.3f} |{result['average_precision']:>6.3f} |{result['us_per_event']:>7.1f}"
