"""The grid of inference_grid.md: every way of inference, about everything, of every class, by calling `infer()`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pandas as pd

from pymer4 import Lm, Lm2, Lmer
from pymer4.errors import OptionError
from pymer4.infer.options import How, On

QUICK: dict[str, dict[str, Any]] = {"boot": {"n_boot": 50, "seed": 1}, "perm": {"n_perm": 19, "seed": 1}}
QUICK["cv"] = {"k": 4, "seed": 1}


def data() -> pd.DataFrame:
    """Return 12 groups of 12 rows with a factor, two outcomes, and effects of x that differ between groups."""
    rng = np.random.default_rng(3)
    g, n = np.repeat(np.arange(12), 12), 144
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=n), "c": np.tile(["a", "b", "c"], n // 3)})
    eta = rng.normal(0, 0.7, 12)[g] + (0.5 + rng.normal(0, 0.4, 12)[g]) * frame["x"] + 0.4 * (frame["c"] == "b")
    frame["y"], frame["yes"] = eta + rng.normal(size=n), (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    return frame


MODELS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "Lm": lambda frame: Lm("y ~ x + c", frame),
    "Lm, binomial": lambda frame: Lm("yes ~ x + c", frame, family="binomial"),
    "Lm2": lambda frame: Lm2("y ~ x + c", frame, group="g"),
    "Lmer": lambda frame: Lmer("y ~ x + c + (1 | g)", frame),
    "Lmer, binomial": lambda frame: Lmer("yes ~ x + c + (1 | g)", frame, family="binomial"),
}


def answers() -> tuple[pd.DataFrame, list[str]]:
    """Return a row a way and a question, a column a class; and the first sentences of refusals, which cells number."""
    rows = [(how, on) for how in get_args(How) for on in get_args(On)]
    found, refusals = pd.DataFrame("", index=pd.MultiIndex.from_tuples(rows), columns=list(MODELS)), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in MODELS.items():
            model = _asked_all(make(data()))
            for how, on in rows:
                told = _answer(model, how, on)
                is_answer = told.endswith(" rows")
                found.loc[(how, on), name] = told if is_answer else f"[{refusals.setdefault(told, len(refusals) + 1)}]"
    return found, list(refusals)


def grid() -> str:
    """Return the grid as text, and the refusals under it."""
    found, refusals = answers()
    return "\n".join([found.to_string(), "", *(f"[{i}] {text}" for i, text in enumerate(refusals, 1))])


def _asked_all(model: Any) -> Any:
    """Fit a model, and ask what inference can be about, where the class has it."""
    model.fit(summarize=False)
    model.emmeans("c")
    model.predict(data().head(5))
    if hasattr(model, "simulate"):
        model.simulate(40)
    return model


def _answer(model: Any, how: Any, on: Any) -> str:
    try:
        found = model.infer(how, on=on, **QUICK.get(how, {}))
    except OptionError as error:
        return str(error).split(". ")[0] + "."
    tables = [table for table in (found if isinstance(found, tuple) else (found,)) if table is not None]
    assert all(np.isfinite(table.select_dtypes("number").to_numpy()).any() for table in tables)
    return " + ".join(str(len(table)) for table in tables) + " rows"
