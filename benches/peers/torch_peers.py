"""The peers that are written in PyTorch: Pyro's stochastic variational inference, and IVON by its authors' package. The same models, steps
and settings as in JAX; draws of the weights to score with are taken in one product."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from ivon import IVON
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal, init_to_sample, init_to_value

import mixtures
import regressions
from autoencoders import HIDDEN, LATENT
from measure import SEED, timed
from networks import DRAWS, in_units, shapes
from stream import COLUMNS, COMPONENTS, ROWS, standardised

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def streaming(begin, rows, batch):
    """`begin` returns a function that scores a batch of tensors and learns it."""

    def begin_in_numpy():
        torch.manual_seed(SEED)
        learn = begin()
        return lambda events: learn(torch.from_numpy(events)).numpy()

    return timed(begin_in_numpy, rows.astype(np.float32), batch)


def svi(model, guide, score, rows, batch, rate=0.01):
    """`guide` makes a new guide. `score(guide, batch)` gives each row's log density by what was learnt before."""

    def begin():
        pyro.clear_param_store()
        own = guide()
        inference = SVI(model, own, pyro.optim.Adam({"lr": rate}), Trace_ELBO())

        def learn(events):
            if not pyro.get_param_store():
                scores = torch.zeros(len(events))  # nothing is set up before the first step, as rows before the clock runs
            else:
                with torch.no_grad():
                    scores = score(own, events)
            inference.step(events)
            return scores

        return learn

    return streaming(begin, rows, batch)


def linear_regression(rows, batch):
    """AutoNormal, scored at the guide's median."""
    standard, _ = standardised(rows)

    def density(events, weights, bias, scale):
        return dist.Normal(events[:, :-1] @ weights + bias, scale)

    def model(events):
        weights = pyro.sample("weights", dist.Normal(torch.zeros(COLUMNS - 1), 1).to_event(1))
        bias = pyro.sample("bias", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.LogNormal(-0.5, 1.0))
        with pyro.poutine.scale(scale=ROWS / len(events)), pyro.plate("events", len(events)):
            pyro.sample("y", density(events, weights, bias, scale), obs=events[:, -1])

    def score(guide, events):
        return density(events, **guide.median()).log_prob(events[:, -1])

    *costs, scores = svi(model, lambda: AutoNormal(model, init_scale=0.1), score, standard, batch)
    return *costs, scores - regressions.target_unit(rows)


def forward(layers, x):
    """Of one network, or of several at once."""
    for index, (weights, bias) in enumerate(layers):
        x = x @ weights + bias.unsqueeze(-2)
        if index + 1 < len(layers):
            x = torch.relu(x)
    return x


def likelihood(out, ln_scale, classes):
    return dist.Categorical(logits=out) if classes else dist.Normal(out[..., 0], torch.exp(ln_scale))


def target(events, classes):
    return events[:, -1].long() if classes else events[:, -1]


def mean_density(layers, ln_scale, events, classes):
    """Of as many networks as the layers' first axis is long."""
    out = forward(layers, events[:, :-1])
    densities = likelihood(out, ln_scale.reshape(-1, 1), classes).log_prob(target(events, classes))
    return torch.logsumexp(densities, 0) - np.log(len(out))


def network_svi(rows, batch, classes=0, rate=0.01):
    """AutoNormal and Adam; weights' priors have variance 1 / fan-in."""
    count, sizes = len(rows), shapes(rows.shape[1] - 1, classes or 1)

    def model(events):
        layers = []
        for index, (kernel, bias) in enumerate(sizes):
            layers.append((
                pyro.sample(f"w{index}", dist.Normal(torch.zeros(kernel), kernel[0] ** -0.5).to_event(2)),
                pyro.sample(f"b{index}", dist.Normal(torch.zeros(bias), 1.0).to_event(1)),
            ))
        ln_scale = torch.zeros(()) if classes else pyro.sample("ln_scale", dist.Normal(0.0, 1.0))
        with pyro.poutine.scale(scale=count / len(events)), pyro.plate("events", len(events)):
            pyro.sample("y", likelihood(forward(layers, events[:, :-1]), ln_scale, classes), obs=target(events, classes))

    def score(guide, events):
        def drawn(name):
            loc, scale = guide._get_loc_and_scale(name)
            return loc + scale * torch.randn(DRAWS, *loc.shape)

        layers = [(drawn(f"w{index}"), drawn(f"b{index}")) for index in range(len(sizes))]
        return mean_density(layers, torch.zeros(1) if classes else drawn("ln_scale"), events, classes)

    return svi(model, lambda: AutoNormal(model, init_loc_fn=init_to_sample, init_scale=0.01), score, rows, batch, rate)


def network_ivon(rows, batch, classes=0, rate=0.1, curvature=0.1):
    """The effective sample size is the stream's length, the prior's precision 1, one draw a step."""
    count, sizes = len(rows), shapes(rows.shape[1] - 1, classes or 1)

    def begin():
        weights = [torch.nn.Parameter(kernel[0] ** -0.5 * torch.randn(kernel)) for kernel, _ in sizes]
        biases = [torch.nn.Parameter(torch.zeros(bias)) for _, bias in sizes]
        ln_scale = torch.nn.Parameter(torch.zeros(()))
        everything = [*weights, *biases, ln_scale]
        used = everything[:-1] if classes else everything
        optimiser = IVON(used, lr=rate, ess=count, hess_init=curvature, weight_decay=1 / count)

        def learn(events):
            drawn = []
            with torch.no_grad():
                for _ in range(DRAWS):
                    with optimiser.sampled_params():
                        drawn.append([parameter.clone() for parameter in everything])
                *layers, scale = map(torch.stack, zip(*drawn))
                scores = mean_density(list(zip(layers[: len(sizes)], layers[len(sizes) :])), scale, events, classes)
            with optimiser.sampled_params(train=True):
                optimiser.zero_grad()
                out = forward(list(zip(weights, biases)), events[:, :-1])
                loss = -likelihood(out, ln_scale, classes).log_prob(target(events, classes)).mean()
                loss.backward()
            optimiser.step()
            return scores

        return learn

    return streaming(begin, rows, batch)


def autoencoder(rows, batch, rate=0.01):
    """Point estimates of all weights, Adam, scored by the importance-weighted bound."""
    standard, ln_units = standardised(rows)
    columns = rows.shape[1]

    def dense(name, x, below, above):
        kernel = pyro.param(f"{name}_w", lambda: below**-0.5 * torch.randn(below, above))
        return x @ kernel + pyro.param(f"{name}_b", lambda: torch.zeros(above))

    def encode(events):
        hidden = torch.relu(dense("encoder", events, columns, HIDDEN))
        return dist.Normal(dense("loc", hidden, HIDDEN, LATENT), torch.exp(dense("ln_scale", hidden, HIDDEN, LATENT)))

    def decode(z):
        hidden = torch.relu(dense("decoder", z, LATENT, HIDDEN))
        ln_noise = pyro.param("ln_noise", lambda: torch.zeros(columns))
        return dist.Normal(dense("out", hidden, HIDDEN, columns), torch.exp(ln_noise))

    def model(events):
        with pyro.poutine.scale(scale=1 / len(events)), pyro.plate("events", len(events)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(events), LATENT), 1.0).to_event(1))
            pyro.sample("x", decode(z).to_event(1), obs=events)

    def guide(events):
        with pyro.poutine.scale(scale=1 / len(events)), pyro.plate("events", len(events)):
            pyro.sample("z", encode(events).to_event(1))

    def score(_, events):
        code = encode(events)
        z = code.sample((DRAWS,))
        weights = decode(z).log_prob(events).sum(-1) + dist.Normal(0.0, 1.0).log_prob(z).sum(-1) - code.log_prob(z).sum(-1)
        return torch.logsumexp(weights, 0) - np.log(DRAWS)

    *costs, scores = svi(model, lambda: guide, score, standard, batch, rate)
    return *costs, scores - ln_units


def mixture(rows, batch, covariance):
    """AutoNormal, scored at the guide's median."""
    standard, ln_units, first, hot = mixtures.initial(rows)
    loc = hot.T @ first / hot.sum(0)[:, None]
    scale = np.sqrt(hot.T @ first**2 / hot.sum(0)[:, None] - loc**2) + 0.1
    values = {"weights": hot.mean(0), "loc": loc, "scale": scale}
    full = covariance == "full"
    if full:
        values["corr"] = np.tile(np.eye(COLUMNS), [COMPONENTS, 1, 1])
    values = {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
    shape = COMPONENTS, COLUMNS

    def density(weights, loc, scale, corr=None):
        parts = dist.MultivariateNormal(loc, scale_tril=scale[..., None] * corr) if full else dist.Normal(loc, scale).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(probs=weights), parts)

    def model(events):
        parts = {
            "weights": pyro.sample("weights", dist.Dirichlet(torch.ones(COMPONENTS))),
            "loc": pyro.sample("loc", dist.Normal(torch.zeros(shape), 3.0).to_event(2)),
            "scale": pyro.sample("scale", dist.LogNormal(torch.full(shape, -0.5), 1.0).to_event(2)),
        }
        if full:
            parts["corr"] = pyro.sample("corr", dist.LKJCholesky(COLUMNS, torch.ones(COMPONENTS)).to_event(1))
        with pyro.poutine.scale(scale=ROWS / len(events)), pyro.plate("events", len(events)):
            pyro.sample("x", density(**parts), obs=events)

    def guide():
        return AutoNormal(model, init_loc_fn=init_to_value(values=values), init_scale=0.01)

    *costs, scores = svi(model, guide, lambda guide, events: density(**guide.median()).log_prob(events), standard, batch)
    return *costs, scores - ln_units


# On real data: name → function of rows, batch and classes.
on_real_data = {"Pyro": network_svi, "IVON in PyTorch": network_ivon}


def peers(rows):
    """Name → function of a batch size, for each model by the first word of its name."""
    return {
        "linear": {"Pyro SVI": lambda batch: linear_regression(rows, batch)},
        "network": {"Pyro SVI": in_units(network_svi, rows), "IVON in PyTorch": in_units(network_ivon, rows)},
        "autoencoder": {"Pyro SVI": lambda batch: autoencoder(rows, batch)},
        "mixture": {
            "Pyro SVI, diagonal": lambda batch: mixture(rows, batch, "diagonal"),
            "Pyro SVI, full": lambda batch: mixture(rows, batch, "full"),
        },
    }
