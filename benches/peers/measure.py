"""How a peer is measured: processor time of scoring and learning an event, on one core, and the quality of its scores."""

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

ROOT = Path(__file__).resolve().parents[2]
CARGO = os.environ.get("CARGO", "cargo")

SEED = 1
TAUGHT = 1024  # rows that peers are initialised on, and that give them units, before the clock runs
COUNTED = 10_240  # costs and quality are those of the rows from here on; a whole number of batches
REPEATS = 3
PASSES = 5  # of Surprisal in one process


def timed(begin, rows, batch):
    """Processor seconds an event over the first rows and over the rest, the medians of repeats after a run that is not counted,
    which compiles; and the log densities. `begin` returns a function that scores a batch and learns it."""
    costs = []
    for _ in range(1 + REPEATS):
        learn, scores = begin(), []
        marks = [time.process_time()]
        for part in rows[:COUNTED], rows[COUNTED:]:
            scores += [learn(part[at : at + batch]) for at in range(0, len(part), batch)]
            marks.append(time.process_time())
        costs.append(np.diff(marks) / [COUNTED, len(rows) - COUNTED])
    return *np.median(costs[1:], axis=0), np.concatenate(scores)


def surprisal(program, rows, batch, kinds, model):
    """The same of Surprisal, by the program `peers` (benches/peers/model.rs), whose `[model]` table is `model`. A pass over all rows
    less one over the first is what the rest cost. What no pass costs, starting the process and reading the file, is taken off: peers
    have the rows at hand."""
    columns = "".join(f'[[columns]]\nname = "x{d}"\nkind = "{kind}"\n' for d, kind in enumerate(kinds))
    with tempfile.TemporaryDirectory() as folder:
        config, first, file, scores = (Path(folder, name) for name in ("config.toml", "first", "rows", "scores"))
        config.write_text(f"[model]\n{model}\n{columns}")
        rows[:COUNTED].astype("<f8").tofile(first)
        rows.astype("<f8").tofile(file)

        def seconds(file):
            def of(passes):
                return statistics.median(child_seconds([program, config, file, batch, passes]) for _ in range(REPEATS))

            return (of(PASSES) - of(0)) / PASSES

        early, whole = seconds(first), seconds(file)
        return early / COUNTED, (whole - early) / (len(rows) - COUNTED), log_densities(program, config, file, batch)


def surprisal_scores(program, rows, batch, kinds, model):
    """Surprisal's log densities alone, one pass."""
    columns = "".join(f'[[columns]]\nname = "x{d}"\nkind = "{kind}"\n' for d, kind in enumerate(kinds))
    with tempfile.TemporaryDirectory() as folder:
        config, file = Path(folder, "config.toml"), Path(folder, "rows")
        config.write_text(f"[model]\n{model}\n{columns}")
        rows.astype("<f8").tofile(file)
        return log_densities(program, config, file, batch)


def log_densities(program, config, file, batch):
    scores = file.with_name("scores")
    child_seconds([program, config, file, batch, 0, scores])
    return np.fromfile(scores, "<f8").reshape(-1, 2)[:, 0]


def child_seconds(command):
    """Processor seconds that a command takes, its children's included."""

    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start = spent()
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return spent() - start


def ranking(label, scores):
    return {"roc_auc": roc_auc_score(label, scores), "average_precision": average_precision_score(label, scores)}


def compare(title, peers, batches, label):
    """Runs each of `peers`, name → function of a batch size, and prints costs in µs an event, the ratio to the Surprisal before it, the
    mean log score, and how well low densities find `label`."""
    print(f"\n{title}")
    print(f"{'':<30}{'batch':>6}{'first':>8}{'rest':>8}{'ratio':>8}{'log score':>11}{'ROC AUC':>9}{'average precision':>19}")
    results = []
    for batch in batches:
        for name, peer in peers.items():
            early, later, scores = peer(batch)
            if name.startswith("Surprisal"):
                ours = later
            result = {"peer": name.strip(), "batch": batch, "us_per_event_first": early * 1e6, "us_per_event": later * 1e6}
            result |= {"ratio": later / ours, "mean_log_score": scores[COUNTED:].mean()}
            result |= ranking(label[COUNTED:], -scores[COUNTED:])
            results.append(result)
            print(
                f"{name:<30}{batch:>6}{early * 1e6:>8.2f}{later * 1e6:>8.2f}{result['ratio']:>7.2f}x{result['mean_log_score']:>11.3f}"
                f"{result['roc_auc']:>9.4f}{result['average_precision']:>19.4f}",
                flush=True,
            )
    return results


def build():
    """Builds the program and the model alone, and says where they are."""
    command = f"{CARGO} build --release --bin surprisal --example peers --message-format json-render-diagnostics".split()
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = {made["target"]["name"]: made["executable"] for made in map(json.loads, lines) if made.get("executable")}
    return built["surprisal"], built["peers"]
