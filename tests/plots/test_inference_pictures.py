"""What `plot_inference()` draws after each way of inference, and what it refuses."""

from __future__ import annotations

from functools import cache

import artists
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import samples

from pymer4 import Lm, Lm2
from pymer4.errors import ModelWarning, NotFittedError, OptionError
from pymer4.plots import inference


@cache
def fitted() -> Lm:
    return samples.regression("y ~ x * cond + z")


def permuted(model: Lm, **how: object) -> pd.DataFrame:
    with pytest.warns(ModelWarning, match="No p for Intercept"):
        return model.infer("perm", **how)


def heights(ax) -> float:
    """Return how many values the bars of a histogram count."""
    return sum(patch.get_height() for patch in ax.patches)


def upright(ax) -> list[float]:
    """Return where upright lines stand."""
    return [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1 and line.get_marker() == "None"]


def test_a_bootstrap_is_its_draws_estimate_and_interval():
    model = fitted()
    table = model.infer("boot", n_boot=99, seed=1, ci_type="percentile")
    drawn = model.plot_inference()
    assert [" ".join(ax.get_title().split("\n")) for ax in drawn] == list(table.index)
    assert drawn[-1].get_xlabel() == "Estimate (y)" and drawn[0].get_ylabel() == "Draws"
    for ax, (_, row) in zip(drawn, table.iterrows(), strict=True):
        assert heights(ax) == 99
        assert row["Estimate"] in upright(ax)
        bar = next(line for line in ax.lines if line.get_linewidth() == 4)
        np.testing.assert_array_equal(bar.get_xdata(), row[["2.5_ci", "97.5_ci"]])
    artists.check_texts(drawn[0].figure)


def test_the_null_is_drawn_where_it_is_near(ax):
    values = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    near = inference.draws(values, [2.0], [1.0], [3.0], null=-0.5, ax=ax)
    assert upright(near) == [-0.5, 2.0] and near.get_xlim()[0] < -0.5
    far = inference.draws(values, [2.0], [-np.inf], [3.0], null=-2.0, ax=plt.figure().subplots())
    assert upright(far) == [2.0] and min(far.lines[1].get_xdata()) == far.get_xlim()[0]


@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
def test_permutations_colour_what_counts_against_the_null(side):
    model = fitted()
    p = permuted(model, n_perm=99, seed=2, alternative=side).loc["x", "Perm-P-val"]
    ax = model.plot_inference(terms="x")
    rest, beyond = (sum(patch.get_height() for patch in bars) for bars in ax.containers)
    assert rest + beyond == 99 and beyond == pytest.approx(100 * p - 1)
    assert [text.get_text() for text in ax.texts] == [f"p = {p:.3g}"]
    assert artists.labels(ax) == ("Statistic", "Shuffles")
    assert len(upright(ax)) == (2 if side == "two-sided" else 1)


def test_what_shuffles_can_t_test_is_left_out_or_refused():
    model = fitted()
    permuted(model, n_perm=20, seed=1)
    assert "Intercept" not in [ax.get_title() for ax in model.plot_inference()]
    with pytest.raises(OptionError, match=r"no distribution to draw.*how='boot'"):
        model.plot_inference(terms="Intercept")


def test_asymptotic_limits_are_a_forest():
    model = fitted()
    table = model.infer()
    ax = model.plot_inference()
    np.testing.assert_array_equal(artists.bars(ax)[:, :, 0], table[["2.5_ci", "97.5_ci"]])
    assert artists.names(ax, "y") == list(table.index) and ax.get_xlabel() == "Estimate (y)"
    assert artists.names(model.plot_inference(terms=["z", "x"]), "y") == ["z", "x"]


def test_many_quantities_are_a_forest_with_a_note():
    model = fitted()
    model.predict(samples.trial().head(30))
    model.infer("boot", n_boot=60, seed=1)
    ax = model.plot_inference()
    assert len(artists.bars(ax)) == 30 and artists.note(ax).startswith("Limits alone")
    assert len(model.plot_inference(terms=["0", "29"])) == 2
    model.fit(summarize=False)


def test_draws_of_a_generalized_model_are_on_the_scale_of_the_table():
    model = samples.regression("yes ~ x + z", given={"family": "binomial"})
    model.predict(samples.trial().head(2))
    table = model.infer("boot", n_boot=60, seed=1)
    for ax, estimate in zip(model.plot_inference(), table["Estimate"], strict=True):
        assert estimate in upright(ax) and 0.5 in upright(ax)
        edges = [patch.get_x() for patch in ax.patches]
        assert 0 < min(edges) < estimate < max(edges) < 1


def test_marginal_effects_are_means_or_contrasts_on_the_scale_of_their_table():
    model = samples.regression("yes ~ x + cond", given={"family": "binomial"})
    model.emmeans("cond")
    _, contrasts = model.infer("boot", n_boot=60, seed=1)
    assert [ax.get_title() for ax in model.plot_inference()] == ["C", "a", "b"]
    for ax, (_, row) in zip(model.plot_inference(contrasts=True), contrasts.iterrows(), strict=True):
        assert ax.get_title() == row["Contrast"] and ax.get_xlabel() == "Odds ratio (yes)"
        assert row["Estimate"] in upright(ax) and min(patch.get_x() for patch in ax.patches) > 0
    with pytest.warns(ModelWarning, match="No p for"):
        model.infer("perm", n_perm=20, seed=1)
    with pytest.raises(OptionError, match="contrasts=True"):
        model.plot_inference()
    model.infer()
    assert model.plot_inference().get_ylabel() == "Probability (yes)"


@pytest.mark.parametrize("how", [("boot", "n_boot"), ("perm", "n_perm")])
def test_second_level_models_have_it_too(how):
    model = Lm2("y ~ x", samples.trial(), group="g")
    model.fit(summarize=False)
    model.infer(how[0], **{how[1]: 60}, seed=1)
    assert [ax.get_title() for ax in model.plot_inference()] == ["Intercept", "x"]


def test_cross_validation_is_importance_by_term_or_error_by_fold():
    model = fitted()
    table = model.infer("cv", on="coefs", k=4, seed=1)
    ax = model.plot_inference()
    assert artists.names(ax, "y") == list(table.index[1:])
    share, sd = table["PRE"][1:], table["PRE_sd"][1:]
    np.testing.assert_allclose(artists.bars(ax)[:, :, 0], np.column_stack([share - sd, share + sd]))
    folds = model.infer("cv", on="predictions", k=4, seed=1)
    ax = model.plot_inference()
    np.testing.assert_array_equal(artists.dots(ax)[:, 1], folds["RMSE"][:-1])
    assert artists.labels(ax) == ("Fold", "RMSE (y)") and ax.lines[0].get_ydata()[0] == folds["RMSE"].iloc[-1]


def test_folds_hang_from_the_error_of_all(ax):
    inference.folds(pd.Series([2.0, 1.0, 3.0]), 2.2, ylabel="RMSE (y)", ax=ax)
    np.testing.assert_array_equal(artists.dots(ax), [[1, 2], [2, 1], [3, 3]])
    assert artists.labels(ax) == ("Fold", "RMSE (y)")


def test_a_profile_crosses_its_thresholds_at_the_limits(ax):
    x = np.linspace(1, 3, 9)
    inference.zetas([("sigma", x, 3 * (x - 2))], [2.1], [1.5], [2.5], threshold=2.25, ax=ax)
    guides = sorted(line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1)[:1]
    assert guides == [-1.5] and ax.get_title() == "sigma"
    curve = next(line for line in ax.lines if len(line.get_xdata()) == 9)
    np.testing.assert_allclose(np.interp([1.5, 2.5], *curve.get_data()), [-1.5, 1.5])


def test_what_can_t_be_drawn_is_said_with_the_next_step():
    model = Lm("y ~ x", samples.trial())
    with pytest.raises(NotFittedError, match=r"Call \.fit\(\) first"):
        model.plot_inference()
    model.fit(summarize=False)
    with pytest.raises(NotFittedError, match=r"Call infer\(\) first"):
        model.plot_inference()
    model.infer("boot", n_boot=60, seed=1, save_resamples=False)
    for match, how in {
        "save_resamples=False": {},
        "contrasts=True draws contrasts": {"contrasts": True},
        "terms='w'": {"terms": "w"},
    }.items():
        with pytest.raises(OptionError, match=match):
            model.plot_inference(**how)
    model.fit(summarize=False)
    with pytest.raises(NotFittedError, match=r"Call infer\(\) first"):
        model.plot_inference()
