"""NumPyro's stochastic variational inference (Hoffman et al. 2013) as a streaming peer: one jitted call a batch that scores it, then takes
one step of Adam. Single precision, NumPyro's own default; the size of the stream is known to it beforehand."""

import jax
import numpy as np
import numpyro
from numpyro.infer import SVI, Trace_ELBO

from measure import SEED, timed


def svi(model, guide, score, rows, batch, rate=0.01):
    """`model` takes a batch. `score(svi, state, key, batch)` gives each row's log density by what was learnt before."""
    inference = SVI(model, guide, numpyro.optim.Adam(rate), Trace_ELBO())
    rows = rows.astype(np.float32)

    @jax.jit
    def step(state, key, events):
        scores = score(inference, state, key, events)
        return inference.update(state, events)[0], scores

    def begin():
        state = inference.init(jax.random.key(SEED), rows[:batch])
        keys = iter(jax.random.split(jax.random.key(SEED + 1), len(rows) // batch + 2))

        def learn(events):
            nonlocal state
            state, scores = step(state, next(keys), events)
            return np.asarray(scores)

        return learn

    return timed(begin, rows, batch)
