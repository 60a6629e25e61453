"""What all models show in notebooks and give to papers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pymer4.models import reporting
from pymer4.models.base import Model
from pymer4.models.paper_tables import decimals, model_sheet
from pymer4.papers.sheet import Sheet, Shown

_SHARES = {"r2": "R²", "adj_r2": "adjusted R²", "r2_marginal": "marginal R²", "r2_conditional": "conditional R²"}
_SHARES |= {"icc": "adjusted ICC"}


class Publishing(Shown, Model):
    """Tables and a paragraph for papers, and what notebooks and the package maketables ask for."""

    # What a model says of itself: how it was made, its predictors, the columns that were ranked, its outcome.
    _story: Callable[[], reporting.Story]
    _term_names: Callable[[], list[str]]
    _ranked: Callable[[], list[Any]]
    _outcome: Callable[[], tuple[str, list[str]]]

    def _packages(self) -> tuple[str, ...]:
        """Return what beside Python the numbers come from: R and its packages."""
        return ()

    def _shares(self) -> dict[str, float]:
        """Return shares of variance, by what they are called."""
        found = {"R²": getattr(self, "rsquared", None), "adjusted R²": getattr(self, "rsquared_adj", None)}
        return {name: value for name, value in found.items() if value is not None and np.isfinite(value)}

    def _ending(self) -> list[str]:
        """Return how an optimizer ended, where there was one."""
        return []

    def to_markdown(self, *, digits: int = 2) -> str:
        """Return the fit as a table in Markdown: coefficients, random part, measures of fit, how it was made.

        Args:
            digits: decimals of numbers; small ones keep as many significant digits.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: `digits` is no whole number from 1 to 15.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> print(model.to_markdown().splitlines()[7])
            | IV1              |     1.22 |   [0.67, 1.77] | 0.28 | 562 | 4.34 | < .001 |
        """
        return self._sheet("to_markdown()", digits).to_markdown()

    def to_html(self, *, digits: int = 2) -> str:
        """Return the fit as a table in HTML, made by the package great_tables; see `to_markdown()`.

        Raises:
            MissingLibrary: great_tables is not installed; the message has the command that installs it.
            NotFittedError: before `fit()`.
            OptionError: `digits` is no whole number from 1 to 15.
        """
        return self._sheet("to_html()", digits).to_html()

    def to_latex(self, *, digits: int = 2) -> str:
        """Return the fit as a table in LaTeX, made by the package great_tables; see `to_markdown()`.

        The preamble has to load the packages booktabs and caption.

        Raises:
            MissingLibrary: great_tables is not installed; the message has the command that installs it.
            NotFittedError: before `fit()`.
            OptionError: `digits` is no whole number from 1 to 15.
        """
        return self._sheet("to_latex()", digits).to_latex()

    def to_docx(self, path: str | os.PathLike[str], *, digits: int = 2) -> None:
        """Write the fit as a table into a new Word file, by the package python-docx; see `to_markdown()`.

        Args:
            path: where to; it ends in `.docx`. What is there is replaced, once the new file is whole.
            digits: decimals of numbers; small ones keep as many significant digits.

        Raises:
            FileError: the file can't be written; what was there stays.
            MissingLibrary: python-docx is not installed; the message has the command that installs it.
            NotFittedError: before `fit()`.
            OptionError: another ending, or `digits` is no whole number from 1 to 15.
        """
        self._sheet("to_docx()", digits).to_docx(path)

    def report(self, *, digits: int = 2) -> str:
        """Return a paragraph on the fit, in the style of the American Psychological Association.

        It says what was fitted to which rows, where limits and p come from, each effect with its limits and test (the
        intercept where there is nothing else), the random part, shares of variance, and what the fit warned of.

        Args:
            digits: decimals of numbers; small ones keep as many significant digits.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: `digits` is no whole number from 1 to 15.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(robust="hc3", summarize=False)
            >>> print(model.report())  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
            We fitted a linear regression (ordinary least squares, HC3 standard errors) predicting DV from IV1, to 564
            observations. The 95 % confidence intervals (CI) are limits by t. The effect of IV1 was b = 1.22, 95 % CI
            [0.68, 1.76], t(562) = 4.43, p < .001. Shares of variance: R² = .03, adjusted R² = .03. Made
            with pymer4 ...
        """
        self._require_fit("report()")
        return reporting.report(self, decimals(digits))

    def _sheet(self, what: str, digits: int) -> Sheet:
        self._require_fit(what)
        return model_sheet(self, decimals(digits))

    def _shown(self) -> Sheet:
        return model_sheet(self, whole=False)

    # The plug-in format of the package maketables, which takes such attributes from models of every package.

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        """Coefficients under the names that maketables has for them."""
        self._require_fit("maketables")
        level = f"{100 * self._options.conf_level:g}"
        fields = {"b": "b", "se": "se", "t": "statistic", "p": "p", f"ci{level}l": "lower", f"ci{level}u": "upper"}
        rows = reporting.tested(self)
        names = ["Intercept" if row.term in reporting.INTERCEPTS else row.term for row in rows]
        values = {name: [getattr(row, field) for row in rows] for name, field in fields.items()}
        return pd.DataFrame(values, index=pd.Index(names, name="Coefficient"), dtype=float)

    def __maketables_stat__(self, key: str) -> Any:
        """Return a statistic by its name there; None for one that this model does not have."""
        plain = {"N": "nobs", "aic": "AIC", "bic": "BIC", "ll": "logLike", "df_resid": "df_resid", "se_type": "se_type"}
        if key in plain:
            return getattr(self, plain[key], None)
        if key == "groups":
            return ", ".join(f"{name}: {size:,}" for name, size in (getattr(self, "grps", None) or {}).items()) or None
        return self._shares().get(_SHARES[key]) if key in _SHARES else None

    @property
    def __maketables_depvar__(self) -> str:
        """What the outcome is called."""
        return self._outcome()[0]

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        """What statistics are called that maketables has no label for."""
        return {"groups": "Groups"} | {key: f"{name[0].upper()}{name[1:]}" for key, name in _SHARES.items()}

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        """The statistics that are shown where nobody asks for others."""
        shares = self._shares()
        measured = [key for key, name in _SHARES.items() if name in shares] or ["aic"]
        return ["N", *(["groups"] if getattr(self, "grps", None) else []), *measured]

    @property
    def __maketables_vcov_info__(self) -> dict[str, Any]:
        """The kind of covariance, and the column that rows cluster by."""
        return {"vcov_type": getattr(self, "se_type", None), "clustervar": getattr(self._options, "clustered_by", None)}
