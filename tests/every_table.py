"""Every table of a handful of models, pickled: `python every_table.py FILE`, which R is started for as it is set."""

from __future__ import annotations

import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from against_r import rinterface
from samples import with_holes

from pymer4 import Lmer, compare
from pymer4.errors import Pymer4Error


def frame() -> pd.DataFrame:
    """Return the trial with gaps, also in text, and with numbers that R writes in many ways."""
    found = with_holes().assign(g=lambda d: d.g * 2e4, amount=np.resize([1e-5, 0.1, 1e5], 240))
    found.loc[11, "cond"] = None
    return found


LINEAR = {
    "text": ("y ~ x * cond + flag + (x | g)", {}, {}),
    "levels": ("y ~ cond * dose + (1 | g) + (1 | h)", {}, {"factors": {"cond": ["b", "a", "C"]}}),
    "polynomials": ("y ~ x + cond + (1 | g)", {}, {"factors": {"cond": ["b", "a", "C"]}, "ordered": True}),
    "weights": ("y ~ poly(z, 2) + factor(amount) + (x || g)", {"weights": "w"}, {"REML": False}),
    "ranks": ("y ~ x + cond + (1 | g)", {}, {"rank": True, "rank_group": "cond"}),
    "kenward": ("y ~ x + cond + (1 | g)", {}, {"ddf": "Kenward-Roger", "conf_level": 0.9}),
    "singular": ("z ~ x + (1 | g) + (1 | h)", {}, {"conf_int": "boot", "n_boot": 9, "seed": 1, "permute": 9}),
}
GENERALIZED = {
    "binomial": ("yes ~ x * cond + (1 | g)", {"family": "binomial"}, {}),
    "poisson": ("count ~ x + dose + (1 | g) + offset(log(w))", {"family": "poisson"}, {}),
    "gamma": ("pos ~ x + cond + (1 | h)", {"family": "gamma", "link": "log"}, {}),
    "nbinom": ("count ~ x + (1 | g)", {"family": "nbinom"}, {"nAGQ": 0}),
}
FACTOR = {"weights": "amount", "poisson": "dose"}


def tables(name: str, formula: str, model_arguments: dict[str, Any], fit_arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what one model says in all of its tables, by what they are."""
    data = frame()
    model = Lmer(formula, data, **model_arguments)
    model.fit(summarize=False, no_warnings=True, **fit_arguments)
    kept = ("coefs", "ranef", "fixef", "ranef_var", "ranef_corr", "fits", "residuals", "warnings", "grps", "AIC")
    found = {what: getattr(model, what) for what in (*kept, "design_matrix", "convergence", "ranef_se")}
    linear, factor = name in LINEAR, FACTOR.get(name, "cond")
    asked = {
        "predict": lambda: model.predict(data.head(40), use_rfx=True, new_levels="population"),
        "interval": lambda: model.predict(data.head(40), interval="confidence"),
        "new outcomes": lambda: model.predict(data.head(40), interval="prediction", seed=2),
        "simulate": lambda: model.simulate(2, use_rfx=False, seed=3),
        "anova": model.anova,
        "anova 2": lambda: model.anova(type=2),
        "joint": model.joint_tests,
        "means": lambda: model.emmeans(factor) if factor in formula else model.emmeans("x", at={"x": [0, 1]}),
        "link": lambda: model.emmeans(factor, type="link", adjust="mvt") if factor in formula else None,
        "slopes": lambda: model.emtrends("x", factor if factor in formula else None) if " x" in formula else None,
        "ranova": lambda: model.ranova() if linear else None,
        "profile": lambda: model.confint("profile") if name in ("text", "levels") else None,
        "draws": lambda: model.confint("boot", n_boot=5, seed=4),
        "optimizers": lambda: model.allfit() if name in ("text", "binomial") else None,
        "r2": lambda: model.r2() if (name, linear) != ("kenward", True) else None,
        "compare": lambda: compare(model, smaller(formula, data)) if name == "levels" else None,
    }
    for what, ask in asked.items():
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                found[what] = ask()
            except Pymer4Error as error:
                found[what] = f"{type(error).__name__}: {error}"
        found[f"{what}, heard"] = [str(warning.message) for warning in heard]
    return found


def smaller(formula: str, data: pd.DataFrame) -> Lmer:
    """Return a fitted model with one grouping factor less."""
    model = Lmer(formula.replace(" + (1 | h)", ""), data)
    model.fit(summarize=False)
    return model


def options() -> dict[str, str]:
    """Return every option of R as R would write it, with the state of its random numbers."""
    base = rinterface.baseenv
    texts = base["vapply"](base["options"](), base["deparse1"], "")
    found = dict(zip(base["names"](texts), texts, strict=True))
    return found | {"RNG": " ".join(base["RNGkind"]())}


def main(path: str) -> None:
    """Write the tables of all models, and R's options before and after."""
    rinterface.initr()
    before = options()
    found = {name: tables(name, *how) for name, how in {**LINEAR, **GENERALIZED}.items()}
    Path(path).write_bytes(pickle.dumps({"tables": found, "before": before, "after": options()}))


if __name__ == "__main__":
    main(sys.argv[1])
