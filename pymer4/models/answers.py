"""Tables that models answer with: frames that terminals and notebooks show with what their numbers rest on."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from pymer4 import tables
from pymer4.models import printing
from pymer4.papers.content import Content, Part
from pymer4.papers.numbers import degrees
from pymer4.papers.sheet import Shown, wrapped

_ABOUT = {"coefs": "Coefficients", "predictions": "Predictions", "variance": "Variance parameters"}
_BY = {"boot": ", by bootstrap", "perm": ", by permutation", "profile": ", by profile likelihood"}
_PLAIN = ("emmean", "estimate", "trend", "response")
_GAP = "…"
# What R notes of its tables, and the first line of our notes has.
_SAID = ("Degrees-of-freedom method:", "Confidence level used:")


class Table(Shown, pd.DataFrame):
    """A frame with a title and notes, which is shown with all its columns, numbers rounded.

    It holds numbers in full, and is a pandas frame in all else. What pandas makes of it, copies, rows and pickles too,
    is a plain frame, since the title and the notes need not be true of that.
    """

    _title: str = ""
    _notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: pd.DataFrame, title: str, notes: Sequence[str]) -> Table:
        """Return a table with what is to be said of it; the numbers are shared, not copied."""
        made = cls(table.copy(deep=False))
        made.attrs = table.attrs
        made._title, made._notes = title, tuple(notes)
        return made

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        """Let a plain frame stand for one of these, as tests of pandas ask: they differ in how they are shown alone."""
        return True if other is pd.DataFrame else NotImplemented

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __reduce__(self) -> Any:
        return copy.copy, (self.copy(deep=False),)

    def __repr__(self) -> str:
        return "\n".join([*wrapped([self._title]), printing.laid_out(self._excerpt()), *wrapped(self._notes)])

    def _shown(self) -> Content:
        texts = self._excerpt()
        rows = [(str(label), *values) for label, values in zip(texts.index, texts.to_numpy(), strict=True)]
        return Content(self._title, (), tuple(map(str, texts.columns)), (Part("", tuple(rows)),), self._notes)

    def _excerpt(self) -> pd.DataFrame:
        """Return the rows that are shown, as texts: as pandas, all of them, or the first and the last of many."""
        most, least = pd.get_option("display.max_rows"), pd.get_option("display.min_rows")
        if not most or len(self) <= most:
            return _texts(self)
        half = max(1, min(least or most, most) // 2)
        gap = pd.DataFrame([[_GAP] * self.shape[1]], [_GAP], self.columns, dtype=object)
        return pd.concat([_texts(self.head(half)), gap, _texts(self.tail(half))])


class Pair(tuple[Any, ...]):
    """Marginal estimates and their contrasts, or None in their place: a tuple that is shown as its tables are."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        return tuple, (tuple(self),)

    def __repr__(self) -> str:
        return "\n\n".join(repr(table) for table in self if table is not None)

    def _repr_html_(self) -> str:
        return "\n".join(f"<div>{table._repr_html_()}</div>" for table in self if table is not None)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(table._repr_markdown_() for table in self if table is not None)

    def _repr_latex_(self) -> str:
        return "\n".join(table._repr_latex_() for table in self if table is not None)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as texts, degrees of freedom with a decimal unless all are whole."""
    texts = printing.texts(table)
    for place, name in enumerate(table.columns):
        if name in tables.DEGREES and is_numeric_dtype(table.dtypes.iloc[place]):
            values = table.iloc[:, place].to_numpy(float, na_value=np.nan)
            whole = all(value.is_integer() for value in values if np.isfinite(value))
            texts.isetitem(place, ["NaN" if np.isnan(value) else degrees(value, whole) for value in values])
    return texts


def marginal(table: pd.DataFrame, notes: Sequence[str], trend: str | None, by: str = "") -> Table:
    """Return marginal means, slopes or contrasts, of which `attrs` tell.

    Args:
        table: the estimates.
        notes: what they rest on.
        trend: the variable that slopes are of, None for means.
        by: the way of inference.
    """
    found = table.attrs
    what = "Marginal means" if trend is None else f"Marginal slopes of {trend}"
    if tables.CONTRAST in table.columns:
        what = f"Contrasts of {what[0].lower()}{what[1:]}"
    name, scale = found.get("estimate"), found.get("scale")
    known = ", ".join([*([name] if name and name not in _PLAIN else []), *([f"{scale} scale"] if scale else [])])
    return Table.of(table, f"{what}{f' ({known})' if known else ''}{_BY.get(by, '')}", notes)


def means_notes(found: Mapping[str, Any], compared: bool) -> list[str]:
    """Return what marginal estimates, or contrasts, rest on, from their `attrs`."""
    parts = [_limits(found["level"]), f"df: {found['ddf']}"]
    parts += [f"adjustment: {found['adjust']}"] if compared else []
    return [f"{'; '.join(parts)}.", *_notes_of(found)]


def _notes_of(found: Mapping[str, Any]) -> list[str]:
    said = [text.strip().removeprefix("NOTE: ") for text in found["messages"]]
    return [text for text in dict.fromkeys([*said, *found["notes"]]) if not text.startswith(_SAID)]


def terms(table: pd.DataFrame, linear: bool) -> Table:
    """Return tests of the terms of a mixed model, of which `attrs` tell."""
    note = f"F tests; df: {table.attrs['ddf']}." if linear else "Wald's chi-square tests."
    return Table.of(table, f"Tests of terms, type {table.attrs['type']}", [note])


def random_terms(table: pd.DataFrame, restricted: bool) -> Table:
    """Return likelihood-ratio tests of random effects."""
    note = f"Likelihood-ratio tests of the fit by {'REML' if restricted else 'ML'}; each row lacks that effect."
    return Table.of(table, "Tests of random effects", [note])


def compared(table: pd.DataFrame, refit: bool) -> Table:
    """Return likelihood-ratio tests between models."""
    how = "by maximum likelihood" if refit else "as the models were fitted"
    return Table.of(table, "Comparison of models", [f"Likelihood-ratio tests against the row above, {how}."])


def joint(table: pd.DataFrame) -> Table:
    """Return tests of terms."""
    return Table.of(table, "Joint tests of terms", [f"df: {table.attrs['ddf']}.", *_notes_of(table.attrs)])


def inferred(table: pd.DataFrame, options: Any, ddf: str, trend: str | None) -> Table:
    """Return a table of `infer()`.

    Args:
        table: what was found.
        options: the arguments of `infer()`.
        ddf: the df of the fit's own tests.
        trend: as in `marginal()`.
    """
    if options.on == "simulations":
        told = f"The middle {100 * options.conf_level:g} % of the outcomes simulated."
        return Table.of(table, "Simulated outcomes of each row", [told])
    if options.how == "joint":
        return joint(table)
    if options.how == "cv":
        return _held_out(table, options)
    notes = [f"{'; '.join(_rests_on(table, options, ddf))}."]
    if options.on == "marginal":
        return marginal(table, [*notes, *table.attrs.get("notes", ())], trend, options.how)
    return Table.of(table, f"{_ABOUT[options.on]}{_BY.get(options.how, '')}", notes)


def _rests_on(table: pd.DataFrame, options: Any, ddf: str) -> list[str]:
    found, limits = table.attrs, _limits(options.conf_level)
    if options.how == "profile":
        by_level = options.threshold is None
        return [limits if by_level else f"limits where the deviance is up by {found['threshold']:.4g}"]
    if options.how == "boot":
        parts = [f"{limits}: {found['ci_type']}", f"{_draws(table, tables.NUM_BOOT, options.n_boot)} draws"]
    elif options.how == "perm":
        n = _draws(table, tables.NUM_PERM, options.n_perm)
        parts = [limits, f"p from {n} permutations ({options.scheme})"]
    else:
        parts = [limits, *([f"df: {ddf}"] if tables.DF in table and found["errors"] == "iid" else [])]
    parts += [f"seed: {options.seed}"] if options.how in ("boot", "perm") else []
    usual = {"errors": "iid", "null": 0.0, "alternative": "two-sided"}
    parts += [f"{name}: {found[name]}" for name, value in usual.items() if found[name] != value]
    if tables.P_VAL in table and found["adjust"] != "none":
        parts.append(f"adjustment: {found['adjust']}")
    return parts


def _draws(table: pd.DataFrame, column: str, n: int) -> str:
    """Return the number of draws, and how many of them count where not all do."""
    least = int(table[column].min()) if column in table and len(table) else n
    return f"{n:,}" if least == n else f"{least:,} or more of {n:,}"


def _held_out(table: pd.DataFrame, options: Any) -> Table:
    found = table.attrs
    whole = found["holdout_group"]
    parts = ["each left out in turn" if found["k"] == "loo" else f"{found['k']} folds"]
    parts.append(f"groups of {whole} are held out whole" if whole else "rows are held out")
    parts += [] if found["k"] == "loo" else [f"seed: {options.seed}"]
    if "measure" in found:
        parts.append(f"PRE: {found['measure']}")
    title = "Predictions of what was held out" if options.on == "predictions" else "What each term adds out of sample"
    return Table.of(table, title, [f"{'; '.join(parts)}."])


def _limits(level: float) -> str:
    return f"{100 * level:g} % limits"
