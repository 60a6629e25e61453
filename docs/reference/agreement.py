"""The tables of agreement.md: what `Lmer` computes now, beside the numbers that R wrote to tests/reference."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from reference.lib import anova, marginal, mixed  # noqa: E402
from reference.lib import linear as linear_models  # noqa: E402
from reference.lib.files import reference as _reference  # noqa: E402
from reference.lib.quantities import QUANTITIES, Pair, coefficient_pairs, mixed_pairs  # noqa: E402

from pymer4 import Lmer  # noqa: E402
from pymer4.errors import ModelWarning  # noqa: E402

_MONTE_CARLO = "limits and p of mvt"
_ROUNDING = 1e-15


def made_by() -> str:
    """Return the software that wrote the files of numbers."""
    names = ("linear", "generalized", "marginal", "anova")
    found = {package: version for name in names for package, version in _reference(name).versions.items()}
    return ", ".join(f"{package} {version}" for package, version in found.items())


def linear(data: str) -> pd.DataFrame:
    """Return how the linear models of a data set agree, over all cases of linear_cases.csv."""
    return _table(_linear_pairs(data))


def generalized(data: str) -> pd.DataFrame:
    """Return how the generalized models of a data set agree, over the quicker cases of generalized_cases.csv."""
    reference = _reference("generalized")
    rows = [row for row in mixed.GENERALIZED.values() if row.data.partition("_")[0] == data and not row.slow]
    pairs = (mixed_pairs(mixed.fit(row), reference, row.id) for row in rows)
    return _table(pair for some in pairs for pair in some)


def means(data: str) -> pd.DataFrame:
    """Return how marginal means, slopes and contrasts agree, over all questions of marginal_cases.csv."""
    return _table(_marginal_pairs(data))


def terms(data: str) -> pd.DataFrame:
    """Return how tests of terms agree, over all models of anova_models.csv."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return _table(_term_pairs(data))


def vignette(table: str) -> pd.DataFrame:
    """Return what emmeans says of the pigs without a grouping factor, such as `"source estimates"`."""
    return _reference("marginal").numbers("pigs_lm", table)


def _linear_pairs(data: str) -> Iterator[Pair]:
    for id, case in linear_models.CASES.items():
        if case.data == data:
            for pair in mixed_pairs(linear_models.fitted(id), _reference("linear"), id):
                if id not in linear_models.NO_DF or pair.quantity not in ("df", "p"):
                    yield pair


def _marginal_pairs(data: str) -> Iterator[Pair]:
    reference = _reference("marginal")
    models = {id: mixed.fit(row) for id, row in marginal.MODELS.items() if row.data == data}
    for id, question in marginal.QUESTIONS.items():
        if question.model not in models:
            continue
        found = marginal.ask(question, models[question.model])
        if question.verb == "joint_tests":
            expected = reference.numbers(id, "joint")
            yield Pair("p of joint tests", *_arrays(found[0]["P-val"], expected["p"]), 1.0)
            continue
        for name, table in zip(("estimates", "contrasts"), found, strict=True):
            if table is not None:
                for pair in marginal.marginal_pairs(table, reference.numbers(id, name)):
                    drawn = table.attrs["adjust"] == "mvt" and pair.quantity in ("limits", "p")
                    yield Pair(_MONTE_CARLO if drawn else pair.quantity, pair.found, pair.expected, pair.scale)


def _term_pairs(data: str) -> Iterator[Pair]:
    reference = _reference("anova")
    models: dict[str, Lmer] = {id: mixed.fit(row) for id, row in anova.MODELS.items() if row.data == data}
    for id, model in models.items():
        for ddf in anova.ddfs(id):
            for type in (1, 2, 3):
                expected = reference.numbers(id, f"anova {type} {ddf}")
                yield from anova.term_pairs(model.anova(type=type, ddf=ddf), expected)
            refitted = mixed.fit(anova.MODELS[id], ddf=ddf).coefs
            for pair in coefficient_pairs(refitted, reference.numbers(id, f"coefs {ddf}")):
                yield Pair(f"coefficients: {pair.quantity}", pair.found, pair.expected, pair.scale)
        yield from anova.random_pairs(model.ranova(), reference.numbers(id, "ranova"))
    for id, contest in anova.CONTESTS.items():
        if contest.model in models:
            yield from anova.mean_pairs(anova.contest(contest, models[contest.model]), reference.numbers(id, "contest"))


def _arrays(*values: Iterable[float]) -> Iterator[np.ndarray]:
    return (np.asarray(value, dtype=float) for value in values)


def _table(pairs: Iterable[Pair]) -> pd.DataFrame:
    """Return one row a quantity: how many numbers, the two that differ most, and by how much."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.quantity, []).append(pair)
    order = [name for name in QUANTITIES if name in found]
    rows = []
    for quantity in [*order, *(name for name in found if name not in order)]:
        parts = found[quantity]
        ours, theirs, apart = (
            np.concatenate([getattr(part, name).ravel() for part in parts])
            for name in ("found", "expected", "differences")
        )
        # Rounding of the last digit is no place of its own: the first number then stands for all.
        place = apart.argmax() if apart.max() > _ROUNDING else np.isfinite(theirs).argmax()
        rows.append((quantity, len(ours), ours[place], theirs[place], apart.max()))
    table = pd.DataFrame(rows, columns=["quantity", "numbers", "ours", "R's", "largest difference"])
    for column in ("ours", "R's"):
        table[column] = table[column].map("{:.8g}".format)
    table["largest difference"] = table["largest difference"].map(lambda d: f"{d:.0e}" if d else "0")
    return table.set_index("quantity").rename_axis(None)
