"""Writes robust_regression.json: posterior means and standard deviations of the regression of examples/robust_regression.rs, by a long
NUTS run on all events at once. The data come from a counter-based generator that tests/mean_field/ repeats.

    python tests/golden/robust_regression.py     (numpy, numpyro)
"""
import json, pathlib
import jax, numpy as np, numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

jax.config.update("jax_enable_x64", True)
SIZES = [200, 2_048]
CHAINS, WARMUP, DRAWS = 4, 1_000, 20_000


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


def rows(count):
    """load, users, latency: one event in ten is late by 5 to 25, more often under load."""
    event = np.arange(count, dtype=np.uint64)
    load, users, noise = (normal(np.uint64(3) * event + np.uint64(column)) for column in range(3))
    late = uniform(np.uint64(1 << 40) + event) < np.where(load > 0, 0.15, 0.05)
    delay = np.where(late, 5 + 20 * uniform(np.uint64(1 << 41) + event), 0)
    return np.stack([load, users, 1 + 2 * load - 3 * users + 0.5 * noise + delay], axis=1)


def model(load, users, latency):
    intercept = numpyro.sample("intercept", dist.Normal(0, 10))
    slopes = numpyro.sample("slopes", dist.Normal(0, 10).expand([2]))
    ln_noise = numpyro.sample("ln_noise", dist.Normal(0, 1))
    mean = intercept + slopes[0] * load + slopes[1] * users
    numpyro.sample("latency", dist.StudentT(4, mean, jax.numpy.exp(ln_noise)), obs=latency)


def main():
    out = {}
    for size in SIZES:
        data = rows(size)
        mcmc = MCMC(NUTS(model), num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="sequential", progress_bar=False)
        mcmc.run(jax.random.PRNGKey(0), *data.T)
        chains = mcmc.get_samples(group_by_chain=True)
        draws = np.concatenate([chains["intercept"][..., None], chains["slopes"], chains["ln_noise"][..., None]], axis=-1)
        flat = draws.reshape(-1, 4)
        correlation = np.corrcoef(flat.T) - np.eye(4)
        out[str(size)] = {
            "mean": flat.mean(0).tolist(),
            "sd": flat.std(0).tolist(),
            "least_effective_sample_size": float(min(effective_sample_size(draws))),
            "greatest_correlation": float(abs(correlation).max()),
            "first_row": data[0].tolist(),
            "last_row": data[-1].tolist(),
        }
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
