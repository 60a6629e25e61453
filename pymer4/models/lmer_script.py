"""An `Lmer` as an R script."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymer4.data.columns import Column
from pymer4.models.lmer_many import LmerMany
from pymer4.models.r_script import Script, fragment, free_name, literal
from pymer4.models.scripted import Scripted, call_of, refused
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
        packages += ["emmeans"] if self._marginal_asked is not None else []
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
            *self._marginal_calls(data.offset is not None, **self._df_of_means()),
        ]
        return Script(
            title, columns, body, packages, versions=facts["versions"], contrasts=contrasts, missing=self._untold()
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

    def _df_of_means(self) -> dict[str, str]:
        """Return what has emmeans take the df that were asked for, whatever the number of rows."""
        if not self._linear or self._marginal_asked is None:
            return {}
        most = literal(len(self._frame))
        how = {"lmer.df": literal(_DDF[self._marginal_asked["ddf"]])}
        return how | {"lmerTest.limit": most, "pbkrtest.limit": most}

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
