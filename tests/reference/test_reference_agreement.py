"""The tables of docs/reference/agreement.md, for small data sets: what a reader is shown is what the tests hold."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "reference"))

import agreement

pytestmark = pytest.mark.r

LARGEST = 1e-4  # with the software of the header 1e-6


@pytest.mark.parametrize(
    ("table", "data", "rows"),
    [
        (agreement.linear, "Dyestuff", {"estimates", "df", "p", "group deviations", "residuals"}),
        (agreement.generalized, "grouseticks", {"estimates", "p", "Wald limits", "variances", "fits"}),
        (agreement.means, "feedlot", {"estimates", "limits", "p", "p of joint tests"}),
        (agreement.terms, "sleepstudy", {"F", "df", "p of random effects", "coefficients: df"}),
    ],
    ids=["linear", "generalized", "means", "terms"],
)
def test_tables_show_small_differences(table, data, rows):
    found = table(data)
    assert rows <= set(found.index)
    assert list(found.columns) == ["numbers", "ours", "R's", "largest difference"]
    assert (found["numbers"] > 0).all()
    assert (found["largest difference"].astype(float) <= LARGEST).all()
    assert "nan" not in found["ours"].tolist()


def test_a_difference_is_shown():
    """The pair that differs most stands in its row, and one that is missing on one side is infinitely off."""
    pairs = [agreement.Pair("x", *map(agreement.np.array, ([1.0, 2.2], [1.0, 2.0])), 0.0)]
    pairs.append(agreement.Pair("y", *map(agreement.np.array, ([1.0, float("nan")], [1.0, 2.0])), 0.0))
    found = agreement._table(pairs)
    assert found.loc["x"].tolist() == [2, "2.2", "2", "1e-01"]
    assert found.loc["y", "largest difference"] == "inf"


def test_the_header_names_the_software():
    for package in ("R ", "lme4 ", "lmerTest ", "emmeans ", "pbkrtest "):
        assert package in agreement.made_by()


def test_the_vignette_s_numbers():
    """Some that emmeans prints for its regression of the pigs, as its vignette shows them."""
    means, ratios = agreement.vignette("source estimates"), agreement.vignette("source contrasts")
    assert means["estimate"].round(1).tolist() == [29.8, 39.1, 44.6]
    assert means["df"].tolist() == [23, 23, 23]
    assert ratios["estimate"].round(3).tolist() == [0.761, 0.669, 0.879]
    assert list(ratios.index) == ["fish / soy", "fish / skim", "soy / skim"]
