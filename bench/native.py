"""Rows about regressions, which never wake R."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
from measure import Peer, Row, alternate, timed, write_columns

_IMPORT = """
import time, numpy, pandas
start = time.perf_counter()
import pymer4
print(time.perf_counter() - start)
"""


def import_seconds() -> list[Row]:
    """Return the row of `import pymer4` in new processes that have NumPy and pandas, beside the 60 ms it may take."""
    told = [
        subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True) for _ in range(7)
    ]
    return [Row("import", statistics.median(float(run.stdout) for run in told), 0.060, 1.0)]


def design(n: int, p: int, seed: int = 1) -> tuple[pd.DataFrame, str]:
    """Return n rows with p predictors, and the formula that takes them all."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    names = [f"x{i + 1}" for i in range(p)]
    data = pd.DataFrame(x, columns=names)
    data["y"] = x @ np.linspace(0, 1, p) + rng.normal(size=n)
    return data, f"y ~ {' + '.join(names)}"


def beside_r(data: pd.DataFrame, runs: int, request: tuple[object, ...], **ours) -> list[float]:
    """Return median seconds of pymer4, R and NumPy for one question about the data."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        write_columns(data, folder)
        peer.ask("data", "simulated", folder, len(data))
        sides = {name: lambda run=run: timed(run) for name, run in ours.items()}
        times = alternate(runs, **sides, R=lambda: peer.ask(*request))
        peer.close()
    return [statistics.median(times[name]) for name in ("pymer4", "R", "plain")]


def matrix(data: pd.DataFrame) -> np.ndarray:
    """Return the design of all columns but y and g, with an intercept."""
    x = data[[name for name in data if name.startswith("x")]].to_numpy()
    return np.column_stack([np.ones(len(x)), x])


def small_ratios() -> list[Row]:
    """Return two rows: a fit of 1,000 x 5 over statsmodels' formula fit, and over patsy's design plus 1.5 ms."""
    import patsy
    import statsmodels.formula.api as smf

    from pymer4 import Lm

    data, formula = design(1_000, 5)
    model = Lm(formula, data)
    times = alternate(
        50,
        pymer4=lambda: timed(lambda: model.fit(summarize=False)),
        fresh=lambda: timed(lambda: Lm(formula, data).fit(summarize=False)),
        fit_only=lambda: timed(lambda: _touched(smf.ols(formula, data).fit())),
        patsy=lambda: timed(lambda: patsy.dmatrices(formula, data)),
    )
    middle = {name: statistics.median(values) for name, values in times.items()}
    return [
        Row("Lm/statsmodels", middle["fresh"], middle["fit_only"], 1.0),
        Row("Lm refit", middle["pymer4"], middle["fit_only"], 1.0),
        Row("Lm/patsy+1.5 ms", middle["fresh"], middle["patsy"] + 0.0015, 1.0),
    ]


def _touched(results: object) -> tuple[object, ...]:
    """Ask statsmodels for what `Lm.fit` has computed; it computes on first use."""
    return results.bse, results.tvalues, results.pvalues, results.conf_int(), results.rsquared, results.aic, results.bic


def large_ratio() -> list[Row]:
    """Return a row: a fit of 100,000 x 10 over lm, its summary and confint."""
    from pymer4 import Lm

    data, formula = design(100_000, 10)
    X, y = matrix(data), data["y"].to_numpy()
    ours, theirs, plain = beside_r(
        data,
        7,
        ("lm", formula),
        pymer4=lambda: Lm(formula, data).fit(summarize=False),
        plain=lambda: np.linalg.solve(X.T @ X, X.T @ y),
    )
    return [Row("Lm 100,000 x 10", ours, theirs, 1.0, plain)]


def resampling_ratios() -> list[Row]:
    """Return two rows: 1,000 bootstrap draws and 1,000 permutations of 1,000 x 5 over loops of .lm.fit."""
    from pymer4 import Lm

    data, formula = design(1_000, 5)
    model = Lm(formula, data)
    X, y = matrix(data), data["y"].to_numpy()
    rng = np.random.default_rng(1)

    def drawn() -> list[np.ndarray]:
        rows = (rng.integers(0, 1_000, 1_000) for _ in range(1_000))
        return [np.linalg.lstsq(X[some], y[some], rcond=None)[0] for some in rows]

    def shuffled() -> list[np.ndarray]:
        return [np.linalg.lstsq(X, rng.permutation(y), rcond=None)[0] for _ in range(1_000)]

    boot = beside_r(
        data,
        5,
        ("lm boot", formula, 1_000),
        pymer4=lambda: model.fit(conf_int="boot", n_boot=1_000, seed=1, summarize=False),
        plain=drawn,
    )
    permuted = beside_r(
        data,
        5,
        ("lm permute", formula, 1_000),
        pymer4=lambda: model.fit(permute=1_000, seed=1, summarize=False),
        plain=shuffled,
    )
    return [
        Row(name, ours, theirs, bound, plain)
        for name, (ours, theirs, plain), bound in (("Lm bootstrap", boot, 0.4), ("Lm permutation", permuted, 0.3))
    ]


def grouped_ratio() -> list[Row]:
    """Return a row: regressions of 1,000 groups of 50 rows over a loop of coef(lm())."""
    from pymer4 import Lm2

    data, formula = design(50_000, 2)
    data["g"] = np.random.default_rng(2).permutation(np.arange(50_000) % 1_000).astype(float)
    X, y = matrix(data), data["y"].to_numpy()
    groups = list(data.groupby("g").indices.values())
    ours, theirs, plain = beside_r(
        data,
        5,
        ("lm groups", formula),
        pymer4=lambda: Lm2(formula, data, group="g").fit(summarize=False),
        plain=lambda: [np.linalg.lstsq(X[rows], y[rows], rcond=None)[0] for rows in groups],
    )
    return [Row("Lm2 1,000 x 50", ours, theirs, 0.25, plain)]
