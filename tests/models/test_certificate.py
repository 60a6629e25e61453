"""The certificate of a linear mixed model beside the derivatives that lme4 takes by differences."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from against_r import inside
from engine_cases import cases, fitted
from samples import trial

from pymer4 import Lmer, load_model, save_model
from pymer4.errors import ConvergenceWarning

pytestmark = [pytest.mark.r, pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")]

DERIVS = """function(m) {
  d <- m@optinfo$derivs
  if (is.null(d)) NULL else list(gradient = d$gradient, values = rev(eigen(d$Hessian, symmetric = TRUE)$values))
}"""
# lme4's steps of 1e-4: errors of 1e-8 times fourth derivatives, and of rounding over 1e-8.
ROUGH = 3e-3


@pytest.mark.parametrize(("formula", "data", "given"), [case for case in cases() if "poly" not in case[0]])
def test_derivatives_are_those_of_lme4(formula, data, given):
    model = fitted(formula, data, "R", given)
    theirs, ours = inside(DERIVS, model.model_obj), model.convergence
    assert -1e-8 < ours.deviance_gap < 1e-4 and "is at the optimum" in str(ours.certificate)
    if theirs is None:  # from 1.1-38 on lme4 takes none near a bound, or of many rows
        assert np.isnan(ours.max_gradient)
        return
    scale = np.abs(theirs["values"]).max()
    inside_bounds = model._fit.parameters > 1e-3  # a difference across a bound sees the kink there
    np.testing.assert_allclose(
        ours.gradient[inside_bounds], theirs["gradient"][inside_bounds], atol=1e-5 * scale + 1e-4
    )
    if inside_bounds.all():
        np.testing.assert_allclose(ours.eigenvalues, theirs["values"], rtol=ROUGH, atol=1e-4 * scale)


def stopped() -> Lmer:
    """Return a fit whose optimizer was stopped early."""
    model = Lmer("y ~ x + (x | g)", trial())
    model.fit(control={"optCtrl": {"maxeval": 5}}, summarize=False, no_warnings=True)
    return model


def test_what_stopped_early_is_told_from_what_did_not(tmp_path):
    model, best = stopped(), fitted("y ~ x + (x | g)", trial(), "native")
    gap = model._fit.criterion - best._fit.criterion
    assert gap > 0.01
    np.testing.assert_allclose(model.convergence.deviance_gap, gap, rtol=1e-6)
    assert "not at the optimum" in str(model.convergence.certificate)
    save_model(model, tmp_path / "m.h5")
    for kept in (pickle.loads(pickle.dumps(model)), load_model(tmp_path / "m.h5")):
        assert kept.convergence == model.convergence
        np.testing.assert_allclose(kept.convergence.deviance_gap, gap, rtol=1e-6)
    record, unasked = model.convergence, stopped().convergence
    model.fit(engine="native", summarize=False)
    for kept in (record, unasked):  # each of its own fit
        np.testing.assert_allclose(kept.deviance_gap, gap, rtol=1e-6)
    assert abs(model.convergence.deviance_gap) < 1e-8 and np.abs(model.convergence.gradient).max() < 1e-4


def test_a_warning_of_convergence_brings_it():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Lmer("y ~ x + (x | g)", trial()).fit(control={"optCtrl": {"maxeval": 5}}, summarize=False)
    told = [str(one.message) for one in said if issubclass(one.category, ConvergenceWarning)]
    assert sum("not at the optimum" in text and "engine='native'" in text for text in told) == 1


def test_there_is_none_where_the_engine_takes_no_such_model():
    model = fitted("yes ~ x + (1 | g)", trial(), "R", {"family": "binomial"})
    record = model.convergence
    assert record.gradient is None and record.eigenvalues is None and record.deviance_gap is None
    assert "linear models only" in str(record.certificate)
    assert "the fit is gone" in str(type(record)("", 0, (), 0.0, False, ()).certificate)
