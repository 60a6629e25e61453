"""Progress on standard error, and what `verbose` may be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2, Lmer, load_dataset
from pymer4.errors import OptionError

rng = np.random.default_rng(1)
DATA = pd.DataFrame(rng.normal(size=(60, 2)), columns=["x", "y"]).assign(g=np.repeat(np.arange(6), 10))
MODELS = {
    "Lm": lambda: Lm("y ~ x", DATA),
    "Lm2": lambda: Lm2("y ~ x", DATA, group="g"),
    "Lm poisson": lambda: Lm("n ~ x", DATA.assign(n=np.arange(60) % 5), family="poisson"),
    "Lmer": lambda: Lmer("y ~ x + (1 | g)", DATA),
}
every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.r if name == "Lmer" else ()) for name in MODELS]
)


def table(model) -> pd.DataFrame:
    return model.coefs.drop(columns="Sig")


@every_model
def test_progress_is_on_standard_error_where_it_is_asked_for(name, capsys):
    given = {"conf_int": "boot", "n_boot": 40, "permute": 30, "seed": 1, "summarize": False, "no_warnings": True}
    if name != "Lmer":
        del given["no_warnings"]
    quiet, loud = MODELS[name](), MODELS[name]()
    quiet.fit(**given)
    assert capsys.readouterr() == ("", "")
    loud.fit(**given, verbose=True)
    told = capsys.readouterr()
    assert "40/40" in told.err and "30/30" in told.err and "failed=0" in told.err
    assert "it/s" not in told.out and len(told.out.splitlines()) == 1
    pd.testing.assert_frame_equal(table(loud), table(quiet))


@pytest.mark.r
def test_profiles_and_optimizers_have_progress_too(capsys):
    model = Lmer("Reaction ~ Days + (1 | Subject)", load_dataset("sleepstudy"))
    model.fit(summarize=False)
    wanted = model.confint("profile")
    assert capsys.readouterr() == ("", "")
    found = model.confint("profile", verbose=True)
    assert "4/4" in capsys.readouterr().err
    pd.testing.assert_frame_equal(found, wanted)
    table = model.allfit(verbose=True)
    assert f"{len(table)}/{len(table)}" in capsys.readouterr().err


@pytest.mark.r
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_failures_are_counted(capsys):
    """Of an inverse link's draws some have means that the family does not have."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), 6)
    y = rng.gamma(3, 1 / (3 * np.clip(0.5 + 0.4 * rng.normal(size=12), 0.05, None)))[g] * rng.gamma(20, 1 / 20, 72)
    model = Lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}), family="gamma", link="inverse")
    model.fit(conf_int="boot", n_boot=30, seed=1, verbose=True, summarize=False)
    lost = int(next(text for text in model.warnings if "bootstrap fits failed" in text).split()[0])
    assert lost > 0 and f"failed={lost}" in capsys.readouterr().err


@pytest.mark.r
@pytest.mark.parametrize("verbose", [0, 1, True, np.True_, np.int64(1), 2])
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_the_optimizer_reports_at_2_alone(verbose, capfd):
    MODELS["Lmer"]().fit(verbose=verbose, summarize=False)
    assert ("iteration" in "".join(capfd.readouterr())) == (verbose == 2)


@every_model
@pytest.mark.parametrize("verbose", [3, -1, "yes", None, 0.5])
def test_what_verbose_may_not_be(name, verbose):
    with pytest.raises(OptionError, match="0 for nothing"):
        MODELS[name]().fit(verbose=verbose)
