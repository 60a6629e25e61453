"""Predictions and simulated outcomes of a fitted `Lmer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import frames, intake
from pymer4.data.columns import NUMBERS, Column, normalise
from pymer4.data.factors import conform
from pymer4.data.ranks import on_ranks
from pymer4.errors import (
    DataError,
    ModelWarning,
    OptionError,
    count,
    few,
    issue,
    issue_all,
    one_of,
    tells_keywords,
    truth,
    verbosity,
)
from pymer4.models.base import Interval, spread
from pymer4.models.lmer_state import LmerState
from pymer4.rbridge import bridge
from pymer4.work import Seed, seed_stream

_DRAWS = 2000  # of a simulated prediction interval


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The rows that `predict()` was last asked for, of which `infer()` can say more.

    Attributes:
        rows: what R is told of those without a missing predictor; None where there is none.
        complete: which these are, shape (n,).
        index: labels of all rows.
        link: whose inverse carries a predictor to the scale that was asked for.
    """

    rows: Mapping[str, Any] | None
    complete: np.ndarray
    index: pd.Index
    link: str


class LmerPredictions(LmerState):
    """The predicting methods of `Lmer`."""

    _predicted: Predicted | None

    @tells_keywords()
    def predict(
        self,
        data: Any,
        use_rfx: bool = False,
        pred_type: Literal["response", "link"] = "response",
        verbose: bool | int = False,
        *,
        skip_data_checks: bool = False,
        verify_predictions: bool = False,
        interval: Interval | None = None,
        conf_level: float | None = None,
        new_levels: Literal["error", "population"] = "error",
        seed: Seed = None,
    ) -> np.ndarray | pd.DataFrame:
        """Predict the outcome of rows old or new, with limits where asked for.

        A confidence interval is about the mean of a row: of the population, x b, or with `use_rfx` of its groups,
        x b + z u. The variance of the first is x V x', of the second sigma^2 l C l' with l = (x, z) and C the inverse
        of Henderson's mixed-model equations at the fitted theta (Henderson 1975, Biometrics 31; theta counts as
        known). A prediction interval is about one new outcome: it adds sigma^2 / w, and z G z' for the random effects
        of groups that are not known, all of them without `use_rfx`.

        Limits of a linear model are by t. The df are the fit's `ddf`; where it has none for a row, Satterthwaite's
        of the variance at hand: for x b + z u (McLean & Sanders 1988) and for predictions (Francq, Lin & Hoyer 2019,
        Stat. Med. 38) also after a Kenward-Roger fit. Limits of a generalized model are by the normal quantile on
        the link scale, and carried over to the response; SE there is by the delta method. Its prediction intervals
        are quantiles of 2,000 simulated outcomes, SE their standard deviation.

        Args:
            data: the raw predictors, any number of rows, in a frame of any kind; with `use_rfx` the grouping variables
                too. A prediction interval needs the variables of the random effects, the column of the weights, and
                what a `cbind()` outcome takes its trials from. After `fit(rank=True)` values are put on the ranks of
                the data, between them by interpolation, within `rank_group`, whose column is needed then; predictions
                are ranks.
            use_rfx: condition on the groups' random effects; else predict for the population.
            pred_type: scale of the outcome; both are one for a linear model.
            verbose: print R's warnings about the prediction.
            skip_data_checks: accepted for old code; the checks cost nothing.
            verify_predictions: accepted for old code.
            interval: `"confidence"` or `"prediction"`; None for no limits.
            conf_level: level of the limits, by default that of the fit.
            new_levels: what groups do that the fit has not seen: stop, or get the population's prediction.
            seed: makes the simulation behind a generalized model's prediction interval repeatable.

        Returns:
            Predictions, shape (rows,), NaN where a predictor is missing. With `interval` a frame of Estimate, SE and
            the two limits with the index of `data`, NaN likewise; `attrs` holds `interval`, `conf_level`, `ddf` (how
            the df of the limits were got) and `scale`.

        Raises:
            DataError: a variable or a group is not known, or weights can't be matched to the rows.
            OptionError: an argument out of its range, or a prediction interval that the outcome has not.
            FormulaError: a function of a whole column, such as `rank(x)`, that the fit does not tell for a new row.
            NotFittedError: before `fit()`.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> sleep = load_dataset("sleepstudy")
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", sleep)
            >>> _ = model.fit(summarize=False)
            >>> model.predict(sleep.head(2), use_rfx=True, interval="prediction").round(1)
               Estimate    SE  2.5_ci  97.5_ci
            0     253.7  28.4   197.6    309.7
            1     273.3  27.7   218.7    328.0
        """
        self._require_fit("predict()")
        use_rfx, verbose = truth("use_rfx", use_rfx), verbosity(verbose)
        one_of("pred_type", pred_type, ("response", "link"))
        one_of("new_levels", new_levels, ("error", "population"))
        asked = self._limits_asked(interval, conf_level, use_rfx, pred_type, seed)
        needed = self._predictors(use_rfx, varying=interval == "prediction")
        within = {ranks.within for name, ranks in self._ranks.items() if name in needed} - {"", *needed}
        named = [*needed, *within, *frames.texts(self._offset, self._weights), *self._reading.response.columns]
        data = frames.frame("data", data, lambda _: named)
        columns, complete = intake.rows_for([*needed, *within], data, "predict()")
        offset = self._per_row("offset", self._offset, data)
        if offset is not None:
            complete &= ~np.isnan(offset)
        if asked is not None and interval == "prediction":
            asked |= self._of_new_outcomes(data, complete)
        used, found = intake.subset(columns, complete), {}
        rows: dict[str, Any] | None = None
        if complete.any():
            rows = {
                "data": on_ranks(self._conformed({name: used[name] for name in needed}), used, self._ranks),
                "n": int(complete.sum()),
                "conditional": use_rfx,
                "unseen": new_levels,
                "offset": 0.0 if offset is None else offset[complete],
            }
            if asked is None and self._knows(data, needed):
                found = {"prediction": self._native.fits(use_rfx)}
            else:
                model = self._for_new_rows
                reply = bridge.call("predict_mixed", model=model, type=pred_type, interval=asked, **rows)
                found = reply.value
                _refuse(found)
                _say(reply, verbose, aloud=interval is not None)
            undefined = np.flatnonzero(complete)[np.isnan(found["prediction"])]
            if len(undefined):
                issue(
                    f"A term has no value in row(s) {few(undefined, 5, ', and')}, counted from 0, such as cut() "
                    "beyond its breaks or log() below 0: these predict NaN.",
                    ModelWarning,
                )
        self._predicted = Predicted(rows, complete, data.index, "identity" if pred_type == "link" else self.link)
        self._latest = "predictions"
        values = [spread(found.get(name, np.nan), complete) for name in ("prediction", "se", "lower", "upper")]
        if asked is None:
            return values[0]
        attrs = {"interval": interval, "conf_level": asked["level"], "ddf": asked["ddf"]}
        attrs["scale"] = "link" if pred_type == "link" else "response"
        return tables.prediction_table(values, asked["level"], data.index, attrs)

    def _rows_used(self) -> np.ndarray:
        return self._used

    def _offsets(self) -> set[str]:
        return {*self._reading.offset, *([self._offset] if isinstance(self._offset, str) else [])}

    def _df_of_limits(self) -> float:
        return float("inf")

    def _fixed_rows(self, data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the fixed part of rows, as R makes it, and their offset."""
        needed, n = self._predictors(use_rfx=False), len(data)
        columns, complete = intake.rows_for(needed, data, "to_marginaleffects()")
        known = self._per_row("offset", self._offset, data)
        known = np.zeros(n) if known is None else np.array(known)
        complete &= ~np.isnan(known)
        X = np.full((n, len(self.coefs)), np.nan)
        if complete.any():
            rows = self._conformed(intake.subset(columns, complete))
            how = {"n": int(complete.sum()), "conditional": False, "unseen": "population", "offset": known[complete]}
            found = bridge.call("prediction_rows", model=self._for_new_rows, data=rows, **how).value
            X[complete], known[complete] = found["X"], found["known"]
        return X, known

    def _knows(self, data: pd.DataFrame, names: list[str]) -> bool:
        """Whether a native fit used all rows of its data, and these have the same values in the columns named."""
        if self._native is None or not self._used.all() or self._ranks or len(data) != len(self._frame):
            return False
        names = [*names, *(name for name in (self._offset,) if isinstance(name, str))]
        return all(self._frame[name].array.equals(data[name].array) for name in names)

    def _limits_asked(
        self, interval: Interval | None, conf_level: float | None, use_rfx: bool, pred_type: str, seed: Seed
    ) -> dict[str, Any] | None:
        """Return the argument `interval` of R's verb, but for what the rows say; None for no limits."""
        one_of("interval", interval, (None, *get_args(Interval)))
        level = self._level(conf_level)
        (seed,) = seed_stream(seed, 1)
        if interval is None:
            return None
        if interval == "prediction" and not self._linear and pred_type == "link":
            raise OptionError(
                "A prediction interval is about new outcomes, which have no link scale. Use pred_type='response', or "
                "interval='confidence'."
            )
        ddf = self._options.ddf if self._linear else "asymptotic"
        adjusted = ddf == "Kenward-Roger" and not use_rfx
        if ddf == "Kenward-Roger" and (use_rfx or interval == "prediction"):
            ddf = "Satterthwaite"
        asked = {"kind": interval, "level": level, "ddf": ddf, "adjusted": adjusted}
        return asked | {"draws": _DRAWS, "seed": int(seed)}

    def _of_new_outcomes(self, data: pd.DataFrame, rows: np.ndarray) -> dict[str, Any]:
        """Return what a prediction interval takes beside the predictors: weights, and outcomes that tell trials."""
        weights = self._per_row("weights", self._weights, data) if self.family not in ("poisson", "nbinom") else None
        if weights is not None and (np.isinf(weights).any() or (weights <= 0).any()):
            raise DataError(
                f"predict() was given weights from {np.nanmin(weights):g} to {np.nanmax(weights):g}. A prediction "
                "interval needs finite ones above 0."
            )
        outcome = None
        if self.family == "binomial":
            used = self._reading.response.columns
            counts = [name for name in used if self._kinds[name].kind in NUMBERS]
            there = normalise(data, [name for name in counts if name in data.columns])
            outcome = self._conformed(intake.subset(there, rows)) or None
        return {"weights": None if weights is None else weights[rows], "outcome": outcome}

    def _predictors(self, use_rfx: bool, varying: bool = False) -> list[str]:
        """Return the columns right of `~` that a prediction needs, of random terms all, or those that vary, or none."""
        terms = self._reading.random if use_rfx else ()
        random = self._reading.varying if varying else ()
        return list(dict.fromkeys([*self._reading.fixed, *(name for term in terms for name in term.columns), *random]))

    def _conformed(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return new columns as the kinds of column that the model was fitted to."""
        groups = set(self._reading.groups).difference(self._reading.predictors)
        return {name: conform(c, self._kinds[name], name, name in groups) for name, c in columns.items()}

    def _per_row(self, argument: str, given: str | np.ndarray | None, data: pd.DataFrame) -> np.ndarray | None:
        """Return the model's "weights" or "offset", a column's name or the numbers of the fit, for new rows."""
        if isinstance(given, str):
            if given not in data.columns:
                raise DataError(f"predict() needs the column {given!r} of the {argument}, which the data do not have.")
            return intake.numbers_of(argument, given, data)
        if given is not None and not data.index.equals(self._frame.index):
            raise DataError(
                f"{argument} was given as an array of {len(given)} numbers, which belong to the rows of the fit and "
                f"can't be matched to these {len(data)} rows. Put them into the data, and give the column's name as "
                f"{argument}= when the model is made."
            )
        return given

    @tells_keywords()
    def simulate(
        self, num_datasets: int, use_rfx: bool = True, verbose: bool | int = False, *, seed: Seed = None
    ) -> pd.DataFrame:
        """Draw new outcomes from the fitted model.

        By default they are of the same groups, whose random effects stay as they were estimated. A study of power needs
        new groups, `use_rfx=False`: with the same ones, fits differ too little from each other, and power comes out too
        high.

        Args:
            num_datasets: how many.
            use_rfx: keep the groups' random effects; False draws new ones for each dataset.
            verbose: print R's warnings about the simulation.
            seed: makes the draws repeatable.

        Returns:
            One row a row used, one column `sim_1`, `sim_2`, ... a dataset.

        Raises:
            NotFittedError: before `fit()`.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (1 | Subject)", load_dataset("sleepstudy"))
            >>> model.fit(summarize=False)
            >>> drawn = model.simulate(3, seed=1)
            >>> drawn.shape, drawn.columns.tolist()
            ((180, 3), ['sim_1', 'sim_2', 'sim_3'])
        """
        self._require_fit("simulate()")
        verbose = verbosity(verbose)
        reply = bridge.call(
            "simulate_mixed",
            model=self._handle,
            n=count("num_datasets", num_datasets),
            conditional=truth("use_rfx", use_rfx),
            seed=int(seed_stream(seed, 1)[0]),
        )
        _say(reply, verbose)
        drawn = tables.simulation_table(reply.value["simulations"], self._frame.index[self._used])
        return self._keep_simulated(drawn)


def _say(reply: bridge.Reply, verbose: int, aloud: bool = False) -> None:
    """Print what R said where `verbose`; `aloud` makes its warnings Python's."""
    if aloud:
        issue_all(reply.warnings)
    for text in (*(() if aloud else reply.warnings), *reply.messages) if verbose else ():
        print(text)


def _refuse(found: Mapping[str, Any]) -> None:
    """Raise what an answer says is in the way of a prediction."""
    if "unseen" in found:
        groups = "; ".join(f"{group}: {few(levels)}" for group, levels in found["unseen"].items())
        raise DataError(
            f"The model was not fitted to these groups ({groups}), so it has no random effects for them. Predict them "
            "for the population with new_levels='population', or all rows with use_rfx=False."
        )
    if found.get("refused") == "binary":
        raise OptionError(
            "An outcome of 0 or 1 has no prediction interval but these two numbers. interval='confidence' gives limits "
            "of its probability; outcomes of several trials have prediction intervals too."
        )
    if found.get("refused") == "trials":
        raise DataError("A prediction interval needs the number of trials of each row as a whole number of at least 0.")
    if "refused" in found:
        raise DataError(
            "A prediction interval needs the number of trials of each row: give the column(s) "
            f"{', '.join(map(repr, found['columns']))}, whose sum in cbind() they are."
        )
