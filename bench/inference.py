"""Rows about `infer()` and marginal effects of regressions."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
from measure import Peer, Row, alternate, timed
from native import beside_r, design


def bca_ratio() -> list[Row]:
    """Return a row: 1,000 BCa draws of 1,000 x 5 over boot::boot of coef(lm()) and boot.ci of each coefficient."""
    from pymer4 import Lm

    data, formula = design(1_000, 5)
    model = Lm(formula, data)
    model.fit(summarize=False)
    ours, theirs, _ = beside_r(
        data,
        3,
        ("boot ci", formula, 1_000),
        pymer4=lambda: model.infer("boot", n_boot=1_000, ci_type="bca", seed=1),
        plain=lambda: None,
    )
    return [Row("Lm BCa", ours, theirs, 0.5)]


def marginal_ratio() -> list[Row]:
    """Return a row: means of 3 x 2 cells and their pairwise comparisons, 1,800 rows, over emmeans and pairs."""
    from pymer4 import Lm

    cell = np.arange(1_800) % 6
    y = 0.2 * cell + np.random.default_rng(1).normal(size=1_800)
    data = pd.DataFrame({"y": y, "a": cell % 3, "b": cell // 3}, dtype=float)
    model = Lm("y ~ a * b", data.astype(dict.fromkeys("ab", int)).astype(dict.fromkeys("ab", "category")))
    model.fit(summarize=False)
    ours, theirs, _ = beside_r(
        data,
        15,
        ("lm cells", "y ~ a * b"),
        pymer4=lambda: model.emmeans("a", "b"),
        plain=lambda: None,
    )
    return [Row("Lm emmeans", ours, theirs, 0.5)]


def mixed_ratios() -> list[Row]:
    """Return two rows: infer("boot") over fit(conf_int="boot") of an Lmer; of a GLMM, two workers, over bootMer."""
    from pymer4 import Lmer, load_dataset

    formula = "Reaction ~ Days + (Days | Subject)"
    model, refitted = (Lmer(formula, load_dataset("sleepstudy")) for _ in range(2))
    model.fit(summarize=False)
    given = {"n_boot": 500, "seed": 1}
    verb = alternate(
        3,
        pymer4=lambda: timed(lambda: model.infer("boot", profile_auto=False, **given)),
        fit=lambda: timed(lambda: refitted.fit(conf_int="boot", summarize=False, no_warnings=True, **given)),
    )
    outcome = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    counted = Lmer(outcome, load_dataset("cbpp"), family="binomial")
    counted.fit(summarize=False)
    peer = Peer()
    peer.ask("data", "cbpp")
    peer.ask("fit binomial", outcome)
    counted.infer("boot", n_boot=40, seed=1, n_jobs=2)  # the workers start
    boot = timed(lambda: counted.infer("boot", n_boot=1_000, seed=1, n_jobs=2)), peer.ask("bootMer", outcome, 1_000)
    peer.close()
    ours, theirs = (statistics.median(verb[name]) for name in ("pymer4", "fit"))
    return [Row("infer/fit boot", ours, theirs, 1.1), Row("cbpp bootMer", *boot, 0.6)]
