#!/usr/bin/env python3
"""Severities of a synthetic stream, by the definition: nothing is kept but the list of all levels and their weights.

golden.py > golden.txt     (Python 3, no packages)
"""
import math

WINDOW, MEMORY, TAIL, PRIOR, PROTECTED, WIDTH = 20, 4000, 0.02, 4.0, 2e-3, 0.05
REST, MARGIN, LEAST, TOLERANCE = 350, 1.3, 0.3, 0.15


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


bar = fall = 0.0
past = []
for at, p in enumerate(probabilities(averages(extremities(6000)))):
    evidence = max(0.0, -math.log10(p) - math.log10((at + 1) / 1000))
    bar = max(bar - fall, 0.0)
    if evidence > bar * MARGIN and evidence > LEAST:
        as_severe = sum(1 for other in past if math.floor(other / WIDTH) >= math.floor((evidence - TOLERANCE) / WIDTH))
        past.append(evidence)
        bar, fall = evidence, evidence / REST
        severity = max(0.0, evidence - math.log10(1 + as_severe))
        if severity > 0:
            print(at, repr(severity))
