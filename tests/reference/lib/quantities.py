"""What a fitted model and a file of reference numbers both tell, quantity by quantity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from against_r import rinterface

from pymer4 import Lmer


@dataclass(frozen=True)
class Pair:
    """One quantity as `Lmer` has it and as R wrote it.

    Attributes:
        quantity: its name.
        found: numbers of `Lmer`.
        expected: R's, of the same shape.
        scale: what a difference is related to, beside the number itself; nonzero where numbers may be near zero.
    """

    quantity: str
    found: np.ndarray
    expected: np.ndarray
    scale: np.ndarray | float = 0.0

    @property
    def differences(self) -> np.ndarray:
        """Relative differences; NaN where both are missing, infinite where one is."""
        same = (self.found == self.expected) | (np.isnan(self.found) & np.isnan(self.expected))
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.abs(self.found - self.expected) / (np.abs(self.expected) + self.scale)
        return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def pair(quantity: str, found, expected, scale=0.0) -> Pair:
    """Return a pair; whatever is given becomes numbers of one shape."""
    found, expected = (np.atleast_1d(np.asarray(values, dtype=float)) for values in (found, expected))
    assert found.shape == expected.shape, f"{quantity}: {found.shape} numbers for {expected.shape}"
    return Pair(quantity, found, expected, np.broadcast_to(np.asarray(scale, dtype=float), found.shape))


def long_pair(quantity: str, found, expected: pd.DataFrame) -> Pair:
    """Return a pair for a table of which R wrote the first rows and two sums, on the scale of its columns."""
    found = np.asarray(found, dtype=float).reshape(len(found), -1)
    size, kept = np.abs(found), len(expected) - 2

    def ended(values: np.ndarray) -> np.ndarray:
        return np.vstack([values.sum(axis=0), (values**2).sum(axis=0)])

    scale = np.vstack([np.tile(size.max(axis=0), (kept, 1)), ended(size)])
    return pair(quantity, np.vstack([found[:kept], ended(found)]), expected, scale)


QUANTITIES = (
    "estimates", "standard errors", "df", "statistics", "p", "Wald limits", "log-likelihood, AIC, BIC",
    "variances", "correlations", "group deviations", "group coefficients", "fits", "residuals",
)  # fmt: skip
"""What `mixed_pairs` tells of, in this order; a quantity that a model has not is left out."""


def mixed_pairs(model: Lmer, reference, case: str) -> Iterator[Pair]:
    """Yield the quantities of a mixed model.

    Args:
        model: the fitted model.
        reference: a `Reference` on a file of `linear.R` or `generalized.R`.
        case: the id of the model there.
    """
    yield from coefficient_pairs(model.coefs, reference.numbers(case, "coefs"))
    wald = reference.numbers(case, "wald")
    size = np.append(np.ones(len(wald) - len(model.coefs)), model.coefs["SE"])[:, None]
    yield pair("Wald limits", model.confint(), wald, size)
    fixed = wald.iloc[-len(model.coefs) :]
    yield pair("Wald limits", model.coefs[["2.5_ci", "97.5_ci"]], fixed, model.coefs[["SE"]])
    likelihood = reference.numbers(case, "facts")["1"][["logLik", "AIC", "BIC"]]
    yield pair("log-likelihood, AIC, BIC", [model.logLike, model.AIC, model.BIC], likelihood)
    yield from _variances(model, reference.text(case, "variances"))
    for prefix, quantity, value in (
        ("ranef", "group deviations", model.ranef),
        ("coef", "group coefficients", model.fixef),
    ):
        frames = value if isinstance(value, list) else [value]
        expected = reference.tables(case, prefix)
        pairs = [long_pair(quantity, frame, expected[group]) for group, frame in zip(model.grps, frames, strict=True)]
        yield _joined(pairs)
    used = ~np.isnan(model.fits)
    yield long_pair("fits", model.fits[used], reference.numbers(case, "fitted"))
    yield long_pair("residuals", model.residuals[used], reference.numbers(case, "residuals"))


def require_same_labels(model: Lmer, reference, case: str) -> None:
    """Assert that rows, columns and groups are called as in R, and that as many rows and parameters were used."""
    assert list(model.coefs.index) == list(reference.numbers(case, "coefs").index)
    wald = reference.numbers(case, "wald")
    assert list(model.confint().index) == list(wald.index) and list(model.confint().columns) == list(wald.columns)
    variances = reference.text(case, "variances")
    is_correlation = variances["second"] != "NA"
    rows, correlations = variances[~is_correlation], variances[is_correlation]
    assert _bare(model.ranef_var.index) == _bare(rows["group"])
    assert list(model.ranef_var["Name"]) == list(rows["first"].replace("NA", ""))
    if len(correlations):
        assert _bare(model.ranef_corr.index) == _bare(correlations["group"])
        assert (model.ranef_corr[["IV1", "IV2"]].to_numpy() == correlations[["first", "second"]].to_numpy()).all()
    assert model.grps == reference.numbers(case, "groups")["1"].astype(int).to_dict()
    for prefix, value in (("ranef", model.ranef), ("coef", model.fixef)):
        expected = reference.tables(case, prefix)
        for group, frame in zip(model.grps, value if isinstance(value, list) else [value], strict=True):
            kept = expected[group].index[:-2]
            assert list(frame.columns) == list(expected[group].columns)
            assert list(frame.index[: len(kept)]) == list(kept)
    used = np.flatnonzero(~np.isnan(model.fits))
    kept = [int(label) - 1 for label in reference.numbers(case, "residuals").index[:-2]]
    assert list(used[: len(kept)]) == kept
    facts = reference.numbers(case, "facts")["1"]
    assert len(used) == model._fit.n_used == facts["nobs"] and model._fit.n_parameters == facts["npar"]


def _bare(groups) -> list[str]:
    """Return names of groups without the number of a second term, which R writes since lme4 2."""
    return [group.removesuffix(".1") for group in groups]


def slot(model: Lmer, *names: str) -> list:
    """Return a slot of the live R model, or an element of one by its names, as plain values; empty for R's NULL."""
    value = model.model_obj.do_slot(names[0])
    for name in names[1:]:
        known = list(value.do_slot("names")) if value.typeof == rinterface.RTYPES.VECSXP and len(value) else []
        value = value[known.index(name)] if name in known else rinterface.NULL
    return [] if value.typeof == rinterface.RTYPES.NILSXP else list(value)


def coefficient_pairs(found: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Pair]:
    """Yield the quantities of a table of coefficients.

    Args:
        found: `coefs` of a model.
        expected: the table that R's summary has.
    """
    statistic, p = (next(name for name in expected if text in name) for text in (" value", "Pr("))
    yield pair("estimates", found["Estimate"], expected["Estimate"], expected["Std. Error"])
    yield pair("standard errors", found["SE"], expected["Std. Error"])
    if "DF" in found:
        yield pair("df", found["DF"], expected["df"])
    yield pair("statistics", found.filter(regex="^[TZ]-stat$").iloc[:, 0], expected[statistic], 1)
    yield pair("p", found["P-val"], expected[p], 1 - expected[p])


def log_p_pair(found: pd.DataFrame, expected: pd.DataFrame) -> Pair:
    """Return p of a table of coefficients as logarithms, which tell small ones apart."""
    with np.errstate(divide="ignore"):
        return pair("log p", np.log(found["P-val"]), np.log(expected.filter(like="Pr(").iloc[:, 0]), 1)


def _variances(model: Lmer, told: pd.DataFrame) -> Iterator[Pair]:
    values = told[["var", "sd"]].replace("NA", "nan").astype(float).to_numpy()
    correlated = (told["second"] != "NA").to_numpy()
    yield pair("variances", model.ranef_var[["Var", "Std"]], values[~correlated])
    if correlated.any():
        yield pair("correlations", model.ranef_corr["Corr"], values[correlated, 1], 1)


def _joined(pairs: list[Pair]) -> Pair:
    parts = (np.concatenate([getattr(p, name).ravel() for p in pairs]) for name in ("found", "expected", "scale"))
    return Pair(pairs[0].quantity, *parts)
