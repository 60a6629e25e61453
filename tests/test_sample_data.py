"""The bundled data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import samples

import pymer4


def test_the_bundled_data_are_what_the_script_makes():
    path = Path(__file__).parents[1] / "scripts" / "make_sample_data.py"
    spec = importlib.util.spec_from_file_location("make_sample_data", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    bundled = Path(pymer4.get_resource_path()) / "sample_data.csv"
    assert bundled.read_bytes() == made.as_text(made.sample_data()).encode()


def test_the_bundled_data_have_their_columns_and_ranges():
    data = samples.dataset("sample_data")
    assert list(data.columns) == ["Group", "IV1", "DV_l", "DV", "IV2", "IV3"]
    assert data.groupby("Group").size().eq(12).all() and data["Group"].nunique() == 47
    assert data["IV1"].between(5, 20).all() and data[["DV", "IV2"]].stack().between(0, 100).all()
    assert set(data["DV_l"]) == {0, 1} and data.groupby("Group")["DV_l"].mean().between(0.01, 0.99).all()
    assert data.groupby("Group")["IV3"].value_counts().eq(4).all() and set(data["IV3"]) == {0.5, 1.0, 1.5}
    assert data.notna().all(axis=None) and len(np.unique(data["DV"])) > 400


@pytest.mark.r
@pytest.mark.parametrize(
    "formula, family",
    [
        ("DV ~ IV2 + (IV2|Group)", "gaussian"),
        ("DV ~ IV1 + IV2 + (1|Group)", "gaussian"),
        ("DV ~ IV3*DV_l + (IV3|Group)", "gaussian"),
        ("DV_l ~ IV1 + (IV1|Group)", "binomial"),
    ],
)
def test_old_models_of_the_bundled_data_fit(formula, family):
    assert samples.fitted(formula, samples.dataset("sample_data"), given={"family": family}).warnings == []
