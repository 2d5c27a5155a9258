"""Surprisal beside Python programs of its kind: cost and quality on the same rows in the same order, in one run on one core.

Costs are processor time, the median of repeats (of the ranking peers: one run). Every row is scored before it is learnt, by all but
IsolationForest, which is fitted to all of them beforehand. docs/benchmarks.md says what is measured and how to read it.
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import gzip
import json
import platform
import resource
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import river.anomaly
import river.preprocessing
import scipy.linalg
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.initialization import init_to_value
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

ROOT = Path(__file__).resolve().parents[2]
CARGO = os.environ.get("CARGO", "cargo")

SEED = 1
ROWS, COLUMNS, COMPONENTS = 60_000, 32, 8
ANOMALIES = 0.01
SWAPPED = 6  # columns of an anomaly that come from other rows
TAUGHT = 1024  # rows that peers are initialised on, before the clock runs
COUNTED = 10_240  # costs and quality are those of the rows from here on; a whole number of batches
BATCHES = 256, 32
REPEATS = 3
PASSES = 5  # of Surprisal in one process, so that starting it and reading the file weigh little


def planted():
    """Rows of a mixture of correlated Gaussians, in units that differ by column, and which of them are anomalies. An anomaly has some
    columns of other rows: each value is as usual, and only together are they odd."""
    rng = np.random.default_rng(SEED)
    means = rng.normal(size=(COMPONENTS, COLUMNS))
    loadings = rng.normal(size=(COMPONENTS, COLUMNS, 4)) / 2
    component = rng.integers(COMPONENTS, size=ROWS)
    rows = means[component] + 0.5 * rng.normal(size=(ROWS, COLUMNS))
    rows += np.einsum("ndf,nf->nd", loadings[component], rng.normal(size=(ROWS, 4)))
    label = rng.random(ROWS) < ANOMALIES
    normal = rows.copy()
    for row in np.flatnonzero(label):
        columns = rng.choice(COLUMNS, SWAPPED, replace=False)
        rows[row, columns] = normal[rng.integers(ROWS, size=SWAPPED), columns]
    return rows * np.exp(rng.normal(size=COLUMNS)) + 10 * rng.normal(size=COLUMNS), label


def initial(rows):
    """Units, and k-means on the first rows in these units: what every peer starts from."""
    centre, unit = rows[:TAUGHT].mean(0), rows[:TAUGHT].std(0)
    first = (rows[:TAUGHT] - centre) / unit
    assigned = KMeans(COMPONENTS, n_init=4, random_state=0).fit_predict(first)
    return (rows - centre) / unit, np.log(unit).sum(), first, np.eye(COMPONENTS)[assigned]


# The model alone ----------------------------------------------------------------------------------------------------------------


def surprisal(program, rows, batch, covariance, components):
    """Surprisal's mixture, by the program `peers` (benches/peers/model.rs). A pass over all rows less one over the first is what
    the rest cost; starting the process and reading the file count among the first."""
    with tempfile.TemporaryDirectory() as folder:
        first, file, scores = (Path(folder, name) for name in ("first", "rows", "scores"))
        rows[:COUNTED].astype("<f8").tofile(first)
        rows.astype("<f8").tofile(file)

        def seconds(file):
            command = [program, file, COLUMNS, batch, covariance, components, PASSES]
            return statistics.median(child_seconds(command) for _ in range(REPEATS)) / PASSES

        early, whole = seconds(first), seconds(file)
        child_seconds([program, file, COLUMNS, batch, covariance, components, 0, scores])
        return early / COUNTED, (whole - early) / (ROWS - COUNTED), np.fromfile(scores, "<f8")


def numpyro_svi(rows, batch):
    """Stochastic variational inference (Hoffman et al. 2013) as numpyro has it: AutoNormal, Adam, one jitted call a batch that scores
    at the guide's median (cheaper than averaging over draws) and takes one step. Single precision, numpyro's own default."""
    standard, ln_units, first, hot = initial(rows)
    standard = standard.astype(np.float32)
    shares = hot.mean(0)
    loc = hot.T @ first / hot.sum(0)[:, None]
    scale = np.sqrt(hot.T @ first**2 / hot.sum(0)[:, None] - loc**2) + 0.1

    def mixture(weights, loc, scale):
        return dist.MixtureSameFamily(dist.Categorical(probs=weights), dist.Normal(loc, scale).to_event(1))

    def model(events):
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(COMPONENTS)))
        shape = [COMPONENTS, COLUMNS]
        loc = numpyro.sample("loc", dist.Normal(0, 3).expand(shape).to_event(2))
        scale = numpyro.sample("scale", dist.LogNormal(-0.5, 1).expand(shape).to_event(2))
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=ROWS / len(events)):
            numpyro.sample("x", mixture(weights, loc, scale), obs=events)

    guide = AutoNormal(model, init_loc_fn=init_to_value(values={"weights": shares, "loc": loc, "scale": scale}), init_scale=0.01)
    svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())

    @jax.jit
    def step(state, events):
        scores = mixture(**guide.median(svi.get_params(state))).log_prob(events)
        return svi.update(state, events)[0], scores

    def begin():
        state = svi.init(jax.random.key(SEED), standard[:batch])

        def learn(events):
            nonlocal state
            state, scores = step(state, events)
            return np.asarray(scores)

        return learn

    *costs, scores = timed(begin, standard, batch)
    return *costs, scores - ln_units  # back to the columns' own units


def stepwise_em(rows, batch, covariance):
    """Stepwise EM (Cappé & Moulines 2009): s ← (1 − γ) s + γ E[statistics of the batch], then the parameters that fit s. The step
    γ = 1/t weighs all rows alike, as Surprisal does. Double precision, all of it matrix products."""
    standard, ln_units, first, hot = initial(rows)
    full = covariance == "full"
    constant = -0.5 * COLUMNS * np.log(2 * np.pi)

    def expected(r, x):
        squares = np.stack([(x * r[:, k : k + 1]).T @ x for k in range(COMPONENTS)]) if full else r.T @ x**2
        return [sums / len(x) for sums in (r.sum(0), r.T @ x, squares)]

    def joint(s, x):
        share, mean, square = s[0], s[1] / s[0][:, None], s[2] / (s[0][:, None, None] if full else s[0][:, None])
        if not full:
            precision = 1 / (square - mean**2 + 1e-3)
            distance = x**2 @ precision.T - 2 * x @ (mean * precision).T + (mean**2 * precision).sum(1)
            return np.log(share) + constant + 0.5 * (np.log(precision).sum(1) - distance)
        log = np.empty((len(x), COMPONENTS))
        for k in range(COMPONENTS):
            root = np.linalg.cholesky(square[k] - np.outer(mean[k], mean[k]) + 1e-3 * np.eye(COLUMNS))
            white = scipy.linalg.solve_triangular(root, (x - mean[k]).T, lower=True, check_finite=False)
            log[:, k] = np.log(share[k]) + constant - np.log(root.diagonal()).sum() - 0.5 * (white**2).sum(0)
        return log

    def begin():
        s, seen = expected(hot, first), TAUGHT

        def learn(x):
            nonlocal s, seen
            log = joint(s, x)
            top = log.max(1, keepdims=True)
            r = np.exp(log - top)
            total = r.sum(1, keepdims=True)
            seen += len(x)
            step = len(x) / seen
            s = [(1 - step) * old + step * new for old, new in zip(s, expected(r / total, x))]
            return (top + np.log(total))[:, 0]

        return learn

    *costs, scores = timed(begin, standard, batch)
    return *costs, scores - ln_units


def model_alone(program):
    rows, label = planted()
    peers = {
        "Surprisal, diagonal": lambda batch: surprisal(program, rows, batch, "diagonal", COMPONENTS),
        "  with 16 (its default)": lambda batch: surprisal(program, rows, batch, "diagonal", 16),
        "numpyro SVI, diagonal": lambda batch: numpyro_svi(rows, batch),
        "numpy stepwise EM, diagonal": lambda batch: stepwise_em(rows, batch, "diagonal"),
        "Surprisal, full": lambda batch: surprisal(program, rows, batch, "full", COMPONENTS),
        "numpy stepwise EM, full": lambda batch: stepwise_em(rows, batch, "full"),
    }
    print(f"\nThe model alone: {ROWS} rows of {COLUMNS} numbers, {COMPONENTS} components, {label.mean():.1%} anomalies.")
    print(f"Costs in µs an event over the first {COUNTED} rows, and over the rest; ratios and quality are of the rest.")
    print(f"{'':<28}{'batch':>6}{'first':>8}{'rest':>8}{'ratio':>7}{'log score':>11}{'ROC AUC':>9}{'average precision':>19}")
    results = []
    for batch in BATCHES:
        for name, peer in peers.items():
            early, later, scores = peer(batch)
            if name.startswith("Surprisal"):
                ours = later
            result = {"peer": name.strip(), "batch": batch, "us_per_event_first": early * 1e6, "us_per_event": later * 1e6}
            result |= {"ratio": later / ours, "mean_log_score": scores[COUNTED:].mean()}
            result |= ranking(label[COUNTED:], -scores[COUNTED:])
            results.append(result)
            print(
                f"{name:<28}{batch:>6}{early * 1e6:>8.2f}{later * 1e6:>8.2f}{result['ratio']:>6.2f}x{result['mean_log_score']:>11.3f}"
                f"{result['roc_auc']:>9.4f}{result['average_precision']:>19.4f}",
                flush=True,
            )
    return results


# Ranking quality on files -------------------------------------------------------------------------------------------------------


def surprisal_file(program, path, count):
    """`surprisal backtest` with its defaults: processor time of the whole program, unzipping and parsing included."""
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder, "scores.csv")
        command = [program, "backtest", "--input", path, "--label", "label", "--scores", scores, "--log", "error"]
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


def isolation_forest(rows):
    """scikit-learn's IsolationForest (Liu, Ting & Zhou 2008) with its defaults, fitted to all rows, which it then scores: it sees
    the future, and is here for reference."""
    start = time.process_time()
    scores = -IsolationForest(random_state=SEED).fit(rows).score_samples(rows)
    return (time.process_time() - start) / len(rows), scores


def files(program, folder, most):
    """Every labelled file of `folder`, at most `most` rows of each."""
    print(f"\nRanking labelled files, their first {most} rows: ROC AUC | average precision | µs/event")
    names = "Surprisal", "half-space trees", "IsolationForest*"
    print(f"{'':<18}{'rows':>6}{'anomalies':>10}" + "".join(f"{name:>26}" for name in names))
    results = []
    for path in sorted((folder / "tabular").glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", skiprows=1, max_rows=most)
        rows, label = table[:, :-1], table[:, -1] == 1
        peers = surprisal_file(program, path, len(rows)), half_space_trees(rows), isolation_forest(rows)
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


# Measuring ----------------------------------------------------------------------------------------------------------------------


def timed(begin, rows, batch):
    """Processor seconds an event over the first rows and over the rest, the medians of repeats after a run that is not counted,
    which compiles; and the scores. `begin` returns a function that scores a batch and learns it."""
    costs = []
    for _ in range(1 + REPEATS):
        learn, scores = begin(), []
        marks = [time.process_time()]
        for part in rows[:COUNTED], rows[COUNTED:]:
            scores += [learn(part[at : at + batch]) for at in range(0, len(part), batch)]
            marks.append(time.process_time())
        costs.append(np.diff(marks) / [COUNTED, len(rows) - COUNTED])
    return *np.median(costs[1:], axis=0), np.concatenate(scores)


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


def build():
    """Builds the program and the model alone, and says where they are."""
    command = f"{CARGO} build --release --bin surprisal --example peers --message-format json-render-diagnostics".split()
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = {made["target"]["name"]: made["executable"] for made in map(json.loads, lines) if made.get("executable")}
    return built["surprisal"], built["peers"]


def machine():
    """What this runs on, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.processor()]
    facts = {"processor": names[0], "processors": os.cpu_count(), "python": platform.python_version()}
    return facts | {name: version(name) for name in ("jax", "numpy", "numpyro", "river", "scikit-learn")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with tabular/*.csv.gz, last column `label`; without it no file is ranked"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each file that are compared (default: %(default)s)")
    arguments = parser.parse_args()
    program, alone = build()
    if hasattr(os, "sched_setaffinity"):  # Linux only
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = {"machine": machine()}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    results["model_alone"] = model_alone(alone)
    if arguments.data:
        results["files"] = files(program, arguments.data.resolve(), arguments.rows)
    output = ROOT / "target" / "peers.json"
    output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {output.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
