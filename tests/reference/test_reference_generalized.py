"""Generalized `Lmer` against numbers that lme4 wrote to generalized.csv: `generalized_cases.csv` names the models.

Where the optimizer stopped in doubt it may stop anywhere else on another processor: there the R at hand is asked. With
one grouping factor that R takes the same path as `Lmer`, and has to agree more closely.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference.lib.data import named_data
from reference.lib.files import (
    PROMISED,
    PROMISED_DEVIANCE,
    PROMISED_LIMITS,
    PROMISED_VARIANCES,
    Reference,
    compare,
    frozen,
    reference,
    same_wording,
    written_now,
)
from reference.lib.mixed import GENERALIZED, Row, fit
from reference.lib.quantities import QUANTITIES, Pair, mixed_pairs, pair, require_same_labels, slot
from scipy import stats

from pymer4 import Lmer
from pymer4.data.families import LINKS

pytestmark = pytest.mark.r

# Relative tolerances. lme4's own drivers run on the same frame. With one grouping factor all numbers are the same to
# 4e-16, from one process to the next on one machine. Another processor, whose
# numbers the frozen ones are, and with several factors the place in memory where a sparse factor lies, lead the
# optimizer to another point of those that it may end at.
SAME = 1e-8
GRADIENT = 1e-3  # a difference quotient
TOLERANCE = dict.fromkeys(QUANTITIES, PROMISED)
TOLERANCE |= {"Wald limits": PROMISED_LIMITS, "variances": PROMISED_VARIANCES}
P_OWN = 1e-10  # against the far tail of the normal at our own z

ALONE = [id for id, row in GENERALIZED.items() if row.formula.count("|") == 1 and not row.slow]
DOUBTFUL = [id for id in GENERALIZED if frozen("generalized").doubtful(id)]


def cases(ids) -> pytest.MarkDecorator:
    marked = [pytest.param(id, marks=pytest.mark.slow) if GENERALIZED[id].slow else id for id in ids]
    return pytest.mark.parametrize("case", marked)


every = cases(GENERALIZED)


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    return fit(GENERALIZED[case])


@pytest.fixture
def told(case) -> Reference:
    """What R says of a case."""
    if case in DOUBTFUL:
        return written_now("generalized", *DOUBTFUL)
    quick = [id for id, row in GENERALIZED.items() if bool(row.slow) == bool(GENERALIZED[case].slow)]
    return reference("generalized", *quick)


def test_the_cases_have_every_family_and_link_and_quadrature():
    chosen = {(row.family, row.link or LINKS[row.family][0]) for row in GENERALIZED.values()}
    assert chosen == {(family, link) for family in LINKS for link in LINKS[family]} - {("gaussian", "identity")}
    assert {row.nAGQ for row in GENERALIZED.values()} == {"0", "1", "5"}


@every
def test_quantities(case, told):
    """Compare coefficients, variances, likelihood, group effects, fits and residuals."""
    pairs = list(mixed_pairs(fitted(case), told, case))
    for one in pairs:
        deviance = one.quantity.startswith("log-likelihood")
        compare(one, PROMISED_DEVIANCE / np.abs(one.expected).max() if deviance else TOLERANCE[one.quantity])
    lacking = {"df"} | ({"correlations"} if fitted(case).ranef_corr is None else set())
    assert {one.quantity for one in pairs} == set(QUANTITIES) - lacking


@every
def test_names_and_sizes(case, told):
    model, row = fitted(case), GENERALIZED[case]
    require_same_labels(model, told, case)
    assert (model.family, model.link) == (row.family, row.link or LINKS[row.family][0])


def parameter_pairs(model: Lmer, told: Reference, case: str) -> Iterator[Pair]:
    """Yield what `mixed_pairs` has not: covariances of estimates, and parameters of the random effects."""
    se = model.coefs["SE"].to_numpy()
    yield pair("covariance", model.vcov, told.numbers(case, "vcov"), np.outer(se, se))
    yield pair("theta", slot(model, "theta"), told.numbers(case, "theta")["1"], 1)
    yield pair("sigma", model._fit.sigma, told.numbers(case, "facts")["1"]["sigma"])


@every
def test_covariance_and_theta(case, told):
    for one in parameter_pairs(fitted(case), told, case):
        compare(one, PROMISED if one.quantity == "covariance" else PROMISED_VARIANCES)


@every
def test_p_is_of_the_far_tail(case):
    table = fitted(case).coefs
    statistic = table.filter(regex="^[TZ]-stat$").iloc[:, 0]
    np.testing.assert_allclose(table["P-val"], 2 * stats.norm.sf(statistic.abs()), rtol=P_OWN, atol=0)


@every
def test_warnings_and_convergence(case, told):
    model = fitted(case)
    record, checks = model.convergence, told.strings(case, "checks")
    said = told.strings(case, "warnings") + told.strings(case, "messages")
    found = [text for text in model.warnings if not text.startswith("variance-covariance matrix")]
    same_wording(found, list(dict.fromkeys(said)))
    assert set(checks) <= set(record.messages)
    assert record.optimizer == told.strings(case, "optimizer")[-1]
    assert str(record.code) == told.text(case, "codes")["1"]["optimizer"]
    assert record.singular == bool(told.numbers(case, "facts")["1"]["singular"])
    # At another point the gradient is another one.
    assert np.isfinite(record.max_gradient) == ((case, "gradient") in told)


def rows_to_predict(row: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
    data = named_data(row.data).dropna()
    new = data.iloc[np.arange(8) * (len(data) // 8)]
    labels = new[row.unseen].astype(str).to_numpy(dtype=object)
    labels[:4] = "unseen"
    return new, new.assign(**{row.unseen: labels})


def prediction_pairs(case: str, told: Reference, size: float) -> Iterator[Pair]:
    model, expected = fitted(case), told.numbers(case, "predictions")
    new, unseen = rows_to_predict(GENERALIZED[case])
    for scale in ("response", "link"):
        found = {
            "population": model.predict(new, pred_type=scale),
            "group": model.predict(new, use_rfx=True, pred_type=scale),
            "unseen": model.predict(unseen, use_rfx=True, pred_type=scale, new_levels="population"),
        }
        for name, values in found.items():
            yield pair(f"{name} {scale}", values, expected[f"{name} {scale}"], size)


@cases(id for id, row in GENERALIZED.items() if row.unseen)
def test_predictions(case, told):
    for one in prediction_pairs(case, told, 1):
        compare(one, TOLERANCE["fits"])


@pytest.mark.parametrize("case", ALONE)
def test_the_r_at_hand_says_the_same(case):
    model, now = fitted(case), written_now("generalized", *ALONE)
    predictions = prediction_pairs(case, now, 1e-3) if GENERALIZED[case].unseen else ()
    for one in (*mixed_pairs(model, now, case), *parameter_pairs(model, now, case), *predictions):
        compare(one, SAME)
    if (case, "gradient") in now:
        largest = np.abs(now.numbers(case, "gradient")["1"]).max()
        compare(pair("gradient", model.convergence.max_gradient, largest, 1e-3), GRADIENT)
