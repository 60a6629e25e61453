"""What a model prints: its tables as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pymer4 import tables
from pymer4.families import is_linear


def mixed_summary(model: Any, facts: Mapping[str, Any], shown: pd.DataFrame) -> str:
    """Return the summary of a mixed model as text.

    Args:
        model: the fitted model.
        facts: the statistics of the fit, and how it was made.
        shown: the coefficient table as it is to be seen.
    """
    statistics = facts["statistics"]
    criterion = "REML criterion" if facts["REML"] else "Deviance"
    parts = [
        _title(model, facts),
        f"Formula: {model.formula}",
        "",
        f"{_observations(model, statistics)}   Groups: {', '.join(f'{k} {n}' for k, n in model.grps.items())}",
        tables.lifted(
            {"AIC": model.AIC, "BIC": model.BIC, "Log-likelihood": model.logLike, criterion: statistics["criterion"]}
        ),
        "",
        "Random effects:",
        _block(tables.rounded(model.ranef_var)),
        *([] if model.ranef_corr is None else ["", "Correlations:", _block(tables.rounded(model.ranef_corr))]),
        "",
        f"Fixed effects ({100 * facts['level']:g}% limits: {model.ci_type}; p: {model.sig_type}):",
        _block(shown),
        *(f"Warning: {text.strip()}" for text in model.warnings),
    ]
    return "\n".join(parts)


def _title(model: Any, facts: Mapping[str, Any]) -> str:
    if is_linear(model.family, model.link):
        return f"Linear mixed model fit by {'REML' if facts['REML'] else 'maximum likelihood'}; {_TESTS[facts['ddf']]}"
    return f"Generalized linear mixed model fit by maximum likelihood; family {model.family}, link {model.link}"


_TESTS = {
    "Satterthwaite": "t-tests use Satterthwaite's df",
    "Kenward-Roger": "t-tests use Kenward and Roger's SE and df",
    "asymptotic": "t-tests use infinite df",
}


def _observations(model: Any, statistics: Mapping[str, Any]) -> str:
    used, given = statistics["n_used"], len(model.fits)
    return f"Observations: {used}" + (
        f" of {given} ({given - used} with missing values left out)" if used < given else ""
    )


def _block(table: pd.DataFrame) -> str:
    return table.to_string(float_format="{:.3f}".format) if len(table) else "(none)"
