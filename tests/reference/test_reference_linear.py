"""`Lmer` against numbers that lmerTest wrote to linear.csv: `linear_cases.csv` names the models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from reference.lib.files import Reference, compare, reference, same_wording
from reference.lib.linear import CASES, NO_DF, fitted, make, new_data, unseen_data
from reference.lib.quantities import log_p_pair, long_pair, mixed_pairs, pair, require_same_labels, slot
from scipy import stats

pytestmark = pytest.mark.r

# Relative tolerances. lmerTest and Lmer run one optimizer on one deviance function and arrive at one theta, so what
# follows from theta agrees to rounding.
SAME = 1e-6
PROFILE = 1e-5  # roots of splines; R differs from itself by 2e-7
THETA = 1e-8  # R differs from itself by 1e-10: its sums depend on where in memory a matrix happens to lie
DF = 2e-5  # of df and of log p: second derivatives by differences, on R's side numDeriv's
P_OWN = 1e-10  # against the far tail of t at our own t and df
STEP = 1e-4  # of lme4's gradient, a difference quotient: the rounding of the deviance is divided by it

every = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def told() -> Reference:
    return reference("linear")


@every
def test_quantities(case, told):
    """Compare coefficients, limits, variances, likelihood, group effects, fits and residuals."""
    pairs = [
        one for one in mixed_pairs(fitted(case), told, case) if case not in NO_DF or one.quantity not in ("df", "p")
    ]
    for one in pairs:
        compare(one, DF if one.quantity == "df" else SAME)
    if case not in NO_DF:
        compare(log_p_pair(fitted(case).coefs, told.numbers(case, "coefs")), DF)
    assert len(pairs) >= 12 - 2 * (case in NO_DF)


@every
def test_names_and_sizes(case, told):
    require_same_labels(fitted(case), told, case)
    assert (fitted(case).ranef_corr is None) == (told.text(case, "variances")["second"] == "NA").all()


@every
def test_covariance_theta_and_criterion(case, told):
    model, expected = fitted(case), told.numbers(case, "vcov")
    se, kept = model.coefs["SE"].to_numpy(), len(expected) - 2
    compare(pair("covariance", model.vcov[:kept], expected[:kept], np.outer(se, se)[:kept]), SAME)
    compare(long_pair("covariance", model.vcov, expected), SAME)
    facts = told.numbers(case, "facts")["1"]
    compare(pair("criterion", [model._fit.sigma, model._fit.criterion], facts[["sigma", "criterion"]]), SAME)
    compare(pair("theta", slot(model, "theta"), told.numbers(case, "theta")["1"], 1), THETA)


@pytest.mark.parametrize("case", [id for id, case in CASES.items() if case.profile])
def test_profile_limits(case, told):
    found, expected = fitted(case).confint("profile"), told.numbers(case, "profile")
    assert list(found.index) == list(expected.index)
    compare(pair("profile", found, expected, 1), PROFILE)


@pytest.mark.parametrize("case", [id for id, case in CASES.items() if case.unseen])
def test_predictions(case, told):
    model, expected = fitted(case), told.numbers(case, "predictions")
    new = new_data(CASES[case])
    found = {
        "population": model.predict(new),
        "group": model.predict(new, use_rfx=True),
        "unseen": model.predict(unseen_data(CASES[case]), use_rfx=True, new_levels="population"),
    }
    for column, values in found.items():
        compare(pair(column, values, expected[column]), SAME)


@every
def test_warnings(case, told):
    """Compare with R's warnings and messages, each once; the note on aliased terms is ours."""
    found = [text for text in fitted(case).warnings if not text.startswith("Left out")]
    if case in NO_DF:
        found.remove(next(text for text in found if "converge with 2 negative eigenvalues" in text))
    same_wording(found, list(dict.fromkeys(told.strings(case, "warnings") + told.strings(case, "messages"))))


@every
def test_convergence(case, told):
    """Compare the record, and what the stored model says of itself."""
    model = fitted(case)
    record, checks = model.convergence, told.strings(case, "checks")
    codes, facts = told.text(case, "codes")["1"], told.numbers(case, "facts")["1"]
    same_wording(list(record.messages), checks + told.strings(case, "optimizer_warnings"))
    same_wording(slot(model, "optinfo", "conv", "lme4", "messages"), checks)
    assert [str(code) for code in slot(model, "optinfo", "conv", "lme4", "code")] == list(codes[1:])
    assert str(record.code) == codes["optimizer"]
    assert [record.optimizer] == (told.strings(case, "optimizer") or ["none"])
    assert record.singular == bool(facts["singular"]) == (len(record.singular_terms) > 0)
    if (case, "gradient") not in told:
        assert np.isnan(record.max_gradient)
        return
    largest = np.abs(told.numbers(case, "gradient")["1"]).max()
    rounding = 16 * np.finfo(float).eps * abs(facts["criterion"]) / STEP
    compare(pair("gradient", record.max_gradient, largest, rounding / SAME), SAME)


def test_p_is_of_the_far_tail():
    """Of every coefficient of every case, where p is 0 and just above."""
    table = pd.concat([fitted(case).coefs for case in CASES])
    np.testing.assert_allclose(table["P-val"], 2 * stats.t.sf(table["T-stat"].abs(), table["DF"]), rtol=P_OWN, atol=0)
    assert 1e-301 < fitted("steep").coefs["P-val"].min() < 1e-298


CONTROLS = {
    "stopped": {"optCtrl": {"maxeval": 5}},
    "stopped_bobyqa": {"optimizer": "bobyqa", "optCtrl": {"maxfun": 12}},
    "singular_ignored": {"check.conv.singular": "ignore"},
    "no_derivatives": {"calc.derivs": False},
    "not_optimized": {"optimizer": None},
    "strict_gradient": {"check.conv.grad": {"action": "warning", "tol": 1e-9, "relTol": None}},
}


@pytest.mark.parametrize(
    ("case", "given"),
    [("bobyqa", {"old_optimizer": True}), *((case, {"control": control}) for case, control in CONTROLS.items())],
)
def test_control_in_other_words(case, given):
    model = make(CASES[case])
    model.fit(summarize=False, no_warnings=True, **given)
    pd.testing.assert_frame_equal(model.coefs, fitted(case).coefs)
    assert repr(model.convergence) == repr(fitted(case).convergence)
    assert model.warnings == fitted(case).warnings
