"""An `Lmer` as an R script."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymer4.data.columns import Column
from pymer4.models.lmer_many import LmerMany
from pymer4.models.r_script import Script, fragment, free_name, literal, vector
from pymer4.models.scripted import UNDONE, Scripted, call_of, refused
from pymer4.rbridge import bridge

_DDF = {"Satterthwaite": "satterthwaite", "Kenward-Roger": "kenward-roger", "asymptotic": "asymptotic"}


class LmerScript(Scripted, LmerMany):
    """What a script of an `Lmer` says."""

    def _script(self) -> Script:
        options = self._options
        if options is None:
            raise refused("its file does not tell how it was fitted", "Fit it again with .fit() first.")
        tested = self._linear and options.ddf != "asymptotic"
        packages = ["lme4", *(["lmerTest"] if tested else [])]
        untold_means = self._untold_means()
        has_means = self._marginal_asked is not None and not untold_means
        packages += ["emmeans"] if has_means else []
        used = [*packages, *(["pbkrtest"] if options.ddf == "Kenward-Roger" else [])]
        facts = bridge.call("script_facts", formula=self._reading.written, packages=used).value
        if len(facts["own"]):
            raise refused(
                f"its formula calls {facts['own'][0]}(), which was defined in this R and nowhere else",
                "Make what it computes a column of the data.",
            )
        data, coded = self._sample()
        columns, named = with_row_values(data.columns, {"weights": data.weights, "offset": data.offset})
        contrasts = {name: (how.matrix, how.names) for name, how in coded.items() if how.requested is not None}
        by = ", by REML" if options.REML and self._linear else ""
        title = f"Lmer({self.formula!r}), family {self.family}, link {self.link}{by}"
        body = [
            fragment("model", call=self._call(facts["formula"], named)),
            *self._tests(tested),
            fragment("table"),
            *([fragment("odds")] if (self.family, self.link) == ("binomial", "logit") else []),
            fragment("variances"),
            fragment("measures"),
            *(self._means_by_emmeans() if has_means else []),
        ]
        return Script(
            title,
            columns,
            body,
            packages,
            versions=facts["versions"],
            contrasts=contrasts,
            missing=[*self._untold(), *untold_means],
        )

    def _call(self, formula: str, named: Mapping[str, str]) -> str:
        options, more = self._options, {}
        control = options.optimizer()
        if self._linear:
            function = "lmer"
            more = {} if options.REML else {"REML": literal(False)}
        else:
            function = "glmer.nb" if self.family == "nbinom" else "glmer"
            more |= {} if self.family == "nbinom" else {"family": self._family_call()}
            more |= {} if options.nAGQ == 1 else {"nAGQ": literal(options.nAGQ)}
        if self.family == "gamma" and self.link != "log":
            more["mustart"] = self._reading.response.text
        if control is not None:
            maker = "lmerControl" if self._linear else "glmerControl"
            settings = control if isinstance(control, str) else literal(control)[len("list(") : -1]
            more["control"] = f"{maker}({settings})"
        return call_of(function, formula, named, **more)

    def _tests(self, tested: bool) -> list[str]:
        options = self._options
        by_profile = options.conf_int == "profile" and self._weights is None
        limits = "profile limits" if by_profile else "mixed limits"
        moments = fragment("mixed by t", ddf=literal(options.ddf)) if tested else fragment("mixed by z")
        return [moments, fragment(limits, level=literal(options.conf_level))]

    def _untold_means(self) -> list[str]:
        reading, asked = self._reading, self._marginal_asked or {}
        known = reading.response.is_column or UNDONE.fullmatch(reading.response.text) or not self._linear
        return self._means_in_words(
            [*reading.offset, *([self._offset] if isinstance(self._offset, str) else [])],
            {
                "there are offsets in the formula and beside it": bool(reading.offset) and self._offset is not None,
                "emmeans does not know what undoes the outcome": asked.get("type") == "response" and not known,
            },
        )

    def _means_by_emmeans(self) -> list[str]:
        """Return the calls for the marginal means, with the df that were asked for, whatever the number of rows."""
        offset, before, more = "", [], {}
        if self._offset is not None:
            offset = fragment("offset mean").strip()
        elif self._reading.offset:
            offset, before = "known", [fragment("offset at means", columns=vector(self._reading.offset))]
        if self._linear and self._marginal_asked is not None:
            most = literal(len(self._frame))
            more = {"lmer.df": literal(_DDF[self._marginal_asked["ddf"]])}
            more |= {"lmerTest.limit": most, "pbkrtest.limit": most}
        return [*before, *self._marginal_calls(offset, **more)]

    def _untold(self) -> list[str]:
        told = self._resampled()
        if self._options.conf_int == "profile" and self._weights is not None:
            told.append("profile limits, which lme4 does not compute with these weights; the script gives Wald's.")
        if self._options.engine == "native":
            told.append("the native engine: lme4 finds the same optimum to about 6 digits.")
        if self.ranked_data:
            told.append("the values: the data are their ranks, as they were fitted.")
        return told


def with_row_values(
    columns: Mapping[str, Column], given: Mapping[str, str | np.ndarray | None]
) -> tuple[dict[str, Column], dict[str, str]]:
    """Return the columns with those that arguments given as arrays become, and the column of each argument."""
    made, named = dict(columns), {}
    for argument, values in given.items():
        if isinstance(values, np.ndarray):
            named[argument] = free_name(f".{argument}", made)
            made[named[argument]] = Column("double", values)
        elif values is not None:
            named[argument] = values
    return made, named
