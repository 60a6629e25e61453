"""Generalized `Lmer` against numbers that lme4 wrote: frozen ones, and those of the R at hand.

`tests/reference/generalized_cases.csv` names the models, `generalized.R` fits them without pymer4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference.lib.data import named_data
from reference.lib.files import (
    OTHER_ERRORS,
    PROMISED,
    PROMISED_DEVIANCE,
    PROMISED_LIMITS,
    PROMISED_VARIANCES,
    begun,
    comparable,
    compare,
    frozen,
)
from reference.lib.mixed import GENERALIZED, Row, fit
from reference.lib.quantities import QUANTITIES, mixed_pairs
from scipy import stats
from test_reference import Reference, same_wording, slot, used_rows

from pymer4 import Lmer
from pymer4.data.families import LINKS

pytestmark = pytest.mark.r

# Relative tolerances. lme4's own drivers run on the same frame. With one grouping factor all numbers are the same to
# 4e-16, from one process to the next on one machine. Another processor, whose numbers the frozen ones are, and with
# several factors the place in memory where a sparse factor lies, lead the optimizer to another point of those that
# it may end at.
SAME = 1e-8
NEAR = dict.fromkeys(QUANTITIES, PROMISED)
NEAR |= {"Wald limits": PROMISED_LIMITS, "variances": PROMISED_VARIANCES}
FAR = NEAR | dict.fromkeys(["standard errors", "statistics", "Wald limits"], OTHER_ERRORS)
GRADIENT = 1e-3  # a difference quotient
P_OWN = 1e-10  # against the far tail of the normal at our own z

slow = pytest.mark.slow
every = pytest.mark.parametrize(
    "case", [pytest.param(id, marks=slow) if row.slow else id for id, row in GENERALIZED.items()]
)
told = [id for id, row in GENERALIZED.items() if row.unseen]


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    return fit(GENERALIZED[case])


def tolerance(reference: Reference, case: str, quantity: str) -> float:
    if reference.far:
        return FAR[quantity]
    return NEAR[quantity] if reference.frozen or len(fitted(case).grps) > 1 else SAME


@pytest.fixture(scope="module")
def fast_rows(tmp_path_factory):
    """What the R at hand says, in a process of its own while the frozen numbers are compared."""
    with begun("generalized", tmp_path_factory.mktemp("fast"), "fast") as answer:
        yield answer


@pytest.fixture(scope="module")
def slow_rows(tmp_path_factory):
    with begun("generalized", tmp_path_factory.mktemp("slow"), "slow") as answer:
        yield answer


@pytest.fixture(scope="module", params=["frozen", "live"])
def source(request, fast_rows) -> Reference | None:
    return frozen("generalized", "MASS") if request.param == "frozen" else None


@pytest.fixture
def reference(source, case, request) -> Reference:
    """Where the optimizer stopped in doubt it may stop anywhere else: then only the R at hand can tell."""
    row = GENERALIZED[case]
    if source is not None and not source.doubtful(case) and (comparable(row) or not source.far):
        return source
    return request.getfixturevalue("slow_rows" if row.slow else "fast_rows")()


@pytest.fixture
def spoken(reference, case, request) -> Reference:
    """What R says in words changes with its version: only the R at hand can tell."""
    if reference.strict:
        return reference
    return request.getfixturevalue("slow_rows" if GENERALIZED[case].slow else "fast_rows")()


def test_the_cases_have_every_family_and_link_and_quadrature():
    chosen = {(row.family, row.link or LINKS[row.family][0]) for row in GENERALIZED.values()}
    assert chosen == {(family, link) for family in LINKS for link in LINKS[family]} - {("gaussian", "identity")}
    assert {row.nAGQ for row in GENERALIZED.values()} == {"0", "1", "5"}


@every
def test_quantities(case, reference):
    """Compare coefficients, variances, likelihood, group effects, fits and residuals."""
    pairs = list(mixed_pairs(fitted(case), reference, case))
    for pair in pairs:
        rtol = tolerance(reference, case, pair.quantity)
        if pair.quantity.startswith("log-likelihood") and rtol > SAME:
            rtol = PROMISED_DEVIANCE / np.abs(pair.expected).max()
        compare(reference, pair, rtol)
    lacking = {"df"} | ({"correlations"} if fitted(case).ranef_corr is None else set())
    assert {pair.quantity for pair in pairs} == set(QUANTITIES) - lacking


@every
def test_names_and_sizes(case, reference):
    model, row = fitted(case), GENERALIZED[case]
    assert list(model.coefs.index) == list(reference.numbers(case, "coefs").index)
    wald = reference.numbers(case, "wald")
    assert list(model.confint().index) == list(wald.index)
    variances = reference.text(case, "variances")
    rows = variances[variances["second"] == "NA"]
    assert list(model.ranef_var["Name"]) == list(rows["first"].replace("NA", ""))
    assert [g.removesuffix(".1") for g in model.ranef_var.index] == [g.removesuffix(".1") for g in rows["group"]]
    assert model.grps == reference.numbers(case, "groups")["1"].astype(int).to_dict()
    for prefix, value in (("ranef", model.ranef), ("coef", model.fixef)):
        expected = reference.tables(case, prefix)
        for group, frame in zip(model.grps, value if isinstance(value, list) else [value], strict=True):
            kept = expected[group].index[:-2]
            assert list(frame.columns) == list(expected[group].columns)
            assert list(frame.index[: len(kept)]) == list(kept)
    kept = [int(label) - 1 for label in reference.numbers(case, "residuals").index[:-2]]
    assert list(used_rows(model)[: len(kept)]) == kept
    facts = reference.numbers(case, "facts")["1"]
    assert (len(used_rows(model)), model._fit.n_parameters) == (facts["nobs"], facts["npar"])
    assert (model.family, model.link) == (row.family, row.link or LINKS[row.family][0])


@every
def test_covariance_and_theta(case, reference):
    model, expected = fitted(case), reference.numbers(case, "vcov")
    se = model.coefs["SE"].to_numpy()
    rtol = tolerance(reference, case, "standard errors")
    reference.close(model._fit.vcov, expected, rtol, np.outer(se, se))
    rtol = tolerance(reference, case, "variances")
    reference.close(slot(model, "theta"), reference.numbers(case, "theta")["1"], rtol, scale=1)
    reference.close(model._fit.sigma, reference.numbers(case, "facts")["1"]["sigma"], rtol)


@every
def test_p_is_of_the_far_tail(case):
    table = fitted(case).coefs
    statistic = table.filter(regex="^[TZ]-stat$").iloc[:, 0]
    np.testing.assert_allclose(table["P-val"], 2 * stats.norm.sf(statistic.abs()), rtol=P_OWN, atol=0)


@every
def test_warnings_and_convergence(case, spoken):
    model = fitted(case)
    record, checks = model.convergence, spoken.strings(case, "checks")
    said = spoken.strings(case, "warnings") + spoken.strings(case, "messages")
    found = [text for text in model.warnings if not text.startswith("variance-covariance matrix")]
    same_wording(found, list(dict.fromkeys(said)))
    assert set(checks) <= set(record.messages)
    assert record.optimizer == spoken.strings(case, "optimizer")[-1]
    assert str(record.code) == spoken.text(case, "codes")["1"]["optimizer"]
    assert record.singular == bool(spoken.numbers(case, "facts")["1"]["singular"])
    if (case, "gradient") not in spoken:
        assert np.isnan(record.max_gradient)
    elif len(model.grps) == 1 and not spoken.frozen:
        largest = np.abs(spoken.numbers(case, "gradient")["1"]).max()
        spoken.close(record.max_gradient, largest, GRADIENT, scale=1e-3)
    else:  # at another point it is another one
        assert np.isfinite(record.max_gradient)


def rows_to_predict(row: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
    data = named_data(row.data).dropna()
    new = data.iloc[np.arange(8) * (len(data) // 8)]
    labels = new[row.unseen].astype(str).to_numpy(dtype=object)
    labels[:4] = "unseen"
    return new, new.assign(**{row.unseen: labels})


@pytest.mark.parametrize("scale", ["response", "link"])
@pytest.mark.parametrize("case", [pytest.param(id, marks=slow) if GENERALIZED[id].slow else id for id in told])
def test_predictions(case, scale, reference):
    model, expected = fitted(case), reference.numbers(case, "predictions")
    new, unseen = rows_to_predict(GENERALIZED[case])
    found = {
        "population": model.predict(new, pred_type=scale),
        "group": model.predict(new, use_rfx=True, pred_type=scale),
        "unseen": model.predict(unseen, use_rfx=True, pred_type=scale, new_levels="population"),
    }
    size = 1 if reference.frozen else 1e-3
    for which, values in found.items():
        reference.close(values, expected[f"{which} {scale}"], tolerance(reference, case, "fits"), size)
