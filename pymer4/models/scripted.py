"""`to_r()`: a model as a script that R runs by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pymer4.errors import OptionError
from pymer4.infer.contrasts import weighted
from pymer4.models.effects import Effects
from pymer4.models.r_script import Script, arguments, checked_path, fragment, literal, symbol, vector, write

UNDONE = re.compile(r"(log|log2|log10|log1p|sqrt)\((`.*`|[\w.]+)\)")
"""Outcomes of which emmeans knows what undoes them."""

MAKERS = {"gamma": "Gamma", "inverse_gaussian": "inverse.gaussian"}
"""What R calls the families that it has under another name."""


class Scripted(Effects):
    """A model that can be written as an R script."""

    _script: Callable[[], Script]

    def to_r(self, path: str | os.PathLike[str]) -> Path:
        """Write an R script that fits the model again, and gives the same numbers without this package.

        The data lie beside it, in a CSV of the same name: the columns as they were fitted, ranks if these were.
        The script has the marginal means that were asked for last. It has no resampled limits and p; it says so, and
        gives the parametric ones. Both files are written, or none.

        Args:
            path: the script, which ends in `.R`; it and its CSV are replaced where they are there.

        Returns:
            The path of the script.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: a path that does not end in `.R`, or a model that no script can be written of; why.
            FileError: the files can't be written, or a CSV of this name is there that belongs to no script.

        Examples:
            >>> import tempfile
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     script = model.to_r(f"{folder}/model.R")
            ...     [line for line in script.read_text().splitlines() if line.startswith("model <-")]
            ['model <- lm(DV ~ 1 + IV1, data = data)']
        """
        self._require_fit("to_r()")
        place = checked_path(path)
        write(place, self._script())
        return place

    def _resampled(self) -> list[str]:
        """Return what a script does not give of the inference of the fit."""
        told = []
        if self._options.conf_int == "boot":
            told.append("limits and p of the bootstrap; the script gives parametric ones.")
        if self._options.permute:
            told.append("p of permutations; the script gives parametric ones.")
        return told

    def _family_call(self) -> str:
        return fragment("family", maker=MAKERS.get(self.family, self.family), link=literal(self.link)).strip()

    def _means_in_words(self, of_offset: Iterable[str], reasons: Mapping[str, bool]) -> list[str]:
        """Return why the script has not the marginal means that were asked for; nothing where it has, or none were."""
        asked = self._marginal_asked
        if asked is None:
            return []
        named = {*asked["specs"], *(asked["by"] or ()), *(asked["at"] or ()), asked["trend"]}
        reasons = {"they ask for values of the offset": bool(named & set(of_offset)), **reasons}
        return [f"the marginal means, since {why}." for why, holds in reasons.items() if holds][:1]

    def _marginal_calls(self, offset: str, **more: str) -> list[str]:
        """Return the calls for the marginal means that were asked for last; `more` are arguments for emmeans."""
        asked = self._marginal_asked
        assert asked is not None
        level, scale = literal(asked["level"]), literal(asked["type"])
        given = {"specs": vector(asked["specs"] or ["1"])}
        if asked["trend"] is not None:
            given["var"] = literal(asked["trend"])
            if asked["type"] == "response":
                given["regrid"] = literal("response")
        for name in ("by", "at"):
            if asked[name]:
                given[name] = literal(asked[name])
        if offset and asked["trend"] is None:
            given["offset"] = offset
        call = f"{'emmeans' if asked['trend'] is None else 'emtrends'}(model, {arguments(**given, **more)})"
        told = [fragment("seed")] if asked["adjust"] == "mvt" else []
        told.append(fragment("means", call=call, level=level, type=scale))
        if self.marginal_contrasts is not None:
            method, adjust = self._method(asked), literal(asked["adjust"])
            told.append(fragment("compared", method=method, adjust=adjust, level=level, type=scale))
        return told

    def _method(self, asked: Mapping[str, Any]) -> str:
        wanted = asked["contrasts"]
        if isinstance(wanted, str):
            return literal(wanted)
        frame, by = self.marginal_estimates, asked["by"] or []
        first = frame[(frame[by] == frame[by].iloc[0]).all(axis=1)]
        columns = {name: name if name in first else f"{name} (variable)" for name in asked["specs"]}
        K = weighted(wanted, {name: list(first[column]) for name, column in columns.items()}, " ")
        return literal({name: list(map(float, row)) for name, row in zip(wanted, K, strict=True)})


def call_of(function: str, formula: str, columns: Mapping[str, str], **more: str) -> str:
    """Return the call that fits a model: `columns` are arguments that are columns of the data."""
    given = {name: symbol(column) for name, column in columns.items()}
    return f"{function}({formula}, {arguments(data='data', **given, **more)})"


def refused(why: str, instead: str) -> OptionError:
    """Return the error for a model of which no script can be whole."""
    return OptionError(f"to_r() can't write this model: {why}. {instead}")
