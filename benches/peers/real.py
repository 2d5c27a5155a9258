"""The network and the autoencoder on real data: the same single pass over the same rows by Surprisal and by its peers, compared by the log
score of rows not yet seen. Nothing is tuned to a set."""

import gzip
import warnings

import numpy as np
from sklearn.datasets import load_digits

import autoencoders
import networks
from measure import TAUGHT, surprisal_scores

BATCHES = 32, 256
LEAST = 3_000  # rows of a file


def varied(rows):
    """Columns that vary among the first rows, by more than rounding, in units of these."""
    centre, unit = rows[:TAUGHT].mean(0), rows[:TAUGHT].std(0)
    varies = unit > 1e-9 * (1 + abs(centre))
    return (rows[:, varies] - centre[varies]) / unit[varies]


def tables(folder, most):
    """Name, rows and how many classes the last column has: 0 for a number."""
    for path in sorted((folder / "tabular").glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", skiprows=1, max_rows=most)
        if len(table) >= LEAST:
            yield path.name.removesuffix(".csv.gz"), varied(table[:, :-1]), 0
    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.target))
    yield "digits", np.column_stack([varied(digits.data[order]), digits.target[order]]), 10


def network(program, rows, classes, batch, more):
    kinds = ["number"] * (rows.shape[1] - 1) + ["category" if classes else "number"]

    def ours(optimiser):
        model = f'kind = "neural_network"\ntarget = "x{len(kinds) - 1}"\n[model.neural_network]\noptimiser = "{optimiser}"'
        return surprisal_scores(program, rows, kinds=kinds, batch=batch, model=model)

    variants = {"Surprisal": "newton", "  by ivon": "ivon", "  by adam": "adam", "  by sgd": "sgd"}
    peers = {"NumPyro": networks.numpyro_svi, "IVON in JAX": networks.ivon} | more
    return {name: ours(optimiser) for name, optimiser in variants.items()} | {name: peer(rows, batch, classes)[-1] for name, peer in peers.items()}


def autoencoder(program, rows, batch):
    ours = surprisal_scores(program, rows, kinds=["number"] * rows.shape[1], batch=batch, model='kind = "vae"')
    return {"Surprisal": ours, "NumPyro": autoencoders.numpyro_svi(rows, batch)[-1]}


def real(program, folder, most, more):
    """Every file of `folder` with rows enough, and scikit-learn's digits: mean log score after the first rows, and the median. `more` are
    peers of the network."""
    warnings.filterwarnings("ignore", message="divide by zero|invalid value")
    print(f"\nReal data, at most {most} rows of each: mean log score of the rows after the first {TAUGHT} | median")
    results = []
    for name, rows, classes in tables(folder, most):
        for batch in BATCHES:
            models = {"network": network(program, rows, classes, batch, more)}
            if not classes:
                models["autoencoder"] = autoencoder(program, rows, batch)
            for model, peers in models.items():
                later = {peer: scores[TAUGHT:] for peer, scores in peers.items()}
                print(f"{name:<18}{model:<13}{batch:>4}", end="")
                print(*(f"{peer:>16} {s.mean():>9.3f} |{np.median(s):>8.3f}" for peer, s in later.items()), flush=True)
                quality = {peer: {"mean": float(s.mean()), "median": float(np.median(s))} for peer, s in later.items()}
                results.append({"set": name, "rows": len(rows), "model": model, "batch": batch} | quality)
    return results
