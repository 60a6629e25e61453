"""Predictions of `Lm` and its pictures of coefficients. Its numbers beside R's: `tests/reference`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from samples import close, native, patchy, regression

from pymer4.errors import DataError, ModelWarning, OptionError

pytestmark = pytest.mark.numeric

HERE = 1e-10  # relative: two ways of computing one thing on this side


@pytest.mark.parametrize("name", ["binary", "counted", "gamma", "gaussian log", "poisson"])
def test_limits_on_the_response_are_those_of_the_link(name):
    model = native(name)
    rows = patchy()[np.isfinite(model.fits)].head(9)
    link = model.predict(rows, interval="confidence", pred_type="link")
    response = model.predict(rows, interval="confidence")
    inverse = (lambda eta: 1 / (1 + np.exp(-eta))) if model.family == "binomial" else np.exp
    close(response[["Estimate", "2.5_ci", "97.5_ci"]], inverse(link[["Estimate", "2.5_ci", "97.5_ci"]]), HERE)
    slope = (lambda mu: mu * (1 - mu)) if model.family == "binomial" else (lambda mu: mu)
    close(response["SE"], link["SE"] * slope(response["Estimate"]), HERE)
    close(response["Estimate"], model.fits[np.isfinite(model.fits)][:9], HERE)
    close(model.predict(rows, pred_type="link"), link["Estimate"], HERE)
    assert response.attrs["scale"] == "response" and link.attrs["scale"] == "link"


def test_limits_of_predictions_have_the_level_of_the_fit():
    model, rows = regression("y ~ x", patchy(), conf_level=0.8), patchy().head(5)
    ours = model.predict(rows, interval="confidence")
    assert list(ours.columns) == ["Estimate", "SE", "10_ci", "90_ci"] and ours.attrs["conf_level"] == 0.8
    pd.testing.assert_frame_equal(ours, model.predict(rows, interval="confidence", conf_level=80))
    assert list(model.predict(rows, interval="confidence", conf_level=0.95).columns)[2:] == ["2.5_ci", "97.5_ci"]
    with pytest.warns(ModelWarning, match="conf_level=0.9 has no effect without interval=") as seen:
        plain = model.predict(rows, conf_level=0.9)
    assert seen[0].filename == __file__
    np.testing.assert_array_equal(plain, model.predict(rows))


@pytest.mark.parametrize("offset", ["shift", patchy()["shift"].to_numpy()], ids=["column", "array"])
def test_an_offset_enters_fits_and_predictions(offset):
    model, moved = regression("y ~ x", patchy(), given={"offset": offset}), regression("I(y - shift) ~ x", patchy())
    close(model.coefs["Estimate"], moved.coefs["Estimate"], HERE)
    np.testing.assert_allclose(model.fits, moved.fits + patchy()["shift"], rtol=1e-12)
    predicted, used = model.predict(patchy()), np.isfinite(model.fits)
    assert (np.isnan(predicted) == patchy()["x"].isna()).all()
    np.testing.assert_allclose(predicted[used], model.fits[used], rtol=1e-12)
    close(model.to_corrs(), moved.to_corrs(), HERE)
    close([model.rsquared, model.rsquared_adj], [moved.rsquared, moved.rsquared_adj], HERE)


def test_prediction_intervals_add_the_variance_of_the_outcome():
    frame = patchy().dropna(subset=["x", "y"])
    model = regression("y ~ x", frame, weights=frame["w"])
    own, mean = (model.predict(frame, interval=interval) for interval in ("prediction", "confidence"))
    sigma2 = (frame["w"] * model.residuals**2).sum() / model.df_resid
    close(own["SE"] ** 2, mean["SE"] ** 2 + sigma2 / frame["w"], HERE)
    with pytest.warns(ModelWarning, match="Assuming constant prediction variance"):
        new = model.predict(frame.head(5), interval="prediction")
    close(new["SE"] ** 2, mean["SE"].head(5) ** 2 + sigma2, HERE)
    plain = regression("y ~ x", frame)
    own, mean = (plain.predict(frame, interval=interval) for interval in ("prediction", "confidence"))
    close(own["SE"] ** 2, mean["SE"] ** 2 + (plain.residuals**2).sum() / plain.df_resid, HERE)


def test_ranks_are_fitted_and_predicted():
    kept = patchy().dropna(subset=["x", "y", "g"])
    ranks = kept.assign(x=kept["x"].rank(), y=kept["y"].rank(), z=kept["z"].rank())
    model, by_hand = regression("y ~ x * g + z", patchy(), rank=True), regression("y ~ x * g + z", ranks)
    pd.testing.assert_frame_equal(model.coefs, by_hand.coefs, rtol=1e-9)
    assert model.ranked_data and model.data["y"].equals(patchy()["y"])
    np.testing.assert_allclose(model.predict(kept), by_hand.fits, rtol=1e-9)
    middle = kept["x"].sort_values().iloc[[10, 11]]
    one = kept.head(1).assign(x=middle.mean())
    ends = [model.predict(kept.head(1).assign(x=value))[0] for value in middle]
    np.testing.assert_allclose(model.predict(one), np.mean(ends), rtol=1e-9)


MODELS = {
    "by group": lambda: regression("y ~ x", patchy(), given={"offset": "z"}, weights="g"),
    "of an array": lambda: regression("y ~ x", patchy(), given={"offset": np.zeros(140)}),
    "logit": lambda: native("binary"),
}
NEW = {"interval": "prediction"}


@pytest.mark.parametrize(
    "name, data, how, kind, told",
    [
        ("by group", {}, {"interval": "both"}, OptionError, "Use one of: None, 'confidence', 'prediction'"),
        ("by group", {}, {"pred_type": "links"}, OptionError, "pred_type='links' is not known"),
        ("by group", {}, {"interval": "confidence", "conf_level": 0}, OptionError, "conf_level=0"),
        ("by group", {"z": None}, {}, DataError, "needs the offset's column 'z'"),
        ("by group", {"z": "a"}, {}, DataError, "offset='z' is a column of kind factor"),
        ("by group", {"g": None}, NEW, DataError, "needs the column 'g', whose values have a variance each"),
        ("by group", {"g": "q"}, NEW, DataError, r"'g' has the value\(s\) 'q', whose variance the fit has not seen"),
        ("of an array", {}, {}, DataError, "an array of 140 numbers and can't be matched to 3 rows"),
        ("logit", {}, NEW, OptionError, "interval='prediction' is for linear models.*Use interval='confidence'"),
    ],
)
def test_predictions_refuse(name, data, how, kind, told):
    rows = patchy().drop(columns=[key for key, value in data.items() if value is None]).head(3)
    with pytest.raises(kind, match=told):
        MODELS[name]().predict(rows.assign(**{key: value for key, value in data.items() if value is not None}), **how)


# ------------------------------------------------------------------ pictures


@pytest.mark.parametrize(
    ("outcome", "family", "link", "scale"),
    [
        ("y", "gaussian", "identity", "y"), ("y", "gaussian", "log", "log mean of y"),
        ("b", "binomial", "logit", "log odds of b"), ("b", "binomial", "probit", "probit of b"),
        ("b", "binomial", "log", "log probability of b"), ("y", "gamma", "identity", "y"),
        ("k", "poisson", "log", "log rate of k"), ("k", "poisson", "sqrt", "sqrt of k"),
        ("k", "nbinom", "log", "log rate of k"), ("y", "gamma", "inverse", "inverse of y"),
    ],
)  # fmt: skip
def test_the_forest_names_the_scale(outcome, family, link, scale):
    rng = np.random.default_rng(9)
    x = rng.normal(size=80)
    y, k = np.exp(1 + 0.1 * x) + rng.uniform(0, 0.2, 80), rng.negative_binomial(2, 0.3, 80)
    data = pd.DataFrame({"x": x, "y": y, "k": k, "b": (rng.random(80) < 0.4).astype(int)})
    model = regression(f"{outcome} ~ x", data, given={"family": family, "link": link})
    assert model.plot_summary(ax=Figure().subplots()).get_xlabel() == f"Estimate ({scale})"
