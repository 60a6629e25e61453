"""Predictions and simulated outcomes of a fitted `Lmer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from pymer4 import bridge, intake, tables
from pymer4.columns import Column, normalise
from pymer4.errors import DataError, one_of
from pymer4.formula import fixed_names, names_in
from pymer4.models.base import truth
from pymer4.recoding import conform
from pymer4.resample import count, seed_stream


class LmerPredictions:
    """The predicting methods of `Lmer`."""

    def predict(
        self,
        data: pd.DataFrame,
        use_rfx: bool = False,
        pred_type: Literal["response", "link"] = "response",
        verbose: bool = False,
        *,
        skip_data_checks: bool = False,
        verify_predictions: bool = False,
        new_levels: Literal["error", "population"] = "error",
    ) -> np.ndarray:
        """Predict the outcome of rows old or new.

        Args:
            data: the raw predictors, any number of rows; with `use_rfx` the grouping variables too.
            use_rfx: condition on the groups' random effects; else predict for the population.
            pred_type: scale of the outcome; both are one for a gaussian model.
            verbose: print R's warnings about the prediction.
            skip_data_checks: accepted for old code; the checks cost nothing.
            verify_predictions: accepted for old code.
            new_levels: what groups do that the fit has not seen: stop, or get the population's prediction.

        Returns:
            Predictions, shape (rows,), NaN where a predictor is missing.

        Raises:
            DataError: a variable or a group is not known.
            NotFittedError: before `fit()`.
        """
        self._require_fit("predict()")
        use_rfx = truth("use_rfx", use_rfx)
        one_of("pred_type", pred_type, ("response", "link"))
        one_of("new_levels", new_levels, ("error", "population"))
        columns, complete = intake.rows_for(self._predictors(use_rfx), data, "predict()")
        offset = self._offset_of(data)
        result = np.full(len(data), np.nan)
        if complete.any():
            reply = bridge.call(
                "predict_mixed",
                model=self._handle,
                data=self._conformed(intake.subset(columns, complete)),
                n=int(complete.sum()),
                conditional=use_rfx,
                type=pred_type,
                unseen=new_levels,
            )
            if "unseen" in reply.value:
                raise _unseen(reply.value["unseen"])
            _say(reply, verbose)
            result[complete] = reply.value["prediction"]
        return result if offset is None else result + offset

    def _predictors(self, use_rfx: bool) -> list[str]:
        """Return the columns that a prediction needs: those on the right of `~`, groups only where they count."""
        outcome, fixed = names_in(self._parsed.response), names_in(self._parsed.fixed)
        if self._parsed.uses_dot:
            return [name for name in self._frame.columns if name not in outcome]
        random = [name for term in self._parsed.random for name in names_in(term.node)] if use_rfx else []
        return [name for name in dict.fromkeys([*fixed, *random]) if name in self._frame.columns]

    def _conformed(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return new columns as the kinds of column that the model was fitted to."""
        fixed = fixed_names(self._parsed, list(self._kinds))
        groups = [name for name in self._parsed.group_names if name not in fixed]
        return {name: conform(c, self._kinds[name], name, name in groups) for name, c in columns.items()}

    def _offset_of(self, data: pd.DataFrame) -> np.ndarray | None:
        if isinstance(self._offset, str):
            if self._offset not in data.columns:
                raise DataError(f"predict() needs the offset's column {self._offset!r}, which the data do not have.")
            column = normalise(data, [self._offset])[self._offset]
            if column.kind not in ("double", "integer"):
                raise DataError(f"The offset's column {self._offset!r} has to hold numbers.")
            return np.where(column.missing, np.nan, column.values.astype(float))
        if self._offset is not None and len(data) != len(self._offset):
            raise DataError(
                f"The offset was given as an array of {len(self._offset)} numbers and can't be matched to {len(data)} "
                "rows. Put it into the data, and give its column's name as offset= when the model is made."
            )
        return self._offset

    def simulate(
        self, num_datasets: int, use_rfx: bool = True, verbose: bool = False, *, seed: int | None = None
    ) -> pd.DataFrame:
        """Draw new outcomes from the fitted model.

        Args:
            num_datasets: how many.
            use_rfx: keep the groups' random effects; False draws new ones.
            verbose: print R's warnings about the simulation.
            seed: makes the draws repeatable.

        Returns:
            One row a row used, one column `sim_1`, `sim_2`, ... a dataset.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("simulate()")
        reply = bridge.call(
            "simulate_mixed",
            model=self._handle,
            n=count("num_datasets", num_datasets),
            conditional=truth("use_rfx", use_rfx),
            seed=int(seed_stream(seed, 1)[0]),
        )
        _say(reply, verbose)
        return tables.simulation_table(reply.value["simulations"], self._frame.index[self._used])


def _say(reply: bridge.Reply, verbose: bool) -> None:
    for text in (*reply.warnings, *reply.messages) if verbose else ():
        print(text)


def _unseen(groups: Mapping[str, list[str]]) -> DataError:
    shown = "; ".join(
        f"{group}: {', '.join(levels[:8])}{f' and {len(levels) - 8} more' if len(levels) > 8 else ''}"
        for group, levels in groups.items()
    )
    return DataError(
        f"The model was not fitted to these groups ({shown}), so it has no random effects for them. Predict them for "
        "the population with new_levels='population', or all rows with use_rfx=False."
    )
