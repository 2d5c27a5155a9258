"""Surprisal beside programs of its kind: cost and quality on the same rows in the same order, in one run on one core.

Costs are processor time, the median of repeats (of the ranking peers: one run). Every row is scored before it is learnt, by all but
IsolationForest, which is fitted to all of them beforehand. docs/benchmarks.md says what is measured and how to read it.
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path

import autoencoders
import files
import measure
import mixtures
import networks
import real
import regressions
import stream

BATCHES = 256, 32
MODELS = {
    "linear regression": regressions,
    "network 31-64-64-1": networks,
    "autoencoder 32-64-8-64-32": autoencoders,
    f"mixture of {stream.COMPONENTS}": mixtures,
}


def machine(with_torch):
    """What this runs on, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.processor()]
    facts = {"processor": names[0], "processors": os.cpu_count(), "python": platform.python_version()}
    names = ["jax", "numpy", "numpyro", "river", "scikit-learn"] + ["ivon-opt", "pyro-ppl", "torch"] * with_torch
    facts |= {name: version(name) for name in names}
    return facts | {"randomcutforest": files.RANDOM_CUT_FOREST}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with tabular/*.csv.gz, last column `label`; without it no file is ranked"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each file that are compared (default: %(default)s)")
    parser.add_argument("--only", help="compare only models whose name contains this")
    parser.add_argument("--torch", action="store_true", help="compare with Pyro and the authors' IVON too: some gigabytes to install")
    arguments = parser.parse_args()
    if arguments.torch:
        import torch_peers
    program, alone = measure.build()
    if hasattr(os, "sched_setaffinity"):  # Linux only
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    beside = torch_peers.peers if arguments.torch else lambda rows: {}
    results = {"machine": machine(arguments.torch)}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    rows, label = stream.planted()
    print(f"{len(rows)} rows of {rows.shape[1]} numbers, {label.mean():.1%} anomalies. Costs in µs an event over the first", end=" ")
    print(f"{measure.COUNTED} rows, and over the rest; ratios and quality are of the rest.")
    for name, peers in MODELS.items():
        if not arguments.only or arguments.only in name:
            crowd = peers.peers(alone, rows) | beside(rows).get(name.split()[0], {})
            # Each behind the Surprisal that it is compared with.
            crowd = dict(sorted(crowd.items(), key=lambda peer: peer[0].endswith(", full")))
            results[name] = measure.compare(name.capitalize(), crowd, BATCHES, label)
    if arguments.data and (not arguments.only or arguments.only in "real data"):
        results["real data"] = real.real(alone, arguments.data.resolve(), arguments.rows, torch_peers.on_real_data if arguments.torch else {})
    if arguments.data and (not arguments.only or arguments.only in "files"):
        results["files"] = files.files(program, arguments.data.resolve(), arguments.rows)
    output = measure.ROOT / "target" / "peers.json"
    output.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {output.relative_to(measure.ROOT)}")


if __name__ == "__main__":
    main()
