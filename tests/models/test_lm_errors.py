"""What `Lm` refuses: what was given, what is allowed, and the next step."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2
from pymer4.errors import DataError, FormulaError, ModelWarning, OptionError, Pymer4Error


def data(n: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    at = np.arange(n)
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})
    frame["g"] = np.array(["a", "b", "c"])[at % 3]
    frame["cl"] = at % 8
    frame["pair"] = at % 2
    frame["each"] = rng.uniform(1, 2, n)
    frame["some"] = np.where(at < 2, -1 - at, at % 2)
    frame["y"] = frame["x"] + rng.normal(size=n)
    frame["binary"] = (frame["y"] > 0) * 1
    frame["counts"] = rng.poisson(3, n)
    frame["text"] = np.where(at % 2, "yes", "no")
    frame["day"] = pd.date_range("2024-01-01", periods=n)
    return frame


BAD_FITS = [
    ({"robust": "hc4"}, OptionError, r"robust='hc4' is not known. Use one of: True, False, 'hc0', 'hc1'"),
    ({"robust": "clustr", "cluster": "cl"}, OptionError, "Did you mean 'cluster'"),
    ({"robust": 2}, OptionError, "robust=2 is not known"),
    ({"robust": "cluster"}, OptionError, "robust='cluster' needs cluster=, the name of the column"),
    (
        {"robust": "cluster", "cluster": "cll"},
        OptionError,
        "cluster='cll' is not a column of the data. Did you mean 'cl'",
    ),
    ({"robust": "cluster", "cluster": ["cl"]}, OptionError, r"cluster=\['cl'\] is not a column"),
    ({"robust": "cluster", "cluster": "day"}, DataError, "Column 'day' holds datetime64"),
    (
        {"robust": "cluster", "cluster": "pair"},
        DataError,
        "2 clusters for 2 coefficients, which leaves 0 degrees of freedom",
    ),
    ({"conf_int": "Wald"}, OptionError, "conf_int='Wald' is not known. Use one of: 'standard', 'boot'"),
    ({"conf_int": "bott"}, OptionError, "Did you mean 'boot'"),
    ({"conf_level": 1.2}, OptionError, "conf_level=1.2 has to lie between 0 and 1"),
    ({"permute": True}, OptionError, "permute=True is not a whole number"),
    ({"permute": -5}, OptionError, "permute=-5 is not a whole number of at least 0"),
    ({"permute": 2.5}, OptionError, "permute=2.5"),
    ({"n_boot": 0}, OptionError, "n_boot=0 is not a whole number of at least 1"),
    ({"n_jobs": 0}, OptionError, "n_jobs=0 is not a number of workers"),
    ({"n_lags": -1}, OptionError, "n_lags=-1"),
    ({"seed": -1}, OptionError, "seed=-1 is not a whole number of at least 0"),
    ({"scheme": "freedman"}, OptionError, "Did you mean 'freedman-lane'"),
    ({"rank": "yes"}, OptionError, "rank='yes' has to be True or False"),
    ({"verbose": None}, OptionError, "verbose=None has to be False or 0"),
    ({"wls_dof_correction": 3}, OptionError, "wls_dof_correction=3"),
    ({"ordered": "no"}, OptionError, "ordered='no'"),
    ({"weights": "w"}, OptionError, "weights='w' is not a column of the data"),
    ({"weights": "each"}, OptionError, r"occur once each.*pass data\['w'\] itself"),
    ({"weights": "some"}, DataError, r"value\(s\) '-2', '-1' have one row"),
    ({"weights": "day"}, DataError, "Column 'day' holds datetime64"),
    ({"weights": np.ones(5)}, DataError, r"weights has shape \(5,\); the data have 24 rows"),
    ({"weights": np.ones((24, 1))}, DataError, r"weights has shape \(24, 1\)"),
    ({"weights": np.zeros(24)}, DataError, "weights has to be finite and above 0"),
    ({"weights": np.linspace(-1, 1, 24)}, DataError, "weights has to be finite and above 0.*from -1 to 1"),
    ({"weights": np.full(24, np.inf)}, DataError, "weights has to be finite and above 0"),
    ({"weights": np.full(24, np.nan)}, DataError, "Each of the 24 rows has a missing value"),
    ({"weights": ["a"] * 24}, DataError, "weights has to hold numbers, not str"),
    ({"weights": pd.Series(np.ones(24), index=range(1, 25))}, DataError, "index is not that of the data"),
    ({"factors": {"g": ["a", "b", "d"]}}, OptionError, "factors names 'g', which the formula does not use"),
]


@pytest.mark.parametrize("given, kind, told", BAD_FITS, ids=[str(given)[:40] for given, _, _ in BAD_FITS])
def test_a_fit_refuses(given, kind, told):
    model = Lm("y ~ x", data())
    model.fit(summarize=False)
    before = model.coefs
    with pytest.raises(kind, match=told):
        model.fit(summarize=False, **given)
    assert model.coefs is before and model.fitted
    model.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, before)


@pytest.mark.parametrize(
    "wrong, near",
    [
        ("robsut", "robust"),
        ("cluster_col", "cluster"),
        ("n_bot", "n_boot"),
        ("sumarize", "summarize"),
        ("factor", "factors"),
    ],
)
def test_unknown_keywords_are_told_with_the_near_one(wrong, near):
    with pytest.raises(TypeError, match=rf"Lm.fit\(\) has no argument '{wrong}'. Did you mean '{near}'"):
        Lm("y ~ x", data()).fit(**{wrong: True})


@pytest.mark.parametrize(
    "formula, family, told",
    [
        ("y ~ x", "binomial", "The outcome 'y' holds .*Family 'binomial' takes 0 and 1"),
        ("g ~ x", "binomial", r"The outcome 'g' has 3 levels \(a, b, c\); family 'binomial' takes two"),
        ("text ~ x", "gaussian", "The outcome 'text' is a factor; family 'gaussian' takes numbers"),
        ("text ~ x", "poisson", "The outcome 'text' is a factor"),
        ("y ~ x", "poisson", "values down to .*takes counts of at least 0"),
        ("binary ~ x", "gamma", "The outcome 'binary' has values down to 0; family 'gamma' takes numbers above 0"),
        ("y ~ x", "inverse_gaussian", "takes numbers above 0"),
        ("cbind(counts, y) ~ x", "binomial", "takes counts of at least 0"),
        ("cbind(counts, binary) ~ x", "gaussian", "has 2 columns; a regression has one"),
        ("binary + counts ~ x", "poisson", "has 2 columns"),
    ],
)
def test_outcomes_that_a_family_does_not_take(formula, family, told):
    with pytest.raises((DataError, FormulaError), match=told):
        Lm(formula, data(), family=family).fit(summarize=False)


@pytest.mark.parametrize(
    "arguments, kind, told",
    [
        ({"family": "normal"}, OptionError, "family='normal' is not known"),
        ({"family": "binomal"}, OptionError, "Did you mean 'binomial'"),
        ({"family": "poisson", "link": "logit"}, OptionError, r"link \(of family 'poisson'\)='logit' is not known"),
        ({"offset": "off"}, OptionError, "offset='off' is not a column of the data"),
        ({"offset": np.zeros(3)}, DataError, r"offset has shape \(3,\)"),
        ({"offset": "text"}, DataError, "It has to hold numbers"),
        ({"data": {"y": [1]}}, DataError, "data has to be a pandas DataFrame, not a dict"),
        ({"data": pd.DataFrame({"y": [], "x": []})}, DataError, "The data are empty"),
        ({"data": pd.DataFrame(np.ones((2, 3)), columns=["y", "x", "x"])}, DataError, "more than one column named 'x'"),
    ],
)
def test_a_model_refuses(arguments, kind, told):
    with pytest.raises(kind, match=told):
        Lm("y ~ x", **({"data": data()} | arguments))


def test_generalized_models_name_what_is_for_linear_ones():
    model = Lm("binary ~ x", data(), family="binomial")
    with pytest.raises(OptionError, match=r"scheme='freedman-lane' shuffles residuals.*Use scheme='raw'"):
        model.fit(permute=10, scheme="freedman-lane")
    with pytest.raises(DataError, match=r"weights='text' is a column of kind factor\. It has to hold numbers"):
        model.fit(weights="text")
    model.fit(summarize=False)
    with pytest.raises(OptionError, match=r"to_corrs\(\) is for linear models; this one has family 'binomial'"):
        model.to_corrs()
    with pytest.raises(OptionError, match=r"interval='prediction' is for linear models.*Use interval='confidence'"):
        model.predict(data(), interval="prediction")
    with pytest.raises(OptionError, match=r"plot_partial\(\) is for linear models"):
        model.plot_partial("x")


def test_predictions_refuse():
    model = Lm("y ~ x", data(), offset="z")
    model.fit(weights="g", summarize=False)
    with pytest.raises(
        OptionError, match=r"interval='both' is not known. Use one of: None, 'confidence', 'prediction'"
    ):
        model.predict(data(), interval="both")
    with pytest.raises(OptionError, match="pred_type='links' is not known"):
        model.predict(data(), pred_type="links")
    with pytest.raises(OptionError, match="conf_level=0"):
        model.predict(data(), interval="confidence", conf_level=0)
    with pytest.raises(DataError, match="needs the offset's column 'z'"):
        model.predict(data()[["x"]])
    with pytest.raises(DataError, match="offset='z' is a column of kind factor"):
        model.predict(data().assign(z="a"))
    with pytest.raises(DataError, match="needs the column 'g', whose values have a variance each"):
        model.predict(data()[["x", "z"]], interval="prediction")
    with pytest.raises(DataError, match=r"Column 'g' has the value\(s\) 'q', whose variance the fit has not seen"):
        model.predict(data().assign(g="q"), interval="prediction")
    with pytest.raises(TypeError):
        model.predict()
    model = Lm("y ~ x", data(), offset=np.zeros(24))
    model.fit(summarize=False)
    with pytest.raises(DataError, match="an array of 24 numbers and can't be matched to 3 rows"):
        model.predict(data().head(3))


def test_hypotheses_and_correlations_refuse():
    model = Lm("y ~ x + z + g", data())
    model.fit(summarize=False)
    for wrong, told in {
        "q = 0": r"unrecognized token(.|\n)*The coefficients are: Intercept, g\[T.b\], g\[T.c\], x, z",
        "x = ": "The coefficients are",
        "x = 1, x = 2": "depend on each other",
        "x = z, z = x": "depend on each other",
        "x * z = 0": "The coefficients are",
    }.items():
        with pytest.raises(OptionError, match=told):
            model.test(wrong)
    for wrong in ({"w": 1}, ([[1, 0]], [0]), 3.5):
        with pytest.raises(OptionError, match="The coefficients are"):
            model.test(wrong)
    with pytest.raises(OptionError, match=r"corr_type='semipartial' is not known. Use one of: 'semi', 'partial'"):
        model.to_corrs("semipartial")
    with pytest.raises(OptionError, match="ztrans_corrs='yes'"):
        model.to_corrs(ztrans_corrs="yes")
    with pytest.raises(OptionError, match="error_bars='sd'"):
        model.plot_summary(error_bars="sd")
    with pytest.raises(OptionError, match="term='w' is not known"):
        model.plot_partial("w")


def test_every_error_is_of_the_tree_and_the_frame_stays():
    frame = data()
    before = frame.copy()
    for given, kind, _ in BAD_FITS:
        assert issubclass(kind, Pymer4Error) and issubclass(kind, ValueError)
        with pytest.raises(kind):
            Lm("y ~ x", frame).fit(summarize=False, **given)
    pd.testing.assert_frame_equal(frame, before)


def test_missing_values_are_left_out_wherever_they_are():
    frame = data().astype({"cl": float})
    frame.loc[0, "y"], frame.loc[1, "x"], frame.loc[2, "cl"], frame.loc[3, "z"] = (np.nan,) * 4
    model = Lm("y ~ x", frame, offset="z")
    weights = np.where(np.isin(np.arange(24), [0, 5]), np.nan, 1.0)
    model.fit(robust="cluster", cluster="cl", weights=weights, summarize=False)
    assert np.flatnonzero(np.isnan(model.fits)).tolist() == [0, 1, 2, 3, 5]
    counted = Lm("counts ~ x", frame.assign(each=frame["each"].where(frame.index != 7)), family="poisson")
    counted.fit(weights="each", summarize=False)
    assert np.flatnonzero(np.isnan(counted.fits)).tolist() == [1, 7]
    counted.fit(weights=counted._frame["each"].to_numpy(), summarize=False)
    assert np.flatnonzero(np.isnan(counted.fits)).tolist() == [1, 7]
    by_group = Lm("y ~ x", frame.assign(g=frame["g"].where(frame.index != 9)))
    by_group.fit(weights="g", summarize=False)
    assert np.flatnonzero(np.isnan(by_group.fits)).tolist() == [0, 1, 9]


def test_lags_beyond_the_data_and_leverages_of_one():
    model = Lm("y ~ x", data())
    model.fit(robust="hac", n_lags=100, summarize=False)
    assert np.isfinite(model.coefs["SE"]).all()
    alone = Lm("y ~ x + I(x == x.max())", data())
    alone.fit(summarize=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        alone.fit(robust="hc3", summarize=False)
    assert alone.coefs["SE"].isna().any()
    assert any("Leverage is 1 in row(s)" in str(w.message) and issubclass(w.category, ModelWarning) for w in seen)


# Draws that have no fit


def steep() -> Lm:
    """Return a model whose fits to shuffled outcomes may run into means below 0."""
    frame = pd.DataFrame({"x": np.arange(9.0), "y": [1, 1, 2, 1, 1, 3, 2, 6, 30.0]})
    return Lm("y ~ x", frame, family="inverse_gaussian", link="identity")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_shuffled_outcomes_without_a_fit_are_counted():
    model = steep()
    with pytest.warns(ModelWarning, match=r"^\d+ of 300 shuffled outcomes could not be fitted and are left out"):
        model.fit(permute=300, seed=3, summarize=False)
    lost = int(next(text for text in model.warnings if "left out" in text).split()[0])
    assert 0 < lost < 150 and np.isfinite(model.coefs.loc["x", "Perm-P-val"])


@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_a_fit_whose_shuffles_all_fail_leaves_the_model_as_it_was():
    model = steep()
    model.fit(summarize=False)
    refused = 0
    for seed in range(30):
        before = dict(vars(model))
        try:
            model.fit(permute=1, seed=seed, summarize=False)
        except DataError as error:
            refused += 1
            assert "Not one shuffled outcome of 1 could be fitted" in str(error) and "permute=" in str(error)
            assert [key for key, value in vars(model).items() if value is not before[key]] == []
    assert 0 < refused < 20


def test_a_fit_whose_draws_all_fail_leaves_the_model_as_it_was():
    frame = data().assign(single=[f"s{k}" for k in range(18)] + ["rest"] * 6)
    model = Lm("y ~ single", frame)
    model.fit(summarize=False)
    before = dict(vars(model))
    with pytest.raises(DataError, match=r"Not one bootstrap draw of 5 .* too few rows\. Use conf_int='standard'"):
        model.fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
    assert [key for key, value in vars(model).items() if value is not before[key]] == []


@pytest.mark.parametrize("kind, how", [(Lm, {}), (Lm, {"family": "poisson"}), (Lm2, {"group": "g"})])
@pytest.mark.parametrize("name, told", [("y", "The outcome 'y'"), ("x", "The term 'x'")])
def test_numbers_whose_squares_are_infinite_are_named(kind, how, name, told):
    frame = data().assign(y=lambda d: d["counts"])
    frame[name] = np.abs(frame[name]) * 1e300
    with pytest.raises(
        DataError, match=rf"{told} holds .*e\+300, whose square is beyond .* Divide it by a power of ten"
    ):
        kind("y ~ x", frame, **how).fit(summarize=False)
    offset = np.full(len(frame), 1e300)
    with pytest.raises(DataError, match=r"offset holds 1e\+300, whose square is beyond"):
        Lm("y ~ z", data(), offset=offset).fit(summarize=False)


@pytest.mark.parametrize("given", [{"x": None}, {"x": "1"}, 10**400, [10**400], {"x": 10**400}])
def test_hypotheses_that_are_no_numbers_are_refused(given):
    model = Lm("y ~ x", data())
    model.fit(summarize=False)
    with pytest.raises(OptionError):
        model.test(given)
