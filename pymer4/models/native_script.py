"""An `Lm` or an `Lm2` as an R script."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, level_name
from pymer4.data.sample import Sample
from pymer4.models.lm2_inference import Lm2Inference
from pymer4.models.lm_answers import LmAnswers
from pymer4.models.r_script import Script, fragment, free_name, literal
from pymer4.models.r_terms import Written, data_of, with_codes
from pymer4.models.scripted import UNDONE, Scripted, call_of, refused


class LmScript(Scripted, LmAnswers):
    """What a script of an `Lm` says."""

    def _script(self) -> Script:
        found, options = self._sample(), self._options
        written, named = data_of(self._design, found)
        untold, packages = [*self._resampled(), *_notes(self, written)], []
        moments, more = self._moments(found, written)
        note = self._untold_means(written)
        means = [] if note or self._marginal_asked is None else self._means_by_emmeans(found)
        if self.family == "nbinom":
            packages.append("MASS")
        packages += ["sandwich"] if options.robust else []
        packages += ["emmeans"] if means else []
        body = [
            fragment("model", call=self._call(f"{written.outcome} ~ {written.right}", named)),
            *([] if self._linear or self.family == "nbinom" else [fragment("again")]),
            moments,
            *more,
            fragment("native limits", level=literal(options.conf_level)),
            fragment("table"),
            *([fragment("odds")] if (self.family, self.link) == ("binomial", "logit") else []),
            fragment("measures"),
            *means,
        ]
        return _script(self, "Lm", written, body, packages, [*untold, *note])

    def _call(self, formula: str, named: dict[str, str]) -> str:
        if self._linear:
            return call_of("lm", formula, named)
        control = fragment("tight").strip()
        if self.family == "nbinom":
            return call_of("glm.nb", formula, named, link=self.link, control=control)
        return call_of("glm", formula, named, family=self._family_call(), control=control)

    def _moments(self, found: Sample, written: Written) -> tuple[str, list[str]]:
        """Return what computes estimates, covariance and df, and the columns it needs are put into the data."""
        options, kind = self._options, self._options.kind
        told = {"type": literal(kind.upper()), "lags": literal(options.n_lags)}
        if kind == "cluster":
            told["group"] = literal(with_codes(written, ".cluster", found.clusters))
        robust = "hc" if kind.startswith("hc") else kind
        covariance = fragment(f"covariance {robust}", **told).strip()
        df = "Inf" if self._asymptotic else fragment("df cluster" if kind == "cluster" else "df", **told).strip()
        moments = fragment("native moments", covariance=covariance, df=df)
        if np.ndim(self._fit.df) == 0 or found.groups is None:
            return moments, []
        group = literal(with_codes(written, ".group", found.groups))
        return moments, [fragment("welch", group=group, weights=literal(".weights"))]

    def _untold_means(self, written: Written) -> list[str]:
        asked = self._marginal_asked or {}
        on_response = asked.get("type") == "response" and not UNDONE.fullmatch(written.outcome)
        return self._means_in_words(
            [self._offset] if isinstance(self._offset, str) else [],
            {
                "variables are computed before R sees them": bool(written.computed or written.matrices),
                "each coefficient has df of its own": bool(np.ndim(self._fit.df)),
                "emmeans does not know what undoes the outcome": on_response and not written.is_plain,
            },
        )

    def _means_by_emmeans(self, found: Sample) -> list[str]:
        in_z = self._asymptotic or (self._marginal_asked or {})["ddf"] == "asymptotic"
        df = "Inf" if in_z else fragment("df of means").strip()
        offset = "" if found.offset is None else fragment("offset mean").strip()
        return self._marginal_calls(offset, **{"vcov.": "V", "df": df})


class Lm2Script(Scripted, Lm2Inference):
    """What a script of an `Lm2` says."""

    def _script(self) -> Script:
        options = self._options
        for name, asked in (("robust", options.robust), ("to_corrs", options.to_corrs)):
            if asked:
                raise refused(f"{name}={asked!r} is of its second level", f"Fit it without {name}= for a script.")
        if len(self._levels) > 1 or self.family == "nbinom":
            why = "its groups lie in groups" if len(self._levels) > 1 else "its family is nbinom"
            raise refused(why, "Write an Lm of each group, or fit with one grouping column and another family.")
        found = self._sample()
        written, named = data_of(self._design, found)
        fitted = np.isfinite(self.fits[found.used])
        codes, labels = pd.factorize(self._frame[self._levels[0]].to_numpy(dtype=object)[found.used])
        place = free_name(self._levels[0], written.columns)
        written.columns[place] = Column("factor", (codes + 1).astype(np.int32), tuple(map(level_name, labels)))
        written.columns = {name: replace(c, values=c.values[fitted]) for name, c in written.columns.items()}
        formula = f"{written.outcome} ~ {written.right}"
        more = {} if self._linear else {"family": self._family_call(), "control": fragment("tight").strip()}
        note = ["the marginal means, which are of coefficients averaged over groups."] if self._marginal_asked else []
        note += [] if fitted.all() else [f"{int((~fitted).sum())} row(s) of groups that have no regression."]
        body = [
            fragment(
                "groups", group=literal(place), call=call_of("lm" if self._linear else "glm", formula, named, **more)
            ),
            fragment("native limits", level=literal(options.conf_level)),
            fragment("table"),
        ]
        return _script(self, "Lm2", written, body, [], [*self._resampled(), *_notes(self, written), *note])


def _script(
    model: Any, kind: str, written: Written, body: list[str], packages: list[str], missing: list[str]
) -> Script:
    title = f"{kind}({model.formula!r}{model._grouped_by()}), family {model.family}, link {model.link}"
    return Script(
        title, written.columns, body, packages, contrasts=written.contrasts, matrices=written.matrices, missing=missing
    )


def _notes(model: Any, written: Written) -> list[str]:
    """Return what the data are, where they are not the user's."""
    told = [f"{name}; the data have its values." for name in written.computed]
    lost = int((~model._sample().used).sum())
    told += [f"{lost} row(s) that were left out."] if lost else []
    told += ["the values: the data are their ranks, as they were fitted."] if model.ranked_data else []
    return told
