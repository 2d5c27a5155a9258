"""Mixtures of Gaussians: NumPyro's SVI and stepwise EM in numpy."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import scipy.linalg
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.initialization import init_to_value
from sklearn.cluster import KMeans

from measure import TAUGHT, surprisal, timed
from stream import COLUMNS, COMPONENTS, ROWS, standardised
from svi import svi


def initial(rows):
    """Units, and k-means on the first rows in these units: what every peer starts from."""
    standard, ln_units = standardised(rows)
    first = standard[:TAUGHT]
    assigned = KMeans(COMPONENTS, n_init=4, random_state=0).fit_predict(first)
    return standard, ln_units, first, np.eye(COMPONENTS)[assigned]


def ours(program, rows, batch, covariance, components):
    kinds = ["number"] * COLUMNS
    return surprisal(program, rows, batch, kinds, f'[model.mixture]\ncovariance = "{covariance}"\ncomponents = {components}')


def numpyro_svi(rows, batch, covariance):
    """A mixture with AutoNormal, scored at the guide's median, which is cheaper than averaging over draws."""
    standard, ln_units, first, hot = initial(rows)
    shape = [COMPONENTS, COLUMNS]
    loc = hot.T @ first / hot.sum(0)[:, None]
    scale = np.sqrt(hot.T @ first**2 / hot.sum(0)[:, None] - loc**2) + 0.1
    begin = {"weights": hot.mean(0), "loc": loc, "scale": scale}
    full = covariance == "full"
    if full:
        begin["corr"] = np.tile(np.eye(COLUMNS), [COMPONENTS, 1, 1])

    def mixture(weights, loc, scale, corr=None):
        if full:
            parts = dist.MultivariateNormal(loc, scale_tril=scale[:, :, None] * corr)
        else:
            parts = dist.Normal(loc, scale).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(probs=weights), parts)

    def model(events):
        parts = {
            "weights": numpyro.sample("weights", dist.Dirichlet(jnp.ones(COMPONENTS))),
            "loc": numpyro.sample("loc", dist.Normal(0, 3).expand(shape).to_event(2)),
            "scale": numpyro.sample("scale", dist.LogNormal(-0.5, 1).expand(shape).to_event(2)),
        }
        if full:
            parts["corr"] = numpyro.sample("corr", dist.LKJCholesky(COLUMNS).expand([COMPONENTS]).to_event(1))
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=ROWS / len(events)):
            numpyro.sample("x", mixture(**parts), obs=events)

    guide = AutoNormal(model, init_loc_fn=init_to_value(values=begin), init_scale=0.01)

    def score(inference, state, key, events):
        return mixture(**guide.median(inference.get_params(state))).log_prob(events)

    *costs, scores = svi(model, guide, score, standard, batch)
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


def peers(program, rows):
    return {
        "Surprisal, diagonal": lambda batch: ours(program, rows, batch, "diagonal", COMPONENTS),
        "  with 16 (its default)": lambda batch: ours(program, rows, batch, "diagonal", 16),
        "numpyro SVI, diagonal": lambda batch: numpyro_svi(rows, batch, "diagonal"),
        "numpy stepwise EM, diagonal": lambda batch: stepwise_em(rows, batch, "diagonal"),
        "Surprisal, full": lambda batch: ours(program, rows, batch, "full", COMPONENTS),
        "numpyro SVI, full": lambda batch: numpyro_svi(rows, batch, "full"),
        "numpy stepwise EM, full": lambda batch: stepwise_em(rows, batch, "full"),
    }
