"""How often limits cover the truth, and how often tests reject what is true, for the page coverage.md.

    python docs/reference/coverage.py              all cells, about half an hour on two cores
    python docs/reference/coverage.py Lm Lm2       those of some models

A cell is a way of inference; its data sets are simulated from a model in which the coefficient asked about is 0 (a
standard deviation of 1, for variances). Seeds are fixed. A cell outside the band is run once more with more data sets.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from pymer4 import Lm, Lm2, Lmer

SETS, AGAIN, DRAWS = 2_000, 10_000, 199
BOOT = {"n_boot": 399, "seed": 1}
PERM = {"n_perm": 399, "seed": 1}
UNDERCOVERS = (
    "by cases below 100 rows or so these limits are too narrow (HC0 and HC1 take residuals for errors; percentile and "
    "basic limits of few rows lack the spread that n/(n − p) makes up for; CR0 is for many clusters; a variance is "
    "estimated skewed)"
)


@dataclass(frozen=True)
class Cell:
    """A way of inference: model and way, data of a seed, fit, question, the row asked about, and what is true."""

    model: str
    way: str
    data: Callable[[np.random.Generator], pd.DataFrame]
    fitted: Callable[[pd.DataFrame], Any]
    asked: dict[str, Any]
    row: str
    truth: float = 0.0
    known: bool = False

    @property
    def name(self) -> str:
        """Model and way."""
        return f"{self.model}: {self.way}"


def rows(rng: np.random.Generator) -> pd.DataFrame:
    """Return 100 rows, whose outcome hangs on x but not on z."""
    x = rng.normal(size=100)
    z = 0.3 * x + rng.normal(size=100)
    return pd.DataFrame({"x": x, "z": z, "y": 1 + 0.5 * x + rng.normal(size=100)})


def clustered(rng: np.random.Generator) -> pd.DataFrame:
    """Return 100 rows in 20 clusters with errors of their own."""
    g = np.repeat(np.arange(20), 5)
    return rows(rng).assign(g=g).assign(y=lambda d: d.y + rng.normal(size=20)[g] * 0.7)


def unequal(rng: np.random.Generator) -> pd.DataFrame:
    """Return 30 rows of one group and 70 of another, with a quarter of the variance."""
    z = np.repeat(["a", "b"], [30, 70])
    return pd.DataFrame({"z": z, "y": rng.normal(size=100) * np.where(z == "a", 2, 1)})


def groups(rng: np.random.Generator) -> pd.DataFrame:
    """Return 30 groups of 10 rows with intercepts and slopes of z of their own, those of mean 0."""
    g = np.repeat(np.arange(30), 10)
    z, u = rng.normal(size=300), rng.normal(size=(2, 30))
    return pd.DataFrame({"g": g, "z": z, "y": 1 + u[0][g] + 0.5 * u[1][g] * z + rng.normal(size=300)})


def intercepts(rng: np.random.Generator) -> pd.DataFrame:
    """Return 30 groups of 10 rows with intercepts of their own."""
    g = np.repeat(np.arange(30), 10)
    return pd.DataFrame({"g": g, "z": rng.normal(size=300), "y": 1 + rng.normal(size=30)[g] + rng.normal(size=300)})


def _fit(model: Any, **how: Any) -> Any:
    model.fit(summarize=False, **how)
    return model


def _lm(formula: str = "y ~ x + z", **how: Any) -> Callable[[pd.DataFrame], Lm]:
    return lambda data: _fit(Lm(formula, data), **how)


def _lm2(data: pd.DataFrame) -> Lm2:
    return _fit(Lm2("y ~ z", data, group="g"))


def _lmer(**how: Any) -> Callable[[pd.DataFrame], Lmer]:
    return lambda data: _fit(Lmer("y ~ z + (1 | g)", data), **how)


def cells() -> list[Cell]:
    """Return all cells."""
    found = [
        Cell("Lm", f"errors={errors!r}", rows, _lm(), {"errors": errors}, "z", known=errors in ("HC0", "HC1"))
        for errors in ("iid", "HC0", "HC1", "HC2", "HC3", "hetero")
    ]
    found += [
        Cell(
            "Lm", f"errors={errors!r}", clustered, _lm(), {"errors": errors, "cluster": "g"}, "z", known=errors == "CR0"
        )
        for errors in ("CR0", "CR2")
    ]
    found.append(Cell("Lm", "errors='unequal_var'", unequal, _lm("y ~ z"), {"errors": "unequal_var"}, "z[T.b]"))
    for model, data, fitted in (("Lm", rows, _lm()), ("Lm2", groups, _lm2)):
        for kind in ("percentile", "basic", "bca"):
            asked = {"how": "boot", "ci_type": kind, **BOOT}
            found.append(Cell(model, f"boot, {kind}", data, fitted, asked, "z", known=kind != "bca"))
    found += [
        Cell("Lm", f"perm, {scheme}", rows, _lm(), {"how": "perm", "scheme": scheme, **PERM}, "z")
        for scheme in ("raw", "freedman-lane")
    ]
    found += [
        Cell("Lm2", "errors='iid'", groups, _lm2, {}, "z"),
        Cell("Lm2", "errors='HC3'", groups, _lm2, {"errors": "HC3"}, "z"),
        Cell("Lm2", "perm", groups, _lm2, {"how": "perm", **PERM}, "z"),
    ]
    found += [
        Cell("Lmer", f"ddf={ddf!r}", intercepts, _lmer(ddf=ddf), {}, "z")
        for ddf in ("Satterthwaite", "Kenward-Roger", "asymptotic")
    ]
    found += [
        Cell("Lmer", f"errors={errors!r}", intercepts, _lmer(), {"errors": errors}, "z", known=errors == "CR0")
        for errors in ("CR0", "CR2")
    ]
    refitted = _lmer(engine="native")
    for kind in ("percentile", "basic"):
        asked = {"how": "boot", "ci_type": kind, "n_boot": DRAWS, "seed": 1, "profile_auto": False}
        found.append(Cell("Lmer", f"boot, {kind}", intercepts, refitted, asked, "z"))
        about = asked | {"which": "ranef"}
        name = f"boot of a standard deviation, {kind}"
        found.append(Cell("Lmer", name, intercepts, refitted, about, "sd_(Intercept)|g", 1.0, known=True))
    for scheme in ("raw", "freedman-lane"):
        asked = {"how": "perm", "scheme": scheme, "n_perm": DRAWS, "seed": 1, "profile_auto": False}
        found.append(Cell("Lmer", f"perm, {scheme}", intercepts, refitted, asked, "z"))
    found.append(Cell("Lmer", "profile", intercepts, refitted, {"how": "profile"}, "sd_(Intercept)|g", 1.0))
    return found


def _one(cell: Cell, seed: int) -> tuple[bool, bool]:
    """Return whether limits cover the truth, and whether p rejects it at .05."""
    warnings.simplefilter("ignore")
    model = cell.fitted(cell.data(np.random.default_rng(seed)))
    found = model.infer(**cell.asked).loc[cell.row]
    is_permuted = "Perm-P-val" in found.index
    p = found["Perm-P-val" if is_permuted else "P-val"] if "Sig" in found.index else np.nan
    lower, upper = found[[name for name in found.index if str(name)[:1].isdigit()][:2]]
    return (np.nan if is_permuted else float(lower <= cell.truth <= upper)), np.nan if np.isnan(p) else float(p <= 0.05)


def band(n: int, rate: float) -> tuple[float, float]:
    """Return where a rate may lie: 1.5 percent to either side, or three standard errors where these are more."""
    reach = max(0.015, 3 * np.sqrt(0.05 * 0.95 / n))
    return rate - reach, rate + reach


def measured(cell: Cell, n: int, workers: int = 2) -> dict[str, Any]:
    """Return the row of a cell, from n data sets."""
    work = (joblib.delayed(_one)(cell, 1_000_000 + seed) for seed in range(n))
    found = np.array(joblib.Parallel(n_jobs=workers)(work))
    covered, rejected = found.mean(axis=0)
    told = {"model": cell.model, "way": cell.way, "data sets": n, "coverage": covered, "rejected": rejected}
    inside = [np.isnan(rate) or low <= rate <= high for rate, (low, high) in zip((covered, rejected), (band(n, 0.95), band(n, 0.05)), strict=True)]  # fmt: skip # noqa: E501
    return told | {"inside": all(inside), "known": cell.known}


def table(chosen: list[Cell], workers: int = 2) -> pd.DataFrame:
    """Return all rows; a cell outside the band is run again with more data sets, unless it is known to be."""
    found = []
    for cell in chosen:
        row = measured(cell, SETS, workers)
        if not row["inside"] and not cell.known:
            row = measured(cell, AGAIN, workers)
        found.append(row)
        print(row, file=sys.stderr, flush=True)
    return pd.DataFrame(found)


def page(found: pd.DataFrame) -> str:
    """Return the page."""
    lines = [
        "# Coverage", "",
        "How often 95 % limits cover what is true, and how often a test at .05 rejects what is true, in simulated data",
        "sets: 100 rows for `Lm`, 30 groups of 10 rows for `Lm2` and `Lmer`, seeds fixed beforehand. Made by",
        "`python docs/reference/coverage.py`. Limits of a permutation test are those of t, so its rows have no",
        "coverage.", "",
        "| model | way | data sets | coverage | rejected | |", "| --- | --- | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    for row in found.itertuples():
        rates = [f"{100 * rate:.1f} %" if rate == rate else "" for rate in (row.coverage, row.rejected)]
        note = "" if row.inside else "known" if row.known else "**outside**"
        lines.append(f"| `{row.model}` | {row.way} | {row[3]:,} | {rates[0]} | {rates[1]} | {note} |")
    return "\n".join([*lines, "", f"Known: {UNDERCOVERS}.", ""])


if __name__ == "__main__":
    asked = [cell for cell in cells() if not sys.argv[1:] or cell.model in sys.argv[1:]]
    found = table(asked)
    print(page(found))
    if not sys.argv[1:]:
        Path(__file__).with_suffix(".md").write_text(page(found))
