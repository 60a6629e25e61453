"""Contrasts of marginal means: the weights of each family and what they are called, both as in R's emmeans."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pymer4.data.columns import level_name, places
from pymer4.data.contrasts import polynomial
from pymer4.infer import grids
from pymer4.infer.adjust import BY_NUMBER, adjusted, applied
from pymer4.infer.asymptotic import Alternative
from pymer4.infer.estimable import independent_rows
from pymer4.infer.reference import Rows
from pymer4.infer.targets import Adjusted, Estimates

_DEGREES = ("linear", "quadratic", "cubic", "quartic")
_NOTHING = "(nothing)"


def compared(rows: Rows, wanted: Any, ratio: bool) -> tuple[Rows, bool] | None:
    """Return contrasts of means in each group, and whether all are differences; None for families of a single mean.

    Args:
        rows: the means.
        wanted: what `grids.comparisons` made of the contrasts asked for, not None.
        ratio: whether differences are shown as ratios.

    Raises:
        OptionError: weights that do not fit the cells.
    """
    names = [name for name in rows.labels if name not in rows.by]
    texts = [_texts(name, rows.labels[name]) for name in names]
    groups = _groups(rows.families)
    largest = max(groups, key=len)
    if isinstance(wanted, str) and len(largest) == 1:
        return None
    between = next((b for b in (" ", ", ", " | ") if _differ(texts, largest, b)), " | ")
    found, called, first, are_differences = [], [], [], True
    for group in groups:
        if isinstance(wanted, str):
            cells = [_bracketed(between.join(part[i] for part in texts)) for i in group]
            K, told = _family(wanted, cells, " / " if ratio else " - ")
        else:
            K, told = weighted(wanted, {name: rows.labels[name][group] for name in names}, between), list(wanted)
        if not len(K):
            K, told = np.full((1, len(group)), np.nan), [_NOTHING]
        else:
            are_differences &= bool((np.abs(K.sum(axis=1)) < 1e-6 * (1e-6 + np.abs(K).max(axis=1))).all())
        found.append(combined(K, rows.X[group]))
        called += told
        first += [group[0]] * len(K)
    labels = {name: rows.labels[name][first] for name in rows.by}
    X, families = np.concatenate(found), rows.families[first]
    return replace(rows, labels=labels, X=X, families=families, contrasts=tuple(called)), are_differences


def adjusting(
    families: np.ndarray, L: np.ndarray, noise: np.ndarray, adjust: str, pairwise: bool
) -> tuple[str, Adjusted]:
    """Return the adjustment that is made in the largest family of contrasts, and what makes it in each.

    Args:
        families: the family of each contrast, counted from 0, shape (k,).
        L: over the columns of a design, also for what can't be estimated, shape (k, p).
        noise: size of numbers in its columns that are none, shape (p,).
        adjust: a name that `grids.adjustment` returns.
        pairwise: whether each family is all pairwise differences of one set of means.
    """
    groups = _groups(families)

    def tests(
        found: Estimates, statistic: np.ndarray, level: float, alternative: Alternative
    ) -> tuple[np.ndarray, np.ndarray]:
        p, reach = np.full((2, len(L)), np.nan)
        V = found.covariance() if adjust == "mvt" else None
        alike: dict[tuple[Any, ...], list[np.ndarray]] = {}
        for place, group in enumerate(groups):
            how = applied(adjust, len(group), pairwise=pairwise, alternative=alternative)
            k = int((~np.isnan(found.values[group])).sum())
            rank = len(independent_rows(L[group], noise)) if how == "scheffe" else 1
            alike.setdefault((how, k, rank, None if how in BY_NUMBER else place), []).append(group)
        for (how, k, rank, _), some in alike.items():
            at = np.concatenate(some)
            more: dict[str, Any] = {} if V is None else {"V": np.nan_to_num(V[np.ix_(at, at)])}
            more |= {"level": level, "alternative": alternative, "rank": rank, "k": k}
            p[at], reach[at] = adjusted(statistic[at], found.df[at], how, **more)
        return p, reach

    return applied(adjust, max(map(len, groups)), pairwise=pairwise), tests


def _groups(families: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(families == family) for family in range(families.max(initial=0) + 1)]


def combined(K: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return combinations of rows, NaN where one of those that count has no value or a weight is none."""
    lost = np.isnan(X).any(axis=1)
    found = K @ np.where(lost[:, None], 0.0, X)
    found[np.isnan(K).any(axis=1) | (K[:, lost] != 0).any(axis=1)] = np.nan
    return found


def _texts(name: str, values: Any) -> list[str]:
    """Return levels as contrasts spell them, with the name of the variable where they are numbers."""
    array = np.asarray(values)
    texts = [_number(value) for value in array] if array.dtype.kind in "iuf" else [level_name(value) for value in array]
    return [name + text for text in texts] if all(map(_spells_number, texts)) else texts


def _number(value: float) -> str:
    """Return a number as R spells it, the shorter one of both ways, with 15 digits at most."""
    digits, _, power = f"{value:.14e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    short = f"{digits}e{power}"
    plain = f"{value:.{max(0, len(digits.lstrip('-').replace('.', '')) - 1 - int(power))}f}"
    return plain if len(plain) <= len(short) else short


def _spells_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return not np.isnan(float(text))
    return False


def _bracketed(label: str) -> str:
    return f"({label})" if any(sign in label for sign in "-+/*") else label


def _differ(texts: Sequence[list[str]], group: np.ndarray, between: str) -> bool:
    return len({between.join(part[i] for part in texts) for i in group}) == len(group)


def _family(family: str, labels: Sequence[str], less: str) -> tuple[np.ndarray, list[str]]:
    """Return the weights of a family of contrasts of k means, shape (contrasts, k), and what they are called."""
    k = len(labels)
    eye = np.eye(k)
    if family == "eff":
        return eye - 1 / k, [f"{label} effect" for label in labels]
    if family == "poly":
        if k < 2:
            return eye[:0], []
        names = [_DEGREES[i] if i < len(_DEGREES) else f"degree {i + 1}" for i in range(min(6, k - 1))]
        return np.array([_whole(weights) for weights in polynomial(k).T[:6]]), names
    if family == "pairwise":
        i, j = np.triu_indices(k, 1)
    elif family == "trt.vs.ctrl":
        i, j = np.arange(1, k), np.zeros(k - 1, dtype=int)
    else:
        i, j = np.arange(1, k), np.arange(k - 1)
    return eye[i] - eye[j], [f"{labels[a]}{less}{labels[b]}" for a, b in zip(i, j, strict=True)]


def _whole(weights: np.ndarray) -> np.ndarray:
    """Return the weights of a polynomial as whole numbers, or nearly so, over the least of those above 0."""
    weights = weights / weights[weights > 0.01].min()
    gap = np.abs(weights - np.round(weights)).max()
    while gap > 0.05:
        weights = weights / gap
        gap = np.abs(weights - np.round(weights)).max()
    return np.round(weights)


def weighted(wanted: Mapping[str, Mapping[str, Any]], cells: Mapping[str, Any], between: str) -> np.ndarray:
    """Return the weights that were written, 0 for a cell that is not named, shape (contrasts, cells)."""
    names = [[level_name(level) for level in levels] for levels in cells.values()]
    known = [list(dict.fromkeys(levels)) for levels in names]
    place = {cell: i for i, cell in enumerate(zip(*names, strict=True))} or {(): 0}
    joined = {between.join(cell): i for cell, i in place.items()}
    K = np.zeros((len(wanted), len(place)))
    for row, (contrast, given) in zip(K, wanted.items(), strict=True):
        if given["cells"] is None:
            if len(given["weights"]) != len(row):
                raise grids.unfit(wanted, contrast, 0, cells)
            row[:] = given["weights"]
        for number, (cell, weight) in enumerate(zip(given["cells"] or (), given["weights"], strict=False), 1):
            at = [places([text], levels)[0] for text, levels in zip(cell, known, strict=False)]
            found = joined.get(cell[0]) if len(cell) == 1 else None
            if len(cell) == len(known) and min(at, default=0) >= 0:
                found = place.get(tuple(levels[i] for i, levels in zip(at, known, strict=True)))
            if found is None:
                raise grids.unfit(wanted, contrast, number, cells)
            row[found] = weight
    return K
