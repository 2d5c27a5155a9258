"""Writes forecast.json: what a forecast says of the events of a series, each computed anew from all events before it. Nothing is carried from
event to event but how much each has counted: moments are weighted sums over the whole past, regressions are solved as weighted least squares, and
quantiles are found by bisection.

    python tests/golden/forecast.py     (numpy, scipy)
"""
import json, pathlib
import numpy as np
from scipy import optimize, stats

ROWS, STEP_MS = 700, 1_200_000
SHOWN = [0, 1, 2, 5, 21, 22, 60, 150, 299, 300, 301, 304, 400, 401, 450, 505, 611, 699]
BINS, PARENT, HALF_LIFE = (1, 24, 168), (1, 4, 4), 16_000
MEMBERS = [(features, discount) for discount in (0.98, 0.998) for features in (1, 6, 8)]
EDGES = [.003, .01, .03, .06, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 1.2, 1.4, 1.7, 2, 2.3, 2.6, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10, 12, 15, 20]


def series():
    """A day's season with noise that lasts, an outlier, a step; some events have no time, some no value."""
    rng = np.random.default_rng(7)
    time = 1_600_000_000_000 + STEP_MS * np.arange(ROWS)
    x, state = np.empty(ROWS), 0.0
    for t in range(ROWS):
        state = 0.7 * state + rng.normal()
        x[t] = 50 + 8 * np.sin(2 * np.pi * time[t] / 86_400_000) + state + (20 if t >= 400 else 0)
    x[300] += 200
    time = [None if 500 <= t < 510 else int(time[t]) for t in range(ROWS)]
    x = [None if t in (3, 250, 251) else float(x[t]) for t in range(ROWS)]
    return time, x


def softmax(ln_weights):
    weights = np.exp(ln_weights - np.max(ln_weights))
    return weights / weights.sum()


def averaged(densities, count):
    """Weights of members whose past log densities are `densities` [events, members], the latest last."""
    total = np.zeros(count)
    for age, of in enumerate(reversed(densities)):
        total += 0.99**age * np.maximum(of, np.max(of) - 20)
    return total


def place(time):
    if time is None:
        return [0]
    hour = time // 3_600_000
    return [0, hour % 24, hour % 168]


class History:
    """All events with a value so far, and what each has counted."""

    def __init__(self):
        self.x, self.time, self.season = [], [], []
        self.context_weights, self.member_weights, self.step_weights = [], [], []
        self.context_densities, self.member_densities, self.expert_densities, self.tails = [], [], [], []

    def context(self, time):
        """Mixture of levels: weight, ν, mean, scale of each."""
        def moments(level, bin):
            visits = [t for t in range(len(self.x)) if place(self.time[t])[level:level + 1] == [bin]]
            ages = np.arange(len(visits))[::-1]
            weights = np.array([self.context_weights[t][level] for t in visits]) * 2.0 ** (-BINS[level] * ages / HALF_LIFE)
            values = np.array([self.x[t] for t in visits])
            if not len(visits):
                return 0.0, 0.0, 0.0
            mean = np.average(values, weights=weights)
            return weights.sum(), mean, np.average((values - mean) ** 2, weights=weights)

        _, all_mean, all_variance = moments(0, 0)
        least = all_variance + 1e-6 * all_mean**2 + 1e-200
        mean, variance, members = all_mean, least, []
        bins = place(time)
        weights = softmax(averaged(self.context_densities, 3)[: len(bins)])
        for level, bin in enumerate(bins):
            weight, own_mean, own_variance = moments(level, bin)
            count = PARENT[level] + weight
            mean = (PARENT[level] * mean + weight * own_mean) / count
            variance = (PARENT[level] * variance + weight * own_variance) / count
            scale = np.sqrt((max(variance, 0.1 * self.step()) + 1e-9 * least + 1e-200) * (1 + 1 / count))
            members.append((weights[level], max(count, 2), mean, scale, 1 / count))
        return members

    def step(self):
        """Typical square of a step."""
        typical = 0.0
        for i in range(1, len(self.x)):
            counts = sum(0.999**age for age in range(i))
            typical += self.step_weights[i] * ((self.x[i] - self.x[i - 1]) ** 2 - typical) / counts
        return typical

    def recent(self, t, season):
        """Features and prior scatter of event t, whose season is given."""
        x = np.array(self.x[:t])
        step = lambda age: x[t - 1 - age] - x[t - 2 - age] if t - 2 - age >= 0 else 0.0
        mean = lambda gain: x[0] * (1 - gain) ** (t - 1) + sum(gain * (1 - gain) ** (t - 1 - i) * x[i] for i in range(1, t))
        level, spread = x[0], 0.0
        for i in range(1, t):
            gap, window = x[i] - level, min(i + 1, 512)
            level, spread = level + gap / window, spread + (gap**2 - spread) / window
        prior = self.step() + 1e-8 * spread + 1e-12 * level**2 + 1e-100
        last = x[t - 1]
        before = x[0] if t == 1 else self.season[t - 1]
        return np.array([np.sqrt(prior), step(0), step(1), mean(1 / 4) - last, mean(1 / 16) - last, mean(1 / 64) - last,
                         season - last, season - before]), prior

    def dynamics(self, season):
        t = len(self.x)
        phi, prior = self.recent(t, season)
        if not hasattr(self, "phi"):
            self.phi = {}
        weights, members = softmax(averaged(self.member_densities, len(MEMBERS))), []
        past = np.array([self.phi[i] for i in range(1, t)]).reshape(-1, 8)
        y = np.diff(self.x)
        for k, (features, discount) in enumerate(MEMBERS):
            w = np.array([self.member_weights[i][k] for i in range(1, t)]) * discount ** np.arange(t - 1)[::-1]
            F, f = past[:, :features], phi[:features]
            precision = F.T @ (w[:, None] * F) + 0.1 * prior * np.eye(features)
            beta = np.linalg.solve(precision, F.T @ (w * y))
            leverage = f @ np.linalg.solve(precision, f)
            unexplained = max(np.sum(w * y**2) - beta @ precision @ beta, 0) + prior
            scale = np.sqrt(unexplained / (w.sum() + 1) * (1 + leverage))
            members.append((weights[k], max(w.sum() + 1, 2), self.x[-1] + f @ beta, scale, leverage))
        self.phi[t] = phi
        return members, prior

    def recalibrated(self, lower, upper):
        """G of the raw probability, and its slope."""
        edges = 0.5 * np.exp(-np.array(EDGES[::-1]))
        bounds = np.concatenate([[0], edges, 1 - edges[::-1], [1]])
        counts = np.zeros(len(bounds) - 1)
        for age, (low, high) in enumerate(reversed(self.tails)):
            tail = min(low, high) / (low + high)
            inner = min(np.searchsorted(edges, tail, side="left") if tail < edges[-1] else len(edges), len(edges))
            counts[inner if low <= high or inner == len(edges) else len(counts) - 1 - inner] += 2.0 ** (-age / 1000)
        u = lower / (lower + upper)
        total = 20 + counts.sum()
        at = np.searchsorted(bounds, u, side="left") - 1 if u <= 0.5 else np.searchsorted(bounds, u, side="right") - 1
        at = min(max(at, 0), len(counts) - 1)
        width = bounds[at + 1] - bounds[at]
        below = 20 * u + counts[:at].sum() + counts[at] * (u - bounds[at]) / width
        return below / total, (20 + counts[at] / width) / total

    def say(self, time, x):
        """What is said of x, and what it then counts."""
        context = self.context(time)
        season = sum(w * m for w, _, m, _, _ in context)
        dynamics, prior = self.dynamics(season)
        shares = softmax(averaged(self.expert_densities, 2))
        density = lambda members, at: [stats.t.logpdf(at, v, m, s) for _, v, m, s, _ in members]
        mixed = lambda members, at: np.logaddexp.reduce([np.log(w) + d for (w, *_), d in zip(members, density(members, at))])
        cdf = lambda members, at: sum(w * stats.t.cdf(at, v, m, s) for w, v, m, s, _ in members)
        sf = lambda members, at: sum(w * stats.t.sf(at, v, m, s) for w, v, m, s, _ in members)
        everyone = [(share * w, *rest) for share, members in zip(shares, (context, dynamics)) for w, *rest in members]
        raw = cdf(everyone, x), sf(everyone, x)
        probability, slope = self.recalibrated(*raw)
        quantile = lambda p: optimize.brentq(
            lambda at: self.recalibrated(cdf(everyone, at), sf(everyone, at))[0] - p, season - 1e4, season + 1e4, xtol=1e-12, rtol=1e-14)
        spread = self.spread()
        said = {
            "nats": -mixed(everyone, x) - np.log(slope) - np.log(spread),
            "extremity": np.hypot(*(min(-np.log(max(2 * min(cdf(m, x), sf(m, x)), 1e-40)), -np.log(1e-40)) for m in (context, dynamics))),
            "probability": probability,
        }
        if self.row in SHOWN:
            said |= {"expected": quantile(0.5), "lower": quantile(0.05), "upper": quantile(0.95)}
        robust = len(self.x) > 20
        weight = lambda m, s: 1 / (1 + ((x - m) / s) ** 2 / 16) if robust else 1.0
        self.context_weights.append(([weight(m, s) for _, _, m, s, _ in context] + [None, None])[:3])
        self.member_weights.append([weight(m, s) for _, _, m, s, _ in dynamics])
        self.step_weights.append(1 / (1 + (x - self.x[-1]) ** 2 / prior / 25) if robust else 1.0)
        if time is not None:
            self.context_densities.append(density(context, x))
        self.member_densities.append(density(dynamics, x))
        self.expert_densities.append([mixed(context, x), mixed(dynamics, x)])
        self.tails.append(raw)
        self.take(time, x, season)
        return said

    def spread(self):
        weights = np.array([w[0] for w in self.context_weights]) * 2.0 ** (-np.arange(len(self.x))[::-1] / HALF_LIFE)
        mean = np.average(self.x, weights=weights)
        return np.sqrt(max(np.average((np.array(self.x) - mean) ** 2, weights=weights), 0.1 * self.step()))

    def take(self, time, x, season):
        self.x.append(x)
        self.time.append(time)
        self.season.append(season)


def main():
    time, x = series()
    history, said = History(), {}
    for row in range(ROWS):
        history.row = row
        if x[row] is None:
            continue
        if not history.x:
            history.context_weights.append([1.0] * 3)
            history.member_weights.append(None)
            history.step_weights.append(None)
            history.take(time[row], x[row], x[row])
            continue
        if row == 1:
            said[row] = None
            # The first two events don't vary yet: spread is 0.
        told = history.say(time[row], x[row])
        if row in SHOWN:
            said[row] = told
    said = {row: {key: float(value) for key, value in told.items() if np.isfinite(value)} for row, told in said.items() if told}
    text = json.dumps({"time": time, "x": x, "said": said}, indent=1)
    (pathlib.Path(__file__).parent / "forecast.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
