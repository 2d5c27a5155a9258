"""A variational autoencoder 32-64-8-64-32 with Gaussian columns of learned noise: NumPyro's SVI, scored by the importance-weighted bound."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp

from measure import surprisal
from stream import COLUMNS, ROWS, standardised
from svi import svi

HIDDEN, LATENT = 64, 8
DRAWS = 16


def dense(name, x, below, above):
    kernel = numpyro.param(f"{name}_w", lambda key: below**-0.5 * jax.random.normal(key, (below, above)))
    return x @ kernel + numpyro.param(f"{name}_b", jnp.zeros(above))


def encode(events):
    hidden = jax.nn.relu(dense("encoder", events, events.shape[1], HIDDEN))
    return dense("loc", hidden, HIDDEN, LATENT), jnp.exp(dense("ln_scale", hidden, HIDDEN, LATENT))


def decode(z, columns):
    hidden = jax.nn.relu(dense("decoder", z, LATENT, HIDDEN))
    return dense("out", hidden, HIDDEN, columns), jnp.exp(numpyro.param("ln_noise", jnp.zeros(columns)))


def numpyro_svi(rows, batch, rate=0.01):
    """Point estimates of all weights, Adam."""
    standard, ln_units = standardised(rows)

    def model(events):
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=1 / len(events)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((len(events), LATENT)), 1).to_event(1))
            numpyro.sample("x", dist.Normal(*decode(z, events.shape[1])).to_event(1), obs=events)

    def guide(events):
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=1 / len(events)):
            numpyro.sample("z", dist.Normal(*encode(events)).to_event(1))

    def score(inference, state, key, events):
        with numpyro.handlers.substitute(data=inference.get_params(state)):
            loc, scale = encode(events)
            z = loc + scale * jax.random.normal(key, (DRAWS, *loc.shape))
            weights = dist.Normal(*decode(z, events.shape[1])).log_prob(events).sum(-1) + dist.Normal(0, 1).log_prob(z).sum(-1)
            weights -= dist.Normal(loc, scale).log_prob(z).sum(-1)
        return logsumexp(weights, axis=0) - jnp.log(DRAWS)

    *costs, scores = svi(model, guide, score, standard, batch, rate)
    return *costs, scores - ln_units


def ours(program, rows, batch):
    return surprisal(program, rows, batch, ["number"] * COLUMNS, 'kind = "vae"')


def peers(program, rows):
    return {
        "Surprisal": lambda batch: ours(program, rows, batch),
        "numpyro SVI": lambda batch: numpyro_svi(rows, batch),
    }
