"""Linear regression of the last column on the others: NumPyro's SVI, and Bayes' rule in closed form in numpy."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import scipy.linalg
from numpyro.infer.autoguide import AutoNormal
from scipy.special import gammaln

from measure import TAUGHT, surprisal, timed
from stream import COLUMNS, ROWS, standardised
from svi import svi


def ours(program, rows, batch):
    kinds = ["number"] * COLUMNS
    return surprisal(program, rows, batch, kinds, f'kind = "linear_regression"\ntarget = "x{COLUMNS - 1}"')


def numpyro_svi(rows, batch):
    """AutoNormal, scored at the guide's median."""
    standard, _ = standardised(rows)

    def model(events):
        weights = numpyro.sample("weights", dist.Normal(0, 1).expand([COLUMNS - 1]).to_event(1))
        bias = numpyro.sample("bias", dist.Normal(0, 1))
        scale = numpyro.sample("scale", dist.LogNormal(-0.5, 1))
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=ROWS / len(events)):
            numpyro.sample("y", dist.Normal(events[:, :-1] @ weights + bias, scale), obs=events[:, -1])

    guide = AutoNormal(model, init_scale=0.1)

    def score(inference, state, key, events):
        at = guide.median(inference.get_params(state))
        return dist.Normal(events[:, :-1] @ at["weights"] + at["bias"], at["scale"]).log_prob(events[:, -1])

    *costs, scores = svi(model, guide, score, standard, batch)
    return *costs, scores - target_unit(rows)


def closed_form(rows, batch):
    """Normal-Inverse-Gamma: sums of products, a Cholesky factor a batch, and Student's t. Double precision."""
    standard, _ = standardised(rows)

    def begin():
        precision, shift, square, shape, rate = np.eye(COLUMNS), np.zeros(COLUMNS), 0.0, 1.0, 1.0

        def learn(events):
            nonlocal precision, shift, square, shape
            x = np.concatenate([events[:, :-1], np.ones((len(events), 1))], 1)
            y = events[:, -1]
            root = np.linalg.cholesky(precision)
            mean = scipy.linalg.cho_solve((root, True), shift, check_finite=False)
            spread = (scipy.linalg.solve_triangular(root, x.T, lower=True, check_finite=False) ** 2).sum(0)
            scale2 = (rate + 0.5 * (square - shift @ mean)) / shape * (1 + spread)
            square_distance = (y - x @ mean) ** 2 / (2 * shape * scale2)
            peak = gammaln(shape + 0.5) - gammaln(shape) - 0.5 * np.log(2 * np.pi * shape * scale2)
            scores = peak - (shape + 0.5) * np.log1p(square_distance)
            precision, shift, square, shape = precision + x.T @ x, shift + x.T @ y, square + y @ y, shape + 0.5 * len(y)
            return scores

        return learn

    *costs, scores = timed(begin, standard, batch)
    return *costs, scores - target_unit(rows)


def target_unit(rows):
    return np.log(rows[:TAUGHT, -1].std())


def peers(program, rows):
    return {
        "Surprisal": lambda batch: ours(program, rows, batch),
        "numpyro SVI": lambda batch: numpyro_svi(rows, batch),
        "numpy closed form": lambda batch: closed_form(rows, batch),
    }
