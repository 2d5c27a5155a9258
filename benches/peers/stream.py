"""The stream on which models are compared alone."""

import numpy as np

from measure import SEED, TAUGHT

ROWS, COLUMNS, COMPONENTS = 60_000, 32, 8
ANOMALIES = 0.01
SWAPPED = 6  # columns of an anomaly that come from other rows


def planted():
    """Rows of a mixture of correlated Gaussians, in units that differ by column, and which of them are anomalies. An anomaly has some
    columns of other rows: each value is as usual, and only together are they odd."""
    rng = np.random.default_rng(SEED)
    means = rng.normal(size=(COMPONENTS, COLUMNS))
    loadings = rng.normal(size=(COMPONENTS, COLUMNS, 4)) / 2
    component = rng.integers(COMPONENTS, size=ROWS)
    rows = means[component] + 0.5 * rng.normal(size=(ROWS, COLUMNS))
    rows += np.einsum("ndf,nf->nd", loadings[component], rng.normal(size=(ROWS, 4)))
    label = rng.random(ROWS) < ANOMALIES
    normal = rows.copy()
    for row in np.flatnonzero(label):
        columns = rng.choice(COLUMNS, SWAPPED, replace=False)
        rows[row, columns] = normal[rng.integers(ROWS, size=SWAPPED), columns]
    return rows * np.exp(rng.normal(size=COLUMNS)) + 10 * rng.normal(size=COLUMNS), label


def standardised(rows):
    """Rows in units of the first of them, and `Σ ln unit`: densities in the columns' own units are so much lower."""
    centre, unit = rows[:TAUGHT].mean(0), rows[:TAUGHT].std(0)
    return (rows - centre) / unit, np.log(unit).sum()
