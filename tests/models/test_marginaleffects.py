"""`to_marginaleffects()`: the package's predictions, comparisons and slopes beside our own and emmeans'."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from samples import dataset, fitted, regression, trial

from pymer4 import Lm2
from pymer4.errors import NotFittedError, OptionError

# The package needs NumPy 2 and polars below 2, so that not every machine that tests has it.
effects = pytest.importorskip("marginaleffects", reason="needs the extra marginaleffects")
if int(pytest.importorskip("polars").__version__.partition(".")[0]) > 1:
    pytest.skip("marginaleffects does not take this polars", allow_module_level=True)

CLOSE = 1e-6  # finite differences of the package are of sqrt(eps), its derivatives are exact

NATIVE = {
    "linear": ("y ~ x * cond + flag", {}, {}),
    "factor of numbers": ("y ~ x + C(s)", {}, {}),
    "robust": ("y ~ x + cond", {}, {"robust": "hc3"}),
    "binomial": ("yes ~ x + cond", {"family": "binomial"}, {}),
    "probit": ("yes ~ x + cond", {"family": "binomial", "link": "probit"}, {}),
    "poisson": ("count ~ x + cond", {"family": "poisson"}, {}),
    "offset": ("count ~ x + cond", {"family": "poisson", "offset": "o"}, {}),
    "gamma": ("pos ~ x + cond", {"family": "gamma", "link": "log"}, {}),
    "inverse gaussian": ("pos ~ x + cond", {"family": "inverse_gaussian", "link": "log"}, {}),
    "nbinom": ("count ~ x + cond", {"family": "nbinom"}, {}),
}
MIXED = {
    "linear": ("y ~ x * cond + (x | g)", {}),
    "binomial": ("yes ~ x + cond + (1 | g)", {"family": "binomial"}),
    "poisson": ("count ~ x + cond + offset(o) + (1 | g)", {"family": "poisson"}),
}
every = pytest.mark.parametrize(
    "kind, name",
    [("Lm", name) for name in NATIVE] + [pytest.param("Lmer", name, marks=pytest.mark.r) for name in MIXED],
)


def rows():
    return trial().assign(s=lambda d: 1 + 2 * (np.arange(len(d)) % 3))


def model_of(kind, name):
    if kind == "Lmer":
        formula, given = MIXED[name]
        return fitted(formula, rows(), **given)
    formula, given, how = NATIVE[name]
    return regression(formula, rows(), given=given, **how)


def close(found, wanted, rtol=CLOSE):
    found, wanted = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@every
@pytest.mark.parametrize("scale", ["response", "link"])
def test_predictions_and_their_errors_are_those_of_the_model(kind, name, scale):
    model, new = model_of(kind, name), rows().head(20)
    found = effects.predictions(model.to_marginaleffects(pred_type=scale), newdata=new)
    how = {"interval": "confidence", "pred_type": scale}
    wanted = model.predict(new, **how)
    order = found["rowid"].to_numpy()
    close(found["estimate"], wanted["Estimate"].iloc[order])
    close(found["std_error"], wanted["SE"].iloc[order])
    if kind == "Lm" and (scale == "link" or model.link == "identity"):
        close(found["conf_low"], wanted.iloc[order, 2])
        close(found["conf_high"], wanted.iloc[order, 3])


@every
def test_coefficients_are_tested_as_in_the_table(kind, name):
    model = model_of(kind, name)
    found = effects.hypotheses(model.to_marginaleffects())
    assert list(found["term"]) == list(model.coefs.index)
    close(found["estimate"], model.coefs["Estimate"], 1e-12)
    close(found["std_error"], model.coefs["SE"], 1e-6)
    if kind == "Lm":
        np.testing.assert_allclose(found["p_value"], model.coefs["P-val"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "kind, name",
    [("Lm", "linear"), ("Lm", "binomial"), ("Lm", "poisson"), ("Lm", "robust")]
    + [pytest.param("Lmer", name, marks=pytest.mark.r) for name in ("linear", "binomial")],
)
def test_marginal_means_are_those_of_emmeans(kind, name):
    """On the link scale a balanced grid averages as emmeans does; covariates are at their means."""
    model = model_of(kind, name)
    how = {} if kind == "Lm" else {"ddf": "asymptotic"}
    wanted, contrasts = model.emmeans("cond", type="link", **how)
    given = model.to_marginaleffects(pred_type="link")
    found = effects.avg_predictions(given, by="cond", newdata="balanced").sort("cond")
    assert list(found["cond"]) == list(wanted["cond"])
    close(found["estimate"], wanted["Estimate"])
    close(found["std_error"], wanted["SE"])
    close(found["conf_low"], wanted.iloc[:, 2])
    pairs = effects.avg_comparisons(given, variables={"cond": "pairwise"}, newdata="balanced")
    close(np.sort(np.abs(pairs["estimate"])), np.sort(np.abs(contrasts["Estimate"])))
    close(np.sort(pairs["std_error"]), np.sort(contrasts["SE"]))


@pytest.mark.parametrize("kind", ["Lm", pytest.param("Lmer", marks=pytest.mark.r)])
def test_slopes_are_those_of_emtrends(kind):
    model = model_of(kind, "linear")
    how = {} if kind == "Lm" else {"ddf": "asymptotic"}
    wanted, _ = model.emtrends("x", "cond", **how)
    # What is linear in b has no error by a long step, and less rounding than by a short one.
    found = effects.slopes(model.to_marginaleffects(), variables="x", by="cond", eps_vcov=0.01).sort("cond")
    close(found["estimate"], wanted["Estimate"])
    close(found["std_error"], wanted["SE"])


def test_an_average_effect_is_that_of_its_definition():
    model, data = model_of("Lm", "binomial"), rows()
    found = effects.avg_comparisons(model.to_marginaleffects(), variables={"x": [0, 1]})
    wanted = np.mean(model.predict(data.assign(x=1.0)) - model.predict(data.assign(x=0.0)))
    close(found["estimate"], [wanted])


def test_a_factor_of_numbers_is_compared_by_its_levels():
    model, data = model_of("Lm", "factor of numbers"), rows()
    found = effects.avg_comparisons(model.to_marginaleffects(), variables="s")
    assert list(found["contrast"]) == ["3 - 1", "5 - 1"]
    close(
        found["estimate"], [np.mean(model.predict(data.assign(s=k)) - model.predict(data.assign(s=1))) for k in (3, 5)]
    )


def test_other_covariances_and_none():
    model = model_of("Lm", "linear")
    given = model.to_marginaleffects()
    doubled = effects.predictions(given, vcov=4 * model.vcov.to_numpy())
    close(doubled["std_error"], 2 * effects.predictions(given)["std_error"].to_numpy())
    assert "std_error" not in effects.predictions(given, vcov=False).columns
    with pytest.raises(OptionError, match="vcov='HC3' is none that pymer4 hands over"):
        effects.predictions(given, vcov="HC3")


def test_mean_coefficients_of_groups():
    model = Lm2("y ~ x + z", rows(), "g")
    model.fit(summarize=False)
    found = effects.predictions(model.to_marginaleffects(), newdata=rows().head(5))
    b, new = model.coefs["Estimate"], rows().head(5)
    close(found["estimate"], b["Intercept"] + b["x"] * new.x + b["z"] * new.z)
    tested = effects.hypotheses(model.to_marginaleffects())
    np.testing.assert_allclose(tested["p_value"], model.coefs["P-val"], rtol=1e-6)


@pytest.mark.r
def test_a_computed_term_is_that_of_the_fit():
    model = fitted("Reaction ~ poly(Days, 2) + (1 | Subject)", dataset("sleepstudy"))
    new = dataset("sleepstudy").iloc[3:7]
    found = effects.predictions(model.to_marginaleffects(), newdata=new)
    close(found["estimate"], model.predict(new))


def test_a_spline_is_that_of_the_fit():
    model, new = regression("y ~ bs(x, df=4) + center(z)", rows()), rows().iloc[3:9]
    close(effects.predictions(model.to_marginaleffects(), newdata=new)["estimate"], model.predict(new))


# ------------------------------------------------------------------ what is refused


def given_ranks():
    return regression("y ~ x", rows(), rank=True)


def given_array():
    return regression("count ~ x", rows(), given={"family": "poisson", "offset": np.full(240, 0.1)})


def given_groups_of_variance():
    return regression("y ~ x", rows(), weights="cond")


def given_correlations():
    model = Lm2("y ~ x", rows(), "g")
    model.fit(to_corrs=True, summarize=False)
    return model


def given_name():
    return regression("y ~ estimate", rows().assign(estimate=rows().x))


@pytest.mark.parametrize(
    "make, told",
    [
        (given_ranks, "a fit of ranks.*rank=False"),
        (given_array, "its offset is an array"),
        (given_groups_of_variance, "df of their own"),
        (given_correlations, "correlations were tested"),
        (given_name, "column name.*'estimate'.*Rename"),
    ],
)
def test_what_can_not_be_handed_over(make, told):
    with pytest.raises(OptionError, match=told):
        make().to_marginaleffects()


@pytest.mark.parametrize("kind", ["Lm", pytest.param("Lmer", marks=pytest.mark.r)])
def test_a_fit_that_is_another_by_now_is_told(kind):
    formula = "y ~ cond"
    model = regression(formula, rows()) if kind == "Lm" else fitted(f"{formula} + (1 | g)", rows())
    given = model.to_marginaleffects()
    effects.avg_predictions(given, by="cond")
    model.fit(factors={"cond": sorted(rows().cond.unique())[::-1]}, summarize=False)
    with pytest.raises(OptionError, match=r"fitted again.*Call to_marginaleffects\(\) again"):
        effects.avg_predictions(given, by="cond")
    effects.avg_predictions(model.to_marginaleffects(), by="cond")


def test_arguments_and_order():
    from pymer4 import Lm

    with pytest.raises(NotFittedError, match="to_marginaleffects"):
        Lm("y ~ x", rows()).to_marginaleffects()
    with pytest.raises(OptionError, match="pred_type='respons' is not known"):
        model_of("Lm", "linear").to_marginaleffects(pred_type="respons")


def test_without_the_package_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['marginaleffects'] = None\nfrom pymer4 import Lm, load_dataset\n"
        "model = Lm('DV ~ IV1', load_dataset('sample_data')); model.fit(summarize=False)\n"
        "try: model.to_marginaleffects()\nexcept ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingLibrary") and 'pip install "pymer4[marginaleffects]"' in done.stdout
