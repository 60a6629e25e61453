"""Rows about the deviance engine, `fit(engine="native")` and `fit_many`, over lme4."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from designs import CASES, frame
from measure import Peer, Row, alternate, timed, write_columns

if TYPE_CHECKING:
    from pymer4 import Lmer


def known_to(peer: Peer, name: str, folder: str) -> pd.DataFrame:
    """Return the rows of a case after handing them to R, groups as categories."""
    data, case = frame(name), CASES[name]
    if case.dataset:
        peer.ask("data", case.dataset)
        return data
    write_columns(data, folder)
    peer.ask("data", "simulated", folder, len(data))
    return data.astype(dict.fromkeys(data.columns.intersection(["g", "h"]), "category"))


def engine_ratio(name: str) -> list[Row]:
    """Return two rows: a whole native fit from its formula, and the same from arrays, over lmerTest and its summary."""
    from pymer4 import Lmer

    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        model = Lmer(case.formula, known_to(peer, name, folder))
        model.fit(engine="native", summarize=False, no_warnings=True)
        from_arrays = of_arrays(model)
        times = alternate(
            case.runs,
            formula=lambda: timed(lambda: model.fit(engine="native", summarize=False, no_warnings=True)),
            arrays=lambda: timed(from_arrays),
            R=lambda: peer.ask("lmerTest", case.formula),
        )
        peer.close()
    ours, arrays, theirs = (statistics.median(times[k]) for k in ("formula", "arrays", "R"))
    return [Row(name, ours, theirs, case.bound), Row(" from arrays", arrays, theirs, case.bound / 2)]


def of_arrays(model: Lmer) -> Callable[[], np.ndarray]:
    """Return a function that fits the arrays of a model, as its own fit does, and takes the df of its coefficients."""
    from pymer4.models.lmer_arrays import mixed_design
    from pymer4.models.lmer_native import NativeFit

    design = mixed_design(model, *model._sample())
    return lambda: NativeFit.of(design, reml=True).found.coefficient_df()


def engine_resampling_ratios() -> list[Row]:
    """Return two rows on sleepstudy: 1,000 parametric draws over bootMer, 1,000 permutations over a loop of refit()."""
    from pymer4 import Lmer, load_dataset

    formula = CASES["sleepstudy"].formula
    model = Lmer(formula, load_dataset("sleepstudy"))
    model.fit(summarize=False)
    peer = Peer()
    peer.ask("data", "sleepstudy")
    peer.ask("fit", formula)

    def asked(how: str) -> float:
        return timed(lambda: model.infer(how, on="coefs", n_boot=1000, n_perm=1000, seed=1, profile_auto=False))

    boot = alternate(2, pymer4=lambda: asked("boot"), R=lambda: peer.ask("bootMer alone", formula, 1000))
    perm = alternate(2, pymer4=lambda: asked("perm"), R=lambda: peer.ask("permute", formula, 1000))
    peer.close()
    rows = (("boot 1,000", boot), ("perm 1,000", perm))
    return [Row(name, *(statistics.median(t[k]) for k in ("pymer4", "R")), 0.02) for name, t in rows]


def many_ratios() -> list[Row]:
    """Return two rows, seconds for each 1,000 responses: on sleepstudy's design, and crossed 60 x 40, over refit()."""
    from pymer4 import load_dataset

    g, h = np.divmod(np.arange(2400), 40)
    noise = np.random.default_rng(1).normal(size=(2, 2400))
    crossed = pd.DataFrame({"y": g + h + noise[0], "x": noise[1], "g": g, "h": h}, dtype=float)
    sleepstudy = ("sleepstudy", load_dataset("sleepstudy"), CASES["sleepstudy"].formula, ["Subject"])
    return [
        many_ratio("many 10,000", *sleepstudy, 10_000, 0.01),
        many_ratio("many crossed", "", crossed, "y ~ x + (1 | g) + (1 | h)", ["g", "h"], 2_000, 0.05),
    ]


def many_ratio(
    name: str, dataset: str, data: pd.DataFrame, formula: str, groups: list[str], count: int, bound: float
) -> Row:
    """Return a row: `fit_many` of responses that vary between groups, over R's loop of 200 of them."""
    from pymer4 import Lmer

    rng, loop = np.random.default_rng(2), 200
    Y = rng.normal(size=(len(data), count))
    for group in groups:
        codes, levels = pd.factorize(data[group])
        Y += rng.normal(size=(len(levels), count))[codes]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer()
        if not dataset:
            write_columns(data, folder)
        peer.ask("data", *((dataset,) if dataset else ("simulated", folder, len(data))))
        peer.ask("fit", formula)
        Y[:, :loop].T.tofile(f"{folder}/responses")
        model = Lmer(formula, data.astype(dict.fromkeys(groups, "category")))
        times = alternate(
            1,
            pymer4=lambda: timed(lambda: model.fit_many(Y)) * 1000 / count,
            R=lambda: peer.ask("refit many", formula, loop, f"{folder}/responses") * 1000 / loop,
        )
        peer.close()
    return Row(name, *(statistics.median(times[k]) for k in ("pymer4", "R")), bound)
