"""An argument of `fit()` that was set and does nothing is told, once; one that acts is not."""

from __future__ import annotations

import re
import warnings

import pandas as pd
import pytest
from samples import patchy

from pymer4 import Lm, Lm2
from pymer4.errors import ModelWarning

BOOT, PERMUTED = {"conf_int": "boot", "n_boot": 30, "seed": 1}, {"permute": 9, "seed": 1}
CONTRASTS = {"factors": {"g": {"a": 1, "b": -1, "c": 0}}}

# What the warning says, the argument, and what the fit is asked for beside it.
SHARED = [
    ("cluster='cl' has no effect without robust='cluster'", {"cluster": "cl"}, {}),
    ("cluster='nowhere' has no effect without robust='cluster'", {"cluster": "nowhere"}, {}),
    ("cluster='cl' has no effect", {"cluster": "cl"}, {"robust": True}),
    ("cluster='cl' has no effect", {"cluster": "cl"}, {"robust": "hc3"}),
    ("cluster='cl' has no effect", {"cluster": "cl"}, BOOT),
    ("cluster='cl' has no effect", {"cluster": "cl"}, PERMUTED),
    ("n_lags=3 has no effect without robust='hac'", {"n_lags": 3}, {"robust": "hc0"}),
    ("n_boot=50 has no effect without conf_int='boot'", {"n_boot": 50}, {}),
    ("ordered=True has no effect without a list of levels in factors=", {"ordered": True}, {}),
]
OF_LM = [
    ("scheme='freedman-lane' has no effect without permute=", {"scheme": "freedman-lane"}, {}),
    ("ordered=True has no effect", {"ordered": True}, CONTRASTS),
    ("wls_dof_correction=False has no effect without the name of a column", {"wls_dof_correction": False}, {}),
    ("wls_dof_correction=False has no effect", {"wls_dof_correction": False}, {"weights": "g", "robust": "hc0"}),
]
OF_LM2 = [
    ("perm_on='coef' has no effect without permute=", {"perm_on": "coef"}, {}),
    ("ztrans_corrs=False has no effect without to_corrs=", {"ztrans_corrs": False}, {}),
]
IDLE = [*((Lm, *case) for case in SHARED + OF_LM), *((Lm2, *case) for case in SHARED + OF_LM2)]
ACTING = [
    *((kind, {"robust": "hac", "n_lags": 3}) for kind in (Lm, Lm2)),
    *((kind, {"robust": "cluster", "cluster": "cl"}) for kind in (Lm, Lm2)),
    *((kind, BOOT) for kind in (Lm, Lm2)),
    *((kind, {"n_jobs": 2, "seed": 4, "conf_level": 0.9, "n_lags": 1, "n_boot": 500}) for kind in (Lm, Lm2)),
    (Lm, PERMUTED | {"scheme": "freedman-lane"}),
    (Lm, {"ordered": True, "factors": {"g": ["a", "b", "c"]}}),
    (Lm, {"weights": "g", "wls_dof_correction": False}),
    (Lm2, PERMUTED | {"perm_on": "coef"}),
    (Lm2, {"to_corrs": "partial", "ztrans_corrs": False}),
]


def asked(kind, given: dict):
    """Return a model fitted so, and where its warnings point."""
    data = patchy().assign(x=lambda d: d["x"] + 2, inner=lambda d: 2 * d["cl"] + d.index % 2)
    model = Lm("y ~ g + x", data) if kind is Lm else Lm2("y ~ x", data, "cl" if "robust" not in given else "inner")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ModelWarning)
        model.fit(summarize=False, **given)
    return model, {one.filename for one in seen}


def idle(model) -> list[str]:
    return [text for text in model.warnings if "has no effect" in text]


@pytest.mark.parametrize("kind, told, given, same", IDLE)
def test_an_option_without_effect_is_told(kind, told, given, same):
    model, places = asked(kind, same | given)
    pd.testing.assert_frame_equal(model.coefs, asked(kind, same)[0].coefs)
    assert len(idle(model)) == 1 and re.match(re.escape(told), idle(model)[0]) and places == {__file__}


@pytest.mark.parametrize("kind, given", ACTING)
def test_an_option_with_an_effect_is_not(kind, given):
    assert idle(asked(kind, given)[0]) == []
