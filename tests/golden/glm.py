"""Writes glm.json: posteriors of three generalised linear models by long runs of NUTS, with the data that they are of.

Each model has 600 rows to learn from and 100 to be scored, of five correlated inputs. The linear predictor is
`intercept + Σ_j coefficient_j (x_j - location_j) / scale_j`, with locations and scales as given, and a prior N(0, prior_scale²) on every
coefficient and intercept alike. A softmax has such a predictor for each class, all of them free (no class is the reference): what
all classes have in common stays at the prior, so `contrast_mean` and `contrast_sd` are of the weights less their mean over classes.

Numbers are rounded as they are stored before the chains see them. What Monte Carlo leaves uncertain is given as
`mean_error`, the greatest standard error of a mean in units of its posterior standard deviation, and `sd_error`, the same of a standard
deviation.

    python tests/golden/glm.py     (numpy, numpyro 0.22, in double precision)
"""
import json, pathlib
import jax, numpyro
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size, gelman_rubin
from numpyro.infer import MCMC, NUTS

TRAIN, TEST, DIM, CLASSES = 600, 100, 5, 3
PRIOR_SCALE = 2.5
LOCATION = np.array([20.0, -3.0, 0.5, 1000.0, 0.0])
SCALE = np.array([4.0, 0.5, 1.0, 250.0, 0.02])
DECIMALS = [2, 3, 2, 0, 4]
CHAINS, WARMUP, DRAWS = 4, 2000, 25_000

numpyro.enable_x64()


def inputs(random):
    """A common factor and a chain make correlations up to 0.9."""
    z = random.normal(size=(TRAIN + TEST, DIM))
    z = 0.7 * z + 0.6 * random.normal(size=(TRAIN + TEST, 1))
    z[:, 2] = 0.9 * z[:, 1] + 0.4 * z[:, 2]
    z[:, 4] += 0.5 * z[:, 3] ** 2 - 0.4
    return np.stack([np.round(column, decimals) for column, decimals in zip((LOCATION + SCALE * z).T, DECIMALS)], axis=1)


def logistic(random, z):
    eta = -1.2 + z @ np.array([0.9, -0.7, 0.6, 0.0, 0.3])
    return (random.uniform(size=len(z)) < 1 / (1 + np.exp(-eta))).astype(int)


def poisson(random, z):
    return random.poisson(np.exp(0.8 + z @ np.array([0.3, -0.25, 0.3, 0.0, -0.1])))


def softmax(random, z):
    weights = np.array([[0.8, -0.3, 0.0, 0.4, 0.0], [-0.5, 0.6, 0.0, 0.0, 0.3], [0.0, 0.0, -0.6, 0.0, 0.0]])
    eta = np.array([0.6, 0.0, -0.7]) + z @ weights.T
    return np.argmax(eta + random.gumbel(size=eta.shape), axis=1)


LIKELIHOODS = {
    "logistic": (logistic, 1, lambda eta: dist.Bernoulli(logits=eta[..., 0])),
    "poisson": (poisson, 1, lambda eta: dist.Poisson(jnp.exp(eta[..., 0]))),
    "softmax": (softmax, CLASSES, lambda eta: dist.Categorical(logits=eta)),
}


def sample(columns, likelihood, z, y):
    """Draws of [intercept, coefficients], [draw, column, 1 + DIM]."""
    design = jnp.concatenate([jnp.ones((len(z), 1)), z], axis=1)

    def model():
        weights = numpyro.sample("weights", dist.Normal(0, PRIOR_SCALE).expand([columns, 1 + DIM]).to_event(2))
        numpyro.sample("y", likelihood(design @ weights.T), obs=y)

    chains = MCMC(NUTS(model, dense_mass=True), num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS,
                  chain_method="sequential", progress_bar=False)
    chains.run(jax.random.PRNGKey(0))
    return np.asarray(chains.get_samples(group_by_chain=True)["weights"])


def predictive(likelihood, draws, z, y):
    """Per row: ln E p(y | eta) and the standard deviation of ln p(y | eta) over the posterior."""
    design = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    thinned = draws[::4]
    logs = np.stack([np.asarray(likelihood(jnp.asarray(thinned @ row)).log_prob(int(value))) for row, value in zip(design, y)])
    most = logs.max(axis=1, keepdims=True)
    return most[:, 0] + np.log(np.exp(logs - most).mean(axis=1)), logs.std(axis=1)


def summary(chains):
    draws = chains.reshape(-1, *chains.shape[2:])
    mean, sd = draws.mean(axis=0), draws.std(axis=0)
    squares = (chains - mean) ** 2
    of_a_square = squares.reshape(draws.shape).std(axis=0) / np.sqrt(effective_sample_size(squares))
    return {
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "mean_error": float((1 / np.sqrt(effective_sample_size(chains))).max()),
        "sd_error": float((of_a_square / (2 * sd**2)).max()),
        "gelman_rubin": float(gelman_rubin(chains).max()),
    }


def main():
    out = {"prior_scale": PRIOR_SCALE, "location": LOCATION.tolist(), "scale": SCALE.tolist()}
    for seed, (name, (target, columns, likelihood)) in enumerate(LIKELIHOODS.items()):
        random = np.random.default_rng(seed)
        x = inputs(random)
        z = (x - LOCATION) / SCALE
        y = target(random, z)
        chains = sample(columns, likelihood, z[:TRAIN], y[:TRAIN])
        draws = chains.reshape(-1, columns, 1 + DIM)
        log_density, spread = predictive(likelihood, draws, z[TRAIN:], y[TRAIN:])
        out[name] = {
            "inputs": x.tolist(),
            "targets": y.tolist(),
            **summary(chains),
            **({f"contrast_{key}": value for key, value in summary(chains - chains.mean(axis=2, keepdims=True)).items()} if columns > 1 else {}),
            "log_densities": np.round(log_density, 5).tolist(),
            "log_density_sds": np.round(spread, 5).tolist(),
        }
        print(name, {key: value for key, value in out[name].items() if "error" in key or "rubin" in key}, log_density.mean(), np.bincount(y))
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
