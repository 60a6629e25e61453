"""The picture of what was inferred last, which all models have: `plot_inference()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import NotFittedError, OptionError
from pymer4.infer.options import InferOptions
from pymer4.infer.targets import Question
from pymer4.infer.verb import Answer
from pymer4.models.pictures import Pictures, labelled
from pymer4.plots import forest, inference
from pymer4.plots.arguments import names_among, panels
from pymer4.plots.axes import Frame, framed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKED = 40  # rows; of more a dot would hide its bar


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """What is drawn of an answer: some rows of a table.

    Attributes:
        table: these rows, under their names.
        lower: limits, shape (k,).
        upper: limits, likewise.
        draws: a column each, on the scale of the table, or None.
        observed: statistics of the data, shape (k,), or None.
        null: what is held to be true, on that scale, shape (k,), or None.
    """

    table: pd.DataFrame
    lower: np.ndarray
    upper: np.ndarray
    draws: pd.DataFrame | None
    observed: np.ndarray | None
    null: np.ndarray | None


class InferencePictures(Pictures):
    """The method of all models that draws what `infer()` found."""

    profile: Any
    _inferred: tuple[InferOptions, Answer] | None

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"_inferred": lambda self: None}

    def _forget(self) -> None:
        super()._forget()
        self._inferred = None

    @panels
    def plot_inference(
        self,
        figsize: tuple[float, float] | None = None,
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | Sequence[Axes] | None = None,
        *,
        terms: str | Sequence[str] | None = None,
        contrasts: bool = False,
    ) -> Axes | np.ndarray:
        """Draw what the last `infer()` rests on.

        After `"asymp"` estimates with their limits; after `"boot"` the draws of each quantity, with the estimate, a bar
        for its limits, and a dashed line at `null` where that is near; after `"perm"` the shuffled statistics, those as
        far out as the data's in colour, with p; after `"cv"` what each term adds to the prediction of rows held out,
        with one standard deviation over folds, or the error of each fold; after `"profile"` zeta along each parameter,
        with the thresholds that limits are at. More than 24 quantities have no panels, but their limits.

        Args:
            figsize: inches of the whole figure; by default 7 wide, as a page, and as high as the panels need.
            xlabel: label of the x axis.
            ylabel: label of the y axis.
            ax: axes to draw on, as many as there are panels.
            terms: what to draw: coefficients, contrasts or parameters, by name; by default all.
            contrasts: draw the contrasts of marginal effects, in the place of means or slopes.

        Returns:
            The axes of a single panel, or those of all, shape (panels,).

        Raises:
            NotFittedError: before `fit()`, or before `infer()`.
            OptionError: joint tests, draws that were not kept, or an argument out of its range.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> _ = model.infer("boot", n_boot=100, seed=1)
            >>> [ax.get_title() for ax in model.plot_inference()]
            ['Intercept', 'IV1']
        """
        if self._inferred is None:
            raise NotFittedError(
                "plot_inference() draws what infer() found last, and nothing was inferred yet. Call infer() first."
            )
        options, found = self._inferred
        if options.how == "joint":
            raise OptionError(
                "plot_inference() has no picture of joint tests. Call infer() with another how first, such as 'asymp'."
            )
        if contrasts and len(found.tables) < 2:
            raise OptionError("contrasts=True draws contrasts, and infer() returned none last. Leave it out.")
        frame = Frame(figsize=figsize, xlabel=xlabel, ylabel=ylabel, ax=ax)
        if options.how == "cv" and options.on == "predictions":
            return self._fold_errors(found.tables[0][tables.RMSE], frame)
        place = int(contrasts)
        question = found.questions[place] if found.questions else None
        names = [str(name) for name in (question.names if question else found.tables[place].index)]
        chosen = range(len(names)) if terms is None else map(names.index, names_among("terms", terms, names))
        rows = list(chosen)
        if options.how == "asymp" and options.on == "marginal":
            return self._marginal_picture(found.tables[place].iloc[rows], frame)
        if options.how == "cv":
            return _shares(found.tables[0].iloc[rows], frame)
        table = found.tables[place].iloc[rows].set_axis([names[i] for i in rows])
        drawn = _drawn(options, found, place, table, rows)
        named = framed(frame, xlabel=self._inferred_label(options, question, table))
        if options.how == "profile":
            return _profiles(drawn, self.profile.table, self.profile.threshold, frame)
        if options.how == "asymp" or len(rows) > inference.MOST:
            return _intervals(drawn, named, few=options.how == "asymp")
        if drawn.draws is None:
            raise OptionError(
                "plot_inference() needs the draws, which save_resamples=False did not keep. Infer again without it."
            )
        return _draws(drawn, named) if options.how == "boot" else _nulls(drawn, options, frame)

    def _inferred_label(self, options: InferOptions, question: Question | None, table: pd.DataFrame) -> str:
        """Return what the quantities are, on which scale."""
        if options.on == "coefs":
            return self._estimates_drawn()
        if options.on == "marginal":
            return self._marginal_drawn(table)
        if options.on == "variance":
            return tables.ESTIMATE if options.which == "all" else "Standard deviation, or correlation"
        linked = question is not None and question.target.link == "identity" and not self._linear
        what = "Prediction" if options.on == "predictions" else "Simulated outcome"
        return labelled(what, self._outcome_drawn("link" if linked else "response"))

    def _fold_errors(self, errors: pd.Series, frame: Frame) -> Axes:
        """Draw the errors of folds, of which the last is that of all rows."""
        ylabel = labelled(tables.RMSE, self._outcome_drawn("response"))
        return inference.folds(errors.iloc[:-1], float(errors.iloc[-1]), **framed(frame, ylabel=ylabel))


def _shares(terms: pd.DataFrame, frame: Frame) -> Axes:
    """Draw by how much each term reduces the error, with a standard deviation over folds, where there is one."""
    share, sd = (terms[name] for name in tables.SHARES)
    there = share.notna()
    share, sd = share[there], sd[there]
    label = "Reduction of error out of sample (PRE)"
    labels = framed(frame, xlabel=label, figsize=_size(len(share)))
    note = "" if sd.isna().all() else "Bars: one standard deviation over folds."
    return forest.forest(share, share - sd, share + sd, note=note, **labels)


def _drawn(options: InferOptions, found: Answer, place: int, table: pd.DataFrame, rows: list[int]) -> _Drawn:
    """Return rows of the table at a place of an answer, with their draws on its scale."""
    if options.on == "simulations":
        lower, upper = (table.iloc[:, j] for j in (2, 3))
    else:
        level = table.attrs.get("level", options.conf_level)
        lower, upper = (table[name] for name in tables.limit_columns(level, options.alternative))
    draws = found.resamples[place].iloc[:, rows].set_axis(table.index, axis=1) if found.resamples else None
    observed, null = found.observed[place][rows] if len(found.observed) else None, None
    if found.questions:
        target = found.questions[place].target
        null = target.shown(np.full(len(rows), options.null))
        if draws is not None and options.how == "boot":
            offset = np.broadcast_to(target.offset, len(found.tables[place]))[rows]
            draws = pd.DataFrame(target.shown(draws.to_numpy() + offset), columns=draws.columns)
    return _Drawn(table, lower.to_numpy(dtype=float), upper.to_numpy(dtype=float), draws, observed, null)


def _intervals(drawn: _Drawn, frame: Frame, few: bool) -> Axes:
    """Draw estimates with limits one above another; `few` says that nothing else would be drawn of fewer."""
    estimates = drawn.table.iloc[:, 0]
    note = "" if few else f"Limits alone, as these are more than {inference.MOST}: terms= names some."
    wide = forest.crowding(estimates, drawn.lower, drawn.upper, None)
    if wide is not None:
        note = f"{note} {wide} takes up most of the axis; terms= leaves it out.".strip()
    size = _size(len(estimates))
    mark = "o" if len(estimates) <= _MARKED else "|"
    return forest.forest(estimates, drawn.lower, drawn.upper, fmt=mark, note=note, **framed(frame, figsize=size))


def _size(rows: int) -> tuple[float, float]:
    """Return the size of a figure, in inches, of so many rows."""
    return 7.0, float(np.clip(1.0 + 0.4 * rows, 2.5, 9.0))


def _draws(drawn: _Drawn, frame: Frame) -> Axes | np.ndarray:
    assert drawn.draws is not None
    null = None if drawn.null is None else float(drawn.null[0])
    estimates = drawn.table[tables.ESTIMATE]
    return inference.draws(drawn.draws, estimates, drawn.lower, drawn.upper, null=null, **frame)


def _nulls(drawn: _Drawn, options: InferOptions, frame: Frame) -> Axes | np.ndarray:
    assert drawn.draws is not None and drawn.observed is not None
    there = np.isfinite(drawn.observed)
    if not there.any():
        raise OptionError(
            f"Shuffles by scheme={options.scheme!r} test none of these, so there is no distribution to draw. Means of "
            "marginal effects have contrasts=True; for others infer() by another scheme, or how='boot'."
        )
    draws, p = drawn.draws.loc[:, there], drawn.table[tables.PERM_P_VAL][there]
    return inference.nulls(draws, drawn.observed[there], p, alternative=options.alternative, **frame)


def _profiles(drawn: _Drawn, traces: pd.DataFrame, threshold: float, frame: Frame) -> Axes | np.ndarray:
    parameter, value, zeta = tables.TRACED
    parts = {name: part for name, part in traces.groupby(parameter, sort=False)}
    curves = [(name, parts[name][value].to_numpy(), parts[name][zeta].to_numpy()) for name in drawn.table.index]
    estimates = drawn.table[tables.ESTIMATE]
    return inference.zetas(curves, estimates, drawn.lower, drawn.upper, threshold=threshold, **frame)
