"""Writes nab.json: small series with every case that is easily got wrong, and their NAB scores by brute force: for each possible
threshold, each window's best detection and each false one are looked for anew, as the benchmark's definition words it.

    python tests/golden/nab.py     (standard library only)
"""
import json, math, pathlib, random

PROFILES = {
    "standard": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11},
    "reward_low_FP_rate": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.22},
    "reward_low_FN_rate": {"tpWeight": 1.0, "fnWeight": 2.0, "fpWeight": 0.11},
}


def s(y):
    return -1.0 if y > 3 else 2 / (1 + math.exp(5 * y)) - 1


def utility(series, threshold, profile):
    """What the detections at a threshold are worth, and the number of windows that could have been detected."""
    total = 0.0
    for one in series:
        times, scores = one["times"], one["scores"]
        grace = min(math.floor(0.15 * len(times)), 750)
        spans = [(times.index(a), times.index(b)) for a, b in one["windows"]]
        hits = [i for i in range(grace, len(times)) if scores[i] >= threshold]
        for l, r in spans:
            if r >= grace:
                inside = [s(-(r - i + 1) / (r - l + 1)) / s(-1) for i in hits if l <= i <= r]
                total += profile["tpWeight"] * max(inside) if inside else -profile["fnWeight"]
        for i in hits:
            if not any(l <= i <= r for l, r in spans):
                past = [(l, r) for l, r in spans if r < i]
                y = math.inf if past and past[-1][0] == past[-1][1] else None
                if past and y is None:
                    l, r = past[-1]
                    y = (i - r) / (r - l)
                total += profile["fpWeight"] * (s(y) if past else -1.0)
    return total


def final(series, profile):
    thresholds = sorted({x for one in series for x in one["scores"]}) + [math.inf]
    null = utility(series, math.inf, profile)
    best = max(utility(series, t, profile) for t in thresholds)
    return 100 * (best - null) / (profile["tpWeight"] * sum(len(one["windows"]) for one in series) - null)


def case(name, *series):
    return {"name": name, "series": list(series), "scores": {p: final(series, w) for p, w in PROFILES.items()}}


def series(seed, rows, windows, levels=1000, times=None):
    """Scores are higher inside windows, in steps of 1/levels; a window is first and last row, which have these times."""
    draw = random.Random(seed)
    times = times or [60 * i for i in range(rows)]
    inside = lambda i: any(l <= i <= r for l, r in windows)
    scores = [round((draw.random() ** (1 if inside(i) else 4)) * levels) / levels for i in range(rows)]
    return {"times": times, "scores": scores, "windows": [[times[l], times[r]] for l, r in windows]}


two = series(1, 80, [(20, 29), (50, 61)])
twice = [60 * (i - i % 2) for i in range(60)]
cases = [
    case("two windows", two),
    case("a series without windows beside one with", series(2, 60, []), two),
    case("a window within probation", series(3, 100, [(4, 9), (60, 70)])),
    case("a window that begins in probation", series(4, 100, [(10, 24)])),
    case("ties", series(5, 90, [(30, 45)], levels=3), series(6, 70, [(20, 25), (40, 59)], levels=3)),
    case("all the same", series(7, 50, [(20, 30)], levels=1e-9)),
    case("times that come twice", series(8, 60, [(20, 32), (44, 50)], times=twice)),
    case("a window of one row", series(9, 60, [(20, 20), (50, 50)])),
    case("a window at the end", series(10, 60, [(50, 59)])),
    case("windows side by side", series(11, 60, [(20, 29), (30, 39)])),
    case("probation of 750 rows", series(12, 5400, [(745, 760), (2000, 2100)], levels=40)),
]
text = json.dumps({"profiles": PROFILES, "cases": cases}, separators=(",", ":")).replace("},{", "},\n{")
pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")
