"""`fit(rank=True)` against ranks that the live R makes with `rank()` and `ave()`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from reference.lib.data import named_data
from reference.lib.files import Reference, compare, rscript
from reference.lib.quantities import coefficient_pairs, long_pair

from pymer4 import Lmer

pytestmark = pytest.mark.r

SAME = 1e-8  # one optimizer on one frame
DF = 1e-4  # second derivatives by differences, on R's side numDeriv's


@dataclass(frozen=True)
class Case:
    """A model, what `fit` gets beside `rank=True`, and the columns that are then ranks."""

    formula: str
    ranked: tuple[str, ...]
    fit: dict = field(default_factory=dict)


CASES = {
    "all rows": Case("level ~ x * cond + (1 | g)", ("level", "x")),
    "in groups": Case("level ~ x + time + (1 | g)", ("level", "x", "time"), {"rank_group": "g"}),
    "at levels": Case("level ~ x + cond + (1 | g)", ("level", "x"), {"rank_group": "cond"}),
    "in groups of another column": Case("level ~ x + (1 | g)", ("level", "x"), {"rank_group": "cond"}),
    "ties": Case("visits ~ x + bursts + (1 | g)", ("visits", "x", "bursts")),
    "ties in groups": Case("visits ~ bursts + (1 | g) + (1 | item)", ("visits", "bursts"), {"rank_group": "item"}),
    "but one": Case("level ~ x + time + (1 | g)", ("level", "x"), {"rank_exclude_cols": "time"}),
    "but two": Case("level ~ x + time + (1 | g)", ("x",), {"rank_exclude_cols": ["time", "level"], "rank_group": "g"}),
    "slopes": Case("level ~ x + (x | g)", ("level", "x")),
    "transformed": Case("level ~ log(x) + poly(time, 2) + (1 | g)", ("level", "x", "time")),
    "holes": Case("hollow ~ part + cond + (1 | g)", ("hollow", "part"), {"rank_group": "g"}),
    "holes everywhere": Case("hollow ~ part + (1 | g)", ("hollow", "part")),
}


def frame() -> pd.DataFrame:
    data = named_data("simulated")
    i = np.arange(len(data))
    return data.assign(hollow=data["level"].mask(i % 11 == 3), part=data["x"].mask(i % 13 == 5))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    folder = tmp_path_factory.mktemp("ranked")
    rows = [(id, c.formula, ";".join(c.ranked), c.fit.get("rank_group", "")) for id, c in CASES.items()]
    pd.DataFrame(rows, columns=["id", "formula", "ranked", "group"]).to_csv(folder / "cases.csv", index=False)
    frame().to_csv(folder / "data.csv", index=False)
    rscript("lib/ranked.R", folder)
    return Reference(folder / "ranked.csv")


@pytest.mark.parametrize("case", CASES)
def test_ranks_are_r_s(case, reference):
    data = frame()
    model = Lmer(CASES[case].formula, data)
    model.fit(rank=True, summarize=False, no_warnings=True, **CASES[case].fit)
    expected = reference.numbers(case, "coefs")
    assert list(model.coefs.index) == list(expected.index)
    for pair in coefficient_pairs(model.coefs, expected):
        compare(pair, DF if pair.quantity in ("df", "p") else SAME)
    used = model.fits[~np.isnan(model.fits)]
    compare(long_pair("fits", used, reference.numbers(case, "fitted")), SAME)
    np.testing.assert_allclose(model.logLike, reference.numbers(case, "logLik").iloc[0, 0], rtol=SAME)
    assert model.ranked_data is True
    pd.testing.assert_frame_equal(model.data[data.columns], data)
