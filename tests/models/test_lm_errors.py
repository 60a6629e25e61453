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
    frame = data()
    model = Lm("y ~ x", frame)
    assert issubclass(kind, Pymer4Error) and issubclass(kind, ValueError)
    with pytest.raises(kind, match=told):
        model.fit(summarize=False, **given)
    assert not model.fitted
    pd.testing.assert_frame_equal(frame, data())


@pytest.mark.parametrize("wrong, near", [("robsut", "robust"), ("cluster_col", "cluster"), ("sumarize", "summarize")])
def test_unknown_keywords_are_told_with_the_near_one(wrong, near):
    with pytest.raises(TypeError, match=rf"Lm.fit\(\) has no argument '{wrong}'. Did you mean '{near}'"):
        Lm("y ~ x", data()).fit(**{wrong: True})


@pytest.mark.parametrize("model", [Lm("y ~ x", data()), Lm2("y ~ x", data().assign(of=1), "of")])
@pytest.mark.parametrize(
    ("method", "wrong", "told"),
    [("predict", "newdata", "data"), ("simulate", "seeds", "seed"), ("infer", "nboot", "n_boot")],
)
def test_so_are_those_of_other_methods(model, method, wrong, told):
    with pytest.raises(TypeError, match=rf"{method}\(\) has no argument '{wrong}'. Did you mean '{told}'\? It takes: "):
        getattr(model, method)(**{wrong: 1})


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
        ({"data": [[1, 2]]}, DataError, "data has to be a pandas, polars or pyarrow frame .*, not a list"),
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


KNOWN = "The coefficients are"


@pytest.mark.parametrize(
    "hypothesis, told",
    [
        ("q = 0", rf"unrecognized token(.|\n)*{KNOWN}: Intercept, g\[T.b\], g\[T.c\], x, z"), ("x = ", KNOWN),
        ("x * z = 0", KNOWN), ({"w": 1}, KNOWN), (([[1, 0]], [0]), KNOWN), (3.5, KNOWN),
        ("x = 1, x = 2", "depend on each other"), ("x = z, z = x", "depend on each other"),
        ("x = 1 / 0", "missing or infinite"), ({"x": None}, "are none"), ({"x": "1"}, "are none"),
        ({"x": 10**400}, "are none"), (10**400, None), ([10**400], None),
        (np.array([[1j, 0, 0, 0, 0]]), "are none"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_hypotheses_are_refused(hypothesis, told):
    model = Lm("y ~ x + z + g", data())
    model.fit(summarize=False)
    with pytest.raises(OptionError, match=told):
        model.test(hypothesis)


def test_correlations_refuse():
    model = Lm("y ~ x + z + g", data())
    model.fit(summarize=False)
    with pytest.raises(OptionError, match=r"corr_type='semipartial' is not known. Use one of: 'semi', 'partial'"):
        model.to_corrs("semipartial")
    with pytest.raises(OptionError, match="ztrans_corrs='yes'"):
        model.to_corrs(ztrans_corrs="yes")


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


@pytest.mark.parametrize("kind, how", [(Lm, {}), (Lm, {"family": "poisson"}), (Lm2, {"group": "g"})])
@pytest.mark.parametrize("name, told", [("y", "The outcome 'y'"), ("x", "The term 'x'")])
def test_numbers_whose_squares_are_infinite_are_named(kind, how, name, told):
    frame = data().assign(y=lambda d: d["counts"])
    frame[name] = np.abs(frame[name]) * 1e300
    with pytest.raises(
        DataError, match=rf"{told} holds .*e\+300, whose square is beyond .* Divide it by a power of ten"
    ):
        kind("y ~ x", frame, **how).fit(summarize=False)


def test_an_offset_whose_square_is_infinite_is_named():
    with pytest.raises(DataError, match=r"offset holds 1e\+300, whose square is beyond"):
        Lm("y ~ z", data(), offset=np.full(24, 1e300)).fit(summarize=False)


@pytest.mark.parametrize(
    "values, told",
    [
        (["yes", "no"], r"Use family='binomial' for two levels"),
        (["1.5", "2", "31e2"], r"Its levels are numbers as text: use pandas.to_numeric\(data\['text'\]\)\.$"),
        (["1.5", "2", "n/a"], r"to_numeric\(data\['text'\], errors='coerce'\), which makes n/a missing"),
        (["1,5", "2,25", "3,0"], r"has decimal commas: .*decimal=','"),
        (["low", "mid", "high"], r"It has 3 levels: high, low, mid\. Make a column of numbers"),
    ],
)
def test_text_as_an_outcome_is_told_how_numbers_come_of_it(values, told):
    texts = pd.DataFrame({"text": np.resize(values, 12), "x": np.arange(12.0)})
    with pytest.raises(DataError, match=told):
        Lm("text ~ x", texts).fit(summarize=False)
