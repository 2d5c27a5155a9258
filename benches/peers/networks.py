"""A Bayesian network that predicts one column from the others: mean-field Gaussian weights, two hidden layers of 64, learned noise, 16
draws to score. NumPyro's SVI and IVON (Shen et al. 2024) in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.infer.autoguide import AutoNormal

from measure import SEED, TAUGHT, surprisal, timed
from stream import COLUMNS, standardised
from svi import svi

HIDDEN = 64
DRAWS = 16


def shapes(inputs, outputs):
    sizes = [inputs, HIDDEN, HIDDEN, outputs]
    return [((below, above), (above,)) for below, above in zip(sizes, sizes[1:])]


def forward(layers, x):
    for weights, bias in layers[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = layers[-1]
    return x @ weights + bias


def likelihood(out, ln_scale, classes):
    return dist.Categorical(logits=out) if classes else dist.Normal(out[..., 0], jnp.exp(ln_scale))


def target(events, classes):
    return events[:, -1].astype(jnp.int32) if classes else events[:, -1]


def numpyro_svi(rows, batch, classes=0, rate=0.01):
    """AutoNormal and Adam; weights' priors have variance 1 / fan-in."""
    count = len(rows)

    def model(events):
        layers = []
        for index, (kernel, bias) in enumerate(shapes(rows.shape[1] - 1, classes or 1)):
            spread = kernel[0] ** -0.5
            layers.append((
                numpyro.sample(f"w{index}", dist.Normal(0, spread).expand(kernel).to_event(2)),
                numpyro.sample(f"b{index}", dist.Normal(0, 1).expand(bias).to_event(1)),
            ))
        ln_scale = 0.0 if classes else numpyro.sample("ln_scale", dist.Normal(0, 1))
        with numpyro.plate("events", len(events)), numpyro.handlers.scale(scale=count / len(events)):
            numpyro.sample("y", likelihood(forward(layers, events[:, :-1]), ln_scale, classes), obs=target(events, classes))

    def initial(site=None):
        # Random weights break the symmetry between units; the guide's own default draws them uniform in (-2, 2).
        return numpyro.infer.init_to_sample(site)

    guide = AutoNormal(model, init_loc_fn=initial, init_scale=0.01)

    def score(inference, state, key, events):
        draws = guide.sample_posterior(key, inference.get_params(state), sample_shape=(DRAWS,))

        def density(draw):
            layers = [(draw[f"w{index}"], draw[f"b{index}"]) for index in range(3)]
            out = forward(layers, events[:, :-1])
            return likelihood(out, draw.get("ln_scale", 0.0), classes).log_prob(target(events, classes))

        return logsumexp(jax.vmap(density)(draws), axis=0) - jnp.log(DRAWS)

    return svi(model, guide, score, rows, batch, rate)


def ivon(rows, batch, classes=0, rate=0.1, beta1=0.9, beta2=0.99999, curvature=0.1):
    """Improved variational online Newton as published (algorithm 1), with its authors' defaults: the effective sample size is the
    stream's length, the prior's precision 1, one draw a step."""
    count, decay = len(rows), 1.0 / len(rows)
    rate *= curvature + decay  # the authors' package rescales it so
    rows = rows.astype(np.float32)
    layers = shapes(rows.shape[1] - 1, classes or 1)

    def loss(weights, events):
        layers, ln_scale = weights
        out = forward(layers, events[:, :-1])
        return -likelihood(out, ln_scale, classes).log_prob(target(events, classes)).mean()

    def drawn(mean, spread, key):
        leaves, tree = jax.tree.flatten(mean)
        keys = jax.tree.unflatten(tree, list(jax.random.split(key, len(leaves))))
        return jax.tree.map(lambda m, s, k: m + s * jax.random.normal(k, m.shape), mean, spread, keys)

    @jax.jit
    def step(state, key, t, events):
        mean, hessian, momentum = state
        spread = jax.tree.map(lambda h: (count * (h + decay)) ** -0.5, hessian)
        keys = jax.random.split(key, DRAWS + 1)

        def density(key):
            layers, ln_scale = drawn(mean, spread, key)
            return likelihood(forward(layers, events[:, :-1]), ln_scale, classes).log_prob(target(events, classes))

        scores = logsumexp(jax.vmap(density)(keys[1:]), axis=0) - jnp.log(DRAWS)
        sample = drawn(mean, spread, keys[0])
        gradient = jax.grad(loss)(sample, events)
        estimate = jax.tree.map(lambda g, w, m, s: g * (w - m) / s**2, gradient, sample, mean, spread)
        momentum = jax.tree.map(lambda v, g: beta1 * v + (1 - beta1) * g, momentum, gradient)
        hessian = jax.tree.map(
            lambda h, e: beta2 * h + (1 - beta2) * e + 0.5 * (1 - beta2) ** 2 * (h - e) ** 2 / (h + decay), hessian, estimate
        )
        mean = jax.tree.map(
            lambda m, v, h: m - rate * (v / (1 - beta1**t) + decay * m) / (h + decay), mean, momentum, hessian
        )
        return (mean, hessian, momentum), scores

    def begin():
        keys = jax.random.split(jax.random.key(SEED), len(rows) // batch + 2 + len(layers))
        mean = [
            (kernel[0] ** -0.5 * jax.random.normal(key, kernel), jnp.zeros(bias)) for key, (kernel, bias) in zip(keys, layers)
        ], jnp.zeros(())
        state = mean, jax.tree.map(lambda m: jnp.full(m.shape, curvature), mean), jax.tree.map(jnp.zeros_like, mean)
        t = 0

        def learn(events):
            nonlocal state, t
            t += 1
            state, scores = step(state, keys[len(layers) + t - 1], t, events)
            return np.asarray(scores)

        return learn

    return timed(begin, rows, batch)


def ours(program, rows, batch):
    kinds = ["number"] * COLUMNS
    return surprisal(program, rows, batch, kinds, f'kind = "neural_network"\ntarget = "x{COLUMNS - 1}"')


def in_units(peer, rows):
    """`peer` on standardised rows, its log densities in the target's own units."""
    standard, _ = standardised(rows)
    unit = np.log(rows[:TAUGHT, -1].std())

    def run(batch):
        *costs, scores = peer(standard, batch)
        return *costs, scores - unit

    return run


def peers(program, rows):
    return {
        "Surprisal": lambda batch: ours(program, rows, batch),
        "numpyro SVI": in_units(numpyro_svi, rows),
        "IVON in JAX": in_units(ivon, rows),
    }
