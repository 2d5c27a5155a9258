"""Writes mixture.json: held-out log densities of scikit-learn's BayesianGaussianMixture, fitted on all of what the streaming mixture
sees in one pass. The data come from a counter-based generator that tests/mixture/ repeats.

    python tests/golden/mixture.py     (numpy, scikit-learn)
"""
import json, pathlib
import numpy as np
from sklearn.mixture import BayesianGaussianMixture

DIM, TRAIN, TEST = 4, 20_000, 5_000
WEIGHTS = [0.35, 0.25, 0.2, 0.12, 0.08]


def uniform(index):
    """SplitMix64 of a counter, in (0, 1)."""
    with np.errstate(over="ignore"):
        z = (np.asarray(index, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53 + 2.0**-54


def normal(index):
    index = np.asarray(index, np.uint64)
    two, one = np.uint64(2), np.uint64(1)
    return np.sqrt(-2 * np.log(uniform(two * index))) * np.cos(2 * np.pi * uniform(two * index + one))


def rows(full):
    count, base = TRAIN + TEST, np.uint64(1 << 40)
    event = np.arange(count, dtype=np.uint64)
    cluster = np.searchsorted(np.cumsum(WEIGHTS)[:-1], uniform(base + event), side="right").astype(np.uint64)
    noise = normal(event[:, None] * np.uint64(DIM) + np.arange(DIM, dtype=np.uint64))
    column = np.arange(DIM, dtype=np.uint64)
    centre = 4 * normal(np.uint64(1 << 41) + cluster[:, None] * np.uint64(8) + column)
    scale = 0.5 + uniform(np.uint64(1 << 42) + cluster[:, None] * np.uint64(8) + column)
    if full:
        noise[:, 1:] = 0.6 * noise[:, :-1] + 0.8 * noise[:, 1:]
    return 100 + centre + scale * noise


def main():
    out = {}
    for name, kind in [("diagonal", "diag"), ("full", "full")]:
        data = rows(name == "full")
        fit = BayesianGaussianMixture(n_components=10, covariance_type=kind, n_init=3, max_iter=1000, random_state=0).fit(data[:TRAIN])
        out[name] = {
            "held_out_log_density": float(fit.score_samples(data[TRAIN:]).mean()),
            "first_row": data[0].tolist(),
            "last_row": data[-1].tolist(),
        }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
