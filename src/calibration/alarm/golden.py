#!/usr/bin/env python3
"""Severities of a synthetic stream, by the definition: nothing is kept but the list of all levels and their weights.

golden.py > golden.txt     (Python 3, no packages)
"""
import math

WINDOW, MEMORY, TAIL, PRIOR, PROTECTED, WIDTH = 20, 4000, 0.02, 4.0, 2e-3, 0.05
REST, MARGIN, LEAST, TOLERANCE = 350, 1.65, 0.3, 0.15
GAP_MS, COLD = 300_000, 100


def extremities(count):
    state = 1
    for at in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        uniform = ((state >> 11) + 0.5) / 2**53
        yield -math.log(uniform) * (6.0 if at % 700 > 680 else 1.0)


def probabilities(levels):
    """Tail probability of each level among those before it."""
    fade = 0.5 ** (1 / MEMORY)
    bins, threshold, count, excess = {}, None, 0.0, 0.0
    for level in levels:
        bin = math.floor(level / WIDTH)
        total = sum(bins.values())
        if threshold is None:
            threshold, p = bin, 1.0
        else:
            above = lambda edge: sum(weight for b, weight in bins.items() if b > edge)
            # The threshold moves as far as it must, and back as far as it can.
            while above(threshold) > TAIL * total:
                threshold += 1
            while threshold > min(bins) - 1 and above(threshold - 1) <= TAIL * total:
                threshold -= 1
            if bin > threshold:
                beyond = level - (threshold + 1) * WIDTH
                p = (above(threshold) + 0.5) / (total + 1) * ((PRIOR + excess) / (PRIOR + excess + beyond)) ** (PRIOR + count)
            else:
                p = (above(bin) + 0.5 * bins.get(bin, 0.0) + 0.5) / (total + 1)
        yield p
        weight = min(1.0, p / PROTECTED)
        bins[bin] = bins.get(bin, 0.0) + weight
        if bin > threshold:
            count += weight
            excess += weight * (level - (threshold + 1) * WIDTH)
        bins = {b: weight * fade for b, weight in bins.items()}
        count, excess = count * fade, excess * fade


def averages(values):
    mean = None
    for value in values:
        mean = value if mean is None else mean
        mean += (value - mean) / WINDOW
        yield mean


def evidences():
    for at, p in enumerate(probabilities(averages(extremities(6000)))):
        weekly = 7 * 86_400_000 / GAP_MS
        yield 0.0 if at < COLD else max(0.0, -math.log10(p) - math.log10(min(at + 1, MEMORY) / 1000) - min(max(math.log10(weekly / 1000), -1), 1))


past, rise, last = [], [], None
for at, evidence in enumerate(evidences()):
    if rise and evidence <= rise[-1]:
        # It no longer gets worse.
        peak = rise[-1]
        as_severe = sum(1 for other in past if math.floor(other / WIDTH) >= math.floor((peak - TOLERANCE) / WIDTH))
        past.append(peak)
        last, rise = (at - 1, peak), []
        severity = max(0.0, peak - math.log10(1 + as_severe))
        if severity > 0:
            print(at, repr(severity))
    elif rise:
        rise.append(evidence)
    else:
        bar = max(last[1] * (1 - (at - last[0]) / REST), 0.0) if last else 0.0
        if evidence > bar * MARGIN and evidence > LEAST:
            rise = [evidence]
